"""The network: transformers' Video-LLaVA with LanguageBind's video tower, which sees time.

Each layer of that tower first lets every token look at itself in the other frames, then is CLIP's usual layer on
each frame. transformers' own port leaves the first half out: its converter drops these weights.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModel, CLIPVisionModel, VideoLlavaForConditionalGeneration
from transformers import initialization as init
from transformers.models.clip.modeling_clip import CLIPAttention, CLIPEncoderLayer
from transformers.models.video_llava.modeling_video_llava import (
    VideoLlavaModel,
    VideoLlavaMultiModalProjector,
)

from .configuration import VideoLlavaOriginalConfig, VideoLlavaOriginalVideoConfig


class VideoLlavaOriginalVideoLayer(CLIPEncoderLayer):
    """Attention over time, then CLIP's layer: [groups · T, tokens, D] -> the same; frames of a clip lie side by side.

    What is added to a token for its place in time is added in every layer, the class token's too.
    """

    def __init__(self, config: VideoLlavaOriginalVideoConfig) -> None:
        super().__init__(config)
        self.frames = config.num_frames
        self.temporal_embedding = nn.Parameter(torch.empty(1, config.num_frames, config.hidden_size))
        self.temporal_attn = CLIPAttention(config)
        self.temporal_layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states: Tensor, attention_mask: Any = None, **kwargs: Any) -> Tensor:
        count, tokens, _ = hidden_states.shape
        if count % self.frames:
            raise ValueError(f"the video tower reads {self.frames} frames together, and there are {count}")
        # [groups · T, tokens, D] -> [groups · tokens, T, D]
        states = hidden_states.unflatten(0, (-1, self.frames)).transpose(1, 2).flatten(0, 1)
        if self.frames > 1:
            states = states + self.temporal_embedding.to(states.dtype)
        states = states + self.temporal_attn(self.temporal_layer_norm1(states))[0]
        hidden_states = states.unflatten(0, (-1, tokens)).transpose(1, 2).flatten(0, 1)
        return super().forward(hidden_states, attention_mask, **kwargs)


class VideoLlavaOriginalVideoTower(CLIPVisionModel):
    """CLIP's vision model with layers that see time: pixels [groups · T, 3, H, W], the frames of a clip in order."""

    config_class: Any = VideoLlavaOriginalVideoConfig
    _no_split_modules = ["VideoLlavaOriginalVideoLayer", "CLIPVisionEmbeddings"]  # noqa: RUF012
    _can_record_outputs = {"hidden_states": VideoLlavaOriginalVideoLayer}  # noqa: RUF012

    def __init__(self, config: VideoLlavaOriginalVideoConfig) -> None:
        super().__init__(config)
        if config.add_time_attn:
            layers = (VideoLlavaOriginalVideoLayer(config) for _ in range(config.num_hidden_layers))
            self.encoder.layers = nn.ModuleList(layers)
        self.post_init()

    def _init_weights(self, module: Any) -> None:
        super()._init_weights(module)
        if isinstance(module, VideoLlavaOriginalVideoLayer):
            width = module.temporal_embedding.shape[-1]
            init.normal_(module.temporal_embedding, mean=0.0, std=width**-0.5)


class VideoLlavaOriginalModel(VideoLlavaModel):
    """The backbone without its head; pixels of videos are [B, T, 3, H, W]."""

    config_class: Any = VideoLlavaOriginalConfig

    def __init__(self, config: VideoLlavaOriginalConfig) -> None:
        # Not VideoLlavaModel's own constructor: its video tower would be built, and thrown away.
        super(VideoLlavaModel, self).__init__(config)
        self.video_tower = VideoLlavaOriginalVideoTower._from_config(config.video_config)
        self.image_tower = CLIPVisionModel._from_config(config.vision_config)
        self.multi_modal_projector = VideoLlavaMultiModalProjector(cast(Any, config))
        self.vocab_size = config.text_config.vocab_size
        self.language_model = AutoModel.from_config(config.text_config)
        self.post_init()


class VideoLlavaOriginalForConditionalGeneration(VideoLlavaForConditionalGeneration):
    """The original Video-LLaVA (arXiv:2311.10122; `LanguageBind/Video-LLaVA-7B`), converted by `synvita convert`.

    As transformers' class of Video-LLaVA, whose forward it has, but for the video tower.
    """

    config_class: Any = VideoLlavaOriginalConfig
    # Fixed by the architecture; old checkpoints hold them.
    _keys_to_ignore_on_load_unexpected = [r"rotary_emb\.inv_freq$", r"position_ids$"]  # noqa: RUF012

    def __init__(self, config: VideoLlavaOriginalConfig) -> None:
        super(VideoLlavaForConditionalGeneration, self).__init__(config)
        self.model = VideoLlavaOriginalModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()
