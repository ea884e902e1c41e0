"""Plans of tables that need training: their cost is the pages' arithmetic, their commands are ours."""

import re
import shlex
import subprocess

import pytest
from in_process import run_program
from typer.main import get_command

from synvita_data.cli import app
from synvita_data.errors import SynvitaError
from synvita_data.reproduce import plans
from synvita_data.reproduce.plans import FAMILIES, TABLES, make_plan, script
from synvita_data.training.recipe import own_recipes, recipe_values


def page(repo_root, name):
    return (repo_root / "docs" / name).read_text(encoding="utf-8")


def test_the_figures_are_those_of_the_pages(repo_root):
    scale, benchmarks = page(repo_root, "scale.md"), page(repo_root, "benchmarks.md")
    (row,) = re.findall(
        r"^\| an epoch of training, Video-LLaVA.*\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", scale, re.M
    )
    assert float(row[0]) == plans.SECONDS_A_TRIPLET
    assert f"{plans.TRIPLETS * plans.SECONDS_A_TRIPLET / 3600:.1f}" == row[2]
    assert f"some {plans.TRIPLETS:,} | action" in scale
    for kind, count in plans.KINDS.items():
        assert f"{kind} ({count:,})" in scale
    assert f"{plans.VIDEOS_GB} GB at that mean" in scale
    assert (
        f"| packed, gradient checkpointing, 1 triplet | 0.62 | 25% | {plans.TRAINING_GIB} GiB |" in benchmarks
    )
    (packed, ratio) = re.findall(r"^\| Video-LLaVA, 18 \| (\d+) \| .* \| ([\d.]+)× \|", benchmarks, re.M)[0]
    assert pytest.approx(float(packed) / 1000 * float(ratio) / 18) == plans.SECONDS_A_TEXT


def test_an_adapter_is_as_large_as_peft_makes_it():
    """Rank 32 on the seven projections of LLaMA-7B's shape, on torch's meta device."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(num_hidden_layers=1, intermediate_size=11008, hidden_size=4096))
        names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        model = get_peft_model(model, LoraConfig(r=32, target_modules=names))
    layer = sum(weight.numel() for name, weight in model.named_parameters() if "lora_" in name)
    assert pytest.approx(32 * layer * 4 / 1e9) == plans.ADAPTER_GB


@pytest.mark.parametrize("table", TABLES)
def test_every_recipe_is_there_and_is_about_this_table(table):
    plan = make_plan(table, recipe_values)
    assert len(plan.rows) == 2 * len(TABLES[table][1])
    for row in plan.rows:
        assert row.recipe in own_recipes()
        about = recipe_values(row.recipe)["about"]
        assert re.search(rf"Tables? [\d and]*{table[-1]}\b", about) or row.recipe.endswith("/synvita")


def test_hours_of_a_table(repo_root):
    plan = make_plan("table5", recipe_values, families=["video-llava"], tasks=["ssv2-temporal", "atp-hard"])
    epoch = 55_000 * 0.56 / 3600
    assert [row.hours for row in plan.rows] == pytest.approx([epoch, epoch, epoch, 3 * epoch])
    assert plan.texts == 3_888 + 9_230
    evaluation = plan.texts * 0.088 * 14.8 / 18 / 3600
    assert plan.hours == pytest.approx(6 * epoch + 4 * evaluation)
    assert plan.generators == ("cogvideox", "lavie", "videocrafter2")
    # The baseline trains two epochs; one kind of misalignment only its own triplets.
    (videocon, *_) = make_plan("table1", recipe_values, families=["mplug-owl"]).rows
    assert (videocon.epochs, videocon.hours) == (2.0, pytest.approx(2 * epoch))
    flip = next(row for row in make_plan("table2", recipe_values).rows if row.label == "flip")
    assert flip.hours == pytest.approx(8_962 * 0.56 / 3600)
    assert not flip.bound
    assert not flip.weighted
    assert {row.weighted for row in make_plan("table4", recipe_values).rows} == {True, False}


@pytest.mark.parametrize("table", TABLES)
def test_the_script_is_one_and_its_commands_are_ours(table, tmp_path):
    text = script(make_plan(table, recipe_values))
    path = tmp_path / "plan.sh"
    path.write_text(text)
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    program, seen = get_command(app), set()
    for line in text.replace("\\\n", " ").splitlines():
        if (start := line.find("synvita ")) < 0 or line.startswith("#"):
            continue
        _, name, *arguments = shlex.split(line[start:].replace("$TRIPLETS", "t").replace("$REAL", "r"))
        command = program.commands[name]
        command.make_context(name, arguments)  # unknown options and values are refused here
        seen.add(name)
    assert {"train", "evaluate", "build", "convert", "leaderboard"} <= seen


def test_the_command(tmp_path, capsys, repo_root):
    assert run_program("reproduce", "table4", "--row", "video-llava", "--task", "atp-hard") == 0
    shown = capsys.readouterr().out
    assert "video-llava/weight-product" in shown
    assert "mplug-owl/" not in shown
    assert "H100 hours of training and evaluation" in shown
    path = tmp_path / "plan.sh"
    assert run_program("reproduce", "table4", "--out", path) == 0
    assert path.read_text() == script(make_plan("table4", recipe_values))
    assert run_program("reproduce", "table4", "--row", "llava") == 2


def test_what_is_unknown_is_named():
    with pytest.raises(SynvitaError, match=r"unknown table.*table1, table2, table4, table5"):
        make_plan("table9", recipe_values)
    with pytest.raises(SynvitaError, match=rf"unknown row of this table.*{', '.join(FAMILIES)}"):
        make_plan("table1", recipe_values, families=["llava"])
