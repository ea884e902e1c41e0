"""Values and keys of a table as numbers: what repeats in millions of rows is held once, the values themselves in a file."""

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

from .digests import SIZE, Digests, digest_of
from .score_files import Key
from .spill import Spill


class Interned:
    """Values that repeat, numbered; a table of millions of rows holds a digest of each."""

    def __init__(self, folder: Path | None) -> None:
        self._digests = Digests()
        self._values: Spill[tuple[Any, ...]] = Spill(folder, list, tuple, block=64)
        self._last: tuple[tuple[Any, ...], int] | None = None

    def number(self, value: tuple[Any, ...]) -> int:
        if self._last is not None and self._last[0] == value:
            return self._last[1]
        number = self._digests.add(digest_of(repr(value)))
        if number == len(self._values):
            self._values.append(value)
        self._last = value, number
        return number

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        return self._values[number]


class Keys:
    """The keys of a table, numbered in the order in which they first came."""

    def __init__(self, folder: Path | None) -> None:
        self._digests = Digests()
        # A row number as it is, and of an id -1, -2, …: where it stands among the ids.
        self._values = array("q")
        self._ids: Spill[str] = Spill(folder, str, str, block=64)
        self._last: tuple[Key, int] | None = None

    def __len__(self) -> int:
        return len(self._digests)

    def __iter__(self) -> Iterator[Key]:
        ids = iter(self._ids)
        return (value if value >= 0 else next(ids) for value in self._values)

    @property
    def have_ids(self) -> bool:
        return len(self._ids) > 0

    def number(self, key: Key) -> int:
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        number = self._digests.add(_key_digest(key))
        if number == len(self._values):
            if _is_row(key):
                self._values.append(key)
            else:
                self._ids.append(str(key))
                self._values.append(-len(self._ids))
        self._last = key, number
        return number

    def find(self, key: Key) -> int:
        """-1 of a key that is not there."""
        return self._digests.find(_key_digest(key))


def _is_row(key: Key) -> TypeGuard[int]:
    """Whether a key is a row number that 64 bits hold."""
    return isinstance(key, int) and 0 <= key < 1 << 63


def _key_digest(key: Key) -> bytes:
    """A row number is its own digest, and finds its slot at once."""
    if _is_row(key):
        return key.to_bytes(SIZE, "little")
    return digest_of(f"{type(key).__name__} {key}")
