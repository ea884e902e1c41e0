"""From a caption to the token ids of its whole prompt, the tokens hidden from attention, and Yes and No."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..captions import Text
from ..errors import CaptionError, SynvitaError, TokenizerError
from ..masking import mask_prompt
from ..prompts import Prompt
from .families.family import Family, PreparedVideo


class ContextError(SynvitaError):
    """A prompt has more tokens than the model's context."""


@dataclass(frozen=True, slots=True, eq=False)
class PromptTokens:
    """One pair of a video and a text as the plain way sees it.

    Attributes:
        ids: int64 [n], of the whole prompt with its video tokens, and the answer where one was asked for.
        hidden: bool [n], keys that attention must not see; their slots and positions stay.
        reads: positions whose next token is asked for: the prompt's last, then the answer's.
    """

    ids: NDArray[np.int64]
    hidden: NDArray[np.bool_]
    reads: tuple[int, ...]


class Prompter:
    """The prompt of a family, ready to take captions.

    Args:
        family: whose tokenizer and template. prompt: the wording.

    Raises:
        TokenizerError: Yes or No is not one token after this prompt, or the template does not fit.
    """

    def __init__(self, family: Family, prompt: Prompt) -> None:
        self.family = family
        self.prompt = prompt
        self._frame = family.frame_prompt(prompt)
        yes, no = (self._answer_id(answer) for answer in family.answers)
        self.answer_ids = (yes, no)
        special = {int(number) for number in family.tokenizer.added_tokens_decoder}
        self._special = np.array(sorted({*special, family.video_token_id}), dtype=np.int64)
        self._short = lru_cache(maxsize=1 << 16)(self._tokenise)

    def tokens(self, text: Text, answer: bool | None, video: PreparedVideo) -> PromptTokens:
        """The whole prompt of a text and a video.

        Args:
            answer: None for the prompt alone; else Yes or No is appended, as the released training does to
                learn the token after it too.

        Raises:
            CaptionError: the caption holds one of the tokenizer's special tokens.
            ContextError: more tokens than the model's context.
        """
        ids, hidden = self._short(text, video.placeholder)
        is_video = ids == self.family.video_token_id
        if int(is_video.sum()) != len(video.runs):
            raise TokenizerError(
                "the prompt's video tokens are not those of the video",
                found=f"{int(is_video.sum())} in {video.placeholder!r}",
                expected=f"{len(video.runs)} runs",
            )
        repeats = np.ones(len(ids), dtype=np.int64)
        repeats[is_video] = video.runs
        ids, hidden = np.repeat(ids, repeats), np.repeat(hidden, repeats)
        reads: tuple[int, ...] = (len(ids) - 1,)
        if answer is not None:
            ids = np.append(ids, self.answer_ids[0 if answer else 1])
            hidden = np.append(hidden, False)
            reads = (*reads, len(ids) - 1)
        if len(ids) > self.family.context:
            raise ContextError(
                "a prompt does not fit the model's context",
                found=f"{len(ids):,} tokens, {video.tokens:,} of the video, for {text.caption!r}",
                expected=f"at most {self.family.context:,}",
                fix="Take fewer or smaller frames, or shorten the caption",
            )
        return PromptTokens(ids, hidden, reads)

    def _tokenise(self, text: Text, placeholder: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Ids and hidden tokens with one token for each run of video tokens; the repeats come later, since
        a special token always parts its neighbours, whatever its number."""
        before = self._frame.before.replace(self.family.placeholder, placeholder)
        masked = mask_prompt(self.family.tokenizer, before, text, self._frame.after)
        start, end = masked.caption_start, masked.caption_start + len(text.caption)
        inside = (masked.offsets[:, 0] < end) & (masked.offsets[:, 1] > start)
        strange = masked.input_ids[inside & np.isin(masked.input_ids, self._special)]
        if len(strange):
            token = self.family.tokenizer.convert_ids_to_tokens(int(strange[0]))
            raise CaptionError(
                "a caption holds a special token of the model",
                found=f"{token} in {text.caption!r}",
                expected="plain words",
                fix="Clean the caption",
            )
        return masked.input_ids, masked.hidden

    def _answer_id(self, answer: str) -> int:
        """The one token that follows the prompt when it is answered so."""
        tail = self._frame.before.partition(self.family.placeholder)[2] + "a" + self._frame.after

        def ids(text: str) -> list[int]:
            return list(self.family.tokenizer(text, add_special_tokens=False)["input_ids"])

        plain, answered = ids(tail), ids(tail + answer)
        if answered[:-1] != plain:
            raise TokenizerError(
                f"{answer.strip()!r} is not one token after the prompt {self.prompt.name!r}",
                found=self.family.tokenizer.convert_ids_to_tokens(answered[-3:]),
                expected=f"the prompt's tokens and one of {answer!r}",
                fix="This model's P(Yes) cannot be read at one position: use another model or prompt",
            )
        return int(answered[-1])
