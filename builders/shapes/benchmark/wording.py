"""The scenes of the shapes world in other words than its grammar's, as people might say them.

Colours, shapes, sizes and numbers keep their words; verbs, relations and the form of the sentence do not. No sentence
of this wording is one of the grammar, and two scenes that are told in one way differ in their words.
"""

import random

from ..scenes import Actor, Scene

_NUMBERS = {1: "a", 2: "two", 3: "three", 4: "four"}
# An action of one shape, and of several; in two ways.
_VERBS: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "moves left": (
        ("goes to the left", "go to the left"),
        ("is moving to the left", "are moving to the left"),
    ),
    "moves right": (
        ("goes to the right", "go to the right"),
        ("is moving to the right", "are moving to the right"),
    ),
    "moves up": (("goes up", "go up"), ("is moving to the top", "are moving to the top")),
    "moves down": (("goes down", "go down"), ("is moving to the bottom", "are moving to the bottom")),
    "grows": (("gets larger", "get larger"), ("is becoming large", "are becoming large")),
    "shrinks": (("gets smaller", "get smaller"), ("is becoming small", "are becoming small")),
    "spins": (("turns in a circle", "turn in a circle"), ("is turning around", "are turning around")),
    "blinks": (("comes and goes", "come and go"), ("is flashing", "are flashing")),
}
_RELATIONS = {
    "to the left of": ("on the left of", "left of"),
    "to the right of": ("on the right of", "right of"),
    "above": ("over", "higher than"),
    "below": ("under", "lower than"),
}


def reword(scene: Scene, rng: random.Random) -> str:
    """A sentence that says what the caption of `scene` says, in other words.

    Args:
        scene: what is said.
        rng: chooses the way to say it; two scenes of one form that are told with equal states are told in one way.
    """
    form = rng.randrange(3)
    way, noun_way = rng.randrange(2), rng.randrange(2)
    first, *others = scene.actors
    subject = _noun(first, noun_way)
    if scene.relation:
        sentence = _related(scene, subject, _noun(others[0], noun_way), form, way)
    elif others:
        clauses = [f"{_noun(actor, noun_way)} {_verb(actor, 0, way)}" for actor in scene.actors]
        sentence = _in_turn(clauses, form) if scene.in_turn else _together(clauses, form)
    elif len(first.actions) == 2:
        sentence = _two_events(subject, _verb(first, 0, way), _verb(first, 1, way), form)
    else:
        they = "it" if first.count == 1 else "they"
        there = "is" if first.count == 1 else "are"
        verb = _verb(first, 0, way)
        sentence = (
            f"there {there} {subject}, and {they} {verb}",
            f"in this clip {subject} {verb}",
            f"you can see that {subject} {verb}",
        )[form]
    return f"{sentence[0].upper()}{sentence[1:]}."


def _noun(actor: Actor, way: int) -> str:
    shape = actor.shape if actor.count == 1 else f"{actor.shape}s"
    if way == 0:
        words = (_NUMBERS[actor.count], actor.size and f"{actor.size},", actor.colour, shape)
        return " ".join(word for word in words if word)
    those = "that is" if actor.count == 1 else "that are"
    said = f"{actor.size} and {actor.colour}" if actor.size else actor.colour
    return f"{_NUMBERS[actor.count]} {shape} {those} {said}"


def _verb(actor: Actor, place: int, way: int) -> str:
    return _VERBS[actor.actions[place]][way][actor.count > 1]


def _two_events(subject: str, earlier: str, later: str, form: int) -> str:
    return (
        f"{subject} {earlier}, and after that it {later}",
        f"before it {later}, {subject} {earlier}",
        f"{subject} {later} after it {earlier}",
    )[form]


def _in_turn(clauses: list[str], form: int) -> str:
    earlier, later = clauses
    return (
        f"{earlier}, and after that {later}",
        f"before {later}, {earlier}",
        f"{later}, but only after {earlier}",
    )[form]


def _together(clauses: list[str], form: int) -> str:
    one, other = clauses
    return (
        f"{one}, and at the same time {other}",
        f"two things happen at once: {one}, and {other}",
        f"as {one}, {other}",
    )[form]


def _related(scene: Scene, subject: str, reference: str, form: int, way: int) -> str:
    actor = scene.actors[0]
    where = _RELATIONS[scene.relation or ""][way]
    does = _verb(actor, 0, way) if actor.actions else "is at rest"
    return (
        f"there is {reference}, and {where} it {subject} {does}",
        f"{subject}, which is {where} {reference}, {does}",
        f"in this clip {subject} {does}; it is {where} {reference}",
    )[form]


def needs_time(real: Scene, claimed: Scene) -> bool:
    """Whether one frame cannot tell two captions apart: what happens differs, or in which order."""
    if len(real.actors) != len(claimed.actors):
        return False
    if real.in_turn and claimed.actors == real.actors[::-1]:
        return True
    return any(one.actions != other.actions for one, other in zip(real.actors, claimed.actors, strict=True))
