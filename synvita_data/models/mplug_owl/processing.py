"""From frames and prompts to the model's inputs, as the released scripts of VideoCon and SynViTA do it.

A prompt is read piece by piece, never as one string: it is parted at its marks, and each piece is tokenised alone, so
that every one of them begins with the space that sentencepiece puts in front of a text. What follows `AI: ` is an
answer, learnt in training.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import BatchFeature, ProcessorMixin
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, PILImageResampling
from transformers.video_processing_utils import BaseVideoProcessor

from ...captions import Span
from ...captions.masking import Tokenizer, tokenize
from ...errors import CaptionError, ContextError, TokenizerError

IMAGE, VIDEO = "<image>", "<|video|>"
ANSWER = "AI: "
SPACE = "▁"  # sentencepiece's
MARKS = (IMAGE, VIDEO, ANSWER, "\nHuman: ")
_MARKS = re.compile("(" + "|".join(map(re.escape, MARKS)) + ")")
IGNORED = -100  # what a loss skips
# The released scripts' prompt: each part of a user's message is a line of its own.
CHAT_TEMPLATE = (
    "The following is a conversation between a curious human and AI assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions."
    "{% for message in messages %}"
    "{% set parts = [{'type': 'text', 'text': message['content']}] if message['content'] is string "
    "else message['content'] %}"
    "{% for part in parts %}{{ '\\nHuman: ' if message['role'] == 'user' else '\\nAI: ' }}"
    "{{ '<|video|>' if part['type'] == 'video' else part['text'] }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '\\nAI: ' }}{% endif %}"
)


@dataclass(frozen=True, slots=True, eq=False)
class PieceTokens:
    """The tokens of a prompt.

    Attributes:
        ids: int64 [n], BOS first; a negative id for each feature of a medium.
        offsets: int64 [n, 2], half-open code points of the prompt; (0, 0) for BOS and EOS.
        answer: bool [n], tokens of an answer, its EOS among them.
    """

    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    answer: NDArray[np.bool_]


class PieceTokenizer:
    """Tokenises prompts piece by piece.

    Args:
        tokenizer: a fast tokenizer with `bos_token_id` and `eos_token_id`.
        max_length: L; a prompt has at most L + 1 tokens, as the released scripts count.
        media: id of each mark that stands for a medium.
        media_tokens: how many ids it becomes.

    Raises:
        TokenizerError: a tokenizer that is not of LLaMA's kind.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, max_length: int, media: dict[str, int], media_tokens: int
    ) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.media = dict(media)
        self.media_tokens = media_tokens
        for name in ("bos_token_id", "eos_token_id"):
            if getattr(tokenizer, name) is None:
                raise TokenizerError(f"the tokenizer has no {name}", expected="LLaMA's <s> and </s>")
        self._piece = lru_cache(maxsize=1 << 14)(self._tokenise_piece)
        first = tokenizer.convert_ids_to_tokens(self._piece("Yes")[0])[0]
        if not first.startswith(SPACE):
            raise TokenizerError(
                "the tokenizer puts no space in front of a text, as LLaMA's does",
                found=f"{first!r} for 'Yes'",
                expected=f"{SPACE}Yes",
                fix="A released checkpoint is converted first: `synvita convert mplug-owl DIR OUT`",
            )

    def __call__(self, prompt: str, *, end: bool = True) -> PieceTokens:
        """
        Args:
            prompt: with its marks, and with the answer behind the last `AI: ` in a training row.
            end: append EOS to answers, as training does.

        An answer that is too long is cut, as the released training does; nothing else is.

        Raises:
            ContextError: more than L + 1 tokens without the answers, or no place for a token of an answer.
                (The original would cut the prompt, and score at a place that is no answer.)
            TokenizerError: a prompt that begins with a medium, which the original would read as words.
        """
        ids, offsets, answer = [int(self.tokenizer.bos_token_id)], [(0, 0)], [False]
        before = None
        for start, piece in _pieces(prompt):
            is_answer = before == ANSWER and piece not in self.media
            if piece in self.media:
                if before is None:
                    raise TokenizerError(
                        "a prompt begins with its video", found=repr(prompt[:40]), expected="words before it"
                    )
                own = [self.media[piece]] * self.media_tokens
                places = [(0, len(piece))] * self.media_tokens
            else:
                own, places = self._piece(piece)
            room = (self.max_length if is_answer else self.max_length + 1) - len(ids)
            if room < (1 if is_answer else len(own)):
                raise ContextError(
                    "a prompt does not fit the model's context",
                    found=f"no room for {piece[:60]!r} behind {len(ids)} tokens of {prompt!r}",
                    expected=f"at most {self.max_length + 1} tokens",
                    fix="Shorten the caption",
                )
            own, places = own[:room], places[:room]
            ids += own
            offsets += [(start + a, start + b) for a, b in places]
            answer += [is_answer] * len(own)
            if is_answer and end:
                ids.append(int(self.tokenizer.eos_token_id))
                offsets.append((0, 0))
                answer.append(True)
            before = piece
        return PieceTokens(
            np.array(ids, dtype=np.int64), np.array(offsets, dtype=np.int64), np.array(answer, dtype=np.bool_)
        )

    def _tokenise_piece(self, piece: str) -> tuple[list[int], list[Span]]:
        tokens = tokenize(self.tokenizer, piece, add_special_tokens=False)
        # The space in front, where it is a token by itself, belongs to the first character.
        first = (0, max(1, tokens.offsets[0][1]))
        return tokens.ids, [first, *tokens.offsets[1:]]


