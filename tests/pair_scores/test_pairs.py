"""Pairs of videos and texts: scored once, in their order, whoever does it and however often it is killed."""

import csv
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from file_scorer import BROKEN, FileScorer, expected_score
from hypothesis import given, settings
from hypothesis import strategies as st
from pair_scorer import score_table

from synvita_data import score
from synvita_data.errors import CaptionError, ContextError, SchemaError, StoreError, SynvitaError
from synvita_data.pair_scores.pairs import Pair, score_pairs
from synvita_data.scoring import ItemScores

DRIVER = Path(__file__).with_name("pair_scorer.py")
VIDEOS = 6


@pytest.fixture
def folder(tmp_path):
    """A table of six videos with two texts each; its rows go round the videos twice."""
    with (tmp_path / "pairs.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "video", "text"])
        writer.writerows([f"r{i}", f"v{i % VIDEOS}.mp4", f"text {i}"] for i in range(2 * VIDEOS))
    for number in range(VIDEOS):
        (tmp_path / f"v{number}.mp4").write_bytes(b"video %d" % number)
    return tmp_path


def start(folder: Path, rank: int = 0, dies_at: object = "") -> subprocess.Popen:
    root = DRIVER.parents[2]
    environment = {**os.environ, "RANK": str(rank), "PYTHONPATH": f"{root}:{DRIVER.parent.parent}"}
    command = [sys.executable, str(DRIVER), str(folder), str(dies_at)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def scored(folder: Path) -> Counter:
    """How often each video was scored since the last call."""
    log = folder / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return Counter(line.split()[0] for line in lines)


def written(folder: Path, name: str = "scores.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="") as handle:
        return list(csv.DictReader(handle))


ONCE = Counter(f"v{number}.mp4" for number in range(VIDEOS))


def test_rows_are_written_in_their_order_and_each_video_is_asked_once(folder):
    score_table(folder, FileScorer(folder / "log"))
    assert scored(folder) == ONCE
    rows = written(folder)
    assert [row["id"] for row in rows] == [f"r{i}" for i in range(2 * VIDEOS)]
    for row in rows:
        assert float(row["score"]) == expected_score((folder / row["video"]).read_bytes(), row["text"])
        assert (row["kind"], row["model"], row["error"]) == ("log_odds", "file-scorer", "")
    first = (folder / "scores.csv").read_bytes()
    assert score_table(folder, FileScorer(folder / "log")).reused == VIDEOS
    assert not scored(folder)
    assert (folder / "scores.csv").read_bytes() == first


@pytest.mark.parametrize("dies_at", [0, 4])
def test_a_killed_run_is_resumed_to_the_byte(folder, dies_at):
    killed = start(folder, dies_at=dies_at)
    assert killed.wait(300) == -signal.SIGKILL
    killed.stderr.close()
    assert sum(scored(folder).values()) == dies_at
    assert not (folder / "scores.csv").exists()
    assert score_table(folder, FileScorer(folder / "log")).reused == dies_at
    assert sum(scored(folder).values()) == VIDEOS - dies_at
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".part-")]
    expected = (folder / "scores.csv").read_bytes()
    score_table(folder, FileScorer(), "alone.csv")
    assert (folder / "alone.csv").read_bytes() == expected


def test_processes_share_the_videos_and_only_the_first_writes(folder):
    processes = [start(folder, rank) for rank in (0, 1)]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert scored(folder) == ONCE
    assert len(written(folder)) == 2 * VIDEOS


def test_the_first_process_does_the_share_of_one_that_is_killed(folder):
    other = start(folder, 1, dies_at=2)  # it holds claims when it dies
    assert other.wait(300) == -signal.SIGKILL
    other.stderr.close()
    first = start(folder, 0)
    error = first.communicate(timeout=300)[1]
    assert first.returncode == 0, error
    assert scored(folder) == ONCE
    assert all(row["score"] for row in written(folder))


def test_a_video_that_cannot_be_read_is_said_in_its_rows_and_tried_again(folder):
    (folder / "v1.mp4").write_bytes(BROKEN)
    (folder / "v2.mp4").unlink()
    (folder / "v3.mp4").unlink()
    (folder / "v3.mp4").mkdir()
    (folder / "v4.mp4").write_bytes(b"")
    found = score_table(folder, FileScorer(folder / "log"))
    assert sorted(found.errors) == [1, 2, 3, 4, 7, 8, 9, 10]
    rows = written(folder)
    reasons = {row["video"]: row["error"] for row in rows if not row["score"]}
    assert set(reasons) == {f"v{number}.mp4" for number in (1, 2, 3, 4)}
    assert reasons["v1.mp4"].startswith("CorruptVideoError: no frame decodes")
    assert reasons["v2.mp4"].startswith("MissingVideoError")
    assert "a folder" in reasons["v3.mp4"]
    assert "empty" in reasons["v4.mp4"]
    assert str(folder) not in (folder / "scores.csv").read_text()
    assert np.isnan(found.scores[[1, 2]]).all()
    assert not np.isnan(found.scores[[0, 5]]).any()
    scored(folder)
    # Mended in place: only what had no score is scored.
    (folder / "v1.mp4").write_bytes(b"video 1")
    (folder / "v2.mp4").write_bytes(b"video 2")
    assert sorted(score_table(folder, FileScorer(folder / "log")).errors) == [3, 4, 9, 10]
    assert scored(folder) == Counter(["v1.mp4", "v2.mp4"])


def test_equal_rows_are_scored_once_and_given_twice(tmp_path):
    asked = []

    class Counting(FileScorer):
        def answer(self, item):
            asked.extend(text.caption for text in item.texts)
            return super().answer(item)

    video = tmp_path / "v.mp4"
    video.write_bytes(b"v")
    texts = ["b", "a", "b", "c", "a"]
    found = score(Counting(), [video] * 5, texts)
    assert asked == ["b", "a", "c"]
    assert found.scores.tolist() == [expected_score(b"v", text) for text in texts]
    assert found.videos == 1


def test_a_part_of_a_video_is_another_item(tmp_path):
    video = tmp_path / "v.mp4"
    video.write_bytes(b"v")
    asked = []

    class Parts(FileScorer):
        def answer(self, item):
            asked.append((item.start, item.end, len(item.texts)))
            return super().answer(item)

    windows = [(None, None), (0.0, 1.0), (None, None), (0.0, None)]
    pairs = [Pair(video, str(i), *window, name="v") for i, window in enumerate(windows)]
    score_pairs(Parts(), pairs, tmp_path / "work")
    assert asked == [(None, None, 2), (0.0, 1.0, 1), (0.0, None, 1)]


def test_a_part_is_not_taken_for_a_video_that_is_called_like_it(tmp_path):
    for name in ("v.mp4", "v.mp4 0.0-1.0"):
        (tmp_path / name).write_bytes(name.encode())
    pairs = [
        Pair(tmp_path / "v.mp4", "x", 0.0, 1.0, name="v.mp4"),
        Pair(tmp_path / "v.mp4 0.0-1.0", "x", name="v.mp4 0.0-1.0"),
    ]
    found = score_pairs(FileScorer(), pairs, tmp_path / "work")
    assert found.scores.tolist() == [expected_score(pair.video.read_bytes(), "x") for pair in pairs]


def test_a_text_that_is_too_long_leaves_the_others_of_its_video_their_scores(folder):
    """As `AlignmentScorer` says it: the video has no scores. The work of the others is found again."""

    class Narrow(FileScorer):
        def answer(self, item):
            if item.video_id == "v2.mp4" and any("8" in text.caption for text in item.texts):
                super().answer(item)  # it counts
                return ItemScores(item.item_id, None, error=ContextError("too long", found="9 tokens"))
            return super().answer(item)

    found = score_table(folder, Narrow(folder / "log"))
    assert {place: error.to_record()["reason"] for place, error in found.errors.items()} == {
        8: "ContextError"
    }
    for place, row in enumerate(written(folder)):
        if place != 8:
            assert float(row["score"]) == expected_score((folder / row["video"]).read_bytes(), row["text"])
    assert scored(folder) == {**ONCE, "v2.mp4": 3}  # all its texts, then each of the two
    again = score_table(folder, Narrow(folder / "log"))
    assert (again.scores[2], list(again.errors)) == (found.scores[2], [8])
    assert scored(folder) == {"v2.mp4": 2}


# -- from Python ------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=25)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 3), st.lists(st.text(min_size=1).filter(str.strip), max_size=3)), max_size=8
    )
)
def test_scores_are_in_the_order_given_whatever_is_repeated(rows):
    contents = [b"video %d" % number for number, _ in rows]
    texts = [own for _, own in rows]
    found = score(FileScorer(), contents, texts)
    expected = [
        [expected_score(content, text) for text in own] for content, own in zip(contents, texts, strict=True)
    ]
    assert found.scores.tolist() == [value for own in expected for value in own]
    if rows:
        assert [each.tolist() for each in found.by_video()] == expected


