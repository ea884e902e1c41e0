"""Which process sees which triplet when: every triplet once an epoch, also where they do not divide evenly.

Samplers that fill the last batch up with triplets of the first (accelerate's do) would train these twice.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler

from synvita_data.errors import SynvitaError


class TripletSampler(Sampler[list[int]]):
    """Batches of indices for one process of several; all of them have equally many.

    Triplets are dealt out in rounds of `batch` a process; what is left for the last round is dealt one by one, so
    that no process has two more than another. A process that then has none gets a *filler*: index `-1 - k`, which
    means triplet k, to be computed with a weight of 0, because the others wait for its gradients.

    The order depends on seed and epoch alone: a run that is resumed has the same, and any number of
    processes and accumulation steps sees the same triplets in an optimizer step of the same size.

    Args:
        length: number of triplets.
        batch: triplets of one process.
        rank: number of this process.
        processes: how many there are.
        seed: of the order.
        shuffle: shuffle again each epoch; else triplets come as they are.
        drop_last: leave out a last round that is not full.
    """

    def __init__(
        self,
        length: int,
        batch: int,
        *,
        rank: int = 0,
        processes: int = 1,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
    ) -> None:
        self.length = length
        self.batch = batch
        self.rank = rank
        self.processes = processes
        self.seed = seed
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        at_once = self.batch * self.processes
        return self.length // at_once if self.drop_last else -(-self.length // at_once)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(range(self.length))
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.seed + self.epoch)
            order = torch.randperm(self.length, generator=generator).tolist()
        at_once = self.batch * self.processes
        for start in range(0, len(self) * at_once, at_once):
            everyone = order[start : start + at_once]
            yield everyone[self.rank :: self.processes] or [-1 - everyone[0]]


@dataclass(frozen=True, slots=True, eq=False)
class Filler:
    """A row that counts for nothing."""

    row: Any


@dataclass(frozen=True, slots=True, eq=False)
class Failed:
    """An error that the user can mend, on its way out of a loader's worker. If it were raised there, torch would put
    a traceback of the worker into its message."""

    error: SynvitaError


class Rows(Dataset[Any]):
    """A dataset with fillers at its negative indices, as `TripletSampler` asks for them, and `Failed` for its errors."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.dataset[index] if index >= 0 else Filler(self.dataset[-1 - index])
        except SynvitaError as error:
            return Failed(error)


class CollateRows:
    """A collator around another; the batch says whether it is a filler (`batch["filler"]`). Whoever takes it out of
    the loader calls `unfailed`."""

    def __init__(self, collate: Callable[[Sequence[Any]], dict[str, Any]]) -> None:
        self.collate = collate

    def __call__(self, rows: Sequence[Any]) -> dict[str, Any]:
        for row in rows:
            if isinstance(row, Failed):
                return {"failed": row}
        filler = isinstance(rows[0], Filler)
        try:
            return {**self.collate([row.row for row in rows] if filler else rows), "filler": filler}
        except SynvitaError as error:
            return {"failed": Failed(error)}


def unfailed(batch: dict[str, Any]) -> dict[str, Any]:
    """A batch of a loader of `Rows` and `CollateRows`; raises the error that a worker met, as it was."""
    if "failed" in batch:
        raise batch["failed"].error
    return batch
