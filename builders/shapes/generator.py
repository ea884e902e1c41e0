"""The shapes world's "generator": it films a caption, with the faults of real text-to-video models.

Like them it sees only the caption. It gets colours right more often than numbers, numbers more often than
an added object, and mostly does not care about the order of events; its clips look unlike the real ones.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from .grammar import caption as caption_of
from .grammar import parse
from .layout import VERSION_1, Geometry
from .noise import FAULTS
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
REVISION_2 = "1"  # the same, of version 2
NEVER: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Decided:
    """What a synthetic clip shows, before it is filmed.

    Attributes:
        scene: that the clip shows.
        seed: what the clip is drawn from.
        faults: the kinds of fault it has, sorted.
        reverted: it shows the real caption, the second kind of fault.
    """

    scene: Scene
    seed: int
    faults: tuple[str, ...]
    reverted: bool = False

    @property
    def shown(self) -> str:
        """The caption that is true of the clip; the caption asked for where `faults` is empty."""
        return caption_of(self.scene)

    @property
    def fault(self) -> str:
        """`none`, `random` (a wrong thing) or `reverted` (the real caption)."""
        return "reverted" if self.reverted else "random" if self.faults else "none"


@dataclass(frozen=True, slots=True)
class Generated(Decided):
    """One synthetic clip.

    Attributes:
        pixels: uint8 [T, H, W, 3].
        fps: frames a second.
    """

    pixels: np.ndarray = field(kw_only=True)
    fps: float = field(kw_only=True)


def generate(
    caption: str,
    *,
    seed: int,
    pair_id: str,
    sample: int = 1,
    faults: Mapping[str, float] = FAULTS,
    style: Style = SYNTHETIC,
) -> Generated:
    """A clip of `caption`, of version 1 of the world; the same for the same (seed, pair_id, sample).

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
    decided = decide(caption, clip_seed(seed, pair_id, sample), faults)
    return film_decided(decided, style, VERSION_1)


def film_decided(decided: Decided, style: Style, geometry: Geometry) -> Generated:
    """The clip of what was decided.

    Args:
        decided: what it shows.
        style: how it is filmed.
        geometry: of the world's version.
    """
    pixels = render(decided.scene, decided.seed, style, geometry)
    own = (decided.scene, decided.seed, decided.faults, decided.reverted)
    return Generated(*own, pixels=pixels, fps=style.fps)


def decide(
    caption: str,
    seed: int,
    faults: Mapping[str, float] = FAULTS,
    *,
    real: str | None = None,
    misalignment: str | None = None,
    reverted: Mapping[str, float] = NEVER,
) -> Decided:
    """What the generator makes of a caption.

    It is drawn without regard to the rates, so that with higher ones the same clips are wrong, and others too.

    Args:
        caption: that it is asked for.
        seed: of the clip (`clip_seed`).
        faults: probability of each kind of random fault.
        real: the caption of the real video, which a reverted clip shows.
        misalignment: of the pair; decides how often its clip is reverted.
        reverted: probability of that, by misalignment.

    Raises:
        CaptionError: `caption`, or `real` where the clip shows it, is not of the grammar.
    """
    scene = parse(caption)
    rate = reverted.get(misalignment, 0.0) if misalignment else 0.0
    if real is not None and misalignment and random.Random(seed_of("reverted", seed)).random() < rate:
        return Decided(parse(real), seed, (misalignment,), True)
    shown, kinds = misunderstand(scene, random.Random(seed), faults)
    return Decided(shown, seed, kinds)


def clip_seed(seed: int, pair_id: str, sample: int, geometry: Geometry = VERSION_1) -> int:
    """The seed of one clip of a run with `seed`: of its faults, its places and its grain."""
    return seed_of(GENERATOR, revision_of(geometry), seed, pair_id, sample)


def revision_of(geometry: Geometry) -> str:
    """Of the generator that films this version of the world."""
    return REVISION if geometry.version == 1 else f"{geometry.version}.{REVISION_2}"


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
