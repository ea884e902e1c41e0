"""What a caption and its contrast caption share: longest common subsequences as character spans.

The published column `shared` and the paper's t′ come from here. Three granularities:

- `word` (the published one): a word is `\\w+`, or one character that is neither a word character nor
  white space; `words` says what it is in scripts that need more than that. Case counts unless
  `ignore_case` is asked for.
- `token`: the ids that a tokenizer gives the bare captions.
- `released`: as the paper's released code does it, for reproduction only: characters of the
  space-joined token ids of `"{caption}"?`, so that token 29 counts as shared with token 2629.

Which of several longest subsequences is taken (`word` and `token`; `matching_blocks`): the common
head and then the common tail always belong to it. Of the rest, read from the last shared element to
the first, each stands as early as it can in the first sequence, and then in the second; "first" is
the shorter sequence, of equally long ones the smaller in code point order. So swapping the captions
swaps the result, and neither a hash seed nor the machine has a say.
"""

from collections.abc import Sequence
from itertools import chain, count
from typing import Any

from rapidfuzz.distance import LCSseq

from ..errors import SynvitaError, TokenizerError, choose
from . import QuotedTokens, Span, quoted
from .masking import Tokenizer, Tokens, tokenize
from .words import cut_alike, cut_text, is_plain, plain_spans, words_at
from .words import word_spans as word_spans

GRANULARITIES = ("word", "token", "released")

# `matching_blocks`: (start in the first, start in the second, length), as in difflib.
Block = tuple[int, int, int]


def shared_spans(
    caption: str,
    neg_caption: str,
    *,
    granularity: str = "word",
    ignore_case: bool = False,
    tokenizer: Tokenizer | None = None,
) -> tuple[list[Span], list[Span]]:
    """Half-open code point spans of each caption that the other one shares: sorted, disjoint, not empty.

    A span holds one run of words (tokens) adjacent in *both* captions, with the white space between
    them, and neither begins nor ends with white space. At word level the k-th span of one caption is
    the same words as the k-th of the other. Two spans may touch ("cat" and "," of "cat," when
    the other caption has "cat today,").

    At token level a character spread over several tokens is shared only if all of them are. At
    `released` level a span is a run of shared tokens of its own caption alone, and the two captions
    are compared once in each direction, as the released code does, which may give different lengths.
    There the spans cannot say that the quotes around a caption or the question mark are hidden:
    `released_masks` can, and is what training with that granularity takes.

    Args:
        caption: describes the real video.
        neg_caption: its contrast caption.
        granularity: one of `GRANULARITIES`.
        ignore_case: compare case-folded words; word level only.
        tokenizer: a fast tokenizer of transformers or a `tokenizers.Tokenizer`; not at word level.

    Raises:
        TokenizerError: no tokenizer, a slow one, or one that truncates.
        SynvitaError: an unknown granularity, or an option that does not go with it.
    """
    if granularity == "word" and tokenizer is None:
        return _shared_words(caption, neg_caption, ignore_case)
    if choose(granularity, GRANULARITIES, "granularity") == "word":
        raise SynvitaError("word-level masks take no tokenizer", fix="Leave it out, or ask for 'token'")
    if ignore_case:
        raise SynvitaError(
            "ignore_case is for words only",
            found=f"granularity {granularity!r}",
            fix="Leave it out: the tokenizer decides what is equal",
        )
    if tokenizer is None:
        raise TokenizerError(f"granularity {granularity!r} needs a tokenizer", fix="Pass tokenizer=…")
    if granularity == "token":
        return _shared_tokens(caption, neg_caption, tokenizer)
    masks = released_masks(caption, neg_caption, tokenizer)
    return masks[0][0], masks[1][0]


