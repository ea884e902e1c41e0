"""Attention for packed branches: the prefix by itself with a causal kernel, the branches with a mask.

One dense mask over everything keeps kernels from skipping the upper triangle and costs S² of memory; split,
the mask has a row for each branch token only. Without `prefix_length` this is `sdpa`, so a model can keep it
for everything it does (gradient checkpointing computes again long after the forward has returned).
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

SPLIT = "synvita_split"


def split_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    prefix_length: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention interface of transformers.

    Args:
        query: [B, H, S, D]. key, value: [B, H or fewer, S, D].
        attention_mask: bool [B, 1, S - prefix_length, S], rows of the branches; as for `sdpa` without
            `prefix_length`.
        prefix_length: how many tokens at the start attend causally and to nothing else.

    Returns:
        [B, S, H, D], None.
    """
    if prefix_length is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    groups = query.shape[1] // key.shape[1]
    prefix = scaled_dot_product_attention(
        query[:, :, :prefix_length],
        key[:, :, :prefix_length],
        value[:, :, :prefix_length],
        is_causal=True,
        dropout_p=dropout,
        scale=scaling,
        enable_gqa=groups > 1,
    )
    if groups > 1:  # with a mask, kernels want as many keys as queries
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    branches = scaled_dot_product_attention(
        query[:, :, prefix_length:], key, value, attn_mask=attention_mask, dropout_p=dropout, scale=scaling
    )
    return torch.cat([prefix, branches], dim=2).transpose(1, 2).contiguous(), None


AttentionInterface.register(SPLIT, split_attention)
AttentionMaskInterface.register(SPLIT, sdpa_mask)


def set_attention(model: Any, name: str) -> None:
    """Give the language model this attention; the vision tower keeps its own."""
    model.set_attn_implementation({"text_config": name})


def as_additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A bool mask as numbers to add: eager attention adds whatever mask it gets, true as 1."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)
