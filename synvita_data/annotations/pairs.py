"""Minimal pairs: two questions that must both be answered right, with options or asked yes or no."""

from collections import defaultdict

import numpy as np
import numpy.typing as npt

from ..errors import SchemaError
from ..tables.columns import Floats
from .declared import DeclaredRows
from .forms import Form, Metrics, OfficialJoin
from .mistakes import Grouped, Judged, Shown, question_margins, show_question
from .questions import YES_NO, AskedQuestion, make_questions, read_questions
from .table import Annotations
from .units import ScoredRows, Units, scored_questions, units_of_items
from .videos import tied_together


def read_declared_pairs(rows: DeclaredRows) -> Annotations:
    """A question a row, two questions a pair; see `questions`.

    Raises:
        SchemaError: as of `read_questions`, or a pair has another number of questions than two; its last row is named.
            Where rows may be left out, such a pair is.
    """
    questions = read_questions(rows, options=None)
    of_pair = defaultdict[str | None, list[AskedQuestion]](list)
    for question in questions:
        of_pair[question.pair].append(question)
    # The pair whose last row comes last is told first.
    wrong = [each for each in of_pair.values() if len(each) != 2]
    for each in sorted(wrong, key=lambda same: same[-1].row.order, reverse=True):
        error = SchemaError(f"a pair has {len(each)} questions", found=each[0].pair, expected="two questions")
        rows.refuse_all([question.row for question in each], error)
    return make_questions(rows, [each for each in questions if len(of_pair[each.pair]) == 2])


def _measure(
    a: Annotations, scores: Floats, kind: str, options: Metrics, official: OfficialJoin | None
) -> Metrics:
    from ..evaluate_metrics.minimal_pair_accuracy.minimal_pair import minimal_pair_accuracy

    return minimal_pair_accuracy(
        scores,
        a.label,
        a.group,
        a.minimal_pair,
        options=_options(a),
        clusters=a.tied_videos,
        breakdown=a.breakdown,
        kind=kind,
        scored=~np.isnan(scores),
        **options,
    )


def _judge(a: Annotations, scores: Floats, kind: str) -> Judged:
    """A pair is wrong where one of its questions is; its margin is the lower of theirs."""
    grouped = Grouped(a)
    row_of = grouped.first()
    alone = np.array([option is None for option in _options(a)[row_of]], bool)
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


def _options(a: Annotations) -> npt.NDArray[np.object_]:
    """object [N], the place of an option; None in a row that is asked yes or no."""
    asked_yes_no = np.array(
        [text.question is not None and text.question.answers == YES_NO for text in a.texts]
    )
    alone = asked_yes_no[a.text] if len(asked_yes_no) else np.zeros(len(a), bool)
    places = a.option.astype(object)
    places[alone] = None
    return places


def _units(rows: ScoredRows, scores: Floats, kind: str) -> Units:
    """Videos, with all their pairs, or sets of videos that pairs tie together; a pair is an item."""
    a = rows.annotations
    assert a is not None  # `from_tables` is empty
    found = scored_questions(rows, scores, kind, pairs=a.minimal_pair, options=_options(a))
    questions = [each["question"] for each in found]
    videos = rows.of_groups(rows.video, questions)
    of_pair: defaultdict[str, list[int]] = defaultdict(list)
    for place, each in enumerate(found):
        of_pair[each["pair"]].append(place)
    owner = tied_together([[videos[place] for place in places] for places in of_pair.values()])
    whole = {pair: places for pair, places in of_pair.items() if len(places) == 2}
    first = [places[0] for places in whole.values()]
    value = np.array([each["value"] / 100 for each in found])
    right = np.array([each["worst_ties"] == 100 for each in found])
    both = np.array(list(whole.values()), np.int64).reshape(-1, 2)
    return units_of_items(
        unit="video" if len(set(owner.values())) == len(owner) else "set of videos",
        of_item=[owner[videos[place]] for place in first],
        item="pair",
        items=list(whole),
        metrics={"pair_accuracy": value[both].prod(axis=1)},
        also={"accuracy": ([owner[video] for video in videos], value)},
        right=right[both].all(axis=1),
        breakdown=rows.breakdown_of([questions[place] for place in first]),
    )


FORM = Form(
    read=None,
    read_declared=read_declared_pairs,
    measure=_measure,
    units=_units,
    group="questions",
    judge=_judge,
)
