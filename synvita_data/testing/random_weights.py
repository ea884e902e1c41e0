"""Random weights that make a tiny model's outputs depend on all its inputs."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from .sizes import Sizes

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin


def construct(
    build: Callable[[Sizes], tuple[Any, Any]], sizes: Sizes, seed: int
) -> tuple["PreTrainedModel", "ProcessorMixin"]:
    """What `build(sizes)` gives, with weights that follow from `seed`, in fp32 and evaluation mode.

    The usual initialisation (standard deviation 0.02) keeps a tiny model so close to linear that a leak
    from one text to another, or a wrong position, moves a logit by less than rounding does. So matrices are
    drawn with the standard deviation fan_in ** -0.5, which keeps activations near 1; biases and norms stay
    as the constructor leaves them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, processor = build(sizes)
        with torch.no_grad():
            for _, weights in sorted(model.named_parameters()):
                if weights.ndim >= 2:
                    weights.normal_(std=(weights.numel() / len(weights)) ** -0.5)
    return model.eval(), processor
