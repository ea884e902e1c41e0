"""What is in a built dataset: one line per misalignment, and the paper's Figure 2.

`inspect_dataset` reads columns only, never videos, so that it takes a second whatever the size. The text-only AUC takes
seconds more, where `build.json` does not know it.
"""

import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..captions.text_only import CaptionPair, TextOnly, text_only_auc
from ..display import counted, number
from ..errors import parsing
from ..schema import MISALIGNMENTS
from .built import BuiltDataset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNKNOWN = "unknown"
# Of rows, in the order in which they are shown.
KINDS = (*MISALIGNMENTS, UNKNOWN)
_COLUMNS = (
    "caption",
    "misalignment",
    "generation.sha256",
    "vqascores",
    "weight",
    "shared.caption",
)


@dataclass(frozen=True)
class MisalignmentSummary:
    """Counts and means over the rows of one misalignment (or of all, named `all`).

    Attributes:
        rows: number of rows.
        videos: those with a synthetic video.
        scored: those with VQAScores.
        scored_here: those with both; the scores of the others are of videos that this dataset does not hold.
        difference: mean of f̄(V^s,t^s) − f̄(V^s,t^r) over scored rows (Figure 2), in [−1, 1].
        weight: mean weight over rows that have one.
        zero_weight: share of those that are 0, in [0, 1].
        kept: mean share of the caption's non-white characters inside its shared spans, in [0, 1].
        differences: the values behind `difference`, float64 [scored].

    Means over nothing are NaN.
    """

    name: str
    rows: int
    videos: int
    scored: int
    scored_here: int
    difference: float
    weight: float
    zero_weight: float
    kept: float
    differences: np.ndarray = field(repr=False)

    def to_record(self) -> dict[str, Any]:
        """JSON-ready form but for NaN, without name and single values."""
        return {each.name: getattr(self, each.name) for each in fields(self)[1:-1]}


@dataclass(frozen=True)
class Inspection:
    """Summaries in the order of MISALIGNMENTS (only those present), `unknown`, then `all`."""

    name: str
    config: str
    splits: dict[str, int]
    summaries: tuple[MisalignmentSummary, ...]

    @property
    def total(self) -> MisalignmentSummary:
        return self.summaries[-1]


def inspect_dataset(
    dataset: BuiltDataset, config: str | None = None, splits: Sequence[str] | None = None
) -> Inspection:
    """Summarise one config (the default for None) over `splits` (all for None).

    Raises:
        SchemaError: an unknown config or split, or files that are missing or of another schema version.
    """
    config = dataset.config_or_default(config)
    tables = {split: dataset.read(config, split, _COLUMNS) for split in (splits or dataset.configs[config])}
    with _rows_of(dataset, config):
        return Inspection(
            name=dataset.name,
            config=config,
            splits={split: table.num_rows for split, table in tables.items()},
            summaries=_summaries(row for table in tables.values() for row in table.to_pylist()),
        )


def _rows_of(dataset: BuiltDataset, config: str) -> AbstractContextManager[None]:
    """Rows whose cells have other types than are published, as a `SchemaError`."""
    return parsing(
        f"rows of config {config} are not as `synvita build` writes them",
        file=dataset.name,
        expected="the types of docs/dataset.md",
        fix="Build the dataset again",
    )


class DrawnRows(NamedTuple):
    """Of rows that are not in a file yet, what Figure 2 is drawn from.

    Attributes:
        kinds: int8 [N], places in `KINDS`.
        have_videos: uint8 [N], 1 for a row with a synthetic video.
        differences: float64 [N], as `score_difference` gives them.
    """

    kinds: np.ndarray
    have_videos: np.ndarray
    differences: np.ndarray


def inspect_drawn(config: str, rows: DrawnRows) -> Inspection:
    """Summarise rows as far as their figure needs it; there is no name, no split, and what else is unknown is NaN.

    Args:
        config: name of their config.
        rows: what is known of them.
    """
    unknown = np.full(len(rows.kinds), np.nan)
    table = np.column_stack([rows.have_videos, rows.differences, unknown, unknown])
    return Inspection(name="", config=config, splits={}, summaries=_by_kind(rows.kinds, table))


def score_difference(with_contrast: Sequence[float], with_caption: Sequence[float]) -> float:
    """f̄(V^s,t^s) − f̄(V^s,t^r) of a row, means over its models; NaN without scores."""
    return _mean_score(with_contrast) - _mean_score(with_caption)


def _summaries(rows: Iterable[Mapping[str, Any]]) -> tuple[MisalignmentSummary, ...]:
    kinds, numbers = array("b"), array("d")  # a million rows are 33 MB
    for row in rows:
        kind, *measured = _measure(row)
        kinds.append(KINDS.index(kind))
        numbers.extend(measured)
    return _by_kind(np.asarray(kinds, np.int8), np.asarray(numbers, np.float64).reshape(-1, 4))


