"""`synvita generate` from the outside: what it prints, and how it ends."""

import json

import pytest
from small_program import videos, write_program
from typer.testing import CliRunner

from synvita_data.cli import app

CSV = """videopath,source,caption,neg_caption,youtube_key,split,misalignment
v1,vatex,a man runs,a dog runs,,train,object
v2,vatex,a man sits,a {second},,train,action
"""


@pytest.fixture
def world(tmp_path):
    """(arguments, out): what a user would type, on a program in place of a model."""
    (tmp_path / "triplets.csv").write_text(CSV.format(second="man stands"))
    out = tmp_path / "out"
    spec = write_program(tmp_path / "program")
    return [
        "generate",
        "--triplets",
        str(tmp_path / "triplets.csv"),
        "--generator",
        spec,
        "--out",
        str(out),
    ], out


def run(arguments):
    return CliRunner().invoke(app, arguments)


def test_makes_and_finds_again(world, tmp_path):
    arguments, out = world
    result = run([*arguments, "--samples", "2", "--set", "timeout=60"])
    assert result.exit_code == 0, result.output
    assert "4 of 4 done (0 found done, 4 made now)" in result.output
    table = tmp_path / "triplets.csv"
    assert f"synvita build --triplets {table} --synthetic folder:{out} --out DATASET" in result.output
    assert len(videos(out)) == 4
    assert "4 found done, 0 made now" in run([*arguments, "--samples", "2", "--verify"]).output


def test_failed_rows_are_told_and_end_with_1(world, tmp_path):
    arguments, out = world
    (tmp_path / "triplets.csv").write_text(CSV.format(second="crash"))
    result = run(arguments)
    assert result.exit_code == 1
    assert "1 failed and are in quarantine" in result.output
    assert "exit code 3" in result.output
    assert len(videos(out)) == 1
    assert (out / "quarantine.jsonl").is_file()


@pytest.mark.parametrize("wrong", [["--set", "frames=9"], ["--generator", "folder:."], ["--shard", "2/2"]])
def test_what_cannot_be_is_said_before_anything_is_made(world, wrong):
    arguments, out = world
    result = run([*arguments, *wrong])
    assert result.exit_code != 0
    assert type(result.exception).__name__ in ("SourceError", "EngineError")
    assert videos(out) == {}


def test_limit_and_shards(world):
    arguments, out = world
    assert "1 left for another run" in run([*arguments, "--limit", "1"]).output
    for shard in ("0/2", "1/2"):
        assert run([*arguments, "--shard", shard]).exit_code == 0
    assert len(videos(out)) == 2


def test_rows_of_the_file_that_cannot_be_used_are_told(world, tmp_path):
    arguments, out = world
    (tmp_path / "triplets.csv").write_text(
        CSV.format(second="man stands") + "v3,vatex,a man,  ,,train,action\n"
    )
    result = run(arguments)
    assert result.exit_code == 1  # as of a build: somebody should look
    assert "1 row of" in result.output
    [record] = [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]
    assert (record["reason"], record["row"]) == ("CaptionError", 2)
    assert len(videos(out)) == 2
