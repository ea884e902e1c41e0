"""The leaderboard in words: marks, legend and Markdown. The terminal table takes its words from here too."""

from ..hub.card import markdown, table
from .controls import gap_parts
from .table import Cell, Column, Leaderboard, Row

PUBLISHED, REPRODUCED, NOT_OFFICIAL = "†", "*", "‡"
STANDING = {"best": "▲", "shared": "≈", "highest": "△"}
_METRICS = {"auc": "AUC", "map": "mAP", "accuracy": "accuracy"}
_LEGEND = {
    PUBLISHED: "published (Table 3 of the paper), without interval",
    REPRODUCED: "run again by the paper's authors",
    "[ ]": "95% bootstrap interval",
    "n": "texts, pairs or questions that were scored; k/n: only k of them",
    "{ }": "worst and best order of tied scores",
    NOT_OFFICIAL: "not official (partial, or on other annotations: see notes), not compared",
    "Δ": "score minus that under a control: without the video (text), with one frame of it (frame), with its frames in "
    "reverse or shuffled",
    "p": "two-sided p value of its difference to the highest number of the column, compared pair by pair (paired "
    "bootstrap); below 0.05 the two are told apart",
    "▲": "best: its interval is above all others",
    "≈": "not told apart from the highest",
    "△": "highest, but without an interval to say by how much",
}


def metric_name(column: Column) -> str:
    """The main score as written in papers: `AUC`, `mAP`, `accuracy`."""
    return _METRICS.get(column.metric, column.metric)


def row_marks(row: Row) -> str:
    """`†` behind a published row, `*†` behind one the authors reproduced."""
    return (REPRODUCED if row.reproduced else "") + (PUBLISHED if row.kind == "published" else "")


def cell_parts(cell: Cell) -> list[str]:
    """A cell in parts: `80.86 ≈`, `[78.1, 83.4]`, `n 1,140` (or `96/1,140`), `{79.9, 81.2}`, `p 0.012`, `Δ frame +12.34`.

    The first is the value with its marks; then the interval, the coverage of our results, the bounds under
    ties where ties matter, the p value against the top where both were compared pair by pair, and the gap to each control that was measured.
    """
    value = "–" if cell.value is None else f"{cell.value:.{cell.digits}f}"
    marks = (NOT_OFFICIAL if not cell.official else "") + (STANDING[cell.standing] if cell.standing else "")
    parts = [f"{value} {marks}".rstrip()]
    if cell.low is not None and cell.high is not None:
        parts.append(f"[{cell.low:.1f}, {cell.high:.1f}]")
    if cell.k is not None:
        parts.append(f"n {cell.n:,}" if cell.k == cell.n else f"{cell.k:,}/{cell.n:,}")
    if cell.depends_on_ties:
        parts.append(f"{{{cell.worst_ties:.1f}, {cell.best_ties:.1f}}}")
    if cell.paired is not None:
        parts.append(f"p {cell.paired.p:.2g}")
    return parts + gap_parts(cell.controls)


def is_bold(cell: Cell) -> bool:
    """Best, or not told apart from the highest. A lead of unknown width (`highest`) is not shown as a win."""
    return cell.standing in ("best", "shared")


def legend(board: Leaderboard) -> list[tuple[str, str]]:
    """The marks that occur in the table, with what they mean."""
    cells = [cell for row in board.rows for cell in row.cells.values()]
    occurring = {mark for row in board.rows for mark in row_marks(row)}
    occurring |= {STANDING[cell.standing] for cell in cells if cell.standing}
    for mark, occurs in (
        ("[ ]", any(cell.has_interval for cell in cells)),
        ("n", any(cell.k is not None for cell in cells)),
        ("{ }", any(cell.depends_on_ties for cell in cells)),
        ("Δ", any(cell.controls for cell in cells)),
        ("p", any(cell.paired for cell in cells)),
        (NOT_OFFICIAL, any(not cell.official for cell in cells)),
    ):
        if occurs:
            occurring.add(mark)
    meanings = dict(_LEGEND)
    if "p" in occurring:
        meanings["▲"] += ", or p tells it apart"
    return [(mark, meaning) for mark, meaning in meanings.items() if mark in occurring]


def to_markdown(board: Leaderboard) -> str:
    """A table for GitHub and for Hub cards, with legend and notes; names from result files are escaped."""
    headings = [markdown(f"{column.title}, {metric_name(column)}") for column in board.columns]
    rows = [
        [markdown(row.label + row_marks(row)), *(_cell(row.cells.get(c.task)) for c in board.columns)]
        for row in board.rows
    ]
    lines = [table(["model", *headings], rows)]
    marks = "; ".join(f"{markdown(mark)} {markdown(meaning)}" for mark, meaning in legend(board))
    lines += ["", f"All numbers in percent. {marks}."]
    if board.notes or board.problems:
        lines += ["", *(f"- {markdown(note)}" for note in board.notes)]
        lines += [f"- left out: {markdown(problem)}" for problem in board.problems]
    return "\n".join(lines) + "\n"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return ""
    value, *rest = cell_parts(cell)
    if is_bold(cell):
        number, _, marks = value.partition(" ")
        value = f"**{number}** {marks}"
    return " ".join([value, *map(markdown, rest)])
