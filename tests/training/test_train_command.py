"""`synvita train` from a recipe to a fine-tune that `synvita evaluate` scores with, in one process."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from in_process import run_program
from safetensors.torch import load_file

from synvita_data.builders.dataset import BuildOptions, build_dataset
from synvita_data.builders.shapes import make_shapes
from synvita_data.models.resolve import find_checkpoint
from synvita_data.scoring.alignment import AlignmentScorer
from synvita_data.testing import make_tiny
from synvita_data.training.output import RunLock

# The world is made once, not once a process.
pytestmark = pytest.mark.xdist_group("train command")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A small built dataset with its real videos, and a tiny Video-LLaVA."""
    root = tmp_path_factory.mktemp("world")
    shapes = make_shapes(root / "shapes", pairs=35, seed=1)
    build_dataset(
        BuildOptions(
            triplets=shapes.triplets,
            vqascores=shapes.vqascores,
            synthetic=f"folder:{shapes.synthetic}",
            config="shapes",
            out=root / "dataset",
        )
    )
    make_tiny("video_llava", root / "model")
    return SimpleNamespace(root=root, dataset=root / "dataset", real=shapes.real, model=root / "model")


@pytest.fixture
def recipe(world, tmp_path):
    """Writes a recipe for the small world; `write(**changes)` gives its path."""

    def write(name="recipe.yaml", **changes):
        values = {
            "about": "a test",
            "model": str(world.model),
            "dtype": "float32",
            "data": str(world.dataset),
            "split": "train[:8]",
            "eval_split": "test",
            "real_root": str(world.real),
            "output_dir": str(tmp_path / "out"),
            "prompt": "video-llava-train",
            "batch": 4,
            "per_device_train_batch_size": 2,
            "max_steps": 3,
            "learning_rate": 1e-3,
            "lora_dropout": 0.0,
            "use_cpu": True,
            "eval_strategy": "steps",
            "eval_steps": 3,
            "eval_on_start": True,
            "save_steps": 2,
            "logging_steps": 1,
            "disable_tqdm": True,
            **changes,
        }
        path = tmp_path / name
        path.write_text(yaml.safe_dump(values))
        return path

    return write


@pytest.fixture
def synvita(capsys):
    """Runs the program; gives its exit status and what it printed."""

    def run(*arguments):
        status = run_program(*arguments)
        said = capsys.readouterr()
        return status, " ".join((said.out + said.err).split())

    return run


def test_a_recipe_becomes_a_fine_tune_that_can_be_scored_with(world, recipe, synvita, tmp_path):
    path, out = recipe(merge=True), tmp_path / "out"
    status, said = synvita("train", path, "--dry-run")
    assert status == 0, said
    assert "4 triplets a step, 3 steps" in said
    assert "Dry run" in said
    assert not out.exists()  # the Trainer makes it
    status, said = synvita(
        "train",
        path,
        "--dry-run",
        "max_steps=-1",
        "num_train_epochs=0.6",
        f"feature_cache={tmp_path / 'cache'}",
    )
    assert status == 0, said
    assert "4 triplets a step, 2 steps" in said  # 0.6 epochs of two steps, rounded up as the Trainer does
    assert not out.exists()
    assert not (tmp_path / "cache").exists()

    # Asked for in a dry run, what follows the video is the original's lone space.
    status, said = synvita("train", path, "--dry-run", "placeholder_space=original", "granularity=released")
    assert status == 0, said
    assert "behind the placeholder (original): " in said
    assert " '▁', " in said.partition("(original): ")[2].partition(",")[0] + ", "

    status, said = synvita("train", path)
    assert status == 0, said
    assert "auc on held-out rows" in said
    assert "behind the placeholder (processor): " in said
    record = json.loads((out / "training_run.json").read_text())
    assert record["data"]["counts"]["rows"] == 8
    assert record["data"]["build"]
    assert record["model"]["family"] == "video_llava"
    placeholder = record["model"]["placeholder"]
    assert (placeholder["space"], placeholder["tokens"][0]) == ("processor", "<0x0A>")
    assert "placeholder_space" not in record["recipe"]  # as before, where nothing is asked for
    assert record["recipe"]["learning_rate"] == 1e-3
    assert record["evaluations"][0]["step"] == 0
    assert record["evaluations"][-1]["step"] == 3
    card = (out / "README.md").read_text()
    assert "| rows | 8 |" in card
    assert "| 3 |" in card

    # It is scored with as it was trained, merged or not.
    checkpoint = find_checkpoint(str(out))
    assert (checkpoint.base, checkpoint.trained_prompt) == (str(world.model), "video-llava-train")
    assert AlignmentScorer.open(str(out)).prompt == "video-llava-train"
    assert AlignmentScorer.open(str(out), prompt="video-llava").prompt == "video-llava"
    assert AlignmentScorer.open(str(out / "merged")).prompt == "video-llava-train"

    status, said = synvita("train", path)  # as a job does that is queued again
    assert status == 0
    assert "nothing is left to do" in said
    status, said = synvita("train", path, "learning_rate=0.5")
    assert status == 2
    assert "finished run" in said


