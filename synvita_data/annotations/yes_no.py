"""Questions that are asked yes or no: log-odds of Yes above 0 say yes."""

from dataclasses import replace

import numpy as np

from ..tables.columns import Floats, Ints
from .declared import DeclaredRows
from .forms import Form, Metrics, OfficialJoin
from .mistakes import Grouped, Judged, Shown, by_margin, question_margins, show_question
from .questions import make_questions, read_questions
from .table import Annotations
from .units import ScoredRows, Units, scored_questions, units_of_questions


def read_declared_yes_no(rows: DeclaredRows) -> Annotations:
    """A question a row; see `questions`. Label 1 where the answer is yes.

    Raises:
        SchemaError: as of `read_questions`.
    """
    return make_questions(rows, read_questions(rows, options=False))


def _measure(
    a: Annotations, scores: Floats, kind: str, options: Metrics, official: OfficialJoin | None
) -> Metrics:
    from ..evaluate_metrics.entailment_auc.auc import entailment_auc
    from ..evaluate_metrics.minimal_pair_accuracy.minimal_pair import minimal_pair_accuracy

    scored = ~np.isnan(scores)
    found = minimal_pair_accuracy(
        scores,
        a.label,
        a.group,
        clusters=a.video_id,
        breakdown=a.breakdown,
        kind=kind,
        scored=scored,
        **options,
    )
    # Yes and no need both be there to be told apart; the AUC takes no threshold.
    found["auc"] = None
    if len(np.unique(a.label[scored])) == 2:
        found["auc"] = entailment_auc(
            scores, a.label, a.video_id, kind=kind, strict=False, scored=scored, **options
        )["auc"]
    return found


def _judge(a: Annotations, scores: Floats, kind: str) -> Judged:
    """A question is wrong where its score lies on the other side of the threshold than its answer, or at it."""
    grouped = Grouped(a)
    alone = np.ones(len(a.groups), bool)

    def show(group: int) -> list[Shown]:
        return show_question(a, scores, grouped.rows(group), alone=True)

    margin = question_margins(a, grouped, scores, kind, alone)
    return by_margin(a, grouped, margin, show, "questions", first=1)


def _units(rows: ScoredRows, scores: Floats, kind: str) -> Units:
    """Videos, with all their questions; a question is an item. The AUC stands beside where there are both answers."""
    from ..evaluate_metrics.entailment_auc.auc import entailment_by_video

    units = units_of_questions(rows, scored_questions(rows, scores, kind), rows.breakdown)
    if len(set(rows.label[rows.scored].tolist())) < 2:
        return units
    by_video = entailment_by_video(
        scores, rows.label, rows.video, kind=kind, scored=rows.scored, partial=not rows.complete
    )

    def weighted(weights: Ints) -> Floats:
        auc = [[by_video.weighted(one)[0]] for one in weights]
        return np.hstack([units.weighted(weights), np.array(auc, np.float64)])

    return replace(units, names=(*units.names, "auc"), weighted=weighted)


FORM = Form(
    read=None,
    read_declared=read_declared_yes_no,
    measure=_measure,
    units=_units,
    group="questions",
    judge=_judge,
)
