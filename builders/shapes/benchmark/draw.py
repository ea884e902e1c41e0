"""What the tests of version 2 of the world ask: pairs in four sets, retrieval, and multiple choice, drawn from a seed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from synvita_data.errors import SourceError
from synvita_data.schema import MISALIGNMENTS

from ..grammar import caption
from ..pixels import seed_of
from ..scenes import ACTIONS, COLOURS, RELATIONS, SHAPES, Actor, Scene
from ..splits import Split, concepts, kept_for_tests
from ..world import Pair, make_pair
from .wording import needs_time, reword

SETS = ("unseen", "train_like", "rest", "flip")
_KINDS = {
    "train_like": MISALIGNMENTS,
    "rest": ("action", "count", "hallucination", "relation"),
    "flip": ("flip",),
}
NOUNS = 2  # of a retrieval test
CHOICES = ("action", "attribute", "object", "order", "relation")
_OPTIONS = 5


@dataclass(frozen=True, slots=True)
class TestPair:
    """A clip with a caption and a contrast caption, in the grammar's words and in others.

    Attributes:
        set: of SETS. `unseen`: the caption names unseen concepts and the contrast removes them; `train_like`: drawn as
            training is; `rest` and `flip`: neither names one.
        pair: in the grammar's words; its real clip is the test's.
        concept: that the contrast of an `unseen` pair removes; "" in other sets.
        human: caption and contrast caption in other words.
        hard: whether one frame cannot tell the two apart.
    """

    __test__ = False  # pytest

    set: str
    pair: Pair
    concept: str
    human: tuple[str, str]
    hard: bool


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip of a test.

    Attributes:
        video_id: its name.
        scene: what it shows.
    """

    video_id: str
    scene: Scene

    @property
    def seed(self) -> int:
        """Of places and background, as of every real clip."""
        return seed_of("real clip", self.video_id)


@dataclass(frozen=True, slots=True)
class Ranking:
    """A retrieval test: every caption ranks all clips; it is true of those whose scene has this caption.

    Attributes:
        captions: different ones.
        clips: all of them.
    """

    captions: tuple[str, ...]
    clips: tuple[Clip, ...]

    def match(self, caption_: str, clip: Clip) -> bool:
        """Whether the caption is true of the clip."""
        return caption(clip.scene) == caption_


@dataclass(frozen=True, slots=True)
class Choice:
    """A multiple-choice question: the beginning of a caption, and how it may go on.

    Attributes:
        clip: it is about.
        kind: of CHOICES, what the options differ in.
        question: the beginning.
        options: ends, each of which makes a caption of the grammar.
        answer: place of the true one.
        concept: an unseen concept that the true caption names, or "".
    """

    clip: Clip
    kind: str
    question: str
    options: tuple[str, ...]
    answer: int
    concept: str


def draw_tests(split: Split, seed: int, pairs: int) -> list[TestPair]:
    """The pairs of all sets, `pairs` of each; without unseen concepts there is no set `unseen`.

    No true caption of theirs is one of training, whatever the seeds.

    Args:
        split: of the training world.
        seed: of the tests.
        pairs: of each set, at least 7.

    Raises:
        SourceError: too few pairs, or an impossible split.
    """
    _check(seed, pairs, len(MISALIGNMENTS), "pairs of each test set")
    name = _name("pairs", split, seed)
    found: list[TestPair] = []
    for which in SETS:
        kinds: Sequence[str] = split.removers if which == "unseen" else _KINDS[which]
        for k in range(pairs if kinds else 0):
            kind = kinds[k % len(kinds)]
            rng = random.Random(seed_of("test pair", seed, which, k))
            draw = {"unseen": split.draw_unseen, "train_like": split.draw_like_train}.get(
                which, split.draw_free
            )
            scene, claimed = draw(kind, rng)
            pair = make_pair(name, len(found), kind, scene, claimed, split="test")
            removed = concepts(scene) - concepts(claimed)
            concept = next((each for each in split.unseen if each in removed), "")
            # Both texts are told in one way, so that the way says nothing.
            way = seed_of("wording", seed, which, k)
            human = reword(scene, random.Random(way)), reword(claimed, random.Random(way))
            hard = needs_time(scene, claimed)
            found.append(TestPair(which, pair, concept if which == "unseen" else "", human, hard))
    return found


def draw_temporal(split: Split, seed: int, clips: int = 6) -> Ranking:
    """Which clip shows which action: eight actions of each of two nouns, `clips` of each caption.

    The nouns are not unseen, the actions may be.

    Raises:
        SourceError: no clips.
    """
    scenes = [
        Scene((Actor(colour, shape, (action,)),))
        for colour, shape in _nouns(split, seed, "temporal")
        for action in ACTIONS
    ]
    return _ranking("temporal", split, seed, scenes, clips)


