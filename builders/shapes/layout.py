"""Where every shape of a scene is in every frame: tracks in units of the canvas edge.

The origin is the top left corner, x grows to the right and y downwards, angles turn clockwise as seen.
Nothing leaves the canvas and no two shapes touch, so what a caption says can be read off the pixels.
"""

import random
from dataclasses import dataclass

import numpy as np

from .scenes import Actor, Scene

RADII = {"small": 0.065, None: 0.09, "large": 0.12}
COUNTED_RADIUS = 0.075
GROWTH = (0.65, 1.35)  # radius factors before and after growing
REACH = 1.55  # the farthest corner of any shape, in radii (a triangle's)
MARGIN = 0.012
LONGEST_WAY = 0.5
HEADINGS = {"moves left": (-1, 0), "moves right": (1, 0), "moves up": (0, -1), "moves down": (0, 1)}
EYE_OFFSET = 0.42  # radii


@dataclass(frozen=True, slots=True)
class Track:
    """One shape over time.

    Attributes:
        colour, shape: as of the actor.
        centre: float [T, 2], x and y. radius: float [T], of the circle of equal area.
        angle: float [T], radians. visible: bool [T].
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


@dataclass(frozen=True, slots=True)
class Cell:
    """A rectangle of the canvas that one shape keeps to."""

    left: float
    top: float
    width: float
    height: float


def lay_out(scene: Scene, frames: int, rng: random.Random) -> list[Track]:
    """The tracks of all shapes of `scene` over `frames` frames; `rng` chooses the places."""
    first, *others = scene.actors
    if first.count > 1:
        cells = rng.sample([Cell(x, y, 0.5, 0.5) for y in (0.0, 0.5) for x in (0.0, 0.5)], first.count)
        place = rng.random(), rng.random()  # all alike: they move as one
        return [_track(first, cell, _phases(first, frames), frames, place) for cell in cells]
    if not others:
        whole = Cell(0.0, 0.0, 1.0, 1.0)
        return [_track(first, whole, _phases(first, frames), frames, (rng.random(), rng.random()))]
    cells = _halves(scene, rng)
    places = [(rng.random(), rng.random()) for _ in scene.actors]
    if scene.relation:  # side by side is at one height, above is straight above
        places[1] = places[0]
    halves = (range(frames // 2), range(frames // 2, frames))
    tracks = []
    for k, actor in enumerate(scene.actors):
        phases = [(actor.actions[0], halves[k])] if scene.in_turn else _phases(actor, frames)
        tracks.append(_track(actor, cells[k], phases, frames, places[k]))
    return tracks


def _halves(scene: Scene, rng: random.Random) -> list[Cell]:
    """One half of the canvas for each of two actors; movers get the half that is long along their way."""
    left_right = [Cell(0.0, 0.0, 0.5, 1.0), Cell(0.5, 0.0, 0.5, 1.0)]
    top_bottom = [Cell(0.0, 0.0, 1.0, 0.5), Cell(0.0, 0.5, 1.0, 0.5)]
    match scene.relation:
        case "to the left of":
            return left_right
        case "to the right of":
            return left_right[::-1]
        case "above":
            return top_bottom
        case "below":
            return top_bottom[::-1]
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
    actor: Actor, cell: Cell, phases: list[tuple[str, range]], frames: int, place: tuple[float, float]
) -> Track:
    """The track of one shape that does each phase's action during its frames; `place` in [0, 1) twice."""
    nominal = COUNTED_RADIUS if actor.count > 1 else RADII[actor.size]
    radius = np.full(frames, nominal)
    offset = np.zeros((frames, 2))
    angle = np.zeros(frames)
    visible = np.ones(frames, dtype=bool)
    eye = np.zeros((frames, 2))
    sizes = [action for action, _ in phases if action in ("grows", "shrinks")]
    if sizes:
        radius *= GROWTH[0] if sizes[0] == "grows" else GROWTH[1]
    biggest = nominal * (GROWTH[1] if sizes else 1.0)
    room = np.array([cell.width, cell.height]) - 2 * (REACH * biggest + MARGIN)
    for action, during in phases:
        first, length = during.start, len(during)
        progress = np.linspace(0.0, 1.0, length)
        if action in HEADINGS:
            heading = np.array(HEADINGS[action], dtype=float)
            way = heading * np.minimum(room, LONGEST_WAY)
            offset[first:] += np.concatenate([progress, np.ones(frames - first - length)])[:, None] * way
            eye[during.start : during.stop] = EYE_OFFSET * heading
        elif action in ("grows", "shrinks"):
            ratio = GROWTH[1] / GROWTH[0] if action == "grows" else GROWTH[0] / GROWTH[1]
            radius[first:] *= ratio ** np.concatenate([progress, np.ones(frames - first - length)])
        elif action == "spins":
            turn = 2 * np.pi * np.arange(length) / length
            angle[during.start : during.stop] = turn
            # Clockwise from the top, y downwards.
            eye[during.start : during.stop] = EYE_OFFSET * np.stack([np.sin(turn), -np.cos(turn)], axis=1)
        elif action == "blinks":
            visible[during.start : during.stop] = np.arange(length) % 3 != 1
    # Place the whole way inside the cell: the corner of its bounding box moves in what room is left.
    low, high = offset.min(axis=0), offset.max(axis=0)
    slack = room - (high - low)
    corner = np.array([cell.left, cell.top]) + REACH * biggest + MARGIN
    start = corner - low + slack * np.array(place)
    return Track(actor.colour, actor.shape, start + offset, radius, angle, visible, eye)
