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


class Tally:
    """Sums over batches, on one device, without waiting for it."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._terms: Tensor | None = None
        self._scores: Tensor | None = None
        self._rows = [0] * len(ROWS)

    def add(
        self, triplets: Sequence[TrainingTriplet], parts: Terms, log_odds: Tensor, scored: Tensor
    ) -> None:
        """A batch.

        Args:
            parts: normalised terms, whose sum over the batches of an optimizer step (and all processes) is the step's.
            log_odds: [N, 2, 4]. scored: bool [N, 2, 4].
        """
        terms = torch.stack([parts.named()[name].detach().double() for name in _TERMS])
        scores = pair_sums(log_odds, scored)
        self._terms = terms if self._terms is None else self._terms + terms
        self._scores = scores if self._scores is None else self._scores + scores
        for place, has in enumerate(ROWS.values()):
            self._rows[place] += sum(map(has, triplets))

    def take(self, reduce: Callable[[Tensor], Tensor], steps: int, device: torch.device) -> dict[str, float]:
        """What was added on all processes since the last time; starts anew.

        Args:
            reduce: the sum over processes of a tensor on `device`. steps: optimizer steps since then.

        Returns:
            `loss/…`, each term's mean over the steps, without λ and nle_weight; `f/…`, the mean of each of the
            eight scores over the triplets that have it; `rows…`, counts.
        """
        mine = torch.cat(
            [
                torch.zeros(len(_TERMS)).double() if self._terms is None else self._terms.cpu(),
                torch.zeros(16).double() if self._scores is None else self._scores.flatten().cpu(),
                torch.tensor(self._rows).double(),
            ]
        )
        # fp32 on devices that have no fp64; the sums of a few hundred triplets lose nothing that logs show.
        total = (
            reduce(mine.to(device, torch.float32 if device.type == "mps" else torch.float64)).cpu().double()
        )
        self._clear()
        terms, scores, rows = total.split([len(_TERMS), 16, len(ROWS)])
        logs = {f"loss/{name}": float(value) / steps for name, value in zip(_TERMS, terms, strict=True)}
        logs |= mean_scores(scores.view(2, 2, 4))
        return logs | {name: int(value) for name, value in zip(ROWS, rows, strict=True)}
