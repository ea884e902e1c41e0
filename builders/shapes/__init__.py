"""The shapes world: clips of moving coloured shapes with captions, a faulty generator and VQA scorers.

A small, complete VideoCon that needs no download. It stands behind `shapes:` and `make_shapes`, and the
same readers, builders and scorers run on it as on the real thing; see `docs/shapes.md`.
"""

from .grammar import caption, parse
from .pixels import SYNTHETIC, render
from .world import draw_pairs, make_shapes, write_triplets

__all__ = ["SYNTHETIC", "caption", "draw_pairs", "make_shapes", "parse", "render", "write_triplets"]
