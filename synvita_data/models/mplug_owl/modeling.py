"""The network: a vision tower, an abstractor, and transformers' LLaMA, under the names of the released weights.

The tower is a ViT on each frame whose layers first mix every patch with its place in the frames beside. There are no
positions in time: the order of frames enters through that mixing alone. It leaves the class token as it is, and since
its *output* is added to its input, every layer doubles the class token. The released weights were trained so.

In the abstractor 64 learned queries, and 64 more where there is time, read all of a video's tokens.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM, PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.clip.modeling_clip import CLIPMLP, eager_attention_forward

from .configuration import MplugOwlConfig, MplugOwlVisionConfig, MplugOwlVisualAbstractorConfig


class Float32LayerNorm(nn.LayerNorm):
    """LayerNorm that computes in fp32 and casts back, whatever the weights' dtype, also under autocast."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            normed = nn.functional.layer_norm(
                input.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps
            )
        return normed.to(input.dtype)


def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
    """[B, H, Q, d], [B, H, K, d] twice -> [B, Q, H · d], by the attention that the module's config names."""
    # By its full name here: transformers reads this file's source to see that attention can be chosen.
    interface: Any = ALL_ATTENTION_FUNCTIONS.get_interface(
        module.config._attn_implementation, eager_attention_forward
    )
    attended, _ = interface(
        module, query, key, value, None, scaling=query.shape[-1] ** -0.5, is_causal=False, dropout=dropout
    )
    return attended.flatten(2)


class MplugOwlPreTrainedModel(PreTrainedModel):
    """What the models support, and how new weights begin."""

    config_class: Any = MplugOwlConfig
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules = [  # noqa: RUF012  (as transformers declares it)
        "MplugOwlVisionEncoderLayer",
        "MplugOwlVisualAbstractorLayer",
        "LlamaDecoderLayer",
    ]
    # LLaMA's rotary frequencies are computed again, in fp32; old checkpoints hold them rounded to bf16.
    _keys_to_ignore_on_load_unexpected = [r"rotary_emb\.inv_freq$"]  # noqa: RUF012

    def _init_weights(self, module: Any) -> None:
        super()._init_weights(module)
        std = getattr(self.config, "initializer_range", 0.02)
        # Learned vectors that belong to no layer: query and class tokens, positions, `vit_eos`.
        for parameter in module._parameters.values():
            if type(module).__module__.startswith(__package__) and not isinstance(
                module, nn.LayerNorm | nn.Conv3d
            ):
                init.normal_(parameter, mean=0.0, std=std)


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
        return self.dense(attend(self, query, key, value, dropout))


class MplugOwlVisionEncoderLayer(GradientCheckpointingLayer):
    """[B, T, N, D] -> the same: the temporal step where there is more than one frame, then a pre-norm layer."""

    def __init__(self, config: MplugOwlVisionConfig) -> None:
        super().__init__()
        self.temporal = MplugOwlVisionTemporal(config)
        self.self_attn = MplugOwlVisionAttention(config)
        self.mlp = CLIPMLP(config)
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
        return attend(self, query, key, value, dropout)


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
            query_tokens: [1, n, D].
            memory: [B, M, E].
            temporal_query_tokens: [1, n, D], None without time.

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


