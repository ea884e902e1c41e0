"""The abstractor: 64 learned queries, and 64 more where there is time, read all of a video's tokens."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .attention import Float32LayerNorm, eager_attention_forward
from .configuration import MplugOwlVisualAbstractorConfig
from .pretrained import MplugOwlPreTrainedModel


class MplugOwlVisualAbstractorAttention(nn.Module):
    """Queries [B, Q, D] read keys [B, K, E]: [B, Q, D], heads side by side."""

    def __init__(self, config: MplugOwlVisualAbstractorConfig) -> None:
        super().__init__()
        self.config = config
        self.head_size = config.hidden_size // config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.encoder_hidden_size, config.hidden_size)
        self.value = nn.Linear(config.encoder_hidden_size, config.hidden_size)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        query, key, value = (
            layer(states).unflatten(-1, (-1, self.head_size)).transpose(1, 2)
            for layer, states in ((self.query, queries), (self.key, memory), (self.value, memory))
        )
        dropout = self.config.attention_probs_dropout_prob if self.training else 0.0
        # By its full name here: transformers reads this file's source to see that attention can be chosen.
        attend: Any = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        attended, _ = attend(
            self, query, key, value, None, scaling=query.shape[-1] ** -0.5, is_causal=False, dropout=dropout
        )
        return attended.flatten(2)


class MplugOwlVisualAbstractorMLP(nn.Module):
    """SwiGLU with a norm before its last layer."""

    def __init__(self, config: MplugOwlVisualAbstractorConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.mlp_width
        self.w1 = nn.Linear(width, inner)
        self.w2 = nn.Linear(inner, width)
        self.w3 = nn.Linear(width, inner)
        self.ffn_ln = Float32LayerNorm(inner, eps=config.layer_norm_eps)

    def forward(self, states: Tensor) -> Tensor:
        return self.w2(self.ffn_ln(nn.functional.silu(self.w1(states)) * self.w3(states)))


class MplugOwlVisualAbstractorOutput(nn.Module):
    """`out_proj`, `norm2` and the MLP, under the names of the released weights."""

    def __init__(self, config: MplugOwlVisualAbstractorConfig) -> None:
        super().__init__()
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm2 = Float32LayerNorm(config.hidden_size, eps=config.normalization_eps)
        self.mlp = MplugOwlVisualAbstractorMLP(config)

    def forward(self, queries: Tensor, attended: Tensor) -> Tensor:
        states = queries + self.out_proj(attended)
        return states + self.mlp(self.norm2(states))


class MplugOwlVisualAbstractorCrossAttention(nn.Module):
    """The queries read themselves and the memory; what is added up begins with the *normed* queries."""

    def __init__(self, config: MplugOwlVisualAbstractorConfig) -> None:
        super().__init__()
        self.attention = MplugOwlVisualAbstractorAttention(config)
        self.output = MplugOwlVisualAbstractorOutput(config)
        self.norm1 = Float32LayerNorm(config.hidden_size, eps=config.normalization_eps)
        self.normk = Float32LayerNorm(config.encoder_hidden_size, eps=config.normalization_eps)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        queries = self.norm1(queries)
        readable = torch.cat([queries, self.normk(memory)], dim=1)
        return self.output(queries, self.attention(queries, readable))


class MplugOwlVisualAbstractorLayer(GradientCheckpointingLayer):
    def __init__(self, config: MplugOwlVisualAbstractorConfig) -> None:
        super().__init__()
        self.crossattention = MplugOwlVisualAbstractorCrossAttention(config)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        return self.crossattention(queries, memory)


class MplugOwlVisualAbstractorEncoder(nn.Module):
    def __init__(self, config: MplugOwlVisualAbstractorConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            MplugOwlVisualAbstractorLayer(config) for _ in range(config.num_hidden_layers)
        )

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        for layer in self.layers:
            queries = layer(queries, memory)
        return queries


class MplugOwlVisualAbstractorModel(MplugOwlPreTrainedModel):
    """Queries [B, q, D] and a video's tokens [B, M, E] -> [B, n + 1, width of the language model].

    Args:
        language_width: hidden size of the language model.
    """

    config_class = MplugOwlVisualAbstractorConfig

    def __init__(self, config: MplugOwlVisualAbstractorConfig, language_width: int) -> None:
        super().__init__(config)
        self.encoder = MplugOwlVisualAbstractorEncoder(config)
        self.visual_fc = nn.Linear(config.hidden_size, language_width)
        self.temporal_visual_fc = nn.Linear(config.hidden_size, language_width)
        self.vit_eos = nn.Parameter(torch.empty(1, 1, language_width))
        self.post_init()

    def forward(
        self, query_tokens: Tensor, memory: Tensor, temporal_query_tokens: Tensor | None = None, **kwargs: Any
    ) -> Tensor:
        """
        Args:
            query_tokens: [1, n, D]. memory: [B, M, E]. temporal_query_tokens: [1, n, D], None without time.

        Returns:
            [B, n + 1, width]: each query's token, with that of its temporal query added, and `vit_eos`.
        """
        batch, count = len(memory), query_tokens.shape[1]
        both = [query_tokens] if temporal_query_tokens is None else [query_tokens, temporal_query_tokens]
        queries = torch.cat(both, dim=1).expand(batch, -1, -1).to(memory.dtype)
        states = self.encoder(queries, memory)
        tokens = self.visual_fc(states[:, :count])
        if temporal_query_tokens is not None:
            tokens = tokens + self.temporal_visual_fc(states[:, count:])
        return torch.cat([tokens, self.vit_eos.expand(batch, -1, -1).to(tokens.dtype)], dim=1)
