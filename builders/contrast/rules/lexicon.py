"""What the rules know of a word: which nouns, verbs and other words it may be. Built once from the tables."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..english import (
    ARTICLES,
    AUXILIARIES,
    CONNECTIVES,
    NUMBERS,
    PREPOSITIONS,
    PRONOUNS,
    stem,
    tokens,
)
from .tables import Group, Phrase, Tables


@dataclass(frozen=True, slots=True)
class Entry:
    """One reading of a phrase: a word of a group, in one of its forms.

    Attributes:
        group: of the table.
        place: which of the group's words, so that synonyms have the same.
        form: `singular`, `plural` of a noun; one of `inflect.FORMS` of a verb; empty for words without forms.
    """

    group: Group
    place: int
    form: str = ""


class Phrases:
    """Phrases by their first word, to find the longest one that stands somewhere."""

    def __init__(self) -> None:
        self._entries: dict[Phrase, list[Entry]] = defaultdict(list)
        self._longest: dict[str, int] = {}

    def add(self, text: str, entry: Entry) -> None:
        phrase = tuple(tokens(text))
        self._entries[phrase].append(entry)
        self._longest[phrase[0]] = max(self._longest.get(phrase[0], 0), len(phrase))

    def at(self, words: Sequence[str], place: int) -> tuple[int, Sequence[Entry]]:
        """End of the longest phrase that begins there and its readings; `(place, ())` where none does."""
        if not 0 <= place < len(words):
            return place, ()
        for size in range(min(self._longest.get(words[place], 0), len(words) - place), 0, -1):
            if found := self._entries.get(tuple(words[place : place + size])):
                return place + size, found
        return place, ()

    def entries(self, word: str) -> Sequence[Entry]:
        return self._entries.get((word,), ())


class Lexicon:
    """The tables, by the forms in which words stand in captions."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.nouns, self.verbs, self.attributes, self.relations = (Phrases() for _ in range(4))
        for group in tables.nouns:
            for place, noun in _each(group):
                for form, word in tables.noun_forms(group, noun).items():
                    self.nouns.add(word, Entry(group, place, form))
        for group in tables.verbs:
            for place, verb in _each(group):
                for form, word in tables.verb_forms(verb).items():
                    self.verbs.add(word, Entry(group, place, form))
        for phrases, groups in ((self.attributes, tables.attributes), (self.relations, tables.relations)):
            for group in groups:
                for place, word in _each(group):
                    phrases.add(word, Entry(group, place))
        # Words that are only read, never changed.
        own = tables.words("verbs") | {verb.split()[0] for group in tables.verbs for _, verb in _each(group)}
        self.verb_form: dict[str, set[str]] = defaultdict(set)
        self.verb_base: dict[str, str] = {}
        for verb in sorted(own):
            for form, word in tables.verb_forms(verb.split()[0]).items():
                self.verb_form[word].add(form)
                self.verb_base.setdefault(word, verb.split()[0])
        self.adjectives = tables.words("adjectives")
        self.adverbs = tables.words("adverbs")
        self.determiners = ARTICLES | tables.words("determiners") | frozenset(NUMBERS)
        self.paired = tables.words("paired")
        self.closed = (
            ARTICLES | AUXILIARIES | PRONOUNS | PREPOSITIONS | CONNECTIVES | self.determiners | self.adverbs
        ) | frozenset(("how", "where", "why", "not"))
        self.motion = {stem(verb) for verb in tables.raw["relations"]["verbs"]["motion"]}
        self.rest = {stem(verb) for verb in tables.raw["relations"]["verbs"]["rest"]}

    @cached_property
    def lists(self) -> dict[str, tuple[str, ...]]:
        return {name: tuple(words) for name, words in self.tables.raw["verbs"]["lists"].items()}

    @cached_property
    def persons(self) -> frozenset[str]:
        """Forms of nouns that act: people and animals."""
        acting = (
            "persons",
            "men and boys",
            "women and girls",
            "ages",
            "occupations",
            "pets",
            "farm animals",
            "riding animals",
            "wild animals",
            "reptiles",
            "insects",
            "sea animals",
        )
        return frozenset(
            word
            for group in self.tables.nouns
            if group.name in acting
            for _, noun in _each(group)
            for word in self.tables.noun_forms(group, noun).values()
        ) | frozenset(("camera", "cameras", "people", "players", "children"))

    def is_known(self, word: str) -> bool:
        return (
            word in self.closed
            or word in self.verb_form
            or word in self.adjectives
            or bool(self.nouns.entries(word) or self.attributes.entries(word))
        )

    def is_plural(self, word: str) -> bool:
        """A noun in the plural, as far as its form tells."""
        forms = {entry.form for entry in self.nouns.entries(word)}
        if forms:
            return "plural" in forms
        return word.endswith("s") and not word.endswith(("ss", "us", "'s", "is")) and len(word) > 3

    def is_acting(self, word: str, *, plural: bool | None = None) -> bool:
        """A noun or pronoun that may be who does something.

        Args:
            word: in lower case.
            plural: only nouns in the plural, or only in the singular; None for both.
        """
        if word in ("he", "she", "it", "someone", "somebody", "everyone", "who", "that", "which"):
            return not plural or word in ("who", "that", "which")
        if word in ("they", "we", "others"):
            return plural is not False
        if word not in self.persons:
            return False
        return plural is None or any((entry.form == "plural") == plural for entry in self.nouns.entries(word))


def _each(group: Group) -> Iterable[tuple[int, str]]:
    for place, synonyms in enumerate(group.words):
        for word in synonyms:
            yield place, word
