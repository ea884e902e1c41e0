"""Mutations of structure: of trees (what JSON and YAML hold), of rows of cells, and of bytes."""

import copy
import math
import random
from collections.abc import Callable
from typing import Any

# Rendered as so many brackets around nothing: a tree as deep could not be walked.
DEEP = "\x01deep-{kind}-{depth}\x01"
DEPTHS = (3, 60, 200, 1_100, 3_000, 20_000, 100_000)
LONG_NAME = "n" * 300

WORDS = (
    *("", " ", "\t", "\n", "0", "-1", "1", "nan", "NaN", "null", "None", "true", "[]", "{}", "inf", "1e999"),
    *("\x00", "\x1b[31m", "\u202e", "\ufeff", "\ud800", "\udfff", "a\ud800b", "é", "e\u0301", "🐶", "\u2028"),
    *("../../etc/passwd", "/etc/passwd", "..", ".", "C:\\x", "a/../b", "~", "a//b", "a/", "%2e%2e", "a\\b"),
    *(
        LONG_NAME,
        f"{LONG_NAME}.mp4",
        "x" * 5_000,
        "<script>",
        "|",
        "`",
        "---",
        "=1+1",
        "{x}",
        "{",
        "%s",
        "[b]",
    ),
    *(
        "2026-13-45",
        "1_000",
        "0x10",
        "1.0",
        "1e5",
        "+3",
        "٣",
        "a,b",
        'a"b',
        "'",
        "http://h/../x",
        "hf:a/b",
        "&a",
    ),
)
NUMBERS = (
    *(
        0,
        -1,
        1,
        2,
        127,
        255,
        256,
        2**31 - 1,
        2**31,
        2**32,
        2**53 + 1,
        2**63,
        2**64,
        -(2**63) - 1,
        10**30,
        10**400,
    ),
    *(0.0, -0.0, 0.5, 1.0, 1e-320, 1e308, -1e308, math.nan, math.inf, -math.inf, True, False, None),
)


class Twin(str):
    """A key that equals no other, so that one name can stand twice in an object."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def odd_value(rng: random.Random) -> Any:
    """A value that a reader may not have been made for."""
    kind = rng.randrange(8)
    if kind < 3:
        return rng.choice(WORDS)
    if kind < 6:
        return rng.choice(NUMBERS)
    if kind == 6:
        return rng.choice(([], {}, [None], [[]], {"": None}, ["a"] * 50, {"a": {"b": []}}, [{}, 1, "x"]))
    return DEEP.format(kind=rng.choice("[{"), depth=rng.choice(DEPTHS))


def retyped(value: Any, rng: random.Random) -> Any:
    """The same, as another type would have it."""
    forms: list[Callable[[Any], Any]] = [
        lambda v: [v],
        lambda v: {"value": v},
        str,
        lambda v: None,
        lambda v: [v, v],
        lambda v: {str(i): e for i, e in enumerate(v)} if isinstance(v, list) else v,
        lambda v: list(v.items()) if isinstance(v, dict) else v,
        lambda v: list(v.values()) if isinstance(v, dict) else v,
        lambda v: float(v) if isinstance(v, int) and abs(v) < 2**60 else v,
        lambda v: int(v) if isinstance(v, float) and math.isfinite(v) else v,
        lambda v: -v if isinstance(v, int | float) else v,
        bool,
    ]
    return rng.choice(forms)(value)


def odd_name(name: str, rng: random.Random) -> str:
    """Another name for a field."""
    return rng.choice(
        (
            *(name.upper(), name.title(), f" {name} ", name[:-1], name + "s", name[::-1], f"\ufeff{name}"),
            *(name.replace("_", " "), name.replace("_", "-"), rng.choice(WORDS), f"{name}.{name}", ""),
        )
    )


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """(container, key or index) of every value below a tree, in its order."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        here = waiting.pop()
        keys = list(here) if isinstance(here, dict) else range(len(here)) if isinstance(here, list) else ()
        for key in keys:
            found.append((here, key))
            if isinstance(here[key], dict | list):
                waiting.append(here[key])
    return found