def matching_blocks(one: Sequence[Any], other: Sequence[Any]) -> list[Block]:
    """The longest common subsequence of two sequences, as maximal blocks adjacent in both.

    `matching_blocks(b, a)` is `matching_blocks(a, b)` with the sides exchanged. The module says which
    of several longest subsequences is taken.

    Args:
        one: elements that hash, compare equal and order (`<`) among themselves.
        other: elements of the same kind.

    Returns:
        `(start in one, start in other, length)` in increasing order; lengths are at least 1.
    """
    if swapped := (len(other), other) < (len(one), one):
        one, other = other, one
    # Small numbers in place of elements: rapidfuzz compares hashes, and those of strings may collide.
    number = dict(zip(chain(one, other), count())).__getitem__
    blocks = LCSseq.opcodes(list(map(number, one)), list(map(number, other))).as_matching_blocks()
    if swapped:
        return [(b, a, size) for a, b, size in blocks if size]
    return [(a, b, size) for a, b, size in blocks if size]  # the last one is an empty end mark


def released_shared_tokens(ids: Sequence[int], other_ids: Sequence[int]) -> list[bool]:
    """Which of `ids` the released code keeps visible: its character-level LCS over joined token ids.

    Each list is joined with spaces into one string; a token is shared if every digit of it belongs to
    the longest common subsequence of the two strings. Among several, the one that pylcs 0.1.1
    (`lcs_sequence_idx`) takes: traced from the end, equal characters always match, otherwise the last
    character of `ids` is dropped unless that would lose length.

    Args:
        ids: of `"{caption}"?` with its quotes, tokenised alone and without special tokens.
        other_ids: the same of the other caption.

    Returns:
        One flag per token of `ids`. The flags of `other_ids` come from a call with both exchanged.
    """
    text, other = " ".join(map(str, ids)), " ".join(map(str, other_ids))
    kept = _traced_from_the_end(text, other)
    shared, start = [], 0
    for number in ids:
        end = start + len(str(number))
        shared.append(all(kept[start:end]))
        start = end + 1  # the space
    return shared


def released_masks(
    caption: str, neg_caption: str, tokenizer: Tokenizer
) -> tuple[tuple[list[Span], QuotedTokens], tuple[list[Span], QuotedTokens]]:
    """What the released code masks of two captions, token for token.

    Returns:
        For each caption the spans that `shared_spans` gives, and the flags of the tokens of `"{caption}"?`.

    Raises:
        TokenizerError: as `shared_spans`.

    Example:
        >>> (_, flags), _ = released_masks("a cat.", "a dog", llama)  # doctest: +SKIP
        >>> dict(zip(llama.convert_ids_to_tokens(flags.ids), flags.hidden))  # doctest: +SKIP
        {'▁"': False, 'a': False, '▁cat': True, '."': True, '?': True}
    """
    both = [tokenize(tokenizer, quoted(text), add_special_tokens=False) for text in (caption, neg_caption)]

    def mask(text: str, own: Tokens, other: Tokens) -> tuple[list[Span], QuotedTokens]:
        shared = released_shared_tokens(own.ids, other.ids)
        # Without the opening quote, up to the closing one.
        inside = [
            (min(max(start - 1, 0), len(text)), min(max(end - 1, 0), len(text))) for start, end in own.offsets
        ]
        seen = [False] * (len(text) + 3)
        for (start, end), is_shared in zip(own.offsets, shared, strict=True):
            if not is_shared:
                seen[start:end] = [True] * (end - start)
        flags = QuotedTokens(tuple(own.ids), tuple(not is_shared for is_shared in shared), tuple(_runs(seen)))
        return _spans_of_runs(text, inside, _runs(shared)), flags

    return mask(caption, both[0], both[1]), mask(neg_caption, both[1], both[0])


