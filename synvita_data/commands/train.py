"""`synvita train`: fine-tune a Video LLM by a recipe."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..display import counted

if TYPE_CHECKING:
    from ..display import Terminal


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE.yaml", help="A recipe, or the name of one that comes with the package."
        ),
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the recipe.")
    ] = None,
    list_recipes: Annotated[bool, typer.Option("--list", help="List the recipes of the package.")] = False,
    list_keys: Annotated[bool, typer.Option("--keys", help="List the keys of a recipe, with help.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Load and check model and data, say what would be trained.")
    ] = False,
) -> None:
    """Fine-tune a Video LLM with real and synthetic videos, as a recipe says.

    A run that was killed resumes from its last checkpoint when it is started again. Start it with
    `accelerate launch` or `torchrun` to use several GPUs (docs/training.md).
    """
    from ..display import Terminal
    from ..extras import TRAINING, require

    terminal = Terminal()
    if list_recipes:
        _print_recipes(terminal)
        return
    if list_keys:
        _print_keys(terminal)
        return
    if recipe is None:
        raise typer.BadParameter("name a recipe; --list shows those of the package")
    from synvita_data.training.recipe import find_recipe

    path = find_recipe(recipe)  # a wrong name is an error at once, before torch is imported
    require("train", *TRAINING, what="synvita train")
    from synvita_data.training.run import (
        finish,
        is_finished,
        is_left_to_do,
        is_main_process,
        open_recipe,
        prepare,
    )
    from synvita_data.training.run import train as run_training

    read, say = open_recipe(path, list(changes or ())), _say(terminal)
    if is_left_to_do(read):
        say("Trained to its end: only merging and publishing are left to do")
        if dry_run:
            say("Dry run: nothing was done.")
        elif is_main_process():
            finish(read, say)
        return
    if is_finished(read):
        place = read.training["output_dir"]
        say(
            f"Trained to its end in {place}: nothing is left to do. For another run name another output_dir=DIR"
        )
        return
    run = prepare(read, say, dry_run=dry_run)
    if dry_run:
        _print_plan(terminal, run)
        return
    record = run_training(run, say)
    if run.trainer.is_world_process_zero():
        _print_result(terminal, run.folder, record)


def _say(terminal: "Terminal") -> Any:
    """Prints on the first process only."""
    import os

    def say(line: str) -> None:
        if os.environ.get("RANK", "0") == "0":
            terminal.line(line)

    return say


def _print_recipes(terminal: "Terminal") -> None:
    import yaml

    from synvita_data.training.recipe import own_recipes

    recipes = own_recipes()
    width = max(map(len, recipes))
    for name, path in recipes.items():
        terminal.line(f"  {name:<{width}}  {yaml.safe_load(path.read_text(encoding='utf-8'))['about']}")


def _print_keys(terminal: "Terminal") -> None:
    from dataclasses import fields

    from synvita_data.training.config import SynViTAConfig
    from synvita_data.training.recipe import RunOptions

    inherited = {f.name for f in fields(SynViTAConfig.__mro__[1])}
    own = [
        f for f in fields(SynViTAConfig) if f.name not in inherited or "Paper" in f.metadata.get("help", "")
    ]
    for title, group in (("Model, data and result", fields(RunOptions)), ("Training", own)):
        terminal.line()
        terminal.line(("bold", title))
        for f in group:
            choices = f.metadata.get("choices")
            line = f.metadata["help"] + (f" One of {', '.join(choices)}." if choices else "")
            terminal.line(f"  {f.name:<24}{line}")
    terminal.line()
    terminal.line(
        "And every argument of transformers.TrainingArguments, such as per_device_train_batch_size, bf16, "
        "gradient_checkpointing, eval_steps, save_steps, max_steps, report_to."
    )


def _print_plan(terminal: "Terminal", run: Any) -> None:
    config = run.config
    a_step = config.per_device_train_batch_size * config.gradient_accumulation_steps * config.world_size
    if run.trainer.is_world_process_zero():
        terminal.line(f"{a_step} triplets a step, {counted(run.steps, 'steps')}, result in {run.folder}")
        terminal.line("Dry run: nothing was trained.")


def _when(entry: dict[str, Any]) -> str:
    return f"at step {entry['step']}" if entry["step"] else "before training"


def _print_result(terminal: "Terminal", folder: Path, record: dict[str, Any]) -> None:
    first, last = (record["evaluations"] or [{}])[0], (record["evaluations"] or [{}])[-1]
    measures = [key for key in last if key.startswith("eval_") and "auc" in key]
    for key in measures:
        before = ""
        if first is not last and key in first:
            before = f"{first[key]:.2f} {_when(first)}, "
        texts = f" ({counted(last['eval_texts'], 'texts')})" if "eval_texts" in last else ""
        line = f"{before}{last[key]:.2f} at step {last['step']}{texts}"
        terminal.line(f"{key.removeprefix('eval_')} on held-out rows: {line}")
    seconds = record["summary"].get("train_runtime", 0.0)
    terminal.line(f"Saved in {folder} after {seconds:,.0f} s · synvita evaluate {folder} --task …")
