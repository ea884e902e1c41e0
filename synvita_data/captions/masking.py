"""The tokens of a text, and which tokens of a full prompt attention must not see.

The rule: **a token is hidden if it overlaps a non-white caption character inside `Text.hidden`.**
Offsets often include the space before a word, which hides nothing. A token that is half caption and
half closing quote (`."`) follows its caption part. A character spread over several tokens (the bytes
of an emoji) hides all of them. Tokens of the prompt alone and special tokens are never hidden.

A text with flags for the tokens of its quoted caption (`Text.tokens`) is masked as the released code does: the first
place in the prompt's ids where these tokens stand gets their flags, those of the quotes and the question mark too. Where
they stand nowhere, because the tokenizer joins the quote or the question mark with what is beside it, the released code
stops; here the flags then go by the characters of the quoted caption.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import CaptionError, TokenizerError
from . import QuotedTokens, Span, Text, quoted

# Looked at by their attributes, so that neither `transformers` nor `tokenizers` is imported here:
# a fast tokenizer of transformers, or a bare `tokenizers.Tokenizer`.
Tokenizer = Any


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one string.

    Attributes:
        ids: token ids.
        offsets: for each token the half-open code points of the string it stands for. Special tokens
            have (0, 0). The byte tokens of one character all carry that character.
        keys: for each token what makes two tokens equal: `(id, "")`, or `(id, text)` for the unknown
            token, which stands for different words under one id.
    """

    ids: list[int]
    offsets: list[Span]
    keys: list[tuple[int, str]]


def tokenize(tokenizer: Tokenizer, text: str, *, add_special_tokens: bool) -> Tokens:
    """Tokens of `text`, never padded.

    Args:
        tokenizer: a fast tokenizer of transformers, or a `tokenizers.Tokenizer`.
        text: any string.
        add_special_tokens: whether the tokenizer adds its own.

    Raises:
        TokenizerError: a slow tokenizer (it has no offsets), or one that truncates `text`.
    """
    encoding, backend = _encode(tokenizer, text, add_special_tokens)
    if encoding.overflowing:
        raise TokenizerError(
            "a tokenizer truncates its input",
            found=f"{len(encoding.ids)} tokens left of {text!r}",
            expected="every token of the text",
            fix="Call tokenizer.no_truncation() first",
        )
    real = [i for i, attended in enumerate(encoding.attention_mask) if attended]  # padding is not
    ids, offsets = encoding.ids, encoding.offsets
    # Unigram models do not name an unknown token, but show the text in its place.
    unknown_name = getattr(backend.model, "unk_token", None)
    unknown = {
        i
        for i, (number, token) in enumerate(zip(ids, encoding.tokens, strict=True))
        if token == unknown_name or token != backend.id_to_token(number)
    }
    return Tokens(
        ids=[ids[i] for i in real],
        offsets=[offsets[i] for i in real],
        keys=[(ids[i], text[slice(*offsets[i])].strip() if i in unknown else "") for i in real],
    )


def _encode(tokenizer: Tokenizer, text: str, add_special_tokens: bool) -> tuple[Any, Any]:
    """The `tokenizers.Encoding` of `text` and the `tokenizers.Tokenizer` that made it."""
    if getattr(tokenizer, "is_fast", False):
        # Through the wrapper: it undoes the truncation and padding that an earlier call left behind.
        batch = tokenizer(
            text,
            add_special_tokens=add_special_tokens,
            return_offsets_mapping=True,
            return_attention_mask=True,
            truncation=False,
            padding=False,
            verbose=False,
        )
        return batch.encodings[0], tokenizer.backend_tokenizer
    if hasattr(tokenizer, "encode_batch") and hasattr(tokenizer, "id_to_token"):
        return tokenizer.encode(text, add_special_tokens=add_special_tokens), tokenizer
    raise TokenizerError(
        "masks need a tokenizer that knows the characters of each token",
        found=type(tokenizer).__name__,
        expected="a fast tokenizer of transformers, or a tokenizers.Tokenizer",
        fix="Load it with AutoTokenizer.from_pretrained(name, use_fast=True), or use granularity 'word'",
    )


def read_length(tokenizer: Any, text: str, limit: int | None) -> tuple[int, int | None]:
    """How much of a text a model reads that takes so many tokens and no more.

    Args:
        tokenizer: of transformers; special tokens count.
        text: the whole text.
        limit: None without a bound.

    Returns:
        Tokens of the whole text, and the characters of it that the first `limit` tokens are of, or None if the
        whole text is read.
    """

    def count(beginning: str) -> int:
        return len(tokenizer(beginning, truncation=False, verbose=False)["input_ids"])

    tokens = count(text)
    if limit is None or tokens <= limit:
        return tokens, None
    if getattr(tokenizer, "is_fast", False):
        cut = tokenizer(text, truncation=True, max_length=limit, return_offsets_mapping=True)
        return tokens, max((end for _, end in cut["offset_mapping"]), default=0)
    # Without offsets: the longest beginning of the text that fits.
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if count(text[:middle]) <= limit:
            low = middle
        else:
            high = middle - 1
    return tokens, low


