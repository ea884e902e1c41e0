"""The rule of event order: what came first comes last, and who did the one does the other."""

from collections.abc import Iterator

from ..english import BE, listed
from .sentence import Edit, Sentence, like

_TIMES = {"before": "after", "after": "before"}
# What "after" and "before" are part of without telling of two events.
_IDIOMS_BEFORE = frozenset(
    listed(
        "look looks looking run runs running chase chases chasing named one ever never like go goes going day "
        "the a and or even ask asks thing as"
    )
)
_IDIOMS_AFTER = frozenset(listed("another all that and or the a judges this each one school dinner"))
# How readily an event changes sides by a word, as true captions have "before" twice as often as "after" and "then" more
# often than both; and an edit that keeps the words, which is always taken.
_OTHER_SIDE, _TO_AFTER, SURE = {"before": 0.2, "after": 0.9}, 0.1, 20.0
_REFERRING = frozenset(
    listed(
        "second third other he him his she her hers it its they them their theirs himself herself itself themselves one other others another "
        "each both same again back"
    )
)
# Who is also a man or a woman, and many at once: nothing changes, or nothing sensible, when they exchange what they do.
_ANYONE = frozenset(
    listed(
        "person people someone somebody child children kid kids crowd audience group band team player players character "
        "adult adults baby infant camera couple family everyone"
    )
)
# What may stand before "before" and belongs to it.
_NEARLY = frozenset(listed("just right shortly immediately soon directly moments long seconds briefly only"))
# Words that presuppose what went before.
_PRESUPPOSING = frozenset(listed("first till until continues continue still again resumes finally also end"))
_STANDING = frozenset(
    listed(
        "stand stands standing stood sit sits sitting sat kneel kneels kneeling bow bows bowing pose poses posing"
    )
)
_STARTS = frozenset(listed("again finally eventually continues ends back continue end starts begins stops"))


def flips(sentence: Sentence) -> Iterator[Edit]:
    """Events in another order; see the functions below for when."""
    if _PRESUPPOSING.intersection(sentence.words):
        return
    if '"' in sentence.text or any(sign in sentence.words[:-1] for sign in (".", ";", "!", "?")):
        return
    yield from _other_side(sentence)
    yield from _then(sentence)
    yield from _exchanged(sentence)


# --- before and after ------------------------------------------------------------------------------------


def _other_side(sentence: Sentence) -> Iterator[Edit]:
    """A before B, A after B: the word of time changes, and nothing else."""
    places = [place for place, word in enumerate(sentence.words) if word in _TIMES]
    if len(places) != 1 or "then" in sentence.words:
        return
    place = places[0]
    word, before = sentence.words[place], sentence.word(place - 1)
    if (
        before in _IDIOMS_BEFORE
        or sentence.glued(place, place + 1)
        or sentence.word(place + 1) in _IDIOMS_AFTER - {"the", "a", "another", "one", "this"}
    ):
        return
    if (
        before in _STANDING or before == "right"
    ):  # "stand before a counter": where, not when; "looks right before"
        return
    end = len(sentence.words)
    if not place:  # "After A, B"
        if "," not in sentence.words:
            return
        end = sentence.words.index(",")
    if not _is_clause(sentence, place + 1, end):
        return
    edit = sentence.replace(place, place + 1, _TIMES[word], _OTHER_SIDE[word])
    nle = f"In the video the one comes {word} the other, not {_TIMES[word]} it."
    yield Edit(edit.text, edit.weight, None, None, nle)
    # A before B, B before A: where both are whole clauses and neither needs the other for its pronouns.
    last = end - (1 if sentence.words[-1] in (".", "!") else 0)
    whole = "," not in sentence.words and before not in _NEARLY
    if place > 2 and whole and _stands_alone(sentence, 0, place) and _stands_alone(sentence, place + 1, last):
        first, second = sentence.slice(0, place), sentence.slice(place + 1, last)
        tail = sentence.text[sentence.spans[last - 1][1] :]
        yield Edit(f"{like(first, second)} {word} {_lowered(first)}{tail}", SURE, None, None, nle)


def _stands_alone(sentence: Sentence, start: int, end: int) -> bool:
    """Whether the words are a clause with a plain subject and verb, and every pronoun is the subject's own."""
    subject = _subject_end(sentence, start)
    if subject is None or not _is_clause(sentence, start, end) or not _acts(sentence, subject):
        return False
    if _REFERRING.difference(("his", "her", "their")).intersection(sentence.words[start:end]):
        return False
    return "to" not in sentence.words[end - 1 : end]


