"""English words as checks and rules know them: stems, words without content, numbers, negations.

Small and closed on purpose: what these lists do not know is a content word, and its stem is what is left without its
ending.
"""

import re
from functools import lru_cache


def listed(words: str) -> tuple[str, ...]:
    """The words of a string: lists of words stay readable that way."""
    return tuple(words.split())


_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+|[^\w\s]|_")

NUMBERS = listed(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand dozen"
)
NEGATIONS = frozenset(listed("no not never none nobody nothing nowhere neither nor without cannot"))
ARTICLES = frozenset(("a", "an", "the"))
BE = frozenset(listed("is are was were be been being am"))
AUXILIARIES = BE | frozenset(
    listed("has have had having do does did will would can could may might shall should must")
)
PRONOUNS = frozenset(
    listed(
        "i me my mine you your yours he him his she her hers it its we us our ours they them their theirs himself herself "
        "itself themselves myself yourself who whom whose which that this these those there one other others another each "
        "someone something anyone anything everyone everything what"
    )
)
PREPOSITIONS = frozenset(
    listed(
        "of in on at by for from to into onto out off up down over under above below behind beside besides beneath "
        "underneath between among around about across along through throughout toward towards against near next with "
        "within inside outside past away during like upon via per"
    )
)
CONNECTIVES = frozenset(
    listed(
        "and or but so then before after while as when whilst until till since because if than though although afterwards "
        "afterward later first next finally eventually once meanwhile followed following proceeds proceed proceeding"
    )
)
FUNCTION_WORDS = (
    ARTICLES | AUXILIARIES | PRONOUNS | PREPOSITIONS | CONNECTIVES | frozenset(("also", "just", "s"))
)

_IRREGULAR = {
    form: forms.split()[0]
    for forms in [
        "be is are was were been being am",
        "have has had having",
        "do does did done doing",
        "go goes went gone",
        "say said",
        "get got gotten",
        "make made",
        "come came",
        "take took taken",
        "see saw seen",
        "give gave given",
        "find found",
        "tell told",
        "put puts",
        "begin began begun",
        "run ran",
        "hold held",
        "write wrote written",
        "stand stood",
        "sit sat",
        "lie lay lain lying laid",
        "speak spoke spoken",
        "drive drove driven",
        "ride rode ridden",
        "sing sang sung",
        "swim swam swum",
        "throw threw thrown",
        "catch caught",
        "fall fell fallen",
        "eat ate eaten",
        "drink drank drunk",
        "draw drew drawn",
        "fly flew flown",
        "blow blew blown",
        "break broke broken",
        "hit",
        "cut",
        "shut",
        "build built",
        "sleep slept",
        "sweep swept",
        "keep kept",
        "leave left",
        "feed fed",
        "teach taught",
        "wear wore worn",
        "win won",
        "lose lost",
        "shoot shot",
        "slide slid",
        "swing swung",
        "spin spun",
        "stick stuck",
        "hang hung",
        "ring rang rung",
        "shake shook shaken",
        "bite bit bitten",
        "hide hid hidden",
        "tear tore torn",
        "wake woke woken",
        "man men",
        "woman women",
        "child children",
        "foot feet",
        "tooth teeth",
        "person people",
        "mouse mice",
        "goose geese",
        "leaf leaves",
        "knife knives",
        "shelf shelves",
        "loaf loaves",
        "half halves",
        "dive dove",
        "kneel knelt",
        "light lit",
        "read",
        "set",
        "let",
        "bend bent",
        "send sent",
        "spend spent",
        "lend lent",
        "meet met",
        "buy bought",
        "bring brought",
        "think thought",
        "fight fought",
        "dig dug",
        "grow grew grown",
        "know knew known",
        "steal stole stolen",
        "choose chose chosen",
        "freeze froze frozen",
        "rise rose risen",
        "strike struck",
        "spit spat",
        "split",
        "hurt",
        "tie tying",
        "die dying",
        "die dies",
    ]
    for form in forms.split()
}


def tokens(text: str) -> list[str]:
    """Words, numbers and single signs of a text, in lower case; `man's` is one word."""
    return [each.replace("’", "'") for each in _TOKEN.findall(text.lower())]


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """What the forms of an English word share: of `walks`, `walked` and `walking` the same.

    Example:
        >>> stem("running"), stem("ran"), stem("tries"), stem("man's"), stem("men")
        ('run', 'run', 'tri', 'man', 'man')
    """
    word = word.split("'")[0] or word
    if (known := _IRREGULAR.get(word)) is not None:
        return _bare(known)
    for ending in ("ing", "ed"):
        if (
            word.endswith(ending)
            and len(word) > len(ending) + 2
            and re.search("[aeiouy]", word[: -len(ending)])
        ):
            return _bare(word[: -len(ending)])
    if word.endswith("ies") and len(word) > 4:
        return _bare(word[:-2])
    if word.endswith(("sses", "shes", "ches", "xes", "zes", "oes")):
        return _bare(word[:-2])
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return _bare(word[:-1])
    return _bare(word)


def _bare(word: str) -> str:
    """Without a silent e, with a single last consonant, with i for y."""
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiou":
        word = word[:-1]
    return word[:-1] + "i" if len(word) > 2 and word.endswith("y") and word[-2] not in "aeiou" else word


def is_number(word: str) -> bool:
    """A number word or digits of any script."""
    return word.isdigit() or word in NUMBERS
