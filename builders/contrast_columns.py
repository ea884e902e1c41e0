"""How the record of a contrast caption (`schema.ContrastRecord`) stands in an annotation file.

`synvita contrast` writes it as columns of text; a built dataset has it as one struct, the column `contrast`. Both are read.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from synvita_data.errors import SchemaError, SynvitaError, choose
from synvita_data.files import parse_json
from synvita_data.schema import ContrastCheck, ContrastRecord
from synvita_data.tables.cells import given_text, is_number, read_number, read_whole_number

# Field of an annotation file that holds the whole record.
STRUCT = "contrast_record"
# Field -> its column, in the order in which they are written.
COLUMNS = {
    "source_phrase": "source_phrase",
    "target_phrase": "target_phrase",
    "writer": "contrast_writer",
    "revision": "contrast_revision",
    "prompts": "contrast_prompts",
    "settings": "contrast_settings",
    "seed": "contrast_seed",
    "candidates": "contrast_candidates",
    "checks": "contrast_checks",
}
ALIASES: Mapping[str, tuple[str, ...]] = {
    **{column: (column,) for column in COLUMNS.values()},
    STRUCT: ("contrast",),
}
_TEXTS = ("source_phrase", "target_phrase", "writer", "revision", "prompts", "settings")
CHECKS = ("mechanical", "nli", "frame-vqa")


def contrast_cells(record: ContrastRecord) -> dict[str, Any]:
    """Column -> cell of an annotation file; None is an empty cell. Equal records give equal text."""
    cells = {column: getattr(record, name) for name, column in COLUMNS.items()}
    checks = [_known(asdict(check)) for check in record.checks]
    cells["contrast_checks"] = json.dumps(checks, ensure_ascii=False, sort_keys=True) if checks else None
    return cells


def contrast_struct(record: ContrastRecord) -> dict[str, Any]:
    """The cell of a built dataset's column `contrast`."""
    return {**asdict(record), "checks": [asdict(check) for check in record.checks]}


def read_contrast(cells: Mapping[str, Any]) -> ContrastRecord | None:
    """The record of one row; None where the file has none of its columns, or all are empty.

    Args:
        cells: field -> raw value, fields as of `ALIASES`.

    Raises:
        SchemaError: a cell is not what its column holds.
    """
    struct = cells.get(STRUCT)
    if isinstance(struct, Mapping):  # anything else in a column of that name is none of ours
        found = {name: struct.get(name) for name in COLUMNS}
    else:
        found = {name: cells[column] for name, column in COLUMNS.items() if cells.get(column) is not None}
        if not found:
            return None
    values: dict[str, Any] = {name: _text(found.get(name), COLUMNS[name]) for name in _TEXTS}
    for name in ("seed", "candidates"):
        number = given_text(found.get(name), COLUMNS[name])
        values[name] = None if number is None else read_whole_number(_whole(found[name]), COLUMNS[name])
    if values["settings"] is not None:
        _json(values["settings"], dict, "contrast_settings")
    values["checks"] = _checks(found.get("checks"))
    return ContrastRecord(**values) if any(value not in (None, ()) for value in values.values()) else None


def _whole(value: Any) -> Any:
    """A whole number of more than 53 bits as it is: of text, `read_whole_number` would make a float."""
    text = str(value).strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 20 else value


def _text(value: Any, column: str) -> str | None:
    text = given_text(value, column)
    if text is not None and not text.isprintable():
        raise SchemaError(f"{column} holds a control character", found=repr(text))
    return text


def _checks(value: Any) -> tuple[ContrastCheck, ...]:
    if not isinstance(value, (list, tuple)):
        text = given_text(value, "contrast_checks")
        if text is None:
            return ()
        value = _json(text, list, "contrast_checks")
    return tuple(map(_check, value))


def _check(value: Any) -> ContrastCheck:
    try:
        if not isinstance(value, Mapping):
            raise SchemaError("a check is not an object", found=repr(value))
        name = _text(value.get("name"), "name") or ""
        choose(name, CHECKS, "check", error=SchemaError)
        return ContrastCheck(
            name=name,
            score=_number(value.get("score"), "score"),
            model=_text(value.get("model"), "model"),
            revision=_text(value.get("revision"), "revision"),
            threshold=_number(value.get("threshold"), "threshold"),
        )
    except SynvitaError as error:
        raise error.recast(SchemaError, fix="Write it as `synvita contrast` does") from error


def _number(value: Any, name: str) -> float | None:
    text = given_text(value, name)
    if text is None:
        return None
    if not is_number(text):
        raise SchemaError(f"{name} of a check is not a number", found=repr(value))
    return read_number(text, name)


def _known(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value is not None}


def _json(text: str, kind: type, column: str) -> Any:
    try:
        value = parse_json(text)
    except ValueError as error:
        raise SchemaError(f"{column} is not JSON", found=repr(text)) from error
    if not isinstance(value, kind):
        expected = "a JSON object" if kind is dict else "a JSON list"
        raise SchemaError(f"{column} is another kind of JSON", found=repr(text), expected=expected)
    return value
