"""The tables of a run: `table.json`, `table.md`, and `report.md`, ready to be sent as an issue or a submission."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import write_atomic
from ..hub.card import code, code_line, markdown, table
from ..hub.leaks import refuse_leaks
from ..hub.places import without_places
from ..hub.repo import LocalFile
from ..tasks import SOURCE, get_task
from ..versions import installed, versions
from .cells import Measured
from .checkpoints import LOCAL, Checkpoints
from .compare import OFF, ORDER_KEPT, WITHIN, Band, keeps_order
from .expected import AS_IT_IS, Expected
from .inputs import Asked, Manifest
from .run import Outcome

TABLE, TABLE_TEXT, REPORT = "table.json", "table.md", "report.md"


@dataclass(frozen=True, slots=True)
class Line:
    """One row and task of the table, with its modes.

    Attributes:
        row, task: its place.
        paper: as printed; None where the paper has no number.
        points: the tolerance.
        outcomes: by mode.
        verdicts: by mode; only of cells that were measured.
        order: by mode, what is said of the order of baseline and SynViTA; empty where nothing is.
    """

    row: str
    task: str
    paper: str | None
    points: float
    outcomes: Mapping[str, Outcome]
    verdicts: Mapping[str, str]
    order: Mapping[str, str]


def make_lines(expected: Expected, outcomes: Sequence[Outcome]) -> list[Line]:
    """The table's lines, with verdicts: they follow from the cells and the file of expected results alone."""
    measured = {
        (each.row, each.task, each.mode): each.measured for each in outcomes if each.measured is not None
    }
    places = dict.fromkeys((each.row, each.task) for each in outcomes)
    lines = []
    for row, task in places:
        own = {each.mode: each for each in outcomes if (each.row, each.task) == (row, task)}
        paper, tolerance = expected.rows[row].published(task), expected.tolerances[task]
        verdicts, orders = {}, {}
        for mode, outcome in own.items():
            if outcome.measured is None:
                continue
            kept, said = _order(expected, measured, row, task, mode)
            verdicts[mode] = outcome.measured.verdict(paper, tolerance, kept)
            orders[mode] = said
        text = None if paper is None else f"{paper.value:.{paper.digits}f}"
        lines.append(Line(row, task, text, tolerance.points, own, verdicts, orders))
    return lines


def _order(
    expected: Expected, measured: Mapping[tuple[str, str, str], Measured], row: str, task: str, mode: str
) -> tuple[bool | None, str]:
    """Whether baseline and SynViTA stand as in the paper, and in words."""
    pair = next((each for each in expected.pairs if row in each), None)
    if pair is None:
        return None, ""
    papers = [expected.rows[name].published(task) for name in pair]
    if papers[0] is None or papers[1] is None:
        return None, ""
    values: list[float] = []
    from_paper = ""
    for name, paper in zip(pair, papers, strict=True):
        found = measured.get((name, task, mode))
        if found is not None:
            values.append(found.value)
        elif expected.rows[name].not_public is not None and paper is not None:
            values.append(paper.value)
            from_paper = f" (with the paper's value of {expected.rows[name].paper}, which is not public)"
        else:
            return None, f"order unknown: {name} was not measured"
    kept = keeps_order(values[0], values[1], papers[0].value, papers[1].value)
    return kept, ("order as in the paper" if kept else "order not as in the paper") + from_paper


def table_record(expected: Expected, asked: Asked, lines: Sequence[Line]) -> dict[str, Any]:
    """The table, JSON-ready; it names no place on this machine."""

    def cell(line: Line, mode: str, outcome: Outcome) -> dict[str, Any]:
        found = outcome.measured
        # What differs between a run and one that went on after a kill stays out.
        state = "done" if outcome.state == "kept" else outcome.state
        if found is None:
            return {"state": state, "reason": without_places(outcome.reason)}
        reach = found.reach(expected.tolerances[line.task])
        return {
            "state": state,
            "value": found.value,
            "ties": _ends(found.ties),
            "jitter": _ends(found.jitter),
            "flips": _ends(found.flips),
            "band": _ends(reach),
            "k": found.k,
            "n": found.n,
            "all_value": found.all_value,
            "groups_left_out": found.left_out,
            "verdict": line.verdicts[mode],
            "order": line.order[mode],
            "result": found.result,
            "official": found.official,
            "why_not_official": list(found.why_not),
        }

    return {
        "table": "table3",
        "source": SOURCE,
        "expected": {"file": expected.file, "packaged": expected.packaged},
        "tolerances_fixed": expected.fixed,
        "partial": asked.partial,
        "evaluate": {"dtype": expected.evaluate.dtype, "backend": expected.evaluate.backend},
        "cells": [
            {
                "row": line.row,
                "model": expected.rows[line.row].paper,
                "task": line.task,
                "paper": None if line.paper is None else float(line.paper),
                "tolerance": line.points,
                "modes": {mode: cell(line, mode, outcome) for mode, outcome in line.outcomes.items()},
            }
            for line in lines
        ],
    }


