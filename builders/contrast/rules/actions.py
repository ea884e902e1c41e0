"""The rule of actions: a verb becomes another one of its class, in the same form."""

from collections.abc import Iterator

from ..english import BE, PREPOSITIONS, listed
from .lexicon import Entry
from .sentence import Edit, Sentence
from .words import weight_of

_BEFORE_ING = frozenset(
    listed("and while then before after by start starts begin begins stop stops keep keeps started")
)
_LISTENING = frozenset(listed("listen listens listening dance dances dancing close next due used talk talks"))


def actions(sentence: Sentence) -> Iterator[Edit]:
    """A verb becomes another one of its class, where what stands around it fits both."""
    for place in range(len(sentence.words)):
        end, entries = sentence.lexicon.verbs.at(sentence.words, place)
        for entry in entries:
            if _is_verb(sentence, place, entry.form) and _fits(sentence, place, end, entry):
                yield from _others(sentence, place, end, entry)


def _others(sentence: Sentence, start: int, end: int, entry: Entry) -> Iterator[Edit]:
    forms = sentence.lexicon.tables.verb_forms
    for place, synonyms in enumerate(entry.group.words):
        new = forms(synonyms[0])[entry.form]
        if place != entry.place and not sentence.mentions(new, start, end):
            yield sentence.replace(start, end, new, weight_of(sentence, start, end, new))


def _is_verb(sentence: Sentence, place: int, form: str) -> bool:
    """Whether a word that may be this form of a verb is one here, by the word before it."""
    lexicon, before, earlier = sentence.lexicon, sentence.word(place - 1), sentence.words[:place]
    if sentence.glued(place, place + 1):
        return False
    if before.endswith("ly") or before in ("then", "also", "both", "all", "just", "together"):
        before = sentence.word(place - 2)
    joined = before in ("and", ",", "then")

    def had(form: str) -> bool:
        return any(form in lexicon.verb_form.get(word, ()) for word in earlier)

    if form == "ing":
        if joined:
            return had("ing")
        return before in BE or before in _BEFORE_ING or lexicon.is_acting(before)
    if form == "s":
        if joined:
            return had("s")
        return lexicon.is_acting(before, plural=False)
    if form == "base":
        if before == "to":
            return sentence.word(place - 2) not in _LISTENING
        return (
            lexicon.is_acting(before, plural=True) and before not in ("who", "that", "which")
        ) or before == "can"
    if form == "past":
        alike = "base" in lexicon.verb_form.get(sentence.word(place), ())
        return not alike and (lexicon.is_acting(before) or (joined and had("past"))) and before not in BE
    return False


def _fits(sentence: Sentence, start: int, end: int, entry: Entry) -> bool:
    group = entry.group
    if sentence.repeats(start, start + 1) or sentence.spoils(group, start, end):
        return False
    # Behind "to" a phrase of one verb may be the name of a thing: "how to cook".
    if group.needs and not sentence.has(group.needs, start, end):
        return False
    if following := group.fields.get("next"):
        return _comes_next(sentence, end, following)
    return _has_object(sentence, end, entry)


def _comes_next(sentence: Sentence, place: int, following: list[str]) -> bool:
    lists = sentence.lexicon.lists
    allowed = [word for name in following for word in lists.get(name, (name,))]
    word = sentence.word(place)
    for each in allowed:
        if each == "end":
            if sentence.ends(place):
                return True
        elif each == "-ing":
            if "ing" in sentence.lexicon.verb_form.get(word, ()):
                return True
        elif sentence.words[place : place + len(parts)] == parts if (parts := each.split()) else False:
            return True
    return False


def _has_object(sentence: Sentence, place: int, entry: Entry) -> bool:
    """Whether the noun phrase behind the verb has one of the class's objects as its head."""
    lexicon, group = sentence.lexicon, entry.group
    end = place
    # The phrase goes on to the first word that belongs to no noun phrase.
    while end < len(sentence.words) and end - place < 6:
        word = sentence.word(end)
        if sentence.ends(end) or word in PREPOSITIONS or word in BE or not (word[0].isalnum()):
            break
        if end > place and (
            (word in lexicon.adverbs and word not in lexicon.adjectives) or word in ("to", "that", "who")
        ):
            break
        if end > place and "ing" in lexicon.verb_form.get(word, ()):
            break
        end += 1
    if end == place or sentence.word(end) in ("of", "-", "'"):
        return False
    first = sentence.word(place)
    determined = first in lexicon.determiners or first.endswith("'s")
    if (group.flag("determined") or "any" in group.fields["objects"]) and not determined:
        return False
    if group.flag("closed") and not sentence.ends(end):
        return False
    if "any" in group.fields["objects"]:
        return end - place >= 2
    return _names(sentence, place, end, group.fields["objects"])


def _names(sentence: Sentence, start: int, end: int, objects: list[str]) -> bool:
    lexicon = sentence.lexicon
    for place in range(max(start, end - 3), end):
        phrase = sentence.words[place:end]
        if " ".join(phrase) in objects:
            return True
        to, entries = lexicon.nouns.at(sentence.words, place)
        if to == end and any(entry.group.name in objects or _singular(entry) in objects for entry in entries):
            return True
    return False


def _singular(entry: Entry) -> str:
    return entry.group.words[entry.place][0]
