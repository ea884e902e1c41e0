"""mPLUG-Owl with its video tower (arXiv:2304.14178), the paper's first model; `synvita_data.models.mplug_owl`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...captions.masking import MaskedPrompt, hidden_tokens
from ...captions.prompts import Prompt
from ...captions.text import Text
from ...errors import CaptionError, SynvitaError
from ...video.frames import Frames
from ...video.sampling import FramePolicy
from ..mplug_owl import MplugOwlForConditionalGeneration
from ..mplug_owl.pieces import ANSWER, MARKS
from .family import Family, Features, PreparedVideo


class MplugOwl(Family):
    """Any number of frames become 65 tokens: the abstractor's 64 and one learned vector at the end.

    Prompts are tokenised piece by piece, so the ids are the released scripts' own (`mplug_owl.pieces`).
    """

    model_type = "mplug-owl"
    model_class = "MplugOwlForConditionalGeneration"
    default_prompt = "mplug-owl"
    answers = ("Yes", "No")  # pieces of their own, which sentencepiece begins with a space
    # One and the same here: its processor reads pieces, as the original code does.
    placeholder_spaces = ("processor", "original")

    advice = "Convert the released checkpoint first: `synvita convert mplug-owl DIR OUT` (docs/mplug_owl.md)"

    def __init__(self, model: Any, processor: Any) -> None:
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
        return MplugOwlForConditionalGeneration

    @property
    def backbone(self) -> Any:
        return _WithoutHead(self.model)

    @property
    def language_model(self) -> Any:
        return self.model.language_model.model

    @property
    def context(self) -> int:
        """The released scripts' 256 ids and one more; longer prompts were never seen in training."""
        return min(super().context, self.processor.max_length + 1)

    @property
    def video_token(self) -> str:
        return str(self.processor.video_token)

    def default_frames(self) -> FramePolicy:
        """As the released scripts: the decoder scales, whatever the aspect."""
        size = self.processor.video_processor.size
        return FramePolicy(count=32, rule="mplug-owl", size=(size["height"], size["width"]))

    def prepare(self, frames: Frames, prompt: Prompt) -> PreparedVideo:
        pixels = self.processor.pixels([torch.from_numpy(frames.pixels).permute(0, 3, 1, 2)])
        return PreparedVideo(
            {"video_pixel_values": pixels}, self.video_token, (self.processor.tokens_per_video,)
        )

    def tower(self, video: PreparedVideo) -> Features:
        """`patches`: [T, 1 + patches, D], the tower's output, class tokens first (17 MB in bf16 for 32 frames).

        Not the abstractor's: it may be trained, or keep its dropout in training.
        """
        parameter = next(self.model.vision_model.parameters())
        pixels = video.inputs["video_pixel_values"].to(parameter.device, parameter.dtype)
        return {"patches": self.model.vision_model(pixels)[0]}

    def tokens(self, features: Sequence[Features]) -> Tensor:
        # One by one: a video's tokens do not depend on its company, and videos may differ in length.
        return torch.cat([self.model.get_video_tokens(each["patches"][None])[0] for each in features])

    def tokenise(self, before: str, text: Text, after: str) -> MaskedPrompt:
        """Piece by piece, with one id for the video.

        Raises:
            CaptionError: caption or answer holds a mark that parts prompts, or a special token.
            ContextError: the prompt would be cut. (An explanation that is too long *is* cut, as the released
                training does.)
        """
        for words in (text.caption, after.partition(ANSWER)[2]):
            for mark in self._marks:
                if mark in words:
                    raise CaptionError(
                        "a caption or explanation holds a special token or a mark that parts prompts",
                        found=f"{mark!r} in {words!r}",
                        expected="plain words",
                        fix="Clean the caption",
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


class _WithoutHead:
    """The model up to its last hidden states, as a module would be called."""

    def __init__(self, model: MplugOwlForConditionalGeneration) -> None:
        self._model = model

    def forward(
        self,
        input_ids: Tensor,
        video_pixel_values: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        return self._model.without_head(
            input_ids=input_ids,
            video_pixel_values=video_pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **kwargs,
        )

    __call__ = forward
