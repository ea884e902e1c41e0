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
    """Bootstrap percentile interval of the mean of independent `values` [N]; see `ratio_interval`."""
    return ratio_interval(values, np.ones(len(values)), resamples=resamples, level=level, seed=seed)


def ratio_interval(
    sums: Floats, counts: Floats | Ints, *, resamples: int, level: float, seed: int
) -> tuple[float, float] | None:
    """Bootstrap percentile interval of Σ sums / Σ counts over N independent units, such as videos.

    Drawing N of N with replacement and counting how often each *distinct* unit came is a multinomial
    draw, so only the distinct units are drawn: exact, independent of the order of the units, and fast where
    they are few. None for a single unit, whose spread is unknown, and for `resamples=0`.

    Args:
        sums: float64 [N], the sum of the values of each unit.
        counts: [N], how many values each unit has, at least 1.
        resamples, level, seed: as `check_bootstrap` lets pass.
    """
    if resamples == 0 or len(sums) < 2:
        return None
    order = np.lexsort((counts, sums))
    sums, counts = sums[order], counts[order]
    starts = np.flatnonzero(np.r_[True, (sums[1:] != sums[:-1]) | (counts[1:] != counts[:-1])])
    times = np.diff(starts, append=len(sums))
    sums, counts = sums[starts], counts[starts]
    generator = np.random.default_rng(seed)
    ratios = np.empty(resamples)
    for start in range(0, resamples, 100):  # 100 at a time bounds the memory
        draws = generator.multinomial(times.sum(), times / times.sum(), size=min(100, resamples - start))
        ratios[start : start + len(draws)] = draws @ sums / (draws @ counts)
    return percentile_interval(ratios, level)


def cluster_sums(values: Floats, clusters: Ints) -> tuple[Floats, Ints]:
    """Sum and number of the values [N] of each cluster that has any, the same to the bit for any order.

    Args:
        values: float64 [N].
        clusters: int64 [N], codes from 0 on.
    """
    order = np.lexsort((values, clusters))
    starts = np.flatnonzero(np.r_[True, np.diff(clusters[order]) != 0])
    return np.add.reduceat(values[order], starts), np.diff(starts, append=len(values))
