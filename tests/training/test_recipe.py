"""Recipes: files, inheritance, overrides, types, and errors before anything heavy is imported."""

import re
import subprocess
import sys
from typing import Literal, get_type_hints

import pytest
import torch
import yaml

from synvita_data.cli import app
from synvita_data.schema import MISALIGNMENTS
from synvita_data.training.recipe import (
    RECIPES,
    RecipeError,
    RunOptions,
    accumulation_steps,
    find_recipe,
    own_recipes,
    read_recipe,
    split_batch,
)
from synvita_data.weights import WEIGHTINGS

TYPES = {
    "margin": float,
    "scr_weight": float,
    "num_train_epochs": float,
    "seed": int,
    "bf16": bool,
    "weighting": str | None,
    "answer_loss": Literal["two-way", "token"],
    "output_dir": str | None,
    "report_to": str | list[str] | None,
    "fsdp_config": dict | str | None,
}
HEAD = "model: m\ndata: d\n"


def read(tmp_path, text, *overrides, name="r.yaml"):
    (tmp_path / name).write_text(text)
    return read_recipe(tmp_path / name, overrides, training_types=TYPES)


def test_keys_go_to_the_run_or_to_the_training_with_their_types(tmp_path):
    recipe = read(
        tmp_path,
        HEAD + "margin: 5e-5\nseed: 3\nbf16: true\nweighting: null\nreport_to: [wandb]\nbatch: 6\n"
        "num_train_epochs: 2\nanswer_loss: token\nconfig: 2024\n",
    )
    assert recipe.run == RunOptions(model="m", data="d", batch=6, config="2024")
    # YAML 1.1 reads 5e-5 as text; the field is a number.
    assert recipe.training == {
        "margin": 5e-5,
        "seed": 3,
        "bf16": True,
        "weighting": None,
        "report_to": ["wandb"],
        "num_train_epochs": 2.0,
        "answer_loss": "token",
    }
    assert isinstance(recipe.training["num_train_epochs"], float)
    assert recipe.name == "r"


def test_a_recipe_extends_another_and_the_command_line_wins(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "base.yaml").write_text(HEAD + "about: base\nmargin: 0.2\nseed: 1\n")
    (tmp_path / "deep" / "middle.yaml").write_text("extends: ../base.yaml\nseed: 2\nscr_weight: 1\n")
    recipe = read(
        tmp_path, "extends: deep/middle.yaml\nseed: 4\n", "scr_weight=.5", "data=out/x=y", "bf16=false"
    )
    assert recipe.training == {"margin": 0.2, "seed": 4, "scr_weight": 0.5, "bf16": False}
    assert (recipe.run.data, recipe.run.about) == ("out/x=y", None)
    assert recipe.to_dict() == {"model": "m", "data": "out/x=y", **recipe.training}


@pytest.mark.parametrize(
    ("text", "overrides", "said"),
    [
        (HEAD + "margins: 0.2\n", (), "Did you mean margin?"),
        (HEAD, ("scr-weight=1",), "Did you mean scr_weight?"),
        (HEAD + "margin: much\n", (), "margin is of another type"),
        (HEAD + "seed: 1.5\n", (), "seed is of another type"),
        (HEAD + "seed: true\n", (), "seed is of another type"),
        (HEAD + "bf16: 1\n", (), "bf16 is of another type"),
        (HEAD + "margin: null\n", (), "margin is of another type"),
        (HEAD + "margin: [1]\n", (), "margin is of another type"),
        (HEAD, ("hub_token=hf_x",), "does not belong in a recipe"),
        (HEAD, ("margin",), "not an override"),
        (HEAD, ("=1",), "not an override"),
        (HEAD, ("margin={",), "not YAML"),
        (HEAD + "margin: 1\nmargin: 2\n", (), "margin comes twice"),
        ("- a\n", (), "not a mapping"),
        ("data: d\n", (), "does not say its model"),
        ("model: m\n", ("data=",), "does not say its data"),
        ("extends: r.yaml\n", (), "in a circle"),
        ("extends: nowhere.yaml\n", (), "unknown recipe"),
        ("a: !!python/object/apply:os.system [ls]\n", (), "not YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, overrides, said):
    with pytest.raises(RecipeError, match=said.replace("?", r"\?")):
        read(tmp_path, text, *overrides)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "learning_rte=1",
            r"learning_rte=… on the command line: this is not a key.* Did you mean learning_rate\?$",
        ),
        ("learning_rate", "the command line: not an override. Found: learning_rate"),
        ("hub_token=x", r"hub_token=… on the command line: an access token"),
        ("learning_rate=abc", r"learning_rate=… on the command line: learning_rate is of another type"),
        ("seed=2026-13-45", r"seed=… on the command line: not YAML\. Found: month must be in 1\.\.12\.$"),
        ("seed=!!int x", "seed=… on the command line: not YAML"),
        ("seed=!!float x", "seed=… on the command line: not YAML"),
        ("seed=!!timestamp x", "seed=… on the command line: not YAML"),
        (f"seed={'[' * 5000}", "seed=… on the command line: not YAML"),
    ],
)
def test_what_the_user_typed_is_not_blamed_on_the_recipe(tmp_path, training_types, override, said):
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD)
    with pytest.raises(RecipeError, match=said) as caught:
        read_recipe(path, [override], training_types=training_types)
    assert "mine.yaml" not in str(caught.value)