def _is_clause(sentence: Sentence, start: int, end: int) -> bool:
    """Whether the words are a clause with a verb of its own, or begin with one in -ing."""
    forms = sentence.lexicon.verb_form
    if end - start >= 1 and "ing" in forms.get(sentence.word(start), ()):
        return True
    for place in range(start + 1, end):
        word = sentence.word(place)
        if word in BE or word in ("has", "have", "can", "begins", "starts"):
            return True
        behind = sentence.word(place - 1)
        if behind in sentence.lexicon.determiners or behind in ("to", "of"):
            continue
        if (
            "s" in forms.get(word, ())
            or "past" in forms.get(word, ())
            or ("base" in forms.get(word, ()) and sentence.lexicon.is_acting(behind, plural=True))
        ):
            return True
    return False


# --- then ------------------------------------------------------------------------------------------------


def _then(sentence: Sentence) -> Iterator[Edit]:
    """A then B, A after B; or B then A, where no pronoun would lose what it stands for."""
    words = sentence.words
    if words.count("then") != 1 or "before" in words or "after" in words or "while" in words:
        return
    then = words.index("then")
    start = then  # of what joins the two: ", and then"
    while sentence.word(start - 1) in (",", "and"):
        start -= 1
    last = len(words) - (1 if words and words[-1] in (".", "!") else 0)
    if "," in words[:start] or words[start - 1] in (
        "which",
        "who",
        "that",
        "he",
        "she",
        "it",
        "they",
        "is",
        "are",
        "to",
    ):
        return
    if start < 3 or last - then < 2 or sentence.word(then + 1) in _STARTS or "," in words[then + 1 : last]:
        return
    first, joint = sentence.slice(0, start), sentence.slice(start, then + 1)
    second = sentence.text[sentence.spans[then + 1][0] : sentence.spans[last - 1][1]]
    if sentence.text[sentence.spans[start - 1][1] : sentence.spans[then][0]].strip(" ,") not in ("", "and"):
        return
    tail = sentence.text[sentence.spans[last - 1][1] :]
    gap = "" if joint.startswith(",") else " "
    nle = f'In the video "{second}" comes last.'
    forms = sentence.lexicon.verb_form.get(words[then + 1], set())
    nominal = words[then + 1] in sentence.lexicon.determiners or sentence.lexicon.is_acting(words[then + 1])
    if nominal and _is_clause(sentence, then + 1, last) and _has_finite(sentence, 0, start):
        yield Edit(f"{first} after {second}{tail}", _TO_AFTER, None, None, nle)
        if not _REFERRING.intersection(words) and sentence.lexicon.is_acting(
            _subject(sentence, 0), plural=None
        ):
            swapped = f"{like(first, second)}{gap}{joint} {_lowered(first)}{tail}"
            yield Edit(swapped, SURE, None, None, nle)
    elif forms & {"s", "base", "ing"} and not nominal:
        if (verbs := _as_gerunds(sentence, then + 1, last)) is not None:
            yield Edit(f"{first} after {verbs}{tail}", _TO_AFTER, None, None, nle)
        # One subject, two finite verbs: the two exchange their places.
        verb = _finite(sentence, start)
        if (
            verb is not None
            and "s" in forms
            and not _REFERRING.intersection(words[verb:])
            and "and" not in words[then + 1 :]
        ):
            subject, own = sentence.slice(0, verb), sentence.slice(verb, start)
            yield Edit(f"{subject} {second}{gap}{joint} {own}{tail}", SURE, None, None, nle)


def _as_gerunds(sentence: Sentence, start: int, end: int) -> str | None:
    """`stands and wipes her nose` → `standing and wiping her nose`; None where that is not safe."""
    lexicon, forms = sentence.lexicon, sentence.lexicon.verb_form
    word = sentence.words[start]
    kind = next((form for form in ("ing", "s", "base") if form in forms[word]), None)
    if kind is None or (word in BE and sentence.word(start + 1) not in forms):
        return None
    changed: dict[int, str] = {}
    for place in range(start, end):
        word, before = sentence.words[place], sentence.word(place - 1)
        if place == start or before in ("and", "or", "but"):
            if place > start and kind not in forms.get(word, ()):
                if word in lexicon.determiners or lexicon.nouns.entries(word) or word in lexicon.adjectives:
                    continue
                return None  # perhaps another verb, in a form that is not known
            if kind != "ing":
                changed[place] = lexicon.tables.verb_forms(lexicon.verb_base[word])["ing"]
        elif word in ("is", "are", "was", "does", "has"):
            return None
        elif (
            kind == "s"
            and lexicon.is_acting(before, plural=False)
            and "s" in forms.get(word, ())
            and not sentence.noun_at(place)
        ):
            return None  # a clause of its own
    parts, at = [], sentence.spans[start][0]
    for place in sorted(changed):
        a, b = sentence.spans[place]
        parts += [sentence.text[at:a], changed[place]]
        at = b
    return "".join([*parts, sentence.text[at : sentence.spans[end - 1][1]]])


