"""Attention for packed branches: the prefix by itself with a causal kernel, the branches with a mask.

One dense mask over everything keeps kernels from skipping the upper triangle and costs S² of memory; split,
the mask has a row for each branch token only. Without `prefix_length` this is `sdpa`, so a model can keep it
for everything it does (gradient checkpointing computes again long after the forward has returned).
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.weak import WeakTensorKeyDictionary
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

SPLIT = "synvita_split"
# "flash" in the name has the Qwens' vision towers hand over all their windows in one call, as they do for that library;
# for any other name they loop over the windows in Python, some 3,600 calls for 16 frames of 448 px.
WINDOWS = "synvita_flash_windows"


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
        query: [B, H, S, D].
        key, value: [B, H or fewer, S, D].
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


class _Windows:
    """How a sequence falls into windows: known to the host once a forward, not once a layer."""

    def __init__(self, bounds: Tensor) -> None:
        edges = bounds.tolist()
        places: dict[int, list[int]] = {}
        for start, end in pairwise(edges):
            if end > start:
                places.setdefault(end - start, []).append(start)
        # Length of a window -> where windows of that length begin.
        self.groups = places
        self.order: Tensor | None = None
        if len(places) > 1:  # windows of one length are brought together
            rows = [start + n for length, starts in places.items() for start in starts for n in range(length)]
            self.order = torch.tensor(rows).to(bounds.device, non_blocking=True)
            self.back = torch.argsort(self.order)


_known_windows: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def window_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    cu_seq_lens_q: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention interface of transformers for a sequence of windows that see only themselves.

    Windows of one length are a batch of one kernel call; the result is that of a call for each window.

    Args:
        query, key, value: [1, H, S, D].
        cu_seq_lens_q: int [windows + 1], where windows begin, and S; None for one window.

    Returns:
        [1, S, H, D], None.
    """
    if cu_seq_lens_q is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, is_causal=False
        )
    windows = _known_windows.get(cu_seq_lens_q)
    if windows is None:
        windows = _known_windows[cu_seq_lens_q] = _Windows(cu_seq_lens_q)
    sides = [side[0] if windows.order is None else side[0, :, windows.order] for side in (query, key, value)]
    done, begin = [], 0
    for length, starts in windows.groups.items():
        end = begin + length * len(starts)
        # [H, n·w, D] -> [n, H, w, D]
        q, k, v = (side[:, begin:end].unflatten(1, (len(starts), length)).transpose(0, 1) for side in sides)
        found = scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scaling)
        done.append(found.transpose(1, 2).flatten(0, 1))
        begin = end
    output = torch.cat(done) if len(done) > 1 else done[0]
    if windows.order is not None:
        output = output[windows.back]
    return output[None], None


AttentionInterface.register(SPLIT, split_attention)
AttentionMaskInterface.register(SPLIT, sdpa_mask)
AttentionInterface.register(WINDOWS, window_attention)


def set_attention(model: Any, name: str) -> None:
    """Give the language model this attention; the vision tower keeps its own."""
    model.set_attn_implementation({"text_config": name})


def set_window_attention(tower: Any) -> None:
    """Give a vision tower whose layers see windows of their sequence `window_attention` for each of them."""
    # Not by `set_attn_implementation`, which would look for a library of that name.
    tower.config._attn_implementation = WINDOWS


def as_additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A bool mask as numbers to add: eager attention adds whatever mask it gets, true as 1."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)
