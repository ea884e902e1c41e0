"""What a cell of a text table holds: text, an id, a number, a time, or no data at all.

Tables pass through spreadsheets and pandas. A spreadsheet leaves `#NAME?` where a cell began with `-` or
`=`; pandas makes floats of whole numbers beside a gap, `1524.0`; both round long numbers to `1.5E+11`.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..errors import SchemaError
from ..files import parse_json
from ..schema import MISALIGNMENTS

# What the official scripts' `pandas.read_csv` takes for an empty cell, and what databases write.
_MISSING = frozenset(
    {"", "#n/a", "#na", "<na>", "n/a", "na", "nan", "-nan", "nat", "none", "null", "(null)", "\\n"}
)
_LONGEST_MISSING = max(map(len, _MISSING))
# Excel, Google Sheets, LibreOffice, in any language and script: #NAME?, #WERT!, #¡REF!, #DIV/0!, #ИМЯ?, #Н/Д, Err:502, a
# column of ####, a cell that was saved while it was computed.
_ERROR_CELL = re.compile(
    r"#[¿¡]?[^\W_][\w/.]+[!?]|#[^\W\d_]/[^\W\d_]|#N/A N/A|#NV|#ND|#(?:REF|VALUE|NAME|NUM|NULL|DIV/0)"
    r"|#GETTING_DATA|#{3,}|Err:[0-9]{3}|Loading\.\.\.|-?1\.#(?:IND|QNAN|INF)",
    re.IGNORECASE,
)
# The formula in the place of what it gave.
_FORMULA = re.compile(r"=[A-Za-z_.]+[0-9.]*\(.*\)|=\$?[A-Za-z]{1,3}\$?[0-9]+(?:\W.*)?", re.DOTALL)
_FAULTY_BEGINNINGS = frozenset("#EeLl1-=")
_INVISIBLE = "\ufeff\u200b\u2060\x00"  # byte-order mark, zero-width space, word joiner, NUL
_FLOAT_OF_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0")
_SCIENTIFIC = re.compile(r"-?[0-9](?:[.,][0-9]+)?[eE][+-][0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_CLOCK = re.compile(r"([0-9]{1,3}):([0-5][0-9]):([0-5][0-9](?:\.[0-9]+)?)")
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validate": "validation",  # MSR-VTT
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_MISALIGNMENTS = {name: name for name in MISALIGNMENTS} | {
    # `Dataset.to_csv` writes a ClassLabel as its number, and as a float where a cell is empty.
    **{f"{number}{zero}": name for number, name in enumerate(MISALIGNMENTS) for zero in ("", ".0")},
    **dict.fromkeys(("-1", "-1.0")),  # and a missing one as -1
    "actions": "action",
    "attributes": "attribute",
    "counting": "count",
    "counts": "count",
    "event_flip": "flip",
    "event_order_flip": "flip",
    "event_order_flipping": "flip",
    "hallucinations": "hallucination",
    "objects": "object",
    "relations": "relation",
    "spatial_relation": "relation",
    "spatial_relations": "relation",
}
_BOOLEANS = {"true": True, "1": True, "1.0": True, "yes": True} | {
    "false": False,
    "0": False,
    "0.0": False,
    "no": False,
}
# Field -> what a cell may say -> what it means. A ClassLabel is written as its number.
_CHOICES: Mapping[str, Mapping[str, Any]] = {
    "split": _SPLITS,
    "misalignment": _MISALIGNMENTS,
    "hard": _BOOLEANS,
    "trimmed": _BOOLEANS,
}


def strip_cell(text: str) -> str:
    """`text` without white space and invisible characters around it."""
    stripped = text.strip()
    while stripped and (stripped[0] in _INVISIBLE or stripped[-1] in _INVISIBLE):
        stripped = stripped.strip(_INVISIBLE).strip()
    return stripped


def is_missing(text: str) -> bool:
    """Whether a stripped cell is empty, or a word for that: `nan`, `NULL`, `#N/A`, …"""
    return len(text) <= _LONGEST_MISSING and text.lower() in _MISSING


def check_data(text: str, what: str) -> None:
    """Refuse a stripped cell that holds what a spreadsheet leaves where data was.

    Raises:
        SchemaError: `#NAME?`, `#REF!`, `####`, `=A2&B2`, …
    """
    if text[:1] not in _FAULTY_BEGINNINGS:
        return
    formula = _FORMULA.fullmatch(text)
    if formula or _ERROR_CELL.fullmatch(text):
        raise SchemaError(
            f"{what} is {'a formula' if formula else 'the error value'} of a spreadsheet",
            found=repr(text),
            expected="the text that stood there before",
            fix="Import the original file with all columns as text: a cell that begins with = or - is taken for a formula",
        )


def given_text(value: Any, what: str) -> str | None:
    """The text of a required or optional cell of any reader; None where there is none.

    Raises:
        SchemaError: the error value of a spreadsheet; a list, an object or bytes, whose Python form is nobody's text.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, Mapping | list | tuple | bytes):
        raise SchemaError(f"{what} is not a plain value", found=repr(value), expected="text or a number")
    text = strip_cell(str(value))
    if is_missing(text):
        return None
    check_data(text, what)
    return text


