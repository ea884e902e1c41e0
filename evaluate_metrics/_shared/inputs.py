"""Checked columns: what a metric is given becomes arrays, or an error that names the position."""

import itertools
from collections import defaultdict
from collections.abc import Collection, Sequence
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Column = Sequence[Any] | npt.NDArray[Any]

# Kind of score -> the threshold between "no" and "yes"; a similarity has none.
THRESHOLDS = {"probability": 0.5, "log_odds": 0.0, "similarity": None}


class InputError(ValueError):
    """A metric cannot use its input.

    Args:
        problem: what is wrong, what was expected and, where it helps, what to do.
        position: index from 0 of the entry at fault, None when no single entry is.
    """

    def __init__(self, problem: str, position: int | None = None) -> None:
        self.position = position
        super().__init__(problem if position is None else f"position {position} (from 0): {problem}")


def first_true(flags: Bools) -> int | None:
    """The position of the first true flag, None where all are false."""
    positions = np.flatnonzero(flags)
    return int(positions[0]) if positions.size else None


def first_repeat(keys: Ints) -> int | None:
    """The position of the first entry whose key stands at an earlier position; None where all differ.

    Args:
        keys: int64 [N], each at least 0.
    """
    if int(keys.max()) < 8 * len(keys):  # counting is faster than sorting where the keys are dense
        repeated = int(np.bincount(keys).max()) > 1
    else:
        in_order = np.sort(keys)
        repeated = bool((in_order[1:] == in_order[:-1]).any())
    if not repeated:
        return None
    order = np.argsort(keys, kind="stable")
    return int(order[1:][keys[order][1:] == keys[order][:-1]].min())


def check_choice(name: str, value: str, allowed: Collection[str]) -> None:
    """Raise `InputError` unless the option called `name` has one of the `allowed` values."""
    if value not in allowed:
        raise InputError(f"{name}={value!r}; expected one of {', '.join(allowed)}")


def check_rows(
    scores: Column, labels: Column, scored: Column | None, partial: bool
) -> tuple[Floats, Bools, Bools]:
    """Scores, labels and which entries have a score, all [N]; see the three checks below.

    Raises:
        InputError: as these.
    """
    mask = check_scored(scored, len(scores), partial)
    numbers = check_scores(scores, mask)
    truth = check_labels(labels, len(scores))
    return numbers, truth, np.ones(len(scores), bool) if mask is None else mask


def check_scores(scores: Column, scored: Bools | None = None) -> Floats:
    """`scores` as float64 [N]; entries where `scored` is False are not looked at and become 0.

    Raises:
        InputError: empty, not one column, not numbers, or NaN or infinite where scored.
    """
    array = _column(scores, "scores")
    if array.dtype.kind in "fiu":
        numbers = array.astype(np.float64)
        if scored is not None:
            numbers[~scored] = 0
    else:
        numbers = np.zeros(len(array))
        for place in range(len(array)) if scored is None else np.flatnonzero(scored):
            numbers[place] = _as_number(array[place], int(place))
    if (position := first_true(~np.isfinite(numbers))) is not None:
        raise InputError(f"the score is {numbers[position]}; every score must be finite", position)
    return numbers


def check_probabilities(scores: Floats, kind: str) -> None:
    """Raise `InputError` where `kind` is `probability` and a score is outside [0, 1]."""
    outside = (scores < 0) | (scores > 1)
    if kind == "probability" and (position := first_true(outside)) is not None:
        raise InputError(
            f"the score {scores[position]} is not a probability; "
            "pass kind='log_odds' or kind='similarity' if the scores are that",
            position,
        )


def check_labels(labels: Column, count: int, name: str = "label", column: str = "labels") -> Bools:
    """`labels` as bool [N]: 1 (or True) is a match, 0 (or False) is not.

    Args:
        labels: [N].
        count: N.
        name: what a message calls one of them.
        column: what a message calls all of them.

    Raises:
        InputError: another length than the scores, or another value than 0 and 1.
    """
    array = _column(labels, column)
    _same_length(column, len(array), count)
    if array.dtype.kind == "b":
        return array
    if array.dtype.kind in "iuf":
        wrong = (array != 0) & (array != 1)
    else:
        wrong = np.array([isinstance(value, str | None) or value not in (0, 1) for value in array])
    if (position := first_true(wrong)) is not None:
        raise InputError(f"the {name} is {array.tolist()[position]!r}; every {name} must be 0 or 1", position)
    return array.astype(bool)


