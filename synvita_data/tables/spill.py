"""Records that do not all fit into memory: the first are held, the others lie in a file without a name."""

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from ..files import SpillFile

T = TypeVar("T")

# Records that are held; a file of so many needs no disk.
HELD = 20_000
# Blocks of the file that are kept after they were read.
_KEPT = 64


class Spill(Sequence[T], Generic[T]):
    """Records in the order in which they were added, to be read again in any order.

    Args:
        folder: where the file is made, once there is need; None holds everything.
        encode: a record as JSON-ready value.
        decode: the record again.
        block: how many are written and read at once.
        held: how many are held.
    """

    def __init__(
        self,
        folder: Path | None,
        encode: Callable[[T], Any],
        decode: Callable[[Any], T],
        *,
        block: int = 256,
        held: int = HELD,
    ) -> None:
        self._folder, self._encode, self._decode = folder, encode, decode
        self._block, self._most = block, held
        self._held: list[T] = []
        self._last: list[T] = []  # behind those of the file
        self._file: SpillFile | None = None
        self._starts = array("q", [0])  # of each block, and the end of the last
        self._read: dict[int, list[T]] = {}

    def append(self, record: T) -> None:
        """Add one.

        Raises:
            StoreError: there is no room for the file.
        """
        if self._folder is None or len(self._held) < self._most:
            self._held.append(record)
            return
        self._last.append(record)
        if len(self._last) == self._block:
            if self._file is None:
                self._file = SpillFile(self._folder)
            data = json.dumps(list(map(self._encode, self._last)), separators=(",", ":")).encode()
            self._starts.append(self._file.append(data) + len(data))
            self._last = []

    def __len__(self) -> int:
        return len(self._held) + self._block * (len(self._starts) - 1) + len(self._last)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if index < len(self._held):
            return self._held[index]
        block, place = divmod(index - len(self._held), self._block)
        if block == len(self._starts) - 1:
            return self._last[place]
        if (found := self._read.get(block)) is None:
            found = self._read_block(block)
            if len(self._read) >= _KEPT:
                del self._read[next(iter(self._read))]
            self._read[block] = found
        return found[place]

    def __iter__(self) -> Iterator[T]:
        blocks = map(self._read_block, range(len(self._starts) - 1))
        return chain(self._held, chain.from_iterable(blocks), self._last)

    def _read_block(self, block: int) -> list[T]:
        start, end = self._starts[block : block + 2]
        assert self._file is not None
        return list(map(self._decode, json.loads(self._file.read(start, end - start))))
