"""The shapes world's miniature benchmark: six tasks of the package's own form, drawn from a seed and rendered."""

from .draw import Choice, Clip, Ranking, TestPair, draw_choices, draw_events, draw_temporal, draw_tests
from .write import TASKS, write_benchmark

__all__ = [
    "TASKS",
    "Choice",
    "Clip",
    "Ranking",
    "TestPair",
    "draw_choices",
    "draw_events",
    "draw_temporal",
    "draw_tests",
    "write_benchmark",
]
