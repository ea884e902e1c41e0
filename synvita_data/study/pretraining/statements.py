"""What is said of a clip: pairs of a true and a false statement that differ in one thing.

Of the whole clip (its caption and a contrast caption), or of a part of it: one shape and one thing that it does, where
one shape is seen from another, how many there are, or a colour and a shape alone. No statement, true or false, names a
combination of colour and shape that is held out; a false one is false of the clip, not only another wording.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from synvita_data.builders.shapes import caption
from synvita_data.builders.shapes.scenes import (
    COLOURS,
    COUNTS,
    MOVES,
    OPPOSITE,
    RELATIONS,
    SHAPES,
    Actor,
    Scene,
    contrast,
    draw_scene,
    other,
    other_action,
)
from synvita_data.errors import CaptionError, choose
from synvita_data.schema import MISALIGNMENTS

from .settings import HELD_OUT, USUAL, Shares

# How much more often than others a kind is asked about where a scene has it.
_WANTED = {"count": 2.0, "relation": 3.0, "flip": 3.0, "action": 2.0}
NOUNS = ("noun-colour", "noun-shape")
_NUMBERS = {1: "A", 2: "Two", 3: "Three", 4: "Four"}
_TRIES = 12


@dataclass(frozen=True, slots=True)
class Statement:
    """A true and a false statement of one clip.

    Attributes:
        true, false: sentences that end with a full stop.
        kind: a misalignment for captions of the whole clip; `part-…` and `noun-…` for statements of a part.
        unseen: whether the false one names a held-out combination.
    """

    true: str
    false: str
    kind: str
    unseen: bool = False


def held_out(scene: Scene) -> bool:
    """Whether a shape of the scene is of a combination that the pre-training never sees."""
    return any(actor.noun in HELD_OUT for actor in scene.actors)


def draw_any(rng: random.Random, shares: Shares = USUAL, *, unseen: bool = False) -> Scene:
    """A random scene of the pre-training.

    Args:
        rng: decides.
        shares: of kinds of scenes.
        unseen: one with a held-out combination, to measure with; else one without.
    """
    while True:
        scene = draw_scene(rng.choices(list(shares.scenes), list(shares.scenes.values()))[0], rng)
        if held_out(scene) == unseen:
            return scene


def draw_statement(
    scene: Scene,
    rng: random.Random,
    *,
    whole: float,
    hard: float = 0.0,
    shares: Shares = USUAL,
    unseen: bool = False,
) -> Statement:
    """One pair of statements of a clip that shows `scene`.

    Args:
        scene: without held-out combinations where `unseen` is not set.
        rng: decides.
        whole: share of statements about the whole clip.
        hard: share of contrasts of one shape's direction that name another direction.
        shares: of kinds of statements about a part.
        unseen: held-out combinations may be named: to measure with, never to train on.

    Raises:
        CaptionError: the scene has a held-out combination, and they may not be named.
    """
    if not unseen and held_out(scene):
        raise CaptionError("a combination that is held out of the pre-training", found=caption(scene))
    for _ in range(_TRIES):
        found = _any_statement(scene, rng, whole, hard, shares)
        if found is not None and (unseen or not found.unseen):
            return found
    raise CaptionError("no statement can be made of this scene", found=caption(scene))


def _any_statement(
    scene: Scene, rng: random.Random, whole: float, hard: float, shares: Shares
) -> Statement | None:
    if rng.random() < whole and (found := _whole(scene, rng, hard)) is not None:
        return found
    parts: list[tuple[float, Callable[[], Statement | None]]] = [
        (shares.noun, lambda: _noun(scene, rng, lambda: NOUNS[rng.random() >= 1 - shares.shape]))
    ]
    if scene.relation:
        parts.append((shares.relation, lambda: _relation(scene, rng)))
    if scene.actors[0].count > 1:
        parts.append((shares.count, lambda: _count(scene, rng)))
    else:
        parts.append((shares.lone, lambda: _count(scene, rng)))
        if any(actor.actions for actor in scene.actors):
            parts.append((shares.act, lambda: _part(scene, rng, hard, shares)))
    return rng.choices([each for _, each in parts], [share for share, _ in parts])[0]()


def _whole(scene: Scene, rng: random.Random, hard: float) -> Statement | None:
    """The scene's caption beside a contrast caption of a kind that it has."""
    weights = {kind: rng.random() ** (1 / _WANTED.get(kind, 1.0)) for kind in MISALIGNMENTS}
    for kind in sorted(weights, key=weights.__getitem__, reverse=True):
        try:
            claimed = contrast(scene, kind, rng)
        except CaptionError:
            continue
        if kind == "action":
            claimed = _harder(scene, claimed, rng, hard)
        return Statement(caption(scene), caption(claimed), kind, held_out(claimed))
    return None


