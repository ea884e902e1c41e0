"""What a clip of the shapes world shows: a `Scene` of actors, how to draw one, and how to contradict it.

A scene says *what*, never *where on the canvas*: places, background and grain come from the renderer's
seed. So `grammar.caption` and `grammar.parse` are each other's inverse, and whoever has a caption has its
scene.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from synvita_data.errors import CaptionError, choose

Value = TypeVar("Value")
SHAPES = ("circle", "square", "triangle", "star")
COLOURS = ("red", "green", "blue", "yellow", "purple", "cyan")
SIZES = ("small", "large")
COUNTS = (2, 3, 4)
MOVES = ("moves left", "moves right", "moves up", "moves down")
ACTIONS = (*MOVES, "grows", "shrinks", "spins", "blinks")
# What a sized actor, and the subject of a relation, may do: the rest would make the word untrue.
KEEPS_SIZE = tuple(action for action in ACTIONS if action not in ("grows", "shrinks"))
KEEPS_PLACE = tuple(action for action in ACTIONS if action not in MOVES)
# A relation and its opposite.
OPPOSITE = {
    "to the left of": "to the right of",
    "to the right of": "to the left of",
    "above": "below",
    "below": "above",
}
RELATIONS = tuple(OPPOSITE)


@dataclass(frozen=True, slots=True)
class Actor:
    """One noun phrase: `count` equal shapes that do `actions` one after another.

    Attributes:
        colour: of COLOURS.
        shape: of SHAPES.
        actions: of ACTIONS; empty for an actor at rest.
        size: of SIZES, or None for neither small nor large.
        count: 1 to 4, all alike and all doing the same.
    """

    colour: str
    shape: str
    actions: tuple[str, ...] = ()
    size: str | None = None
    count: int = 1

    @property
    def noun(self) -> tuple[str, str]:
        """What tells two actors of one scene apart: colour and shape."""
        return self.colour, self.shape


@dataclass(frozen=True, slots=True)
class Scene:
    """One or two actors.

    Attributes:
        actors: one actor with one or two actions, or two actors.
        in_turn: two actors act one after the other (else at the same time).
        relation: where the first of two actors is, seen from the second, which rests.

    Raises:
        CaptionError: the scene cannot be shown clearly on the canvas; the message says why.
    """

    actors: tuple[Actor, ...]
    in_turn: bool = False
    relation: str | None = None

    def __post_init__(self) -> None:
        if problem := _problem(self):
            raise CaptionError(
                "the shapes world cannot show this scene",
                found=f"{self.actors}, in turn: {self.in_turn}, relation: {self.relation}",
                expected=problem,
            )

    @property
    def ordered(self) -> bool:
        """Whether the scene has an order of events that a caption can get wrong."""
        return self.in_turn or len(self.actors[0].actions) == 2


def _problem(scene: Scene) -> str | None:
    """What a showable scene would have been, or None when this one is."""
    for actor in scene.actors:
        if actor.colour not in COLOURS or actor.shape not in SHAPES or actor.size not in (None, *SIZES):
            return f"a colour of {COLOURS}, a shape of {SHAPES}, a size of {SIZES} or none"
        if any(action not in ACTIONS for action in actor.actions):
            return f"actions of {ACTIONS}"
        if actor.size and not set(actor.actions) <= set(KEEPS_SIZE):
            return "no size word on a shape that grows or shrinks"
        if actor.count != 1 and (actor.count not in COUNTS or actor.size or len(actor.actions) != 1):
            return f"a count of 1 or {COUNTS}; several shapes have no size word and do one thing"
    if scene.relation and scene.relation not in RELATIONS:
        return f"a relation of {RELATIONS}"
    match scene.actors:
        case (actor,):
            if scene.in_turn or scene.relation:
                return "two actors where there is a relation or they take turns"
            if len(set(actor.actions)) != len(actor.actions) or len(actor.actions) not in (1, 2):
                return "one or two different actions of a single actor"
        case (first, second):
            if first.noun == second.noun:
                return "two actors of different colour or shape"
            if first.count != 1 or second.count != 1:
                return "one shape a noun where there are two nouns"
            if scene.relation:
                allowed = ((), *((action,) for action in KEEPS_PLACE))
                if first.actions not in allowed or second.actions or scene.in_turn:
                    return "a subject that stays in its place beside a second shape that rests"
            elif len(first.actions) != 1 or len(second.actions) != 1:
                return "one action for each of two actors"
        case _:
            return "one or two actors"
    return None


# -- drawing scenes ---------------------------------------------------------------------------------------


def draw_scene(misalignment: str, rng: random.Random) -> Scene:
    """A random scene that a contrast of this misalignment can contradict.

    The draws use only `Random.choice` and `Random.random`, so a seed gives the same scene for ever.
    """
    templates, _ = _MISALIGNMENTS[misalignment]
    return rng.choice(templates)(rng)


def _solo(rng: random.Random) -> Scene:
    return Scene((_sized_actor(rng),))


def _counted(rng: random.Random) -> Scene:
    actor = Actor(rng.choice(COLOURS), rng.choice(SHAPES), (rng.choice(ACTIONS),), None, rng.choice(COUNTS))
    return Scene((actor,))


def _two_actions(rng: random.Random) -> Scene:
    actor = _sized_actor(rng)
    return Scene((replace(actor, actions=(*actor.actions, other_action(actor, rng))),))


def _together(rng: random.Random) -> Scene:
    first = _sized_actor(rng)
    return Scene((first, _another(first, rng)))


def _in_turn(rng: random.Random) -> Scene:
    return replace(_together(rng), in_turn=True)


def _related(rng: random.Random) -> Scene:
    first = _sized_actor(rng)
    allowed = ((), *((action,) for action in KEEPS_PLACE if not first.size or action in KEEPS_SIZE))
    first = replace(first, actions=rng.choice(allowed))
    second = replace(_another(first, rng), actions=())
    return Scene((first, second), relation=rng.choice(RELATIONS))


def _sized_actor(rng: random.Random) -> Actor:
    size = rng.choice((None, *SIZES))
    action = rng.choice(KEEPS_SIZE if size else ACTIONS)
    return Actor(rng.choice(COLOURS), rng.choice(SHAPES), (action,), size)


def _another(actor: Actor, rng: random.Random) -> Actor:
    """An actor that differs from `actor` in colour and in shape."""
    made = _sized_actor(rng)
    colour = other(COLOURS, actor.colour, rng)
    return replace(made, colour=colour, shape=other(SHAPES, actor.shape, rng))


def other_action(actor: Actor, rng: random.Random, among: tuple[str, ...] = ACTIONS) -> str:
    """One of the actions `among` that the actor does not do yet and that keeps its size word true."""
    possible = KEEPS_SIZE if actor.size else ACTIONS
    return rng.choice([action for action in among if action not in actor.actions and action in possible])


# -- contradicting scenes ---------------------------------------------------------------------------------


def contrast(scene: Scene, misalignment: str, rng: random.Random) -> Scene:
    """The scene of a contrast caption: `scene` with one thing changed, of the kind `misalignment`.

    Raises:
        CaptionError: `scene` has nothing of that kind (a count to change, an order to flip, …);
            `draw_scene(misalignment, …)` always has.
    """
    choose(misalignment, _MISALIGNMENTS, "misalignment", error=CaptionError)
    _, change = _MISALIGNMENTS[misalignment]
    changed = change(scene, rng)
    if changed is None:
        raise CaptionError(
            f"this scene has nothing that a contrast of kind {misalignment!r} could change",
            found=scene,
            fix=f"Draw the scene with draw_scene({misalignment!r}, rng)",
        )
    return changed


def change_actor(scene: Scene, index: int, **changes: Any) -> Scene:
    """`scene` with other values of one actor's attributes."""
    actors = list(scene.actors)
    actors[index] = replace(actors[index], **changes)
    return replace(scene, actors=tuple(actors))


