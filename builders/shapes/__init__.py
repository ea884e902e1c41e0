"""The shapes world: clips of moving coloured shapes with captions, a faulty generator and VQA scorers.

A small, complete VideoCon that needs no download. It stands behind `shapes:` and `make_shapes`, and the
same readers, builders and scorers run on it as on the real thing; see `docs/shapes.md`.
"""

from .generator import FAULTS, GENERATOR, Generated, generate
from .grammar import caption, explanation, parse
from .pixels import REAL, SYNTHETIC, Style, render, seed_of
from .scenes import Actor, Scene, contrast, draw_scene
from .vqa import VQA_MODELS, score_frames
from .world import Pair, ShapesFolder, ShapesSpec, draw_pairs, make_shapes, write_triplets

__all__ = [
    "FAULTS",
    "GENERATOR",
    "REAL",
    "SYNTHETIC",
    "VQA_MODELS",
    "Actor",
    "Generated",
    "Pair",
    "Scene",
    "ShapesFolder",
    "ShapesSpec",
    "Style",
    "caption",
    "contrast",
    "draw_pairs",
    "draw_scene",
    "explanation",
    "generate",
    "make_shapes",
    "parse",
    "render",
    "score_frames",
    "seed_of",
    "write_triplets",
]
