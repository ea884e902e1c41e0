"""`--set key=value`: settings that replace a preset's, each with the type it must have."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from synvita_data.errors import SourceError

Value = str | int | float | bool | list[Any] | dict[str, Any] | None


def parse_overrides(pairs: Iterable[str] | Mapping[str, Any]) -> dict[str, Any]:
    """`["steps=25", "scheduler.flow_shift=5"]` as a mapping; a mapping is taken as it is.

    Values are JSON where they can be read as such (numbers, true, false, null, lists), else text.

    Raises:
        SourceError: no `=`, or a key given twice.
    """
    if isinstance(pairs, Mapping):
        return dict(pairs)
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            raise SourceError("a setting cannot be read", found=pair, expected="--set key=value")
        if key in found:
            raise SourceError("a setting is given twice", found=key)
        found[key] = _value(text.strip())
    return found


def _value(text: str) -> Value:
    try:
        value: Value = json.loads(text, parse_constant=str)  # NaN stays text
    except ValueError:
        return {"True": True, "False": False, "none": None, "None": None}.get(text, text)
    return value


def refuse_unknown(overrides: Iterable[str], known: Iterable[str], prefixes: Iterable[str] = ()) -> None:
    """Raise `SourceError` for the first key that is neither known nor begins with one of `prefixes`."""
    known, prefixes = sorted(known), tuple(prefixes)
    for key in overrides:
        if key not in known and not any(key.startswith(p) and len(key) > len(p) for p in prefixes):
            raise SourceError(
                "no such setting",
                found=key,
                expected=", ".join([*known, *(f"{prefix}NAME" for prefix in prefixes)]),
            )


def whole(key: str, value: Any, least: int = 1) -> int:
    """`value` as a whole number of at least `least`. Raises SourceError."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise _wrong(key, value, f"a whole number from {least}")
    return value


def number(key: str, value: Any, *, above: float | None = None) -> float:
    """`value` as a finite float, above `above` if that is given. Raises SourceError."""
    bad = isinstance(value, bool) or not isinstance(value, (int, float)) or value - value != 0
    if bad or (above is not None and value <= above):
        raise _wrong(key, value, "a number" if above is None else f"a number above {above:g}")
    return float(value)


def flag(key: str, value: Any) -> bool:
    """`value` if it is true or false. Raises SourceError."""
    if not isinstance(value, bool):
        raise _wrong(key, value, "true or false")
    return value


def text(key: str, value: Any) -> str:
    """`value` as text; a number that was meant as text becomes it again. Raises SourceError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise _wrong(key, value, "text")
    return value


def choice(key: str, value: Any, allowed: Iterable[str]) -> str:
    """`value` if it is one of `allowed`. Raises SourceError."""
    allowed = tuple(allowed)
    if value is None:
        value = "none"
    if value not in allowed:
        raise _wrong(key, value, f"one of {', '.join(allowed)}")
    return str(value)


def size(value: Any) -> tuple[int, int]:
    """`"480x720"` (height × width) as two numbers. Raises SourceError."""
    match = re.fullmatch(r"(\d+)[x×](\d+)", str(value))
    if match is None:
        raise _wrong("size", value, "HEIGHTxWIDTH, such as 480x720")
    return int(match[1]), int(match[2])


def _wrong(key: str, value: Any, expected: str) -> SourceError:
    return SourceError(f"the setting {key} cannot be used", found=value, expected=expected)
