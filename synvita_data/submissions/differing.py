"""Where two JSON values differ, field by field."""

from collections.abc import Iterator, Mapping, Sequence
from math import isclose
from typing import Any

from .report import Difference

# Two numbers that were computed alike on two machines differ by less.
ABSOLUTE, RELATIVE = 1e-9, 1e-12
_LONGEST = 200
_MISSING = object()


def differences(found: Any, recomputed: Any, field: str) -> Iterator[Difference]:
    """Every leaf of two values that is not the same, in the order of the fields.

    Numbers are the same to 1e-9 and relatively to 1e-12; true is no number, and null no missing field.

    Args:
        found: JSON as it was submitted.
        recomputed: what it should be.
        field: name of the whole.
    """
    if isinstance(found, Mapping) and isinstance(recomputed, Mapping):
        for key in dict.fromkeys((*recomputed, *found)):
            yield from differences(
                found.get(key, _MISSING),
                recomputed.get(key, _MISSING),
                f"{field}.{key}" if field else str(key),
            )
    elif _is_list(found) and _is_list(recomputed) and len(found) == len(recomputed):
        for place, pair in enumerate(zip(found, recomputed, strict=True)):
            yield from differences(*pair, f"{field}[{place}]")
    elif not same(found, recomputed):
        yield Difference(field, shown(found), shown(recomputed))


def same(one: Any, other: Any) -> bool:
    """Whether two leaves are the same."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return type(one) is type(other) and bool(one == other)


def shown(value: Any) -> str | float | bool | None:
    """A leaf as a report has it; of anything longer its beginning."""
    if value is _MISSING or value is None:
        return None if value is _MISSING else "null"
    if isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return float(value) if abs(value) < 2**53 else str(value)[:_LONGEST]
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
