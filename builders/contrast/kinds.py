"""What a caption can be asked for, before any writer is asked.

A count needs a number, a relation a word of space or comparison, a flip two events. Objects, actions, attributes and
additions can be asked of every caption that has words.
"""

import re

from synvita_data.errors import choose
from synvita_data.schema import MISALIGNMENTS

from .english import NUMBERS, is_number, listed, tokens

# The longest caption that is asked for anything, in code points; as long as a contrast caption may be.
MAX_CHARACTERS = 2000

SPATIAL = frozenset(
    listed(
        "on in under over above below behind beside beneath underneath between inside outside near into onto off left right "
        "top bottom front back next across through around toward towards away against up down upstairs downstairs indoors "
        "outdoors past along among opposite north south east west closer farther further higher lower upper"
    )
)
# Words that join two events in time, and those that do so in front of another verb.
_TIMES = frozenset(
    listed("before after then while as when whilst until till afterwards afterward later finally once")
)
_JOINS = frozenset(("and", ",", "but"))
_VERBAL = re.compile(r"\w{2,}(?:ing|ed|[^su'i]s)")
_TWO_EVENTS = re.compile(r"\bfollowed by\b|\bproceeds? to\b|\bstops? to\b")


def askable(caption: str, misalignment: str) -> str | None:
    """Why a caption cannot be asked for a contrast caption of this kind; None if it can.

    English words decide for count (digits count in every script), relation and flip.

    Raises:
        SynvitaError: an unknown misalignment.

    Example:
        >>> askable("two dogs run", "count"), askable("a dog runs", "count")
        (None, 'no number in the caption')
    """
    choose(misalignment, MISALIGNMENTS, "misalignment")
    if len(caption) > MAX_CHARACTERS:
        return f"the caption has more than {MAX_CHARACTERS:,} characters"
    words = tokens(caption)
    if not any(map(str.isalnum, caption)):
        return "the caption has no words"
    if misalignment == "count" and not any(is_number(word) and word != NUMBERS[0] for word in words):
        return "no number in the caption"
    if misalignment == "relation" and not (SPATIAL.intersection(words) or "than" in words):
        return "no word of space or comparison in the caption"
    if misalignment == "flip" and not _has_two_events(words, caption):
        return "no two events in the caption"
    return None


def _has_two_events(words: list[str], caption: str) -> bool:
    if _TIMES.intersection(words) or _TWO_EVENTS.search(caption.lower()):
        return True
    # "swings and breaks", "sings and is dancing": a word that may be a verb on both sides.
    return any(
        word in _JOINS
        and any(map(_VERBAL.fullmatch, words[:place]))
        and any(map(_VERBAL.fullmatch, words[place + 1 :]))
        for place, word in enumerate(words)
    )
