"""Three frame-level "VQA models" of the shapes world: the probability that a frame shows a caption.

They look at pixels, one frame at a time, like the image models behind VQAScore. So they can see what
there is, how many, where, and which way it looks, but nothing about the order of events: a caption and its
flip ask them for the same facts, and differ by the models' noise only. Each has its own blind spots, bias,
temperature and noise. VQAScore is the mean over four segment-midpoint frames, then over models.
"""

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from synvita_data.errors import VideoError

from .grammar import parse
from .layout import HEADINGS, VERSION_1, Geometry
from .noise import Sight
from .pixels import seed_of
from .scenes import Actor, Scene

VQA_REVISION = "1"
AS_EVER = Sight()
DIRECTIONS = {
    "to the left of": (-1.0, 0.0),
    "to the right of": (1.0, 0.0),
    "above": (0.0, -1.0),
    "below": (0.0, 1.0),
}
CHROMA = 46  # grey levels between the strongest and the weakest channel that make a pixel part of a shape
SMALLEST = 9e-4  # of the frame: smaller specks are compression artefacts
# Hue in degrees of the middle of each colour.
HUES: Mapping[str, float] = MappingProxyType(
    {"red": 0.0, "yellow": 49.0, "green": 130.0, "cyan": 185.0, "blue": 224.0, "purple": 281.0}
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One shape in one frame.

    Attributes:
        colour: the best guess.
        shape: the best guess.
        x: of the centre, in frame widths from the left.
        y: of the centre, in frame heights from the top.
        radius: of the circle of equal area, in units of the frame's shorter edge.
        gaze: where its dark eye is seen from the centre, in radii, x right and y down.
    """

    colour: str
    shape: str
    x: float
    y: float
    radius: float
    gaze: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapesVQA:
    """One scorer.

    Attributes:
        name: in score tables.
        attention: weight of each kind of fact; a low one is a blind spot.
        gain: log-odds between all facts wrong (-gain) and all right (+gain).
        bias: log-odds added to every answer.
        noise: standard deviation of the log-odds, drawn from pixels and caption.
    """

    name: str
    attention: Mapping[str, float]
    gain: float
    bias: float
    noise: float

    def probability(
        self,
        seen: Sequence[Seen],
        scene: Scene,
        draw: int,
        geometry: Geometry = VERSION_1,
        *,
        sharpness: float = 1.0,
        focus: float = 0.0,
        more: float = 0.0,
    ) -> float:
        """P(yes) for one frame in which `seen` was found.

        Args:
            seen: what is in the frame.
            scene: of the caption.
            draw: seeds the noise.
            geometry: of the world.
            sharpness: factor on what the facts say.
            focus: how far the worst of them counts instead of their mean.
            more: further log-odds.
        """
        mean, worst = self.facts(seen, scene, geometry)
        if focus:
            mean = (1.0 - focus) * mean + focus * worst
        noise = np.random.RandomState(draw & 0xFFFFFFFF).standard_normal() * self.noise
        return 1.0 / (1.0 + math.exp(-(sharpness * self.gain * mean + self.bias + noise + more)))

    def facts(
        self, seen: Sequence[Seen], scene: Scene, geometry: Geometry = VERSION_1
    ) -> tuple[float, float]:
        """How far a frame bears out a scene, in [-1, 1]: the mean over its facts, as the model attends to them, and
        the worst of them, as far as it attends to that."""
        weighed = [(self.attention[kind], value) for kind, value in evidence(seen, scene, geometry)]
        mean = sum(weight * value for weight, value in weighed) / sum(weight for weight, _ in weighed)
        return mean, min(1.0 - weight * (1.0 - value) for weight, value in weighed)


VQA_MODELS = (
    ShapesVQA(
        name="shapes-vqa-a",
        attention={"colour": 1.0, "shape": 1.0, "size": 0.6, "count": 1.0, "relation": 1.0, "pose": 0.8},
        gain=4.0,
        bias=-0.8,
        noise=0.35,
    ),
    ShapesVQA(  # says yes easily, hardly counts
        name="shapes-vqa-b",
        attention={"colour": 1.0, "shape": 0.7, "size": 0.2, "count": 0.2, "relation": 0.5, "pose": 0.4},
        gain=2.5,
        bias=0.4,
        noise=0.5,
    ),
    ShapesVQA(  # strict and sure of itself
        name="shapes-vqa-c",
        attention={"colour": 0.8, "shape": 1.0, "size": 0.8, "count": 0.8, "relation": 0.7, "pose": 1.0},
        gain=6.0,
        bias=-2.0,
        noise=0.6,
    ),
)


def score_frames(
    frames: np.ndarray,
    captions: Sequence[str],
    models: Sequence[ShapesVQA] = VQA_MODELS,
    geometry: Geometry = VERSION_1,
    sight: Sight = AS_EVER,
    unnatural: Collection[str] = (),
) -> np.ndarray:
    """P(yes) of every model, frame and caption: float64 [models, T, captions].

    Args:
        frames: uint8 [T, H, W, 3]; for a VQAScore the four segment midpoints of a video.
        captions: of the shapes world's grammar.
        models: the scorers.
        geometry: of the world that the frames are of: what is small there, and what large.
        sight: how the scorers see.
        unnatural: those of `captions` that a language model wrote.

    Raises:
        CaptionError: a caption is not of the grammar. VideoError: `frames` is not uint8 [T, H, W, 3].
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
        raise VideoError(
            "frames are not of the form scorers take",
            found=f"{frames.dtype} {list(frames.shape)}",
            expected="uint8 [T, H, W, 3]",
        )
    scenes = [parse(caption) for caption in captions]
    scores = np.empty((len(models), len(frames), len(captions)))
    sharpness, more = sharpness_of(frames, sight), [0.0] * len(captions)
    if sight is not AS_EVER:
        more = [text_noise(frames, each, sight) - sight.unnatural * (each in unnatural) for each in captions]
    for t, frame in enumerate(frames):
        seen = find_shapes(frame)
        picture = hashlib.sha256(frame.tobytes()).hexdigest()
        for m, model in enumerate(models):
            for c, scene in enumerate(scenes):
                draw = seed_of(model.name, VQA_REVISION, picture, captions[c])
                scores[m, t, c] = model.probability(
                    seen, scene, draw, geometry, sharpness=sharpness, focus=sight.focus, more=more[c]
                )
    return scores


def sharpness_of(frames: np.ndarray, sight: Sight) -> float:
    """How sharply the scorers see one clip; drawn from its pixels."""
    if not sight.spread:
        return sight.sharpness
    return sight.sharpness * math.exp(sight.spread * _normal("sharpness", frames))


def text_noise(frames: np.ndarray, caption: str, sight: Sight) -> float:
    """Log-odds of one clip with one caption that all frames and models share."""
    return sight.text * _normal("text", frames, caption) if sight.text else 0.0


def _normal(what: str, frames: np.ndarray, caption: str = "") -> float:
    """A standard normal number of a clip, or of a clip and a caption."""
    draw = seed_of(what, VQA_REVISION, hashlib.sha256(frames.tobytes()).hexdigest(), caption)
    return float(np.random.RandomState(draw & 0xFFFFFFFF).standard_normal())


# -- what a frame says of a scene -------------------------------------------------------------------------


def evidence(
    seen: Sequence[Seen], scene: Scene, geometry: Geometry = VERSION_1
) -> Iterator[tuple[str, float]]:
    """(kind, value in [-1, 1]) for every fact of `scene` that one frame can support or contradict."""
    found = [_best(seen, actor) for actor in scene.actors]
    for actor, match in zip(scene.actors, found, strict=True):
        alike = [shape for shape in seen if shape.colour == actor.colour]
        yield "colour", 1.0 if alike else -1.0
        yield "shape", 1.0 if match is not None and match.shape == actor.shape else -1.0
        if actor.size:
            yield "size", _size(match, actor.size, geometry)
        if actor.count > 1:
            yield "count", max(1.0 - 1.2 * abs(len(alike or seen) - actor.count), -1.0)
        if actor.actions:
            # Any of the actions may be going on in this frame, or none yet: the order plays no part.
            yield "pose", max(_pose(match, action) for action in actor.actions)
    if scene.relation:
        yield "relation", _relation(found[0], found[1], scene.relation)


def _best(seen: Sequence[Seen], actor: Actor) -> Seen | None:
    """The shape most like `actor`, if any has its colour or its form."""
    fitting = [shape for shape in seen if shape.colour == actor.colour or shape.shape == actor.shape]
    # Colour first, then form, then size: the order in which `seen` comes.
    return max(fitting, key=lambda s: (s.colour == actor.colour, s.shape == actor.shape), default=None)


def _size(match: Seen | None, size: str, geometry: Geometry) -> float:
    if match is None:
        return -1.0
    # -1 for a small shape, +1 for a large one.
    step = (match.radius - geometry.middle_radius) / geometry.size_step
    return float(np.clip(step if size == "large" else -step, -1.0, 1.0))


def _pose(match: Seen | None, action: str) -> float:
    """How well where a shape looks fits an action; an absent one could be blinking."""
    if match is None:
        return 0.5 if action == "blinks" else -1.0
    x, y = match.gaze
    turned = math.hypot(x, y)
    if action in HEADINGS:
        if turned < 0.2:
            return -0.5
        heading = HEADINGS[action]
        return (x * heading[0] + y * heading[1]) / turned
    if action == "spins":
        if turned < 0.2:
            return -0.5
        return 1.0 if min(abs(x), abs(y)) > 0.25 * turned else 0.2  # looking askew, or along an axis
    return 0.4 if turned < 0.2 else -0.7


def _relation(first: Seen | None, second: Seen | None, relation: str) -> float:
    if first is None or second is None or first is second:
        return -1.0
    x, y = first.x - second.x, first.y - second.y
    direction = DIRECTIONS[relation]
    return (x * direction[0] + y * direction[1]) / max(math.hypot(x, y), 1e-9)


# -- what a frame shows ---------------------------------------------------------------------------------


def find_shapes(frame: np.ndarray) -> list[Seen]:
    """The coloured shapes of `frame` (uint8 [H, W, 3], RGB), largest first."""
    pixels = frame.astype(np.float32)
    high, low = pixels.max(axis=2), pixels.min(axis=2)
    height, width = high.shape
    labels, count = connected_components(high - low > CHROMA)
    found = []
    for label in range(1, count + 1):
        rows, columns = np.nonzero(labels == label)
        if len(rows) < SMALLEST * height * width:
            continue
        found.append((len(rows), _describe(pixels[rows, columns], rows + 0.5, columns + 0.5, height, width)))
    return [seen for _, seen in sorted(found, key=lambda pair: -pair[0])]


def connected_components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Labels int [H, W] (0 outside `mask`, 1… inside) of the 4-connected parts of `mask`, and their number."""
    labels = np.zeros(mask.shape, dtype=np.int64)
    height, width = mask.shape
    count = 0
    for start in np.flatnonzero(mask):
        if labels.flat[start]:
            continue
        count += 1
        labels.flat[start] = count
        stack = [divmod(int(start), width)]
        while stack:
            row, column = stack.pop()
            for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if 0 <= r < height and 0 <= c < width and mask[r, c] and not labels[r, c]:
                    labels[r, c] = count
                    stack.append((r, c))
    return labels, count


def _describe(colours: np.ndarray, rows: np.ndarray, columns: np.ndarray, height: int, width: int) -> Seen:
    # The eye is dark but keeps its hue; it may fall out of the mask, so geometry uses the outline's points.
    y, x = rows.mean(), columns.mean()
    radius = math.sqrt(len(rows) / math.pi)
    hue = _hue(colours)
    colour = min(HUES, key=lambda name: abs((hue - HUES[name] + 180) % 360 - 180))
    value = colours.max(axis=1)
    dark = value < 0.62 * np.percentile(value, 80)
    # Pixels at the edge mix with a dark background; the eye is inside.
    inside = np.hypot(columns - x, rows - y) < 0.78 * radius
    eye = dark & inside
    gaze = (0.0, 0.0)
    if eye.sum() >= 2:
        gaze = ((columns[eye].mean() - x) / radius, (rows[eye].mean() - y) / radius)
    shape = _shape((columns - x) / radius, (rows - y) / radius)
    return Seen(colour, shape, x / width, y / height, radius / min(height, width), gaze)


def _hue(colours: np.ndarray) -> float:
    """The mean hue in degrees of RGB pixels float [n, 3], weighted by chroma."""
    red, green, blue = colours.T
    return math.degrees(math.atan2(math.sqrt(3) * (green - blue).sum(), (2 * red - green - blue).sum()))


def _shape(x: np.ndarray, y: np.ndarray) -> str:
    """The kind of a filled outline from points in radii: its n-fold symmetry, and how far it reaches."""
    distance, angle = np.hypot(x, y), np.arctan2(y, x)
    # Points beyond the circle of equal area are corners: few for a square, more for triangle and star.
    weight = distance**4
    fold = {n: abs(np.sum(weight * np.exp(1j * n * angle))) / weight.sum() for n in (3, 4, 5)}
    best = max(fold, key=fold.__getitem__)
    if fold[best] < 0.1:
        return "circle"
    return {3: "triangle", 4: "square", 5: "star"}[best]
