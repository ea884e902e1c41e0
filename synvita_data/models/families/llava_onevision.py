"""LLaVA-OneVision (arXiv:2408.03326): SigLIP on each frame, its patches pooled to half a side, a Qwen2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...captions.prompts import Prompt
from ...video.frames import Frames
from ...video.sampling import FramePolicy
from .family import Family, Features, PreparedVideo, channels_first, chosen_layers, written_video

if TYPE_CHECKING:
    from torch import Tensor


class LlavaOnevision(Family):
    """One run of `T × ceil(S / P / 2)² + 1` tokens: the pooled patches of T frames and one learned vector at the end.

    The released model has 196 tokens a frame. Time is nowhere but in the order of the frames.
    """

    model_type = "llava_onevision"
    model_class = "LlavaOnevisionForConditionalGeneration"
    end_token = "<|im_end|>"
    after_tower = ("multi_modal_projector", "image_newline")
    # As many as the released code takes from a video, first and last included.
    frames = FramePolicy(count=32, rule="linspace")

    def process(self, frames: Frames, prompt: Prompt) -> PreparedVideo:
        video = self.processor.video_processor(
            videos=[channels_first(frames)], do_sample_frames=False, return_tensors="pt"
        )
        inputs = {"pixel_values_videos": video["pixel_values_videos"]}
        return PreparedVideo(inputs, *written_video(self.processor, self.placeholder, video))

    def tower(self, video: PreparedVideo) -> Features:
        """`patches`: [T, patches a frame, tower's hidden size], before the projector."""
        config, pixels = self.model.config, video.inputs["pixel_values_videos"][0]
        patches = chosen_layers(self.backbone.vision_tower, pixels, config.vision_feature_layer)
        return {"patches": patches[:, 1:] if config.vision_feature_select_strategy == "default" else patches}

    def tokens(self, features: Sequence[Features]) -> Tensor:
        import torch

        tokens = []
        for each in features:
            pooled = self.backbone.apply_pooling(self.backbone.multi_modal_projector(each["patches"]))
            tokens += [pooled.flatten(0, 1), self.backbone.image_newline[None].to(pooled)]
        return torch.cat(tokens)