class MplugOwlVideoProcessor(BaseVideoProcessor):
    """Frames to 224 × 224 whatever their shape, and CLIP's mean and deviation.

    The original lets its decoder do the scaling (`FramePolicy(size=(224, 224))`); frames of another size are
    scaled here, bicubic too.
    """

    resample = PILImageResampling.BICUBIC
    image_mean = OPENAI_CLIP_MEAN
    image_std = OPENAI_CLIP_STD
    size: ClassVar[dict[str, int]] = {"height": 224, "width": 224}
    default_to_square = True
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True
    do_sample_frames = False


@dataclass(frozen=True, slots=True, eq=False)
class OwlRows:
    """Rows of prompts with the masks of the released training, L = `max_length`.

    Attributes:
        input_ids: int64 [B, L + 1], padded on the right with 0.
        non_padding_mask, non_media_mask, prompt_mask: int64 [B, L], of the ids but the first: 1 where there is
            a token, where it is none of a medium, and where it belongs to an answer.
        labels: int64 [B, L + 1], the ids where all three are 1, else −100.
    """

    input_ids: Tensor
    non_padding_mask: Tensor
    non_media_mask: Tensor
    prompt_mask: Tensor
    labels: Tensor


class MplugOwlProcessor(ProcessorMixin):
    """Prompts and videos of mPLUG-Owl.

    Args:
        video_processor: of the frames.
        tokenizer: LLaMA's; 0 (`<unk>`) pads.
        max_length: L of the released scripts; rows have L + 1 ids.
        tokens_per_video: ids that `<|video|>` becomes.
        chat_template: None for the released scripts' prompt.
    """

    def __init__(
        self,
        video_processor: Any = None,
        tokenizer: Any = None,
        max_length: int = 256,
        tokens_per_video: int = 65,
        chat_template: str | None = None,
    ) -> None:
        self.max_length = max_length
        self.tokens_per_video = tokens_per_video
        super().__init__(video_processor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE)

    @property
    def video_token(self) -> str:
        return VIDEO

    @property
    def model_input_names(self) -> list[str]:
        return ["input_ids", "video_pixel_values"]

    def pieces(self, prompt: str, *, end: bool = True) -> PieceTokens:
        """The tokens of one prompt (`PieceTokenizer`), not padded."""
        return _piece_tokenizer(self.tokenizer, self.max_length, self.tokens_per_video)(prompt, end=end)

    def rows(self, prompts: Sequence[str]) -> OwlRows:
        """Padded rows; what stands behind `AI: ` in a prompt is its answer.

        Raises:
            ContextError: a prompt of more than L + 1 tokens, answers aside.
        """
        length = self.max_length
        ids = torch.zeros(len(prompts), length + 1, dtype=torch.long)
        answer, padding = torch.zeros_like(ids), torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            tokens = self.pieces(prompt)
            count = len(tokens.ids)
            ids[row, :count] = torch.from_numpy(tokens.ids)
            answer[row, :count] = torch.from_numpy(tokens.answer).long()
            padding[row, :count] = 1
        media = (ids >= 0).long()
        learnt = (padding * media * answer).bool()
        return OwlRows(
            ids, padding[:, 1:], media[:, 1:], answer[:, 1:], torch.where(learnt, ids, torch.tensor(IGNORED))
        )

    def pixels(self, videos: Sequence[Any], **kwargs: Any) -> Tensor:
        """Videos of equally many frames ([T, H, W, 3] or [T, 3, H, W]) -> fp32 [B, 3, T, H, W]."""
        processed = self.video_processor(videos=list(videos), return_tensors="pt", **kwargs)
        return processed["pixel_values_videos"].transpose(1, 2).contiguous()

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        videos: Sequence[Any] | None = None,
        answers: Sequence[str] | None = None,
        padding: bool | str = True,
        return_tensors: str = "pt",
        **kwargs: Any,
    ) -> BatchFeature:
        """Inputs of the model.

        Args:
            text: prompts, each with one `<|video|>` and `AI: ` at its end.
            videos: one for each prompt.
            answers: for training: what follows each prompt.
            padding: true to the longest prompt; `max_length` to L + 1, as the released scripts do. What pads
                changes nothing.
            return_tensors: `pt`.
            kwargs: of the video processor.

        Returns:
            input_ids and attention_mask int64 [B, S], with answers also labels [B, S]; video_pixel_values
            fp32 [B, 3, T, H, W].

        Raises:
            ContextError: a prompt that is too long. CaptionError: answers to prompts that do not ask for them.
        """
        inputs: dict[str, Tensor] = {}
        if text is not None:
            rows = self.rows(_answered([text] if isinstance(text, str) else text, answers))
            attention = torch.nn.functional.pad(rows.non_padding_mask, (1, 0), value=1)  # BOS
            length = self.max_length + 1 if padding == "max_length" else int(attention.sum(1).max())
            inputs = {"input_ids": rows.input_ids[:, :length], "attention_mask": attention[:, :length]}
            if answers is not None:
                inputs["labels"] = rows.labels[:, :length]
        if videos is not None:
            inputs["video_pixel_values"] = self.pixels(videos, **kwargs)
        return BatchFeature(inputs)


def _answered(prompts: Sequence[str], answers: Sequence[str] | None) -> Sequence[str]:
    if answers is None:
        return prompts
    for prompt in prompts:
        if not prompt.endswith(ANSWER):
            raise CaptionError(
                "a prompt does not ask for an answer", found=f"…{prompt[-20:]!r}", expected=f"…{ANSWER!r}"
            )
    return [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]


@lru_cache(maxsize=8)  # not an attribute: a processor saves those
def _piece_tokenizer(tokenizer: Any, max_length: int, media_tokens: int) -> PieceTokenizer:
    media = {IMAGE: -1, VIDEO: -2}
    return PieceTokenizer(tokenizer, max_length=max_length, media=media, media_tokens=media_tokens)


def _pieces(prompt: str) -> Iterator[tuple[int, str]]:
    """The parts of a prompt and where they start; marks are parts of their own."""
    start = 0
    for part in _MARKS.split(prompt):
        if part:
            yield start, part
        start += len(part)