def test_the_forms_of_videos_and_texts(tmp_path):
    a, b = tmp_path / "a.mp4", tmp_path / "b.mp4"
    a.write_bytes(b"a")
    b.write_bytes(b"b")
    want = lambda *pairs: [expected_score(content, text) for content, text in pairs]  # noqa: E731
    scorer = FileScorer()
    assert score(scorer, [a, str(b)], "x").scores.tolist() == want((b"a", "x"), (b"b", "x"))
    assert score(scorer, [a, b], ["x", "y"]).scores.tolist() == want((b"a", "x"), (b"b", "y"))
    assert score(scorer, a, ["x", "y"]).scores.tolist() == want((b"a", "x"), (b"a", "y"))
    assert score(scorer, a, "x").scores.tolist() == want((b"a", "x"))
    cell = {"bytes": b"b", "path": "gone.mp4"}
    assert score(scorer, [cell, {"bytes": None, "path": str(a)}], "x").scores.tolist() == want(
        (b"b", "x"), (b"a", "x")
    )
    listed = score(scorer, [a, b], [["x", "y"], ["z"]]).by_video()
    assert [each.tolist() for each in listed] == [want((b"a", "x"), (b"a", "y")), want((b"b", "z"))]


def test_work_is_kept_where_a_folder_is_given(tmp_path):
    video = tmp_path / "v.mp4"
    video.write_bytes(b"v")
    log = tmp_path / "log"
    first = score(FileScorer(log), [video], "x", work=tmp_path / "work")
    again = score(FileScorer(log), [video], "x", work=tmp_path / "work")
    assert (first.reused, again.reused) == (0, 1)
    assert again.scores.tolist() == first.scores.tolist()
    video.write_bytes(b"another")  # a changed file is another video
    assert score(FileScorer(log), [video], "x", work=tmp_path / "work").reused == 0


