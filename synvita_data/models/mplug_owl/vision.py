"""The vision tower: a ViT on each frame whose layers first mix every patch with its place in the frames beside.

There are no positions in time: the order of frames enters through that mixing alone. It leaves the class
token as it is, and since its *output* is added to its input, every layer doubles the class token. The
released weights were trained so.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .attention import Float32LayerNorm, eager_attention_forward
from .configuration import MplugOwlVisionConfig
from .pretrained import MplugOwlPreTrainedModel


class MplugOwlVisionEmbeddings(nn.Module):
    """Pixels [n, 3, H, W] -> [n, 1 + patches, D]: the class token, then the patches row by row."""

    def __init__(self, config: MplugOwlVisionConfig) -> None:
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.position_embedding = nn.Parameter(torch.empty(1, config.tokens_per_frame, width))
        self.patch_embed = nn.Conv2d(config.num_channels, width, patch, stride=patch, bias=False)
        self.pre_layernorm = Float32LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch_embed(pixels.to(self.patch_embed.weight.dtype)).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        return self.pre_layernorm(tokens + self.position_embedding)


class PointwiseConv3d(nn.Conv3d):
    """A 1×1×1 convolution as what it is, a linear layer over the last dimension."""

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(input, self.weight.flatten(1), self.bias)


class DepthwiseTemporalConv3d(nn.Conv3d):
    """A depthwise convolution over three frames, zeros beyond both ends: [B, T, N, C] -> the same.

    A shifted sum in fp32. (The original computes it in fp16 when the model is bf16.)
    """

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            before, here, after = self.weight.float().flatten(1).unbind(1)
            frames = nn.functional.pad(input.float(), (0, 0, 0, 0, 1, 1))
            mixed = frames[:, :-2] * before + frames[:, 1:-1] * here + frames[:, 2:] * after
            assert self.bias is not None
            return (mixed + self.bias.float()).to(input.dtype)


class MplugOwlVisionTemporal(nn.Module):
    """Mixes each patch with itself in the frames before and after; the class token comes back unchanged.

    [B, T, 1 + patches, D] -> the same.
    """

    def __init__(self, config: MplugOwlVisionConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.hidden_size // 2
        self.ln = Float32LayerNorm(width, eps=config.temporal_layer_norm_eps)
        self.down_proj = PointwiseConv3d(width, inner, 1)
        self.conv = DepthwiseTemporalConv3d(inner, inner, (3, 1, 1), padding=(1, 0, 0), groups=inner)
        self.up_proj = PointwiseConv3d(inner, width, 1)
        self.activation = ACT2FN["quick_gelu"]

    def forward(self, states: Tensor) -> Tensor:
        mixed = self.conv(self.down_proj(self.ln(states[:, :, 1:])))
        return torch.cat([states[:, :, :1], self.up_proj(self.activation(mixed))], dim=2)


class MplugOwlVisionAttention(nn.Module):
    """Attention within one frame: [n, N, D] -> the same. Rows of `query_key_value` go head by head."""

    def __init__(self, config: MplugOwlVisionConfig) -> None:
        super().__init__()
        self.config = config
        self.heads = config.num_attention_heads
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, states: Tensor) -> Tensor:
        packed = self.query_key_value(states).unflatten(-1, (self.heads, 3, -1))
        query, key, value = packed.permute(3, 0, 2, 1, 4)
        dropout = self.config.attention_dropout if self.training else 0.0
        # By its full name here: transformers reads this file's source to see that attention can be chosen.
        attend: Any = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        attended, _ = attend(
            self, query, key, value, None, scaling=query.shape[-1] ** -0.5, is_causal=False, dropout=dropout
        )
        return self.dense(attended.flatten(2))


class MplugOwlVisionMLP(nn.Module):
    def __init__(self, config: MplugOwlVisionConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, states: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(states)))


class MplugOwlVisionEncoderLayer(GradientCheckpointingLayer):
    """[B, T, N, D] -> the same: the temporal step where there is more than one frame, then a pre-norm layer."""

    def __init__(self, config: MplugOwlVisionConfig) -> None:
        super().__init__()
        self.temporal = MplugOwlVisionTemporal(config)
        self.self_attn = MplugOwlVisionAttention(config)
        self.mlp = MplugOwlVisionMLP(config)
        self.input_layernorm = Float32LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_attention_layernorm = Float32LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, states: Tensor) -> Tensor:
        batch, frames = states.shape[:2]
        if frames > 1:
            states = states + self.temporal(states)
        states = states.flatten(0, 1)
        states = states + self.self_attn(self.input_layernorm(states))
        states = states + self.mlp(self.post_attention_layernorm(states))
        return states.unflatten(0, (batch, frames))


class MplugOwlVisionEncoder(nn.Module):
    def __init__(self, config: MplugOwlVisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            MplugOwlVisionEncoderLayer(config) for _ in range(config.num_hidden_layers)
        )

    def forward(self, states: Tensor) -> Tensor:
        for layer in self.layers:
            states = layer(states)
        return states


class MplugOwlVisionModel(MplugOwlPreTrainedModel):
    """Frames [B, 3, T, H, W] -> [B, T, 1 + patches, D], the class token of each frame first."""

    config_class = MplugOwlVisionConfig
    main_input_name = "pixel_values"

    def __init__(self, config: MplugOwlVisionConfig) -> None:
        super().__init__(config)
        self.embeddings = MplugOwlVisionEmbeddings(config)
        self.encoder = MplugOwlVisionEncoder(config)
        self.post_layernorm = Float32LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    def forward(self, pixel_values: Tensor, **kwargs: Any) -> Tensor:
        side = self.config.image_size
        if pixel_values.ndim != 5 or pixel_values.shape[-2:] != (side, side):
            raise ValueError(
                f"video pixels must be [B, 3, T, {side}, {side}], not {list(pixel_values.shape)}"
            )
        batch, _, frames = pixel_values.shape[:3]
        tokens = self.embeddings(pixel_values.transpose(1, 2).flatten(0, 1))
        return self.post_layernorm(self.encoder(tokens.unflatten(0, (batch, frames))))
