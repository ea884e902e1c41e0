"""The shapes world's "generator": it films a caption, with the faults of real text-to-video models.

Like them it sees only the caption. It gets colours right more often than numbers, numbers more often than
an added object, and mostly does not care about the order of events; its clips look unlike the real ones.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from .grammar import caption as caption_of
from .grammar import parse
from .pixels import SYNTHETIC, Style, render, seed_of
from .scenes import (
    ACTIONS,
    COLOURS,
    COUNTS,
    KEEPS_PLACE,
    RELATIONS,
    SHAPES,
    Scene,
    change_actor,
    other,
    other_action,
    untaken,
)

GENERATOR = "shapes"
REVISION = "1"  # of faults and pictures: raise it when the same seed would give another clip

# How often a clip gets this wrong, where its caption says something of the kind.
FAULTS: Mapping[str, float] = MappingProxyType(
    {
        "attribute": 0.06,
        "object": 0.10,
        "action": 0.20,
        "count": 0.30,
        "relation": 0.30,
        "hallucination": 0.40,
        "flip": 0.50,
    }
)


@dataclass(frozen=True, slots=True)
class Generated:
    """One synthetic clip.

    Attributes:
        pixels: uint8 [T, H, W, 3].
        fps: frames a second.
        seed: what the clip was drawn from.
        faults: the kinds of fault it has, sorted.
        shown: the caption that is true of the clip; the caption asked for where `faults` is empty.
    """

    pixels: np.ndarray
    fps: float
    seed: int
    faults: tuple[str, ...]
    shown: str


def generate(
    caption: str,
    *,
    seed: int,
    pair_id: str,
    sample: int = 1,
    faults: Mapping[str, float] = FAULTS,
    style: Style = SYNTHETIC,
) -> Generated:
    """A clip of `caption`, the same for the same (seed, pair_id, sample).

    Args:
        caption: of the shapes world's grammar.
        seed: of the whole run.
        pair_id: whose clip this is.
        sample: which of the pair's clips, from 1.
        faults: probability of each kind of fault.
        style: how the clip is filmed.

    Raises:
        CaptionError: `caption` is not of the grammar.
    """
    scene = parse(caption)
    own = clip_seed(seed, pair_id, sample)
    shown, kinds = misunderstand(scene, random.Random(own), faults)
    return Generated(render(shown, own, style), style.fps, own, kinds, caption_of(shown))


def clip_seed(seed: int, pair_id: str, sample: int) -> int:
    """The seed of one clip of a run with `seed`: of its faults, its places and its grain."""
    return seed_of(GENERATOR, REVISION, seed, pair_id, sample)


def misunderstand(
    scene: Scene, rng: random.Random, faults: Mapping[str, float] = FAULTS
) -> tuple[Scene, tuple[str, ...]]:
    """The scene that the generator films, and the kinds of its faults, sorted.

    Args:
        scene: that it is asked for.
        rng: decides which faults happen, and what is filmed instead.
        faults: probability of each kind of fault.
    """
    kinds = []
    for kind, fault in _FAULTS.items():
        # One draw a kind whether it applies or not, so that a change of one rate moves no other fault.
        happens = rng.random() < faults.get(kind, 0.0)
        own = random.Random(rng.random())
        if happens and (changed := fault(scene, own)) is not None:
            scene = changed
            kinds.append(kind)
    return scene, tuple(sorted(kinds))


def _drop_last_clause(scene: Scene, rng: random.Random) -> Scene | None:
    """Leave out what the sentence adds after "while", "then" or "and then"."""
    first = scene.actors[0]
    if scene.relation or not (len(scene.actors) == 2 or scene.ordered):
        return None
    return Scene((replace(first, actions=first.actions[:1]),))


def _ignore_order(scene: Scene, rng: random.Random) -> Scene | None:
    """The events in the other order, or two actors' events at once."""
    if not scene.ordered:
        return None
    if not scene.in_turn:
        first = scene.actors[0]
        return Scene((replace(first, actions=first.actions[::-1]),))
    if rng.random() < 0.5:
        return replace(scene, in_turn=False)
    return replace(scene, actors=scene.actors[::-1])


def _wrong_action(scene: Scene, rng: random.Random) -> Scene | None:
    actor = scene.actors[0]
    if not actor.actions:
        return None
    among = KEEPS_PLACE if scene.relation else ACTIONS
    return change_actor(scene, 0, actions=(other_action(actor, rng, among), *actor.actions[1:]))


def _wrong_count(scene: Scene, rng: random.Random) -> Scene | None:
    count = scene.actors[0].count
    if count == 1:
        return None
    return change_actor(scene, 0, count=rng.choice([other for other in COUNTS if abs(other - count) == 1]))


# In the order in which they happen: what is left out first cannot be got wrong afterwards.
_FAULTS: dict[str, Callable[[Scene, random.Random], Scene | None]] = {
    "hallucination": _drop_last_clause,
    "flip": _ignore_order,
    "count": _wrong_count,
    "relation": lambda scene, rng: (
        replace(scene, relation=other(RELATIONS, scene.relation, rng)) if scene.relation else None
    ),
    "action": _wrong_action,
    "object": lambda scene, rng: change_actor(scene, 0, shape=rng.choice(untaken(scene, "shape", SHAPES))),
    "attribute": lambda scene, rng: change_actor(
        scene, 0, colour=rng.choice(untaken(scene, "colour", COLOURS))
    ),
}
