"""What a model got wrong, as each form of task tells it: which groups of rows, how wrong, and the rows that show it.

A group is a pair of captions, a question, or the ranking of a caption. A form says how its groups are judged by a
function `judge(annotations, scores)`, its `Form.judge`; `evaluation.mistakes` sorts and shows them. A tie counts as
wrong: the model does not tell the two apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..tables.columns import Floats, Ints
from .table import Annotations


class Shown(NamedTuple):
    """A row of the annotations that shows a mistake.

    Attributes:
        role: what the row is there: "caption", "chosen", "false positive".
        row: of the annotations.
        rank: place in a caption's ranking, from 1; None in other forms.
    """

    role: str
    row: int
    rank: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The groups whose texts all have a score.

    Attributes:
        group: int64 [M], their codes in `Annotations.groups`, each once.
        measure: float64 [M], the lower the more wrong; what `by` names.
        wrong: bool [M].
        show: from the place of a group (0 … M − 1) to its rows, the most telling first.
        by: what `measure` is: "margin" (score of the right text minus that of the best wrong one) or another.
        groups: what the groups are called: "pairs", "questions", "captions".
        first: how many of the rows that `show` gives are enough where there is little room.
        note: from the place of a group to what else is to be said of it; None: nothing.
    """

    group: Ints
    measure: Floats
    wrong: npt.NDArray[np.bool_]
    show: Callable[[int], list[Shown]]
    groups: str
    by: str = "margin"
    first: int = 2
    note: Callable[[int], str] | None = None


class Grouped:
    """Rows by their groups.

    Args:
        annotations: of a task.

    Attributes:
        order: int64 [N], rows sorted by group; within one they keep their order.
        edges: int64 [G + 1], where each group begins in `order`.
    """

    def __init__(self, annotations: Annotations) -> None:
        self.order = np.argsort(annotations.group_code, kind="stable").astype(np.int64)
        codes = np.arange(len(annotations.groups) + 1)
        self.edges = np.searchsorted(annotations.group_code[self.order], codes)

    def rows(self, group: int) -> Ints:
        """int64: rows of one group."""
        return self.order[self.edges[group] : self.edges[group + 1]]

    def lowest(self, values: Floats) -> Floats:
        """float64 [G]: the lowest value of each group, NaN where one of its rows has none."""
        return np.minimum.reduceat(values[self.order], self.edges[:-1])

    def highest(self, values: Floats) -> Floats:
        """float64 [G]: the highest value of each group, NaN where one of its rows has none."""
        return np.maximum.reduceat(values[self.order], self.edges[:-1])


def margins(annotations: Annotations, grouped: Grouped, scores: Floats) -> Floats:
    """float64 [G]: of each group the lowest score of a right text minus the highest of a wrong one; NaN where a text
    has no score, or the group has only right or only wrong ones."""
    right = annotations.label == 1
    # Rows of the other label do not take part: infinitely far away, unless they have no score.
    no_score = np.isnan(scores)
    own = np.where(right | no_score, scores, np.inf)
    other = np.where(right & ~no_score, -np.inf, scores)
    margin = grouped.lowest(own) - grouped.highest(other)
    return np.where(np.isinf(margin), np.nan, margin)
