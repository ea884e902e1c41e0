"""`synvita study`: questions about the method, asked in a small world with many seeds."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import run_options

if TYPE_CHECKING:
    from ..display import Terminal
    from ..jobs import RunOptions
    from ..study.questions import Study
    from ..study.results import QuestionResult


class WorldName(StrEnum):
    """Worlds that can be studied."""

    shapes = "shapes"


@run_options(without=("devices", "verify"))
def study(
    world: Annotated[WorldName, typer.Argument(help="shapes: clips of moving shapes, made here.")],
    run: "RunOptions",
    question: Annotated[
        str | None, typer.Option(metavar="NAME", help="Question to run; --list shows all.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Run seeds 0 to N-1. Default: as many as the question plans.", min=1)
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of results; what is done in it is not done again.")
    ] = Path("study"),
    list_: Annotated[
        bool, typer.Option("--list", help="List questions, arms and cells; run nothing.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.md", help="Write the page of the results in --out, plots in images beside it."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Model that cells start from. Default: the study's own."),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Another size of every cell, for trials; repeatable."
        ),
    ] = None,
    questions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your own file of questions (docs/study.md).")
    ] = None,
) -> None:
    """Fine-tune and evaluate many small cells of a question, or write the page of what was run.

    A run that was killed goes on when it is started again. Exit status 2: a cell failed.
    """
    from ..display import Terminal
    from ..errors import SynvitaError
    from ..study.questions import QUESTIONS, read_questions

    terminal = Terminal()
    declared = read_questions(questions or QUESTIONS)
    if change:
        declared = declared.smaller(**_changes(change))
    if list_:
        _list(terminal, declared)
        return
    if question is None and report is None:
        raise SynvitaError("nothing is asked for", expected="--question NAME, --report FILE.md or --list")
    if question is not None:
        planned = declared.question(question).seeds
        result = _run(declared, question, seeds or planned, out, model, run)
        _show(terminal, declared, result)
    if report is not None:
        from ..study.page import write_page
        from ..study.results import read_all

        results = read_all(out, list(declared.questions))
        for path in write_page(declared, results, report, report.parent / "images"):
            terminal.line(str(path), style="dim")


def _changes(texts: list[str]) -> dict[str, Any]:
    """`NAME=VALUE` as YAML values; a text stays one where the recipe has a text."""
    from ..errors import SynvitaError
    from ..files import parse_yaml

    found: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise SynvitaError("--set takes NAME=VALUE", found=text)
        try:
            read = parse_yaml(value)
        except ValueError as error:
            raise SynvitaError("--set takes a value in YAML", found=f"{text}: {error}") from error
        found[name] = value if name == "noise" else read
    return found


def _list(terminal: "Terminal", declared: "Study") -> None:
    for name, asked in declared.questions.items():
        cells = asked.cells(range(asked.seeds))
        terminal.line(("bold", f"{name}: "), asked.title)
        terminal.line(
            f"  {len(cells)} cells: {len(asked.arms)} arms, {len(asked.settings)} settings, {asked.seeds} seeds"
        )
        for arm in asked.arms:
            changes = ", ".join(f"{key} {value}" for key, value in declared.arms[arm].change.items())
            terminal.line(f"  {arm:16} {declared.arms[arm].title}", ("dim", f"  {changes}"))
        for setting in asked.settings.values():
            if len(asked.settings) > 1:
                changes = ", ".join(f"{key} {value}" for key, value in setting.change.items())
                terminal.line(f"  [{setting.name}] {setting.title}", ("dim", f"  {changes}"))


def _run(
    declared: "Study", question: str, seeds: int, out: Path, model: str | None, run: "RunOptions"
) -> "QuestionResult":
    from ..progress import Progress
    from ..study.run import run_question

    with Progress("running cells") as progress:
        return run_question(
            declared,
            question,
            range(seeds),
            out,
            model=model,
            options=run,
            on_progress=progress.follow,
        )


def _show(terminal: "Terminal", declared: "Study", result: "QuestionResult") -> None:
    """The means of every arm."""
    from rich import box
    from rich.table import Table

    from ..display import cell
    from ..study.analysis import arm_means

    asked = declared.question(result.question)
    means = arm_means(asked, result.values)
    shown = [each for each in asked.outcomes if any(each in own for own in means.values())]
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("setting", "arm", *shown):
        grid.add_column(cell(heading), overflow="fold")
    for (setting, arm), own in means.items():
        values = [f"{own[each].value:.1f}" if each in own else "–" for each in shown]
        grid.add_row(*map(cell, (setting, arm, *values)))
    terminal.show(grid)
    terminal.line(str(result.file), style="dim")