def test_a_recipe_of_the_package_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_recipe("video-llava/synvita") == find_recipe("video-llava/synvita.yaml")
    for name in ("synvita", "../recipes/video-llava/synvita", "accelerate/ddp", "/etc/hosts.yaml"):
        with pytest.raises(RecipeError, match="synvita train --list"):
            find_recipe(name)
    with pytest.raises(RecipeError, match="such as video-llava/weight-product"):
        find_recipe("video-llava/weights-product")


def test_no_is_a_name_where_a_strategy_is_asked_for(tmp_path):
    from transformers.trainer_utils import IntervalStrategy, SaveStrategy

    types = {**TYPES, "eval_strategy": IntervalStrategy | str, "save_strategy": SaveStrategy | str}
    (tmp_path / "r.yaml").write_text(HEAD + "eval_split: test\neval_strategy: no\nsave_strategy: steps\n")
    recipe = read_recipe(tmp_path / "r.yaml", ["save_strategy=no"], training_types=types)
    assert (recipe.training["eval_strategy"], recipe.training["save_strategy"]) == ("no", "no")
    # Without held-out rows there is nothing to evaluate on.
    (tmp_path / "r.yaml").write_text(HEAD + "eval_split: test\neval_strategy: steps\n")
    assert read_recipe(tmp_path / "r.yaml", training_types=types).training["eval_strategy"] == "steps"
    recipe = read_recipe(tmp_path / "r.yaml", ["eval_split=null"], training_types=types)
    assert recipe.training["eval_strategy"] == "no"
    assert recipe.changed == ("eval_split",)


@pytest.mark.parametrize(
    ("lines", "typed", "said"),
    [
        (
            "eval_strategy: steps\n",
            [],
            r"r\.yaml: .*no held-out rows.*eval_strategy: steps without eval_split",
        ),
        ("", ["eval_on_start=true"], r"eval_on_start=… on the command line: .*no held-out rows"),
        ("eval_split: test\n", ["eval_split=null", "eval_strategy=epoch"], "no held-out rows to evaluate on"),
        ("", ["load_best_model_at_end=true"], "eval_split=validation, or leave load_best_model_at_end out"),
        ("eval_split: test\n", ["eval_steps=5"], "eval_steps is for eval_strategy=steps"),
    ],
)
def test_an_evaluation_that_would_not_take_place_is_refused(tmp_path, training_types, lines, typed, said):
    types = training_types
    (tmp_path / "r.yaml").write_text(HEAD + lines)
    with pytest.raises(RecipeError, match=said):
        read_recipe(tmp_path / "r.yaml", typed, training_types=types)
    read_recipe(tmp_path / "r.yaml", [*typed, "eval_split=test", "eval_strategy=steps"], training_types=types)


@pytest.mark.parametrize(
    ("batch", "per_device", "processes", "steps"), [(6, 1, 1, 6), (12, 2, 3, 2), (8, 8, 1, 1)]
)
def test_a_step_sees_the_batch_the_recipe_says(batch, per_device, processes, steps):
    assert accumulation_steps(batch, per_device, processes) == steps


@pytest.mark.parametrize(("batch", "per_device", "processes"), [(6, 1, 4), (5, 2, 1), (0, 1, 1)])
def test_a_batch_that_does_not_divide_is_refused(batch, per_device, processes):
    with pytest.raises(RecipeError, match=f"multiple of {per_device * processes}"):
        accumulation_steps(batch, per_device, processes)
    with pytest.raises(RecipeError, match="at least one triplet"):
        accumulation_steps(4, 0, processes)


