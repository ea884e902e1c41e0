"""Where the words of a caption are, in any script.

The plain rule is `\\w+`, or one other character that is not white. It is right where words have spaces or
punctuation between them and letters need no marks: of a Chinese sentence it makes one word, and of a Hindi
one pieces of words. So:

- What a reader sees as one character (UAX #29's grapheme cluster, by `uniseg`) is never cut: a letter with its
  combining marks, Hangul jamo, an emoji with its joiners, a flag.
- Chinese, Japanese and Thai are cut into words by the models of `budoux`.
- The other scripts that put no space between words (Lao, Khmer, Burmese, …), for which it has none, are cut into
  grapheme clusters. They are known by UAX #29 too: its word rule joins their letters to nothing.
- Next to other scripts, digits and punctuation these words end.

Two words are equal if they are canonically equivalent (NFC); spans count the code points of the published caption.
Where none of this plays a part, which is so for every English caption, the words are those of the plain rule and
neither library is loaded.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from itertools import pairwise
from typing import Any
from unicodedata import category, name, normalize

from ..errors import SynvitaError
from . import Span

_PLAIN = re.compile(r"\w+|[^\w\s]")
# Categories whose characters stand for themselves: letters with case, digits, punctuation, symbols, spaces.
_STANDALONE = frozenset(["Lu", "Ll", "Lt", "Nd", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"]) | frozenset(
    ["Sm", "Sc", "So", "Zs", "Zl", "Zp", "Cc"]
)
_FLAGS = range(0x1F1E6, 0x1F200)  # regional indicators, two of which are a flag
# Signs that put the next letter below the one before (Khmer, Burmese, Tai Tham), which UAX #29 still cuts there.
_STACKERS = ("\u17d2", "\u1039", "\u1a60")

# Kinds of grapheme clusters.
SPACE, WORD, MARK, ALONE, CJK, THAI = "space", "word", "mark", "alone", "cjk", "thai"
_DICTIONARIES = (CJK, THAI)


@dataclass(slots=True)
class CutText:
    """A caption as grapheme clusters, and where its words begin.

    Attributes:
        clusters: in NFC, what makes two of them equal.
        starts: code point at which each begins, and the end.
        kinds: of each, one of those above.
        begins: whether a word (or white space) begins there.
        dictionary: whether a model was asked.
    """

    clusters: list[str]
    starts: list[int]
    kinds: list[str]
    begins: list[bool]
    dictionary: bool

    def spans(self) -> list[Span]:
        """Half-open code points of the words, without white space."""
        edges = [i for i, begins in enumerate(self.begins) if begins] + [len(self.clusters)]
        return [
            (self.starts[first], self.starts[last])
            for first, last in pairwise(edges)
            if self.kinds[first] != SPACE
        ]


def plain_spans(text: str) -> list[Span]:
    """Words by the plain rule."""
    return [match.span() for match in _PLAIN.finditer(text)]


def words_at(text: str, spans: Sequence[Span]) -> list[str]:
    """What makes the words at these places of a caption equal to others."""
    words = [text[start:end] for start, end in spans]
    return words if text.isascii() else list(map(equal_as, words))


def word_spans(text: str) -> list[Span]:
    """The `[start, end)` code points of each word of `text`, taken by itself.

    Example:
        >>> [text[a:b] for text in ["it's e\\u0301t\\u00e9, 3 किताबें"] for a, b in word_spans(text)]
        ['it', "'", 's', 'été', ',', '3', 'किताबें']
    """
    return plain_spans(text) if is_plain(text) else cut_text(text, text).spans()


def is_plain(text: str) -> bool:
    """Whether the plain rule is all there is to `text`; true for more than 99.9% of English captions."""
    return text.isascii() or all(
        character.isascii() or (category(character) in _STANDALONE and ord(character) not in _FLAGS)
        for character in text
    )


def equal_as(word: str) -> str:
    """What makes two words equal."""
    return word if word.isascii() else normalize("NFC", word)


def word_rule(*captions: str) -> str:
    """What cut these captions into words: "" for the plain rule, or libraries with their versions.

    To be recorded beside the granularity, because another release may cut otherwise. It is "" exactly where all
    words, and what makes them equal, are those of the plain rule.

    Example:
        >>> word_rule("a man eats", "a man cuts")
        ''
    """
    together = "".join(captions)
    others = [caption for caption in captions if not is_plain(caption)]
    cuts = [cut_text(caption, together) for caption in others]
    changed = any(normalize("NFC", caption) != caption for caption in captions) or any(
        cut.spans() != plain_spans(caption) for caption, cut in zip(others, cuts, strict=True)
    )
    if not changed:
        return ""
    used = ["uniseg", *(["budoux"] if any(cut.dictionary for cut in cuts) else [])]
    return "+".join(f"{library}-{version(library)}" for library in used)


def cut_text(text: str, beside: str) -> CutText:
    """`text` in clusters and words.

    Args:
        beside: all captions that are cut together; it says which language CJK characters are in.
    """
    from uniseg.graphemecluster import grapheme_clusters

    raws: list[str] = []
    starts, kinds = [0], list[str]()
    for raw in grapheme_clusters(text):
        # A mark may stand on a space; the space stays one.
        blank = len(raw) - len(raw.lstrip())
        for part in (raw[:blank], raw[blank:]):
            if not part:
                continue
            if kinds and kinds[-1] != SPACE and (category(part[0])[0] == "M" or raws[-1].endswith(_STACKERS)):
                # Burmese vowels and tones are clusters of their own to UAX #29, but nobody's words.
                raws[-1] += part
                starts[-1] += len(part)
                continue
            raws.append(part)
            starts.append(starts[-1] + len(part))
            kinds.append(_kind(part[0]))
    clusters = [normalize("NFC", raw) for raw in raws]
    # Letters and digits of scripts with spaces run on; everything else begins a new word.
    begins = [
        not (i and kind == kinds[i - 1] and kind in (WORD, SPACE, *_DICTIONARIES))
        for i, kind in enumerate(kinds)
    ]
    inside = [i for i, begin in enumerate(begins) if not begin and kinds[i] in _DICTIONARIES]
    for model in {_model(kinds[i], beside) for i in inside}:
        found = _boundaries(model, clusters)
        for i in inside:
            if _model(kinds[i], beside) == model:
                begins[i] = i in found
    return CutText(clusters, starts, kinds, begins, bool(inside))


def cut_alike(one: CutText, other: CutText, blocks: Sequence[tuple[int, int, int]]) -> None:
    """Where two captions say the same, cut them in the same places: in all that either is cut in.

    What a model cuts depends on what stands around it, so the same words can come out in other pieces beside the
    one word in which the captions differ.

    Args:
        blocks: `(start in one, start in other, length)` of clusters that both have in a row.
    """
    places = [
        (start + step, other_start + step) for start, other_start, size in blocks for step in range(size + 1)
    ]
    for i, j in [(i, j) for i, j in places if _begins(one, i) or _begins(other, j)]:
        _cut(one, i)
        _cut(other, j)


def without_spaces(character: str) -> bool:
    """Whether a character is a letter of a script that puts no space between words."""
    return not character.isascii() and _kind(character) in (CJK, THAI, ALONE)


def _begins(cut: CutText, place: int) -> bool:
    return place in (0, len(cut.clusters)) or cut.begins[place]


def _cut(cut: CutText, place: int) -> None:
    """Only what a model kept together: a word of a script with spaces is never cut."""
    if 0 < place < len(cut.clusters) and cut.kinds[place] in _DICTIONARIES:
        cut.begins[place] = True


@lru_cache(maxsize=1 << 14)
def _kind(character: str) -> str:
    """Of a grapheme cluster that begins with this character."""
    if character.isspace():
        return SPACE
    if not (character.isalnum() or character == "_"):
        return MARK
    if category(character) in ("Lo", "Lm", "Nl"):
        from uniseg.wordbreak import word_break

        if word_break(character).value in ("Other", "Katakana"):
            return _script(character)
    return WORD


def _script(character: str) -> str:
    """Which model knows a letter that needs one."""
    if "\u0e00" <= character <= "\u0e7f":
        return THAI
    known = {"CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "HENTAIGANA"}
    return CJK if known & _first_words_of_name(character) else ALONE


def _first_words_of_name(character: str) -> set[str]:
    return set(name(character, "").replace("-", " ").split()[:2])


def _model(kind: str, beside: str) -> str:
    """Name of the model for runs of this kind."""
    if kind == THAI:
        return "th"
    kana = {"HIRAGANA", "KATAKANA"}
    if any(not c.isascii() and kana & _first_words_of_name(c) for c in beside):
        return "ja_word"
    # Chinese: in the characters that only one of the two models has seen.
    known = {name: _seen(name) for name in ("zh-hans", "zh-hant")}
    traditional = sum(c in known["zh-hant"] and c not in known["zh-hans"] for c in beside)
    simplified = sum(c in known["zh-hans"] and c not in known["zh-hant"] for c in beside)
    return "zh-hant" if traditional > simplified else "zh-hans"


@lru_cache
def _parser(model: str) -> Any:
    """A model of BudouX. Its loaders give phrases of Japanese, for line breaks; words are in a file of their own."""
    from budoux.parser import Parser

    path = files("budoux") / "models" / f"{model}.json"
    try:
        return Parser(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise SynvitaError(
            "budoux has no model to cut words with",
            file=str(path),
            found=f"budoux {version('budoux')}: {error}",
            expected="the models ja_word, zh-hans, zh-hant and th of its release 0.10",
            fix="Install a release of budoux that has it: pip install 'budoux>=0.10'",
        ) from error


@lru_cache
def _seen(model: str) -> frozenset[str]:
    """The single characters a model was trained on."""
    return frozenset(c for table in _parser(model).model.values() for c in table if len(c) == 1)


@lru_cache(maxsize=1 << 12)
def _boundaries_of(model: str, text: str) -> tuple[int, ...]:
    ends, place = [], 0
    for piece in _parser(model).parse(text):
        place += len(piece)
        ends.append(place)
    return tuple(ends)


def _boundaries(model: str, clusters: Sequence[str]) -> set[int]:
    """The clusters at which the model begins a word. It reads NFC, so that both forms are cut alike."""
    ends = set(_boundaries_of(model, "".join(clusters)))
    found, place = set(), 0
    for i, cluster in enumerate(clusters):
        if place in ends:
            found.add(i)
        place += len(cluster)
    return found
