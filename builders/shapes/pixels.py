"""From a scene to uint8 frames, with NumPy: where every shape is in every frame, and how it is painted.

Shapes follow tracks in units of the canvas edge. The origin is the top left corner, x grows to the right and y
downwards, angles turn clockwise as seen. Nothing leaves the canvas and no two shapes touch, so what a caption says can
be read off the pixels. Painted are anti-aliased shapes on a plain or a grainy background.

Randomness comes from `random.Random` and `numpy.random.RandomState`, whose streams are frozen: the same
seed gives the same pixels for ever.
"""

import hashlib
import random
from dataclasses import dataclass, replace

import numpy as np

from .scenes import Actor, Scene

PALETTE = {
    "red": (214, 40, 40),
    "green": (42, 157, 62),
    "blue": (45, 92, 220),
    "yellow": (238, 200, 30),
    "purple": (150, 55, 195),
    "cyan": (30, 190, 205),
}
EYE_RADIUS = 0.3  # radii of the shape
EYE_DARKNESS = 0.35

RADII = {"small": 0.065, None: 0.09, "large": 0.12}
COUNTED_RADIUS = 0.075
GROWTH = (0.65, 1.35)  # radius factors before and after growing
REACH = 1.55  # the farthest corner of any shape, in radii (a triangle's)
MARGIN = 0.012
LONGEST_WAY = 0.5
HEADINGS = {"moves left": (-1, 0), "moves right": (1, 0), "moves up": (0, -1), "moves down": (0, 1)}
EYE_OFFSET = 0.42  # radii


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a clip is filmed.

    Attributes:
        size: edge of the square frame in pixels, even (h264).
        frames: how many.
        fps: frames a second.
        background: mean grey level.
        grain: standard deviation of the background's drifting texture and of its flicker, grey levels.
        saturation: of the shapes, 1 for the pure palette.
        softness: width of a shape's edge in pixels.
        wobble: how far a shape's radius trembles, as a share of it.
    """

    size: int = 96
    frames: int = 16
    fps: float = 8.0
    background: float = 232.0
    grain: float = 0.0
    saturation: float = 1.0
    softness: float = 1.0
    wobble: float = 0.0


REAL = Style()
# What a generator makes: a dark grainy room, paler and softer shapes that tremble, another length and rate.
SYNTHETIC = Style(frames=20, fps=10.0, background=66.0, grain=7.0, saturation=0.8, softness=2.2, wobble=0.05)


def seed_of(*parts: object) -> int:
    """A seed in [0, 2**63) from the text of `parts`: SHA-256, so that near keys give unrelated seeds."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def render(scene: Scene, seed: int, style: Style = REAL) -> np.ndarray:
    """The clip of `scene`: uint8 [T, H, W, 3], RGB, with places and background chosen by `seed`."""
    tracks = lay_out(scene, style.frames, random.Random(seed))
    noise = np.random.RandomState(np.array([seed & 0xFFFFFFFF, seed >> 32], dtype=np.uint32))
    clip = _background(style, noise)
    for track in tracks:
        if style.wobble:
            tremble = 1 + style.wobble * noise.uniform(-1, 1, style.frames)
            track = replace(track, radius=track.radius * tremble)
        colour = _paint(track.colour, style.saturation)
        for frame in np.flatnonzero(track.visible):
            _draw(clip[frame], track, int(frame), colour, style.softness)
    return np.clip(np.rint(clip), 0, 255).astype(np.uint8)


# -- where shapes are -----------------------------------------------------------------------------------


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


def lay_out(scene: Scene, frames: int, rng: random.Random) -> list[Track]:
    """The tracks of all shapes of `scene` over `frames` frames; `rng` chooses the places."""
    first, *others = scene.actors
    if first.count > 1:
        cells = rng.sample([(x, y, 0.5, 0.5) for y in (0.0, 0.5) for x in (0.0, 0.5)], first.count)
        place = rng.random(), rng.random()  # all alike: they move as one
        return [_track(first, cell, _phases(first, frames), frames, place) for cell in cells]
    if not others:
        return [
            _track(first, (0.0, 0.0, 1.0, 1.0), _phases(first, frames), frames, (rng.random(), rng.random()))
        ]
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
    actor: Actor, cell: Cell, phases: list[tuple[str, range]], frames: int, place: tuple[float, float]
) -> Track:
    """The track of one shape that does each phase's action during its frames; `place` in [0, 1) twice."""
    nominal = COUNTED_RADIUS if actor.count > 1 else RADII[actor.size]
    radius = np.full(frames, nominal)
    offset, eye = np.zeros((frames, 2)), np.zeros((frames, 2))
    angle, visible = np.zeros(frames), np.ones(frames, dtype=bool)
    sizes = [action for action, _ in phases if action in ("grows", "shrinks")]
    if sizes:
        radius *= GROWTH[0] if sizes[0] == "grows" else GROWTH[1]
    biggest = nominal * (GROWTH[1] if sizes else 1.0)
    room = np.array(cell[2:]) - 2 * (REACH * biggest + MARGIN)
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
            ratio = GROWTH[1] / GROWTH[0] if action == "grows" else GROWTH[0] / GROWTH[1]
            radius[first:] *= ratio**progress
        elif action == "spins":
            angle[span] = turn = 2 * np.pi * np.arange(length) / length
            # Clockwise from the top, y downwards.
            eye[span] = EYE_OFFSET * np.stack([np.sin(turn), -np.cos(turn)], axis=1)
        elif action == "blinks":
            visible[span] = np.arange(length) % 3 != 1
    # Place the whole way inside the cell: the corner of its bounding box moves in what room is left.
    low, high = offset.min(axis=0), offset.max(axis=0)
    slack = room - (high - low)
    corner = np.array(cell[:2]) + REACH * biggest + MARGIN
    start = corner - low + slack * np.array(place)
    return Track(actor.colour, actor.shape, start + offset, radius, angle, visible, eye)


