"""The captions of the shapes world: from a scene to its caption and back, and explanations of contrasts.

A small red circle moves left.                         one actor
Three blue stars blink.                                several alike
A red circle first moves left and then grows.          two events of one actor
First a red circle spins, then a blue star moves up.   two actors in turn
A red circle spins while a blue star moves up.         two actors together
A red circle blinks to the left of a blue star.        a relation ("is" for one at rest)
"""

import re
from collections.abc import Iterable

from synvita_data.errors import CaptionError

from .scenes import ACTIONS, COLOURS, RELATIONS, SHAPES, SIZES, Actor, Scene

_NUMBERS = {1: "a", 2: "two", 3: "three", 4: "four"}
_COUNT_OF = {word: count for count, word in _NUMBERS.items()} | {"an": 1, "one": 1}
_PLURAL_ACTIONS = {
    action: " ".join([action.split()[0].removesuffix("s"), *action.split()[1:]]) for action in ACTIONS
}
_SINGULAR_OF = {plural: action for action, plural in _PLURAL_ACTIONS.items()}


def caption(scene: Scene) -> str:
    """The one caption of `scene`, a sentence with a capital and a full stop."""
    first, *others = scene.actors
    if not others:
        words = [_verb(action, first.count) for action in first.actions]
        rest = words[0] if len(words) == 1 else f"first {words[0]} and then {words[1]}"
        sentence = f"{_noun(first)} {rest}"
    elif scene.relation:
        verb = first.actions[0] if first.actions else "is"
        sentence = f"{_noun(first)} {verb} {scene.relation} {_noun(others[0])}"
    else:
        parts = [f"{_noun(actor)} {actor.actions[0]}" for actor in scene.actors]
        sentence = f"first {parts[0]}, then {parts[1]}" if scene.in_turn else " while ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _noun(actor: Actor) -> str:
    shape = actor.shape if actor.count == 1 else f"{actor.shape}s"
    return " ".join(part for part in (_NUMBERS[actor.count], actor.size, actor.colour, shape) if part)


def _verb(action: str, count: int) -> str:
    return action if count == 1 else _PLURAL_ACTIONS[action]


# -- parsing ----------------------------------------------------------------------------------------------


def _one_of(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in words)


_NOUN = (
    rf"((?:{_one_of(_COUNT_OF)}) (?:(?:{_one_of(SIZES)}) )?(?:{_one_of(COLOURS)}) (?:{_one_of(SHAPES)})s?)"
)
_VERB = rf"({_one_of([*ACTIONS, *_SINGULAR_OF])})"
_FORMS = {
    "solo": re.compile(rf"{_NOUN} {_VERB}"),
    "two actions": re.compile(rf"{_NOUN} first {_VERB} and then {_VERB}"),
    "in turn": re.compile(rf"first {_NOUN} {_VERB}, then {_NOUN} {_VERB}"),
    "together": re.compile(rf"{_NOUN} {_VERB} while {_NOUN} {_VERB}"),
    "related": re.compile(rf"{_NOUN} (is|{_one_of(ACTIONS)}) ({_one_of(RELATIONS)}) {_NOUN}"),
}


def parse(sentence: str) -> Scene:
    """The scene whose caption `sentence` is; capitals and the full stop may be missing.

    Raises:
        CaptionError: `sentence` is not of this grammar, or its scene cannot be shown.
    """
    text = " ".join(sentence.lower().strip().removesuffix(".").split())
    for form, pattern in _FORMS.items():
        if match := pattern.fullmatch(text):
            return _scene(form, match.groups())
    raise CaptionError(
        "not a caption of the shapes world",
        found=sentence,
        expected="a sentence such as 'A small red circle moves left.'",
        fix="Use the captions of make_shapes or shapes:, or another source of synthetic videos",
    )


