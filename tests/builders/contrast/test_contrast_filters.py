"""Filters as jobs of `synvita contrast`: their verdicts stand in the triplets and in the dataset, and are asked for once."""

import json
import shutil

import pytest
from in_process import run_program
from safetensors.torch import load_file, save_file

from synvita_data import load_triplets
from synvita_data.builders.contrast.writing.registry import ContrastOptions
from synvita_data.builders.contrast.writing.run import write_contrasts
from synvita_data.builders.dataset import BuildOptions, build_dataset
from synvita_data.builders.shapes import draw_pairs, render
from synvita_data.builders.shapes.pixels import REAL
from synvita_data.builders.triplets import TripletReader
from synvita_data.testing import make_tiny
from synvita_data.video import encode_mp4


@pytest.fixture(scope="module")
def nli(tmp_path_factory):
    return make_tiny("nli", tmp_path_factory.mktemp("models") / "tiny-nli")


@pytest.fixture
def sure(nli, tmp_path):
    """The same model, which finds that everything entails everything."""
    folder = shutil.copytree(nli, tmp_path / "sure")
    labels = json.loads((folder / "config.json").read_text())["id2label"]
    label = next(int(number) for number, name in labels.items() if name.lower().startswith("entail"))
    weights = load_file(folder / "model.safetensors")
    name = next(
        name for name, value in weights.items() if name.endswith("bias") and len(value) == len(labels)
    )
    weights[name][label] += 1000.0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def world(tmp_path):
    """Six captions, the real clips of four of them."""
    lines = ["videopath,source,caption"]
    for pair in draw_pairs(6):
        lines.append(f"{pair.triplet.videopath},shapes,{pair.triplet.caption.replace(',', '')}")
    for pair in list(draw_pairs(4)):
        path = tmp_path / "real" / pair.triplet.videopath
        path.parent.mkdir(parents=True, exist_ok=True)
        encode_mp4(render(pair.scene, pair.real_seed, REAL), REAL.fps, path)
    (tmp_path / "captions.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def write(world, name="t.csv", **more):
    more = {"misalignments": ("object",), **more}
    return write_contrasts(
        ContrastOptions(captions=world / "captions.csv", out=world / name, writer="shapes", **more)
    )


@pytest.mark.slow
def test_scores_stand_in_the_dataset(world, nli):
    plain = write(world, "plain.csv")
    report = write(world, nli=str(nli))
    assert (report.rows, report.kinds["object"].filtered) == (plain.rows, {})
    out = world / "dataset"
    build_dataset(BuildOptions(triplets=world / "t.csv", out=out, config="c"))
    for row in load_triplets(str(out), split="train"):
        mechanical, check = row["contrast"]["checks"]
        assert mechanical["name"] == "mechanical"
        assert (check["name"], check["model"], check["threshold"]) == ("nli", "tiny-nli", 0.5)
        assert 0 < check["score"] < 0.5
        assert check["revision"]
    assert "nli by tiny-nli at 0.5" in (out / "README.md").read_text().replace("\\", "")
    # Found done.
    again = write(world, nli=str(nli))
    assert [job.made for job in again.jobs] == [0, 0]


def test_what_is_entailed_is_dropped_with_its_reason(world, sure, capsys):
    report = write(world, nli=str(sure))
    counts = report.kinds["object"]
    assert report.rows == counts.written == 0
    assert counts.filtered == {"nli": counts.asked - sum(counts.refused.values())}
    lines = [json.loads(line) for line in (world / "t.quarantine.jsonl").read_text().splitlines()]
    assert {line["problem"] for line in lines if line["stage"] == "nli"} == {
        "the caption entails the contrast caption: P = 1.000"
    }
    assert report.exit_status == 1  # nothing to build from
    # With several candidates each is looked at.
    assert write(world, "several.csv", nli=str(sure), candidates=3).rows == 0


def test_a_model_that_is_no_classifier_is_one_error(world, capsys):
    arguments = ["--captions", world / "captions.csv", "--out", world / "x.csv", "--writer", "shapes"]
    assert run_program("contrast", *arguments, "--nli", world / "no-such") == 2
    assert "no-such" in capsys.readouterr().err
    assert not (world / "x.csv").exists()


@pytest.mark.slow
def test_single_frames_tell(world, tmp_path):
    llava = make_tiny("llava", tmp_path / "tiny-llava")
    asked = {"frame_vqa": str(llava), "real_root": world / "real"}
    report = write(world, **asked)
    seen = [row for row in TripletReader(world / "t.csv") if len(row.contrast.checks) == 2]
    assert report.without_video == 2
    assert {row.contrast.checks[1].name for row in seen} <= {"frame-vqa"}
    assert all(0 <= row.contrast.checks[1].score < 0.5 for row in seen)
    dropped = report.kinds["object"].filtered.get("frame-vqa", 0)
    refused = [json.loads(line) for line in (world / "t.quarantine.jsonl").read_text().splitlines()]
    looked_at = 4 - sum(line["stage"] == "write" and line["row"] < 4 for line in refused)
    assert len(seen) + dropped == looked_at > 2
    strict = write(world, "strict.csv", require_video=True, **asked)
    assert strict.rows == report.rows - 2
    assert strict.jobs[1].total == looked_at
