"""`synvita leaderboard`: results and the paper's numbers in one table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..leaderboard.table import Column, Leaderboard

# The least a model's name gets, with the space behind it.
_NAME = 16


def leaderboard(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="Folder of results, as synvita evaluate --out wrote it.")
    ],
    markdown: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the table as Markdown; - prints only that.")
    ] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write it as JSON; - prints only that.")
    ] = None,
    csv_file: Annotated[
        str | None,
        typer.Option(
            "--csv", metavar="FILE", help="Write every number as a line of CSV; - prints only that."
        ),
    ] = None,
    latex: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a LaTeX table; - prints only that.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page to look, sort, search and compare, all in one file."),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page on this machine until stopped (needs gradio).")
    ] = False,
    host: Annotated[
        str, typer.Option(help="Address to serve at; others see the page on 0.0.0.0.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to serve at.")] = 7860,
    space: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write a Hub Space that serves the results repository named as RESULTS (owner/name), and do nothing else.",
        ),
    ] = None,
    title: Annotated[str, typer.Option(help="Title of the page and of the Space.")] = "SynViTA leaderboard",
    published: Annotated[
        bool, typer.Option("--published/--no-published", help="With the rows of the paper's Table 3.")
    ] = True,
    paired: Annotated[
        bool,
        typer.Option(
            "--paired/--no-paired",
            help="Compare results with the highest pair by pair where the score tables are there, or by intervals only.",
        ),
    ] = True,
    annotations: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Folder of annotations, for comparing questions pair by pair."),
    ] = None,
) -> None:
    """Show all results in one table, beside the paper's. What cannot be told apart is not ranked."""
    from ..display import Terminal, json_text, print_error, write
    from ..errors import SynvitaError
    from ..files import write_atomic
    from ..leaderboard.exports import to_csv, to_latex, to_markdown
    from ..leaderboard.table import make_leaderboard, read_results

    if space is not None:
        from ..leaderboard.page.space import write_space

        for path in write_space(space, results.as_posix(), title=title):
            print_error(f"written: {path}", "")
        return
    if serve:
        from ..leaderboard.page.serve import ServedBoard
        from ..leaderboard.page.serve import serve as serve_board

        board_of = ServedBoard(results, published, annotations, title)
        serve_board(board_of, host=host, port=port, say=lambda line: print_error(line, ""))
        return
    printed = [place for place in (markdown, json_file, csv_file, latex) if place == "-"]
    if len(printed) > 1:
        raise SynvitaError(
            "only one of --markdown, --json, --csv and --latex can be printed", fix="Give the others a file"
        )
    problems: list[SynvitaError] = []
    found = read_results(results, on_broken=problems.append)
    board = make_leaderboard(
        found, published=published, problems=problems, paired=paired, annotations=annotations
    )
    outputs = []
    for place, form in ((markdown, to_markdown), (csv_file, to_csv), (latex, to_latex)):
        if place is not None:
            outputs.append((place, form(board)))
    if json_file is not None:
        record = json_text(board.to_record(), indent=1, allow_nan=False)
        outputs.append((json_file, record + "\n"))
    if html is not None:
        from ..leaderboard.page.html import make_page

        page = make_page(board, found, pairs=paired, annotations=annotations, title=title)
        outputs.append((str(html), page.text))
    for problem in board.problems:
        print_error(f"left out: {problem}", "yellow")
    for place, text in outputs:
        if place == "-":
            write(text)
        else:
            write_atomic(Path(place), text)
    if not printed:
        terminal = Terminal()
        for part in render(board, terminal.width):
            terminal.show(part)
    for place, _ in outputs:
        if place != "-":
            print_error(f"written: {place}", "")


def render(board: "Leaderboard", width: int) -> "list[RenderableType]":
    """The table for a terminal of `width` columns, in several parts where the benchmarks do not fit side by
    side, then legend and notes."""
    from rich.text import Text

    from ..display import cell
    from ..leaderboard.text import legend

    parts: list[RenderableType] = []
    for columns in _side_by_side(board, width):
        parts += [_table(board, columns), Text()]
    meanings = (f"{mark}  {meaning}" for mark, meaning in legend(board))
    parts += [cell(line, "dim") for line in ("All numbers in percent.", *meanings)]
    parts += [cell(f"- {note}", "yellow") for note in board.notes]
    return parts


def _side_by_side(board: "Leaderboard", width: int) -> "list[dict[Column, int]]":
    """Columns and their widths, as many to a part as fit beside the models' names."""
    from ..leaderboard.text import cell_parts, metric_name

    parts: list[dict[Column, int]] = []
    for column in board.columns:
        cells = (row.cells[column.task] for row in board.rows if column.task in row.cells)
        words = [*column.title.split(), metric_name(column)]
        wide = max(map(len, [*words, *(part for cell in cells for part in cell_parts(cell))]))
        if not parts or _NAME + sum(parts[-1].values()) + len(parts[-1]) + wide > width:
            parts.append({})
        parts[-1][column] = wide
    return parts


def _table(board: "Leaderboard", columns: "dict[Column, int]") -> "RenderableType":
    """The rows that have a number in one of `columns`."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from ..display import cell as in_table
    from ..leaderboard.text import cell_parts, is_bold, metric_name, row_marks

    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold"
    )
    table.add_column("model", overflow="fold")
    for column, wide in columns.items():
        table.add_column(Text(f"{column.title}\n{metric_name(column)}"), overflow="fold", width=wide)
    kind = None
    for row in board.rows:
        cells = [row.cells.get(column.task) for column in columns]
        if not any(cells):
            continue
        if kind is not None and (row.kind == "ours" or row.kind != kind):
            table.add_section()
        kind = row.kind
        texts = []
        for cell in cells:
            value, *rest = cell_parts(cell) if cell is not None else [""]
            style = "bold green" if cell is not None and is_bold(cell) else ""
            texts.append(Text.assemble((value, style), *((f"\n{part}", "dim") for part in rest)))
        table.add_row(in_table(row.label + row_marks(row)), *texts)
    return table
