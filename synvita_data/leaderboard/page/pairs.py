"""Which results of a leaderboard are compared with each other for the page, and what came of it.

Every pair of results of a task whose score tables are there, as `synvita compare` compares two; computed when the page
is made, because it holds no scores.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...annotations import Annotations, read_annotations
from ...comparison.compare import needs_annotations
from ...comparison.every_pair import Pair, compare_every_pair
from ...comparison.paired import holm
from ...errors import SynvitaError
from ...evaluation.results import Result
from ...evaluation.scored import ScoredResult, read_scored
from ...tasks import TASKS, Task, task_of_result
from ..table import Cell, Leaderboard

# How many results of a task are compared with each other at most, the highest: 40 make 780 pairs.
MOST = 40
RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class TaskPairs:
    """The pairs of one column.

    Attributes:
        task: its name.
        pairs: `a` and `b` are places of rows in the leaderboard.
        p_holm: the p value of each pair, corrected for the tasks that the two were compared on.
        without: place of a row -> why its result is in no pair, in words.
    """

    task: str
    pairs: tuple[Pair, ...]
    p_holm: tuple[float | None, ...]
    without: dict[int, str]


def compare_rows(
    board: Leaderboard,
    results: Iterable[Result],
    *,
    annotations: Path | None = None,
    resamples: int = RESAMPLES,
    most: int = MOST,
) -> list[TaskPairs]:
    """Compare the results of each column, every one with every other.

    Args:
        board: of `make_leaderboard`.
        results: what it was made of.
        annotations: folder or file of annotations, for tasks whose score tables do not tell which texts belong together.
        resamples: of the bootstrap.
        most: results of a column that are compared, the highest.

    Returns:
        Columns with at least one pair or reason, in the order of the leaderboard.
    """
    by_path = {result.path: result for result in results}
    found: list[tuple[str, list[Pair], dict[int, str]]] = []
    for column in board.columns:
        cells = {
            place: row.cells[column.task] for place, row in enumerate(board.rows) if column.task in row.cells
        }
        read = {
            place: cell for place, cell in cells.items() if cell.path in by_path and cell.path is not None
        }
        if not read:
            continue
        record = by_path[next(iter(read.values())).path].record
        task = TASKS.get(column.task) or task_of_result(record["task"])
        if task is not None:
            found.append((column.task, *_compare_column(task, read, annotations, resamples, most)))
    return _corrected(found)


def _compare_column(
    task: Task, cells: dict[int, Cell], annotations: Path | None, resamples: int, most: int
) -> tuple[list[Pair], dict[int, str]]:
    """The pairs of a task by places of rows, and why a row is in none."""
    without: dict[int, str] = {}
    rows: Annotations | None = None
    try:
        if needs_annotations(task) and annotations is not None:
            rows = read_annotations(task, annotations)
    except SynvitaError as error:
        return [], dict.fromkeys(cells, error.problem)
    if needs_annotations(task) and rows is None:
        return [], dict.fromkeys(cells, "this task's score tables are compared with --annotations only")

    # The highest results first, of one revision of the annotations: that of the highest.
    highest = sorted(cells, key=lambda place: (-(cells[place].value or 0.0), place))
    scored: dict[int, ScoredResult] = {}
    for place in highest:
        path = cells[place].path
        assert path is not None
        if len(scored) == most:
            without[place] = f"only the {most} highest results are compared pair by pair on this page"
        elif not path.with_suffix(".parquet").is_file():
            without[place] = "its score table is not there"
        else:
            try:
                scored[place] = read_scored(path)
            except SynvitaError as error:
                without[place] = error.problem
    places = list(scored)
    pairs, failures = compare_every_pair(list(scored.values()), task, rows, resamples=resamples)
    without |= {places[place]: problem for place, problem in failures.items()}
    return [Pair(places[pair.a], places[pair.b], pair.main, pair.won, pair.item) for pair in pairs], without


def _corrected(found: list[tuple[str, list[Pair], dict[int, str]]]) -> list[TaskPairs]:
    """With the p values of two models corrected for the tasks that they were compared on."""
    of_models: dict[tuple[int, int], list[Pair]] = defaultdict(list)
    for _, pairs, _ in found:
        for pair in pairs:
            of_models[min(pair.a, pair.b), max(pair.a, pair.b)].append(pair)
    corrected: dict[int, float | None] = {}
    for together in of_models.values():
        for pair, p in zip(together, holm([pair.main.p for pair in together]), strict=True):
            corrected[id(pair)] = p
    return [
        TaskPairs(task, tuple(pairs), tuple(corrected[id(pair)] for pair in pairs), without)
        for task, pairs, without in found
    ]
