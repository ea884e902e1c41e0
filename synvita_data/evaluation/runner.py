"""Score a task's videos with a model: saved after every video, resumed, shared by any number of processes.

What is done lies in a store whose folder is named by everything that scores depend on (model and its
revision, task and its revision, prompt, frame policy), so that a changed setting never finds old scores.
Processes (`accelerate launch`, a second terminal, another machine on the same file system) share the
work through that store: each video is scored by one of them, and nothing is counted twice.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import SynvitaError
from ..scoring.protocol import ItemScores, Scorer, ScoringItem
from ..store import CLAIMED, Claim, Store, work_key
from ..tasks import Annotations, Resolver, Task
from ..tasks.annotations import VideoRef

OnProgress = Callable[[int, int], None]
LOOK_EVERY = 1.0  # seconds


@dataclass
class Scored:
    """What a run found.

    Attributes:
        scores: float64 [N], aligned with the annotations; NaN where a video could not be scored.
        missing: videos that are not under the real root. unreadable: video id -> error record.
        frames: what the scorer said of the first video it scored (indices, decoder), None without any.
        reused: videos that an earlier run had scored.
    """

    scores: npt.NDArray[np.float64]
    missing: list[str] = field(default_factory=list)
    unreadable: dict[str, dict[str, Any]] = field(default_factory=dict)
    frames: dict[str, Any] | None = None
    reused: int = 0

    def to_record(self) -> dict[str, Any]:
        return {
            "videos_missing": self.missing,
            "videos_unreadable": [{"video_id": v, **e} for v, e in sorted(self.unreadable.items())],
        }


def run_key(scorer: Scorer, task: Task, annotations: Annotations) -> str:
    """Digest of everything the scores of a run depend on, but for the videos themselves."""
    return work_key(
        model=scorer.name,
        revision=scorer.revision,
        kind=scorer.kind,
        prompt=scorer.prompt,
        frames=scorer.frames.to_dict() if scorer.frames else None,
        settings=scorer.settings,
        task=task.name,
        annotations=annotations.revision,
    )


def score_task(
    scorer: Scorer,
    task: Task,
    annotations: Annotations,
    resolve: Resolver | Any,
    work: Path,
    *,
    wait: bool = True,
    limit: int | None = None,
    on_progress: OnProgress | None = None,
    poll: float = 0.5,
) -> Scored | None:
    """Scores of all texts of a task, as far as its videos are there and readable.

    Args:
        resolve: `RealVideos(root)`, or a function from a `VideoRef` to a file, bytes or None.
        work: folder of stores, one a run key.
        wait: until what other processes are scoring is done too, and return the whole. False (every
            process but the first): return None when nothing is left to take.
        limit: only the first videos, for a trial; the result is partial.
        on_progress: called with how many videos are done, and of how many.
    """
    missing: list[VideoRef] = []
    items = list(annotations.items(resolve, on_missing=missing.append))[:limit]
    store = Store(work / run_key(scorer, task, annotations)[:24])
    keys = {_item_key(item): item for item in items}
    reused = store.scan(keys).counts["done"]
    looked = 0.0
    while True:
        for _ in _score_free(scorer, store, keys):
            # Others score too, so what is done is looked up, but not after every video of many.
            if on_progress is not None and time.monotonic() - looked > LOOK_EVERY:
                on_progress(store.scan(keys, "names").counts["done"], len(keys))
                looked = time.monotonic()
        state = store.scan(keys)
        if on_progress is not None:
            on_progress(state.counts["done"], len(keys))
        if state.pending:
            continue  # a process that died gave some back
        if not wait:
            return None
        if not state.counts[CLAIMED]:
            break
        time.sleep(poll)
    return _collect(store, keys, annotations, missing, reused)


def process_rank() -> int:
    """Rank of this process as `accelerate launch` and `torchrun` set it; 0 alone."""
    return int(os.environ.get("RANK", "0"))


def _score_free(scorer: Scorer, store: Store, keys: dict[str, ScoringItem]) -> Iterator[None]:
    """Score what no other process holds. The scorer may run ahead: its claims wait in line."""
    held: deque[Claim] = deque()

    def claimed() -> Iterator[ScoringItem]:
        for claim in store.claims(keys):
            held.append(claim)
            yield keys[claim.key]

    try:
        for answer in scorer.score(claimed()):
            claim = held.popleft()
            item = keys[claim.key]
            _check_answer(answer, item, scorer)
            claim.commit(_to_fields(answer))
            claim.release()
            yield
    finally:
        for claim in held:  # the scorer failed or was stopped: others may take these
            claim.release()


def _item_key(item: ScoringItem) -> str:
    video: Any = len(item.video) if isinstance(item.video, bytes) else None
    if isinstance(item.video, Path):
        status = item.video.stat()
        video = [item.video.name, status.st_size, status.st_mtime_ns]
    return work_key(item=item.item_id, video=video, start=item.start, end=item.end)


def _check_answer(answer: ItemScores, item: ScoringItem, scorer: Scorer) -> None:
    found = None
    if answer.item_id != item.item_id:
        found = f"an answer to {answer.item_id}"
    elif (answer.scores is None) == (answer.error is None):
        found = "scores and an error, or neither"
    elif answer.scores is not None and np.shape(answer.scores) != (len(item.texts),):
        found = f"scores of shape {np.shape(answer.scores)}"
    elif answer.scores is not None and not np.isfinite(answer.scores).all():
        found = "a score that is NaN or infinite"
    if found:
        raise SynvitaError(
            f"the scorer {scorer.name} does not keep its promise for {item.item_id}",
            found=found,
            expected=f"{len(item.texts)} finite scores of this item, or an error",
        )


def _to_fields(answer: ItemScores) -> dict[str, Any]:
    if answer.error is not None:
        return {"error": answer.error.to_record()}
    # Python's floats print so that they read back exactly, float32 ones too.
    scores = np.asarray(answer.scores, dtype=np.float64).tolist()
    return {"scores": scores, "indices": list(answer.frame_indices), "details": answer.details}


def _collect(
    store: Store,
    keys: dict[str, ScoringItem],
    annotations: Annotations,
    missing: list[VideoRef],
    reused: int,
) -> Scored:
    found = Scored(np.full(len(annotations), np.nan), sorted(v.video_id for v in missing), reused=reused)
    for record in store.records(keys):
        item = keys[record.key]
        if "error" in record.fields:
            found.unreadable[item.video_id] = record.fields["error"]
            continue
        annotations.place(found.scores, item, record.fields["scores"])
        if found.frames is None:
            found.frames = {"indices": record.fields["indices"], **record.fields["details"]}
    return found