@pytest.mark.slow
def test_a_run_on_some_misalignments_says_so_everywhere(world, recipe, synvita, tmp_path):
    from synvita_data import load_triplets
    from synvita_data.schema import MISALIGNMENTS

    kinds = [MISALIGNMENTS[each] for each in load_triplets(str(world.dataset), split="train")["misalignment"]]
    own = sum(kind in ("flip", "count") for kind in kinds)
    assert 0 < own < len(kinds)
    path = recipe(split="train", misalignments=["flip", "count"], max_steps=1, eval_on_start=False)
    status, said = synvita("train", path, "--dry-run")
    assert status == 0, said
    assert f"{own} triplets to train on" in said
    assert f"{len(kinds) - own} other misalignment" in said
    status, said = synvita("train", path)
    assert status == 0, said
    record = json.loads((tmp_path / "out" / "training_run.json").read_text())
    assert record["recipe"]["misalignments"] == ["flip", "count"]
    assert record["data"]["misalignments"] == ["count", "flip"]
    assert record["data"]["counts"]["other_misalignment"] == len(kinds) - own
    assert record["data"]["counts"]["triplets"] == own
    started = json.loads((tmp_path / "out" / "recipe.json").read_text())
    assert started["data"]["misalignments"] == ["count", "flip"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "- misalignments: `count, flip`" in card
    assert f"| other misalignment | {len(kinds) - own} |" in card
    # An unfinished run on these is not one on others.
    (tmp_path / "out" / "training_run.json").unlink()
    status, said = synvita("train", path, "misalignments=[flip]", "--dry-run")
    assert (status, "misalignments: ['flip', 'count'] there, ['flip'] here" in said) == (2, True), said
    status, said = synvita(
        "train", path, f"output_dir={tmp_path / 'new'}", "misalignments=[verb]", "--dry-run"
    )
    assert status == 2
    assert "unknown misalignment" in said
    assert "action, attribute, count" in said


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_and_another_recipe_or_other_data_is_refused(
    world, recipe, synvita, tmp_path
):
    plain = {"eval_split": None, "eval_strategy": "no", "eval_on_start": False}
    whole = recipe("whole.yaml", output_dir=str(tmp_path / "whole"), **plain)
    status, said = synvita("train", whole)
    assert status == 0, said
    cut = tmp_path / "cut"
    shutil.copytree(tmp_path / "whole", cut)
    for name in ("training_run.json", "adapter_model.safetensors", "README.md"):
        (cut / name).unlink()
    shutil.rmtree(cut / "checkpoint-3")  # killed after the checkpoint of step 2, and moved
    again = recipe("again.yaml", output_dir=str(cut), **plain)

    status, said = synvita("train", again, "margin=0.1")
    assert status == 2
    assert "margin: None there, 0.1 here" in said
    status, said = synvita("train", again, "real_root=null")
    assert status == 2
    assert "unfinished run on other data" in said
    assert "without real 0 there, 8 here" in said
    with RunLock(cut):
        status, said = synvita("train", again)
        assert status == 2
        assert "another run is training" in said
        assert f"process {os.getpid()} on" in said

    status, said = synvita("train", again, "dataloader_num_workers=0")
    assert status == 0, said
    assert "Resuming from checkpoint-2" in said
    one, two = (load_file(folder / "adapter_model.safetensors") for folder in (tmp_path / "whole", cut))
    assert one.keys() == two.keys()
    assert all(one[name].equal(two[name]) for name in one)

    # Neither another model in the folder of the base, nor another dataset in that of the data, is taken for its own.
    for name, problem in (
        ("model", "an unfinished run of another model"),
        ("dataset", "a finished run on other data"),
    ):
        changed, out = tmp_path / f"changed-{name}", tmp_path / f"{name}-out"
        shutil.copytree(getattr(world, name), changed)
        shutil.copytree(tmp_path / "whole", out)
        key = "data" if name == "dataset" else name
        started = json.loads((out / "recipe.json").read_text())
        started["recipe"][key] = str(changed)
        (out / "recipe.json").write_text(json.dumps(started))
        if name == "model":
            (out / "training_run.json").unlink()
        status, said = synvita("train", whole, f"output_dir={out}", f"{key}={changed}", "--dry-run")
        assert status == 0, said
        file = changed / ("generation_config.json" if name == "model" else "build.json")
        file.write_text(file.read_text() + "\n")
        status, said = synvita("train", whole, f"output_dir={out}", f"{key}={changed}", "--dry-run")
        assert (status, problem in said) == (2, True), said

    # Trained to its end, it can still be merged and published, wherever it lies.
    record = (cut / "training_run.json").read_bytes()
    moved = cut.rename(tmp_path / "moved")
    status, said = synvita("train", again, f"output_dir={moved}", "push_to=someone/fine-tune")
    assert status == 2
    assert "offline mode" in said
    status, said = synvita("train", again, f"output_dir={moved}", "merge=true")
    assert status == 0, said
    assert "only merging and publishing" in said
    assert (moved / "merged" / "config.json").is_file()
    assert (moved / "training_run.json").read_bytes() == record
    status, said = synvita("train", again, f"output_dir={moved}", "merge=true", "margin=0.1")
    assert status == 2
    assert "margin: None there, 0.1 here" in said


def test_videos_are_looked_into_before_training(world, recipe, synvita, tmp_path):
    from synvita_data.dataset.load import load_triplets

    real = tmp_path / "real"
    shutil.copytree(world.real, real)
    rows = load_triplets(world.dataset, split="train[:8]", real_root=real)
    broken = Path(rows[0]["real_video"]["path"])
    broken.write_bytes(broken.read_bytes()[:100])
    path = recipe(real_root=str(real))
    status, said = synvita("train", path, "--dry-run")
    assert status == 0, said
    assert "videos were looked into, 1 cannot be read" in said
    assert "1 set aside real" in said

    for video in real.rglob("*.mp4"):
        video.write_bytes(b"no video")
    status, said = synvita("train", path, "--dry-run")
    assert status == 2
    assert "no video of the held-out rows can be read" in said
    status, said = synvita("train", path, "--dry-run", "split=train")
    assert status == 2
    assert "videos cannot be read" in said
    assert "at most 5% of them" in said
    assert not (tmp_path / "out").exists()


def test_the_base_model_is_never_written_over(world, recipe, synvita, tmp_path):
    files = {path: path.read_bytes() for path in world.model.rglob("*") if path.is_file()}
    copy = tmp_path / "copy"
    shutil.copytree(world.model, copy)
    for folder, reason in (
        (world.model, "the folder of model"),
        (copy, "a model that this run did not make"),
    ):
        status, said = synvita("train", recipe(), f"output_dir={folder}")
        assert status == 2
        assert reason in said
    assert {path: path.read_bytes() for path in world.model.rglob("*") if path.is_file()} == files


@pytest.mark.parametrize(
    ("changes", "overrides", "said"),
    [
        ({}, ("bacth=4",), "Did you mean batch?"),
        ({}, ("batch=3",), "a multiple of 2"),
        ({"gradient_accumulation_steps": 2}, (), "both say how many triplets"),
        ({}, ("lr_scheduler_type=steep",), "do not fit together"),
        ({}, ("weighting=heavy",), "unknown weighting"),
        ({}, ("remove_unused_columns=true",), "remove_unused_columns cannot be used"),
        ({"output_dir": None}, (), "where the result goes"),
        ({}, ("split=tset",), "unknown split"),
        ({}, ("model=nowhere/nothing",), "the model cannot be found"),
        ({}, ("prompt=please",), "unknown prompt"),
        ({}, ("resume_from_checkpoint=out/checkpoint-2",), "the last checkpoint of its own output folder"),
        ({}, ("model_revision=main",), "a folder has no revisions"),
        ({}, ("max_steps=-1", "num_train_epochs=0"), "num_train_epochs is out of range"),
        ({}, ("merge=true", "tune=all"), "there is nothing to merge"),
        ({}, ("push_to=fine-tune",), "not the name of a repository"),
        ({}, ("push_to=someone/fine-tune",), "offline mode"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(
    recipe, synvita, tmp_path, changes, overrides, said
):
    path = recipe(**changes)
    if changes.get("output_dir", "") is None:
        path.write_text(path.read_text().replace("output_dir: null\n", ""))
    status, printed = synvita("train", path, *overrides)
    assert status == 2, printed
    assert said in printed
    assert not (tmp_path / "out").exists()


def test_a_subset_that_datasets_saved_can_be_trained_on(world, recipe, synvita, tmp_path):
    """Filtered in Python, saved without real videos, and trained on with them."""
    import datasets

    from synvita_data.dataset.load import load_triplets
    from synvita_data.training.data.rows import read_rows

    rows = load_triplets(world.dataset, split="train", real_root=world.real)
    kept = rows.filter(lambda line: line["weight"] > 0).shuffle(seed=1).select(range(5))
    assert sum(row.has_real for row in read_rows(kept)) == 5
    held_out = load_triplets(world.dataset, split="test", real_root=world.real)
    datasets.DatasetDict(train=kept, test=held_out).save_to_disk(tmp_path / "disk")
    kept.to_parquet(tmp_path / "kept.parquet")
    for place, changes in ((tmp_path / "disk", {}), (tmp_path / "kept.parquet", {"eval_split": None})):
        path = recipe(data=str(place), split="train", **changes)
        status, said = synvita("train", path, "--dry-run")
        assert status == 0, said
        assert "5 triplets to train on" in said
        assert "5 takes real" in said
        status, said = synvita(
            "train", path, "--dry-run", "config=shapes"
        )  # as the paper's recipes name theirs
        assert status == 0, said
        assert "5 triplets to train on" in said
        status, said = synvita("train", path, "--dry-run", "real_root=null")
        assert "takes real" not in said
