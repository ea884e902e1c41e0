"""How weights are moved: matrices of hidden layers by Muon, all others by AdamW.

With AdamW alone the tower had not begun to tell shapes after 2,000 steps; Muon (torch's own, with the rate scaled to
AdamW's root mean square) does within hundreds.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

Named = Iterable[tuple[str, nn.Parameter]]


class Optimiser:
    """Muon and AdamW behind one step, with a norm to which gradients are cut.

    Args:
        groups: named weights with their share of both rates.
        rate: of AdamW.
        matrix_rate: of Muon.
    """

    def __init__(self, groups: Iterable[tuple[Named, float]], rate: float, matrix_rate: float) -> None:
        self._all: list[nn.Parameter] = []
        matrices: list[dict[str, Any]] = []
        others: list[dict[str, Any]] = []
        for named, share in groups:
            known = list(named)
            hidden = [own for name, own in known if _is_hidden_matrix(name, own)]
            rest = [own for name, own in known if not _is_hidden_matrix(name, own)]
            if hidden:
                matrices.append({"params": hidden, "highest": share * matrix_rate})
            if rest:
                others.append({"params": rest, "highest": share * rate})
            self._all += [*hidden, *rest]
        self._parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=matrix_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=rate, weight_decay=0.01, betas=(0.9, 0.98)),
        ]

    def step(self, loss: torch.Tensor, factor: float) -> None:
        """One step down the gradient of `loss`, at `factor` of the highest rates."""
        for part in self._parts:
            part.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._all, 1.0)
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = factor * group["highest"]
            part.step()


def _is_hidden_matrix(name: str, weights: nn.Parameter) -> bool:
    return weights.ndim == 2 and (".layers." in name or "multi_modal_projector" in name)
