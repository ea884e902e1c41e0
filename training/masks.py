"""The masked texts t′ of a row: what each caption shares with the other, shown by hiding or by removing the rest."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from synvita_data.captions.text import QuotedTokens, Span, Text, check_spans, hidden_spans
from synvita_data.captions.words import without_spaces
from synvita_data.errors import CaptionError, SchemaError, SynvitaError

from .rows import Row

MASKED_TEXT = ("hide", "remove")


class Shared(NamedTuple):
    """What a caption shares with the other one of its row.

    Attributes:
        spans: half-open character spans. tokens: flags of the released code's mask; None but for `released`.
    """

    spans: list[Span]
    tokens: QuotedTokens | None = None


def masked_text(caption: str, shared: Sequence[Span], mode: str, tokens: QuotedTokens | None = None) -> Text:
    """t′ of one caption.

    Args:
        shared: half-open character spans that the other caption shares.
        tokens: flags of the tokens of the quoted caption, which say what to hide where there are any.
        mode: `hide` (the paper): the whole caption, attention does not see the rest. `remove`: a caption of
            the shared words alone, a space where something was left out (but not between two letters of a
            script without spaces); empty where nothing is shared.

    Raises:
        CaptionError: the spans do not fit the caption.

    Example:
        >>> masked_text("a red cat, asleep", [(0, 1), (6, 10)], "hide").hidden
        ((2, 5), (11, 17))
        >>> masked_text("a red cat, asleep", [(0, 1), (6, 9), (9, 10)], "remove").caption
        'a cat,'
    """
    if mode == "hide":
        return Text(caption, hidden_spans(caption, shared), tokens)
    check_spans(caption, shared)
    words, end_before = "", 0
    for start, end in shared:
        if words and start > end_before:
            spaced = caption[end_before:start].strip() != caption[end_before:start]
            joined = not spaced and without_spaces(words[-1]) and without_spaces(caption[start])
            words += "" if joined else " "
        words += caption[start:end]
        end_before = end
    return Text(words)


def shared_of(row: Row, name: str) -> tuple[list[Span], list[Span]]:
    """The published spans of a row's two captions.

    Raises:
        SchemaError: null, or not of the column's form. CaptionError: spans that do not fit their caption.
    """
    found = []
    for column, caption in (("caption", row.caption), ("neg_caption", row.neg_caption)):
        try:
            spans = [(start, end) for start, end in row.shared[column]]
            whole = all(type(edge) is int for span in spans for edge in span)
        except (TypeError, KeyError, ValueError):
            whole = False
        if not whole:
            raise SchemaError(
                "shared is not what it should be",
                file=name,
                row=row.number,
                found=repr(row.shared),
                expected=f"a list of [start, end] whole numbers for {column}",
                fix="Build the dataset again, or train with granularity='word', which needs no such column",
            )
        try:
            check_spans(caption, spans)
        except CaptionError as error:
            raise CaptionError(
                f"the shared spans of {column} do not fit it",
                file=name,
                row=row.number,
                found=error.found,
                expected=error.expected,
                fix="Build the dataset again, or train with granularity='word', which finds them anew",
            ) from error
        found.append(spans)
    return found[0], found[1]


def shared_of_all(
    rows: Sequence[Row], granularity: str | None, tokenizer: Any, name: str
) -> list[tuple[Shared, Shared]]:
    """What the captions of each row share: as published, or found anew, once a pair of captions.

    Args:
        granularity: None for the dataset's own; one of `lcs.GRANULARITIES`.
        tokenizer: the model's, for `token` and `released`.

    Raises:
        SynvitaError: no such granularity, or spans that are missing or do not fit.
    """
    if granularity is None:
        published = [shared_of(row, name) for row in rows]
        return [(Shared(spans), Shared(neg_spans)) for spans, neg_spans in published]
    from synvita_data.captions.lcs import GRANULARITIES, released_masks, shared_spans

    if granularity not in GRANULARITIES:
        raise SynvitaError("no such granularity", found=granularity, expected=" or ".join(GRANULARITIES))
    known: dict[tuple[str, str], tuple[Shared, Shared]] = {}
    for row in rows:
        pair = (row.caption, row.neg_caption)
        if pair in known:
            continue
        if granularity == "released":
            own, other = released_masks(*pair, tokenizer)
            known[pair] = Shared(*own), Shared(*other)
        else:
            spans, neg_spans = shared_spans(
                *pair, granularity=granularity, tokenizer=None if granularity == "word" else tokenizer
            )
            known[pair] = Shared(spans), Shared(neg_spans)
    return [known[row.caption, row.neg_caption] for row in rows]
