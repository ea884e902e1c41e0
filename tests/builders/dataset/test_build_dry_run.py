"""`build --dry-run` says what a build then does, and leaves nothing; `build --json` says what it did."""

import json

import pytest
from in_process import run_program

from synvita_data.builders.dataset import BuildOptions, build_dataset
from synvita_data.builders.dataset.dry_run import dry_run
from synvita_data.errors import ScoreError, SynvitaError


def arguments(inputs, out):
    return (
        *("build", "--triplets", inputs.triplets, "--vqascores", inputs.scores, "--config", "tiny"),
        *("--synthetic", inputs.spec(), "--out", out),
    )


def files_under(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_what_is_said_is_what_a_build_does(inputs, tmp_path, capsys):
    out = tmp_path / "out"
    (inputs.videos / "msr-vtt_video99_001.mp4").write_bytes(b"of no triplet")
    with inputs.triplets.open("a") as handle:
        handle.write("videoX,msr-vtt,,a cat,train,action\n")  # no caption
    before = files_under(tmp_path)
    assert run_program(*arguments(inputs, out), "--dry-run", "--json", "-") == 0
    said = json.loads(capsys.readouterr().out)
    assert files_under(tmp_path) == before
    built = build_dataset(
        BuildOptions(
            triplets=inputs.triplets, out=out, config="tiny", synthetic=inputs.spec(), vqascores=inputs.scores
        )
    ).record
    assert said["rows"] == built["rows"] == 12
    assert said["quarantined"] == built["quarantined"] == 1
    assert said["quarantine_first"][0]["problem"] == "caption is empty"
    assert said["missing"] == {"synthetic_video": 2, "vqascores": 0}
    assert said["reads"]["synthetic"]["found"] == built["coverage"]["synthetic_video"][0] == 10
    assert said["reads"]["synthetic"]["unmatched_first"] == built["unmatched_videos_first"]
    assert {name: part["rows"] for name, part in said["splits"].items()} == {
        name: part["rows"] for name, part in built["splits"].items()
    }
    wrote = {path for path in files_under(out) if not path.startswith(".work") and "." in path}
    assert set(said["writes"]) == wrote
    assert said["replaces_rows"] is None
    # Where the config is there already, it says so.
    assert run_program(*arguments(inputs, out), "--dry-run") == 0
    text = capsys.readouterr().out
    assert "config tiny is there with 12 rows" in text
    assert "missing: 2 rows have no synthetic video" in text


def test_videos_that_would_be_made_are_not(inputs, tmp_path):
    plan = dry_run(
        BuildOptions(triplets=inputs.triplets, out=tmp_path / "out", config="s", synthetic="shapes:")
    ).record
    assert plan["reads"]["synthetic"]["wanted"] == 12
    assert plan["reads"]["synthetic"]["found"] is None
    assert not (tmp_path / "out").exists()


def test_what_a_build_refuses_is_refused(inputs, tmp_path, capsys):
    out = tmp_path / "out"
    inputs.scores.write_text("row,model,neg_caption_score,caption_score\n77,m,0.5,0.5\n")
    options = BuildOptions(triplets=inputs.triplets, out=out, config="tiny", vqascores=inputs.scores)
    with pytest.raises(ScoreError, match="does not belong to these triplets"):
        dry_run(options)
    out.write_text("a file")
    with pytest.raises(SynvitaError, match="--out is not a folder"):
        dry_run(options)
    made = run_program("build", "--triplets", "shapes:", "--out", tmp_path / "new", "--dry-run")
    assert made == 2
    assert "--dry-run reads triplets that are there" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "new").exists()


def test_the_result_as_json(inputs, tmp_path, capsys):
    out, place = tmp_path / "out", tmp_path / "built.json"
    assert run_program(*arguments(inputs, out), "--json", place) == 0
    shown = capsys.readouterr()
    assert "config tiny" in shown.out and "written:" in shown.err
    record = json.loads(place.read_text())
    assert record["record"] == json.loads((out / "build.json").read_text())["configs"]["tiny"]
    assert (record["config"], record["was_up_to_date"], record["quarantine"]) == ("tiny", False, [])
    assert run_program(*arguments(inputs, out), "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["was_up_to_date"] is True
    # Before long work.
    (tmp_path / "folder").mkdir()
    for wrong in (tmp_path / "folder", tmp_path / "none" / "x.json"):
        assert run_program(*arguments(inputs, tmp_path / "other"), "--json", wrong) == 2
    assert not (tmp_path / "other").exists()
