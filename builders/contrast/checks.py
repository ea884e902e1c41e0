"""Is it a contrast caption of its kind? What can be said without a model, by our longest common subsequence.

- every kind: not empty, not too long, not the caption again nor another true caption of the video, no mere negation;
- object, action, attribute, relation, count: one contiguous region is changed; count: with a number on both sides;
- hallucination: the caption is a subsequence of the contrast caption, which says more;
- flip: the same content words by stem in another order, with at most two of them lost or added.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from synvita_data.captions.lcs import matching_blocks
from synvita_data.captions.words import equal_as, is_plain, word_spans
from synvita_data.errors import choose
from synvita_data.schema import MISALIGNMENTS

from .english import AUXILIARIES, FUNCTION_WORDS, NEGATIONS, is_number, stem
from .english import tokens as english_tokens
from .kinds import MAX_CHARACTERS

# Raise it when another contrast caption passes.
RULE = 1
# Content words that a flip may lose or add, in all.
MAX_LOST = 2
# Kinds that change one place of the caption.
LOCAL = ("action", "attribute", "count", "object", "relation")


def check(caption: str, contrast: str, misalignment: str, other_captions: Iterable[str] = ()) -> str | None:
    """Why a contrast caption is refused; None if it passes.

    Args:
        caption: t^r.
        contrast: t^s, as a writer gave it.
        misalignment: one of `schema.MISALIGNMENTS`.
        other_captions: further true captions of the video.

    Raises:
        SynvitaError: an unknown misalignment.

    Example:
        >>> check("a dog runs", "a cat runs", "object")
        >>> check("a dog runs", "a cat sleeps", "count")
        'no number on both sides of the change: "dog runs", "cat sleeps"'
    """
    choose(misalignment, MISALIGNMENTS, "misalignment")
    if not contrast.strip():
        return "the contrast caption is empty"
    if len(contrast) > MAX_CHARACTERS:
        return f"the contrast caption has more than {MAX_CHARACTERS:,} characters"
    words, changed = normal_words(caption), normal_words(contrast)
    if not changed:
        return "the contrast caption has no words"
    if words == changed:
        return "the contrast caption is the caption again"
    if any(changed == normal_words(other) for other in other_captions):
        return "the contrast caption is another true caption of the video"
    if _only_negates(words, changed):
        return "the contrast caption only negates the caption"
    if misalignment in LOCAL:
        return _check_region(words, changed, misalignment)
    return _check_flip(words, changed) if misalignment == "flip" else _check_added(words, changed)


def normal_words(text: str) -> list[str]:
    """Words as they are compared: case folded, canonical, without punctuation."""
    if is_plain(text):
        return [word for word in english_tokens(text) if word[0].isalnum()]
    words = (equal_as(text[start:end]).casefold() for start, end in word_spans(text))
    return [word for word in words if any(map(str.isalnum, word))]


def changed_regions(words: Sequence[str], other: Sequence[str]) -> list[tuple[slice, slice]]:
    """Where two lists of words differ: for each gap of their longest common subsequence its part of both."""
    regions, a, b = [], 0, 0
    for start, other_start, size in [*matching_blocks(words, other), (len(words), len(other), 0)]:
        if start > a or other_start > b:
            regions.append((slice(a, start), slice(b, other_start)))
        a, b = start + size, other_start + size
    return regions


def _check_region(words: Sequence[str], changed: Sequence[str], misalignment: str) -> str | None:
    regions = changed_regions(words, changed)
    if len(regions) > 1:
        return f"{len(regions)} places are changed, where {misalignment} changes one"
    old, new = words[regions[0][0]], changed[regions[0][1]]
    if len(old) == len(words) and len(words) > 1:
        return "nothing of the caption is left"
    if misalignment == "count" and not (any(map(is_number, old)) and any(map(is_number, new))):
        return f'no number on both sides of the change: "{" ".join(old)}", "{" ".join(new)}"'
    return None


def _check_added(words: Sequence[str], changed: Sequence[str]) -> str | None:
    kept = sum(size for _, _, size in matching_blocks(words, changed))
    if kept < len(words):
        return f"{len(words) - kept} words of the caption are gone, where hallucination only adds"
    return None


def _check_flip(words: Sequence[str], changed: Sequence[str]) -> str | None:
    old, new = content(words), content(changed)
    lost, added = old - new, new - old
    if lost.total() + added.total() > MAX_LOST:
        shown = ", ".join(
            [f"without {word}" for word in sorted(lost)] + [f"with {word}" for word in sorted(added)]
        )
        return f"a flip keeps the words, and this one is {shown}"
    return None


def content(words: Iterable[str]) -> Counter[str]:
    """Stems of the words that have content, with how often each stands."""
    return Counter(stem(word) for word in words if word not in FUNCTION_WORDS)


def _only_negates(words: Sequence[str], changed: Sequence[str]) -> bool:
    """Whether the two differ by a negation, and by nothing else than the auxiliary verbs that it brings."""

    def negates(word: str) -> bool:
        return word in NEGATIONS or word.endswith("n't")

    if sum(map(negates, words)) == sum(map(negates, changed)):
        return False

    def rest(text: Sequence[str]) -> list[str]:
        return [stem(word) for word in text if not negates(word) and word not in AUXILIARIES]

    return rest(words) == rest(changed)