def untaken(scene: Scene, attribute: str, values: tuple[Value, ...]) -> list[Value]:
    """Those of `values` that no actor of `scene` has as this attribute."""
    taken = {getattr(actor, attribute) for actor in scene.actors}
    return [value for value in values if value not in taken]


def _change_action(scene: Scene, rng: random.Random) -> Scene | None:
    index = _pick(scene, rng, lambda actor: bool(actor.actions))
    if index is None:
        return None
    actor = scene.actors[index]
    actions = list(actor.actions)
    which = rng.choice(range(len(actions)))
    actions[which] = other_action(actor, rng, KEEPS_PLACE if scene.relation else ACTIONS)
    return change_actor(scene, index, actions=tuple(actions))


def _change_attribute(scene: Scene, rng: random.Random) -> Scene | None:
    index = rng.choice(range(len(scene.actors)))
    actor = scene.actors[index]
    if actor.size and rng.choice((True, False)):
        return change_actor(scene, index, size=other(SIZES, actor.size, rng))
    return change_actor(scene, index, colour=rng.choice(untaken(scene, "colour", COLOURS)))


def _change_count(scene: Scene, rng: random.Random) -> Scene | None:
    index = _pick(scene, rng, lambda actor: actor.count > 1)
    if index is None:
        return None
    return change_actor(scene, index, count=other(COUNTS, scene.actors[index].count, rng))


