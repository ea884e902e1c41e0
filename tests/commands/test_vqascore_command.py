"""`synvita vqascore` as it is typed."""

import csv

import numpy as np
import pytest
from typer.testing import CliRunner

from synvita_data.builders.vqascore import ALIASES
from synvita_data.cli import app
from synvita_data.models.resolve import locate
from synvita_data.tables.scores import read_scores


@pytest.fixture
def folder(tmp_path):
    from synvita_data.video import encode_mp4

    rows = [
        ["video0", "msr-vtt", "a dog runs", "a cat runs"],
        ["video1", "msr-vtt", "a man sings", "a man talks"],
    ]
    with (tmp_path / "triplets.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([["videopath", "source", "caption", "neg_caption"], *rows])
    (tmp_path / "made").mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 255, (8, 32, 48, 3), dtype=np.uint8)
        encode_mp4(pixels, 8, tmp_path / "made" / f"msr-vtt_video{i}_001.mp4")
    return tmp_path


def run(folder, *more, model):
    arguments = ["--triplets", folder / "triplets.csv", "--synthetic", f"folder:{folder / 'made'}"]
    arguments += ["--model", model, "--out", folder / "scores.parquet", *more]
    return CliRunner().invoke(app, ["vqascore", *map(str, arguments)], env={"COLUMNS": "200"})


def test_from_captions_to_a_table(folder):
    from synvita_data.testing import make_tiny

    model = make_tiny("llava", folder / "tiny@home")
    partly = run(folder, "--limit", 1, "--frames", 2, model=model)
    assert partly.exit_code == 0, partly.output
    assert "not complete: 2 scores in" in partly.output
    done = run(folder, "--frames", 2, "--config", "cogvideox", "--score", "first-token", model=model)
    assert done.exit_code == 0, done.output
    assert "scoring with tiny@home: 2 of 2 done (1 found done, 1 made now)" in done.output
    assert f"Next: synvita build --triplets {folder / 'triplets.csv'} --synthetic folder:" in done.output
    table = read_scores(folder / "scores.parquet")
    assert table.models == ("tiny@home",)
    assert len(table) == 2
    assert all("-cogvideox-001" in key for key in table.unused())
    bad = folder / "made" / "msr-vtt_video1_001.mp4"
    bad.write_bytes(bad.read_bytes()[:200])
    again = run(folder, "--frames", 2, model=model)
    assert again.exit_code == 1, again.output
    assert "1 video cannot be scored" in again.output


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--dtype", "int8"], "unknown dtype"),
        (["--frames", "4", "--rule", "mine"], "unknown rule"),
        ([], "the model cannot be found"),
    ],
)
def test_mistakes_are_explained_before_anything_is_loaded(folder, more, problem):
    result = run(folder, *more, model="no/such-model-anywhere")
    assert result.exit_code != 0
    assert problem in str(result.exception) + result.output


def test_a_revision_follows_an_at_sign(tmp_path):
    """Of a Hub id or an alias; a folder may have an @ in its name."""
    for name, expected in {
        "clip-flant5-xxl": ("zhiqiulin/clip-flant5-xxl", None),
        "llava-1.5-7b@v1": ("llava-hf/llava-1.5-7b-hf", "v1"),
        "Qwen/Qwen3-VL-8B-Instruct@main": ("Qwen/Qwen3-VL-8B-Instruct", "main"),
        str(tmp_path / "my@model"): (str(tmp_path / "my@model"), None),
    }.items():
        (tmp_path / "my@model").mkdir(exist_ok=True)
        files = locate(name, aliases=ALIASES)
        assert (files.location, files.revision) == expected