def check_scored(scored: Column | None, count: int, partial: bool) -> Bools | None:
    """Which entries have a score, as bool [N]; None when all have.

    Raises:
        InputError: another length, not booleans, no score at all, or an entry without a score although
            the caller did not ask for partial results.
    """
    if scored is None:
        return None
    array = _column(scored, "scored")
    _same_length("scored", len(array), count)
    if array.dtype.kind != "b":
        raise InputError(f"`scored` must hold booleans, not {array.dtype}")
    if array.all():
        return None
    if not array.any():
        raise InputError("no entry has a score")
    if not partial:
        raise InputError(
            f"no score ({int((~array).sum())} of {count} are missing); "
            "complete the scores, or pass partial=True to have coverage reported",
            first_true(~array),
        )
    return array


def check_ids(ids: Column, name: str, count: int, optional: bool = False) -> tuple[Ints, list[Any]]:
    """Codes 0…U−1 of `ids` (int64 [N]) and the U distinct ids in sorted order.

    Sorted order makes every result independent of the order of the rows, and is the "path order" of
    `official`. Ids are all strings or all integers (or booleans). With `optional`, None means "has
    none" and gets code −1.

    Raises:
        InputError: another length than the scores, a missing id, or ids that cannot be sorted together.
    """
    values = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
    _same_length(name, len(values), count)
    first_come: defaultdict[Any, int] = defaultdict(itertools.count().__next__)  # one pass, all in C
    try:
        codes = np.fromiter(map(first_come.__getitem__, values), np.int64, count)
        if not optional and None in first_come:
            raise InputError(f"`{name}` is missing here; every entry needs one", values.index(None))
        ordered = sorted(value for value in first_come if value is not None)
    except TypeError:
        raise InputError(f"`{name}` must be all strings or all integers, not a mixture or lists") from None
    for value in ordered:
        if isinstance(value, float):
            raise InputError(f"`{name}` must be strings or integers, not {value!r}", values.index(value))
    place = np.full(len(first_come), -1)
    place[[first_come[value] for value in ordered]] = np.arange(len(ordered))
    return place[codes], ordered


def check_constant(inner: Ints, outer: Ints, ids: list[Any], unit: str, what: str, advice: str = "") -> None:
    """Raise `InputError` unless the entries of one unit, such as a pair, agree in another column.

    Args:
        inner: int64 [N], code of the unit of each entry; −1 for none.
        outer: int64 [N], code of what must agree.
        ids: the unit of each code.
        unit: what the message calls the unit, such as `pair`.
        what: what it calls that which differs, such as `videos`.
        advice: what to do, behind the problem.
    """
    _, first, unit_of = np.unique(inner, return_index=True, return_inverse=True)
    differs = (inner >= 0) & (outer != outer[first[unit_of]])
    if (position := first_true(differs)) is not None:
        raise InputError(f"{unit} {ids[inner[position]]!r} has two different {what}{advice}", position)


def _as_number(value: Any, position: int) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise InputError(f"the score is {value!r}; every score must be a number", position)
    try:
        return float(value)
    except OverflowError:
        raise InputError("the score is a number too large for a float", position) from None


def _column(values: Any, name: str) -> npt.NDArray[Any]:
    array = values if isinstance(values, np.ndarray) else np.asarray(values)
    if array.dtype.kind in "OUS":  # a mixed list becomes strings in NumPy: keep what was given
        array = np.asarray(values, dtype=object)
    if array.ndim != 1:
        raise InputError(f"`{name}` must be one column, not an array of shape {array.shape}")
    if array.size == 0:
        raise InputError(f"`{name}` is empty")
    return array


def _same_length(name: str, found: int, expected: int) -> None:
    if found != expected:
        raise InputError(f"`{name}` has {found} entries for {expected} scores")
