"""mPLUG-Owl with its video tower (arXiv:2304.14178), the paper's first model; `synvita_data.models.mplug_owl`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...captions import Text
from ...captions.masking import MaskedPrompt, hidden_tokens
from ...captions.prompts import Prompt
from ...errors import CaptionError, SynvitaError
from ...video.frames import Frames
from ...video.sampling import FramePolicy
from .family import Family, Features, PreparedVideo, channels_first, like_weights

if TYPE_CHECKING:
    from torch import Tensor


class MplugOwl(Family):
    """Any number of frames become 65 tokens: the abstractor's 64 and one learned vector at the end.

    Prompts are tokenised piece by piece, so the ids are the released scripts' own (`PieceTokenizer`).
    """

    model_type = "mplug-owl"
    model_class = "MplugOwlForConditionalGeneration"
    default_prompt = "mplug-owl"
    frames = FramePolicy(count=32, rule="mplug-owl")
    answers = ("Yes", "No")  # pieces of their own, which sentencepiece begins with a space
    # One and the same here: its processor reads pieces, as the original code does.
    placeholder_spaces = ("processor", "original")
    after_tower = ("abstractor", "query_tokens")
    # pipeline/entailment_inference.py: no mirroring, a LoRA stays beside its base in bfloat16.
    released: ClassVar[Mapping[str, str]] = {
        "prompt": "mplug-owl",
        "readout": "released",
        "merge": "unmerged",
        "dtype": "bfloat16",
        "backend": "decord",
    }
    advice = "Convert the released checkpoint first: `synvita convert mplug-owl DIR OUT` (docs/mplug_owl.md)"

    def __init__(self, model: Any, processor: Any) -> None:
        import torch

        from ..mplug_owl.processing import MARKS

        super().__init__(model, processor)
        self._marks = (*MARKS, *map(str, self.tokenizer.added_tokens_decoder.values()))
        if model.dtype == torch.float16:
            raise SynvitaError(
                "mPLUG-Owl does not fit float16",
                found="every layer of its tower doubles the class token, beyond what float16 can hold",
                expected="bfloat16 or float32",
            )

    @classmethod
    def network_class(cls) -> Any:
        from ..mplug_owl import MplugOwlForConditionalGeneration

        return MplugOwlForConditionalGeneration

    @property
    def backbone(self) -> Any:
        return self.model.without_head

    @property
    def language_model(self) -> Any:
        return self.model.language_model.model

    @property
    def context(self) -> int:
        """The released scripts' 256 ids and one more; longer prompts were never seen in training."""
        return min(super().context, self.processor.max_length + 1)

    def default_frames(self) -> FramePolicy:
        """As the released scripts: the decoder scales, whatever the aspect."""
        size = self.processor.video_processor.size
        return replace(self.frames, size=(size["height"], size["width"]))

    def process(self, frames: Frames, prompt: Prompt) -> PreparedVideo:
        pixels = self.processor.pixels([channels_first(frames)])
        return PreparedVideo(
            {"video_pixel_values": pixels}, self.video_token, (self.processor.tokens_per_video,)
        )

    def tower(self, video: PreparedVideo) -> Features:
        """`patches`: [T, 1 + patches, D], the tower's output, class tokens first (17 MB in bf16 for 32 frames).

        Not the abstractor's: it may be trained, or keep its dropout in training.
        """
        tower = self.model.vision_model
        return {"patches": tower(like_weights(tower, video.inputs["video_pixel_values"]))[0]}

    def tokens(self, features: Sequence[Features]) -> Tensor:
        import torch

        # One by one: a video's tokens do not depend on its company, and videos may differ in length.
        return torch.cat([self.model.get_video_tokens(each["patches"][None])[0] for each in features])

    def tokenise(self, before: str, text: Text, after: str) -> MaskedPrompt:
        """Piece by piece, with one id for the video.

        Raises:
            CaptionError: caption or answer holds a mark that parts prompts, or a special token.
            ContextError: the prompt would be cut. (An explanation that is too long *is* cut, as the released
                training does.)
        """
        from ..mplug_owl.processing import ANSWER

        for words in (text.caption, after.partition(ANSWER)[2]):
            for mark in self._marks:
                if mark in words:
                    raise CaptionError(
                        "a caption, question or explanation holds a special token or a mark that parts prompts",
                        found=f"{mark!r} in {words!r}",
                        expected="plain words",
                        fix="Clean the caption or question",
                    )
        prompt = before + text.caption + after
        tokens = self.processor.pieces(prompt, end=False)
        again = (tokens.ids[1:] == self.video_token_id) & (tokens.ids[:-1] == self.video_token_id)
        kept = np.flatnonzero(~np.append(False, again))
        offsets = tokens.offsets[kept]
        return MaskedPrompt(
            prompt=prompt,
            caption_start=len(before),
            input_ids=tokens.ids[kept],
            offsets=offsets,
            hidden=hidden_tokens(prompt, len(before), text, offsets, tokens.ids[kept]),
        )