def _scene(form: str, parts: tuple[str, ...]) -> Scene:
    match form, parts:
        case "solo", (noun, verb):
            return Scene((_actor(noun, verb),))
        case "two actions", (noun, verb, then):
            return Scene((_actor(noun, verb, then),))
        case "in turn" | "together", (noun, verb, other, then):
            return Scene((_actor(noun, verb), _actor(other, then)), in_turn=form == "in turn")
        case _, (noun, verb, relation, other):
            subject = _actor(noun) if verb == "is" else _actor(noun, verb)
            return Scene((subject, _actor(other)), relation=relation)
    raise AssertionError(form)


def _actor(noun: str, *verbs: str) -> Actor:
    number, *size, colour, shape = noun.split()
    count = _COUNT_OF[number]
    if shape.endswith("s") != (count > 1) or any((verb in _SINGULAR_OF) != (count > 1) for verb in verbs):
        raise CaptionError("noun, number and verb do not agree", found=f"{noun} {' '.join(verbs)}")
    actions = tuple(_SINGULAR_OF.get(verb, verb) for verb in verbs)
    return Actor(colour, shape.removesuffix("s"), actions, size[0] if size else None, count)


# -- explanations -----------------------------------------------------------------------------------------


def explanation(shown: Scene, claimed: Scene, misalignment: str) -> str:
    """What is wrong with a contrast caption: the `nle` column of VideoCon.

    Args:
        shown: the scene of the video.
        claimed: that of the caption, `contrast(shown, misalignment, …)`.
        misalignment: of `schema.MISALIGNMENTS`.
    """
    index = next(
        (k for k, pair in enumerate(zip(shown.actors, claimed.actors, strict=False)) if pair[0] != pair[1]), 0
    )
    actor, other = shown.actors[index], claimed.actors[index]
    match misalignment:
        case "action":
            done, other_action = next(
                pair for pair in zip(actor.actions, other.actions, strict=True) if pair[0] != pair[1]
            )
            return (
                f"{_the(actor)} {_verb(done, actor.count)}, it is not true that {_it(actor, other_action)}."
            )
        case "attribute":
            by_colour = actor.colour != other.colour
            was, claimed_as = (actor.colour, other.colour) if by_colour else (actor.size, other.size)
            shape = actor.shape if actor.count == 1 else f"{actor.shape}s"
            return f"The {shape} {'is' if actor.count == 1 else 'are'} {was}, not {claimed_as}."
        case "count":
            return f"There are {_NUMBERS[actor.count]} {actor.colour} {actor.shape}s, not {_NUMBERS[other.count]}."
        case "flip":
            earlier, later = _events(shown)
            return f"{earlier} before {later}, not after."
        case "hallucination":
            if len(claimed.actors) > len(shown.actors):
                return f"There is no {' '.join(claimed.actors[1].noun)} in the video."
            return f"The video does not show that {_the(actor).lower()} {other.actions[1]}."
        case "object":
            if actor.count > 1:
                return f"The {actor.colour} shapes are {actor.shape}s, not {other.shape}s."
            return f"The {actor.colour} shape is a {actor.shape}, not a {other.shape}."
        case "relation":
            subject, reference = shown.actors
            return (
                f"{_the(subject)} is {shown.relation} {_the(reference).lower()}, not {claimed.relation} it."
            )
    raise CaptionError("unknown misalignment", found=misalignment)


def _the(actor: Actor) -> str:
    return f"The {actor.colour} {actor.shape}{'' if actor.count == 1 else 's'}"


def _it(actor: Actor, action: str) -> str:
    return f"{'it' if actor.count == 1 else 'they'} {_verb(action, actor.count)}"


def _events(scene: Scene) -> tuple[str, str]:
    first = scene.actors[0]
    if scene.in_turn:
        second = scene.actors[1]
        return f"{_the(first)} {first.actions[0]}", f"{_the(second).lower()} {second.actions[0]}"
    return f"{_the(first)} {first.actions[0]}", f"it {first.actions[1]}"
