"""SSv2-Temporal's whole grid, 216 rendered clips times 18 captions, through `synvita evaluate`: killed and
resumed in one run, by two processes in another, with the same file in the end."""

import csv
import json
import os
import signal
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from stock_models import load, stock_log_odds

from synvita_data.builders.shapes import parse, render
from synvita_data.video import FramePolicy, decode, encode_mp4

VIDEOS, CAPTIONS, POSITIVES = 216, 18, 12
PROMPT = (
    "The following is a conversation between a curious human and AI assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions.\nHuman: <|video|>\n"
    'Human: Does this video entail the description: "{}"?\nAI: '
)
WORDING = 'USER: <video>\nDoes this video entail the description: "{}"? ASSISTANT:'
TEXTS = [
    f"A {size} {colour} {shape} moves {direction}."
    for size in ("small", "large")
    for colour in ("red", "green", "blue")
    for shape, direction in (("circle", "left"), ("square", "right"), ("star", "up"))
]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Annotations and clips."""
    folder = tmp_path_factory.mktemp("grid")
    (folder / "root").mkdir()
    assert len(set(TEXTS)) == CAPTIONS
    for number in range(VIDEOS):
        pixels = render(parse(TEXTS[number // POSITIVES]), seed=number)[::2]
        encode_mp4(pixels, 6, folder / "root" / f"{1000 + number}.mp4")
    with (folder / "pairs.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["videopath", "caption", "match"])
        for number in range(VIDEOS):
            for place, caption in enumerate(TEXTS):
                writer.writerow(
                    [f"{1000 + number}.mp4", PROMPT.format(caption), int(place == number // POSITIVES)]
                )
    return folder


# Ends itself at its 40th result: whoever kills it from outside may come when it is done.
DIES = """
import os, signal
from synvita_data.jobs import Claim
commit, results = Claim.commit, []
def counted(claim, fields=None):
    results.append(commit(claim, fields))
    if len(results) == 40:
        os.kill(os.getpid(), signal.SIGKILL)
    return results[-1]
Claim.commit = counted
from synvita_data.cli import main
main()
"""


def start(grid, checkpoint, out, rank=0, processes=1, dies=False):
    command = [
        sys.executable,
        *(["-c", DIES] if dies else ["-m", "synvita_data.cli"]),
        "evaluate",
        str(checkpoint),
        "--task",
        "ssv2-temporal",
    ]
    command += [
        "--annotations",
        str(grid / "pairs.csv"),
        "--real-root",
        str(grid / "root"),
        "--out",
        str(out),
    ]
    command += ["--device", "cpu", "--name", "tiny", "--resamples", "20"]
    launched = {"RANK": str(rank), "WORLD_SIZE": str(processes), "LOCAL_RANK": str(rank)}
    return subprocess.Popen(
        command, env={**os.environ, **launched}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    _, complaints = process.communicate(timeout=1800)
    assert process.returncode == 0, complaints


def records(out):
    return list((out / ".work").rglob("*.done.json"))


def results(out):
    (table,) = out.rglob("ssv2-temporal.parquet")
    return table, json.loads(table.with_suffix(".json").read_text())


def test_killed_resumed_and_shared_runs_give_the_same_file(grid, checkpoint_of, tmp_path):
    checkpoint = checkpoint_of("video_llava")
    disturbed, shared = tmp_path / "disturbed", tmp_path / "shared"
    process = start(grid, checkpoint, disturbed, dies=True)
    _, complaints = process.communicate()
    assert process.returncode == -signal.SIGKILL, complaints
    kept = len(records(disturbed))
    assert kept == 40
    finish(start(grid, checkpoint, disturbed))
    together = [start(grid, checkpoint, shared, rank, 2) for rank in (0, 1)]
    for each in together:
        finish(each)
    (one, first), (two, second) = results(disturbed), results(shared)
    assert one.read_bytes() == two.read_bytes()
    assert first["metrics"] == second["metrics"]
    assert first["run"]["videos_reused"] == kept
    table = pq.read_table(one)
    assert len(table) == VIDEOS * CAPTIONS
    scores = {(row["video_id"], row["caption"]): row["score"] for row in table.to_pylist()}
    stock = load(checkpoint)
    for number, caption in ((0, TEXTS[0]), (100, TEXTS[17]), (215, TEXTS[3])):
        frames = decode(grid / "root" / f"{1000 + number}.mp4", FramePolicy(count=8, rule="linspace"))
        expected = stock_log_odds(*stock, frames, WORDING.format(caption), caption)
        (found,) = (
            s
            for (video, text), s in scores.items()
            if video.endswith(f"_{1000 + number}") and text == caption
        )
        assert abs(found - expected) < 1e-5