class MplugOwlForConditionalGeneration(MplugOwlPreTrainedModel):
    """mPLUG-Owl with its video tower (arXiv:2304.14178; `MAGAer13/mplug-owl-llama-7b-video`).

    A video is `config.tokens_per_video` consecutive ids `config.video_token_id` in a sequence, one video a
    sequence. Images alone, the other use of the original, are videos of one frame here.
    """

    def __init__(self, config: MplugOwlConfig) -> None:
        super().__init__(config)
        width = config.visual_abstractor_config.hidden_size
        self.query_tokens = nn.Parameter(torch.empty(1, config.num_query_tokens, width))
        self.temporal_query_tokens = nn.Parameter(torch.empty(1, config.num_query_tokens, width))
        self.vision_model = MplugOwlVisionModel(config.vision_config)
        self.language_model = LlamaForCausalLM(config.text_config)
        self.abstractor = MplugOwlVisualAbstractorModel(
            config.visual_abstractor_config, config.text_config.hidden_size
        )
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.language_model.set_output_embeddings(new_embeddings)

    def get_video_tokens(self, video_features: Tensor) -> Tensor:
        """What stands at a video's ids: the tower's [B, T, N, D] -> [B, tokens_per_video, width].

        With one frame there is no time, and the temporal queries stay out of it.
        """
        temporal = self.temporal_query_tokens if video_features.shape[1] > 1 else None
        return self.abstractor(self.query_tokens, video_features.flatten(1, 2), temporal)

    def embed(
        self,
        input_ids: Tensor,
        video_pixel_values: Tensor | None = None,
        video_features: Tensor | None = None,
    ) -> Tensor:
        """Ids [B, S] -> [B, S, width], with each row's video at its ids.

        Raises:
            ValueError: ids of media without a video, or not `tokens_per_video` of them in every row.
        """
        if video_pixel_values is not None:
            if video_features is not None:
                raise ValueError("a video is either pixels or features of the tower, not both")
            video_features = self.vision_model(video_pixel_values)
        embedded = self.get_input_embeddings()(input_ids.clamp(min=0))
        media = input_ids < 0
        if video_features is None:
            if media.any():
                raise ValueError(
                    "there are video tokens in input_ids, and neither pixels nor features of a video"
                )
            return embedded
        tokens = self.get_video_tokens(video_features)
        if len(tokens) != len(media) or (media.sum(1) != tokens.shape[1]).any():
            raise ValueError(
                f"every row needs {tokens.shape[1]} video tokens and one video; "
                f"found {media.sum(1).tolist()} in the rows and {len(tokens)} videos"
            )
        tokens = tokens.to(embedded.device, embedded.dtype)
        return embedded.masked_scatter(media[..., None].to(embedded.device), tokens)

    def without_head(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        video_pixel_values: Tensor | None = None,
        video_features: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """`forward` up to the last hidden states."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        if input_ids is not None:
            inputs_embeds = self.embed(input_ids, video_pixel_values, video_features)
            if attention_mask is not None and attention_mask.ndim == 2:
                # The video is always seen, as in the original. With a cache the mask is longer than the ids.
                own = attention_mask[:, -input_ids.shape[1] :]
                seen = own.masked_fill(input_ids.to(own.device) < 0, 1)
                attention_mask = torch.cat([attention_mask[:, : -input_ids.shape[1]], seen], dim=1)
        elif video_pixel_values is not None or video_features is not None:
            raise ValueError("inputs_embeds hold their video already")
        return self.language_model.model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **kwargs,
        )

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        video_pixel_values: Tensor | None = None,
        video_features: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """
        Args:
            input_ids: int64 [B, S]; media ids are negative. The whole sequence, not shifted.
            attention_mask: [B, S], 0 hides a key; ones where None, and at the video whatever it says. Slots
                and positions of hidden tokens stay. Or a mask of four dimensions, taken as it is.
            video_pixel_values: [B, 3, T, H, W].
            video_features: instead, the tower's output [B, T, N, D].
            labels: int64 [B, S], −100 where there is no loss; the token *at* a place, not the next one.
            logits_to_keep: how many of the last positions get logits, or which; 0 for all.

        Returns:
            logits [B, S or fewer, V]; loss: mean cross-entropy of the labels.

        Raises:
            ValueError: ids and videos do not fit.
        """
        output = self.without_head(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            video_pixel_values=video_pixel_values,
            video_features=video_features,
            use_cache=use_cache,
            **{name: value for name, value in kwargs.items() if name != "num_items_in_batch"},
        )
        states = output.last_hidden_state
        assert states is not None
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.language_model.lm_head(states[:, kept])
        loss = None
        if labels is not None:
            total = {name: value for name, value in kwargs.items() if name == "num_items_in_batch"}
            loss = self.loss_function(logits, labels, vocab_size=self.config.text_config.vocab_size, **total)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
