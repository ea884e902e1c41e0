"""`python -m synvita_data.study.pretraining`: make both states, or measure models that are there."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synvita_data.display import print_error, say
from synvita_data.errors import SynvitaError
from synvita_data.shipped import SHIPPED

from .settings import Settings

RELIABILITY = "reliability.png"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m synvita_data.study.pretraining",
        description="Pre-train the Video-LLaVA that knows the shapes world, or measure it.",
    )
    parser.add_argument("--out", type=Path, help="Folder for both states, which must not be there yet.")
    parser.add_argument("--seed", type=int, default=0, help="Of weights, clips and statements.")
    parser.add_argument("--clips", type=int, help="How many clips to draw; for trials.")
    parser.add_argument("--tower-steps", type=int, help="Steps of the first stage; for trials.")
    parser.add_argument("--steps", type=int, help="Steps of the second stage; for trials.")
    parser.add_argument("--early", type=int, help="Step of the earlier state.")
    parser.add_argument("--more", type=int, help="Steps of the second stage's second cycle; for trials.")
    parser.add_argument(
        "--evaluate", nargs="*", metavar="MODEL", help="Measure these (none: the shipped ones)."
    )
    parser.add_argument("--plot", type=Path, help="With --evaluate: where to draw their reliability.")
    parser.add_argument(
        "--each", type=int, default=100, help="Clips a misalignment to measure on; 0 for none."
    )
    given = parser.parse_args(arguments)
    if (given.out is None) == (given.evaluate is None):
        parser.error("give either --out DIR or --evaluate")
    try:
        if given.evaluate is None:
            _make(given)
        else:
            _measure(
                [Path(each) if Path(each).is_dir() else each for each in given.evaluate or SHIPPED], given
            )
    except SynvitaError as error:
        print_error(error)
        return 1
    return 0


def _make(given: argparse.Namespace) -> None:
    named = ("seed", "clips", "tower_steps", "steps", "early", "more")
    settings = Settings(**{name: getattr(given, name) for name in named if getattr(given, name) is not None})
    if given.out.exists():
        raise SynvitaError("the folder is there already", file=given.out, fix="Name another, or remove it")
    # One thread, also in the libraries below torch, from before they are loaded.
    os.environ["OMP_NUM_THREADS"] = "1"
    from .export import save
    from .training import pretrain

    made = pretrain(settings, say=lambda line: say(_shown(line)))
    folders = save(made, settings, given.out)
    for name, folder in folders.items():
        size = sum(path.stat().st_size for path in folder.iterdir())
        say(f"{name}: {size / 1e6:.2f} MB in {folder}")
    if given.each:
        given.plot = given.plot or given.out / RELIABILITY
        _measure(list(folders.values()), given)


def _measure(models: Sequence[str | Path], given: argparse.Namespace) -> None:
    """Print the table of the numbers; folders that were made here get their card."""
    from .card import numbers_table, write_card
    from .numbers import RULES, evaluate_model, plot_reliability
    from .record import RECORD

    found = {}
    for model in models:
        name = model.name if isinstance(model, Path) else model
        found[name] = evaluate_model(str(model), given.each)
        if isinstance(model, Path) and (model / RECORD).is_file():
            write_card(model, found[name])
    say(numbers_table(found))
    if given.plot is not None:
        plot_reliability(given.plot, {name: own[RULES[0]] for name, own in found.items()})


def _shown(line: dict[str, Any]) -> str:
    """One line of the log for the terminal."""
    auc = line.get("auc")
    words = [f"{key} {value}" for key, value in line.items() if key != "auc"]
    return ", ".join(words) + ("" if auc is None else f"; AUC {auc}")


if __name__ == "__main__":
    raise SystemExit(main())