def _harder(scene: Scene, claimed: Scene, rng: random.Random, hard: float) -> Scene:
    """The contrast, or one in which the changed movement is another direction."""
    for index, (shown, other_actor) in enumerate(zip(scene.actors, claimed.actors, strict=True)):
        for place, (done, said) in enumerate(zip(shown.actions, other_actor.actions, strict=True)):
            if done == said or done not in MOVES or rng.random() >= hard:
                continue
            directions = [move for move in MOVES if move not in shown.actions]
            actions = list(shown.actions)
            actions[place] = rng.choice(directions)
            actors = list(claimed.actors)
            actors[index] = replace(other_actor, actions=tuple(actions))
            return replace(claimed, actors=tuple(actors))
    return claimed


def _part(scene: Scene, rng: random.Random, hard: float, shares: Shares) -> Statement | None:
    """One shape and one of the things that it does."""
    actor = rng.choice([actor for actor in scene.actors if actor.actions])
    shown = Scene((replace(actor, actions=(rng.choice(actor.actions),)),))
    kinds = {"action": shares.action, "attribute": shares.attribute, "object": shares.object}
    kind = rng.choices(list(kinds), list(kinds.values()))[0]
    if kind == "action":
        done = shown.actors[0].actions[0]
        among = MOVES if done in MOVES and rng.random() < hard else None
        # Another action than any of this actor's, not only than the one that is named.
        said = other_action(actor, rng, among) if among else other_action(actor, rng)
        claimed = Scene((replace(shown.actors[0], actions=(said,)),))
    else:
        claimed = contrast(shown, kind, rng)
        changed = claimed.actors[0].noun != actor.noun
        if changed and claimed.actors[0].noun in _nouns(scene):
            return None
    return Statement(caption(shown), caption(claimed), f"part-{kind}", held_out(claimed))


def _relation(scene: Scene, rng: random.Random) -> Statement:
    """Where a shape is, seen from the other, without what it does; from either side."""
    assert scene.relation is not None
    first, second = (replace(actor, actions=()) for actor in scene.actors)
    if rng.random() < 0.5:
        first, second = (replace(actor, size=None) for actor in (first, second))
    shown = Scene((first, second), relation=scene.relation)
    if rng.random() < 0.5:
        shown = Scene((second, first), relation=OPPOSITE[scene.relation])
    assert shown.relation is not None
    opposite = rng.random() < 0.6
    said = OPPOSITE[shown.relation] if opposite else other(RELATIONS, shown.relation, rng)
    return Statement(caption(shown), caption(replace(shown, relation=said)), "part-relation")


def _count(scene: Scene, rng: random.Random) -> Statement:
    """How many shapes of a kind there are."""
    actor = rng.choice(scene.actors)
    number = other((1, *COUNTS), actor.count, rng)
    return Statement(_phrase(actor), _phrase(_in_number(actor, number)), "noun-count")


def noun_statement(scene: Scene, rng: random.Random, kind: str) -> Statement:
    """A colour and a shape that are in the clip, and one of the two changed.

    Args:
        scene: of the clip.
        rng: decides.
        kind: of NOUNS.
    """
    kind = choose(kind, NOUNS, "kind of statement about a noun")
    while (found := _noun(scene, rng, lambda: kind)) is None:
        pass
    return found


def _noun(scene: Scene, rng: random.Random, draw_kind: Callable[[], str]) -> Statement | None:
    """The same, of the kind that is drawn; None where the clip shows what would be false."""
    actor = rng.choice(scene.actors)
    kind = draw_kind()
    if kind == "noun-colour":
        claimed = replace(actor, colour=other(COLOURS, actor.colour, rng))
    else:
        claimed = replace(actor, shape=other(SHAPES, actor.shape, rng))
    if claimed.noun in _nouns(scene):
        return None
    return Statement(_phrase(actor), _phrase(claimed), kind, claimed.noun in HELD_OUT)


def _in_number(actor: Actor, number: int) -> Actor:
    """The actor in another number; several shapes have no size word."""
    return replace(actor, count=number, size=None if number > 1 else actor.size)


def _phrase(actor: Actor) -> str:
    """`A red circle.`, `Two red circles.`"""
    plural = "s" if actor.count > 1 else ""
    return f"{_NUMBERS[actor.count]} {actor.colour} {actor.shape}{plural}."


def _nouns(scene: Scene) -> set[tuple[str, str]]:
    return {actor.noun for actor in scene.actors}
