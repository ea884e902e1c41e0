"""Rules that change one word or phrase: object, attribute, relation and count."""

from collections.abc import Iterator

from ..english import NUMBERS, PREPOSITIONS, listed, stem
from .lexicon import Entry
from .sentence import Edit, Sentence

_COUNTS = tuple(NUMBERS[1:12])  # two … twelve
# Roughly how often true captions say them.
_COUNT_WEIGHTS = {"two": 12.0, "three": 6.0, "four": 4.0, "five": 2.0, "six": 1.0}
_DIGIT_WEIGHTS = {2: 6.0, 3: 6.0, 4: 4.0, 5: 3.0, 6: 2.0}
# Words that tell of a pair, so that no other number fits.
_SIDES = frozenset(listed("left right top bottom front inside outside up down"))
_PAIRS = frozenset(
    listed("both other another duet pair twins couple twin double either former latter second third")
)


def objects(sentence: Sentence) -> Iterator[Edit]:
    """A noun becomes another one of its category."""
    lexicon = sentence.lexicon
    place = 0
    while place < len(sentence.words):
        end, entries = lexicon.nouns.at(sentence.words, place)
        for entry in entries:
            if not entry.group.fields.get("swap") and _is_noun(sentence, place, end, entry):
                yield from _others(sentence, place, end, entry)
        place = max(end, place + 1)


def _is_noun(sentence: Sentence, start: int, end: int, entry: Entry) -> bool:
    lexicon, group, plural = sentence.lexicon, entry.group, entry.form == "plural"
    if sentence.glued(start, end) or sentence.repeats(start, end) or sentence.spoils(group, start, end):
        return False
    if not sentence.after_noun(end, plural=plural):
        return False
    # Left of it: adjectives that are known, and then what begins a noun phrase.
    first = start
    while first and start - first < 3 and sentence.word(first - 1) in lexicon.adjectives:
        first -= 1
    if set(group.fields.get("not_behind", ())).intersection(sentence.words[max(0, first - 1) : start]):
        return False
    before = sentence.word(first - 1)
    if before in lexicon.determiners or before.endswith("'s"):
        if group.flag("mass") and before in (
            "a",
            "an",
            "another",
            "each",
            "one",
            "two",
            "three",
            "his",
            "her",
        ):
            return False  # "a basketball" is a ball
        return not (plural and before in ("a", "an", "another", "each", "every", "one", "this"))
    if not (plural or group.flag("mass") or group.flag("bare")):
        return False
    if sentence.noun_at(first - 1) and before not in lexicon.verb_form if first else False:
        return False
    return before in PREPOSITIONS - {"to"} or bool(
        {"ing", "s", "base"} & lexicon.verb_form.get(before, set())
    )


def _others(sentence: Sentence, start: int, end: int, entry: Entry) -> Iterator[Edit]:
    tables = sentence.lexicon.tables
    for place, synonyms in enumerate(entry.group.words):
        new = tables.noun_forms(entry.group, synonyms[0]).get(entry.form)
        if place != entry.place and new and not sentence.mentions(new, start, end):
            yield sentence.replace(start, end, new, weight_of(sentence, start, end, new))


def attributes(sentence: Sentence) -> Iterator[Edit]:
    """An adjective becomes another one of its group."""
    for place in range(len(sentence.words)):
        end, entries = sentence.lexicon.attributes.at(sentence.words, place)
        for entry in entries:
            if _qualifies(sentence, place, end, entry):
                yield from _other_words(sentence, place, end, entry)


def _qualifies(sentence: Sentence, start: int, end: int, entry: Entry) -> bool:
    lexicon, group = sentence.lexicon, entry.group
    before, after = sentence.word(start - 1), sentence.word(end)
    if sentence.glued(start, end) or "and" in (before, after) or before in ("not", "so", "as", "how", "too"):
        return False
    if sentence.repeats(start, end) or sentence.spoils(group, start, end):
        return False
    if alone := group.fields.get("alone_after"):
        return before in alone and sentence.ends(end) and after not in ("and", "or", ",")
    known = (
        before in lexicon.closed or before in lexicon.adjectives or before in lexicon.verb_form or not before
    )
    if not (known or before.endswith("'s")):
        return False
    if not group.fields.get("before"):
        return sentence.noun_at(end) and not lexicon.is_acting(after)
    return _stands_before(sentence, end, group.fields["before"])


