"""Many results of one task compared, every one with every other.

Each result is resampled once, with the draws that `compare_results` takes, and a pair is the difference of two: for each
pair the same numbers as `compare_results` gives, at the cost of one result each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..annotations import Annotations
from ..annotations.units import Units
from ..errors import SynvitaError
from ..evaluation.scored import ScoredResult
from ..tables.columns import Floats
from ..tasks import Task
from .compare import paired_units
from .paired import Difference, Won, count_won, difference, differences, draw


@dataclass(frozen=True, slots=True)
class Pair:
    """Two results.

    Attributes:
        a, b: their places among the results, `a` first.
        main: the difference of the task's main score, a − b.
        won: items that a wins against b.
        item: what is won.
    """

    a: int
    b: int
    main: Difference
    won: Won
    item: str


def compare_every_pair(
    results: Sequence[ScoredResult],
    task: Task,
    annotations: Annotations | None = None,
    *,
    resamples: int = 2_000,
    seed: int = 0,
) -> tuple[list[Pair], dict[int, str]]:
    """Compare every result with every other that scored the same texts as the first.

    Args:
        results: of `read_scored`, of one task.
        task: what they are results of.
        annotations: of the task, or None where the tables tell all.
        resamples, seed: of the bootstrap.

    Returns:
        The pairs in the order of places, and the place of each result that cannot be compared with the first -> why.
    """
    failures: dict[int, str] = {}
    units: dict[int, Units] = {}
    for place, other in enumerate(results[1:], 1):
        try:
            first, units[place], _ = paired_units(results[0], other, task, annotations)
            units.setdefault(0, first)
        except SynvitaError as error:
            failures[place] = error.problem
    if 0 not in units:
        return [], failures

    # Each result once on the same draws: float64 [resamples] of its main score, and its score itself.
    column = {place: own.names.index(task.main_score) for place, own in units.items()}
    count = len(units[0].ids)
    drawn: dict[int, list[Floats]] = {place: [] for place in units}
    for weights in draw(count, resamples, seed):
        for place, own in units.items():
            drawn[place].append(own.weighted(weights)[:, column[place]])
    resampled = {place: np.concatenate(parts) for place, parts in drawn.items()}
    once = np.ones((1, count), np.int64)
    score = {place: float(own.weighted(once)[0, column[place]]) for place, own in units.items()}

    places = sorted(units)
    pairs = [
        Pair(
            a,
            b,
            difference(score[a], score[b], differences(resampled[a], resampled[b]), units=count),
            count_won(units[a].values, units[b].values),
            units[a].item,
        )
        for at, a in enumerate(places)
        for b in places[at + 1 :]
    ]
    return pairs, failures
