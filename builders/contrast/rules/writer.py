"""The writer `rules`."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from synvita_data.errors import choose
from synvita_data.schema import MISALIGNMENTS

from ..base import Answer, Contrast, ContrastRequest
from ..checks import check
from ..kinds import askable
from .actions import actions
from .additions import additions
from .flips import flips
from .lexicon import Lexicon
from .sentence import Edit, Sentence
from .tables import Tables
from .words import attributes, counts, objects, relations

# Misalignment -> its rule, and why it does not apply where it finds nothing.
RULES: Mapping[str, tuple[Callable[[Sentence], Iterator[Edit]], str]] = {
    "action": (actions, "no verb of the tables that another one could stand for"),
    "attribute": (attributes, "no adjective of the tables that another one could stand for"),
    "count": (counts, "no number of things that another number could stand for"),
    "flip": (flips, "no two events whose order the rules can change"),
    "hallucination": (additions, "no clause of the tables could be added at its end"),
    "object": (objects, "no noun of the tables that another one could stand for"),
    "relation": (relations, "no word of place, way or comparison that another one could stand for"),
}


# How far words may come in more often than they go out.
BALANCE = 1.0


class RulesWriter:
    """Writes contrast captions for English captions by tables of words. Deterministic; no model, no network.

    Args:
        folder: of own tables; None for ours alone.

    Raises:
        SynvitaError: the folder has no tables, or one that cannot be read; names the file.
    """

    name = "rules"
    misalignments = MISALIGNMENTS
    batch_size = 256

    def __init__(self, folder: Path | None = None) -> None:
        self.tables = Tables(folder)
        self._lexicon = Lexicon(self.tables)
        # One caption is often asked for several kinds in turn.
        self._read = lru_cache(maxsize=256)(lambda caption: Sentence(caption, self._lexicon))

    def record(self) -> Mapping[str, Any]:
        """The writer and the digest of its tables, a user's own among them."""
        return {"writer": self.name, "revision": self.tables.digest}

    def write(self, requests: Sequence[ContrastRequest]) -> list[Answer]:
        """One answer a request, in order; refused with the reason where the rule does not apply.

        Raises:
            SynvitaError: an unknown misalignment.
        """
        return [self._answer(request) for request in requests]

    def close(self) -> None:
        """Nothing is held."""

    def _answer(self, request: ContrastRequest) -> Answer:
        rule, why = RULES[choose(request.misalignment, MISALIGNMENTS, "misalignment")]
        if (reason := askable(request.caption, request.misalignment)) is not None:
            return Answer(refused=reason)
        key = f"{request.seed}\0{request.misalignment}\0{request.caption}"
        random = Random(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest())
        sentence = self._read(request.caption)
        sentence.random = random
        if not sentence.is_english:
            return Answer(refused="the rule does not apply: the caption is not an English sentence")
        found: list[Contrast] = []
        ranked, given_away = _ranked(list(rule(sentence)), random)
        for edit in ranked:
            # What a check would refuse is none: the writer keeps to the same contract as every other.
            if check(request.caption, edit.text, request.misalignment) is None:
                found.append(Contrast(edit.text, edit.source, edit.target, edit.nle))
                if len(found) == request.candidates:
                    break
        if not found and given_away:
            why = "what could come in is said so much less often than what would go that it gives the caption away"
        return Answer(tuple(found)) if found else Answer(refused=f"the rule does not apply: {why}")


def _ranked(edits: Sequence[Edit], random: Random) -> tuple[list[Edit], bool]:
    """Different edits in random order, those of more weight rather first; and whether any was dropped.

    An edit whose weight is below 1 brings in what true captions say less often than what goes out. It is kept with that
    probability, so that over many captions words come in as often as they go out. All by the request and its seed alone.
    """
    distinct: dict[str, Edit] = {}
    for edit in edits:
        distinct.setdefault(edit.text, edit)
    drawn = []
    for edit in distinct.values():
        keep, order = random.random(), random.random()
        if keep < BALANCE * edit.weight:
            # Efraimidis and Spirakis (2006): the order of a weighted draw without replacement.
            drawn.append((-math.log(1.0 - order) / edit.weight, edit))
    return [edit for _, edit in sorted(drawn, key=lambda pair: pair[0])], len(drawn) < len(distinct)