def _flip(scene: Scene, rng: random.Random) -> Scene | None:
    if scene.in_turn:
        return replace(scene, actors=scene.actors[::-1])
    return change_actor(scene, 0, actions=scene.actors[0].actions[::-1]) if scene.ordered else None


def _hallucinate(scene: Scene, rng: random.Random) -> Scene | None:
    """Add a second actor, or a second event of the first."""
    if len(scene.actors) > 1 or scene.ordered or scene.actors[0].count > 1:
        return None
    actor = scene.actors[0]
    if rng.choice((True, False)):
        return replace(scene, actors=(actor, _another(actor, rng)))
    return change_actor(scene, 0, actions=(*actor.actions, other_action(actor, rng)))


def _change_object(scene: Scene, rng: random.Random) -> Scene | None:
    index = rng.choice(range(len(scene.actors)))
    return change_actor(scene, index, shape=rng.choice(untaken(scene, "shape", SHAPES)))


def _change_relation(scene: Scene, rng: random.Random) -> Scene | None:
    if scene.relation is None:
        return None
    # As in VideoCon the opposite is the usual contrast.
    usual = rng.random() < 0.5
    return replace(
        scene, relation=OPPOSITE[scene.relation] if usual else other(RELATIONS, scene.relation, rng)
    )


def _pick(scene: Scene, rng: random.Random, offers: Callable[[Actor], bool]) -> int | None:
    indices = [index for index, actor in enumerate(scene.actors) if offers(actor)]
    return rng.choice(indices) if indices else None


def other(values: tuple[Value, ...], value: Value, rng: random.Random) -> Value:
    """One of `values` that is not `value`."""
    return rng.choice([each for each in values if each != value])


# Misalignment -> the kinds of scenes that it can contradict, and how.
_MISALIGNMENTS: dict[
    str,
    tuple[tuple[Callable[[random.Random], Scene], ...], Callable[[Scene, random.Random], Scene | None]],
] = {
    "action": ((_solo, _together), _change_action),
    "attribute": ((_solo, _together, _counted, _related), _change_attribute),
    "count": ((_counted,), _change_count),
    "flip": ((_two_actions, _in_turn), _flip),
    "hallucination": ((_solo,), _hallucinate),
    "object": ((_solo, _together, _counted, _related), _change_object),
    "relation": ((_related,), _change_relation),
}