def _shared_words(caption: str, neg_caption: str, ignore_case: bool) -> tuple[list[Span], list[Span]]:
    spans, neg_spans = _words_of_both(caption, neg_caption)
    words, neg_words = words_at(caption, spans), words_at(neg_caption, neg_spans)
    if ignore_case:
        words, neg_words = [w.casefold() for w in words], [w.casefold() for w in neg_words]
    blocks = matching_blocks(words, neg_words)
    # Words adjacent in a caption have nothing but white space between them, so a block is one span.
    return (
        [(spans[a][0], spans[a + size - 1][1]) for a, _, size in blocks],
        [(neg_spans[b][0], neg_spans[b + size - 1][1]) for _, b, size in blocks],
    )


def _words_of_both(caption: str, neg_caption: str) -> tuple[list[Span], list[Span]]:
    """Words of two captions; where both say the same, they are cut alike."""
    if is_plain(caption) and is_plain(neg_caption):
        return plain_spans(caption), plain_spans(neg_caption)
    one, other = (cut_text(text, caption + neg_caption) for text in (caption, neg_caption))
    if one.dictionary or other.dictionary:
        cut_alike(one, other, matching_blocks(one.clusters, other.clusters))
    return one.spans(), other.spans()


def _shared_tokens(caption: str, neg_caption: str, tokenizer: Tokenizer) -> tuple[list[Span], list[Span]]:
    tokens = tokenize(tokenizer, caption, add_special_tokens=False)
    neg_tokens = tokenize(tokenizer, neg_caption, add_special_tokens=False)
    blocks = matching_blocks(tokens.keys, neg_tokens.keys)
    return (
        _spans_of_runs(caption, tokens.offsets, [(a, a + size) for a, _, size in blocks]),
        _spans_of_runs(neg_caption, neg_tokens.offsets, [(b, b + size) for _, b, size in blocks]),
    )


def _spans_of_runs(text: str, offsets: Sequence[Span], runs: Sequence[Span]) -> list[Span]:
    """Character spans of runs `[first token, last token)`, without characters of tokens outside them."""
    outside = [True] * len(offsets)
    for first, last in runs:
        outside[first:last] = [False] * (last - first)
    hidden = [False] * len(text)
    for (start, end), is_outside in zip(offsets, outside, strict=True):
        if is_outside:
            hidden[start:end] = [True] * (end - start)
    spans, done = [], 0
    for first, last in runs:
        # Two runs can meet inside one character: the bytes of an emoji. It goes to the first.
        start = max(done, min(start for start, _ in offsets[first:last]))
        done = max(done, max(end for _, end in offsets[first:last]))
        for a, b in _runs([not character for character in hidden[start:done]]):
            piece = text[start + a : start + b]
            if stripped := piece.strip():
                begin = start + a + piece.index(stripped)
                spans.append((begin, begin + len(stripped)))
    return spans


def _runs(flags: Sequence[bool]) -> list[Span]:
    """Maximal `[start, end)` stretches of true flags."""
    edges = [i for i, (a, b) in enumerate(zip([False, *flags], [*flags, False], strict=True)) if a != b]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _traced_from_the_end(text: str, other: str) -> list[bool]:
    """Which characters of `text` pylcs matches with `other`; see `released_shared_tokens`.

    Lengths of longest common subsequences grow by 0 or 1 from one prefix of `text` to the next, so
    one integer per prefix of `other` holds a whole row of them (Hyyrö 2004): bit i is set if prefix
    i + 1 of `text` shares one more character than prefix i.
    """
    where: dict[str, int] = {}
    for i, character in enumerate(text):
        where[character] = where.get(character, 0) | 1 << i
    everything = (1 << len(text)) - 1
    flat = everything  # the complement of the row: where lengths do not grow
    grows = [0]
    for character in other:
        matches = flat & where.get(character, 0)
        flat = ((flat + matches) | (flat - matches)) & everything
        grows.append(flat ^ everything)

    kept = [False] * len(text)
    i, j = len(text), len(other)
    while i and j:
        if text[i - 1] == other[j - 1]:
            i, j = i - 1, j - 1
            kept[i] = True
        elif grows[j] >> (i - 1) & 1:
            j -= 1
        else:
            i -= 1
    return kept
