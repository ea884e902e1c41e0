"""CLIP-FlanT5 (arXiv:2404.01291), which has no class in transformers: CLIP's patches inside a Flan-T5's input.

    image → CLIP ViT-L/14 at 336, second last layer, 576 patches → Linear, GELU, Linear → between the embeddings
    of the words before and after the image → T5 encoder → decoder: "Yes"

`clip_flant5_weights` reads the released checkpoints.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, T5Config, T5ForConditionalGeneration

from synvita_data.video.frames import Frames

from .preprocess import CLIP_MEAN, CLIP_STD, preprocess
from .questions import VICUNA, check_caption, check_length
from .scorer import FrameScorer, Prepared, by_video
from .t5 import answer_log_probs

# The longest question of the released code, its image counted as one token.
CONTEXT = 2048


class ClipFlanT5(nn.Module):
    """The model. T5's head is its own (Flan-T5 does not tie it to the embeddings), so nothing here ties weights.

    Args:
        config: T5's, with `mm_hidden_size` (of the vision tower) and `mm_vision_select_layer`.
        vision: the vision tower's.
    """

    def __init__(self, config: T5Config, vision: CLIPVisionConfig) -> None:
        super().__init__()
        self.config = config
        self.t5 = T5ForConditionalGeneration(config)
        self.vision = CLIPVisionModel(vision)
        width, settings = config.d_model, cast(Any, config)
        self.select_layer = int(settings.mm_vision_select_layer)
        self.projector = nn.Sequential(
            nn.Linear(settings.mm_hidden_size, width), nn.GELU(), nn.Linear(width, width)
        )

    def encode(self, images: Tensor) -> Tensor:
        """[F, 3, S, S] -> [F, patches, T5's width], without the class token."""
        weights = next(self.vision.parameters())
        states = self.vision(images.to(weights.device, weights.dtype), output_hidden_states=True)
        return cast(Tensor, self.projector(states.hidden_states[self.select_layer][:, 1:]))

    def splice(self, before: Sequence[int], patches: Tensor, after: Sequence[int]) -> Tensor:
        """T5's input [n, width]: words, one image [patches, width], words."""
        words = self.t5.get_input_embeddings()(torch.tensor([*before, *after], device=patches.device))
        return torch.cat([words[: len(before)], patches, words[len(before) :]])


class ClipFlanT5Scorer(FrameScorer):
    """VQAScore's own model.

    Args:
        model: in evaluation mode, on its device. tokenizer: Flan-T5's.
        shape: of the preprocessing: `pad` (the reference) or `crop` (as `CLIPImageProcessor` does).
    """

    def __init__(self, model: ClipFlanT5, tokenizer: Any, shape: str) -> None:
        super().__init__()
        self.model, self._tokenizer, self._shape = model, tokenizer, shape
        self.device = next(model.parameters()).device
        before, _ = VICUNA.before.split(VICUNA.image)
        # Both parts are tokenized alone and keep their </s>, as in the released code.
        self._before: list[int] = tokenizer(before)["input_ids"]
        self._answer: list[int] = tokenizer(VICUNA.answer)["input_ids"]

    def images(self, frames: Frames) -> Tensor:
        size = int(cast(Any, self.model.vision.config).image_size)
        return torch.from_numpy(preprocess(frames.pixels, self._shape, size, CLIP_MEAN, CLIP_STD))

    def question(self, caption: str) -> list[int]:
        check_caption(caption, self._tokenizer)
        after: list[int] = self._tokenizer(VICUNA.wrap(caption).split(VICUNA.image)[1])["input_ids"]
        check_length(len(self._before) + 1 + len(after), CONTEXT, caption)
        return after

    @torch.inference_mode()
    def log_probs(self, batch: Sequence[Prepared]) -> list[Tensor]:
        features = self.model.encode(torch.cat([video.images for video in batch]))
        per_video = features.split([video.looks for video in batch])
        inputs = [
            self.model.splice(self._before, image, after)
            for images, video in zip(per_video, batch, strict=True)
            for image in images
            for after in video.questions
        ]
        return by_video(answer_log_probs(self.model.t5, inputs, self._answer), batch)
