"""What follows `<image>` or `<video>` in a prompt: two ways to tokenise what stands around a placeholder.

The original code of LLaVA-1.5 and Video-LLaVA parts a prompt at its placeholders and tokenises each part by itself
with LLaMA's sentencepiece model, which puts a space before every text: `<image>`, `▁`, line break, `Does`. The
processors of transformers tokenise the whole string, and whether a `▁` follows depends on `legacy` in the
checkpoint's `tokenizer_config.json` and on the release: with `true` it does, with `false` or without the key it does
not from transformers 5 on. So both are here by name:

- `processor`: whatever transformers' own processor gives for this checkpoint (the default).
- `original`: parts tokenised by themselves, as the original code does.
"""

import re
from collections.abc import Sequence

from ..errors import TokenizerError, choose
from .masking import Tokenizer, Tokens, tokenize
from .text import Span

PLACEHOLDER_SPACES = ("processor", "original")
_SPACE = "▁"  # sentencepiece's
# How many tokens behind the placeholder are shown and recorded: the space, the line break, the first word.
SHOWN = 3


def check_placeholder_space(name: str, allowed: Sequence[str] = PLACEHOLDER_SPACES) -> str:
    """The name, if it is one.

    Raises:
        SynvitaError: it is not.
    """
    what = "placeholder_space for this model" if name in PLACEHOLDER_SPACES else "placeholder_space"
    fix = "`processor` is what transformers gives; `original` is of LLaVA-1.5 and Video-LLaVA"
    return choose(name, allowed, what, fix=fix)


def tokenize_in_parts(tokenizer: Tokenizer, text: str, placeholder: str, placeholder_id: int) -> Tokens:
    """Tokens of `text` with its parts between placeholders tokenised by themselves, and one id a placeholder.

    The tokens at the start (BOS) come once, before the first part.

    Args:
        tokenizer: a fast tokenizer of LLaMA's kind.
        text: the whole prompt.
        placeholder: its text, `<image>` or `<video>`.
        placeholder_id: its token.

    Returns:
        Offsets are those of `text`. The space put before a part belongs to its first character.

    Raises:
        TokenizerError: the tokenizer puts no space before a text, has no offsets, or truncates.
    """
    letter = tokenizer.convert_ids_to_tokens(tokenizer("a", add_special_tokens=False)["input_ids"])
    if not letter[0].startswith(_SPACE):
        raise TokenizerError(
            "the tokenizer does not put a space before a text, as LLaMA's does",
            found=letter,
            expected=f"{_SPACE}a",
            fix="Leave placeholder_space as it is by default",
        )
    start_ids = tokenize(tokenizer, "", add_special_tokens=True).ids
    ids, offsets = list(start_ids), [(0, 0)] * len(start_ids)
    keys = [(number, "") for number in start_ids]
    start = 0
    for part in re.split(f"({re.escape(placeholder)})", text):
        if part == placeholder:
            ids.append(placeholder_id)
            offsets.append((start, start + len(part)))
            keys.append((placeholder_id, ""))
        elif part:
            own = _part(tokenizer, part)
            ids += own.ids
            offsets += [(start + a, start + b) for a, b in own.offsets]
            keys += own.keys
        start += len(part)
    return Tokens(ids, offsets, keys)


def behind(ids: Sequence[int], placeholder_id: int) -> list[int]:
    """The first ids behind the last placeholder."""
    last = max(i for i, number in enumerate(ids) if number == placeholder_id)
    return [int(number) for number in ids[last + 1 : last + 1 + SHOWN]]


def describe(space: str, ids: Sequence[int], tokens: Sequence[str]) -> str:
    """One line for people: what follows the placeholder. Control characters of a tokenizer's words are escaped."""
    shown = ", ".join(f"{number} {token!r}" for number, token in zip(ids, tokens, strict=True))
    return f"behind the placeholder ({space}): {shown}"


def _part(tokenizer: Tokenizer, part: str) -> Tokens:
    """One part by itself, as sentencepiece reads it: with a space before it, also where it begins with one."""
    added = 1 if part[0] == " " and not _doubles(tokenizer) else 0
    tokens = tokenize(tokenizer, " " * added + part, add_special_tokens=False)
    offsets: list[Span] = [(max(a - added, 0), max(b - added, 0)) for a, b in tokens.offsets]
    offsets[0] = (0, max(1, offsets[0][1]))
    return Tokens(tokens.ids, offsets, tokens.keys)


def _doubles(tokenizer: Tokenizer) -> bool:
    """Whether a space at the start of a text stands beside the one that is put there. In transformers' LLaMA tokenizer it
    takes its place; sentencepiece keeps both."""
    return (
        tokenize(tokenizer, " a", add_special_tokens=False).ids
        != tokenize(tokenizer, "a", add_special_tokens=False).ids
    )
