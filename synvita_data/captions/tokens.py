"""One way to ask a tokenizer for ids and character offsets, whichever library it comes from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import TokenizerError
from .text import Span

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
    unknown = set(_unknown(backend, encoding))
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


def _unknown(backend: Any, encoding: Any) -> Iterator[int]:
    """Positions of unknown tokens. Unigram models name no unknown token, but show the text in its place."""
    name = getattr(backend.model, "unk_token", None)
    for position, (number, token) in enumerate(zip(encoding.ids, encoding.tokens, strict=True)):
        if token == name or token != backend.id_to_token(number):
            yield position
