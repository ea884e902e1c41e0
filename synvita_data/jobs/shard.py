"""One of n disjoint parts of a job's keys, the same on every machine."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import EngineError
from .names import digest_of

FORM = "I/N with 0 <= I < N, such as 0/8 to 7/8 (shards count from 0, like Slurm's --array=0-7)"


@dataclass(frozen=True, slots=True)
class Shard:
    """The keys whose digest leaves `index` when divided by `count`.

    By digest, not by place in the list: a key stays in its shard when rows are added, removed or moved. The
    shards of one `count` are disjoint and cover every key.

    Raises:
        EngineError: not 0 <= index < count.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise EngineError("there is no such shard", found=f"{self.index}/{self.count}", expected=FORM)

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """`"2/8"` as on the command line. Raises EngineError that shows the form."""
        match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text, re.ASCII)
        if match is None:
            raise EngineError("a shard cannot be read", found=repr(text), expected=FORM)
        return cls(int(match[1]), int(match[2]))

    def take(self, keys: Iterable[str]) -> list[str]:
        """The keys of this shard, in the order given."""
        return [key for key in keys if int(digest_of(key), 16) % self.count == self.index]

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"
