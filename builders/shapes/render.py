"""Rasterise a scene into uint8 frames with NumPy: anti-aliased shapes on a plain or a grainy background.

Randomness comes from `random.Random` and `numpy.random.RandomState`, whose streams are frozen: the same
seed gives the same pixels for ever.
"""

import hashlib
import random
from dataclasses import dataclass, replace

import numpy as np

from .layout import Track, lay_out
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
        size: edge of the square frame in pixels, even (h264). frames, fps: length and rate.
        background: mean grey level. grain: standard deviation of the background's drifting texture and
            of its flicker, grey levels. saturation: of the shapes, 1 for the pure palette.
        softness: width of a shape's edge in pixels. wobble: how much a shape's radius trembles.
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
SYNTHETIC = Style(
    frames=20, fps=10.0, background=66.0, grain=7.0, saturation=0.8, softness=2.2, wobble=0.05
)


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
            track = replace(track, radius=track.radius * (1 + style.wobble * noise.standard_normal(style.frames)))
        for frame in np.flatnonzero(track.visible):
            _draw(clip[frame], track, int(frame), style)
    return np.clip(np.rint(clip), 0, 255).astype(np.uint8)


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


def _draw(image: np.ndarray, track: Track, frame: int, style: Style) -> None:
    """Blend one shape and its eye into `image`, float32 [H, W, 3]."""
    size = style.size
    radius = track.radius[frame] * size
    x, y = track.centre[frame] * size
    reach = 1.7 * radius + style.softness + 1
    left, right = max(int(x - reach), 0), min(int(x + reach) + 1, size)
    top, bottom = max(int(y - reach), 0), min(int(y + reach) + 1, size)
    patch = image[top:bottom, left:right]
    dx = np.arange(left, right) + 0.5 - x
    dy = (np.arange(top, bottom) + 0.5 - y)[:, None]
    cos, sin = np.cos(track.angle[frame]), np.sin(track.angle[frame])
    distance = _distance(track.shape, (cos * dx + sin * dy) / radius, (cos * dy - sin * dx) / radius) * radius
    grey = np.mean(PALETTE[track.colour])
    colour = grey + style.saturation * (np.array(PALETTE[track.colour]) - grey)
    _blend(patch, distance, colour, style.softness)
    eye_x, eye_y = track.eye[frame] * radius
    eye = np.hypot(dx - eye_x, dy - eye_y) - EYE_RADIUS * radius
    _blend(patch, eye, EYE_DARKNESS * colour, style.softness)


def _blend(patch: np.ndarray, distance: np.ndarray, colour: np.ndarray, softness: float) -> None:
    """Cover `patch` with `colour` where the signed `distance` in pixels is negative, edges in between."""
    cover = np.clip(0.5 - distance / softness, 0.0, 1.0)[:, :, None]
    patch += (cover * (colour - patch)).astype(np.float32)


# -- signed distances to the four shapes, each of the area of the unit circle ------------------------------


def _regular(corners: int, outer: float, inner: float | None = None) -> np.ndarray:
    """Corners [n, 2] of a polygon with its first corner up; with `inner`, of a star."""
    count = corners if inner is None else 2 * corners
    turn = 2 * np.pi * np.arange(count) / count
    radii = np.full(count, outer)
    if inner is not None:
        radii[1::2] = inner
    return np.stack([radii * np.sin(turn), -radii * np.cos(turn)], axis=1)


def _unit_area(polygon: np.ndarray) -> np.ndarray:
    x, y = polygon.T
    area = 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    return polygon * np.sqrt(np.pi / area)


_POLYGONS = {
    "square": _unit_area(np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])),
    "triangle": _unit_area(_regular(3, 1.0)),
    "star": _unit_area(_regular(5, 1.0, 0.5)),
}


def _distance(shape: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance of points (broadcast x, y, in radii) to `shape`: negative inside."""
    if shape == "circle":
        return np.hypot(x, y) - 1.0
    px, py = (np.broadcast_to(value, np.broadcast(x, y).shape).ravel() for value in (x, y))
    start = _POLYGONS[shape]
    edge = np.roll(start, -1, axis=0) - start
    # One row an edge, one column a point.
    rx, ry = px - start[:, :1], py - start[:, 1:]
    ex, ey = edge[:, :1], edge[:, 1:]
    along = np.clip((rx * ex + ry * ey) / (ex * ex + ey * ey), 0.0, 1.0)
    squared = np.min((rx - along * ex) ** 2 + (ry - along * ey) ** 2, axis=0)
    # A point is inside if a ray to its right crosses an odd number of edges.
    level = (ry < 0) != (ry < ey)
    crossed = level & (rx * ey < ry * ex) ^ (level & (ey < 0))
    inside = crossed.sum(axis=0) % 2 == 1
    return (np.where(inside, -1.0, 1.0) * np.sqrt(squared)).reshape(np.broadcast(x, y).shape)