@dataclass(frozen=True, slots=True, eq=False)
class MaskedPrompt:
    """A prompt with its tokens and those of them that are hidden.

    Attributes:
        prompt: the whole text.
        caption_start: where its caption begins, in code points.
        input_ids: int64 [n].
        offsets: int64 [n, 2], code points of `prompt`.
        hidden: bool [n], true where attention must not look (as a key; the token stays in place and
            position ids do not change).
    """

    prompt: str
    caption_start: int
    input_ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    hidden: NDArray[np.bool_]


def hidden_tokens(
    prompt: str,
    caption_start: int,
    text: Text,
    offsets: ArrayLike,
    ids: Sequence[int] | NDArray[np.int64] | None = None,
) -> NDArray[np.bool_]:
    """Which tokens of `prompt` are hidden when `text` stands at `caption_start` in it.

    Args:
        prompt: the string that was tokenised, with placeholders of media expanded or not, as it was.
        caption_start: code point of `prompt` at which `text.caption` begins.
        text: the caption and what is hidden of it.
        offsets: [n, 2] half-open code points of `prompt` for each token, as the `offset_mapping` of
            a fast tokenizer; (0, 0) for special tokens and padding.
        ids: [n] of these tokens; for a text with `tokens`.

    Returns:
        bool [n].

    Raises:
        CaptionError: the caption is not at that place, the offsets are not those of this prompt, or there are
            no ids for a text that needs them.

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
    spans = [(caption_start + start, caption_start + end) for start, end in text.hidden]
    if text.tokens is not None:
        if ids is None or len(ids) != len(bounds):
            raise CaptionError(
                "a text with flags for its tokens needs the ids of the prompt",
                found="no ids" if ids is None else f"{len(ids)} ids for {len(bounds)} offsets",
                expected="ids=, one for each token",
            )
        place = find_tokens(ids, text.tokens.ids)
        if place is not None:
            hidden = np.zeros(len(bounds), dtype=np.bool_)
            hidden[place : place + len(text.tokens.ids)] = text.tokens.hidden
            return hidden
        spans = _quoted_spans(prompt, caption_start, text, text.tokens)
    # counts[i]: hidden, non-white characters before character i of the prompt.
    counts = np.zeros(len(prompt) + 1, dtype=np.int64)
    for start, end in spans:
        counts[start + 1 : end + 1] = [not character.isspace() for character in prompt[start:end]]
    np.cumsum(counts, out=counts)
    by_characters: NDArray[np.bool_] = counts[bounds[:, 1]] > counts[bounds[:, 0]]
    return by_characters


def find_tokens(ids: Sequence[int] | NDArray[np.int64], tokens: Sequence[int]) -> int | None:
    """The first place where `tokens` stand in `ids`, one after the other; None where they do not."""
    inside, wanted = np.asarray(ids), np.asarray(tokens)
    for place in np.flatnonzero(inside[: max(0, len(inside) - len(wanted) + 1)] == wanted[0]).tolist():
        if np.array_equal(inside[place : place + len(wanted)], wanted):
            return int(place)
    return None


def _quoted_spans(prompt: str, caption_start: int, text: Text, tokens: QuotedTokens) -> list[Span]:
    """Characters of the prompt that hidden tokens of the quoted caption stand for.

    A wording may have the caption without quotes, or another sign after it: what is not there cannot be hidden.
    """
    start = caption_start - 1
    whole = quoted(text.caption)
    first = 0 if start >= 0 and prompt[start] == whole[0] else 1
    last = len(whole)
    while not prompt.startswith(whole[1:last], caption_start):
        last -= 1
    return [
        (start + max(a, first), start + min(b, last))
        for a, b in tokens.characters
        if max(a, first) < min(b, last)
    ]


def mask_prompt(
    tokenizer: Tokenizer, before: str, text: Text, after: str = "", *, add_special_tokens: bool = True
) -> MaskedPrompt:
    """Tokenise `before + caption + after` as one string and find its hidden tokens.

    Args:
        tokenizer: a fast tokenizer of transformers, or a `tokenizers.Tokenizer`.
        before: the prompt in front of the caption, for example `… the description: "`.
        text: the caption and what is hidden of it.
        after: the prompt behind the caption, for example `"?`.
        add_special_tokens: whether the tokenizer adds its own.

    Raises:
        TokenizerError: a slow tokenizer, or one that truncates.
    """
    prompt = before + text.caption + after
    tokens = tokenize(tokenizer, prompt, add_special_tokens=add_special_tokens)
    return masked_prompt(prompt, len(before), text, tokens)


def masked_prompt(prompt: str, caption_start: int, text: Text, tokens: Tokens) -> MaskedPrompt:
    """The hidden tokens of a prompt that was tokenised in whatever way.

    Args:
        prompt: the whole text.
        caption_start: code point of `prompt` at which the caption begins.
        text: the caption and what is hidden of it.
        tokens: of all of `prompt`.

    Raises:
        CaptionError: as `hidden_tokens`.
    """
    offsets = np.array(tokens.offsets, dtype=np.int64).reshape(-1, 2)
    return MaskedPrompt(
        prompt=prompt,
        caption_start=caption_start,
        input_ids=np.array(tokens.ids, dtype=np.int64),
        offsets=offsets,
        hidden=hidden_tokens(prompt, caption_start, text, offsets, tokens.ids),
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
