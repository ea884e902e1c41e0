"""What a model of the shapes world can do, measured as anybody would: clips on disk, the package's scorer, its metric.

The clips are files (rendered, encoded, decoded again), all with a combination of colour and shape that is held out of
the pre-training, and each is scored by the stock forward, one sequence a statement.
"""

import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synvita_data.builders.shapes import REAL, Geometry, Style, caption, render
from synvita_data.builders.shapes.pixels import seed_of
from synvita_data.builders.shapes.scenes import Scene, contrast, draw_scene
from synvita_data.evaluate_metrics.entailment_auc.auc import entailment_auc
from synvita_data.files import atomic_path
from synvita_data.pair_scores.pairs import score
from synvita_data.schema import MISALIGNMENTS
from synvita_data.scoring import Scorer
from synvita_data.video import encode_mp4

from .clips import WORLD
from .statements import NOUNS, held_out, noun_statement

RULES = ("segment-midpoints", "linspace")
BINS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Statements of clips, a true and a false one in turn.

    Attributes:
        clips: files, one each.
        texts: of each clip.
        kinds: of each clip's pairs of texts.
    """

    clips: list[Path]
    texts: list[list[str]]
    kinds: list[list[str]]


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """What was found.

    Attributes:
        auc: kind -> the estimate of `entailment_auc` (value, low, high, k), in percent; `all` over full captions.
        log_odds: float64 [N], of every statement.
        truth: bool [N].
    """

    auc: dict[str, Mapping[str, Any]]
    log_odds: npt.NDArray[np.float64]
    truth: npt.NDArray[np.bool_]


def draw_questions(
    folder: Path, each: int, seed: int = 0, *, style: Style = REAL, geometry: Geometry = WORLD
) -> Asked:
    """Render `each` clips for every misalignment into `folder`, with what is asked about them.

    A clip's questions are its caption beside a contrast caption, and two nouns: the colour and the shape of one of its
    shapes changed.

    Args:
        folder: where the files go.
        each: clips a misalignment.
        seed: of scenes, places and statements; none of the clips is one of the pre-training.
        style, geometry: of the clips.
    """
    asked = Asked([], [], [])
    for kind in MISALIGNMENTS:
        for number in range(each):
            rng = random.Random(seed_of("questions", seed, kind, number))
            scene = _unseen(kind, rng)
            claimed = contrast(scene, kind, rng)
            nouns = [noun_statement(scene, rng, noun) for noun in NOUNS]
            path = folder / f"{kind}-{number:04d}.mp4"
            encode_mp4(render(scene, rng.getrandbits(62), style, geometry), style.fps, path)
            asked.clips.append(path)
            asked.texts.append(
                [caption(scene), caption(claimed), *(text for own in nouns for text in (own.true, own.false))]
            )
            asked.kinds.append([kind, *NOUNS])
    return asked


def _unseen(kind: str, rng: random.Random) -> Scene:
    while True:
        scene = draw_scene(kind, rng)
        if held_out(scene):
            return scene


def ask(scorer: Scorer, asked: Asked, *, resamples: int = 1000) -> Numbers:
    """Score all statements and measure each kind; intervals are bootstraps over clips."""
    found = score(scorer, asked.clips, asked.texts)
    for error in found.errors.values():
        raise error
    kinds = [kind for own in asked.kinds for kind in own for _ in range(2)]
    videos = [path.name for path, own in zip(asked.clips, asked.texts, strict=True) for _ in own]
    truth = np.tile([True, False], len(kinds) // 2)
    rows = {kind: [row for row, own in enumerate(kinds) if own == kind] for kind in (*MISALIGNMENTS, *NOUNS)}
    rows["all"] = [row for kind in MISALIGNMENTS for row in rows[kind]]

    def measured(places: Sequence[int]) -> Mapping[str, Any]:
        result = entailment_auc(
            found.scores[places],
            truth[places],
            [videos[place] for place in places],
            kind=found.kind,
            resamples=resamples,
        )
        estimate: Mapping[str, Any] = result["auc"]
        return estimate

    return Numbers({kind: measured(places) for kind, places in rows.items()}, found.scores, truth)


def evaluate_model(model: str, each: int = 100, seed: int = 0) -> dict[str, Numbers]:
    """The numbers of a model for each rule of sampling its eight frames.

    Args:
        model: its name or folder.
        each: clips a misalignment.
        seed: of the clips.
    """
    from synvita_data.scoring.open import open_scorer

    with tempfile.TemporaryDirectory() as folder:
        asked = draw_questions(Path(folder), each, seed)
        return {
            rule: ask(open_scorer(model, frames={"rule": rule}, video_llm={"strategy": "plain"}), asked)
            for rule in RULES
        }


# -- calibration -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """How often statements of about one probability are true.

    Attributes:
        said: float64 [bins], mean P(Yes) of the statements in each bin that has some.
        true: float64 [bins], share of them that are true.
        counts: int64 [bins].
        error: expected calibration error, the mean distance of the two over all statements.
    """

    said: npt.NDArray[np.float64]
    true: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    error: float


def reliability(numbers: Numbers, bins: int = BINS) -> Reliability:
    """P(Yes) in bins of equal width beside the share of true statements."""
    probability = 0.5 * (1 + np.tanh(numbers.log_odds / 2))
    place = np.minimum((probability * bins).astype(int), bins - 1)
    counts = np.bincount(place, minlength=bins)
    there = counts > 0
    said = np.bincount(place, probability, bins)[there] / counts[there]
    true = np.bincount(place, numbers.truth, bins)[there] / counts[there]
    error = float((np.abs(said - true) * counts[there]).sum() / counts.sum())
    return Reliability(said, true, counts[there], error)


def plot_reliability(path: Path, models: Mapping[str, Numbers]) -> None:
    """Draw the reliability of models as a PNG, with how many statements each point stands for."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    lines, counts = figure.subplots(1, 2, width_ratios=[3, 2])
    lines.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="calibrated")
    width = 0.8 / max(len(models), 1) / BINS
    for number, (name, numbers) in enumerate(models.items()):
        found = reliability(numbers)
        label = f"{name} (error {100 * found.error:.1f}%)"
        lines.plot(found.said, found.true, marker="o", markersize=4, label=label)
        edges = (np.arange(BINS) + 0.5) / BINS + (number - (len(models) - 1) / 2) * width
        probability = 0.5 * (1 + np.tanh(numbers.log_odds / 2))
        counts.bar(edges, np.histogram(probability, BINS, (0, 1))[0], width, label=name)
    lines.set(
        xlabel="mean P(Yes)", ylabel="share of true statements", xlim=(0, 1), ylim=(0, 1), aspect="equal"
    )
    counts.set(xlabel="P(Yes)", ylabel="statements", xlim=(0, 1))
    lines.legend(loc="lower right", fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png", metadata={"Software": None})