# -- how they are painted -------------------------------------------------------------------------------


def _background(style: Style, noise: np.random.RandomState) -> np.ndarray:
    """float32 [T, H, W, 3]: a grey of faint tint, a slope of light, and texture that drifts and flickers."""
    size, frames = style.size, style.frames
    tint = noise.uniform(-4, 4, 3)
    slope = noise.uniform(-8, 8, 2)
    ramp = (np.arange(size) + 0.5) / size - 0.5
    plain = style.background + tint + (slope[0] * ramp[:, None] + slope[1] * ramp)[:, :, None]
    clip = np.repeat(plain[None].astype(np.float32), frames, axis=0)
    if style.grain:
        texture = _smooth_noise(size, noise) * style.grain
        flicker = noise.standard_normal(frames) * style.grain / 2
        for k in range(frames):
            clip[k] += (np.roll(texture, k, axis=1) + flicker[k])[:, :, None]
    return clip


def _smooth_noise(size: int, noise: np.random.RandomState) -> np.ndarray:
    """float32 [size, size]: noise of unit variance, blurred over about five pixels, that tiles."""
    spectrum = np.fft.rfft2(noise.standard_normal((size, size)))
    rows = np.fft.fftfreq(size)[:, None]
    columns = np.fft.rfftfreq(size)
    texture = np.fft.irfft2(spectrum * np.exp(-2 * (np.pi * 2.0) ** 2 * (rows**2 + columns**2)), (size, size))
    return (texture / texture.std()).astype(np.float32)


def _paint(colour: str, saturation: float) -> np.ndarray:
    pure = np.array(PALETTE[colour], dtype=np.float32)
    return pure.mean() + np.float32(saturation) * (pure - pure.mean())


def _draw(image: np.ndarray, track: Track, frame: int, colour: np.ndarray, softness: float) -> None:
    """Blend one shape of float32 `colour` and its eye into `image`, float32 [size, size, 3]."""
    size = len(image)
    radius = track.radius[frame] * size
    x, y = track.centre[frame] * size
    reach = 1.6 * radius + softness + 1
    left, right = max(int(x - reach), 0), min(int(x + reach) + 1, size)
    top, bottom = max(int(y - reach), 0), min(int(y + reach) + 1, size)
    patch = image[top:bottom, left:right]
    dx = (np.arange(left, right) + 0.5 - x).astype(np.float32)
    dy = (np.arange(top, bottom) + 0.5 - y).astype(np.float32)[:, None]
    cos, sin = np.float32(np.cos(track.angle[frame])), np.float32(np.sin(track.angle[frame]))
    unit = np.float32(1.0 / radius)
    distance = _distance(track.shape, (cos * dx + sin * dy) * unit, (cos * dy - sin * dx) * unit) / unit
    _blend(patch, distance, colour, softness)
    eye_x, eye_y = (track.eye[frame] * radius).astype(np.float32)
    eye = np.hypot(dx - eye_x, dy - eye_y) - np.float32(EYE_RADIUS * radius)
    _blend(patch, eye, np.float32(EYE_DARKNESS) * colour, softness)


def _blend(patch: np.ndarray, distance: np.ndarray, colour: np.ndarray, softness: float) -> None:
    """Cover `patch` with `colour` where the signed `distance` in pixels is negative, edges in between."""
    cover = np.clip(np.float32(0.5) - distance / np.float32(softness), 0.0, 1.0)[:, :, None]
    patch += cover * (colour - patch)


# -- signed distances to the four shapes, each of the area of the unit circle ------------------------------


def _corners(*radii: float) -> np.ndarray:
    """Corners [n, 2] at these radii and equal angles, the first one up."""
    turn, reach = 2 * np.pi * np.arange(len(radii)) / len(radii), np.array(radii)
    return np.stack([reach * np.sin(turn), -reach * np.cos(turn)], axis=1)


def _edges(polygon: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """float32 [n, 2] starts, [n, 2] vectors and [n, 1] squared lengths of the edges, at the unit circle's area."""
    x, y = polygon.T
    area = 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    start = (polygon * np.sqrt(np.pi / area)).astype(np.float32)
    edge = np.roll(start, -1, axis=0) - start
    return start, edge, (edge**2).sum(axis=1, keepdims=True)


_POLYGONS = {
    "square": _edges(np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])),
    "triangle": _edges(_corners(1.0, 1.0, 1.0)),
    "star": _edges(_corners(*(1.0, 0.5) * 5)),
}


def _distance(shape: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance of points (broadcast x, y, in radii) to `shape`: negative inside."""
    if shape == "circle":
        return np.hypot(x, y) - 1.0
    grid = np.broadcast_shapes(x.shape, y.shape)
    px, py = np.broadcast_to(x, grid).ravel(), np.broadcast_to(y, grid).ravel()
    start, edge, squared_length = _POLYGONS[shape]
    # One row an edge, one column a point.
    rx, ry = px - start[:, :1], py - start[:, 1:]
    ex, ey = edge[:, :1], edge[:, 1:]
    along = np.clip((rx * ex + ry * ey) / squared_length, 0.0, 1.0)
    squared = np.min((rx - along * ex) ** 2 + (ry - along * ey) ** 2, axis=0)
    # A point is inside if a ray to its right crosses an odd number of edges.
    upwards = ey < 0
    crossed = ((ry < 0) != (ry < ey)) & ((rx * ey < ry * ex) ^ upwards)
    inside = np.count_nonzero(crossed, axis=0) % 2 == 1
    distance = np.sqrt(squared)
    return np.where(inside, -distance, distance).reshape(grid)