def _stands_before(sentence: Sentence, place: int, allowed: list[str]) -> bool:
    """Whether a noun of one of these categories, or one of these words, comes next."""
    word = sentence.word(place)
    if word in allowed:
        return True
    _, entries = sentence.lexicon.nouns.at(sentence.words, place)
    return any(entry.group.name in allowed for entry in entries)


def relations(sentence: Sentence) -> Iterator[Edit]:
    """A word of place, way or comparison becomes another one."""
    place = 0
    while place < len(sentence.words):
        end, entries = sentence.lexicon.relations.at(sentence.words, place)
        for entry in entries:
            if _relates(sentence, place, end, entry):
                yield from _other_words(sentence, place, end, entry)
        place = max(end, place + 1)


def _relates(sentence: Sentence, start: int, end: int, entry: Entry) -> bool:
    lexicon, group = sentence.lexicon, entry.group
    if sentence.glued(start, end) or sentence.spoils(group, start, end):
        return False
    # "The camera moves right, then pans right": with one of them changed, the caption would contradict itself.
    if any(sentence.words.count(word) > 1 for word in sentence.words[start:end] if word in _SIDES):
        return False
    before = sentence.word(start - 1)
    if before in ("too", "so", "very", "as", "more", "how"):
        return False
    if group.after:
        verbs = (
            lexicon.motion
            if "motion" in group.after
            else lexicon.rest
            if "rest" in group.after
            else frozenset()
        )
        own = {stem(word) for word in group.after}
        if before not in group.after and stem(before) not in verbs and stem(before) not in own:
            return False
    if allowed := group.fields.get("before"):
        word = sentence.word(end)
        is_noun = "noun" in allowed and (word in lexicon.determiners and word not in ("each", "one", "other"))
        if not (is_noun or word in allowed or ("end" in allowed and (not word or word in (".", ",")))):
            return False
    if group.needs:
        return any(
            tuple(sentence.words[place : place + len(phrase)]) == phrase
            for phrase in group.needs
            for place in range(end, min(end + 4, len(sentence.words)))
            if not any(map(sentence.ends, range(end, place)))
        )
    return True


def _other_words(sentence: Sentence, start: int, end: int, entry: Entry) -> Iterator[Edit]:
    for place, synonyms in enumerate(entry.group.words):
        new = synonyms[0]
        said = sentence.has((tuple(new.split()),), start, end) or sentence.mentions(new, start, end)
        if place != entry.place and not said:
            yield sentence.replace(start, end, new, weight_of(sentence, start, end, new))


def counts(sentence: Sentence) -> Iterator[Edit]:
    """A number of things becomes another number, from two on, so that nothing else has to change."""
    for place, word in enumerate(sentence.words):
        digits = word.isdecimal() and word.isascii() and 2 <= int(word) <= 12
        if not (digits or word in _COUNTS) or not _counts_things(sentence, place):
            continue
        for new, weight in (_DIGIT_WEIGHTS if digits else _COUNT_WEIGHTS).items():
            if str(new) != word and str(new) not in sentence.words:
                yield sentence.replace(place, place + 1, str(new), weight)


def _counts_things(sentence: Sentence, place: int) -> bool:
    lexicon = sentence.lexicon
    before = sentence.word(place - 1)
    if sentence.glued(place, place + 1) or before in (
        "number",
        "no",
        "episode",
        "chapter",
        "part",
        "level",
        "point",
        ".",
    ):
        return False
    if (
        before in ("a", "an", "one", "than", "of", "those", "these", "or")
        or before.isdecimal()
        or before in NUMBERS
    ):
        return False
    if _PAIRS.intersection(sentence.words) or {"one"} & set(sentence.words):
        return False
    # Adjectives, and then a noun in the plural.
    noun = place + 1
    while sentence.word(noun) in lexicon.adjectives and noun - place < 4:
        noun += 1
    word = sentence.word(noun)
    if word in ("or", "and", "to") or word in lexicon.paired or sentence.glued(noun, noun + 1):
        return False
    return lexicon.is_plural(word) and (
        bool(lexicon.nouns.entries(word)) or "s" not in lexicon.verb_form.get(word, ())
    )


def weight_of(sentence: Sentence, start: int, end: int, new: str) -> float:
    """Rather what true captions say often, in the place of what they say seldom: so words come in as often as they go."""
    frequency = sentence.lexicon.tables.frequency
    old = " ".join(sentence.words[start:end])
    if new not in frequency:  # a user's word, of which nothing is known
        return 1.0
    return min(20.0, max(0.05, (frequency[new] + 0.5) / (frequency.get(old, 0) + 0.5)))
