"""What the shapes world's VQA scorers see: the shapes in one frame, found in its pixels alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

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
        colour, shape: the best guesses. x, y: centre, in frame widths and heights from the top left.
        radius: of the circle of equal area, in units of the frame's shorter edge.
        gaze: where its dark eye is seen from the centre, in radii, x right and y down.
    """

    colour: str
    shape: str
    x: float
    y: float
    radius: float
    gaze: tuple[float, float]


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
