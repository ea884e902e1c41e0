"""Qwen3-VL (arXiv:2511.21631): time as text before each pair of frames; early vision layers join the language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...captions.prompts import Prompt
from ...video.frames import Frames
from .family import Features, PreparedVideo, written_video
from .qwen2_5_vl import Qwen2_5VL

if TYPE_CHECKING:
    from torch import Tensor


class Qwen3VL(Qwen2_5VL):
    """A run of `(h / merge) × (w / merge)` tokens for each pair of frames, after its time in the file: `<1.2 seconds>`.

    Times are the stock processor's: the mean of a pair's frame indices divided by the file's frame rate, where
    that is when they are looked at (`Frames.look_times`), and the mean of the latter elsewhere. The order of the
    marks around them is the processor's too; it has changed between releases of transformers (5.23 writes
    `<|vision_start|>` before the first time and again before each run).
    """

    model_type = "qwen3_vl"
    model_class = "Qwen3VLForConditionalGeneration"
    reads_times = "indices"
    cache_inputs = ("video_grid_thw",)

    def process(self, frames: Frames, prompt: Prompt) -> PreparedVideo:
        video = self.video_inputs(frames)
        inputs = {name: video[name] for name in ("pixel_values_videos", "video_grid_thw")}
        return PreparedVideo(inputs, *written_video(self.processor, self.placeholder, video))

    def tower(self, video: PreparedVideo) -> Features:
        """`tokens`: [video tokens, D]; `deepstack`: [layers, video tokens, D], what the first decoder layers
        add at the video's tokens; D is the language model's hidden size."""
        import torch

        output = self.vision(video)
        return {"tokens": output.pooler_output, "deepstack": torch.stack(output.deepstack_features)}

    def beside_tokens(self, features: Sequence[Features], at_video: Tensor) -> dict[str, Any]:
        import torch

        deepstack = torch.cat([each["deepstack"] for each in features], dim=1)
        return {"visual_pos_masks": at_video, "deepstack_visual_embeds": list(deepstack)}
