"""Scores and annotations in, metrics out: as the form of the task says, NumPy only."""

import numpy as np
import numpy.typing as npt

from ..annotations import Annotations, find_form
from ..annotations.forms import Metrics, OfficialJoin
from ..errors import ScoreError
from ..scoring.protocol import ScoreKind
from ..tasks import Task


def measure(
    task: Task,
    annotations: Annotations,
    scores: npt.NDArray[np.float64],
    kind: ScoreKind,
    *,
    partial: bool = False,
    resamples: int = 1000,
    seed: int = 0,
    official: OfficialJoin | None = None,
) -> Metrics:
    """The metrics of a task, each an estimate in percent with interval, tie bounds and coverage.

    Args:
        scores: float64 [N], aligned with the rows of `annotations`; NaN where a score is missing.
        kind: what the scores mean; strict accuracy is left out for similarities.
        partial: allow missing scores; every estimate says k of n.
        resamples, seed: of the bootstrap.
        official: what the official join makes of texts with several scores (`Predictions.official`); a question or
            caption that it leaves out is counted in `n` and not in `k`.

    Returns:
        What the pure function behind `task.metric` returns. Retrieval adds `map_official` and
        `map_sklearn`, the two values of one sort order that are in the literature.

    Raises:
        ScoreError: the metric refuses the scores; the message says which row.
    """
    options: Metrics = {"partial": partial, "resamples": resamples, "seed": seed}
    if official is not None and official.left_out.any():
        scores = np.where(official.left_out, np.nan, scores)
        options["partial"] = True
    try:
        return find_form(task).measure(annotations, scores, kind, options, official)
    except ValueError as error:  # the metrics stand alone and know no SynvitaError
        raise ScoreError(
            f"{task.metric} cannot be computed: {str(error).rstrip('.')}",
            fix="On the command line, --partial measures what is there",
        ) from error


def check_measurable(task: Task, annotations: Annotations, *, partial: bool = False) -> None:
    """Raise now what `measure` would raise of these annotations whatever the scores: a grid with holes, a
    caption without a positive video, a question without an answer. Costs a second, scoring costs hours.
    """
    measure(task, annotations, np.full(len(annotations), 0.5), "probability", partial=partial, resamples=0)
