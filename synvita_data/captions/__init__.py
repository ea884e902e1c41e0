"""Captions: clean text and the character spans that attention hides. Prompts never enter here."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

from ..errors import CaptionError

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class QuotedTokens:
    """The tokens of `"{caption}"?`, tokenised by itself, and which of them are hidden from attention.

    The released code masks these, the closing quote and the question mark among them, which spans of a caption
    cannot say (`lcs.released_masks`). They are of one tokenizer: no dataset has them.

    Attributes:
        ids: without special tokens.
        hidden: one flag for each.
        characters: half-open spans of `"{caption}"?` that hidden tokens stand for, sorted, not overlapping: for
            prompts in which the quoted caption has other tokens than by itself.

    Raises:
        CaptionError: not one flag a token.
    """

    ids: tuple[int, ...]
    hidden: tuple[bool, ...]
    characters: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.hidden) or not self.ids:
            raise CaptionError(
                "token flags do not fit their tokens",
                found=f"{len(self.hidden)} flags for {len(self.ids)} tokens",
                expected="one flag for each token of the quoted caption",
            )


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked in place of the entailment question, and which of its answers a text stands for.

    Attributes:
        words: the question as the model reads it; where it has options, they are listed in it.
        answers: what may be answered, at least two, each one token behind the prompt: `("A", "B", "C")`,
            `("Yes", "No")`. The space that some tokenizers want before them is not theirs.
        place: which of `answers` the text stands for.

    Raises:
        CaptionError: no words, fewer than two answers, two equal ones, one that is empty or has space around it, or
            `place` is none of them.
    """

    words: str
    answers: tuple[str, ...]
    place: int = 0

    def __post_init__(self) -> None:
        if len(set(self.answers)) < max(2, len(self.answers)) or not 0 <= self.place < len(self.answers):
            raise CaptionError(
                "the answers of a question do not fit",
                found=f"{self.answers}, of which the text is number {self.place}",
                expected="two or more different answers, one of which the text stands for",
            )
        if not self.words.strip() or any(not each or each != each.strip() for each in self.answers):
            raise CaptionError(
                "a question or one of its answers is empty, or an answer has space around it",
                found=f"{self.answers} to {self.words!r}",
                expected="words, and answers such as 'A' or 'Yes'",
            )


@dataclass(frozen=True, slots=True)
class Text:
    """A clean caption and the parts of it that are hidden from attention.

    Attributes:
        caption: the caption as published, without a prompt.
        hidden: half-open character spans `(start, end)` of `caption`, in code points, sorted, not
            overlapping. Empty for a text that is shown whole; t′ of the paper is a caption with all
            but its shared spans hidden (`hidden_spans`).
        tokens: flags of the tokens of the quoted caption, which then say what is hidden in the place of `hidden`.
            Only for the models whose tokenizer they are of.
        question: what is asked in place of the entailment question; None for a caption. `caption` then only names the
            question with its answer, and nothing of it is hidden.

    Raises:
        CaptionError: a span is empty, unsorted, overlapping or outside the caption; a question with hidden parts.
    """

    caption: str
    hidden: tuple[Span, ...] = ()
    tokens: QuotedTokens | None = None
    question: Question | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple((int(a), int(b)) for a, b in self.hidden))
        check_spans(self.caption, self.hidden)
        if self.question is not None and (self.hidden or self.tokens is not None):
            raise CaptionError(
                "nothing of a question can be hidden from attention",
                found=f"hidden {list(self.hidden)} beside the question {self.question.words!r}",
                expected="hidden spans or token flags of captions only",
                fix="Leave hidden and tokens out",
            )

    def key_parts(self) -> list[Any]:
        """What keys of stored work say of a text beside its caption, JSON-ready; texts without flags or a question have
        the keys that they had before there were any."""
        flags = [] if self.tokens is None else [self.tokens.ids, self.tokens.hidden]
        asked = [] if self.question is None else [{"question": astuple(self.question)}]
        return [self.hidden, *flags, *asked]


def quoted(caption: str) -> str:
    """The caption as the entailment question shows it; what the released code compares."""
    return f'"{caption}"?'


def check_spans(caption: str, spans: Sequence[Span]) -> None:
    """Raise `CaptionError` unless `spans` are sorted, disjoint, non-empty and inside `caption`."""
    end_before = 0
    for start, end in spans:
        if not end_before <= start < end <= len(caption):
            raise CaptionError(
                "character spans do not fit their caption",
                found=f"{list(spans)} for {len(caption)} characters {caption!r}",
                expected="sorted, disjoint, non-empty half-open spans inside the caption",
                fix="Rebuild the masks from these captions",
            )
        end_before = end


def hidden_spans(caption: str, shared: Sequence[Span]) -> tuple[Span, ...]:
    """The complement of `shared` in `caption`, trimmed of white space and without white-only parts."""
    check_spans(caption, shared)
    hidden = []
    edges = [0, *(edge for span in shared for edge in span), len(caption)]
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        piece = caption[start:end]
        if stripped := piece.strip():
            first = start + piece.index(stripped)
            hidden.append((first, first + len(stripped)))
    return tuple(hidden)
