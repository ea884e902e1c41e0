"""Where every shape is in every frame: tracks in units of the canvas edge, by the measures of a world's version.

The origin is the top left corner, x grows to the right and y downwards, angles turn clockwise as seen. Nothing leaves
the canvas and no two shapes touch, so what a caption says can be read off the pixels.

Version 1 is what `shapes:` has always made. Version 2 is made for models that look at eight segment midpoints: its
shapes are larger, and its actions are timed by eighths of the clip, so that each of them is seen there.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from synvita_data.errors import SourceError

from .scenes import Actor, Scene

MARGIN = 0.012
LONGEST_WAY = 0.5
HEADINGS = {"moves left": (-1, 0), "moves right": (1, 0), "moves up": (0, -1), "moves down": (0, 1)}
EYE_OFFSET = 0.42  # radii


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The measures of one version of the world, lengths in canvas edges.

    Attributes:
        version: of the world; it joins what names its clips.
        radii: by size word, of the circle of equal area; None is the size without a word.
        counted_radius: of each of several equal shapes.
        growth: radius factors before and after growing.
        reach: the farthest corner of any shape, in radii.
        middle_radius: between small and large, as frame-level scorers judge sizes.
        size_step: from there to the radius that is surely small or surely large.
        crossing: factor of both radii where two actors move across each other's way, which takes room; their cells
            are then cut so that the one that moves across has all that is left. None: as any two actors.
        hidden: the parts of a blink that hide the shape, by the number of parts that the blink has: 8 where it fills
            the clip, 4 where it fills a half. Empty: the second of every three frames.
    """

    version: int
    radii: Mapping[str | None, float]
    counted_radius: float
    growth: tuple[float, float]
    reach: float
    middle_radius: float
    size_step: float
    crossing: float | None = None
    hidden: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


VERSION_1 = Geometry(
    version=1,
    radii=MappingProxyType({"small": 0.065, None: 0.09, "large": 0.12}),
    counted_radius=0.075,
    growth=(0.65, 1.35),
    reach=1.55,
    middle_radius=0.0925,
    size_step=0.0275,
)
VERSION_2 = Geometry(
    version=2,
    radii=MappingProxyType({"small": 0.085, None: 0.115, "large": 0.147}),
    counted_radius=0.085,
    growth=(0.6, 1.25),
    reach=1.5552,
    middle_radius=0.116,
    size_step=0.031,
    crossing=0.88,
    # Both the eight and the four segment midpoints see the shape and miss it: four fall on parts 1, 3, 5 and 7.
    hidden=MappingProxyType({8: (1, 4, 6), 4: (1, 2)}),
)
GEOMETRIES = {geometry.version: geometry for geometry in (VERSION_1, VERSION_2)}


def geometry_of(version: int) -> Geometry:
    """The measures of a version of the world.

    Raises:
        SourceError: there is no such version.
    """
    if version not in GEOMETRIES:
        raise SourceError(
            "unknown version of the shapes world",
            found=version,
            expected=f"one of {', '.join(map(str, GEOMETRIES))}",
        )
    return GEOMETRIES[version]


@dataclass(frozen=True, slots=True)
class Track:
    """One shape over time.

    Attributes:
        colour: as of the actor.
        shape: as of the actor.
        centre: float [T, 2], x and y.
        radius: float [T], of the circle of equal area.
        angle: float [T], radians.
        visible: bool [T].
        eye: float [T, 2], where the dark eye is seen from the centre, in radii. A shape looks where it
            moves and its eye goes round with a spin, so one frame hints at an action, as a runner's pose
            does; otherwise the eye is in the middle.
    """

    colour: str
    shape: str
    centre: np.ndarray
    radius: np.ndarray
    angle: np.ndarray
    visible: np.ndarray
    eye: np.ndarray


# A rectangle of the canvas that one shape keeps to: left, top, width, height.
Cell = tuple[float, float, float, float]


