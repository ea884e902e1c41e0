"""The table as a file: Markdown, LaTeX, CSV.

A `Sheet` is such a file in pieces, so that a part of the rows and columns can be joined from them as well as the whole:
the page (`page/`) downloads what a reader has chosen, in the very words of these functions.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..display import plain
from ..hub.card import markdown, table_cell
from .table import Cell, Column, Leaderboard, Row
from .text import (
    CHECKED,
    NOT_OFFICIAL,
    PUBLISHED,
    REPRODUCED,
    STANDING,
    cell_facts,
    is_bold,
    legend,
    metric_name,
    row_marks,
)

CSV_COLUMNS = (
    *(
        "model",
        "label",
        "kind",
        "reproduced",
        "revision",
        "provenance",
        "task",
        "metric",
        "value",
        "low",
        "high",
    ),
    *("worst_ties", "best_ties", "k", "n", "official", "partial", "standing", "annotations", "p_against_top"),
)
_LATEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "–": "--",
    "Δ": r"$\Delta$",
    PUBLISHED: r"$^\dagger$",
    NOT_OFFICIAL: r"$^\ddagger$",
    STANDING["best"]: r"$\blacktriangle$",
    STANDING["shared"]: r"$\approx$",
    STANDING["highest"]: r"$\triangle$",
    CHECKED["verified"]: r"$\checkmark$",
    CHECKED["re-run"]: r"$\circlearrowright$",
}
_LATEX_CHARS = re.compile("|".join(map(re.escape, _LATEX)))


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a sheet: `start`, the cells with `between` between them, `end`. The first cell is of the models, then one
    a column of the leaderboard; a line without cells is its start and end."""

    start: str
    between: str
    end: str
    cells: tuple[str, ...] = ()

    def text(self, places: Sequence[int]) -> str:
        return self.start + self.between.join(self.cells[place] for place in places if self.cells) + self.end


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table as a file in pieces.

    Attributes:
        head: lines before the rows.
        rows: a line for each row of the leaderboard, in its order.
        tail: text behind them.
    """

    head: tuple[Line, ...]
    rows: tuple[Line, ...]
    tail: str

    def text(self, rows: Sequence[int] | None = None, columns: Sequence[int] | None = None) -> str:
        """The file.

        Args:
            rows: places of rows in the leaderboard, in the order of the file; None for all.
            columns: places of its columns; None for all.
        """
        count = max((len(line.cells) for line in (*self.head, *self.rows)), default=1)
        places = range(count) if columns is None else (0, *(place + 1 for place in columns))
        chosen = self.rows if rows is None else [self.rows[place] for place in rows]
        return "".join(line.text(places) for line in (*self.head, *chosen)) + self.tail

    def to_record(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def to_markdown(board: Leaderboard) -> str:
    """A table for GitHub and for Hub cards, with legend and notes; names from result files are escaped."""
    return markdown_sheet(board).text()


def markdown_sheet(board: Leaderboard) -> Sheet:
    """`to_markdown` in pieces."""

    def line(cells: Sequence[str]) -> Line:
        return Line("| ", " | ", " |\n", tuple(map(table_cell, cells)))

    headings = [markdown(f"{column.title}, {metric_name(column)}") for column in board.columns]
    rows = [
        line(
            [markdown(row.label + row_marks(row)), *(_markdown(row.cells.get(c.task)) for c in board.columns)]
        )
        for row in board.rows
    ]
    marks = "; ".join(f"{markdown(mark)} {markdown(meaning)}" for mark, meaning in legend(board))
    tail = ["", f"All numbers in percent. {marks}."]
    if board.notes or board.problems:
        tail += ["", *(f"- {markdown(note)}" for note in board.notes)]
        tail += [f"- left out: {markdown(problem)}" for problem in board.problems]
    heads = line(["model", *headings]), line(["---"] * (len(headings) + 1))
    return Sheet(heads, tuple(rows), "\n".join(tail) + "\n")


def _markdown(cell: Cell | None) -> str:
    if cell is None:
        return ""
    value, *rest = _words(cell)
    if is_bold(cell):
        number, _, marks = value.partition(" ")
        value = f"**{number}** {marks}"
    return " ".join([value, *map(markdown, rest)])


def _words(cell: Cell) -> list[str]:
    return [part for fact in cell_facts(cell).values() for part in fact.split("\n")]


def to_latex(board: Leaderboard) -> str:
    """A `tabular` for a paper, with the packages booktabs and amssymb; legend and notes follow as comments."""
    return latex_sheet(board).text()


def latex_sheet(board: Leaderboard) -> Sheet:
    """`to_latex` in pieces."""

    def line(cells: Sequence[str], end: str = "") -> Line:
        return Line("", " & ", f" \\\\\n{end}", tuple(cells))

    headings = [latex(f"{column.title}, {metric_name(column)}") for column in board.columns]
    head = (
        Line(
            "% needs \\usepackage{booktabs,amssymb,textcomp}\n\\begin{tabular}{",
            "",
            "}\n\\toprule\n",
            ("l", *["r"] * len(headings)),
        ),
        line(["model", *headings], "\\midrule\n"),
    )
    rows = [
        line([latex(row.label) + _latex_marks(row), *(_latex(row.cells.get(c.task)) for c in board.columns)])
        for row in board.rows
    ]
    said = [
        "All numbers in percent.",
        *(f"{mark}  {meaning}" for mark, meaning in legend(board)),
        *board.notes,
    ]
    said += [f"left out: {problem}" for problem in board.problems]
    tail = ["\\bottomrule", "\\end{tabular}", *(f"% {plain(each)}" for each in said)]
    return Sheet(head, tuple(rows), "\n".join(tail) + "\n")


def latex(text: object) -> str:
    """Text on one line that LaTeX shows as it is."""
    return _LATEX_CHARS.sub(lambda match: _LATEX[match[0]], plain(text))


def _latex_marks(row: Row) -> str:
    return "".join("$^*$" if mark == REPRODUCED else latex(mark) for mark in row_marks(row))


def _latex(cell: Cell | None) -> str:
    """Value and interval; a value that shares or holds the first place is bold."""
    if cell is None:
        return ""
    facts = cell_facts(cell)
    number, _, marks = facts["value"].partition(" ")
    shown = latex(number)
    parts = [f"\\textbf{{{shown}}}" if is_bold(cell) else shown, latex(marks)]
    if "interval" in facts:
        parts.append(f"{{\\scriptsize {latex(facts['interval'])}}}")
    if cell.partial:
        parts.append(f"{{\\scriptsize {latex(facts['coverage'])}}}")
    return " ".join(filter(None, parts))


def to_csv(board: Leaderboard) -> str:
    """A line a number (a model on a task) with the columns `CSV_COLUMNS`; percent, unknown is empty."""
    return csv_sheet(board).text()


def csv_sheet(board: Leaderboard) -> Sheet:
    """`to_csv` in pieces: a cell is the line of its number."""
    rows = (
        Line("", "", "", ("", *(_csv(row, column, row.cells.get(column.task)) for column in board.columns)))
        for row in board.rows
    )
    return Sheet((Line(_csv_line(CSV_COLUMNS), "", ""),), tuple(rows), "")


def _csv(row: Row, column: Column, cell: Cell | None) -> str:
    if cell is None:
        return ""
    estimate = (cell.value, cell.low, cell.high, cell.worst_ties, cell.best_ties, cell.k, cell.n)
    return _csv_line(
        [
            *(row.model, row.label, row.kind, row.reproduced, row.revision, cell.provenance.kind),
            *(column.task, column.metric, *estimate, cell.official, cell.partial, cell.standing),
            *(cell.annotations, None if cell.paired is None else cell.paired.p),
        ]
    )


def _csv_line(cells: Sequence[object]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(
        [
            str(cell).lower() if isinstance(cell, bool) else _text(cell) if isinstance(cell, str) else cell
            for cell in cells
        ]
    )
    return out.getvalue()


def _text(text: str) -> str:
    """A cell of text that no spreadsheet takes for a formula: behind an apostrophe where it begins like one."""
    shown = plain(text)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown
