"""What the logs of training say beside the loss: its parts, mean scores, and what the triplets lacked."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .objective import Terms, mean_scores, pair_sums
from .triplet import TrainingTriplet

# Rows since the last line of logs, by what they have or lack.
ROWS: dict[str, Callable[[TrainingTriplet], bool]] = {
    "rows": lambda triplet: True,
    "rows/without_real": lambda triplet: triplet.real is None,
    "rows/without_synthetic": lambda triplet: triplet.synthetic is None and not triplet.zero_weight,
    "rows/zero_weight": lambda triplet: triplet.zero_weight,
    "rows/real_taken_elsewhere": lambda triplet: triplet.real is not None and not triplet.takes_real,
    "rows/with_explanation": lambda triplet: triplet.explanation is not None and triplet.real is not None,
}
_TERMS = ("real", "synthetic", "consistency", "explanation")
_SCORES = 2 * 2 * 4  # of `pair_sums`
_PENDING = 256  # batches that wait on the device before they are fetched


class Tally:
    """Sums over batches: each batch's on the device, without waiting for it, and their sum in fp64 on the CPU.

    Apple's GPUs have no fp64. So a batch's numbers stay as they are, some 20 of them, and come to the CPU together:
    once a line of logs, or every 256 batches where lines are further apart.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._pending: list[Tensor] = []
        self._sums = torch.zeros(len(_TERMS) + _SCORES, dtype=torch.float64)
        self._rows = [0] * len(ROWS)

    def add(
        self, triplets: Sequence[TrainingTriplet], parts: Terms, log_odds: Tensor, scored: Tensor
    ) -> None:
        """A batch.

        Args:
            parts: normalised terms, whose sum over the batches of an optimizer step (and all processes) is the step's.
            log_odds: [N, 2, 4].
            scored: bool [N, 2, 4].
        """
        self._pending.append(batch_sums(parts, log_odds, scored))
        if len(self._pending) == _PENDING:
            self._fetch()
        for place, has in enumerate(ROWS.values()):
            self._rows[place] += sum(map(has, triplets))

    def take(self, reduce: Callable[[Tensor], Tensor], steps: int) -> dict[str, float]:
        """What was added on all processes since the last time; starts anew.

        Args:
            reduce: the sum over processes of an fp64 tensor on the CPU.
            steps: optimizer steps since then.

        Returns:
            `loss/…`, each term's mean over the steps, without λ and nle_weight; `f/…`, the mean of each of the
            eight scores over the triplets that have it; `rows…`, counts.
        """
        self._fetch()
        total = reduce(torch.cat([self._sums, torch.tensor(self._rows, dtype=torch.float64)]))
        self._clear()
        terms, scores, rows = total.split([len(_TERMS), _SCORES, len(ROWS)])
        logs = {f"loss/{name}": float(value) / steps for name, value in zip(_TERMS, terms, strict=True)}
        logs |= mean_scores(scores.view(2, 2, 4))
        return logs | {name: int(value) for name, value in zip(ROWS, rows, strict=True)}

    def _fetch(self) -> None:
        if self._pending:
            self._sums += torch.stack(self._pending).cpu().double().sum(0)
            self._pending.clear()


def batch_sums(parts: Terms, log_odds: Tensor, scored: Tensor) -> Tensor:
    """The terms of a batch and its `pair_sums`, one behind the other: [4 + 16], on the batch's device."""
    terms = torch.stack([parts.named()[name].detach() for name in _TERMS])
    return torch.cat([terms, pair_sums(log_odds, scored).flatten().to(terms.device)])