def mutate_tree(tree: Any, rng: random.Random) -> Any:
    """One mutation somewhere in a tree; the tree given is changed."""
    places = _places(tree)
    if not places or rng.random() < 0.03:
        return odd_value(rng) if rng.random() < 0.5 else retyped(tree, rng)
    where, key = rng.choice(places)
    what = rng.randrange(10)
    if what == 0:
        del where[key]
    elif what == 1 and isinstance(where, dict):
        where[Twin(key)] = copy.deepcopy(where[key]) if rng.random() < 0.5 else odd_value(rng)
    elif what == 1:
        where[key:key] = [copy.deepcopy(where[key])] * rng.choice((1, 2, 50))
    elif what == 2 and isinstance(where, dict):
        where[odd_name(str(key), rng)] = where.pop(key)
    elif what == 3:
        where[key] = retyped(where[key], rng)
    elif what == 4:  # another value of the same tree
        other, at = rng.choice(places)
        if at in other if isinstance(other, dict) else at < len(other):
            where[key] = copy.deepcopy(other[at])
    elif what == 5 and isinstance(where[key], str):
        where[key] = mutate_text(where[key], rng)
    elif what == 6 and isinstance(where, dict):
        where[rng.choice(WORDS)] = odd_value(rng)
    elif what == 6 and isinstance(where, list):
        rng.shuffle(where)
    else:
        where[key] = odd_value(rng)
    return tree


def mutate_text(text: str, rng: random.Random) -> str:
    """One mutation of a text."""
    at = rng.randrange(len(text) + 1)
    to = min(len(text), at + rng.choice((0, 1, 1, 4, len(text))))
    return text[:at] + rng.choice((*WORDS, text)) + text[to:]


def mutate_cells(rows: list[list[Any]], rng: random.Random) -> list[list[Any]]:
    """One mutation of a table of cells, whose first row may be a header; the table given is changed."""
    if not rows:
        return [[rng.choice(WORDS)]]
    row, what = rng.randrange(len(rows)), rng.randrange(10)
    if rng.random() < 0.2:
        row = 0
    columns = len(rows[row])
    column = rng.randrange(columns) if columns else 0
    if what == 0:
        del rows[row]
    elif what == 1:
        at = rng.randrange(len(rows) + 1)
        rows[at:at] = [list(rows[row]) for _ in range(rng.choice((1, 1, 30)))]
    elif what in (2, 3, 4) and columns:  # a whole column
        other = rng.randrange(columns)
        for cells in rows:
            if max(column, other) < len(cells):
                if what == 2:
                    del cells[column]
                elif what == 3:
                    cells.insert(other, cells[column])
                else:
                    cells[column], cells[other] = cells[other], cells[column]
    elif what == 5 and columns:
        del rows[row][column]
    elif what == 6 and row == 0 and columns:
        rows[0][column] = odd_name(str(rows[0][column]), rng)
    elif what == 7 and columns:
        rows[row][column] = mutate_text(str(rows[row][column]), rng)
    elif what == 8 and columns:
        word = rng.choice(WORDS)
        for cells in rows[1:]:
            if column < len(cells):
                cells[column] = word
    elif columns:
        rows[row][column] = str(rng.choice((*WORDS, *NUMBERS[:-1]))) if rng.random() < 0.9 else "y" * 200_000
    return rows


# Bytes that parsers of some format look at.
TOKENS = (
    *(
        b"\x00",
        b"\xff",
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"\x80\x00\x00\x00",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
    ),
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b'"',
        b"'",
        b",",
        b";",
        b"\t",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b"- ",
        b"&a ",
        b"*a",
        b"!!",
    ),
    *(
        b"NaN",
        b"1e999",
        b'"\\ud800"',
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\x1b[2J",
        b"---\n",
        b"<<: *a",
        b"null",
        b"%",
    ),
)


def mutate_bytes(data: bytes, rng: random.Random, other: bytes = b"") -> bytes:
    """One mutation of bytes. `other`: what is spliced in now and then."""
    size, what = len(data), rng.randrange(11)
    at = rng.randrange(size + 1)
    to = min(size, at + rng.choice((1, 1, 2, 4, 8, 64, 1_000)))
    if what == 0:
        return data[:at]
    if what == 1:
        return data[:at] + data[to:]
    if what == 2:
        return data[:to] + data[at:]
    if what == 3:
        return data[:at] + rng.choice(TOKENS) + data[at:]
    if what == 4:
        token = rng.choice(TOKENS)
        return data[:at] + token + data[at + len(token) :]
    if what == 5 and size:
        at = min(at, size - 1)
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    if what == 6:
        return data[:at] + rng.randbytes(to - at) + data[to:]
    if what == 7 and other:
        begin = rng.randrange(len(other))
        return data[:at] + other[begin : begin + rng.choice((4, 64, 4_000))] + data[to:]
    if what == 8:
        return data[at:] + data[:at]
    if what == 9:
        number = rng.choice((0, 1, 255, 2**31 - 1, 2**32 - 1, 2**63 - 1)).to_bytes(
            8, rng.choice(("big", "little"))
        )
        size = rng.choice((1, 2, 4, 8))
        return data[:at] + number[-size:] + data[at + size :]
    lines = data.split(b"\n")
    line = rng.randrange(len(lines))
    lines[line : line + 1] = rng.choice(([], [lines[line]] * 2, [lines[line] * 2], [lines[line], b""]))
    return b"\n".join(lines)
