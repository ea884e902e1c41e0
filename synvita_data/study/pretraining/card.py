"""The model card of a state, and its numbers as a table: what it is, how it was made, what it can do and what it cannot."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synvita_data.files import read_json, write_atomic
from synvita_data.hub.card import code, make_card, markdown, table

from .export import EARLY, FINAL, LOG
from .numbers import Numbers, reliability
from .record import RECORD

# The goals of the final state, AUC in percent.
GOALS = {
    "noun-colour": 95,
    "noun-shape": 90,
    "attribute": 90,
    "object": 90,
    "action": 85,
    "flip": 80,
    "count": 65,
    "relation": 65,
}
_TITLES = {"noun-colour": "colour of a noun", "noun-shape": "shape of a noun", "all": "all captions"}


def numbers_table(found: Mapping[str, Mapping[str, Numbers]]) -> str:
    """AUC of every kind, a row each, for models and for rules of sampling frames.

    Args:
        found: model -> rule -> numbers.
    """
    columns = [(model, rule) for model, own in found.items() for rule in own]
    first = found[columns[0][0]][columns[0][1]]
    rows = []
    for kind, estimate in first.auc.items():
        cells = [found[model][rule].auc[kind] for model, rule in columns]
        goal = f"≥ {GOALS[kind]}" if kind in GOALS else ""
        rows.append([_TITLES.get(kind, kind), str(estimate["n"] // 2), *map(_estimate, cells), goal])
    errors = [f"{100 * reliability(found[model][rule]).error:.1f}" for model, rule in columns]
    rows.append(["calibration error, %", str(len(first.truth) // 2), *errors, ""])
    heads = [f"`{model}`, {rule}" for model, rule in columns]
    return table(["statements", "pairs", *heads, "goal"], rows)


def _estimate(each: Mapping[str, Any]) -> str:
    if each["low"] is None:
        return f"{each['value']:.1f}"
    return f"{each['value']:.1f} ({each['low']:.1f} to {each['high']:.1f})"


def _missed(numbers: Mapping[str, Numbers]) -> str:
    """Which goals of the final state are missed, under either rule of sampling frames."""
    missed = {
        kind: worst
        for kind, goal in GOALS.items()
        if (worst := min(own.auc[kind]["value"] for own in numbers.values())) < goal
    }
    if not missed:
        return "It reaches every goal of the final state."
    found = ", ".join(
        f"{_TITLES.get(kind, kind)} {worst:.1f} (≥ {GOALS[kind]})" for kind, worst in missed.items()
    )
    return f"It misses goals of the final state: {found}."


def write_card(folder: Path, numbers: Mapping[str, Numbers]) -> None:
    """Write `README.md` beside a state.

    Args:
        folder: of the state, as `export.save` made it.
        numbers: of it, rule -> numbers.
    """
    name, record = folder.name, read_json(folder / RECORD, "the record of a pre-training")
    settings, steps = record["settings"], record["step"]
    which = "the earlier" if name == EARLY else "the final"
    log = [json.loads(line) for line in (folder / LOG).read_text(encoding="utf-8").splitlines()]
    last = next((line for line in reversed(log) if line["stage"] == "statements"), None)
    losses = ""  # where a state is older than the first line
    if last is not None:
        losses = (
            f" (last line: next word {last['words']:.2f}, Yes/No {last['yes_no']:.3f}, detection "
            f"{last['detection']:.3f})"
        )
    sections = [
        f"# {markdown(name)}",
        f"A Video-LLaVA of real transformers classes with {log[0]['parameters'] / 1e6:.1f} million parameters that knows the shapes world of "
        f"`synvita-data` (version {record['world']}): {which} of two states of one pre-training. It comes with the "
        "package, and its name is understood wherever a model is named: "
        f"`synvita evaluate {name} --task …`. It is a **positive control**: with it the whole chain can be tried in "
        "minutes, and questions about the method can be asked with many seeds. **It has seen nothing but coloured "
        "shapes, and what is found with it proves nothing about real videos.**",
        "## Data\n\n"
        f"{settings['clips']:,} clips of the shapes world, drawn from seed {settings['seed']}: one shape, several alike, "
        "two events, two shapes in turn, together, or one beside the other; nearly half filmed like the world's real "
        "clips, the others in looks between those and its generator's. "
        f"{settings['frames']} frames are looked at, half of the time segment midpoints, half of the time `linspace`. "
        f"No clip and no statement has these combinations of colour and shape: {', '.join(record['held_out'])}.",
        "## Recipe\n\n"
        f"- The vision tower first learns to find shapes on single frames ({settings['tower_steps']:,} steps of "
        f"{settings['tower_batch']} frames): colour, shape, place on the canvas, size, eye, number.\n"
        f"- Then the whole model is trained for {settings['steps'] + settings['more']:,} steps (this state: after "
        f"{steps:,}) of "
        f"{settings['batch']} clips with {2 * settings['pairs']} packed statements each, true and false ones that differ "
        "in one thing: Yes/No with the package's own entailment prompt, the next word of true statements, and the "
        "detection loss on what the language model reads.\n"
        f"- By steps, on one thread: `python -m synvita_data.study.pretraining --out DIR --seed {settings['seed']}` gives "
        "the same bytes again on one machine with the same versions "
        f"({', '.join(f'{key} {value}' for key, value in record['versions'].items())}).\n"
        f"- All settings are in {code(RECORD)}, the log is {code(LOG)}{losses}.",
        "## Numbers\n\n"
        "AUC in percent with 95% intervals (bootstrap over clips), by the stock forward, on clips as the package renders "
        "them (files, decoded again), every one with a held-out combination. Misalignments: a caption of the whole clip "
        "beside a contrast caption.\n\n" + numbers_table({name: numbers}),
        "## Limits\n\n"
        "- Four shapes, six colours, eight actions, four relations, counts up to four, the world's own grammar. Other "
        "words are unknown to it: of captions in another wording it knows only what they share with these.\n"
        f"- It is made for version {record['world']} of the world and {settings['frames']} frames. `check_world` of "
        "`synvita_data.study.pretraining.record` refuses another version by name.\n"
        "- P(Yes) is an answer to statements of which half are true; see the calibration error.\n"
        "- What it knows of combinations that it has seen is more than the numbers above.\n"
        f"- {_missed(numbers)}\n"
        "- It cannot describe, explain or answer anything else, and no claim about video-language models in general "
        "follows from it.",
    ]
    metadata = {
        "license": "apache-2.0",
        "library_name": "transformers",
        "pipeline_tag": "video-text-to-text",
        "language": ["en"],
        "tags": ["synvita", "shapes-world", "positive-control"],
    }
    write_atomic(folder / "README.md", make_card(metadata, sections))


__all__ = ["EARLY", "FINAL", "GOALS", "numbers_table", "write_card"]
