"""`synvita build` from captions alone: generate, score, assemble; the same whoever does the work."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_pipelines import SETTINGS, save_pipeline

from synvita_data import load_triplets
from synvita_data.builders.dataset import BuildOptions, Chain, build_dataset
from synvita_data.errors import SynvitaError
from synvita_data.files import sha256_file
from synvita_data.jobs import RunOptions
from synvita_data.tables.score_files import read_score_rows
from synvita_data.testing import make_tiny

MODELS = ("clip_flant5", "instructblip", "llava")
PAIRS = [
    ("a dog runs", "a cat runs"),
    ("a man sings", "a man dances"),
    ("two boys swim", "three boys swim"),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A tiny CogVideoX and the paper's three VQA models, tiny, each in a folder of its name."""
    root = tmp_path_factory.mktemp("models")
    save_pipeline("cogvideox", root / "cogvideox")
    for name in MODELS:
        make_tiny(name, root / name)
    return root


def write_pairs(path: Path, pairs=PAIRS) -> Path:
    with path.open("w", newline="") as handle:
        lines = csv.writer(handle)
        lines.writerow(["source", "video_id", "caption", "neg_caption"])
        lines.writerows(("msr-vtt", f"video{i}", *pair) for i, pair in enumerate(pairs))
    return path


def build(folder: Path, triplets: Path, out: Path, **options):
    settings = [f"{key}={value}" for key, value in SETTINGS["cogvideox"].items()]
    chain = Chain(
        **{"overrides": settings, "models": tuple(str(folder / name) for name in MODELS), **options}
    )
    return build_dataset(
        BuildOptions(
            triplets=triplets,
            out=out,
            config="tiny",
            synthetic=f"diffusers:{folder / 'cogvideox'}",
            chain=chain,
        )
    )


def published(out: Path) -> dict[str, str]:
    """Digest of each file of the dataset; what is in .work may differ in order."""
    return {
        path.relative_to(out).as_posix(): sha256_file(path)
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".work" not in path.parts
    }


@pytest.mark.slow
def test_from_captions_to_a_dataset_and_on(models, tmp_path):
    triplets = write_pairs(tmp_path / "triplets.csv")
    result = build(models, triplets, tmp_path / "out")
    assert (result.record["rows"], result.record["quarantined"]) == (3, 0)
    rows = load_triplets(tmp_path / "out", "tiny", split="train")
    table = [
        scored
        for path in (tmp_path / "out" / ".work").glob("vqascores-*.parquet")
        for scored, _ in read_score_rows(path)
    ]
    for row, (caption, neg_caption) in zip(rows, PAIRS, strict=True):
        assert (row["caption"], row["neg_caption"]) == (caption, neg_caption)
        assert row["synthetic_video"]["bytes"][4:8] == b"ftyp"
        assert row["generation"]["generator"] == "cogvideox"
        assert json.loads(row["generation"]["config"])["steps"] == int(SETTINGS["cogvideox"]["steps"])
        # Eq. 4 by hand: mean over four frames, then over three models.
        means = []
        for column in ("neg_caption_score", "caption_score"):
            by_model = {
                name: [
                    getattr(c, column)
                    for c in table
                    if c.id == row["id"] and c.model == name and c.frame is not None
                ]
                for name in MODELS
            }
            assert [len(scores) for scores in by_model.values()] == [4, 4, 4]
            means.append(np.mean([np.mean(scores) for scores in by_model.values()]))
        assert row["weight"] == pytest.approx(max(0.0, means[0] - means[1]), abs=1e-12)

    # Again: nothing is done twice. A new caption: only its own video is made.
    before = published(tmp_path / "out")
    assert build(models, triplets, tmp_path / "out").was_up_to_date
    write_pairs(triplets, [*PAIRS, ("a red car", "a blue car")])
    result = build(models, triplets, tmp_path / "out")
    assert result.record["rows"] == 4
    assert published(tmp_path / "out").keys() == before.keys()
    videos = list((tmp_path / "out" / ".work").rglob("*.mp4"))
    assert len({path.name for path in videos}) >= 4


def test_models_and_a_ready_table_exclude_each_other(tmp_path):
    chain = Chain(models=("clip-flant5-xl",))
    common = {"triplets": tmp_path / "t.csv", "out": tmp_path / "out", "config": "c", "chain": chain}
    for more in ({"vqascores": tmp_path / "s.csv", "synthetic": "folder:x"}, {}):
        with pytest.raises(SynvitaError, match="no score table yet"):
            BuildOptions(**common, **more)
    with pytest.raises(SynvitaError, match="start at 1"):
        Chain(samples=0)


def test_a_generator_that_makes_nothing_says_why(models, tmp_path):
    triplets = write_pairs(tmp_path / "triplets.csv")
    settings = [f"{key}={value}" for key, value in SETTINGS["cogvideox"].items() if "max_seq" not in key]
    with pytest.raises(SynvitaError, match="no video could be made"):
        build_dataset(
            BuildOptions(
                triplets=triplets,
                out=tmp_path / "out",
                config="tiny",
                synthetic=f"diffusers:{models / 'cogvideox'}",
                # More text tokens than the tiny transformer has places for.
                chain=Chain(overrides=[*settings, "call.max_sequence_length=64"]),
            )
        )


def test_a_wrong_model_is_named_before_anything_is_generated(models, tmp_path):
    triplets = write_pairs(tmp_path / "triplets.csv")
    for names, said in (
        (("nowhere/nothing",), "nowhere/nothing"),
        ((str(models / "llava"), str(models / "llava")), "llava"),
    ):
        with pytest.raises(SynvitaError, match=said):
            build(models, triplets, tmp_path / "out", models=names)
        assert not list(tmp_path.rglob("*.mp4"))


@pytest.mark.slow
def test_a_row_that_a_model_cannot_score_is_left_out_with_its_reason(models, tmp_path):
    triplets = write_pairs(tmp_path / "triplets.csv", [*PAIRS, ("a dog runs", "a </s> runs")])
    result = build(models, triplets, tmp_path / "out", models=(str(models / "llava"),))
    assert (result.record["rows"], result.record["quarantined"]) == (3, 1)
    (entry,) = result.quarantine
    assert (entry["stage"], entry["reason"]) == ("vqascore", "CaptionError")
    assert "llava could not score the row" in entry["problem"]


@pytest.mark.slow
def test_200_real_rows_are_the_same_by_one_process_two_and_ray(models, tmp_path, real_data):
    """The issue's words: identical files and scores on 1 process, 2 processes and Ray with 2 workers."""
    lines = (
        (real_data / "videocon-16k" / "triplets.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    )
    triplets = tmp_path / "triplets.csv"
    triplets.write_text("".join(lines[:201]), encoding="utf-8")
    found = []
    for name, options in {
        "one": {},
        "two": {"run": RunOptions(workers=2)},
        "ray": {"run": RunOptions(workers=2, engine="ray")},
    }.items():
        out = tmp_path / name
        result = build(models, triplets, out, **options)
        assert result.record["quarantined"] == 0
        assert (
            len(load_triplets(out, "tiny", split="train", cache_dir=tmp_path / "cache" / name))
            == result.record["rows"]
        )
        tables = {path.name: sha256_file(path) for path in (out / ".work").glob("vqascores-*.parquet")}
        assert tables
        found.append((published(out), tables))
        shutil.rmtree(out)
    assert found[0] == found[1] == found[2]
