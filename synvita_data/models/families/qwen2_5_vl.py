"""Qwen2.5-VL (arXiv:2502.13923): frames in pairs at their own resolution; rotary positions of time, height, width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ...captions.prompts import Prompt
from ...video.frames import Frames, is_even
from ...video.sampling import FramePolicy
from .family import Family, Features, PreparedVideo, channels_first, like_weights, written_video

if TYPE_CHECKING:
    from torch import Tensor

_STOCK_FPS = 24.0  # what the stock processor takes where nothing is known


class Qwen2_5VL(Family):
    """One run of `t × (h / merge) × (w / merge)` tokens for a grid (t, h, w) of patches, t of two frames each.

    Time is in positions: consecutive pairs of frames stand `tokens_per_second × seconds between them` apart.
    The seconds are those between looking at the chosen frames (`Frames.look_times`), so frames from a policy of
    few frames for the whole video are as far apart as they were shot, and a picture that stays on show for
    seconds lasts as long.
    """

    model_type = "qwen2_5_vl"
    model_class = "Qwen2_5_VLForConditionalGeneration"
    end_token = "<|im_end|>"
    frames = FramePolicy(fps=2.0)  # the default of the released code
    reads_times: ClassVar[str | None] = "timestamps"
    cache_inputs: ClassVar[tuple[str, ...]] = ("video_grid_thw", "second_per_grid_ts")

    @property
    def placeholder(self) -> str:
        return f"<|vision_start|>{self.video_token}<|vision_end|>"

    @property
    def windowed_tower(self) -> Any:
        return self.backbone.visual

    def process(self, frames: Frames, prompt: Prompt) -> PreparedVideo:
        import torch

        video = self.video_inputs(frames)
        temporal_patch = self.processor.video_processor.temporal_patch_size
        inputs = {
            "pixel_values_videos": video["pixel_values_videos"],
            "video_grid_thw": video["video_grid_thw"],
            "second_per_grid_ts": torch.tensor([temporal_patch / sampled_fps(frames)], dtype=torch.float32),
        }
        return PreparedVideo(inputs, *written_video(self.processor, self.placeholder, video))

    def video_inputs(self, frames: Frames) -> Any:
        """What the video processor makes of these frames, all of them.

        The stock processor takes index / fps for the time of a frame. Where a frame is looked at at another time
        (uneven timestamps, a picture that stays on show), an index with a fraction gives that time.
        """
        pixels = channels_first(frames)
        indices, times = list(frames.indices), list(frames.look_times)
        if len(indices) == 1:  # a lone frame is doubled, as the processor does with the last of an odd number
            pixels, indices, times = pixels.expand(2, -1, -1, -1), indices * 2, times * 2
        fps = frames.fps or _STOCK_FPS
        metadata = {
            "fps": fps,
            "total_num_frames": max(indices) + 1,
            "frames_indices": indices if is_even(indices, times, fps) else [time * fps for time in times],
        }
        return self.processor.video_processor(
            videos=[pixels],
            video_metadata=[metadata],
            do_sample_frames=False,
            return_metadata=True,
            return_tensors="pt",
        )

    def tower(self, video: PreparedVideo) -> Features:
        """`tokens`: [video tokens, language model's hidden size]; the tower ends with its own projector."""
        return {"tokens": self.vision(video).pooler_output}

    def vision(self, video: PreparedVideo) -> Any:
        """The vision tower's own output for one video."""
        tower = self.backbone.visual
        pixels = like_weights(tower, video.inputs["pixel_values_videos"])
        return tower(pixels, grid_thw=video.inputs["video_grid_thw"].to(pixels.device), return_dict=True)

    def tokens(self, features: Sequence[Features]) -> Tensor:
        import torch

        return torch.cat([each["tokens"] for each in features])

    def positions(self, ids: Tensor, video: PreparedVideo) -> Tensor:
        """[3, n]: time, height and width; behind the video all three count up by one from the largest of them.

        Always passed to the model, which would otherwise go by the `rope_deltas` of its last generation.
        """
        import torch

        positions, _ = self.backbone.get_rope_index(
            ids[None],
            mm_token_type_ids=2 * (ids[None] == self.video_token_id).int(),  # 0 text, 1 image, 2 video
            **{name: value for name, value in video.inputs.items() if name in self.cache_inputs},
        )
        return torch.as_tensor(positions[:, 0])


def sampled_fps(frames: Frames) -> float:
    """Frames a second of the chosen frames (not of the file), from looking at the first to looking at the last."""
    seconds = frames.look_times[-1] - frames.look_times[0]
    if seconds > 0:
        return (len(frames.look_times) - 1) / seconds
    return frames.fps or _STOCK_FPS
