"""A scorer without a model, and a program that runs it, for tests of what happens between processes.

A score is a number from the file's bytes and the caption, so that a test can work it out by itself.
Every answer is written to a log before it is given, so that a test can count them.
"""

import os
import signal
import sys
import time
import zlib
from pathlib import Path

import numpy as np

from synvita_data.annotations import read_annotations
from synvita_data.errors import CorruptVideoError
from synvita_data.evaluation.scoring import process_rank, score_task
from synvita_data.real_videos.find import RealVideos
from synvita_data.scoring import ItemScores
from synvita_data.tasks import get_task

BROKEN = b"broken"


def expected_score(content: bytes, caption: str) -> float:
    return zlib.crc32(content + b"|" + caption.encode()) / 7.0


class FileScorer:
    """`fails_at`: raises before that answer (from 0). `dies_at`: SIGKILL there. `ahead`: items taken before
    the first answer. Files that begin with `broken` are unreadable."""

    name = "file-scorer"
    revision = "1"
    kind = "log_odds"
    prompt = None
    frames = None

    def __init__(self, log=None, *, fails_at=None, dies_at=None, ahead=2, pause=0.0):
        self.settings = {"made_for": "tests"}
        self.log, self.fails_at, self.dies_at, self.ahead, self.pause = log, fails_at, dies_at, ahead, pause

    def score(self, items):
        waiting, answered = [], 0
        items = iter(items)
        while True:
            while len(waiting) <= self.ahead and (item := next(items, None)) is not None:
                waiting.append(item)
            if not waiting:
                return
            if answered == self.fails_at:
                raise RuntimeError("out of memory")
            if answered == self.dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self.pause)
            yield self.answer(waiting.pop(0))
            answered += 1

    def answer(self, item):
        if self.log is not None:
            with self.log.open("a") as handle:  # one short line is written whole
                handle.write(f"{item.video_id} {process_rank()}\n")
        content = item.video if isinstance(item.video, bytes) else item.video.read_bytes()
        if content.startswith(BROKEN):
            return ItemScores(
                item.item_id, None, error=CorruptVideoError("no frame decodes", file=item.video)
            )
        scores = [expected_score(content, text.caption) for text in item.texts]
        return ItemScores(item.item_id, np.array(scores), (0, len(content)), {"backend": "none"})


if __name__ == "__main__":
    folder, fails_at, dies_at, pause = Path(sys.argv[1]), *sys.argv[2:5]
    scorer = FileScorer(
        folder / "log",
        fails_at=int(fails_at) if fails_at else None,
        dies_at=int(dies_at) if dies_at else None,
        pause=float(pause),
    )
    found = score_task(
        scorer,
        get_task("ssv2-temporal"),
        read_annotations("ssv2-temporal", folder / "pairs.csv"),
        RealVideos(folder / "root"),
        folder / "work",
        wait=process_rank() == 0,
    )
    if found is not None:
        np.save(folder / f"scores-{process_rank()}.npy", found.scores)
