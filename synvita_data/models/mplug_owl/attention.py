"""What the attention layers of tower and abstractor share."""

from typing import Any

import torch
from torch import Tensor, nn


class Float32LayerNorm(nn.LayerNorm):
    """LayerNorm that computes in fp32 and casts back, whatever the weights' dtype, also under autocast."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            normed = nn.functional.layer_norm(
                input.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps
            )
        return normed.to(input.dtype)


def eager_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Attention step by step, softmax in fp32: [B, H, Q, d], [B, H, K, d] -> [B, Q, H, d] and the weights."""
    weights = query @ key.transpose(-1, -2) * scaling
    if attention_mask is not None:
        weights = weights + attention_mask
    weights = nn.functional.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, dropout, module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights
