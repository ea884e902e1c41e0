"""What a clip really shows: whether it is right in the fact that its caption was contrasted in.

The world knows, a real study does not: so there are oracle weights, 1 for a clip that shows what the contrast caption
says in the contrasted fact, and 0 for one that does not.
"""

from dataclasses import dataclass

from .generator import Decided
from .scenes import Actor, Scene
from .world import Pair

ORACLE = "shapes-oracle"  # its "VQA model" in score tables


@dataclass(frozen=True, slots=True)
class Truth:
    """What one synthetic clip shows.

    Attributes:
        pair_id: whose clip it is.
        sample: which of the pair's clips.
        misalignment: of the pair.
        shown: the caption that is true of the clip.
        fault: `none`, `random` (a wrong thing) or `reverted` (the real caption).
        faults: kinds of the faults, sorted.
        right: whether it shows what the contrast caption says in the contrasted fact.
    """

    pair_id: str
    sample: int
    misalignment: str
    shown: str
    fault: str
    faults: tuple[str, ...]
    right: bool


def truth_of(pair: Pair, decided: Decided, sample: int = 1) -> Truth:
    """What the clip that was decided, or generated, for a pair shows."""
    right = is_right(pair.scene, pair.contrast, decided.scene)
    triplet = pair.triplet
    kind = triplet.misalignment or ""
    return Truth(triplet.pair_id, sample, kind, decided.shown, decided.fault, decided.faults, right)


def is_right(real: Scene, claimed: Scene, shown: Scene) -> bool:
    """Whether `shown` has what `claimed` says otherwise than `real`; other faults do not count.

    Args:
        real: of the real caption.
        claimed: of the contrast caption that the clip was made from.
        shown: what the clip shows.
    """
    if claimed.relation != real.relation:
        return shown.relation == claimed.relation
    if len(claimed.actors) > len(real.actors):  # an actor was added
        added = claimed.actors[1]
        return any((actor.noun, actor.actions) == (added.noun, added.actions) for actor in shown.actors)
    if real.in_turn and claimed.actors == real.actors[::-1]:  # the order of two actors
        return shown.in_turn and not _exchanged(shown, claimed)
    index = next(
        k for k, pair in enumerate(zip(real.actors, claimed.actors, strict=True)) if pair[0] != pair[1]
    )
    was, told = real.actors[index], claimed.actors[index]
    if len(shown.actors) <= index:  # the actor was left out
        return False
    actor = shown.actors[1 - index if _exchanged(shown, claimed) else index]
    for name in ("colour", "shape", "size", "count"):
        if getattr(was, name) != getattr(told, name):
            return bool(getattr(actor, name) == getattr(told, name))
    if sorted(was.actions) == sorted(told.actions):  # the order of two events
        return actor.actions == told.actions
    return set(told.actions) - set(was.actions) <= set(actor.actions)


def _exchanged(shown: Scene, claimed: Scene) -> bool:
    """Whether the two actors of `shown` are those of `claimed` in the other order; each may have a fault."""
    if not len(shown.actors) == len(claimed.actors) == 2:
        return False
    first, second = claimed.actors
    kept = _likeness(shown.actors[0], first) + _likeness(shown.actors[1], second)
    return _likeness(shown.actors[0], second) + _likeness(shown.actors[1], first) > kept


def _likeness(one: Actor, other: Actor) -> int:
    return sum(getattr(one, name) == getattr(other, name) for name in ("colour", "shape", "size", "actions"))
