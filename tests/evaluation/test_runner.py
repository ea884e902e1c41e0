"""Runs that are disturbed: killed, failing, shared, with videos missing, broken and replaced."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from file_scorer import BROKEN, FileScorer, expected_score
from small_annotations import VIDEOCON_HEADER, VIDEOCON_ROWS, ssv2_pairs, write_csv, write_ssv2

from synvita_data.annotations import read_annotations
from synvita_data.errors import SynvitaError
from synvita_data.evaluation.scoring import process_count, process_rank, run_key, score_task
from synvita_data.real_videos.find import RealVideos
from synvita_data.scoring import ItemScores
from synvita_data.scoring.open import ChanceScorer
from synvita_data.tasks import get_task
from synvita_data.video import FramePolicy

TASK = get_task("ssv2-temporal")
VIDEOS = 8
PAIRS = ssv2_pairs(videos=VIDEOS)
DRIVER = Path(__file__).resolve().parent.parent / "file_scorer.py"


class Setup:
    """A small task in a folder: annotations, files that stand for videos, a log of what was scored."""

    def __init__(self, folder):
        self.folder = folder
        self.root = folder / "root"
        (self.root / "videos").mkdir(parents=True)
        for number in range(VIDEOS):
            self.file(number).write_bytes(b"video %d" % number)
        self.annotations = read_annotations("ssv2-temporal", write_ssv2(folder / "pairs.csv", PAIRS))

    def file(self, number):
        return self.root / f"videos/{10 + number}.avi"

    def run(self, scorer=None, work="work", **options):
        scorer = scorer or FileScorer(self.folder / "log")
        return score_task(
            scorer, TASK, self.annotations, RealVideos(self.root), self.folder / work, **options
        )

    def start(self, rank=0, processes=1, fails_at="", dies_at="", pause=0.0):
        environment = {
            **os.environ,
            "RANK": str(rank),
            "WORLD_SIZE": str(processes),
            "PYTHONPATH": str(DRIVER.parents[2]),
        }
        arguments = [str(self.folder), str(fails_at), str(dies_at), str(pause)]
        command = [sys.executable, str(DRIVER), *arguments]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    def scored(self):
        """How often each video was scored since the last call."""
        log = self.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return Counter(int(line.split()[0].removeprefix("ssv2_")) - 10 for line in lines)

    def expected(self, without=()):
        """By (videopath, caption), from the files themselves."""
        return {
            (path, caption): expected_score((self.root / path).read_bytes(), caption)
            for path, caption, _ in PAIRS
            if int(path[7:9]) - 10 not in without
        }

    def by_text(self, scores):
        rows = zip(self.annotations.videopath, self.annotations.caption, scores.tolist(), strict=True)
        return {(path, caption): score for path, caption, score in rows if not np.isnan(score)}


@pytest.fixture
def setup(tmp_path):
    return Setup(tmp_path)


ALL_ONCE = Counter(range(VIDEOS))


def test_every_text_gets_its_score_and_a_second_run_scores_nothing(setup):
    found = setup.run()
    assert setup.by_text(found.scores) == setup.expected()
    assert setup.scored() == ALL_ONCE
    assert (found.reused, found.missing, found.unreadable, found.left_out) == (0, [], {}, 0)
    assert found.frames == {f"ssv2_{10 + n}": (0, len(b"video 0")) for n in range(VIDEOS)}
    assert found.details == {"backend": "none"}
    again = setup.run()
    assert again.scores.tobytes() == found.scores.tobytes()
    assert again.reused == VIDEOS
    assert not setup.scored()


def test_a_video_of_several_rows_is_scored_once_a_text(tmp_path):
    path = write_csv(tmp_path / "videocon_llm_entailment.csv", VIDEOCON_ROWS, VIDEOCON_HEADER)
    annotations = read_annotations("videocon-llm", path)
    asked = []

    class Counting(FileScorer):
        def answer(self, item):
            asked.extend((item.video_id, text.caption) for text in item.texts)
            return super().answer(item)

    found = score_task(Counting(), get_task("videocon-llm"), annotations, lambda v: v.name.encode(), tmp_path)
    texts = {(row[0], caption) for row in VIDEOCON_ROWS if row[5] == "test" for caption in row[2:4]}
    assert len(asked) == len(set(asked)) == len(texts)
    names = [annotations.videos[code].name for code in annotations.video]
    expected = [expected_score(n.encode(), c) for n, c in zip(names, annotations.caption, strict=True)]
    assert found.scores.tolist() == expected


def test_a_scorer_that_fails_loses_nothing_it_had_answered(setup):
    with pytest.raises(RuntimeError, match="out of memory"):
        setup.run(FileScorer(setup.folder / "log", fails_at=3))
    assert setup.scored() == Counter(range(3))
    found = setup.run()
    assert found.reused == 3
    assert setup.scored() == Counter(range(3, VIDEOS))
    assert setup.by_text(found.scores) == setup.expected()


@pytest.mark.parametrize("dies_at", [0, 1, 5])
def test_a_killed_run_is_resumed_to_the_bit(setup, dies_at):
    killed = setup.start(dies_at=dies_at)
    assert killed.wait(300) == -signal.SIGKILL
    killed.stderr.close()
    assert setup.scored() == Counter(range(dies_at))
    found = setup.run()
    assert found.reused == dies_at
    assert setup.scored() == Counter(range(dies_at, VIDEOS))
    undisturbed = setup.run(work="other")
    assert found.scores.tobytes() == undisturbed.scores.tobytes()


def changed(**attributes):
    scorer = ChanceScorer()
    for name, value in attributes.items():
        setattr(scorer, name, value)
    return scorer


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"revision": "2"},
        {"name": "other"},
        {"kind": "similarity"},
        {"prompt": "question"},
        {"frames": FramePolicy(count=4)},
        {"settings": {"seed": 0, "dtype": "bfloat16"}},
    ],
)
def test_a_changed_setting_has_another_key_and_scores_anew(setup, change):
    before = run_key(ChanceScorer(), TASK, setup.annotations)
    assert run_key(changed(**change), TASK, setup.annotations) != before
    scorer = FileScorer(setup.folder / "log")
    setup.run(scorer)
    setup.scored()
    for name, value in change.items():
        setattr(scorer, name, value)
    assert setup.run(scorer).reused == 0
    assert setup.scored() == ALL_ONCE


def test_another_frame_policy_has_another_key(setup):
    keys = [
        run_key(changed(frames=policy), TASK, setup.annotations)
        for policy in (
            None,
            FramePolicy(count=8),
            FramePolicy(count=4),
            FramePolicy(count=8, rule="linspace"),
            FramePolicy(count=8, backend="decord"),
            FramePolicy(count=8, size=28),
        )
    ]
    assert len(set(keys)) == len(keys)
    assert run_key(changed(frames=FramePolicy(count=8)), TASK, setup.annotations) == keys[1]


def test_changed_annotations_never_reuse(setup):
    setup.run()
    setup.scored()
    swapped = [(path, caption, 1 - match) for path, caption, match in PAIRS]
    setup.annotations = read_annotations("ssv2-temporal", write_ssv2(setup.folder / "pairs.csv", swapped))
    assert setup.run().reused == 0
    assert setup.scored() == ALL_ONCE


def test_the_order_of_the_annotation_file_does_not_matter(setup):
    scores = setup.run().scores
    setup.scored()
    setup.annotations = read_annotations("ssv2-temporal", write_ssv2(setup.folder / "pairs.csv", PAIRS[::-1]))
    again = setup.run()
    assert again.reused == VIDEOS
    assert again.scores.tobytes() == scores.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"another video", b"video 9"])
def test_a_replaced_video_is_scored_again(setup, content):
    setup.run()
    setup.scored()
    setup.file(2).write_bytes(content)
    os.utime(setup.file(2), ns=(1, 1))
    found = setup.run()
    assert setup.scored() == Counter([2])
    assert found.reused == VIDEOS - 1
    assert setup.by_text(found.scores) == setup.expected()


def test_videos_given_as_bytes_are_told_apart_by_their_content(setup):
    content = {"videos/10.avi": b"one"}

    def resolve(video):
        return content.get(video.videopath, b"all others")

    def run():
        return score_task(
            FileScorer(setup.folder / "log"), TASK, setup.annotations, resolve, setup.folder / "work"
        )

    run()
    setup.scored()
    content["videos/10.avi"] = b"two"
    found = run()
    assert setup.scored() == Counter([0])
    assert setup.by_text(found.scores)["videos/10.avi", PAIRS[0][1]] == expected_score(b"two", PAIRS[0][1])


def test_missing_videos_are_listed_and_scored_when_they_come(setup):
    content = setup.file(3).read_bytes()
    setup.file(3).unlink()
    setup.file(6).unlink()
    found = setup.run()
    assert found.missing == ["ssv2_13", "ssv2_16"]
    assert setup.by_text(found.scores) == setup.expected(without={3, 6})
    assert found.to_record()["videos_missing"] == ["ssv2_13", "ssv2_16"]
    setup.scored()
    setup.file(3).write_bytes(content)
    assert setup.run().missing == ["ssv2_16"]
    assert setup.scored() == Counter([3])


def test_unreadable_videos_are_listed_and_looked_at_again_in_the_next_run(setup):
    content = setup.file(4).read_bytes()
    setup.file(4).write_bytes(BROKEN + content[len(BROKEN) :])
    times = setup.file(4).stat()
    seen = []
    found = setup.run(on_progress=seen.append)
    assert list(found.unreadable) == ["ssv2_14"]
    record = found.to_record()["videos_unreadable"][0]
    assert (record["video_id"], record["reason"]) == ("ssv2_14", "CorruptVideoError")
    assert record["file"] == str(setup.file(4))
    assert setup.by_text(found.scores) == setup.expected(without={4})
    assert (seen[-1].done, seen[-1].total, seen[-1].failed, seen[-1].found) == (VIDEOS - 1, VIDEOS, 1, 0)
    assert setup.scored() == ALL_ONCE

    # Mended in place, as a file system that works again would: nothing of the file tells.
    setup.file(4).write_bytes(content)
    os.utime(setup.file(4), ns=(times.st_atime_ns, times.st_mtime_ns))
    mended = setup.run()
    assert mended.unreadable == {}
    assert setup.scored() == Counter([4])
    assert setup.by_text(mended.scores) == setup.expected()


def test_a_damaged_record_is_scored_again(setup):
    scores = setup.run().scores
    setup.scored()
    records = sorted((setup.folder / "work").rglob("*.done.json"))
    assert len(records) == VIDEOS
    records[0].write_bytes(records[0].read_bytes()[:40])
    records[1].write_bytes(b"")
    records[2].unlink()
    again = setup.run()
    assert setup.scored().total() == 3
    assert again.scores.tobytes() == scores.tobytes()


def test_limit_takes_the_first_videos_that_are_there(setup):
    setup.file(0).unlink()
    found = setup.run(limit=2)
    assert setup.scored() == Counter([1, 2])
    assert found.left_out == VIDEOS - 3
    assert found.missing == ["ssv2_10"]
    assert setup.by_text(found.scores) == setup.expected(without={0, *range(3, VIDEOS)})
    assert setup.run().reused == 2  # a trial is no waste


def test_two_processes_share_the_videos_and_count_none_twice(setup):
    alone = setup.run(work="alone").scores
    setup.scored()
    processes = [setup.start(rank, 2, pause=0.15) for rank in (0, 1)]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    by_rank = Counter(line.split()[1] for line in (setup.folder / "log").read_text().splitlines())
    assert setup.scored() == ALL_ONCE
    assert set(by_rank) <= {"0", "1"}
    assert np.load(setup.folder / "scores-0.npy").tobytes() == alone.tobytes()
    assert not (setup.folder / "scores-1.npy").exists()


@pytest.mark.parametrize("how", ["fails_at", "dies_at"])
def test_the_first_process_does_the_share_of_one_that_fails(setup, how):
    alone = setup.run(work="alone").scores
    setup.scored()
    other = setup.start(1, 2, pause=0.4, **{how: 2})  # holds three claims while it works on the first
    while not (setup.folder / "log").exists():
        assert other.poll() is None
        time.sleep(0.01)
    first = setup.start(0, 2)
    first_error = first.communicate(timeout=300)[1]
    other_error = other.communicate(timeout=300)[1]
    assert other.returncode == (1 if how == "fails_at" else -signal.SIGKILL)
    assert "out of memory" in other_error or how == "dies_at"
    assert first.returncode == 0, first_error
    assert setup.scored() == ALL_ONCE
    assert np.load(setup.folder / "scores-0.npy").tobytes() == alone.tobytes()


def test_progress_never_goes_back_and_ends_at_the_end(setup):
    seen = []
    setup.run(
        FileScorer(fails_at=None), on_progress=lambda progress: seen.append((progress.done, progress.total))
    )
    assert seen == sorted(seen)
    assert seen[0] == (0, VIDEOS)
    assert seen[-1] == (VIDEOS, VIDEOS)


class Careless(FileScorer):
    """Answers as `how` says, wrongly."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def score(self, items):
        items = list(items) if self.how in ("too few", "too many") else items
        answers = map(self.answer, items)
        if self.how == "too few":
            yield from list(answers)[:-1]
        elif self.how == "too many":
            yield from answers
            yield self.answer(items[0])
        else:
            yield from (self.spoil(answer) for answer in answers)

    def spoil(self, answer):
        scores = answer.scores
        if self.how == "other item":
            return replace(answer, item_id="ssv2-temporal:ssv2_99")
        if self.how == "neither":
            return replace(answer, scores=None)
        if self.how == "both":
            return replace(answer, error=SynvitaError("no"))
        bad = {
            "nan": np.append(scores[1:], np.nan),
            "infinite": np.append(scores[1:], np.inf),
            "short": scores[1:],
            "square": np.outer(scores, scores),
        }
        return ItemScores(answer.item_id, bad[self.how])


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("other item", "an answer to ssv2-temporal:ssv2_99"),
        ("neither", "neither"),
        ("both", "scores and an error"),
        ("nan", "NaN or infinite"),
        ("infinite", "NaN or infinite"),
        ("short", r"shape \(2,\)"),
        ("square", r"shape \(3, 3\)"),
        ("too few", "no answer"),
        ("too many", "an answer to nothing"),
    ],
)
def test_a_scorer_is_held_to_its_promise(setup, how, found):
    with pytest.raises(SynvitaError, match=f"file-scorer does not keep its promise for .*{found}"):
        setup.run(Careless(how))
    # What it got right before is kept, what it got wrong is not; and nothing stays claimed.
    setup.scored()
    kept = {"too few": VIDEOS - 1, "too many": VIDEOS}.get(how, 0)
    result = setup.run()
    assert result.reused == kept
    assert setup.by_text(result.scores) == setup.expected()


def test_a_store_that_cannot_be_written_is_an_error_that_names_it(setup):
    (setup.folder / "taken").write_text("a file")
    with pytest.raises(SynvitaError, match="taken"):
        setup.run(work="taken")


@pytest.mark.parametrize(
    ("environment", "rank", "count"),
    [
        ({}, 0, 1),
        ({"RANK": "1", "WORLD_SIZE": "2"}, 1, 2),  # accelerate launch, torchrun
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "3"}, 2, 3),  # Open MPI
        ({"PMI_RANK": "1", "PMI_SIZE": "4"}, 1, 4),  # MPICH, Intel MPI
    ],
)
def test_rank_as_launchers_set_it(monkeypatch, environment, rank, count):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (process_rank(), process_count()) == (rank, count)
