"""What two models are compared by: a form's metrics as sums over the units that are drawn together.

Texts of one video depend on each other, and so do questions of one video: a bootstrap draws such a unit whole. Each
form says in its `Form.units` what its unit is, what an item is (what one model can win against the other), and how its
metrics follow from how often each unit was drawn.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..tables.columns import Floats, Ints
from .table import Annotations

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """The texts that are compared, as a score table has them or, with annotations, as these have them.

    Attributes:
        video, text: object [N], ids.
        label: int8 [N].
        scored: bool [N], rows for which both models have a score.
        complete: every text of the task is scored.
        annotations: those of the rows; None where only the table is known, which holds no groups or options.
    """

    video: npt.NDArray[np.object_]
    text: npt.NDArray[np.object_]
    label: npt.NDArray[np.int8]
    scored: Bools
    complete: bool
    annotations: Annotations | None = None

    @property
    def breakdown(self) -> dict[str, npt.NDArray[np.object_]]:
        """The categories of the rows, object [N] each, None where unknown; columns without any are left out."""
        return {} if self.annotations is None else self.annotations.breakdown

    def of_groups(self, column: npt.NDArray[np.object_], groups: Sequence[str]) -> list[Any]:
        """The entries of a column [N] for groups of the annotations, whose rows agree in it."""
        assert self.annotations is not None
        row_of = dict(zip(self.annotations.group.tolist(), range(len(column)), strict=True))
        return [column[row_of[group]] for group in groups]

    def breakdown_of(self, groups: Sequence[str]) -> dict[str, list[Any]]:
        """The categories of groups."""
        return {name: self.of_groups(column, groups) for name, column in self.breakdown.items()}


@dataclass(frozen=True, eq=False)
class Units:
    """One model's scores, ready to be resampled.

    Attributes:
        unit: what is drawn: "video", "caption", "group".
        ids: of the units, sorted.
        item: what can be won: "pair", "caption", "question", "group".
        items: ids of the items, sorted.
        values: float64 [items], the metric of each alone, from 0 to 1, ties by expectation.
        right: bool [items], answered right whatever the order of ties; None where an item is not right or wrong.
        names: of the metrics.
        weighted: int64 [B, units], how often each unit was drawn, to float64 [B, names]: fractions, NaN where undefined.
        groups: column -> value -> the same of the rows of that category, whose units are some of these.
    """

    unit: str
    ids: list[Any]
    item: str
    items: list[Any]
    values: Floats
    right: Bools | None
    names: tuple[str, ...]
    weighted: Callable[[Ints], Floats]
    groups: Mapping[str, Mapping[str, "Units"]] = field(default_factory=dict)


def units_of_items(
    *,
    unit: str,
    of_item: Sequence[Any],
    item: str,
    items: Sequence[Any],
    metrics: Mapping[str, npt.ArrayLike],
    also: Mapping[str, tuple[Sequence[Any], npt.ArrayLike]] | None = None,
    right: npt.ArrayLike | None = None,
    breakdown: Mapping[str, Sequence[Any]] | None = None,
) -> Units:
    """The units of a metric that is a mean over items.

    Args:
        unit: what is drawn.
        of_item: [items], the id of the unit that each item belongs to.
        item: what an item is.
        items: ids of the items.
        metrics: name -> float [items], from 0 to 1; an item is won by the first of them.
        also: name -> further metrics that are means over other items: the unit of each, and float of each.
        right: bool [items], as of `Units`.
        breakdown: column -> [items], the category of each item, None where it has none.
    """
    order = sorted(range(len(items)), key=lambda place: items[place])
    table = np.array([np.asarray(column, np.float64)[order] for column in metrics.values()]).T
    owners = [of_item[place] for place in order]
    # Of each metric the sum and the number of its items in each unit.
    terms: list[tuple[Sequence[Any], Floats]] = [(owners, table[:, at]) for at in range(len(metrics))]
    terms += [(of, np.asarray(values, np.float64)) for of, values in (also or {}).values()]
    ids = sorted({owner for of, _ in terms for owner in of})
    code = {name: place for place, name in enumerate(ids)}
    places = [np.array([code[owner] for owner in of], np.int64) for of, _ in terms]
    sums = np.stack(
        [np.bincount(at, values, minlength=len(ids)) for at, (_, values) in zip(places, terms, strict=True)],
        axis=1,
    )
    counts = np.stack([np.bincount(at, minlength=len(ids)) for at in places], axis=1).astype(np.float64)

    def weighted(weights: Ints) -> Floats:
        drawn = weights.astype(np.float64)
        with np.errstate(invalid="ignore"):  # 0 / 0 where no unit with an item was drawn
            return np.asarray((drawn @ sums) / (drawn @ counts))

    groups: dict[str, dict[str, Units]] = {}
    for name, column in (breakdown or {}).items():
        values = sorted({value for value in column if value is not None}, key=str)
        for value in values:
            chosen = [place for place, each in enumerate(column) if each == value]
            groups.setdefault(name, {})[str(value)] = units_of_items(
                unit=unit,
                of_item=[of_item[place] for place in chosen],
                item=item,
                items=[items[place] for place in chosen],
                metrics={key: np.asarray(each)[chosen] for key, each in metrics.items()},
            )
    return Units(
        unit=unit,
        ids=ids,
        item=item,
        items=[items[place] for place in order],
        values=table[:, 0],
        right=None if right is None else np.asarray(right, bool)[order],
        names=(*metrics, *(also or {})),
        weighted=weighted,
        groups=groups,
    )


def scored_questions(
    rows: ScoredRows,
    scores: Floats,
    kind: str,
    *,
    pairs: npt.NDArray[np.object_] | None = None,
    options: npt.NDArray[np.object_] | None = None,
) -> list[Mapping[str, Any]]:
    """The questions of rows that are compared, one by one, as `minimal_pair_accuracy` gives them.

    Args:
        rows: with their annotations.
        scores: float64 [N].
        kind: of the scores.
        pairs, options: object [N], as of `minimal_pair_accuracy`.
    """
    from ..evaluate_metrics.minimal_pair_accuracy.minimal_pair import minimal_pair_accuracy

    a = rows.annotations
    assert a is not None
    found: list[Mapping[str, Any]] = minimal_pair_accuracy(
        scores,
        a.label,
        a.group,
        pairs,
        options=options,
        kind=kind,
        scored=rows.scored,
        partial=not rows.complete,
        per_question=True,
        resamples=0,
    )["questions"]
    return found


def units_of_questions(
    rows: ScoredRows,
    found: Sequence[Mapping[str, Any]],
    breakdown: Mapping[str, npt.NDArray[np.object_]],
) -> Units:
    """Videos, with all their questions; a question is an item.

    Args:
        rows: that are compared.
        found: the questions as the metrics give them: `question`, `value` and `worst_ties` in percent.
        breakdown: column -> object [N], the category of each row.
    """
    questions = [each["question"] for each in found]
    return units_of_items(
        unit="video",
        of_item=rows.of_groups(rows.video, questions),
        item="question",
        items=questions,
        metrics={"accuracy": [each["value"] / 100 for each in found]},
        right=[each["worst_ties"] == 100 for each in found],
        breakdown={name: rows.of_groups(column, questions) for name, column in breakdown.items()},
    )