@pytest.mark.parametrize(
    ("batch", "processes", "per_device", "steps"),
    [(4, 1, 4, 1), (32, 1, 8, 4), (6, 1, 6, 1), (12, 2, 6, 1), (7, 1, 7, 1), (22, 1, 2, 11), (4, 4, 1, 1)],
)
def test_a_batch_alone_decides_how_many_are_taken_at_once(
    tmp_path, training_types, batch, processes, per_device, steps
):
    (tmp_path / "r.yaml").write_text(HEAD + f"batch: {batch}\n")
    recipe = read_recipe(tmp_path / "r.yaml", training_types=training_types)
    assert split_batch(recipe, processes) == {
        "per_device_train_batch_size": per_device,
        "gradient_accumulation_steps": steps,
    }
    recipe = read_recipe(
        tmp_path / "r.yaml", [f"per_device_train_batch_size={batch + 1}"], training_types=training_types
    )
    with pytest.raises(RecipeError, match="cannot be divided"):
        split_batch(recipe, processes)


def test_a_dry_run_needs_no_gpu(tmp_path):
    (tmp_path / "r.yaml").write_text(HEAD + f"output_dir: {tmp_path / 'out'}\nbf16: true\n")
    from synvita_data.training.run import make_config, open_recipe

    config = make_config(open_recipe(tmp_path / "r.yaml", []), 1, dry_run=True)
    assert config.bf16
    assert config.use_cpu or torch.accelerator.is_available()


RECIPE_FILES = sorted(own_recipes().values())


@pytest.fixture(scope="module")
def training_types():
    from synvita_data.training.config import SynViTAConfig

    return get_type_hints(SynViTAConfig)


def test_every_recipe_of_the_package_makes_a_configuration(training_types, tmp_path):
    from synvita_data.training.config import SynViTAConfig

    assert len(RECIPE_FILES) >= 30
    folders = set()
    for path in RECIPE_FILES:
        recipe = read_recipe(path, training_types=training_types)
        folders.add(recipe.training["output_dir"])
        values = {**recipe.training, "output_dir": str(tmp_path / "out"), "bf16": False, "use_cpu": True}
        config = SynViTAConfig(**values)
        assert config.margin == 0.2, path
        assert recipe.run.about, path
        assert accumulation_steps(recipe.run.batch, config.per_device_train_batch_size, 1) >= 1
    assert len(folders) == len(RECIPE_FILES), "two recipes write to one folder"


def test_the_papers_settings(training_types):
    """Read in the paper and the released scripts (see the files' heads), written down once more here."""

    def values(name):
        recipe = read_recipe(name, training_types=training_types)
        return {**vars(recipe.run), **recipe.training}

    llava, owl = values("video-llava/synvita"), values("mplug-owl/synvita")
    common = {
        "margin": 0.2,
        "warmup_steps": 200,
        "num_train_epochs": 1,
        "weight_decay": 1e-4,
        "config": "cogvideox",
    }
    assert common.items() <= llava.items()
    assert common.items() <= owl.items()
    assert {
        "learning_rate": 5e-5,
        "lr_scheduler_type": "cosine",
        "scr_weight": 1.0,
        "weighting": "product",
    }.items() <= llava.items()
    assert {"learning_rate": 1e-4, "scr_weight": 0.01, "weighting": "difference"}.items() <= owl.items()
    for model in ("video-llava", "mplug-owl"):
        assert values(f"{model}/videocon")["use_synthetic"] is False
        assert values(f"{model}/without-scr")["scr_weight"] == 0
        for weighting in ("fixed", "match", "product", "indicator", "difference"):
            assert values(f"{model}/weight-{weighting}")["weighting"] == weighting
        plain = values(f"{model}/plain-lavie")
        assert (plain["config"], plain["weighting"], plain["scr_weight"]) == ("lavie", "fixed", 0)
        assert values(f"{model}/all-generators")["config"] == "all"