def id_text(value: Any, what: str, *, exact: int = 1 << 53) -> str:
    """The text of an id. A whole number that became a float on its way is that number again.

    Args:
        value: text, or a number of Parquet or JSON.
        exact: whole numbers below this are exact in the column's type.

    Raises:
        SchemaError: a number that is not whole or was rounded; neither text nor a number.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise SchemaError(f"{what} is not text", found=repr(value), expected="text or a whole number")
    if isinstance(value, float):
        if not value.is_integer() or abs(value) >= exact:
            raise SchemaError(
                f"{what} is a number with a fraction, or too large to be exact",
                found=repr(value),
                expected="text or a whole number",
                fix="Write the column as text",
            )
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    if whole := _FLOAT_OF_WHOLE.fullmatch(value):
        return id_text(float(value), what) if len(whole[1]) > 15 else whole[1]
    if _SCIENTIFIC.fullmatch(value):
        raise SchemaError(
            f"{what} is a number that was rounded",
            found=repr(value),
            expected="all digits of the id",
            fix="Write the column as text: a spreadsheet or pandas keeps 15 digits of a long number",
        )
    return value


def given_id(value: Any, what: str) -> str | None:
    """The text of an id in a cell of any reader; None where there is none.

    Raises:
        SchemaError: as `given_text` and `id_text`.
    """
    text = given_text(value, what)
    return None if text is None else id_text(text if isinstance(value, str) else value, what)


@lru_cache(maxsize=1024)  # a few spellings, met in every row
def read_choice(text: str, field: str) -> Any:
    """What a cell of a field with few values means: of `split`, `misalignment`, `hard` or `trimmed`.

    Raises:
        SchemaError: another word; the message lists all.
    """
    choices = _CHOICES[field]
    # The hyphen of `event-order-flip` is a space, that of -1 a sign.
    key = "_".join(re.sub(r"(?<=\w)-", " ", text.lower()).replace("_", " ").split())
    if key not in choices:
        raise SchemaError(f"unknown {field}", found=repr(text), expected=f"one of {', '.join(choices)}")
    return choices[key]


def is_number(text: str) -> bool:
    """Whether a cell is a decimal number, with nothing around it."""
    return _NUMBER.fullmatch(text) is not None


def read_number(text: str, what: str) -> float:
    """A decimal number; `nan` and `inf` are none.

    Raises:
        SchemaError: anything else, a decimal comma by name.
    """
    stripped = text.strip()
    if _NUMBER.fullmatch(stripped):
        return float(stripped)
    comma = _NUMBER.fullmatch(stripped.replace(",", ".", 1)) is not None
    raise SchemaError(
        f"{what} is written with a decimal comma" if comma else f"{what} is not a number",
        found=repr(text),
        expected=f"{stripped.replace(',', '.')}" if comma else "a number such as 0.5",
    )


def read_whole_number(value: Any, what: str) -> int:
    """0, 1, 2, …, also written `3.0`.

    Raises:
        SchemaError: anything else.
    """
    try:
        if isinstance(value, bool):
            raise ValueError
        number = read_number(value, what) if isinstance(value, str) else float(value)
        if not (number >= 0 and number.is_integer()):
            raise ValueError
    except (SchemaError, TypeError, ValueError, OverflowError):
        number = -1
    if number < 0:
        raise SchemaError(f"{what} is not one of 0, 1, 2, …", found=repr(value))
    return int(value) if isinstance(value, int) else int(number)


def read_seconds(text: str, what: str) -> float:
    """A time in seconds, or as `00:01:05.5` (hours, minutes, seconds).

    Raises:
        SchemaError: negative, `1,5`, `01:30` (which could be minutes or hours), or no time at all.
    """
    stripped = text.strip()
    if clock := _CLOCK.fullmatch(stripped):
        return int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
    if _NUMBER.fullmatch(stripped) and math.isfinite(seconds := float(stripped)) and seconds >= 0:
        return seconds
    if _NUMBER.fullmatch(stripped.replace(",", ".", 1)) and "," in stripped:
        fix = f"Write the decimal mark as a point: {stripped.replace(',', '.')}"
    elif re.fullmatch(r"[0-9]+:[0-9]{1,2}(?:[.,][0-9]+)?", stripped):
        fix = f"Write hours, minutes and seconds: 00:{stripped}, if these are minutes and seconds"
    else:
        fix = None
    raise SchemaError(
        f"{what} is not a time", found=repr(text), expected="seconds (5, 1.5) or hh:mm:ss, 0 or more", fix=fix
    )


def read_part(start: Any, end: Any) -> tuple[float | None, float | None]:
    """The seconds of a part of a video, None for where it begins or ends.

    Args:
        start, end: cells, as of `read_seconds`, or empty.

    Raises:
        SchemaError: no times, or the end is not behind the start.
    """
    texts = given_text(start, "start"), given_text(end, "end")
    first, last = (
        None if text is None else read_seconds(text, what)
        for text, what in zip(texts, ("start", "end"), strict=True)
    )
    if first is not None and last is not None and last <= first:
        raise SchemaError("a part of a video ends before it begins", found=f"start {first}, end {last}")
    return first, last


def read_json_object(text: str) -> dict[str, Any]:
    """A JSON object. Numbers with a fraction stay text, so that an id keeps its own; `NaN` is None.

    Raises:
        ValueError: not JSON, another type, a name given twice, `Infinity`.
    """
    record = parse_json(
        text,
        foreign=True,
        object_pairs_hook=unique_names,
        parse_float=_json_float,
        parse_constant=_json_constant,
    )
    if not isinstance(record, dict):
        raise ValueError(f"a JSON {type(record).__name__}")
    return record


def unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `parse_json(object_pairs_hook=…)`: a name that stands twice is an error, not the last one's value."""
    record = dict(pairs)
    if len(record) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name, times in Counter(names).items() if times > 1)
        raise ValueError(f"the name {twice!r} stands twice in one object")
    return record


def _json_float(text: str) -> float | str:
    return text if "e" not in text.lower() else float(text)


def _json_constant(name: str) -> None:
    if name != "NaN":
        raise ValueError(f"{name} is not JSON")
