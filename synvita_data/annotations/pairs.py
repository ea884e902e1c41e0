"""Minimal pairs: two questions that must both be answered right, with options or asked yes or no."""

from collections import Counter

import numpy as np

from ..errors import SchemaError
from ..tables.columns import Floats
from .declared import DeclaredRows
from .forms import Form, Metrics, OfficialJoin
from .questions import YES_NO, AskedQuestion, make_questions, read_questions
from .table import Annotations


def read_declared_pairs(rows: DeclaredRows) -> Annotations:
    """A question a row, two questions a pair; see `questions`.

    Raises:
        SchemaError: as of `read_questions`, or a pair has another number of questions than two; its last row is named.
            Where rows may be left out, such a pair is.
    """
    questions = read_questions(rows, options=None)
    sizes = Counter(question.pair for question in questions)
    kept: list[AskedQuestion] = []
    refused: set[str | None] = set()
    for question in reversed(questions):
        if sizes[question.pair] == 2:
            kept.append(question)
        elif question.pair not in refused:
            refused.add(question.pair)
            error = SchemaError(
                f"a pair has {sizes[question.pair]} questions", found=question.pair, expected="two questions"
            )
            rows.refuse(question.row, error)
    return make_questions(rows, kept[::-1])


def _measure(
    a: Annotations, scores: Floats, kind: str, options: Metrics, official: OfficialJoin | None
) -> Metrics:
    from ..evaluate_metrics.minimal_pair_accuracy.minimal_pair import minimal_pair_accuracy

    asked_yes_no = np.array(
        [text.question is not None and text.question.answers == YES_NO for text in a.texts]
    )
    alone = asked_yes_no[a.text] if len(asked_yes_no) else np.zeros(len(a), bool)
    return minimal_pair_accuracy(
        scores,
        a.label,
        a.group,
        a.minimal_pair,
        options=np.where(alone, None, a.option.astype(object)),
        breakdown=a.breakdown,
        kind=kind,
        scored=~np.isnan(scores),
        **options,
    )


FORM = Form(read=None, read_declared=read_declared_pairs, measure=_measure, group="questions")