def _ends(found: Band | None) -> list[float] | None:
    return None if found is None else [found.low, found.high]


def table_text(expected: Expected, asked: Asked, lines: Sequence[Line]) -> str:
    """The table as Markdown."""
    rows = []
    for line in lines:
        first = [
            markdown(expected.rows[line.row].paper),
            markdown(get_task(line.task).column),
            markdown(line.paper or "–"),
        ]
        values = [_value(line.outcomes[mode]) for mode in asked.modes]
        bands = [
            " · ".join(filter(None, (_bounds(line.outcomes[mode], name) for mode in asked.modes))) or "–"
            for name in ("ties", "jitter", "flips")
        ]
        verdicts = [markdown(line.verdicts.get(mode, line.outcomes[mode].state)) for mode in asked.modes]
        rows.append([*first, *values, *bands, f"± {line.points:g}", *verdicts])
    header = ["model", "task", "paper", *asked.modes, "ties", "jitter", "flips", "tolerance"]
    header += [f"verdict, {mode}" for mode in asked.modes]
    return f"{table(header, rows)}\n\n{_legend(expected, lines)}\n"


def _value(outcome: Outcome) -> str:
    found = outcome.measured
    if found is None:
        return "–"
    text = f"**{found.value:.2f}**"
    if found.all_value is not None:
        text += f" ({found.all_value:.2f} of all)"
    return text if found.complete else f"{text} ({found.k:,} of {found.n:,})"


def _bounds(outcome: Outcome, name: str) -> str:
    found: Band | None = getattr(outcome.measured, name, None)
    return "" if found is None else f"{found.low:.2f} to {found.high:.2f}"


def _tolerances(expected: Expected) -> str:
    """Whose tolerances these are: a reader must see when they are not the package's."""
    if expected.packaged:
        return f"Tolerances are the package's, fixed on {expected.fixed} before any of these checkpoints was run."
    return f"Tolerances are of a file of the user, {code(expected.file)}, not of the package."


def _legend(expected: Expected, lines: Sequence[Line]) -> str:
    said = [
        f"Percent. Paper: {markdown(SOURCE)}. {_tolerances(expected)}",
        "ties: from the worst to the best order of tied scores. "
        f"jitter: {expected.jitter.level:.0%} of {expected.jitter.draws} draws of noise N(0, {expected.jitter.sigma:g}) on "
        "log-odds. Where there are several modes, theirs stand in the order of the columns.",
        f"{WITHIN}: the paper's value lies within the tolerance or one of these bands. {ORDER_KEPT}: it does not, but "
        f"baseline and SynViTA stand as in the paper. {OFF}: neither.",
    ]
    if any(each.measured and each.measured.left_out for line in lines for each in line.outcomes.values()):
        said.append(
            "ATP-Hard is compared over the questions that the official script counts: it loses those that one video asks "
            "twice in the same words; “of all” is over all of them."
        )
    if any(each.measured and not each.measured.complete for line in lines for each in line.outcomes.values()):
        said.append("A number of some of the rows only is no reproduction, whatever its verdict.")
    orders = {
        f"{expected.rows[line.row].paper}, {get_task(line.task).column}, {mode}: {text}"
        for line in lines
        for mode, text in line.order.items()
        if text and line.verdicts.get(mode) in (OFF, ORDER_KEPT)
    }
    return "\n".join(f"- {each}" for each in (*said, *(markdown(order) for order in sorted(orders))))


def report_text(
    expected: Expected,
    asked: Asked,
    manifest: Manifest,
    lines: Sequence[Line],
    checkpoints: Checkpoints,
    machine: Mapping[str, Any],
) -> str:
    """The report as Markdown: what was run, with what, and what came out. It names no place on this machine.

    Args:
        expected: what there is.
        asked: what of it was wanted.
        manifest: what of its inputs was there.
        lines: of `make_lines`.
        checkpoints: whose commits are known by now.
        machine: the device, of `run.machine`.
    """
    sections = [
        "# Table 3 recomputed",
        f"synvita-data {markdown(versions()['synvita-data'])}. {_tolerances(expected)}",
        "## Table",
        table_text(expected, asked, lines).rstrip(),
    ]
    missed = [
        [markdown(line.row), markdown(line.task), mode, each.state, markdown(without_places(each.reason))]
        for line in lines
        for mode, each in line.outcomes.items()
        if each.measured is None
    ]
    if missed:
        sections += ["## Not measured", table(["row", "task", "mode", "", "reason"], missed)]
    sections += ["## Checkpoints", _checkpoints(expected, asked, checkpoints)]
    sections += ["## Annotations and videos", _inputs(manifest)]
    sections += ["## Machine and versions", _versions(machine)]
    sections += ["## Commands", _commands(expected, asked)]
    return without_places("\n\n".join(sections)) + "\n"