def _finite(sentence: Sentence, end: int) -> int | None:
    """Where the first verb in -s stands, right behind the subject; None where it is not sure."""
    for place in range(1, end):
        word, before = sentence.words[place], sentence.words[place - 1]
        if word in BE or word in ("has", "does"):
            return None
        if "s" in sentence.lexicon.verb_form.get(word, ()):
            return place if sentence.lexicon.is_acting(before, plural=False) else None
    return None


def _has_finite(sentence: Sentence, start: int, end: int) -> bool:
    """Whether a verb with a subject may be among the words, as far as its form tells."""
    forms = sentence.lexicon.verb_form
    return any(
        sentence.words[place] in BE
        or "s" in forms.get(sentence.words[place], ())
        or "base" in forms.get(sentence.words[place], ())
        for place in range(start + 1, end)
    )


# --- who does what -----------------------------------------------------------------------------------------


def _exchanged(sentence: Sentence) -> Iterator[Edit]:
    """`a man sings while a woman dances` → `a woman sings while a man dances`: the two exchange what they do."""
    words = sentence.words
    if _REFERRING.intersection(words) or _ANYONE.intersection(words):
        return
    one = _subject_end(sentence, 0)
    if one is None:
        return
    for place, word in enumerate(words):
        if word not in ("while", "as", "and") or place <= one or not sentence.words[place + 1 : place + 2]:
            continue
        other = _subject_end(sentence, place + 1)
        if other is None or not (_acts(sentence, one) and _acts(sentence, other)):
            continue
        if _many(sentence, one) != _many(sentence, other) or words[:one] == words[place + 1 : other]:
            continue
        first, second = sentence.slice(0, one), sentence.slice(place + 1, other)
        between = sentence.text[sentence.spans[one - 1][1] : sentence.spans[place + 1][0]]
        rest = sentence.text[sentence.spans[other - 1][1] :]
        text = f"{like(first, second)}{between}{_lowered(first)}{rest}"
        yield Edit(
            text, SURE, None, None, f"In the video it is the other way round: {sentence.text.rstrip(' .')}."
        )
        return


def _subject_end(sentence: Sentence, start: int) -> int | None:
    """End of a plain subject (article, adjectives, who acts) that begins there."""
    place = start
    if sentence.word(place) in ("a", "an", "the", "some", "two", "three", "several"):
        place += 1
    elif sentence.word(place) not in (
        "people",
        "men",
        "women",
        "children",
        "kids",
        "boys",
        "girls",
        "man",
        "woman",
    ):
        return None
    while sentence.word(place) in sentence.lexicon.adjectives and place - start < 4:
        place += 1
    if not sentence.lexicon.nouns.entries(sentence.word(place)) or not sentence.lexicon.is_acting(
        sentence.word(place)
    ):
        return None
    return place + 1


def _subject(sentence: Sentence, start: int) -> str:
    end = _subject_end(sentence, start)
    return "" if end is None else sentence.words[end - 1]


def _acts(sentence: Sentence, place: int) -> bool:
    """Whether a verb follows: `is running`, `runs`, `run`, `running`."""
    word, forms = sentence.word(place), sentence.lexicon.verb_form
    if word in ("is", "are"):
        return "ing" in forms.get(sentence.word(place + 1), ())
    return bool({"s", "base", "ing"} & forms.get(word, set())) and not word.endswith("'s")


def _many(sentence: Sentence, end: int) -> str:
    """What the verb behind a subject says of its number."""
    word = sentence.word(end)
    if word in ("is", "are"):
        return word
    forms = sentence.lexicon.verb_form.get(word, set())
    return "ing" if "ing" in forms else "is" if "s" in forms else "are"


def _lowered(text: str) -> str:
    return text if text[:2].isupper() and len(text.split()[0]) > 1 else text[:1].lower() + text[1:]
