"""The shapes world: clips of moving coloured shapes with captions, a faulty generator and VQA scorers.

A small, complete VideoCon that needs no download. It stands behind `shapes:` and `make_shapes`, and the
same readers, builders and scorers run on it as on the real thing; see `docs/shapes.md`.
"""

from .grammar import caption, parse
from .layout import VERSION_1, VERSION_2, Geometry, lay_out
from .pixels import REAL, SYNTHETIC, Film, Style, film, look, render
from .world import draw_pairs, make_shapes, write_triplets

__all__ = [
    "REAL",
    "SYNTHETIC",
    "VERSION_1",
    "VERSION_2",
    "Film",
    "Geometry",
    "Style",
    "caption",
    "draw_pairs",
    "film",
    "lay_out",
    "look",
    "make_shapes",
    "parse",
    "render",
    "write_triplets",
]
