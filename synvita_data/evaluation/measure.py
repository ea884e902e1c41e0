"""Scores and annotations in, metrics out: one function a form of task, NumPy only."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ScoreError
from ..scoring.protocol import ScoreKind
from ..tasks import Annotations, Task
from .official_join import OfficialJoin

Metrics = dict[str, Any]
Scores = npt.NDArray[np.float64]


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
        return _FORMS[task.form](annotations, scores, kind, options, official)
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


def _entailment(
    a: Annotations, scores: Scores, kind: str, options: Metrics, official: OfficialJoin | None
) -> Metrics:
    from ..evaluate_metrics.entailment_auc.auc import entailment_auc

    rows, texts = np.arange(len(a)), a.text_id
    if official is not None and len(official.rows):
        # A text with another score is a text of its own: two rows of the AUC.
        further = [
            f"{text} {score!r}"
            for text, score in zip(texts[official.rows], official.scores.tolist(), strict=True)
        ]
        rows, texts = np.append(rows, official.rows), np.append(texts, np.array(further, object))
        scores = np.append(scores, official.scores)
    groups = {
        name: column[rows]
        for name, column in (("misalignment", a.misalignment), ("hard", a.hard))
        if any(value is not None for value in column)
    }
    return entailment_auc(
        scores,
        a.label[rows],
        a.video_id[rows],
        texts=texts,
        pairs=a.group[rows],
        groups=groups,
        kind=kind,
        scored=~np.isnan(scores),
        **options,
    )


def _retrieval(
    a: Annotations, scores: Scores, kind: str, options: Metrics, official: OfficialJoin | None
) -> Metrics:
    from ..evaluate_metrics.retrieval_map.ranking import retrieval_map

    def ranked(**more: Any) -> Metrics:
        scored = ~np.isnan(scores)
        return retrieval_map(scores, a.label, a.caption, a.videopath, scored=scored, **{**options, **more})

    found = ranked()
    for ties in ("official", "sklearn"):
        found[f"map_{ties}"] = ranked(ties=ties, resamples=0)["map"]["value"]
    return found


def _choice(
    a: Annotations, scores: Scores, kind: str, options: Metrics, official: OfficialJoin | None
) -> Metrics:
    from ..evaluate_metrics.multiple_choice_accuracy.choice import multiple_choice_accuracy

    types = a.type if any(value is not None for value in a.type) else None
    return multiple_choice_accuracy(
        scores,
        a.label,
        a.group,
        options=a.option,
        types=types,
        scored=~np.isnan(scores),
        **options,
    )


_FORMS: dict[str, Callable[..., Metrics]] = {
    "entailment": _entailment,
    "retrieval": _retrieval,
    "choice": _choice,
}
