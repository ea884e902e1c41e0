"""The plot of a comparison: a forest of differences with their intervals, one line a task."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..display import number, plain
from ..files import atomic_path
from .compare import Comparison, TaskComparison
from .paired import Difference

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _FAINT, _A, _B = "#22303c", "#8795a1", "#1f4e79", "#c0392b"


def forest_figure(found: Comparison) -> "Figure | None":
    """Differences A − B in percentage points, tasks from top to bottom, each with its breakdown in smaller lines.

    An interval that holds 0 is grey, one on A's side blue, one on B's side red. None where no task has a difference.
    """
    from matplotlib.figure import Figure

    lines = _lines(found.tasks)
    if not lines:
        return None
    figure = Figure(figsize=(7.4, 1.5 + 0.3 * len(lines)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=_FAINT, linewidth=1, linestyle=(0, (4, 3)))
    for place, (_, line, whole) in enumerate(lines):
        assert line.difference is not None
        low, high = (line.difference if end is None else end for end in (line.low, line.high))
        colour = _A if low > 0 else _B if high < 0 else _FAINT
        axes.hlines(place, low, high, color=colour, linewidth=2.4 if whole else 1.2)
        axes.plot(
            [line.difference], [place], "o" if whole else "|", color=colour, markersize=6.5 if whole else 7
        )
        text = number(line.difference, "+.2f") + ("" if line.p is None else f"   p {p_text(line.p)}")
        axes.annotate(
            text,
            (1.01, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9 if whole else 8,
            color=_INK if whole else _FAINT,
        )
    axes.set_yticks(range(len(lines)), [label for label, _, _ in lines])
    for tick, (_, _, whole) in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set_parse_math(False)  # names are of others
        tick.set_fontsize(9.5 if whole else 8)
        tick.set_color(_INK if whole else _FAINT)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    # 0 is always in sight, in the middle third where the differences allow it.
    ends = [end for _, line, _ in lines for end in (line.low, line.high, line.difference) if end is not None]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    margin = 0.06 * (high - low) or 1.0
    axes.set_xlim(low - margin, high + margin)
    axes.set_xlabel("difference in percentage points, with its 95% interval", fontsize=9, color=_INK)
    title = axes.set_title(
        f"{_short(found.a)}  minus  {_short(found.b)}", fontsize=10.5, color=_INK, loc="left"
    )
    title.set_parse_math(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8.5, colors=_FAINT)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    return figure


def _lines(tasks: Sequence[TaskComparison]) -> list[tuple[str, Difference, bool]]:
    """Label, difference, and whether it is a task's own rather than part of its breakdown."""
    lines: list[tuple[str, Difference, bool]] = []
    for task in tasks:
        if task.main.difference is None:
            continue
        lines.append((f"{task_label(task)}, {task.metric}", task.main, True))
        lines += [
            (_short(f"{column}: {value}", 40), line, False)
            for column, values in task.breakdown.items()
            for value, line in values.items()
            if line.difference is not None
        ]
    return lines


def task_label(task: TaskComparison) -> str:
    """`ssv2-events`, or `ssv2-events@reverse` under a control."""
    return plain(task.task if task.control is None else f"{task.task}@{task.control}")


def p_text(p: float) -> str:
    """`0.012`, `0.0006`: two digits that say something."""
    return f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def _short(text: str, limit: int = 48) -> str:
    text = plain(text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def save_forest(figure: "Figure", path: Path) -> None:
    """Write the plot as PNG (150 dpi); equal input gives equal bytes."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png", metadata={"Software": None})
