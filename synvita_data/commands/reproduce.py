"""`synvita reproduce`: the paper's tables again, from released checkpoints, or as plans of training."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..display import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..display import Terminal
    from ..reproduce.expected import Expected
    from ..reproduce.inputs import Asked, Manifest
    from ..reproduce.report import Line


class TableName(StrEnum):
    """Tables of the paper."""

    table3 = "table3"
    table1 = "table1"
    table2 = "table2"
    table4 = "table4"
    table5 = "table5"


class Mode(StrEnum):
    """How a checkpoint is evaluated."""

    clean = "clean"
    released = "released"
    both = "both"


def reproduce(
    table: Annotated[
        TableName,
        typer.Argument(help="table3 is run from released checkpoints; the others are plans of training."),
    ],
    row: Annotated[
        list[str] | None,
        typer.Option(
            "--row",
            metavar="NAME",
            help="Row of table3; of a plan the family, video-llava or mplug-owl. Repeat for several.",
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", metavar="NAME", help="Name of a benchmark; repeat for several."),
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with the annotation files of the tasks.")
    ] = None,
    real_root: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[SOURCE=]DIR",
            help="Folder of real videos, all of SOURCE where that is said (ssv2=/data/20bn); repeat for several.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="table3: folder of checkpoints, results and tables (default: reproduced). A plan: script to write.",
        ),
    ] = None,
    mode: Annotated[
        Mode,
        typer.Option(
            help="clean: as we evaluate. released: as the released code does. both: one after the other."
        ),
    ] = Mode.clean,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="List what is there and what is missing; load and fetch nothing."),
    ] = False,
    partial: Annotated[
        bool,
        typer.Option(
            "--partial", help="Evaluate a task although videos are missing; that is no reproduction."
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with status 2 when a cell was skipped, too.")
    ] = False,
    expected: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Your own copy of expected.yaml (docs/reproduce.md)."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Device of the models: cuda:0, cpu, … Default: this process's GPU.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Dtype of the weights instead of that of expected.yaml.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="Decoder instead of that of expected.yaml: pyav, decord or torchcodec.")
    ] = None,
) -> None:
    """Recompute a table of the paper, cell by cell, and say how far each number is off.

    A run that was killed goes on when it is started again. Exit status 2: a cell that was asked for failed.
    """
    from ..display import Terminal

    if table is not TableName.table3:
        _plan(Terminal(), table.value, row or (), task or (), out)
        return
    from ..reproduce.inputs import look

    terminal = Terminal()
    given: dict[str, Any] = {
        "row": row,
        "task": task,
        "annotations": annotations,
        "real_root": real_root,
        "out": out,
    }
    given |= {"mode": mode, "partial": partial, "expected": expected, "dtype": dtype, "backend": backend}
    read, asked = cells_of(given)
    manifest = look(read, asked)
    _show_manifest(terminal, read, asked, manifest)
    if dry_run:
        terminal.line("Dry run: nothing was loaded, fetched or written.")
        return
    _run(terminal, read, asked, manifest, device, strict)


def cells_of(given: "Mapping[str, Any]") -> "tuple[Expected, Asked]":
    """What is expected of table3, and which of it is asked for.

    Args:
        given: the command's parameters by name.

    Raises:
        SynvitaError: an unknown row or task, a root that is none, a file of expected results that cannot be read.
    """
    from dataclasses import replace

    from ..real_videos.roots import Root
    from ..reproduce.expected import EXPECTED, read_expected
    from ..reproduce.inputs import MODES, Asked

    read = read_expected(given["expected"] or EXPECTED)
    changes = {name: given[name] for name in ("dtype", "backend") if given[name] is not None}
    mode = Mode(given["mode"])
    asked = Asked(
        rows=read.choose_rows(given["row"] or ()),
        tasks=read.choose_tasks(given["task"] or ()),
        modes=MODES if mode is Mode.both else (mode.value,),
        annotations=given["annotations"],
        roots=tuple(map(Root.parse, given["real_root"] or ())),
        out=given["out"] or Path("reproduced"),
        partial=given["partial"],
    )
    return replace(read, evaluate=replace(read.evaluate, **changes)), asked


def _plan(
    terminal: "Terminal", table: str, families: "Sequence[str]", tasks: "Sequence[str]", out: Path | None
) -> None:
    """Print what training and evaluating a table costs, and write it as a script."""
    from synvita_data.training.recipe import recipe_values

    from ..files import write_atomic
    from ..reproduce.plans import TRAINING_GIB, make_plan, script

    plan = make_plan(table, recipe_values, families=families, tasks=tasks)
    terminal.line(("bold", f"{table}: "), plan.about)
    wide = max(len(row.recipe) for row in plan.rows)
    for row in plan.rows:
        bound = f" ({row.bound})" if row.bound else ""
        terminal.line(f"  {row.recipe:{wide}}  {row.hours:5.1f} H100 hours  {row.label}{bound}")
    terminal.line(
        f"Computed (docs/scale.md): {plan.hours:,.0f} H100 hours of training and evaluation, {TRAINING_GIB:g} GiB of GPU "
        f"memory, {plan.disk_gb:,.0f} GB of disk beside real videos and base models. A model scores {counted(plan.texts, 'texts')} in "
        f"at most {plan.evaluation_hours:.1f} hours."
    )
    for missing in plan.missing:
        terminal.line(("yellow", f"Missing: {missing}"))
    if out is None:
        terminal.line("The commands (--out FILE writes them as a script):")
        for line in script(plan).splitlines():
            terminal.line(f"    {line}", style="dim")
        return
    write_atomic(out, script(plan))
    terminal.line(str(out), style="dim")


def _run(
    terminal: "Terminal",
    expected: "Expected",
    asked: "Asked",
    manifest: "Manifest",
    device: str | None,
    strict: bool,
) -> None:
    from ..display import print_error
    from ..reproduce.checkpoints import Checkpoints
    from ..reproduce.report import make_lines, report_text, table_record, table_text, write_report
    from ..reproduce.run import machine, run_table

    outcomes = run_table(expected, asked, manifest, device=device, say=terminal.line)
    lines = make_lines(expected, outcomes)
    written = write_report(
        asked.out,
        table_record(expected, asked, lines),
        table_text(expected, asked, lines),
        report_text(expected, asked, manifest, lines, Checkpoints(expected, asked.out), machine()),
    )
    _show_lines(terminal, expected, asked, lines)
    for path in written:
        terminal.line(str(path), style="dim")
    failed = [each for each in outcomes if each.state == "failed"]
    skipped = [each for each in outcomes if each.state == "skipped"]
    for each in failed:
        print_error(f"{each.row}, {each.task}, {each.mode}: {each.reason}")
    if failed or (strict and skipped):
        raise typer.Exit(2)


def _show_manifest(terminal: "Terminal", expected: "Expected", asked: "Asked", manifest: "Manifest") -> None:
    """What is there and what is missing: checkpoints, inputs of the tasks, and a letter a cell."""
    from ..doctor.report import size

    # Checkpoints and inputs, a line each, and what is missing of it below.
    wide = max([*map(len, manifest.checkpoints), *map(len, manifest.tasks)])
    terminal.line(("bold", "Checkpoints"))
    for each in manifest.checkpoints.values():
        state = "size unknown" if each.to_fetch is None else f"{size(each.to_fetch)} to fetch"
        state = "converted" if each.converted else state
        commit = each.revision[:12] if each.revision else "main, whose commit is then kept"
        licence = f" ({each.licence})" if each.licence else ""
        terminal.line(f"  {each.name:{wide}}  {state:18}  {each.repository} @ {commit}{licence}")
        if each.note:
            terminal.line(f"    {each.note}", style="dim")
        if each.missing:
            terminal.line(("yellow", f"    {each.missing}"))
    terminal.line(("bold", "Inputs"))
    for given in manifest.tasks.values():
        found = (
            f"{counted(given.texts, 'texts')}, {given.found:,} of {given.needed:,} videos"
            if given.needed
            else "–"
        )
        terminal.line(f"  {given.task:{wide}}  {found}")
        for missing in given.missing:
            terminal.line(("yellow", f"    {missing}"))
        for doubt in given.doubts:
            terminal.line(f"    not as the paper's: {doubt}")
    for missing in manifest.missing:
        terminal.line(("yellow", f"  {missing}"))
    # The cells: those of a row that lack the same things on one line.
    terminal.line(("bold", "Cells"))
    for row in asked.rows:
        gib = manifest.gib[row]
        memory = "GPU memory unknown" if gib is None else f"{gib:g} GiB of GPU memory"
        terminal.line(f"  {row:{wide}}  {memory if expected.chain(row) else '–'}")
        alike: dict[str, list[str]] = {}
        for task in asked.tasks:
            alike.setdefault(_lacking(expected, manifest, row, task), []).append(task)
        for lacking, tasks in alike.items():
            style = "yellow" if lacking else "green"
            terminal.line((style, f"    {lacking or 'can be run'}: "), ", ".join(tasks))
    unknown = sum(each.to_fetch is None for each in manifest.checkpoints.values())
    more = f" and {unknown} checkpoints of unknown size" if unknown else ""
    can = sum(not each.missing for each in manifest.cells)
    terminal.line(
        f"{can} of {len(manifest.cells)} cells can be run. To fetch: {size(manifest.to_fetch)}{more}; to write: "
        f"{size(manifest.to_write)}."
    )
    for warning in manifest.warnings:
        terminal.line(("yellow", warning))


def _lacking(expected: "Expected", manifest: "Manifest", row: str, task: str) -> str:
    """What a cell lacks, by the names that the lists above explain; empty where it can be run."""
    if (reason := expected.rows[row].not_public) is not None:
        return f"not public ({reason})"
    lacking = [each.name for each in manifest.of_row(expected, row) if each.missing]
    lacking += ["inputs"] if manifest.tasks[task].missing else []
    lacking += ["packages"] if manifest.missing else []
    return f"lacks {', '.join(lacking)}" if lacking else ""


def _grid(*headings: str) -> Any:
    from rich import box
    from rich.table import Table

    from ..display import cell

    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        grid.add_column(cell(heading), overflow="fold")
    return grid


def _show_lines(terminal: "Terminal", expected: "Expected", asked: "Asked", lines: "list[Line]") -> None:
    from ..display import cell
    from ..tasks import get_task

    grid = _grid("model", "task", "paper", *asked.modes, *(f"verdict, {mode}" for mode in asked.modes))
    for line in lines:
        found: dict[str, Any] = {mode: each.measured for mode, each in line.outcomes.items()}
        values = [f"{found[mode].value:.2f}" if found[mode] else "–" for mode in asked.modes]
        verdicts = [line.verdicts.get(mode, line.outcomes[mode].state) for mode in asked.modes]
        head = (expected.rows[line.row].paper, get_task(line.task).column, line.paper or "–")
        grid.add_row(*map(cell, (*head, *values, *verdicts)))
    terminal.show(grid)
