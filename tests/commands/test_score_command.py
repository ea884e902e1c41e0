"""`synvita score` from the outside: tables in, tables out, by every kind of scorer."""

import csv
import doctest
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from in_process import run_program

from synvita_data import open_scorer, score
from synvita_data.captions import Text
from synvita_data.scoring import ScoringItem
from synvita_data.testing import make_tiny
from synvita_data.video import decode, encode_mp4

ROWS = [
    ("a", "v0.mp4", "a dog runs over the field"),
    ("b", "v1.mp4", "a cat sleeps"),
    ("c", "bad.mp4", "a cat sleeps"),
    ("d", "v0.mp4", "a cat sleeps"),
    ("e", "gone.mp4", "a cat sleeps"),
    ("f", "v0.mp4", "a dog runs over the field"),
]
GOOD = [place for place, (_, video, _) in enumerate(ROWS) if video.startswith("v")]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {family: make_tiny(family, folder / family) for family in ("video_llava", "clip", "llava")}


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (12, 32, 48, 3), dtype=np.uint8)
        encode_mp4(pixels, 8, folder / f"v{number}.mp4")
    (folder / "bad.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture
def table(tmp_path):
    with (tmp_path / "pairs.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([("id", "video", "text"), *ROWS])
    return tmp_path / "pairs.csv"


@pytest.fixture
def synvita(capsys):
    """Run the program in this process: exit status, standard output and error as one line each."""

    def run(*arguments):
        status = run_program(*arguments)
        out, err = capsys.readouterr()
        return status, " ".join(out.split()), " ".join(err.split())

    return run


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def numbers(rows) -> list[float]:
    return [float(rows[place]["score"]) for place in GOOD]


def test_a_video_llm_gives_what_the_plain_model_gives(tiny, videos, table, synvita, tmp_path):
    from synvita_data.models.loading import load_alignment_model
    from synvita_data.models.resolve import find_checkpoint

    name = str(tiny["video_llava"])
    status, shown, _ = synvita("score", table, "--root", videos, "--model", name, "--out", tmp_path / "s.csv")
    assert status == 1
    assert "4 of 6 rows scored" in shown
    assert "row 2 (c): bad.mp4: NotAVideoError" in shown
    assert "row 4 (e): gone.mp4: MissingVideoError" in shown
    rows = read(tmp_path / "s.csv")
    assert [(row["id"], row["video"], row["text"]) for row in rows] == ROWS
    assert {(row["kind"], row["model"]) for row in rows} == {("log_odds", name)}
    assert [bool(row["error"]) for row in rows] == [place not in GOOD for place in range(len(ROWS))]
    # One text at a time, without a prefix that is shared.
    model, _ = load_alignment_model(find_checkpoint(name), dtype="float32", device="cpu")
    plain = []
    for place in GOOD:
        _, video, text = ROWS[place]
        prepared = model.prepare(decode(videos / video, model.family.default_frames()))
        plain.append(model([prepared], [[Text(text)]], strategy="plain").log_odds.item())
    assert numbers(rows) == pytest.approx(plain, abs=1e-4)
    # From Python, the same to the last bit.
    own = score(name, [videos / video for _, video, _ in ROWS], [text for _, _, text in ROWS], device="cpu")
    assert [own.scores[place] for place in GOOD] == numbers(rows)
    assert sorted(own.errors) == [2, 4]
    note = json.loads((tmp_path / "s.csv.json").read_text())
    assert (note["model"], note["source"], note["prompt"]) == (name, "pairs.csv", "video-llava")
    # A second run scores nothing; another model may not take its name.
    shown = synvita("score", table, "--root", videos, "--model", name, "--out", tmp_path / "s.csv")[1]
    assert "2 of them scored before" in shown
    status, _, error = synvita(
        "score", table, "--root", videos, "--model", "chance", "--out", tmp_path / "s.csv"
    )
    assert status == 2
    assert "belongs to another run" in error


def test_clip_gives_similarities(tiny, videos, table, synvita, tmp_path):
    name = str(tiny["clip"])
    line = ("score", table, "--root", videos, "--model", name, "--out", tmp_path / "s.jsonl", "--frames", 3)
    assert synvita(*line)[0] == 1
    rows = [json.loads(each) for each in (tmp_path / "s.jsonl").read_text().splitlines()]
    scorer = open_scorer(name, device="cpu", frames={"count": 3})
    for place in GOOD:
        _, video, text = ROWS[place]
        item = ScoringItem("i", "v", videos / video, (Text(text),), ("t",))
        assert rows[place]["score"] == next(iter(scorer.score([item]))).scores[0]
        assert rows[place]["kind"] == "similarity"
    assert rows[2]["score"] is None
    status, _, error = synvita(*line, "--prompt", "question")
    assert status == 2
    assert "these options are for Video LLMs" in error


def test_vqa_models_give_vqascore(tiny, videos, table, synvita, tmp_path):
    line = ("score", table, "--root", videos, "--model", tiny["llava"], "--device", "cpu")
    assert synvita(*line, "--out", tmp_path / "s.csv")[0] == 1
    assert synvita(*line, "--out", tmp_path / "f.csv", "--vqascore", "first-token")[0] == 1
    reference, first = read(tmp_path / "s.csv"), read(tmp_path / "f.csv")
    assert {row["kind"] for row in reference} == {"probability"}
    assert numbers(reference) != numbers(first)
    assert json.loads((tmp_path / "f.csv.json").read_text())["settings"]["method"].startswith(
        "first-token score"
    )
    status, _, error = synvita(*line, "--out", tmp_path / "o.csv", "--prompt", "question", "--way", "plain")
    assert status == 2
    assert "these options are not for VQAScore. Found: --prompt, --way" in error
    # A Video LLM that sees the whole video.
    whole = ("score", table, "--root", videos, "--model", tiny["video_llava"], "--whole-video")
    assert synvita(*whole, "--out", tmp_path / "w.csv")[0] == 1
    assert {row["kind"] for row in read(tmp_path / "w.csv")} == {"probability"}


def test_options_of_video_llms_arrive(tiny, videos, synvita, tmp_path):
    """Those of `synvita evaluate`, all but --flips: here are no rows of a released file."""
    common = ("score", videos, "--text", "a dog", "--model", tiny["video_llava"])
    assert synvita(*common, "--out", tmp_path / "a.csv")[0] == 1
    more = ("--frames", 4, "--prompt", "question", "--feature-cache", tmp_path / "cache", "--way", "plain")
    assert synvita(*common, "--out", tmp_path / "b.csv", *more)[0] == 1
    note = json.loads((tmp_path / "b.csv.json").read_text())
    assert (note["frames"]["count"], note["prompt"], note["settings"]["way"]) == (4, "question", "plain")
    assert any((tmp_path / "cache").rglob("*"))
    rate = ("--fps", 4, "--max-frames", 3)
    assert synvita(*common, "--out", tmp_path / "r.csv", *rate)[0] == 1
    policy = json.loads((tmp_path / "r.csv.json").read_text())["frames"]
    assert (policy["fps"], policy["max_frames"]) == (4, 3)
    status, _, error = synvita(*common, "--out", tmp_path / "x.csv", *rate, "--frames", 4)
    assert status == 2
    assert "--frames, or --fps with or without --max-frames" in error
    released = ("--mode", "released", "--backend", "pyav", "--preprocess", "processor")
    status, shown, _ = synvita(*common, "--out", tmp_path / "c.csv", *released)
    assert status == 1
    assert "readout released" in shown
    assert "flips" not in shown
    assert {row["kind"] for row in read(tmp_path / "c.csv")} == {"probability"}
    assert [row["video"] for row in read(tmp_path / "c.csv")] == ["bad.mp4", "v0.mp4", "v1.mp4"]
    assert "--flips" not in synvita("score", "--help")[1]


# The program, killed behind the given number of saved videos.
KILLED = """
import os, signal, sys
from synvita_data.cli import main
from synvita_data.jobs import Claim

commit, left = Claim.commit, [int(sys.argv.pop(1))]

def killing(self, *given, **named):
    commit(self, *given, **named)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)

Claim.commit = killing
main()
"""


def test_the_program_is_killed_and_run_again(videos, synvita, tmp_path):
    (videos / "bad.mp4").unlink()
    line = ("score", videos, "--text", "a dog", "--text", "a cat", "--model", "chance", "--out")
    killed = subprocess.run([sys.executable, "-c", KILLED, "1", *map(str, line), str(tmp_path / "s.csv")])
    assert killed.returncode == -signal.SIGKILL
    assert sorted(path.name for path in tmp_path.iterdir()) == [".work", "s.csv.json", "videos"]
    status, shown, _ = synvita(*line, tmp_path / "s.csv")
    assert status == 0
    assert "4 of 4 rows scored" in shown
    assert "2 videos, 1 of them scored before" in shown
    assert synvita(*line, tmp_path / "whole.csv", "--work", tmp_path / "other")[0] == 0
    assert (tmp_path / "s.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            ["{table}", "--root", "{videos}", "--out", "s.xlsx"],
            "s.xlsx: scores are not written in this format",
        ),
        (["{table}", "--out", "s.csv"], "pairs.csv, row 0: none of the videos is there"),
        (["{table}", "--out", "s.csv", "--text", "x"], "the table has texts, and others are given"),
        (["{videos}", "--out", "s.csv"], "a folder of videos has no texts"),
        (["{videos}", "--out", "s.csv", "--text", " "], "row 0: a text is empty"),
        (["{table}", "--out", "s.csv", "--text-column", "words"], "no column for text"),
    ],
)
def test_mistakes_end_before_anything_is_written(videos, table, synvita, tmp_path, monkeypatch, line, words):
    monkeypatch.chdir(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    places = {"table": table, "videos": videos}
    status, _, error = synvita("score", "--model", "chance", *(each.format(**places) for each in line))
    assert status == 2
    assert words in error
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_text_that_the_model_cannot_take_names_its_row(tiny, videos, synvita, tmp_path):
    (tmp_path / "pairs.csv").write_text("video,text\nv0.mp4,a dog\nv1.mp4,a <video> dog\n")
    line = ("--root", videos, "--model", tiny["video_llava"], "--out", tmp_path / "s.csv")
    status, _, error = synvita("score", tmp_path / "pairs.csv", *line)
    assert status == 2
    assert "pairs.csv, row 1:" in error


def test_the_examples_of_the_page(repo_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, attempted = doctest.testfile(str(repo_root / "docs" / "scoring.md"), module_relative=False)
    assert attempted >= 8
    assert failed == 0