def draw_events(split: Split, seed: int, clips: int = 6) -> Ranking:
    """Which clip shows which two events in which order: four pairs of actions of each of two nouns, in both orders.

    Raises:
        SourceError: no clips.
    """
    rng = random.Random(seed_of("events", seed))
    seen = [action for action in ACTIONS if action not in split.unseen]
    couples = [(one, other) for place, one in enumerate(seen) for other in seen[place + 1 :]]
    scenes = [
        Scene((Actor(colour, shape, order),))
        for colour, shape in _nouns(split, seed, "events")
        for one, other in rng.sample(couples, min(4, len(couples)))
        for order in ((one, other), (other, one))
    ]
    return _ranking("events", split, seed, scenes, clips)


def draw_choices(split: Split, seed: int, count: int = 100) -> list[Choice]:
    """Questions of five kinds in turn; true captions are none of training's.

    Raises:
        SourceError: fewer than 5 questions.
    """
    _check(seed, count, len(CHOICES), "questions")
    name = _name("choice", split, seed)
    found = []
    for k in range(count):
        kind = CHOICES[k % len(CHOICES)]
        rng = random.Random(seed_of("choice", seed, k))
        while True:
            scene, question, right, wrong = _question(kind, rng)
            if kept_for_tests(scene) or split.named(scene):
                break
        options = [right, *rng.sample(wrong, min(_OPTIONS - 1, len(wrong)))]
        rng.shuffle(options)
        concept = next(iter(split.named(scene)), "")
        clip = Clip(f"{name}-{k:05d}", scene)
        found.append(Choice(clip, kind, question, tuple(options), options.index(right), concept))
    return found


def _question(kind: str, rng: random.Random) -> tuple[Scene, str, str, list[str]]:
    """A scene, the beginning of its caption, the true end, and all wrong ends."""
    colour, shape = rng.choice(COLOURS), rng.choice(SHAPES)
    one, other = rng.sample(ACTIONS, 2)
    solo = Scene((Actor(colour, shape, (one,)),))
    if kind == "action":
        wrong = [f"{action}." for action in ACTIONS if action != one]
        return solo, f"A {colour} {shape}", f"{one}.", wrong
    if kind == "attribute":
        wrong = [f"{each} {shape} {one}." for each in COLOURS if each != colour]
        return solo, "A", f"{colour} {shape} {one}.", wrong
    if kind == "object":
        wrong = [f"{colour} {each} {one}." for each in SHAPES if each != shape]
        return solo, "A", f"{colour} {shape} {one}.", wrong
    if kind == "order":
        third = rng.choice([action for action in ACTIONS if action not in (one, other)])
        ways = [(one, other), (other, one), (one, third), (third, other), (third, one)]
        ends = [f"{earlier} and then {later}." for earlier, later in ways]
        return Scene((Actor(colour, shape, (one, other)),)), f"A {colour} {shape} first", ends[0], ends[1:]
    relation = rng.choice(RELATIONS)
    second = Actor(
        rng.choice([each for each in COLOURS if each != colour]),
        rng.choice([s for s in SHAPES if s != shape]),
    )
    ends = [f"{each} a {second.colour} {second.shape}." for each in RELATIONS]
    right = ends[RELATIONS.index(relation)]
    scene = Scene((Actor(colour, shape), second), relation=relation)
    return scene, f"A {colour} {shape} is", right, [end for end in ends if end != right]


def _ranking(what: str, split: Split, seed: int, scenes: Sequence[Scene], clips: int) -> Ranking:
    _check(seed, clips, 1, "clips of each caption")
    name = _name(what, split, seed)
    every = [scene for scene in scenes for _ in range(clips)]
    return Ranking(
        tuple(map(caption, scenes)),
        tuple(Clip(f"{name}-{k:05d}", scene) for k, scene in enumerate(every)),
    )


def _nouns(split: Split, seed: int, what: str) -> list[tuple[str, str]]:
    """Different colours with different shapes, all seen."""
    rng = random.Random(seed_of("nouns", what, seed))
    colours = [each for each in COLOURS if each not in split.unseen]
    shapes = [each for each in SHAPES if each not in split.unseen]
    return list(zip(rng.sample(colours, NOUNS), rng.sample(shapes, NOUNS), strict=True))


def _name(what: str, split: Split, seed: int) -> str:
    """What the ids of a test's videos begin with."""
    return f"w2-{seed_of('test', what, seed, *split.unseen, f'{split.share:.6f}'):016x}"[:11]


def _check(seed: int, count: int, least: int, what: str) -> None:
    if count < least or seed < 0:
        raise SourceError(
            f"too few {what}", found=f"{count}, seed {seed}", expected=f"at least {least}, a seed from 0"
        )
