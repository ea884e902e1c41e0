"""The leaderboard in words: marks, cells and legend, for the terminal, for files (`exports`) and for the page."""

from .controls import gap_parts
from .table import Cell, Column, Leaderboard, Row

PUBLISHED, REPRODUCED, NOT_OFFICIAL = "†", "*", "‡"
STANDING = {"best": "▲", "shared": "≈", "highest": "△"}
# Of provenance; what its author says, and what is published, has none.
CHECKED = {"verified": "✓", "re-run": "↻"}
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
    "✓": "verified: recomputed from its score table and the task's annotations (synvita verify)",
    "↻": "verified, and the model was run again by the maintainers",
}


def metric_name(column: Column) -> str:
    """The main score as written in papers: `AUC`, `mAP`, `accuracy`."""
    return _METRICS.get(column.metric, column.metric)


def row_marks(row: Row) -> str:
    """`†` behind a published row, `*†` behind one the authors reproduced."""
    return (REPRODUCED if row.reproduced else "") + (PUBLISHED if row.kind == "published" else "")


def cell_facts(cell: Cell) -> dict[str, str]:
    """What a cell shows, by name and in its order: `value` with its marks, `interval`, `coverage` of our results (`n`, or
    k/n), `ties` (bounds where ties matter), `p` (against the top, where both were compared pair by pair), and `gaps`
    to the controls that were measured."""
    value = "–" if cell.value is None else f"{cell.value:.{cell.digits}f}"
    marks = (NOT_OFFICIAL if not cell.official else "") + (STANDING[cell.standing] if cell.standing else "")
    marks += CHECKED.get(cell.provenance.kind, "")
    facts = {"value": f"{value} {marks}".rstrip()}
    if cell.low is not None and cell.high is not None:
        facts["interval"] = f"[{cell.low:.1f}, {cell.high:.1f}]"
    if cell.k is not None:
        facts["coverage"] = f"n {cell.n:,}" if cell.k == cell.n else f"{cell.k:,}/{cell.n:,}"
    if cell.depends_on_ties:
        facts["ties"] = f"{{{cell.worst_ties:.1f}, {cell.best_ties:.1f}}}"
    if cell.paired is not None:
        facts["p"] = f"p {cell.paired.p:.2g}"
    if gaps := gap_parts(cell.controls):
        facts["gaps"] = "\n".join(gaps)
    return facts


def cell_parts(cell: Cell) -> list[str]:
    """A cell in parts: `80.86 ≈`, `[78.1, 83.4]`, `n 1,140` (or `96/1,140`), `{79.9, 81.2}`, `p 0.012`, `Δ frame +12.34`."""
    return [part for fact in cell_facts(cell).values() for part in fact.split("\n")]


def is_bold(cell: Cell) -> bool:
    """Best, or not told apart from the highest. A lead of unknown width (`highest`) is not shown as a win."""
    return cell.standing in ("best", "shared")


def legend(board: Leaderboard) -> list[tuple[str, str]]:
    """The marks that occur in the table, with what they mean."""
    cells = [cell for row in board.rows for cell in row.cells.values()]
    occurring = {mark for row in board.rows for mark in row_marks(row)}
    occurring |= {STANDING[cell.standing] for cell in cells if cell.standing}
    occurring |= {CHECKED.get(cell.provenance.kind, "") for cell in cells}
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
