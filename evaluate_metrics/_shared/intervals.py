"""Estimates in percent with their tie bounds, coverage and bootstrap interval."""

from typing import TypedDict

import numpy as np

from .inputs import Floats, InputError, Ints


class Estimate(TypedDict):
    """One number of a result. All but `k` and `n` are percentages, None where undefined.

    `low`, `high`: bootstrap percentile interval of `value`. `worst_ties`, `best_ties`: the least and
    the greatest value that some order of tied scores gives. `k` of `n` units entered the value.
    """

    value: float | None
    low: float | None
    high: float | None
    worst_ties: float | None
    best_ties: float | None
    k: int
    n: int


# By the rule for ties, and in the worst and the best order of ties.
Values = tuple[float, float, float]


def estimate(values: Values, interval: tuple[float, float] | None, *, k: int, n: int) -> Estimate:
    """Fractions in, an `Estimate` in percent out."""
    value, worst, best = values
    low, high = (None, None) if interval is None else (100 * float(end) for end in interval)
    return Estimate(
        value=100 * float(value),
        low=low,
        high=high,
        worst_ties=100 * float(worst),
        best_ties=100 * float(best),
        k=int(k),
        n=int(n),
    )


def no_estimate(*, k: int, n: int) -> Estimate:
    """An `Estimate` that is undefined, for example an AUC of one class."""
    return Estimate(value=None, low=None, high=None, worst_ties=None, best_ties=None, k=int(k), n=int(n))


def histogram(counts: Ints) -> dict[str, int]:
    """How often each of the `counts` comes, by the count as a string."""
    values, times = np.unique(counts, return_counts=True)
    return {str(value): int(time) for value, time in zip(values, times, strict=True)}


def check_bootstrap(resamples: int, level: float) -> None:
    """Raise `InputError` unless `resamples` is 0 (no interval) or more and 0 < `level` < 1."""
    if resamples < 0 or not 0 < level < 1:
        raise InputError(f"resamples={resamples}, level={level}: need resamples >= 0 and 0 < level < 1")


def percentile_interval(resampled: Floats, level: float) -> tuple[float, float] | None:
    """The central `level` of the resampled values (linear interpolation between order statistics).

    NaN marks a resample where the statistic is undefined; those are left out. None when fewer than half of
    the resamples are defined, or there are none.
    """
    defined = resampled[~np.isnan(resampled)]
    if not len(defined) or 2 * len(defined) < len(resampled):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mean_interval(values: Floats, *, resamples: int, level: float, seed: int) -> tuple[float, float] | None:
    """Bootstrap percentile interval of the mean of independent `values` [N].

    Drawing N of N with replacement and counting how often each *distinct* value came is a multinomial
    draw, so only the distinct values are drawn: exact, independent of the order of `values`, and fast where
    they are few. None for a single value, whose spread is unknown, and for `resamples=0`.
    """
    if resamples == 0 or len(values) < 2:
        return None
    distinct, counts = np.unique(values, return_counts=True)
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    for start in range(0, resamples, 100):  # 100 at a time bounds the memory
        draws = generator.multinomial(len(values), counts / len(values), size=min(100, resamples - start))
        means[start : start + len(draws)] = draws @ distinct / len(values)
    return percentile_interval(means, level)
