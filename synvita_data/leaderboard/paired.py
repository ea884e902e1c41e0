"""Results of one column compared with its top pair by pair, where both score tables are there.

Only results whose intervals meet that of the top need it: intervals that do not meet belong to a difference that the
paired test finds as well, however the two models' mistakes go together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..annotations import Annotations, read_annotations
from ..comparison.compare import compare_results, needs_annotations
from ..errors import SynvitaError
from ..evaluation.scored import read_scored
from ..tasks import Task

if TYPE_CHECKING:
    from .table import Cell

# Resamples of each comparison, and how many results of a column are compared at most: what a leaderboard of hundreds
# of results may cost.
RESAMPLES = 2_000
MOST = 50
# Of the two-sided test that tells two results apart. A best result differs from each of the others at this level, so
# that the claim needs no correction for their number.
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class AgainstTop:
    """A result minus the top of its column, in percentage points.

    Attributes:
        top: label of the row of the top result.
        difference, low, high, p: as of `comparison.paired.Difference`.
    """

    top: str
    difference: float
    low: float | None
    high: float | None
    p: float

    @property
    def differs(self) -> bool:
        """It is told apart from the top."""
        return self.p < LEVEL


def compare_with_top(
    task: Task,
    label: str,
    top: "Cell",
    rivals: "Sequence[Cell]",
    annotations: Path | None,
    notes: list[str],
) -> None:
    """Fill in `paired` of the rivals, the highest `MOST` of them; one that cannot be compared stays as it is.

    Args:
        task: of the column.
        label: of the top's row.
        top: the highest number of the column.
        rivals: results whose intervals meet its, all with `path`, as the top.
        annotations: folder or file, for tasks that need them.
        notes: takes a sentence on what could not be compared.
    """
    failures: dict[str, int] = {}
    nearest = sorted(rivals, key=lambda cell: (-(cell.value or 0.0), str(cell.path)))
    try:
        rows: Annotations | None = None
        if needs_annotations(task) and annotations is not None:
            rows = read_annotations(task, annotations)
        assert top.path is not None
        first = read_scored(top.path)
    except SynvitaError as error:
        failures[error.problem], nearest = len(nearest), []
    for cell in nearest[:MOST]:
        assert cell.path is not None
        try:
            found = compare_results(read_scored(cell.path), first, task, rows, resamples=RESAMPLES).main
        except SynvitaError as error:
            failures[error.problem] = failures.get(error.problem, 0) + 1
            continue
        if found.p is not None and found.difference is not None:
            cell.paired = AgainstTop(label, found.difference, found.low, found.high, found.p)
    if len(nearest) > MOST:
        notes.append(
            f"{task.column}: {len(nearest) - MOST:,} results behind the {MOST} highest are compared by their intervals"
        )
    notes += [
        f"{task.column}: {count:,} {'result is' if count == 1 else 'results are'} compared by intervals: {problem}"
        for problem, count in sorted(failures.items())
    ]
