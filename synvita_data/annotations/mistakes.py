"""What a model got wrong, as each form of task tells it: which groups of rows, how wrong, and the rows that show it.

A group is a pair of captions, a question, or the ranking of a caption. A form says how its groups are judged by a
function `judge(annotations, scores, kind)`, its `Form.judge`; `evaluation.mistakes` sorts and shows them. A tie counts as
wrong: the model does not tell the two apart.
"""

from collections.abc import Callable, Sequence
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
        ids: M ids, each once.
        row: int64 [M], a row of each, by whose misalignment, type or other breakdown it goes.
        measure: float64 [M], the lower the more wrong; what `by` names.
        wrong: bool [M].
        show: from the place of a group (0 … M - 1) to its rows, the most telling first.
        groups: what the groups are called: "pairs", "questions", "captions".
        total: how many there are, with those that are not judged.
        by: what `measure` is: "margin" (score of the right text minus that of the best wrong one) or another.
        first: how many of the rows that `show` gives are enough where there is little room.
        note: from the place of a group to what else is to be said of it; None: nothing.
    """

    ids: Sequence[str]
    row: Ints
    measure: Floats
    wrong: npt.NDArray[np.bool_]
    show: Callable[[int], list[Shown]]
    groups: str
    total: int
    by: str = "margin"
    first: int = 2
    note: Callable[[int], str] | None = None


class Grouped:
    """Rows by their groups.

    Args:
        annotations: of a task.
    """

    def __init__(self, annotations: Annotations) -> None:
        # Rows sorted by group; within one they keep their order.
        self._order = np.argsort(annotations.group_code, kind="stable").astype(np.int64)
        codes = np.arange(len(annotations.groups) + 1)
        self._edges = np.searchsorted(annotations.group_code[self._order], codes)

    def rows(self, group: int) -> Ints:
        """int64: rows of one group."""
        return self._order[self._edges[group] : self._edges[group + 1]]

    def first(self) -> Ints:
        """int64 [G]: the first row of each group."""
        return self._order[self._edges[:-1]]

    def lowest(self, values: Floats) -> Floats:
        """float64 [G]: the lowest value of each group, NaN where one of its rows has none."""
        found: Floats = np.minimum.reduceat(values[self._order], self._edges[:-1])
        return found

    def highest(self, values: Floats) -> Floats:
        """float64 [G]: the highest value of each group, NaN where one of its rows has none."""
        found: Floats = np.maximum.reduceat(values[self._order], self._edges[:-1])
        return found


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


def question_margins(
    annotations: Annotations, grouped: Grouped, scores: Floats, kind: str, alone: npt.NDArray[np.bool_]
) -> Floats:
    """float64 [G]: margins of questions: with options as `margins`; asked yes or no, how far the score lies on the side
    of the right answer.

    Args:
        kind: of the scores, which has a threshold where a question is asked yes or no.
        alone: bool [G], questions that are asked yes or no.
    """
    from ..evaluate_metrics._shared.inputs import THRESHOLDS

    first, threshold = grouped.first(), THRESHOLDS[kind]
    beyond = scores[first] - (0.0 if threshold is None else threshold)
    return np.where(
        alone,
        np.where(annotations.label[first] == 1, beyond, -beyond),
        margins(annotations, grouped, scores),
    )


def by_margin(
    annotations: Annotations,
    grouped: Grouped,
    margin: Floats,
    show: Callable[[int], list[Shown]],
    groups: str,
    *,
    first: int = 2,
) -> Judged:
    """Groups of which those are wrong whose margin is not above 0.

    Args:
        margin: float64 [G], NaN where a group is not judged.
        show: from the code of a group to its rows.
        groups, first: as of `Judged`.
    """
    known = np.flatnonzero(~np.isnan(margin))
    return Judged(
        ids=[annotations.groups[code] for code in known.tolist()],
        row=grouped.first()[known],
        measure=margin[known],
        wrong=margin[known] <= 0,
        show=lambda place: show(int(known[place])),
        groups=groups,
        total=len(annotations.groups),
        first=first,
    )


def show_question(a: Annotations, scores: Floats, rows: Ints, *, alone: bool = False) -> list[Shown]:
    """The rows of a question: the right option, the best of the wrong ones, and the others by their scores.

    Args:
        rows: of the question.
        alone: it is asked yes or no, and has one row.
    """
    if alone:
        return [Shown(f"answer: {'yes' if a.label[row] else 'no'}", row) for row in rows.tolist()]
    right, others = rows[a.label[rows] == 1], rows[a.label[rows] == 0]
    others = others[np.argsort(-scores[others], kind="stable")]
    best = "chosen" if scores[others[0]] >= scores[right].min() else "best wrong option"
    roles = ["right option"] * len(right) + [best] + ["other option"] * (len(others) - 1)
    return [Shown(role, row) for role, row in zip(roles, [*right.tolist(), *others.tolist()], strict=True)]
