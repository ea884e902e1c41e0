"""A measured number against the paper's: the bands around it, and the verdict. Pure functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..tables.columns import Floats, Ints

WITHIN, ORDER_KEPT, OFF, NO_VALUE = "within band", "off, order kept", "off", "no value in the paper"
# A probability of exactly 0 or 1 has no log-odds; bf16 knows none nearer to 1 than this.
_NEAREST = 2.0**-9


@dataclass(frozen=True, slots=True)
class Band:
    """An interval in percent.

    Attributes:
        low, high: its ends.
    """

    low: float
    high: float


def jittered(
    measure: Callable[[Floats], float],
    log_odds: Floats,
    unit: Ints,
    *,
    sigma: float,
    draws: int,
    seed: int = 0,
) -> Floats:
    """A metric of log-odds that were moved at random, once a draw.

    Args:
        measure: from float64 [N] log-odds to the metric.
        log_odds: float64 [N]; NaN where there is none, which stays NaN.
        unit: int64 [N], from 0: rows of one number are one text of one video, and are moved alike.
        sigma: standard deviation of the noise.
        draws: how many values.
        seed: of the noise.

    Returns:
        float64 [draws].
    """
    generator = np.random.default_rng(seed)
    units = int(unit.max(initial=-1)) + 1
    return np.array(
        [measure(log_odds + sigma * generator.standard_normal(units)[unit]) for _ in range(draws)]
    )


def band(values: Floats, level: float) -> Band:
    """The interval that leaves (1 − level) / 2 of the values [D] on either side, interpolated between them."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Band(float(low), float(high))


def to_log_odds(scores: Floats, kind: str) -> Floats:
    """float64 [N] log-odds of scores that are log-odds or probabilities.

    A probability within 2^-9 of 0 or 1 is taken for one that far off: rounding hides what it was.

    Raises:
        ValueError: similarities have no log-odds.
    """
    if kind == "log_odds":
        return np.asarray(scores, np.float64)
    if kind != "probability":
        raise ValueError(f"{kind} scores have no log-odds")
    inside = np.clip(scores, _NEAREST, 1 - _NEAREST)
    odds: Floats = np.log(inside) - np.log1p(-inside)
    return odds


def reach(value: float, points: float, bands: Mapping[str, Band | None]) -> Band:
    """The smallest interval around a measured value that holds its tolerance and every band.

    Args:
        value: percent.
        points: tolerance of the task.
        bands: by name (ties, jitter, flips); None where there is none.
    """
    known = [each for each in bands.values() if each is not None]
    return Band(
        min([value - points, *(each.low for each in known)]),
        max([value + points, *(each.high for each in known)]),
    )


def is_within(paper: float, digits: int, found: Band) -> bool:
    """Whether a number that was printed with so many decimals may lie in an interval."""
    rounding = 0.5 * 10.0**-digits
    slack = 1e-9  # of decimal numbers that binary ones do not meet
    return found.low - rounding - slack <= paper <= found.high + rounding + slack


def verdict(paper: float | None, digits: int, found: Band, *, order_kept: bool | None = None) -> str:
    """What a cell says.

    Args:
        paper: the published value, None where there is none.
        digits: decimals of it that are printed.
        found: `reach` of the measured value.
        order_kept: whether baseline and SynViTA stand as in the paper; None where that cannot be said.

    Returns:
        `within band`, `off, order kept`, `off`, or that the paper has no value.
    """
    if paper is None:
        return NO_VALUE
    if is_within(paper, digits, found):
        return WITHIN
    return ORDER_KEPT if order_kept else OFF


def keeps_order(first: float, second: float, paper_first: float, paper_second: float) -> bool:
    """Whether two measured values stand in the order of the paper's two; equal ones are in no order.

    Args:
        first, second: measured, of baseline and SynViTA.
        paper_first, paper_second: the paper's.
    """
    return bool(np.sign(second - first) == np.sign(paper_second - paper_first) != 0)
