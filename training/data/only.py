"""Which rows of a dataset are trained on: `only`, a mapping of columns to what their cells must be.

    only: {source: [msr-vtt, vatex], misalignment: flip, weight: {min: 0.1}, hard: false}

A row is taken where every named column fits. Columns of names (and yes or no) take one or a list; numbers take `min`,
`max` or both, which belong to the range. An empty cell fits only where `null` is in the list.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synvita_data.errors import SynvitaError, choose
from synvita_data.files import parse_json
from synvita_data.schema import MISALIGNMENTS

from .rows import Row, is_number

# Columns that rows can be chosen by -> what a cell is.
CHOSEN_BY: dict[str, str] = {
    "source": "text",
    "video_id": "text",
    "pair_id": "text",
    "generator": "text",
    "misalignment": "kind",
    "hard": "flag",
    "weight": "number",
}
_BOUNDS = ("min", "max")
Only = dict[str, Any]


def check_only(asked: Mapping[str, Any] | str | None) -> Only | None:
    """What is asked for, with lists in place of single names; None for all rows.

    Args:
        asked: column -> names or bounds; or the same as JSON text, as a command line gives it.

    Raises:
        SynvitaError: not a mapping, an unknown column, no names, or names and bounds that no cell can fit.
    """
    if asked is None:
        return None
    if isinstance(asked, str):
        try:
            asked = parse_json(asked)
        except ValueError:
            raise _wrong("only is not a mapping of columns", asked) from None
    if not isinstance(asked, Mapping) or not asked:
        raise _wrong("only is not a mapping of columns", asked)
    for column in asked:
        choose(column, CHOSEN_BY, "column to choose rows by")
    return {
        column: _bounds(column, asked[column]) if kind == "number" else _names(column, kind, asked[column])
        for column, kind in CHOSEN_BY.items()
        if column in asked
    }


def columns_of(only: Only | None) -> list[str]:
    """The columns of a dataset that a choice needs."""
    return ["generation" if column == "generator" else column for column in only or ()]


def chosen_rows(rows: Sequence[Row], only: Only | None) -> Iterator[Row]:
    """The rows that fit, in their order.

    Args:
        rows: read with `columns_of`.
        only: of `check_only`.
    """
    for row in rows:
        if all(_fits(_cell(row, column), wanted) for column, wanted in (only or {}).items()):
            yield row


def describe_only(only: Only) -> str:
    """In a message: `source msr-vtt or vatex, weight from 0.1`."""
    return ", ".join(f"{column} {_shown(wanted)}" for column, wanted in only.items())


def _shown(wanted: Any) -> str:
    if isinstance(wanted, Mapping):
        words = {"min": "from", "max": "to"}
        return " ".join(f"{words[name]} {value:g}" for name, value in wanted.items())
    return " or ".join(
        "null" if each is None else str(each).lower() if isinstance(each, bool) else each for each in wanted
    )


def _cell(row: Row, column: str) -> Any:
    if column == "generator":
        return row.generation.get("generator") if isinstance(row.generation, Mapping) else None
    return getattr(row, column)


def _fits(cell: Any, wanted: Any) -> bool:
    if not isinstance(wanted, Mapping):
        return any(cell is each or (cell == each and type(cell) is type(each)) for each in wanted)
    return is_number(cell) and wanted.get("min", -math.inf) <= cell <= wanted.get("max", math.inf)


def _names(column: str, kind: str, asked: Any) -> list[Any]:
    names = list(asked) if isinstance(asked, list | tuple) else [asked]
    wanted = {
        "text": ("text", lambda name: isinstance(name, str) and name),
        "kind": (f"some of {', '.join(MISALIGNMENTS)}", lambda name: name in MISALIGNMENTS),
        "flag": ("true or false", lambda name: isinstance(name, bool)),
    }[kind]
    wrong = [name for name in names if not (name is None or wanted[1](name))]
    if wrong or not names:
        raise SynvitaError(
            f"only: {column} cannot be chosen by that",
            found=repr(asked),
            expected=f"one or a list: {wanted[0]}, or null for an empty cell",
        )
    return list(dict.fromkeys(names))


def _bounds(column: str, asked: Any) -> dict[str, float]:
    right = (
        isinstance(asked, Mapping)
        and asked
        and all(
            name in _BOUNDS and is_number(value) and math.isfinite(value) for name, value in asked.items()
        )
        and asked.get("min", -math.inf) <= asked.get("max", math.inf)
    )
    if not right:
        raise SynvitaError(
            f"only: {column} cannot be chosen by that",
            found=repr(asked),
            expected="{min: NUMBER, max: NUMBER}, or one of the two, min not above max",
        )
    return {name: float(asked[name]) for name in _BOUNDS if name in asked}


def _wrong(problem: str, asked: Any) -> SynvitaError:
    return SynvitaError(
        problem,
        found=repr(asked),
        expected=f"a mapping such as {{source: [msr-vtt], weight: {{min: 0.1}}}}; columns {', '.join(CHOSEN_BY)}",
        fix="Leave only out to train on all rows",
    )