def _by_kind(kinds: np.ndarray, table: np.ndarray) -> tuple[MisalignmentSummary, ...]:
    """The summaries of an inspection.

    Args:
        kinds: int8 [N], places in `KINDS`.
        table: float64 [N, 4], whether there is a video, difference, weight, share kept.
    """
    order = [number for number in range(len(KINDS)) if (kinds == number).any()]
    groups = [_summarise(KINDS[number], table[kinds == number]) for number in order]
    return (*groups, _summarise("all", table))


class _Measured(NamedTuple):
    """One row. NaN: not known."""

    misalignment: str
    has_video: bool
    difference: float
    weight: float
    kept: float


def _measure(row: Mapping[str, Any]) -> _Measured:
    scores, caption, label = row["vqascores"] or [], row["caption"], row["misalignment"]
    both = ([score[name] for score in scores] for name in ("neg_caption_score", "caption_score"))
    visible = _visible(caption)
    spans = (row["shared"] or {}).get("caption") or []
    kept = sum(_visible(caption[start:end]) for start, end in spans)
    return _Measured(
        misalignment=_kind(label) or UNKNOWN,
        has_video=bool((row["generation"] or {}).get("sha256")),
        difference=score_difference(*both),
        weight=np.nan if row["weight"] is None else float(row["weight"]),
        kept=kept / visible if visible else np.nan,
    )


def _mean_score(scores: Sequence[float]) -> float:
    """`np.mean`, to the last bit: NumPy adds up fewer than eight one after the other, and takes long to begin."""
    if not scores or len(scores) >= 8:
        return float(np.mean(scores)) if scores else np.nan
    total = 0.0
    for score in scores:  # not `sum`, which rounds otherwise from Python 3.12 on
        total += score
    return total / len(scores)


def _visible(text: str) -> int:
    """How many characters are not white space."""
    return sum(map(len, text.split()))


def _kind(label: int | None) -> str | None:
    return None if label is None or label < 0 else MISALIGNMENTS[label]


