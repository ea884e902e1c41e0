"""From a scene to uint8 frames, with NumPy: anti-aliased shapes on a plain or a grainy background.

Randomness comes from `random.Random` and `numpy.random.RandomState`, whose streams are frozen: the same
seed gives the same pixels for ever.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from synvita_data.errors import SourceError

from .layout import VERSION_1, Geometry, Track, lay_out
from .scenes import Scene

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


def look(shift: float, size: int = 96) -> Style:
    """A style between the real clips' (shift 0) and the generator's (shift 1), in all of its values.

    Raises:
        SourceError: `shift` is not in [0, 1].
    """
    if not 0.0 <= shift <= 1.0:
        raise SourceError("the appearance shift is not a share", found=shift, expected="a number in [0, 1]")

    def between(name: str) -> float:
        return (1 - shift) * getattr(REAL, name) + shift * getattr(SYNTHETIC, name)

    frames = 2 * round(between("frames") / 2)  # two events take a half each
    others = ("fps", "background", "grain", "saturation", "softness", "wobble")
    return Style(size=size, frames=frames, **{name: between(name) for name in others})


def seed_of(*parts: object) -> int:
    """A seed in [0, 2**63) from the text of `parts`: SHA-256, so that near keys give unrelated seeds."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def render(scene: Scene, seed: int, style: Style = REAL, geometry: Geometry = VERSION_1) -> np.ndarray:
    """The clip of `scene`: uint8 [T, H, W, 3], RGB, with places and background chosen by `seed`."""
    return film(scene, seed, style, geometry).pixels


@dataclass(frozen=True, slots=True)
class Film:
    """A clip and where its shapes are.

    Attributes:
        pixels: uint8 [T, H, W, 3], RGB; T the frames that were painted.
        tracks: of every shape over the whole clip.
        frames: which frame of the clip each one of `pixels` is.
    """

    pixels: np.ndarray
    tracks: list[Track]
    frames: tuple[int, ...]


def film(
    scene: Scene,
    seed: int,
    style: Style = REAL,
    geometry: Geometry = VERSION_1,
    *,
    frames: Sequence[int] | None = None,
) -> Film:
    """The clip of `scene` and its tracks, the same for the same arguments.

    Args:
        scene: what is shown.
        seed: chooses places and background.
        style: how it is filmed.
        geometry: the measures of the world's version.
        frames: which frames to paint; default: all. They are painted as they are in the whole clip.
    """
    tracks = lay_out(scene, style.frames, random.Random(seed), geometry)
    noise = np.random.RandomState(np.array([seed & 0xFFFFFFFF, seed >> 32], dtype=np.uint32))
    painted = tuple(range(style.frames)) if frames is None else tuple(frames)
    clip = _background(style, noise, painted)
    for track in tracks:
        shown = track
        if style.wobble:
            tremble = 1 + style.wobble * noise.uniform(-1, 1, style.frames)
            shown = replace(track, radius=track.radius * tremble)
        colour = _paint(track.colour, style.saturation)
        for image, frame in zip(clip, painted, strict=True):
            if track.visible[frame]:
                _draw(image, shown, frame, colour, style.softness)
    return Film(np.clip(np.rint(clip), 0, 255).astype(np.uint8), tracks, painted)


# -- how they are painted -------------------------------------------------------------------------------


def _background(style: Style, noise: np.random.RandomState, painted: Sequence[int]) -> np.ndarray:
    """float32 [T, H, W, 3]: a grey of faint tint, a slope of light, and texture that drifts and flickers."""
    size = style.size
    tint = noise.uniform(-4, 4, 3)
    slope = noise.uniform(-8, 8, 2)
    ramp = (np.arange(size) + 0.5) / size - 0.5
    plain = style.background + tint + (slope[0] * ramp[:, None] + slope[1] * ramp)[:, :, None]
    clip = np.repeat(plain[None].astype(np.float32), len(painted), axis=0)
    if style.grain:
        texture = _smooth_noise(size, noise) * style.grain
        flicker = noise.standard_normal(style.frames) * style.grain / 2
        for image, k in zip(clip, painted, strict=True):
            image += (np.roll(texture, k, axis=1) + flicker[k])[:, :, None]
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
