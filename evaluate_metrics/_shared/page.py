"""The page of a metric's Space: a table to edit or upload, options, and the estimates (gradio 6)."""

import csv
import html
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

MAX_ROWS = 200_000
# How a cell becomes a value; a cell that is not one is named by its row and column.
Columns = Mapping[str, Callable[[str], Any]]
ESTIMATE = ("value", "low", "high", "worst_ties", "best_ties", "k", "n")


def read_csv(path: str | Path, columns: Columns) -> list[list[str]]:
    """The rows of a CSV file with a header that names all `columns` (others are left out), as text.

    Raises:
        ValueError: not UTF-8, a column is missing or there twice, a row is too short, a quote is not closed or
            stands behind a quoted cell, or more than MAX_ROWS rows.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"the file is not UTF-8 text ({error})") from None
    reader = _split(text)
    header = next(reader, [])
    missing = [name for name in columns if name not in header]
    if missing:
        raise ValueError(f"the header lacks {', '.join(missing)}; found {', '.join(header) or 'nothing'}")
    if twice := [name for name in columns if header.count(name) > 1]:
        raise ValueError(f"the header names {twice[0]} twice")
    places = [header.index(name) for name in columns]
    rows: list[list[str]] = []
    for number, row in enumerate(reader):
        if not row:
            continue
        if len(row) != len(header):
            raise ValueError(f"row {number} has {len(row)} cells, the header {len(header)}")
        if len(rows) == MAX_ROWS:
            raise ValueError(f"more than {MAX_ROWS} rows; use the metric in Python for files of this size")
        rows.append([row[place] for place in places])
    return rows


def _split(text: str) -> Iterator[list[str]]:
    """The rows of CSV text, strictly: a stray quote would take the rows behind it into one cell."""
    try:
        yield from csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise ValueError(f"the file cannot be split into rows ({error}): look for a stray quote") from None


def to_columns(rows: Sequence[Sequence[Any]], columns: Columns) -> dict[str, list[Any]]:
    """Rows of cells as typed columns; rows that are wholly empty are left out.

    Raises:
        ValueError: there are no rows, a row has another number of cells, or a cell does not convert.
    """
    filled = [row for row in rows if any(str("" if cell is None else cell).strip() for cell in row)]
    if not filled:
        raise ValueError("the table is empty")
    result: dict[str, list[Any]] = {name: [] for name in columns}
    for number, row in enumerate(filled):
        if len(row) != len(columns):
            raise ValueError(f"row {number} has {len(row)} cells; expected {', '.join(columns)}")
        for (name, convert), cell in zip(columns.items(), row, strict=True):
            try:
                result[name].append(convert(str("" if cell is None else cell).strip()))
            except ValueError as error:
                raise ValueError(f"row {number}, {name}: {error}") from None
    return result


def estimate_rows(result: Mapping[str, Any], path: str = "") -> list[list[Any]]:
    """Every estimate and chance level inside a result, however deep, as [name, value, low, …, k, n], rounded."""
    rows: list[list[Any]] = []
    for key, inner in result.items():
        name = f"{path} · {key}" if path else key
        if isinstance(inner, Mapping) and set(ESTIMATE) <= set(inner):
            numbers = [inner[column] for column in ESTIMATE]
            rows.append([name, *(round(n, 2) if isinstance(n, float) else n for n in numbers)])
        elif isinstance(inner, float) and "chance" in name:
            rows.append([name, round(inner, 2), *[None] * (len(ESTIMATE) - 1)])
        elif isinstance(inner, Mapping):
            rows.extend(estimate_rows(inner, name))
    return rows


def build_page(
    title: str,
    summary: str,
    columns: Columns,
    example: Sequence[Sequence[Any]],
    options: Mapping[str, tuple[str, Sequence[str] | bool]],
    compute: Callable[..., dict[str, Any]],
) -> gr.Blocks:
    """The page of a metric.

    Args:
        title: heading of the page.
        summary: Markdown below it.
        columns: of the table, and how their cells are converted.
        example: rows of the table at the start.
        options: for each keyword of `compute` beside the columns its label, and its choices (the first is the
            default) or whether it is ticked at first. The bootstrap's resamples are there always.
        compute: the metric.
    """

    def run(rows: list[list[Any]], *values: Any) -> tuple[list[list[Any]], dict[str, Any]]:
        try:
            keywords = dict(zip([*options, "resamples"], values, strict=True))
            result = compute(**to_columns(rows, columns), **keywords)
        except ValueError as error:
            raise _shown(error, "The input cannot be used") from error
        return estimate_rows(result), result

    def upload(path: str) -> list[list[str]]:
        try:
            return read_csv(path, columns)
        except ValueError as error:
            raise _shown(error, "The file cannot be used") from error

    with gr.Blocks(title=title) as page:
        gr.Markdown(f"# {title}\n\n{summary}")
        with gr.Row():
            with gr.Column(scale=2):
                table = gr.Dataframe(
                    value=[list(row) for row in example],
                    headers=list(columns),
                    datatype="str",
                    type="array",
                    column_count=len(columns),
                    interactive=True,
                    label="Input: one row a score",
                    max_height=380,
                )
                file = gr.UploadButton("Upload a CSV file with these columns", file_types=[".csv"])
            with gr.Column(scale=1):
                components: list[Any] = [
                    gr.Checkbox(kind, label=text)
                    if isinstance(kind, bool)
                    else gr.Dropdown(list(kind), value=kind[0], label=text)
                    for text, kind in options.values()
                ]
                components.append(gr.Slider(0, 2000, 1000, step=100, label="Bootstrap resamples"))
                button = gr.Button("Compute", variant="primary")
        estimates = gr.Dataframe(
            headers=["in percent", *ESTIMATE],
            column_count=len(ESTIMATE) + 1,
            interactive=False,
            label="Estimates: interval (low, high), bounds under ties, k of n units used",
            wrap=True,
            # On a narrow screen it is scrolled; without widths its headers would be broken.
            column_widths=[max(96, 11 * len(header) + 32) for header in ("in percent", *ESTIMATE)],
        )
        with gr.Accordion("Full result (JSON)", open=False):
            full = gr.JSON(show_label=False)
        file.upload(upload, file, table, api_visibility="private")
        button.click(run, [table, *components], [estimates, full], api_name="compute")
        page.load(run, [table, *components], [estimates, full], api_visibility="private")
    return page


def _shown(error: ValueError, title: str) -> gr.Error:
    """Gradio shows a message as HTML, and this one quotes a file's cells."""
    return gr.Error(html.escape(str(error), quote=False), title=title, print_exception=False)


def number(cell: str) -> float:
    """A score; NaN and infinity pass, so that the metric refuses them with its own words."""
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"{cell!r} is not a number") from None


def label(cell: str) -> int:
    """0 or 1, also written True, False, 1.0, …"""
    known = {"1": 1, "0": 0, "true": 1, "false": 0, "1.0": 1, "0.0": 0}
    if cell.lower() not in known:
        raise ValueError(f"{cell!r} is not 0 or 1")
    return known[cell.lower()]


def whole(cell: str) -> int:
    """A whole number such as an option's place."""
    try:
        return int(cell)
    except ValueError:
        raise ValueError(f"{cell!r} is not a whole number") from None


def name(cell: str) -> str:
    """An id, which may not be empty."""
    if not cell:
        raise ValueError("the cell is empty")
    return cell
