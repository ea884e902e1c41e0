"""Minimal pairs: two questions that must both be answered right, with options or asked yes or no."""

from collections import Counter, defaultdict

import numpy as np
import numpy.typing as npt

from ..errors import SchemaError
from ..tables.columns import Floats
from .declared import DeclaredRows
from .forms import Form, Metrics, OfficialJoin
from .mistakes import Grouped, Judged, Shown, question_margins, show_question
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


def _asked_alone(a: Annotations) -> npt.NDArray[np.bool_]:
    """bool [N]: rows of questions that are asked yes or no, which have no other row."""
    asked = np.array(
        [text.question is not None and text.question.answers == YES_NO for text in a.texts], bool
    )
    return asked[a.text]


def _measure(
    a: Annotations, scores: Floats, kind: str, options: Metrics, official: OfficialJoin | None
) -> Metrics:
    from ..evaluate_metrics.minimal_pair_accuracy.minimal_pair import minimal_pair_accuracy

    alone = _asked_alone(a)
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


def _judge(a: Annotations, scores: Floats, kind: str) -> Judged:
    """A pair is wrong where one of its questions is; its margin is the lower of theirs."""
    grouped = Grouped(a)
    row_of = grouped.first()
    alone = _asked_alone(a)[row_of]
    margin = question_margins(a, grouped, scores, kind, alone)
    questions: defaultdict[str, list[int]] = defaultdict(list)
    for group, pair in enumerate(a.minimal_pair[row_of] if a.minimal_pair is not None else ()):
        questions[pair].append(group)
    ids = [pair for pair, both in questions.items() if not np.isnan(margin[both]).any()]
    # The more wrong question first.
    both = [sorted(questions[pair], key=lambda group: margin[group]) for pair in ids]
    measure = np.array([margin[each[0]] for each in both], np.float64)

    def show(place: int) -> list[Shown]:
        each = [show_question(a, scores, grouped.rows(g), alone=bool(alone[g])) for g in both[place]]
        return [row for rows in each for row in rows[:2]] + [row for rows in each for row in rows[2:]]

    return Judged(
        ids=ids,
        row=np.array([row_of[each[0]] for each in both], np.int64),
        measure=measure,
        wrong=measure <= 0,
        show=show,
        groups="pairs",
        total=len(questions),
        first=4,
    )


FORM = Form(read=None, read_declared=read_declared_pairs, measure=_measure, group="questions", judge=_judge)
