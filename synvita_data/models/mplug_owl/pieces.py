"""mPLUG-Owl's way to read a prompt: piece by piece, never as one string.

A prompt is parted at its marks, and each piece is tokenised alone, so that every one of them begins with the
space that sentencepiece puts in front of a text. What follows `AI: ` is an answer, learnt in training.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...captions.masking import Tokenizer, tokenize
from ...captions.text import Span
from ...errors import ContextError, TokenizerError

IMAGE, VIDEO = "<image>", "<|video|>"
ANSWER = "AI: "
SPACE = "▁"  # sentencepiece's
MARKS = (IMAGE, VIDEO, ANSWER, "\nHuman: ")
_MARKS = re.compile("(" + "|".join(map(re.escape, MARKS)) + ")")


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
        media: id of each mark that stands for a medium. media_tokens: how many ids it becomes.

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


def _pieces(prompt: str) -> Iterator[tuple[int, str]]:
    """The parts of a prompt and where they start; marks are parts of their own."""
    start = 0
    for part in _MARKS.split(prompt):
        if part:
            yield start, part
        start += len(part)