def test_released_recipes_have_the_released_scripts_values(training_types):
    """Where paper and released code differ: ../shared/specs/released-synvita.md, sections 1 and 7."""

    def values(name):
        recipe = read_recipe(name, training_types=training_types)
        return {**vars(recipe.run), **recipe.training}

    common = {
        "normalisation": "released",
        "answer_loss": "token-and-end",
        "granularity": "released",
        "weighting": "difference",  # of the CSV's alignment_diff, in both trainers
        "scr_weight": 1.0,  # the trainers' default, which neither script changes
        "margin": 0.2,
        "warmup_steps": 200,
        "num_train_epochs": 1,
        "weight_decay": 1e-4,
        "seed": 0,
    }
    owl, llava = values("mplug-owl/synvita-released"), values("video-llava/synvita-released")
    assert common.items() <= owl.items()
    assert common.items() <= llava.items()
    assert (owl["learning_rate"], owl["lr_scheduler_type"]) == (1e-4, "linear")
    assert (llava["learning_rate"], llava["lr_scheduler_type"]) == (5e-5, "cosine")
    assert owl["frozen_dropout"] is True
    # 32 rows a step, three a triplet: the nearest number that four GPUs share.
    nearest = min(range(4, 40, 4), key=lambda batch: abs(batch - 32 / 3))
    assert owl["batch"] == llava["batch"] == nearest
    # The published checkpoints' last steps, by those 32 rows: one number of training rows explains all three.
    rows = {n for n in range(160_000, 170_000) if -(-n // 32) == 5181 and -(-n // 4) // 8 == 5180}
    assert rows & {n for n in range(160_000, 170_000) if -(-n // 64) == 5182 // 2}
    # The paper's own recipes stay the paper's.
    assert values("mplug-owl/synvita")["scr_weight"] == 0.01
    assert values("video-llava/synvita")["weighting"] == "product"
    for model in ("video-llava", "mplug-owl"):
        paper = values(f"{model}/synvita")
        assert (paper["normalisation"], paper["answer_loss"], paper["granularity"]) == (
            "paper",
            "two-way",
            "token",
        )
        assert "frozen_dropout" not in paper


TABLES = {
    "Table 1": {"videocon", "plain-cogvideox", "plain-lavie", "plain-videocrafter2"},
    "Table 2": {f"misalignment-{kind}" for kind in MISALIGNMENTS},
    "Table 4": {f"weight-{name}" for name in WEIGHTINGS},
    "Table 5": {"synvita-lavie", "synvita-videocrafter2", "all-generators"},  # varies the generator
    "Figure 4": {"without-scr", "without-weighting"},  # ablates the losses
}


@pytest.mark.parametrize("model", ["video-llava", "mplug-owl"])
@pytest.mark.parametrize("place", TABLES)
def test_each_recipe_says_where_it_stands_in_the_paper(training_types, model, place):
    number = place.split()[1]
    word = place.split()[0]
    says = set()
    for name in own_recipes():
        if name.startswith(f"{model}/"):
            about = read_recipe(name, training_types=training_types).run.about
            inside = re.findall(r"(Tables?|Figures?) (\d)(?: and (\d))?", about)
            if any(kind.rstrip("s") == word and number in numbers for kind, *numbers in inside):
                says.add(name.partition("/")[2])
    assert says == TABLES[place]


@pytest.mark.parametrize("model", ["video-llava", "mplug-owl"])
def test_the_recipes_of_figure_4_and_table_5_change_what_these_are_about(training_types, model):
    base = read_recipe(f"{model}/synvita", training_types=training_types)

    def changes(name):
        recipe = read_recipe(f"{model}/{name}", training_types=training_types)
        before, after = ({**vars(r.run), **r.training} for r in (base, recipe))
        return {k for k in {**before, **after} if before.get(k) != after.get(k)} - {"about", "output_dir"}

    assert changes("without-scr") == {"scr_weight"}
    assert changes("without-weighting") == {"weighting"}
    for name in TABLES["Table 5"]:
        assert changes(name) == {"config"}
    for kind in MISALIGNMENTS:
        assert changes(f"misalignment-{kind}") <= {"weighting", "scr_weight", "misalignments"}
        own = read_recipe(f"{model}/misalignment-{kind}", training_types=training_types)
        assert (own.training["misalignments"], own.training["weighting"]) == ([kind], "fixed")
        assert own.training["scr_weight"] == 0


def test_the_documentation_has_the_same_tables():
    text = (RECIPES.parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
    line = {
        place: next(each for each in text.splitlines() if each.rstrip(" |").endswith(place))
        for place in TABLES
        if place != "Table 1"
    }
    assert "`without-scr`, `without-weighting`" in line["Figure 4"]
    assert "`all-generators`" in line["Table 5"]
    assert "`misalignment-" in line["Table 2"]
    assert "`weight-" in line["Table 4"]


def test_launch_configurations_are_ones_that_accelerate_reads():
    from accelerate.commands.config.config_args import load_config_from_file

    for path in sorted((RECIPES / "accelerate").glob("*.yaml")):
        kind = yaml.safe_load(path.read_text())["distributed_type"]
        assert load_config_from_file(str(path)).distributed_type == kind


def test_reading_a_recipe_imports_nothing_heavy():
    code = (
        "import sys; from synvita_data.training.recipe import find_recipe, read_recipe; "
        "find_recipe('video-llava/synvita'); "
        "print([m for m in ('torch', 'transformers', 'datasets', 'peft') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_list_keeps_names_and_texts_apart(capsys):
    app(["train", "--list"], standalone_mode=False)
    listed = [line.split("  ")[1] for line in capsys.readouterr().out.splitlines()]
    assert listed == list(own_recipes())
