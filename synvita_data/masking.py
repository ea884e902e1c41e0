"""From character spans to tokens: which tokens of a full prompt attention must not see.

The rule: **a token is hidden if it overlaps a non-white caption character inside `Text.hidden`.**
Offsets often include the space before a word, which hides nothing. A token that is half caption and
half closing quote (`."`) follows its caption part. A character spread over several tokens (the bytes
of an emoji) hides all of them. Tokens of the prompt alone and special tokens are never hidden.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .captions import Text
from .errors import CaptionError
from .tokens import Tokenizer, tokenize


@dataclass(frozen=True, slots=True, eq=False)
class MaskedPrompt:
    """A prompt with its tokens and those of them that are hidden.

    Attributes:
        prompt: the whole text. caption_start: where its caption begins, in code points.
        input_ids: int64 [n]. offsets: int64 [n, 2], code points of `prompt`.
        hidden: bool [n], true where attention must not look (as a key; the token stays in place and
            position ids do not change).
    """

    prompt: str
    caption_start: int
    input_ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    hidden: NDArray[np.bool_]


def hidden_tokens(prompt: str, caption_start: int, text: Text, offsets: ArrayLike) -> NDArray[np.bool_]:
    """Which tokens of `prompt` are hidden when `text` stands at `caption_start` in it.

    Args:
        prompt: the string that was tokenised, with placeholders of media expanded or not, as it was.
        caption_start: code point of `prompt` at which `text.caption` begins.
        text: the caption and what is hidden of it.
        offsets: [n, 2] half-open code points of `prompt` for each token, as the `offset_mapping` of
            a fast tokenizer; (0, 0) for special tokens and padding.

    Returns:
        bool [n].

    Raises:
        CaptionError: the caption is not at that place, or the offsets are not those of this prompt.

    Example:
        >>> text = Text("a red cat", hidden=((2, 5),))
        >>> hidden_tokens('Is "a red cat"?', 4, text, [(0, 2), (2, 4), (4, 5), (5, 9), (9, 13), (13, 15)])
        array([False, False, False,  True, False, False])
    """
    caption_end = caption_start + len(text.caption)
    if caption_start < 0 or prompt[caption_start:caption_end] != text.caption:
        raise CaptionError(
            "the caption is not where the prompt should have it",
            found=f"{prompt[max(caption_start, 0) : max(caption_end, 0)]!r} at character {caption_start}",
            expected=repr(text.caption),
            fix="Count the start in code points of the very string that was tokenised",
        )
    bounds = _check_offsets(offsets, len(prompt))
    # counts[i]: hidden, non-white characters before character i of the prompt.
    counts = np.zeros(len(prompt) + 1, dtype=np.int64)
    for start, end in text.hidden:
        counts[caption_start + start + 1 : caption_start + end + 1] = [
            not character.isspace() for character in text.caption[start:end]
        ]
    np.cumsum(counts, out=counts)
    hidden: NDArray[np.bool_] = counts[bounds[:, 1]] > counts[bounds[:, 0]]
    return hidden


def mask_prompt(
    tokenizer: Tokenizer, before: str, text: Text, after: str = "", *, add_special_tokens: bool = True
) -> MaskedPrompt:
    """Tokenise `before + caption + after` as one string and find its hidden tokens.

    Args:
        tokenizer: a fast tokenizer of transformers, or a `tokenizers.Tokenizer`.
        before, after: the prompt around the caption, for example `… the description: "` and `"?`.

    Raises:
        TokenizerError: a slow tokenizer, or one that truncates.
    """
    prompt = before + text.caption + after
    tokens = tokenize(tokenizer, prompt, add_special_tokens=add_special_tokens)
    offsets = np.array(tokens.offsets, dtype=np.int64).reshape(-1, 2)
    return MaskedPrompt(
        prompt=prompt,
        caption_start=len(before),
        input_ids=np.array(tokens.ids, dtype=np.int64),
        offsets=offsets,
        hidden=hidden_tokens(prompt, len(before), text, offsets),
    )


def _check_offsets(offsets: ArrayLike, length: int) -> NDArray[np.int64]:
    bounds = np.asarray(offsets)
    if bounds.size == 0:
        bounds = np.zeros((0, 2), dtype=np.int64)
    if bounds.ndim != 2 or bounds.shape[1] != 2 or bounds.dtype.kind not in "iu":
        raise CaptionError(
            "token offsets are not pairs of whole numbers",
            found=f"shape {bounds.shape}, {bounds.dtype}",
            expected="[n, 2] integers, the offset_mapping of one text, without a batch dimension",
        )
    bounds = bounds.astype(np.int64)
    bad = (bounds[:, 0] < 0) | (bounds[:, 0] > bounds[:, 1]) | (bounds[:, 1] > length)
    if bad.any():
        token = int(np.flatnonzero(bad)[0])
        raise CaptionError(
            "token offsets do not fit the prompt",
            found=f"{tuple(bounds[token].tolist())} of token {token}",
            expected=f"0 <= start <= end <= {length}, in code points (not bytes) of this prompt",
        )
    return bounds
