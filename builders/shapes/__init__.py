"""The shapes world: clips of moving coloured shapes with captions, a faulty generator and VQA scorers.

A small, complete VideoCon that needs no download. It stands behind `shapes:` and `make_shapes`, and the
same readers, builders and scorers run on it as on the real thing; see `docs/shapes.md`.
"""

from .folder import ShapesFolder, make_shapes, make_world
from .grammar import caption, parse
from .layout import VERSION_1, VERSION_2, Geometry, lay_out
from .noise import NOISES, Noise
from .pixels import REAL, SYNTHETIC, Film, Style, film, look, render
from .spec import ShapesSpec
from .splits import UNSEEN, Split
from .truth import is_right, truth_of
from .world import decide_for, draw_pairs, draw_world, generate_for, write_triplets

__all__ = [
    "NOISES",
    "REAL",
    "SYNTHETIC",
    "UNSEEN",
    "VERSION_1",
    "VERSION_2",
    "Film",
    "Geometry",
    "Noise",
    "ShapesFolder",
    "ShapesSpec",
    "Split",
    "Style",
    "caption",
    "decide_for",
    "draw_pairs",
    "draw_world",
    "film",
    "generate_for",
    "is_right",
    "lay_out",
    "look",
    "make_shapes",
    "make_world",
    "parse",
    "render",
    "truth_of",
    "write_triplets",
]
