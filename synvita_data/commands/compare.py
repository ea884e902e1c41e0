"""`synvita compare`: two models on the same texts, and whether they differ."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..display import counted

if TYPE_CHECKING:
    from rich.table import Table

    from ..comparison.compare import Comparison, TaskComparison


def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="RESULT_A",
            help="A result file, the folder of a model, or the name of a model in --results.",
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="RESULT_B", help="What to compare it with, in the same form.")],
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            metavar="NAME",
            help="Compare only this task (repeat for several), or FILE.yaml for one of your own. Default: all that both have.",
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Annotation file of the task, or a folder of all; needed for questions, and for pairs and breakdowns.",
        ),
    ] = None,
    results: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of results in which models are looked up by name.")
    ] = Path("results"),
    partial: Annotated[
        bool,
        typer.Option(
            "--partial", help="Compare on the texts that both have where they scored different ones."
        ),
    ] = False,
    resamples: Annotated[int, typer.Option(help="Number of bootstrap resamples.", min=100)] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.", min=0)] = 0,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write it as JSON; - prints only that.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Write a plot of the differences.")
    ] = None,
) -> None:
    """Compare two models pair by pair: difference, p value, items won; Holm's correction over tasks."""
    from ..comparison.compare import compare as compare_models
    from ..display import Terminal, json_text, print_error, write
    from ..errors import SynvitaError
    from ..files import write_atomic
    from ..tasks import get_task

    if plot is not None and plot.suffix.lower() != ".png":
        raise SynvitaError("the plot is a PNG", found=str(plot), expected="--plot FILE.png")
    found = compare_models(
        a,
        b,
        results=results,
        tasks=[get_task(each) for each in dict.fromkeys(task or ())],
        annotations=annotations,
        partial=partial,
        resamples=resamples,
        seed=seed,
    )
    if json_file == "-":
        write(json_text(found.to_record(), indent=1, allow_nan=False) + "\n")
    else:
        terminal = Terminal()
        terminal.line(("bold", "A"), f" {found.a}   ", ("bold", "B"), f" {found.b}")
        terminal.show(comparison_table(found))
        for style, line in remarks(found):
            terminal.line(line, style=style)
    written = []
    if json_file is not None and json_file != "-":
        write_atomic(Path(json_file), json_text(found.to_record(), indent=1, allow_nan=False) + "\n")
        written.append(json_file)
    if plot is not None:
        from ..comparison.forest import forest_figure, save_forest

        figure = forest_figure(found)
        if figure is None:
            print_error("no plot: no task has a difference", "yellow")
        else:
            save_forest(figure, plot)
            written.append(str(plot))
    for place in written:
        print_error(f"written: {place}", "")


def comparison_table(found: "Comparison") -> "Table":
    """One rich row a task, with its breakdown below it."""
    from rich import box
    from rich.table import Table

    from ..comparison.forest import p_text, task_label
    from ..comparison.paired import Difference
    from ..display import cell, number

    several = len(found.tasks) > 1
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold"
    )
    table.add_column("task", overflow="fold")
    for heading in ("A", "B", "A − B", "95% interval", "p", *(["p (Holm)"] if several else []), "won"):
        table.add_column(heading, justify="right", no_wrap=True)

    def numbers(line: Difference) -> list[str]:
        interval = (
            ""
            if line.low is None or line.high is None
            else f"[{number(line.low, '+.2f')}, {number(line.high, '+.2f')}]"
        )
        values = [number(line.a, ".2f"), number(line.b, ".2f"), number(line.difference, "+.2f")]
        return [*values, interval, "–" if line.p is None else p_text(line.p)]

    for task in found.tasks:
        holm = [] if not several else ["–" if task.p_holm is None else p_text(task.p_holm)]
        told = task.p_holm is not None and task.p_holm < 0.05
        cells = [cell(task_label(task)), *numbers(task.main), *holm, _share(task)]
        table.add_row(*cells, style="bold" if told else "")
        for column, values in task.breakdown.items():
            for value, line in values.items():
                label = value if len(task.breakdown) == 1 else f"{column}: {value}"
                row = [cell(f"  {label}"), *numbers(line), *[""] * (1 + several)]
                table.add_row(*row, style="dim")
    return table


def _share(task: "TaskComparison") -> str:
    return "–" if task.won.share is None else f"{task.won.share:.1f}%"


def remarks(found: "Comparison") -> list[tuple[str, str]]:
    """What stands below the table, as pairs of style and line: units and counts, McNemar's test, notes."""
    from ..comparison.forest import p_text, task_label

    lines = []
    for task in found.tasks:
        label, won = task_label(task), task.won
        wins = (
            f"no {task.item} can be won"
            if won.share is None
            else f"A wins {_share(task)} of {task.item}s, ties half ({won.won:,} better, {won.tied:,} equal, {won.lost:,} worse)"
        )
        lines.append(
            (
                "dim",
                f"{label}: {task.metric} on {counted(task.compared, 'texts')}, {task.resamples:,} resamples of {task.units:,} "
                f"{task.unit}s; {wins}",
            )
        )
        if task.mcnemar is not None:
            lines.append(
                (
                    "dim",
                    f"{label}: McNemar's exact test p {p_text(task.mcnemar.p)} ({task.mcnemar.a_only:,} {task.item}s only A "
                    f"gets right, {task.mcnemar.b_only:,} only B); it takes {task.item}s of one {task.unit} for independent",
                )
            )
        lines += [("yellow", f"{label}: {note}") for note in task.notes]
    if any(task.breakdown for task in found.tasks):
        lines.append(("dim", "p values of a breakdown are not corrected"))
    lines += [("yellow", note) for note in found.notes]
    return lines