@pytest.mark.parametrize(
    ("videos", "texts", "error", "words"),
    [
        (["a.mp4"], ["x", "y"], SchemaError, "2 texts for 1 videos"),
        ([b"a", b"b"], ["x", " "], CaptionError, "row 1: a text is empty"),
        ([b"a"], [[3]], SchemaError, "a text is not text"),
        ([3], "x", SchemaError, "this is not a video"),
        (["https://example.org/a.mp4"], "x", SchemaError, "named by a URL"),
        (["s3://bucket/a.mp4"], "x", SchemaError, "named by a URL"),
    ],
)
def test_bad_arguments(videos, texts, error, words):
    with pytest.raises(error, match=words):
        score(FileScorer(), videos, texts)


def test_a_scorer_that_is_open_takes_no_settings_and_mirrors_nothing():
    with pytest.raises(SynvitaError, match="has its own settings"):
        score(FileScorer(), [b"a"], "x", device="cpu")
    scorer = FileScorer()
    scorer.flips = "seed0"
    with pytest.raises(SynvitaError, match="which videos are mirrored"):
        score(scorer, [b"a"], "x")


def test_bytes_of_no_length_have_an_error():
    found = score(FileScorer(), [b"", b"a"], "x")
    assert list(found.errors) == [0]


# -- the name of the output -------------------------------------------------------------------------------


def test_a_file_of_another_run_is_kept(folder):
    score_table(folder, FileScorer())
    before = (folder / "scores.csv").read_bytes()
    other = FileScorer()
    other.revision, other.settings = "2", {"made_for": "others"}
    with pytest.raises(
        StoreError, match=r"belongs to another run.*revision '1'.*Expected: .*'2'.*--overwrite"
    ):
        score_table(folder, other)
    assert (folder / "scores.csv").read_bytes() == before
    score_table(folder, other, overwrite=True)
    with pytest.raises(StoreError, match="belongs to another run"):
        score_table(folder, FileScorer())
    # Of the same run with more rows it is written again.
    with (folder / "pairs.csv").open("a") as handle:
        handle.write("more,v0.mp4,one more\n")
    score_table(folder, other)
    assert len(written(folder)) == 2 * VIDEOS + 1


def test_a_file_of_nobody_is_kept_and_so_is_what_is_read(folder):
    (folder / "mine.csv").write_text("precious")
    with pytest.raises(StoreError, match="no run of synvita score wrote"):
        score_table(folder, FileScorer(), "mine.csv")
    with pytest.raises(StoreError, match="replace what is read"):
        score_table(folder, FileScorer(), "pairs.csv", overwrite=True)
    assert (folder / "mine.csv").read_text() == "precious"


def test_a_name_that_is_taken_while_a_run_works_is_not_written(folder):
    class Slow(FileScorer):
        def answer(self, item):
            other = FileScorer()
            other.revision = "2"
            score_table(folder, other, overwrite=True) if item.video_id == "v3.mp4" else None
            return super().answer(item)

    with pytest.raises(StoreError, match="belongs to another run"):
        score_table(folder, Slow())
    assert len(written(folder)) == 2 * VIDEOS