def _summarise(name: str, numbers: np.ndarray) -> MisalignmentSummary:
    has_video, difference, weight, kept = numbers.T
    scored = ~np.isnan(difference)
    weights = weight[~np.isnan(weight)]
    return MisalignmentSummary(
        name=name,
        rows=len(numbers),
        videos=int(has_video.sum()),
        scored=int(scored.sum()),
        scored_here=int((scored & (has_video > 0)).sum()),
        difference=_mean(difference[scored]),
        weight=_mean(weights),
        zero_weight=_mean(weights == 0),
        kept=_mean(kept[~np.isnan(kept)]),
        differences=difference[scored],
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


# --- what words tell --------------------------------------------------------------------------------


# Of a row, what the text-only AUC is of.
PAIR_COLUMNS = ("source", "video_id", "caption", "neg_caption", "misalignment")


def caption_pair(row: Mapping[str, Any]) -> CaptionPair:
    """The captions of a row, by which the text-only AUC knows it.

    Args:
        row: has PAIR_COLUMNS.
    """
    return CaptionPair(
        video=f"{row['source']}_{row['video_id']}",
        caption=row["caption"],
        contrast=row["neg_caption"],
        misalignment=_kind(row["misalignment"]),
    )


def text_only(dataset: BuiltDataset, config: str, splits: Sequence[str] | None = None) -> TextOnly:
    """The text-only AUC of a config, over `splits` (all for None): from `build.json`, or worked out of the captions.

    Raises:
        SchemaError: files that are missing or of another schema version.
    """
    every = dataset.configs[config]
    if splits is None or set(splits) == set(every):
        known = TextOnly.from_record(dataset.record(config).get("text_only"))
        if known is not None:
            return known
    with _rows_of(dataset, config):
        return text_only_auc(
            caption_pair(row)
            for split in (splits or every)
            for row in dataset.read(config, split, PAIR_COLUMNS).to_pylist()
        )


# --- scores of other videos --------------------------------------------------------------------------

# pair id -> of each of its rows the scores (model, with the contrast caption, with the caption) and the video's SHA-256
ScoresByPair = dict[str, list[tuple[tuple[tuple[str, float, float], ...], str | None]]]


def scores_by_pair(dataset: BuiltDataset, config: str) -> ScoresByPair:
    """The scores of one config, for `shared_scores`.

    Raises:
        SchemaError: files that are missing or of another schema version.
    """
    found: ScoresByPair = {}
    for split in dataset.configs[config]:
        table = dataset.read(config, split, ("pair_id", "generation.sha256", "vqascores"))
        with _rows_of(dataset, config):
            for row in table.to_pylist():
                if row["vqascores"]:
                    scores = sorted(
                        (s["model"], s["neg_caption_score"], s["caption_score"]) for s in row["vqascores"]
                    )
                    sha256 = (row["generation"] or {}).get("sha256")
                    found.setdefault(row["pair_id"], []).append((tuple(scores), sha256))
    return found


def shared_scores(own: ScoresByPair, theirs: ScoresByPair) -> int:
    """How many rows have the very scores that another config has for their pair, and not the same video."""
    return sum(
        any(
            scores == others and (sha256 is None or sha256 != digest)
            for others, digest in theirs.get(pair, ())
        )
        for pair, rows in own.items()
        for scores, sha256 in rows
    )


# --- the figure ------------------------------------------------------------------------------------

_INK, _FILL, _POSITIVE, _NEGATIVE, _FAINT = "#22303c", "#b9cfe4", "#1f4e79", "#c0392b", "#8795a1"


def difference_figure(inspection: Inspection) -> "Figure | None":
    """Distribution of f̄(V^s,t^s) − f̄(V^s,t^r) per misalignment, means marked, negative means in red.

    The paper's Figure 2: one histogram a misalignment on a shared axis, each scaled to its own
    highest bin. None when no row has scores.
    """
    from matplotlib.figure import Figure

    shown = [s for s in inspection.summaries[:-1] if s.scored]
    if not shown:
        return None
    figure = Figure(figsize=(7.2, 1.5 + 0.72 * len(shown)), layout="constrained")
    axes = figure.subplots()
    reach = min(1.0, float(np.ceil(10 * max(np.abs(s.differences).max() for s in shown)) / 10) or 0.1)
    rows = max(s.scored for s in shown)
    edges = np.linspace(-reach, reach, 2 * int(np.clip(np.sqrt(rows), 10, 30)) + 1)
    for level, summary in enumerate(reversed(shown)):
        counts, _ = np.histogram(summary.differences, bins=edges)
        heights = 0.7 * counts / counts.max()
        axes.stairs(level + heights, edges, baseline=level, fill=True, color=_FILL)
        axes.stairs(level + heights, edges, baseline=level, color=_FAINT, linewidth=0.8)
        colour = _NEGATIVE if summary.difference < 0 else _POSITIVE
        axes.vlines(summary.difference, level, level + 0.88, color=colour, linewidth=2.2)
        axes.annotate(
            number(summary.difference, "+.4f").replace("-", "−"),  # the minus of matplotlib's axes
            (summary.difference, level + 0.9),
            xytext=(4 if summary.difference >= 0 else -4, 0),
            textcoords="offset points",
            ha="left" if summary.difference >= 0 else "right",
            va="top",
            fontsize=9,
            fontweight="bold",
            color=colour,
        )
    axes.axvline(0, color=_INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_yticks(
        range(len(shown)), [f"{s.name}\n{_scored(s)}" for s in reversed(shown)], va="bottom", fontsize=9
    )
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-0.05, len(shown))
    axes.spines[["top", "right", "left"]].set_visible(False)
    here = sum(s.scored_here for s in shown) == sum(s.scored for s in shown)
    axes.set_xlabel(
        "VQAScore of the contrast caption minus that of the real caption, on "
        + ("the synthetic video" if here else "the videos that were scored"),
        fontsize=9,
    )
    axes.set_title(
        # Not the dataset's name: equal rows in another folder must give an equal figure.
        f"config {inspection.config}: mean VQAScore difference",
        loc="left",
        fontsize=10,
        color=_INK,
    )
    return figure


def _scored(summary: MisalignmentSummary) -> str:
    """How many rows stand behind a histogram, and whose scores they have."""
    rows = counted(summary.scored, "rows")
    return rows if summary.scored_here == summary.scored else f"{rows},\nvideo of {summary.scored_here:,}"


def figure_name(config: str) -> str:
    """File name of a config's figure, without the suffix."""
    # A card of the Hub is anybody's: its configs' names must not lead to other folders.
    return f"vqascore-difference-{re.sub(r'[^A-Za-z0-9_.-]', '_', config)}"


def save_figure(figure: "Figure", stem: Path) -> tuple[Path, Path]:
    """Write `stem.png` (150 dpi) and `stem.svg`; equal input gives equal bytes."""
    import matplotlib

    from ..files import atomic_path

    png, svg = stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".svg")
    with matplotlib.rc_context({"svg.hashsalt": "synvita", "svg.fonttype": "none"}):
        # Places are found once; each file would find them twice.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        with atomic_path(png) as temporary:
            figure.savefig(temporary, dpi=150, metadata={"Software": None})
        with atomic_path(svg) as temporary:
            figure.savefig(temporary, metadata={"Date": None, "Creator": None})
    return png, svg
