"""Which of millions of texts are known already, by digests of 16 bytes: a dictionary of them takes ten times as much."""

import hashlib
from array import array

import numpy as np

SIZE = 16


def digest_of(text: str) -> bytes:
    """16 bytes that tell texts apart (BLAKE2b); half of a surrogate pair counts too."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=SIZE).digest()


class Digests:
    """Digests, numbered from 0 in the order in which they first came.

    22 to 28 bytes each: the digests one behind the other, and a table of their numbers with linear probing.

    Example:
        >>> known = Digests()
        >>> [known.add(digest_of(text)) for text in ("a dog", "a cat", "a dog")]
        [0, 1, 0]
    """

    def __init__(self) -> None:
        self._digests = bytearray()
        self._count = 0
        self._slots = array("i", [-1]) * 64

    def __len__(self) -> int:
        return self._count

    def find(self, digest: bytes) -> int:
        """Its number; -1 of one that has not come yet."""
        return self._slots[self._slot(digest)]

    def add(self, digest: bytes) -> int:
        """Its number, which is the former length where it is new."""
        at = self._slot(digest)
        if (known := self._slots[at]) >= 0:
            return known
        self._slots[at] = number = self._count
        self._digests += digest
        self._count += 1
        if 3 * self._count > 2 * len(self._slots):
            self._grow()
        return number

    def _slot(self, digest: bytes) -> int:
        """Where the number of a digest stands, or would stand."""
        slots, digests = self._slots, self._digests
        mask = len(slots) - 1
        at = int.from_bytes(digest[:8], "little") & mask
        while (number := slots[at]) >= 0:
            if digests[SIZE * number : SIZE * number + SIZE] == digest:
                break
            at = (at + 1) & mask
        return at

    def _grow(self) -> None:
        """Twice as many slots, filled as if the digests came in the order of their first slots."""
        size = 2 * len(self._slots)
        homes = np.frombuffer(bytes(self._digests), "<u8")[::2] & np.uint64(size - 1)
        order = np.argsort(homes, kind="stable")
        count = np.arange(len(order))
        # Each in its first slot, or behind the one before it.
        places = np.maximum.accumulate(homes[order].astype(np.int64) - count) + count
        slots = np.full(size, -1, np.int32)
        inside = places < size
        slots[places[inside]] = order[inside]
        self._slots = array("i", slots.tobytes())
        for number in order[~inside].tolist():  # at the end of the table: from its beginning on
            at = 0
            while self._slots[at] >= 0:
                at += 1
            self._slots[at] = number
