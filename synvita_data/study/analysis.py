"""What cells say of a question: means over seeds, differences paired by seed, intervals, Holm. Pure functions.

The interval of a mean or of a difference is the percentile interval of a bootstrap over seeds; with few seeds it is
narrower than its name says. The p value is that of the paired t test, which allows for few seeds, and Holm's
correction runs over all comparisons of a question in the outcomes that the question names for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..comparison.paired import LEVEL, draw, holm
from ..evaluate_metrics._shared.intervals import percentile_interval
from .questions import Question

LEAST_SEEDS = 3  # of a test: with two, differences that happen to be alike give any p
RESAMPLES = 10_000
BOOTSTRAP_SEED = 0


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds.

    Attributes:
        value: the mean, percent.
        low, high: of the bootstrap over seeds; None with one seed.
        seeds: how many.
    """

    value: float
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True, slots=True)
class Paired:
    """One arm minus another in one setting and outcome, seed by seed.

    Attributes:
        setting, first, second, outcome: which.
        difference: the mean over seeds, percentage points, with its interval.
        wins: seeds in which the first is the larger.
        p: of the paired t test, two-sided; None with fewer than LEAST_SEEDS seeds, or where all differences are equal.
        holm: p after Holm's correction; None for outcomes that are only described.
    """

    setting: str
    first: str
    second: str
    outcome: str
    difference: Mean
    wins: int
    p: float | None
    holm: float | None = None


# Of a cell: arm, setting, seed -> outcome -> value.
Values = Mapping[tuple[str, str, int], Mapping[str, float]]


def mean(values: Sequence[float]) -> Mean:
    """The mean of one value a seed, with its bootstrap interval."""
    found = np.asarray(values, dtype=np.float64)
    if len(found) < 2:
        return Mean(float(found.mean()), None, None, len(found))
    weights = np.concatenate(list(draw(len(found), RESAMPLES, BOOTSTRAP_SEED)))
    interval = percentile_interval(weights @ found / len(found), LEVEL)
    assert interval is not None
    return Mean(float(found.mean()), float(interval[0]), float(interval[1]), len(found))


def t_test(differences: Sequence[float]) -> float | None:
    """Two-sided p of Student's t test that differences have mean 0; None with fewer than LEAST_SEEDS of them, or all equal."""
    from scipy.stats import ttest_1samp  # comes with scikit-learn

    found = np.asarray(differences, dtype=np.float64)
    if len(found) < LEAST_SEEDS or np.ptp(found) == 0:
        return None
    return float(ttest_1samp(found, 0.0).pvalue)


def paired(values: Values, setting: str, first: str, second: str, outcome: str) -> Paired | None:
    """The difference of two arms over the seeds that both have; None where there is none."""
    seeds = sorted(
        {seed for arm, own, seed in values if arm == first and own == setting}
        & {seed for arm, own, seed in values if arm == second and own == setting}
    )
    found = [
        values[first, setting, seed][outcome] - values[second, setting, seed][outcome]
        for seed in seeds
        if outcome in values[first, setting, seed] and outcome in values[second, setting, seed]
    ]
    if not found:
        return None
    return Paired(
        setting, first, second, outcome, mean(found), sum(each > 0 for each in found), t_test(found)
    )


def compare_all(question: Question, values: Values) -> list[Paired]:
    """All declared comparisons in all settings and outcomes, corrected by Holm over those that decide."""
    found = [
        result
        for setting, first, second in declared(question)
        for outcome in question.outcomes
        if (result := paired(values, setting, first, second, outcome)) is not None
    ]
    deciding = [place for place, each in enumerate(found) if each.outcome in question.decide]
    # A comparison that was declared counts among the tests whether or not it could be made.
    known: list[float | None] = [1.0 if (p := found[place].p) is None else p for place in deciding]
    lacking = len(question.decide) * len(declared(question)) - len(deciding)
    corrected = dict(zip(deciding, holm([*known, *[1.0] * lacking]), strict=False))
    return [
        replace(each, holm=None if each.p is None else corrected.get(place))
        for place, each in enumerate(found)
    ]


def declared(question: Question) -> list[tuple[str, str, str]]:
    """(setting, first, second) of all comparisons whose arms are both run in the setting."""
    return [
        (setting, first, second)
        for setting in question.settings
        for first, second in question.compare
        if {first, second} <= set(question.only.get(setting, question.arms))
    ]


def arm_means(question: Question, values: Values) -> dict[tuple[str, str], dict[str, Mean]]:
    """(setting, arm) -> outcome -> mean over its seeds, in the question's order."""
    found: dict[tuple[str, str], dict[str, Mean]] = {}
    for setting in question.settings:
        for arm in question.arms:
            cells = [own for (a, s, _), own in values.items() if (a, s) == (arm, setting)]
            if cells:
                found[setting, arm] = {
                    outcome: mean([own[outcome] for own in cells if outcome in own])
                    for outcome in question.outcomes
                    if any(outcome in own for own in cells)
                }
    return found


def verdict(result: Paired, level: float = 1 - LEVEL) -> str:
    """What may be said of a comparison that decides: `larger`, `smaller`, or `open` where it is not decided."""
    decided: Any = result.holm is not None and result.holm <= level
    if not decided:
        return "open"
    return "larger" if result.difference.value > 0 else "smaller"
