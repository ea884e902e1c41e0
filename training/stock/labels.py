"""What `SynViTALoss` must know of a batch, as the `labels` of a stock Trainer.

A Trainer hands a loss function the model's outputs and the labels, nothing else, and divides by the number of
labels that are not -100, counted over the accumulation window and all processes. So labels here are a table, int64
[N, COLUMNS], one row a triplet: every column counts but the first (which some releases of transformers count and
some, those that shift labels, do not). That number over COUNTED is the number of triplets, whatever the batches.

The first axis is triplets, not the rows of `input_ids`: evaluation weighs a batch's loss by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synvita_data.errors import SynvitaError

from ..objective import Supervision

_IGNORED = -100
_MARK = 0x5379_6E56  # tells our labels from token ids
_HEADER = 11  # ignored, mark, weight, flags, 4 facts of the batch, 3 token ids; then what follows for each of eight pairs
COLUMNS = _HEADER + 3 * 8
COUNTED = COLUMNS - 1
NONE = -1


@dataclass(frozen=True, slots=True, eq=False)
class StockLabels:
    """Where the scores of N triplets are in a batch's logits, and what is trained on.

    Attributes:
        supervision: of the N triplets.
        rows, positions, slots: int64 [N, 2, 4], for each pair its row in the batch, the position at which its
            answer is predicted, and that position's place among the kept ones; NONE for pairs left out.
        batch, length, kept: rows of the batch, tokens of a row, and at how many positions logits are kept.
        consistency: whether masked texts are among the rows.
        yes, no, end: token ids of the answers, and of the token behind one (NONE: answers were not appended).
    """

    supervision: Supervision
    rows: Tensor
    positions: Tensor
    slots: Tensor
    batch: int
    length: int
    kept: int
    consistency: bool
    yes: int
    no: int
    end: int

    def encode(self) -> Tensor:
        """int64 [N, COLUMNS]."""
        given = self.supervision
        flags = torch.stack([*given.present.unbind(1), given.takes_real, given.has_synthetic], dim=1)
        sizes = (self.batch, self.length, self.kept, int(self.consistency), self.yes, self.no, self.end)
        number = len(given.weight)
        return torch.cat(
            [
                torch.tensor([[_IGNORED, _MARK]]).expand(number, -1),
                given.weight.float().view(torch.int32).long()[:, None],  # its bits, so that nothing rounds it
                (flags.long() << torch.arange(4)).sum(1, keepdim=True),
                torch.tensor([sizes]).expand(number, -1),
                *(places.flatten(1) for places in (self.rows, self.positions, self.slots)),
            ],
            dim=1,
        )

    @classmethod
    def decode(cls, labels: Tensor | None) -> "StockLabels":
        """The inverse of `encode`, on the labels' device.

        Raises:
            SynvitaError: the labels were made by another collator.
        """
        if not _ours(labels):
            raise SynvitaError(
                "the labels of this batch were not made by StockCollator",
                found="no labels" if labels is None else f"{labels.dtype} {list(labels.shape)}",
                expected=f"int64 [triplets, {COLUMNS}]",
                fix="Give the Trainer data_collator=StockCollator(model, processor)",
            )
        assert labels is not None
        flags = (labels[:, 3, None] >> torch.arange(4, device=labels.device)) & 1
        present, takes_real, has_synthetic = flags.bool().split([2, 1, 1], dim=1)
        weight = labels[:, 2].int().view(torch.float32)
        batch, length, kept, consistency, yes, no, end = labels[0, 4:_HEADER].tolist()
        rows, positions, slots = labels[:, _HEADER:].view(-1, 3, 2, 4).unbind(1)
        return cls(
            Supervision(present, weight, takes_real[:, 0], has_synthetic[:, 0]),
            *(rows, positions, slots, batch, length, kept, bool(consistency), yes, no, end),
        )

    def places(self, shape: Sequence[int]) -> Tensor:
        """Which second index of logits of this shape, [batch, length or kept, V], each pair has: int64 [N, 2, 4].

        Raises:
            SynvitaError: logits of another batch or of other positions.
        """
        if len(shape) == 3 and shape[0] == self.batch and shape[1] in (self.kept, self.length):
            return self.slots if shape[1] == self.kept else self.positions
        raise SynvitaError(
            "the model's logits are not those of the batch as it was collated",
            found=list(shape),
            expected=f"[{self.batch}, {self.kept} or {self.length}, vocabulary]",
            fix="A batch must reach the model whole: no dispatch_batches or split_batches, no nn.DataParallel",
        )


def _ours(labels: Tensor | None) -> bool:
    if labels is None or labels.dtype != torch.int64 or labels.ndim != 2 or labels.shape[1] != COLUMNS:
        return False
    return bool(len(labels)) and bool((labels[:, 0] == _IGNORED).all() and (labels[:, 1] == _MARK).all())
