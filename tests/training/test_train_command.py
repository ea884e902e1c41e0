"""`synvita train` from a recipe to a fine-tune that `synvita evaluate` scores with, in one process."""

import json
import shutil
import sys
from types import SimpleNamespace

import pytest
import yaml
from safetensors.torch import load_file

from synvita_data.alignment.loading import find_checkpoint
from synvita_data.alignment.scorer import AlignmentScorer
from synvita_data.builders.build import BuildOptions, build_dataset
from synvita_data.builders.shapes import make_shapes
from synvita_data.cli import main
from synvita_data.tiny_models import make_tiny


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
def synvita(monkeypatch, capsys):
    """Runs the program; gives its exit status and what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["synvita", *map(str, arguments)])
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        said = capsys.readouterr()
        return status, " ".join((said.out + said.err).split())

    return run


def test_a_recipe_becomes_a_fine_tune_that_can_be_scored_with(world, recipe, synvita, tmp_path):
    path, out = recipe(merge=True), tmp_path / "out"
    status, said = synvita("train", path, "--dry-run")
    assert status == 0, said
    assert "4 triplets a step, 3 steps" in said
    assert "Dry run" in said
    assert not any(out.glob("*"))  # the Trainer makes its folder

    status, said = synvita("train", path)
    assert status == 0, said
    assert "auc on held-out rows" in said
    record = json.loads((out / "training_run.json").read_text())
    assert record["data"]["counts"]["rows"] == 8
    assert record["data"]["build"]
    assert record["model"]["family"] == "video_llava"
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

    status, said = synvita("train", path)
    assert status == 2
    assert "finished run" in said


def test_a_run_that_was_stopped_goes_on_and_another_recipe_is_refused(recipe, synvita, tmp_path):
    whole = recipe("whole.yaml", output_dir=str(tmp_path / "whole"), eval_strategy="no", eval_on_start=False)
    assert synvita("train", whole)[0] == 0
    cut = tmp_path / "cut"
    shutil.copytree(tmp_path / "whole", cut)
    for name in ("training_run.json", "adapter_model.safetensors", "README.md"):
        (cut / name).unlink()
    shutil.rmtree(cut / "checkpoint-3")  # killed after the checkpoint of step 2
    started = json.loads((cut / "recipe.json").read_text())
    (cut / "recipe.json").write_text(json.dumps({**started, "output_dir": str(cut)}))
    again = recipe("again.yaml", output_dir=str(cut), eval_strategy="no", eval_on_start=False)

    status, said = synvita("train", again, "margin=0.1")
    assert status == 2
    assert "margin: None there, 0.1 here" in said

    status, said = synvita("train", again, "dataloader_num_workers=0")
    assert status == 0, said
    assert "Going on from checkpoint-2" in said
    one, two = (load_file(folder / "adapter_model.safetensors") for folder in (tmp_path / "whole", cut))
    assert one.keys() == two.keys()
    assert all(one[name].equal(two[name]) for name in one)


@pytest.mark.parametrize(
    ("changes", "overrides", "said"),
    [
        ({}, ("bacth=4",), "Did you mean batch?"),
        ({}, ("batch=3",), "a multiple of 2"),
        ({"gradient_accumulation_steps": 2}, (), "both say how many triplets"),
        ({}, ("lr_scheduler_type=steep",), "do not fit together"),
        ({}, ("weighting=heavy",), "no such weighting"),
        ({}, ("remove_unused_columns=true",), "remove_unused_columns cannot be used"),
        ({"output_dir": None}, (), "where the result goes"),
        ({}, ("split=tset",), "no such split"),
        ({}, ("model=nowhere/nothing",), "no such model"),
        ({}, ("prompt=please",), "no such prompt"),
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
