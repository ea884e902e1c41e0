"""Forms of English words: verbs, plurals, and which article a word takes.

Regular forms are derived; irregular ones are in the table `irregular.yaml`, which users can extend.
"""

import re
from collections.abc import Mapping

VOWELS = "aeiou"
# Begin with a vowel and sound as a consonant, or the other way round.
_A = re.compile(r"(?:uni(?!n|m)|use|usu|uten|eu|one\b|once|ukulele|u\b)")
_AN = re.compile(r"(?:hour|honest|honou?r|heir|x-ray|8|11\b|18\b|80)")
# Forms of a verb, by name.
FORMS = ("base", "s", "ing", "past", "participle")


def article(word: str) -> str:
    """`a` or `an`, as the word sounds.

    Example:
        >>> article("apple"), article("unicycle"), article("hour"), article("umbrella")
        ('an', 'a', 'an', 'an')
    """
    word = word.lower()
    if _AN.match(word):
        return "an"
    return "an" if word[:1] in VOWELS and not _A.match(word) else "a"


def plural(noun: str, irregular: Mapping[str, str]) -> str:
    """The plural of a noun, whose last word takes it: `swimming pool` → `swimming pools`."""
    head, _, last = noun.rpartition(" ")
    return f"{head} {irregular.get(last) or _with_s(last)}".strip()


def verb_forms(base: str, irregular: Mapping[str, str]) -> dict[str, str]:
    """Form -> word, of a verb and what follows it: `pick up` → `picks up`, `picking up`, `picked up`.

    Args:
        base: infinitive.
        irregular: infinitive -> "past participle", or "past participle ing".
    """
    verb, _, rest = base.partition(" ")
    given = irregular.get(verb, "").split()
    past = given[0] if given else _with_ed(verb)
    forms = {
        "base": verb,
        "s": _with_s(verb),
        "ing": given[2] if len(given) > 2 else _with_ing(verb),
        "past": past,
        "participle": given[1] if len(given) > 1 else past,
    }
    return {name: f"{form} {rest}".strip() for name, form in forms.items()}


def _with_s(word: str) -> str:
    if word.endswith(("s", "x", "z", "ch", "sh")) or word in ("go", "do", "potato", "tomato"):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in VOWELS:
        return word[:-1] + "ies"
    return word + "s"


def _with_ed(verb: str) -> str:
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2:-1] not in VOWELS:
        return verb[:-1] + "ied"
    return _doubled(verb) + "ed"


def _with_ing(verb: str) -> str:
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return verb[:-1] + "ing"
    return _doubled(verb) + "ing"


def _doubled(verb: str) -> str:
    """A single vowel before a single last consonant doubles it in verbs of one syllable: `clap` → `clapp`."""
    if re.fullmatch(r"(?:[^aeiou]*|qu|squ)[aeiou][bdgklmnprt]", verb):
        return verb + verb[-1]
    return verb
