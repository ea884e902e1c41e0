"""The plots of the study's page: every arm with its seeds, and the differences that decide."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..display import plain
from .analysis import Mean, Paired, Values, arm_means, verdict
from .questions import Question, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _FAINT, _LARGER, _SMALLER = "#22303c", "#8795a1", "#1f4e79", "#c0392b"


def arms_figure(study: Study, question: Question, values: Values) -> "Figure":
    """Every arm's mean with its interval, and its seeds as faint points; an outcome a column.

    Args:
        study: with the titles.
        question: which arms and outcomes.
        values: of its cells.
    """
    from matplotlib.figure import Figure

    means = arm_means(question, values)
    shown = _outcomes(question, means.values())
    figure = Figure(
        figsize=(2.6 + 2.3 * len(shown), 1.1 + 0.3 * len(means) + 0.2 * len(question.settings)),
        layout="constrained",
    )
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    places = _places(question, list(means))
    for axes, outcome in zip(panels, shown, strict=True):
        before = means.get(("default", "before"), {}).get(outcome)
        if before is not None:
            axes.axvline(before.value, color=_FAINT, linewidth=1, linestyle=(0, (4, 3)))
        for row, place in places.items():
            own = means[row].get(outcome)
            if own is None:
                continue
            points = [
                cell[outcome]
                for (arm, setting, _), cell in values.items()
                if (setting, arm) == row and outcome in cell
            ]
            axes.plot(points, [place] * len(points), "o", color=_FAINT, alpha=0.45, markersize=3)
            if own.low is not None and own.high is not None:
                axes.hlines(place, own.low, own.high, color=_LARGER, linewidth=2.2)
            axes.plot([own.value], [place], "o", color=_LARGER, markersize=5.5)
        axes.set_title(study.outcomes[outcome].split(" (")[0], fontsize=9, color=_INK, loc="left")
        _tidy(axes)
    labels = [
        study.arms[arm].title + ("" if len(question.settings) == 1 else f"  [{question.settings[own].title}]")
        for own, arm in places
    ]
    _name_rows(panels[0], list(places.values()), labels)
    figure.supxlabel("AUC or mAP in percent; dashed: before fine-tuning", fontsize=8.5, color=_FAINT)
    return figure


def differences_figure(study: Study, question: Question, found: Sequence[Paired]) -> "Figure":
    """The declared differences with their intervals; coloured where Holm's correction leaves them decided."""
    from matplotlib.figure import Figure

    shown = [outcome for outcome in question.decide if any(each.outcome == outcome for each in found)]
    rows = list(dict.fromkeys((each.setting, each.first, each.second) for each in found))
    figure = Figure(figsize=(3.4 + 2.5 * len(shown), 1.1 + 0.3 * len(rows)), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, outcome in zip(panels, shown, strict=True):
        axes.axvline(0, color=_FAINT, linewidth=1, linestyle=(0, (4, 3)))
        for each in found:
            if each.outcome != outcome:
                continue
            place = rows.index((each.setting, each.first, each.second))
            colour = {"larger": _LARGER, "smaller": _SMALLER, "open": _FAINT}[verdict(each)]
            own = each.difference
            if own.low is not None and own.high is not None:
                axes.hlines(place, own.low, own.high, color=colour, linewidth=2.2)
            axes.plot([own.value], [place], "o", color=colour, markersize=5.5)
        axes.set_title(study.outcomes[outcome].split(" (")[0], fontsize=9, color=_INK, loc="left")
        _tidy(axes)
    labels = [
        f"{first} − {second}" + ("" if len(question.settings) == 1 else f"  [{question.settings[own].title}]")
        for own, first, second in rows
    ]
    _name_rows(panels[0], list(range(len(rows))), labels)
    figure.supxlabel(
        "difference in percentage points, paired by seed; coloured: p ≤ 0.05 after Holm",
        fontsize=8.5,
        color=_FAINT,
    )
    return figure


def _outcomes(question: Question, means: Any) -> list[str]:
    return [outcome for outcome in question.outcomes if any(outcome in own for own in means)]


def _places(question: Question, rows: Sequence[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """Where each (setting, arm) stands, with room between settings."""
    places: dict[tuple[str, str], float] = {}
    place, before = -1.0, None
    for row in rows:
        place += 1.0 if before in (None, row[0]) else 1.6
        places[row], before = place, row[0]
    return places


def _name_rows(axes: Any, places: Sequence[float], labels: Sequence[str]) -> None:
    axes.set_yticks(places, [plain(label) for label in labels])
    for tick in axes.get_yticklabels():
        tick.set_parse_math(False)
        tick.set_fontsize(8.5)
        tick.set_color(_INK)
    axes.set_ylim(max(places) + 0.6, -0.6)


def _tidy(axes: Any) -> None:
    axes.locator_params(axis="x", nbins=4)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8, colors=_FAINT)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    axes.grid(axis="x", color=_FAINT, alpha=0.18, linewidth=0.8)
    axes.set_axisbelow(True)


def interval_text(own: Mean) -> str:
    """`81.2 [79.9, 82.4]`."""
    if own.low is None or own.high is None:
        return f"{own.value:.1f}"
    return f"{own.value:.1f} [{own.low:.1f}, {own.high:.1f}]"


def omega_figure(facts: Mapping[str, Sequence[float]], seeds: int) -> "Figure":
    """Figure 2 in miniature: the mean VQAScore difference of each misalignment, largest first, a point a seed."""
    from matplotlib.figure import Figure

    order = sorted(facts, key=lambda kind: -sum(facts[kind]) / len(facts[kind]))
    figure = Figure(figsize=(6.4, 1.0 + 0.3 * len(order)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=_FAINT, linewidth=1, linestyle=(0, (4, 3)))
    for place, kind in enumerate(order):
        own = facts[kind]
        centre = sum(own) / len(own)
        axes.plot(own, [place] * len(own), "o", color=_FAINT, alpha=0.45, markersize=3)
        axes.plot([centre], [place], "o", color=_LARGER if centre > 0 else _SMALLER, markersize=6)
    _name_rows(axes, list(range(len(order))), order)
    axes.set_xlabel(
        f"mean VQAScore difference, contrast caption minus real caption ({seeds} seeds)",
        fontsize=8.5,
        color=_FAINT,
    )
    _tidy(axes)
    return figure