def _checkpoints(expected: Expected, asked: Asked, checkpoints: Checkpoints) -> str:
    rows = []
    for row in asked.rows:
        for name in expected.needs(row):
            source = expected.checkpoints[name]
            commit = LOCAL if Path(source.repository).is_dir() else checkpoints.revision(source)
            cells = (row, source.repository, commit or "not known", source.convert)
            rows.append([code(without_places(each)) for each in cells])
    return table(["row", "repository", "commit", "converted as"], rows) if rows else "None."


def _inputs(manifest: Manifest) -> str:
    rows = [
        [
            markdown(get_task(each.task).column),
            code(each.annotations.revision) if each.annotations else "–",
            f"{each.texts:,}",
            f"{each.found:,} of {each.needed:,}",
            markdown("; ".join(each.doubts)) or "–",
        ]
        for each in manifest.tasks.values()
    ]
    return table(["task", "annotations", "texts", "videos", "not as the paper's"], rows)


def _versions(machine: Mapping[str, Any]) -> str:
    found = versions() | installed(("tokenizers", "safetensors", "huggingface_hub"))
    lines = [f"{name} {value}" for name, value in machine.items()]
    return "\n".join(f"- {markdown(each)}" for each in (*lines, *(f"{n} {v}" for n, v in found.items())))


def _commands(expected: Expected, asked: Asked) -> str:
    """What was asked for, and what each row comes to by single commands."""
    words = ["synvita reproduce table3 --annotations ANNOTATIONS --out OUT"]
    words += [f"--real-root {f'{root.source}=' if root.source else ''}VIDEOS" for root in asked.roots]
    mode = "both" if len(asked.modes) > 1 else asked.modes[0]
    words += [f"--mode {mode} --dtype {expected.evaluate.dtype} --backend {expected.evaluate.backend}"]
    words += ["--partial"] if asked.partial else []
    words += [] if expected.packaged else [f"--expected {expected.file}"]
    words += [f"--row {row}" for row in asked.rows if len(asked.rows) < len(expected.rows)]
    words += [f"--task {task}" for task in asked.tasks if len(asked.tasks) < len(expected.tolerances)]
    lines = [" ".join(words)]
    for row in asked.rows:
        lines += ["", f"# {row}", *row_commands(expected, row, asked.tasks, asked.modes)]
    return "\n".join(["```bash", *map(code_line, lines), "```"])


def row_commands(expected: Expected, row: str, tasks: Sequence[str], modes: Sequence[str]) -> list[str]:
    """The single commands that a row comes to.

    Args:
        expected: what there is.
        row: its name.
        tasks, modes: what is evaluated.
    """
    lines = []
    for name in expected.needs(row):
        source = expected.checkpoints[name]
        if not Path(source.repository).is_dir():
            at = f" --revision {source.revision}" if source.revision else ""
            lines.append(f"hf download {source.repository}{at} --local-dir released/{name}")
        more = f" --base models/{source.base}" if source.base else ""
        more += f" --towers released/{source.towers}" if source.towers else ""
        if source.convert != AS_IT_IS:
            lines.append(f"synvita convert {source.convert} released/{name} models/{name}{more}")
    if not lines:
        return [f"# {expected.rows[row].not_public}"]
    chain, prompt = expected.chain(row), expected.rows[row].prompt
    adapter = f" --adapter models/{chain[1]}" if len(chain) > 1 else ""
    how = f" --dtype {expected.evaluate.dtype} --backend {expected.evaluate.backend}"
    how += f" --prompt {prompt}" if prompt else ""
    asked = " ".join(f"--task {task}" for task in tasks)
    for mode in modes:
        of_mode = "" if mode == "clean" else f" --mode {mode}"
        lines.append(
            f"synvita evaluate models/{chain[0]}{adapter}{how}{of_mode} {asked} --annotations ANNOTATIONS "
            f"--real-root VIDEOS --out results/{mode}"
        )
    return lines


def write_report(out: Path, record: Mapping[str, Any], text: str, report: str) -> list[Path]:
    """Write all three files, after a look for tokens and home folders.

    Raises:
        LeakError: what would be sent to others holds one.
    """
    contents = {
        TABLE: json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        TABLE_TEXT: text,
        REPORT: report,
    }
    refuse_leaks(LocalFile(name, content.encode()) for name, content in contents.items())
    for name, content in contents.items():
        write_atomic(out / name, content)
    return [out / name for name in contents]
