"""Video-LLaVA (arXiv:2311.10122): a CLIP-like tower on each frame, a Vicuna; `LanguageBind/Video-LLaVA-7B-hf`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from ...captions.prompts import Prompt
from ...video.frames import Frames
from ...video.preprocessing import languagebind
from ...video.sampling import FramePolicy
from .family import Family, Features, PreparedVideo, channels_first, chosen_layers

if TYPE_CHECKING:
    from torch import Tensor


class VideoLlava(Family):
    """Each frame is `(S/P)² + 1` tokens, the class token among them, and all frames one run of tokens."""

    model_type = "video_llava"
    model_class = "VideoLlavaForConditionalGeneration"
    default_prompt = "video-llava"
    frames = FramePolicy(count=8, rule="linspace")
    answers = (" Yes", " No")
    placeholder_spaces = ("processor", "original")
    preprocesses = ("processor", "languagebind")
    mirrored_inputs = ("pixel_values_videos",)
    after_tower = ("multi_modal_projector",)
    # entailment_inference.py: LanguageBind's transform with its mirroring, a LoRA merged in float16, then all in bfloat16.
    released: ClassVar[Mapping[str, str]] = {
        "prompt": "video-llava-eval",
        "placeholder_space": "original",
        "preprocess": "languagebind",
        "flips": "seed0",
        "readout": "released",
        "merge": "float16",
        "dtype": "bfloat16",
        "backend": "decord",
    }

    @property
    def released_vocabulary(self) -> int:
        """LLaMA's own tokens: transformers' form has rows for `<image>`, `<video>` and padding behind them."""
        return min(int(self.model.config.image_token_id), self.video_token_id)

    def process(self, frames: Frames, prompt: Prompt) -> PreparedVideo:
        if self.preprocess == "languagebind":
            pixels = languagebind(frames.pixels, self.frame_size)[None]
        else:
            inputs = self.processor.video_processor(videos=[channels_first(frames)], return_tensors="pt")
            pixels = inputs["pixel_values_videos"]
        count, _, height, width = pixels.shape[1:]
        patch = self.processor.patch_size
        frame = (height // patch) * (width // patch) + self.processor.num_additional_image_tokens
        if prompt.joiner is None:
            placeholder, runs = self.video_token, (count * frame,)
        else:  # the released code writes a placeholder for each frame
            placeholder, runs = prompt.joiner.join([self.video_token] * count), (frame,) * count
        return PreparedVideo({"pixel_values_videos": pixels}, placeholder, runs)

    def tower(self, video: PreparedVideo) -> Features:
        """`patches`: [T, tokens a frame, tower's hidden size], before the projector (a quarter of the bytes)."""
        return self.towers([video])[0]

    def towers(self, videos: Sequence[PreparedVideo]) -> list[Features]:
        """All frames of all videos as one batch."""
        import torch

        clips = [video.inputs["pixel_values_videos"][0] for video in videos]
        layers = self.model.config.vision_feature_layer
        patches = chosen_layers(self.backbone.video_tower, torch.cat(clips), layers)
        return [{"patches": own} for own in patches.split([len(clip) for clip in clips])]

    def tokens(self, features: Sequence[Features]) -> Tensor:
        import torch

        patches = torch.cat([each["patches"] for each in features])
        return cast("Tensor", self.backbone.multi_modal_projector(patches).flatten(0, 1))
