"""What a clip of the shapes world shows: a `Scene` of actors, how to draw one, and how to contradict it.

A scene says *what*, never *where on the canvas*: places, background and grain come from the renderer's
seed. So `grammar.caption` and `grammar.parse` are each other's inverse, and whoever has a caption has its
scene.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from synvita_data.errors import CaptionError

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
        colour, shape: of COLOURS, SHAPES. size: of SIZES, or None for neither small nor large.
        count: 1 to 4, all alike and all doing the same. actions: of ACTIONS; empty for an actor at rest.
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
    template = rng.choice(_TEMPLATES[misalignment])
    return template(rng)


def _solo(rng: random.Random) -> Scene:
    return Scene((_sized_actor(rng),))


def _counted(rng: random.Random) -> Scene:
    actor = Actor(rng.choice(COLOURS), rng.choice(SHAPES), (rng.choice(ACTIONS),), None, rng.choice(COUNTS))
    return Scene((actor,))


def _two_actions(rng: random.Random) -> Scene:
    actor = _sized_actor(rng)
    return Scene((replace(actor, actions=(*actor.actions, _other_action(actor, rng))),))


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


_TEMPLATES: dict[str, tuple[Callable[[random.Random], Scene], ...]] = {
    "action": (_solo, _together),
    "attribute": (_solo, _together, _counted, _related),
    "count": (_counted,),
    "flip": (_two_actions, _in_turn),
    "hallucination": (_solo,),
    "object": (_solo, _together, _counted, _related),
    "relation": (_related,),
}


def _sized_actor(rng: random.Random) -> Actor:
    size = rng.choice((None, *SIZES))
    action = rng.choice(KEEPS_SIZE if size else ACTIONS)
    return Actor(rng.choice(COLOURS), rng.choice(SHAPES), (action,), size)


def _another(actor: Actor, rng: random.Random) -> Actor:
    """An actor that differs from `actor` in colour and in shape."""
    other = _sized_actor(rng)
    colour = rng.choice([colour for colour in COLOURS if colour != actor.colour])
    shape = rng.choice([shape for shape in SHAPES if shape != actor.shape])
    return replace(other, colour=colour, shape=shape)


def _other_action(actor: Actor, rng: random.Random, among: tuple[str, ...] = ACTIONS) -> str:
    allowed = [action for action in among if action not in actor.actions]
    if actor.size:
        allowed = [action for action in allowed if action in KEEPS_SIZE]
    return rng.choice(allowed)


# -- contradicting scenes ---------------------------------------------------------------------------------


def contrast(scene: Scene, misalignment: str, rng: random.Random) -> Scene:
    """The scene of a contrast caption: `scene` with one thing changed, of the kind `misalignment`.

    Raises:
        CaptionError: `scene` has nothing of that kind (a count to change, an order to flip, …);
            `draw_scene(misalignment, …)` always has.
    """
    if misalignment not in _CONTRASTS:
        raise CaptionError("not a misalignment", found=misalignment, expected=f"one of {tuple(_CONTRASTS)}")
    changed = _CONTRASTS[misalignment](scene, rng)
    if changed is None:
        raise CaptionError(
            f"this scene has nothing that a contrast of kind {misalignment!r} could change",
            found=scene,
            fix=f"Draw the scene with draw_scene({misalignment!r}, rng)",
        )
    return changed


def _change_action(scene: Scene, rng: random.Random) -> Scene | None:
    index = _pick(scene, rng, lambda actor: bool(actor.actions))
    if index is None:
        return None
    actor = scene.actors[index]
    which = rng.choice(range(len(actor.actions)))
    other = _other_action(actor, rng, KEEPS_PLACE if scene.relation else ACTIONS)
    actions = tuple(other if k == which else action for k, action in enumerate(actor.actions))
    return _with_actor(scene, index, replace(actor, actions=actions))


def _change_attribute(scene: Scene, rng: random.Random) -> Scene | None:
    index = rng.choice(range(len(scene.actors)))
    actor = scene.actors[index]
    if actor.size and rng.choice((True, False)):
        return _with_actor(scene, index, replace(actor, size=_other(SIZES, actor.size, rng)))
    taken = {other.colour for other in scene.actors}
    colour = rng.choice([colour for colour in COLOURS if colour not in taken])
    return _with_actor(scene, index, replace(actor, colour=colour))


def _change_count(scene: Scene, rng: random.Random) -> Scene | None:
    index = _pick(scene, rng, lambda actor: actor.count > 1)
    if index is None:
        return None
    actor = scene.actors[index]
    return _with_actor(scene, index, replace(actor, count=_other(COUNTS, actor.count, rng)))


def _flip(scene: Scene, rng: random.Random) -> Scene | None:
    if scene.in_turn:
        return replace(scene, actors=scene.actors[::-1])
    if scene.ordered:
        actor = scene.actors[0]
        return replace(scene, actors=(replace(actor, actions=actor.actions[::-1]),))
    return None


def _hallucinate(scene: Scene, rng: random.Random) -> Scene | None:
    """Add a second actor, or a second event of the first."""
    if len(scene.actors) > 1 or scene.ordered or scene.actors[0].count > 1:
        return None
    actor = scene.actors[0]
    if rng.choice((True, False)):
        return replace(scene, actors=(actor, _another(actor, rng)))
    return Scene((replace(actor, actions=(*actor.actions, _other_action(actor, rng))),))


def _change_object(scene: Scene, rng: random.Random) -> Scene | None:
    index = rng.choice(range(len(scene.actors)))
    taken = {other.shape for other in scene.actors}
    shape = rng.choice([shape for shape in SHAPES if shape not in taken])
    return _with_actor(scene, index, replace(scene.actors[index], shape=shape))


def _change_relation(scene: Scene, rng: random.Random) -> Scene | None:
    if scene.relation is None:
        return None
    # As in VideoCon the opposite is the usual contrast.
    opposite = OPPOSITE[scene.relation]
    other = opposite if rng.random() < 0.5 else _other(RELATIONS, scene.relation, rng)
    return replace(scene, relation=other)


_CONTRASTS: dict[str, Callable[[Scene, random.Random], Scene | None]] = {
    "action": _change_action,
    "attribute": _change_attribute,
    "count": _change_count,
    "flip": _flip,
    "hallucination": _hallucinate,
    "object": _change_object,
    "relation": _change_relation,
}


def _pick(scene: Scene, rng: random.Random, offers: Callable[[Actor], bool]) -> int | None:
    indices = [index for index, actor in enumerate(scene.actors) if offers(actor)]
    return rng.choice(indices) if indices else None


def _with_actor(scene: Scene, index: int, actor: Actor) -> Scene:
    return replace(
        scene, actors=tuple(actor if k == index else other for k, other in enumerate(scene.actors))
    )


def _other(values: tuple[Value, ...], value: Value, rng: random.Random) -> Value:
    return rng.choice([other for other in values if other != value])
