"""A caption as the rules read it: its words with their places, and edits of it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from random import Random

from ..english import BE, listed, stem
from .inflect import article
from .lexicon import Lexicon
from .tables import Group, Phrase

_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+|[^\w\s]|_")
_ENDS = frozenset((".", ",", ";", "!", "?", ":"))
# Words that end a clause, as far as the rules read it.
JOINS = frozenset(listed("and while as then before after but when or until because"))


@dataclass(frozen=True, slots=True)
class Edit:
    """One contrast caption before it is written.

    Attributes:
        text: the contrast caption.
        weight: how readily it is taken, above 0.
        source, target: the changed words; None for a flip.
        nle: explanation.
    """

    text: str
    weight: float
    source: str | None
    target: str | None
    nle: str


class Sentence:
    """Words of a caption.

    Attributes:
        text: the caption.
        words: tokens in lower case.
        spans: of each in the caption.
        random: of what a rule draws.
    """

    def __init__(self, text: str, lexicon: Lexicon, random: Random | None = None) -> None:
        self.text, self.lexicon, self.random = text, lexicon, random or Random(0)
        found = list(_TOKEN.finditer(text))
        self.spans = [match.span() for match in found]
        self.words = [match.group().lower().replace("’", "'") for match in found]

    @cached_property
    def stems(self) -> list[str]:
        return [stem(word) for word in self.words]

    @cached_property
    def is_english(self) -> bool:
        """Whether at least two fifths of its words, and two words or more, are English ones that the tables know."""
        letters = [word for word in self.words if word[0].isalpha()]
        closed = sum(word in self.lexicon.closed for word in letters)
        known = sum(map(self.lexicon.is_known, letters))
        return closed >= 1 and known >= 2 and 5 * known >= 2 * len(letters) and 6 * closed >= len(letters)

    def word(self, place: int) -> str:
        """The word there, empty outside."""
        return self.words[place] if 0 <= place < len(self.words) else ""

    def ends(self, place: int) -> bool:
        """Whether a clause is over before this word."""
        word = self.word(place)
        return not word or word in _ENDS or word in JOINS

    def glued(self, start: int, end: int) -> bool:
        """Whether a sign such as a hyphen or a quote stands at the words, so that they are part of something."""
        before, after = self.word(start - 1), self.word(end)
        strange = (before and not before[0].isalnum() and before not in _ENDS) or (
            after and not after[0].isalnum() and after not in _ENDS
        )
        return bool(strange)

    def has(self, phrases: Iterable[Phrase], start: int, end: int) -> bool:
        """Whether one of the phrases stands outside of the words [start, end)."""
        for phrase in phrases:
            size = len(phrase)
            for place in self._places.get(phrase[0], ()):
                inside = start <= place < end
                if not inside and (size == 1 or tuple(self.words[place : place + size]) == phrase):
                    return True
        return False

    def spoils(self, group: Group, start: int, end: int) -> bool:
        """Whether one of the group's `unless` stands outside of the words [start, end)."""
        return any(
            self.has(group.unless_at[word], start, end) for word in self._places if word in group.unless_at
        )

    @cached_property
    def _places(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for place, word in enumerate(self.words):
            found.setdefault(word, []).append(place)
        return found

    def repeats(self, start: int, end: int) -> bool:
        """Whether the last of the words stands elsewhere too, in any form."""
        return self.stems.count(self.stems[end - 1]) > 1

    def mentions(self, text: str, start: int = 0, end: int = 0) -> bool:
        """Whether a word of the text stands in the caption outside of the words [start, end), in any form."""
        stems = {stem(word) for word in text.lower().split() if word not in self.lexicon.closed}
        return any(self.stems.count(own) > self.stems[start:end].count(own) for own in stems & self._stem_set)

    @cached_property
    def _stem_set(self) -> frozenset[str]:
        return frozenset(self.stems)

    def slice(self, start: int, end: int) -> str:
        """The caption's own text of the words [start, end)."""
        return self.text[self.spans[start][0] : self.spans[end - 1][1]] if start < end else ""

    def replace(self, start: int, end: int, new: str, weight: float) -> Edit:
        """The edit that puts `new` in the place of the words [start, end); an article before it fits itself."""
        source, target = self.slice(start, end), like(self.slice(start, end), new)
        if self.word(start - 1) in ("a", "an"):
            start -= 1
            own = self.slice(start, start + 1)
            fitting = article(new)
            target_text = f"{fitting.capitalize() if own[0].isupper() and len(self.words) > start else fitting} {target}"
        else:
            target_text = target
        a, b = self.spans[start][0], self.spans[end - 1][1]
        return Edit(
            self.text[:a] + target_text + self.text[b:],
            weight,
            source,
            target,
            f'The video shows "{source}", not "{target}".',
        )

    @cached_property
    def has_finite_verb(self) -> bool:
        """Whether a finite verb stands right behind a noun that acts: of a caption that is only a noun phrase, none does."""
        for place, word in enumerate(self.words[1:], 1):
            before, forms = self.words[place - 1], self.lexicon.verb_form.get(word, ())
            if word in ("is", "are", "was", "were"):
                return True
            if "s" in forms and self.lexicon.is_acting(before, plural=False):
                return True
            if "base" in forms and self.lexicon.is_acting(before, plural=True):
                return True
        return False

    def noun_at(self, place: int) -> bool:
        return bool(self.lexicon.nouns.at(self.words, place)[1])

    def after_noun(self, place: int, *, plural: bool) -> bool:
        """Whether what stands there may come behind a whole noun phrase: its end, a preposition, a verb, …"""
        word = self.word(place)
        if self.ends(place) or word in BE:
            return True
        if word == "of" or word in self.lexicon.determiners:
            return False
        if word in self.lexicon.closed or word.endswith("ly"):
            return True
        forms = self.lexicon.verb_form.get(word, ())
        return "ing" in forms or (("base" if plural else "s") in forms and not self.noun_at(place))


def like(old: str, new: str) -> str:
    """`new` in the case of `old`: A Dog, A DOG, a dog."""
    if old.isupper() and len(old) > 1:
        return new.upper()
    return new[:1].upper() + new[1:] if old[:1].isupper() else new
