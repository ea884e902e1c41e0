"""The bands of a cell: its metric under noise on log-odds, and under other random mirrorings."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..annotations import Annotations, find_form
from ..annotations.forms import OfficialJoin, join_rows
from ..evaluation.predictions import Predictions
from ..evaluation.results import measure
from ..scoring import ItemScores, ScoreKind, Scorer, ScoringItem
from ..scoring.released import draw_mirrored
from ..tables.columns import Floats
from ..tasks import FORMS, TASKS
from .compare import Band, band, jittered, to_log_odds
from .expected import Flips, Jitter


def main_estimate(
    annotations: Annotations, scores: Floats, kind: ScoreKind, official: OfficialJoin | None
) -> dict[str, Any]:
    """The main score of a task, without an interval.

    Args:
        annotations: of the task.
        scores: float64 [N]; NaN where there is none.
        kind: of the scores.
        official: further scores of texts that have several.
    """
    # A user's task is not known by its name; the main score of its form stands for its own.
    known = TASKS.get(annotations.task)
    name = FORMS[annotations.form].main_score if known is None else known.main_score
    metrics = measure(known, annotations, scores, kind, partial=True, resamples=0, official=official)
    return dict(metrics[name])


def jitter_band(annotations: Annotations, found: Predictions, jitter: Jitter) -> Band:
    """The band of a metric under noise on log-odds.

    A text that was scored twice, with two results, has two noises: they are two computations.

    Args:
        annotations: of the task.
        found: its scores.
        jitter: the noise.
    """
    count, official = len(annotations), found.official
    more = np.zeros(0) if official is None else official.scores
    unit = annotations.pair
    if official is not None and len(more):
        keys = np.stack([annotations.pair[official.rows].astype(np.float64), official.scores])
        own = np.unique(keys, axis=1, return_inverse=True)[1].reshape(-1)
        unit = np.append(unit, int(annotations.pair.max()) + 1 + own)

    def value(moved: Floats) -> float:
        joined = None if official is None else replace(official, scores=moved[count:])
        return float(main_estimate(annotations, moved[:count], "log_odds", joined)["value"])

    log_odds = to_log_odds(np.append(found.scores, more), found.kind)
    values = jittered(value, log_odds, unit, sigma=jitter.sigma, draws=jitter.draws, seed=jitter.seed)
    return band(values, jitter.level)


def flip_band(
    annotations: Annotations, sides: Floats, lost: npt.NDArray[np.bool_], kind: ScoreKind, flips: Flips
) -> Band:
    """The band of a metric over seeds of the random mirroring.

    Args:
        annotations: of the task, with the order of the file.
        sides: float64 [2, N]: of each row its score as it is, and mirrored.
        lost: bool [N], rows that do not count.
        kind: of the scores.
        flips: how many seeds.
    """
    assert annotations.file_order is not None
    form = find_form(annotations)
    rows = int(annotations.file_order.max()) + 1
    values = []
    for seed in range(flips.seeds):
        mirrored = draw_mirrored(seed, rows)[annotations.file_order]
        scores = np.where(lost, np.nan, np.where(mirrored, sides[1], sides[0]))
        values.append(main_estimate(annotations, *_joined(annotations, form, scores, kind))["value"])
    return band(np.array(values), flips.level)


def _joined(
    annotations: Annotations, form: Any, scores: Floats, kind: ScoreKind
) -> tuple[Floats, ScoreKind, OfficialJoin]:
    of_text, official = join_rows(annotations, form, scores)
    return of_text, kind, official


class OneSide:
    """A scorer that scores every text against the video as it is, or every text against its mirror image.

    Args:
        scorer: that can do both (`ScoringItem.mirrored`).
        mirrored: which.
    """

    def __init__(self, scorer: Scorer, mirrored: bool) -> None:
        self._scorer, self._mirrored = scorer, mirrored
        self.name = f"{scorer.name}-{'mirrored' if mirrored else 'as-it-is'}"
        self.flips = "none"
        self.settings = {**scorer.settings, "flips": "all" if mirrored else "none"}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scorer, name)

    def score(self, items: Iterable[ScoringItem]) -> Iterator[ItemScores]:
        """As of any scorer."""
        side = self._mirrored
        return self._scorer.score(replace(item, mirrored=(side,) * len(item.texts)) for item in items)
