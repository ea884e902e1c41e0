"""LaVie's UNet: Stable Diffusion's, with attention over time in every transformer block.

The released model (Wang et al., 2023, "LaVie: High-Quality Video Generation with Cascaded Latent Diffusion
Models") keeps Stable Diffusion 1.4's layers and their names, and differs in three things, all here:

- each transformer block attends over the frames of one place, after its two spatial attentions, with rotary
  positions on the first 32 channels of a head and a learned bias by distance (T5's buckets);
- group norms of the residual blocks, and the last one, take their statistics over all frames of a video;
- convolutions and the other norms see one frame at a time.

So it is diffusers' `UNet2DConditionModel` with those parts exchanged; its state dict has the released names.
"""

import math
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import Tensor, nn
from torch.nn import functional

_Stock: Any = UNet2DConditionModel  # diffusers' lazy imports look empty to a type checker

ROTARY_CHANNELS = 32
BUCKETS = 32
FARTHEST = 32  # distances from here on share a bucket


class VideoGroupNorm(nn.GroupNorm):
    """Group norm whose statistics span the frames of a video; [B·F, C, H, W] in and out."""

    frames = 1

    def forward(self, input: Tensor) -> Tensor:
        """See the class."""
        videos = input.unflatten(0, (-1, self.frames)).transpose(1, 2)  # [B, C, F, H, W]
        return super().forward(videos).transpose(1, 2).flatten(0, 1)


class DistanceBias(nn.Module):
    """What attention over time adds for each head and distance: fp [heads, F, F]."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.relative_attention_bias = nn.Embedding(BUCKETS, heads)

    def forward(self, frames: int) -> Tensor:
        """The bias of `frames` queries on as many keys."""
        place = torch.arange(frames, device=self.relative_attention_bias.weight.device)
        bias: Tensor = self.relative_attention_bias(distance_bucket(place[None, :] - place[:, None]))
        return bias.permute(2, 0, 1)


def distance_bucket(ahead: Tensor) -> Tensor:
    """T5's bidirectional bucket of a distance (key minus query): eight exact ones a side, then logarithmic."""
    side = BUCKETS // 2
    exact = side // 2
    away = ahead.abs()
    logarithmic = exact + (
        torch.log(away.clamp(min=1).float() / exact) / math.log(FARTHEST / exact) * (side - exact)
    ).to(torch.long)
    bucket = torch.where(away < exact, away, logarithmic.clamp(max=side - 1))
    return bucket + (ahead > 0).to(torch.long) * side


def rotate_pairs(heads: Tensor) -> Tensor:
    """Rotary positions on the first 32 channels, neighbouring channels paired; [..., F, head_dim]."""
    count = min(ROTARY_CHANNELS, heads.shape[-1])
    turning, still = heads[..., :count].float(), heads[..., count:]
    speed = 10000.0 ** (-torch.arange(0, count, 2, device=heads.device).float() / count)
    angle = torch.arange(heads.shape[-2], device=heads.device).float()[:, None] * speed
    even, odd = turning[..., 0::2], turning[..., 1::2]
    turned = torch.stack(
        (even * angle.cos() - odd * angle.sin(), odd * angle.cos() + even * angle.sin()), dim=-1
    )
    return torch.cat((turned.flatten(-2).to(heads.dtype), still), dim=-1)


class TimeAttention(nn.Module):
    """Self-attention over the frames of one place; [B·H·W, F, C] in and out."""

    def __init__(self, channels: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(channels, inner, bias=False)
        self.to_k = nn.Linear(channels, inner, bias=False)
        self.to_v = nn.Linear(channels, inner, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(inner, channels), nn.Identity()])
        self.time_rel_pos_bias = DistanceBias(heads)

    def forward(self, hidden: Tensor) -> Tensor:
        """See the class."""

        def split(projected: Tensor) -> Tensor:
            return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        # Queries are scaled before they are turned, as released; turning is linear, so that is the same.
        query, key = rotate_pairs(split(self.to_q(hidden))), rotate_pairs(split(self.to_k(hidden)))
        bias = self.time_rel_pos_bias(hidden.shape[1]).to(query.dtype)
        mixed = functional.scaled_dot_product_attention(
            query, key, split(self.to_v(hidden)), attn_mask=bias[None]
        )
        output: Tensor = self.to_out[0](mixed.transpose(1, 2).flatten(2))
        return output


class TimeTransformerBlock(BasicTransformerBlock):
    """Stable Diffusion's block with `TimeAttention` between cross-attention and feed-forward."""

    frames = 1
    attn_temp: TimeAttention
    norm_temp: nn.LayerNorm

    def forward(self, hidden_states: Tensor, *_: Any, **known: Any) -> Tensor:
        """[B·F, H·W, C] in and out; of `known`, `encoder_hidden_states` is used."""
        hidden = hidden_states
        hidden = hidden + self.attn1(self.norm1(hidden))
        hidden = hidden + self.attn2(
            self.norm2(hidden), encoder_hidden_states=known.get("encoder_hidden_states")
        )
        places = hidden.unflatten(0, (-1, self.frames)).transpose(1, 2)  # [B, H·W, F, C]
        shape = places.shape
        over_time = places.flatten(0, 1)
        over_time = over_time + self.attn_temp(self.norm_temp(over_time))
        hidden = over_time.view(shape).transpose(1, 2).flatten(0, 1)
        return hidden + self.ff(self.norm3(hidden))


class LaVieUNet(_Stock):
    """`UNet2DConditionModel` on videos: takes and gives [B, C, F, H, W]. See the module."""

    def __init__(self, *args: Any, **known: Any) -> None:
        super().__init__(*args, **known)
        for module in list(self.modules()):
            if isinstance(module, BasicTransformerBlock):
                _add_time(module)
            elif isinstance(module, ResnetBlock2D):
                module.norm1.__class__ = VideoGroupNorm
                module.norm2.__class__ = VideoGroupNorm
        self.conv_norm_out.__class__ = VideoGroupNorm

    def forward(
        self,
        sample: Tensor,
        timestep: Any,
        encoder_hidden_states: Tensor,
        return_dict: bool = True,
        **_: Any,
    ) -> Any:
        """As `UNet3DConditionModel.forward`, for text of one length.

        Args:
            sample: [B, C, F, H, W].
            timestep: a number, or [B].
            encoder_hidden_states: [B, text, channels].
            return_dict: False gives a tuple.
        """
        batch, _channels, frames = sample.shape[:3]
        for module in self.modules():
            if isinstance(module, (VideoGroupNorm, TimeTransformerBlock)):
                module.frames = frames
        steps = torch.as_tensor(timestep, device=sample.device).expand(batch)
        output = super().forward(
            sample.transpose(1, 2).flatten(0, 1),
            steps.repeat_interleave(frames),
            encoder_hidden_states.repeat_interleave(frames, dim=0),
            return_dict=False,
        )[0]
        video = output.unflatten(0, (batch, frames)).transpose(1, 2)
        return UNet2DConditionOutput(sample=video) if return_dict else (video,)


# `from_config` reads which settings there are off the constructor's signature.
vars(LaVieUNet)["__init__"].__wrapped__ = _Stock.__init__


def _add_time(block: BasicTransformerBlock) -> None:
    spatial = block.attn1
    channels = spatial.to_q.in_features
    block.__class__ = TimeTransformerBlock
    block.attn_temp = TimeAttention(channels, spatial.heads, spatial.to_q.out_features)
    block.norm_temp = nn.LayerNorm(channels)