def lay_out(scene: Scene, frames: int, rng: random.Random, geometry: Geometry = VERSION_1) -> list[Track]:
    """The tracks of all shapes of `scene` over `frames` frames; `rng` chooses the places."""
    first, *others = scene.actors
    if first.count > 1:
        cells = rng.sample([(x, y, 0.5, 0.5) for y in (0.0, 0.5) for x in (0.0, 0.5)], first.count)
        place = rng.random(), rng.random()  # all alike: they move as one
        return [_track(first, cell, _phases(first, frames), frames, place, geometry) for cell in cells]
    if not others:
        place = rng.random(), rng.random()
        return [_track(first, (0.0, 0.0, 1.0, 1.0), _phases(first, frames), frames, place, geometry)]
    if geometry.crossing is not None and _cross(scene):
        shrunk = {size: radius * geometry.crossing for size, radius in geometry.radii.items()}
        geometry = replace(geometry, radii=shrunk)
        cells = _uneven(scene, rng, geometry)
    else:
        cells = _halves(scene, rng)
    places = [(rng.random(), rng.random()) for _ in scene.actors]
    if scene.relation:  # side by side is at one height, above is straight above
        places[1] = places[0]
    halves = (range(frames // 2), range(frames // 2, frames))
    tracks = []
    for k, actor in enumerate(scene.actors):
        phases = [(actor.actions[0], halves[k])] if scene.in_turn else _phases(actor, frames)
        tracks.append(_track(actor, cells[k], phases, frames, places[k], geometry))
    return tracks


def _cross(scene: Scene) -> bool:
    """Whether two actors move, one across the other's way."""
    ways = [HEADINGS[action] for actor in scene.actors for action in actor.actions if action in HEADINGS]
    return len(ways) == 2 and ways[0][0] * ways[1][0] + ways[0][1] * ways[1][1] == 0


def _uneven(scene: Scene, rng: random.Random, geometry: Geometry) -> list[Cell]:
    """A strip along the first actor's way, as narrow as it may be, and the rest for the one that moves across."""
    first = scene.actors[0]
    across = HEADINGS[first.actions[0]][0] == 0  # the first goes up or down: its strip stands
    width = 2 * (geometry.reach * geometry.radii[first.size] + MARGIN)
    before = rng.random() < 0.5
    low, rest = (0.0, width) if before else (1.0 - width, 0.0)
    if across:
        return [(low, 0.0, width, 1.0), (rest, 0.0, 1.0 - width, 1.0)]
    return [(0.0, low, 1.0, width), (0.0, rest, 1.0, 1.0 - width)]


def _halves(scene: Scene, rng: random.Random) -> list[Cell]:
    """One half of the canvas for each of two actors; movers get the half that is long along their way."""
    left_right: list[Cell] = [(0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)]
    top_bottom: list[Cell] = [(0.0, 0.0, 1.0, 0.5), (0.0, 0.5, 1.0, 0.5)]
    if scene.relation:
        halves = top_bottom if scene.relation in ("above", "below") else left_right
        return halves if scene.relation in ("above", "to the left of") else halves[::-1]
    ways = [HEADINGS[action] for actor in scene.actors for action in actor.actions if action in HEADINGS]
    if not ways:
        return rng.sample(rng.choice((left_right, top_bottom)), 2)
    return rng.sample(top_bottom if ways[0][0] else left_right, 2)


def _phases(actor: Actor, frames: int) -> list[tuple[str, range]]:
    if len(actor.actions) == 2:
        half = frames // 2
        return [(actor.actions[0], range(half)), (actor.actions[1], range(half, frames))]
    return [(action, range(frames)) for action in actor.actions]


def _track(
    actor: Actor,
    cell: Cell,
    phases: list[tuple[str, range]],
    frames: int,
    place: tuple[float, float],
    geometry: Geometry,
) -> Track:
    """The track of one shape that does each phase's action during its frames; `place` in [0, 1) twice."""
    nominal = geometry.counted_radius if actor.count > 1 else geometry.radii[actor.size]
    smallest, largest = geometry.growth
    radius = np.full(frames, nominal)
    offset, eye = np.zeros((frames, 2)), np.zeros((frames, 2))
    angle, visible = np.zeros(frames), np.ones(frames, dtype=bool)
    sizes = [action for action, _ in phases if action in ("grows", "shrinks")]
    if sizes:
        radius *= smallest if sizes[0] == "grows" else largest
    biggest = nominal * (largest if sizes else 1.0)
    room = np.array(cell[2:]) - 2 * (geometry.reach * biggest + MARGIN)
    for action, during in phases:
        first, length = during.start, len(during)
        span = slice(first, during.stop)
        # From 0 to 1 during the phase, and 1 after it.
        progress = np.concatenate([np.linspace(0.0, 1.0, length), np.ones(frames - first - length)])
        if action in HEADINGS:
            heading = np.array(HEADINGS[action], dtype=float)
            offset[first:] += progress[:, None] * (heading * np.minimum(room, LONGEST_WAY))
            eye[span] = EYE_OFFSET * heading
        elif action in ("grows", "shrinks"):
            ratio = largest / smallest if action == "grows" else smallest / largest
            radius[first:] *= ratio**progress
        elif action == "spins":
            angle[span] = turn = 2 * np.pi * np.arange(length) / length
            # Clockwise from the top, y downwards.
            eye[span] = EYE_OFFSET * np.stack([np.sin(turn), -np.cos(turn)], axis=1)
        elif action == "blinks":
            visible[span] = ~_blink(length, frames, geometry)
    # Place the whole way inside the cell: the corner of its bounding box moves in what room is left.
    low, high = offset.min(axis=0), offset.max(axis=0)
    slack = room - (high - low)
    corner = np.array(cell[:2]) + geometry.reach * biggest + MARGIN
    start = corner - low + slack * np.array(place)
    return Track(actor.colour, actor.shape, start + offset, radius, angle, visible, eye)


def _blink(length: int, frames: int, geometry: Geometry) -> np.ndarray:
    """bool [length]: when a shape that blinks for `length` of `frames` frames is hidden."""
    during = np.arange(length)
    if not geometry.hidden:
        return during % 3 == 1
    parts = 8 if length == frames else 4
    return np.isin(during * parts // length, geometry.hidden[parts])
