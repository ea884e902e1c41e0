"""Two models on the same units: the paired bootstrap, Holm's correction, McNemar's exact test. Pure functions.

A resample draws as many units as there are, with replacement, and both models are measured on the same ones. The
p value of the difference is that of Efron and Tibshirani's inverted percentile interval, with one added to numerator
and denominator, so that it is never 0: an observed difference counts as a resample of its own.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..evaluate_metrics._shared.intervals import percentile_interval
from ..tables.columns import Floats, Ints

Bools = npt.NDArray[np.bool_]
LEVEL = 0.95
# Differences of fractions below this are rounding of sums in another order.
_ROUNDING = 1e-12
# Resamples that are drawn at a time, which bounds the memory.
_AT_ONCE = 100


def draw(units: int, resamples: int, seed: int) -> Iterator[Ints]:
    """How often each unit was drawn, int64 [at most 100, units] at a time, `resamples` in all.

    The draws are those of the metrics' own bootstraps: `default_rng(seed).integers(0, units, units)` for each.
    """
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _AT_ONCE):
        count = min(_AT_ONCE, resamples - start)
        drawn = generator.integers(0, units, (count, units)) + units * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * units).reshape(count, units)


def differences(a: Floats, b: Floats) -> Floats:
    """`a − b` without the rounding of sums; 0 where both are equal in exact arithmetic."""
    found = np.asarray(a - b)
    found[np.abs(found) < _ROUNDING] = 0
    return found


@dataclass(frozen=True, slots=True)
class Difference:
    """Two values and their difference, in percent and percentage points; None where undefined.

    Attributes:
        a, b: the metric of each model.
        difference: `a − b`.
        low, high: its 95% bootstrap interval.
        p: of no difference, two-sided.
        defined: resamples in which both are defined; the others count nowhere.
    """

    a: float | None
    b: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    defined: int

    def reversed(self) -> "Difference":
        """Of `b − a`."""
        return Difference(
            self.b, self.a, _minus(self.difference), _minus(self.high), _minus(self.low), self.p, self.defined
        )


def _minus(value: float | None) -> float | None:
    return None if value is None else 0.0 - value


def difference(a: float, b: float, resampled: Floats, *, units: int) -> Difference:
    """What resamples say of a difference.

    Args:
        a, b: the metric of each model as a fraction, NaN where undefined.
        resampled: float64 [B], of `differences`; NaN where undefined.
        units: how many units were drawn; of one unit nothing is known.
    """
    defined = resampled[~np.isnan(resampled)]
    observed = float(differences(np.array([a]), np.array([b]))[0])
    enough = units > 1 and len(defined) > 0 and 2 * len(defined) >= len(resampled)
    interval = percentile_interval(resampled, LEVEL) if enough else None
    low, high = (None, None) if interval is None else (100 * end for end in interval)
    return Difference(
        _percent(a),
        _percent(b),
        _percent(observed),
        low,
        high,
        bootstrap_p(defined) if enough else None,
        len(defined),
    )


def _percent(fraction: float) -> float | None:
    return None if math.isnan(fraction) else 100 * float(fraction)


def bootstrap_p(resampled: Floats) -> float:
    """min(1, 2·min((1 + #{d ≤ 0}) / (B + 1), (1 + #{d ≥ 0}) / (B + 1))) of resampled differences d [B]."""
    total = len(resampled) + 1
    below, above = 1 + int((resampled <= 0).sum()), 1 + int((resampled >= 0).sum())
    return min(1.0, 2 * min(below, above) / total)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction: the i-th smallest of m becomes the largest (m − j + 1)·p up to it, at most 1.

    None (no p value) stays None and does not count among the m.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = highest
    return adjusted


@dataclass(frozen=True, slots=True)
class McNemar:
    """McNemar's exact test of items that are right or wrong.

    Attributes:
        a_only, b_only: items that only one of the models gets right.
        p: two-sided: twice the binomial tail of the smaller count with probability 1/2, at most 1.
    """

    a_only: int
    b_only: int
    p: float


def mcnemar(a: Bools, b: Bools) -> McNemar:
    """The test; it takes the items for independent, which questions of one video are not.

    Args:
        a, b: bool [items], what each model gets right.
    """
    a_only, b_only = int((a & ~b).sum()), int((b & ~a).sum())
    total = a_only + b_only
    tail = sum(math.comb(total, k) for k in range(min(a_only, b_only) + 1))
    # Whole numbers up to the division: 2^total may be too large for a float.
    return McNemar(a_only, b_only, min(1.0, (2 * tail) / (1 << total)) if 2 * tail < (1 << total) else 1.0)


@dataclass(frozen=True, slots=True)
class Won:
    """How many items the first model does better on, equally well, and worse; `share` of items won, ties half."""

    won: int
    tied: int
    lost: int

    @property
    def share(self) -> float | None:
        """In percent; None where there is no item, as with one text a video."""
        items = self.won + self.tied + self.lost
        return 100 * (self.won + self.tied / 2) / items if items else None


def count_won(a: Floats, b: Floats) -> Won:
    """Compare items.

    Args:
        a, b: float64 [items], the metric of each item.
    """
    found = differences(a, b)
    return Won(int((found > 0).sum()), int((found == 0).sum()), int((found < 0).sum()))


def resample_both(
    a: Callable[[Ints], Floats],
    b: Callable[[Ints], Floats],
    parts: Sequence[tuple[Ints, Callable[[Ints], Floats], Callable[[Ints], Floats]]],
    *,
    units: int,
    resamples: int,
    seed: int,
) -> tuple[Floats, list[Floats]]:
    """The differences of both models on the same resamples.

    Args:
        a, b: int64 [B, units] to float64 [B, M], as of `annotations.units.Units.weighted`.
        parts: further pairs of such functions, each of some of the units (int64 places).
        units, resamples, seed: as of `draw`.

    Returns:
        float64 [resamples, M], and one such array for each of `parts`.
    """
    whole: list[Any] = []
    of_parts: list[list[Any]] = [[] for _ in parts]
    for weights in draw(units, resamples, seed):
        whole.append(differences(a(weights), b(weights)))
        for found, (places, first, second) in zip(of_parts, parts, strict=True):
            chosen = weights[:, places]
            found.append(differences(first(chosen), second(chosen)))
    return np.concatenate(whole), [np.concatenate(found) for found in of_parts]
