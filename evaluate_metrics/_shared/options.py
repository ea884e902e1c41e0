"""Options of questions: which questions have all of theirs, and what choosing the best-scored one gives."""

from typing import Any

import numpy as np

from .inputs import Bools, Column, Floats, InputError, Ints, check_ids, first_repeat, first_true


def check_options(
    questions: Ints,
    ids: list[Any],
    options: Column | None,
    sizes: Ints,
    *,
    options_per_question: int | None = None,
    single: Bools | None = None,
    partial: bool,
) -> Bools:
    """bool [questions]: which have all their options. Repeated options are always an error.

    Args:
        questions: int64 [N], code of the question of each row.
        ids: the question of each code.
        options: [N] what the option is in its question; integers count from 0. None: not known.
        sizes: int64 [questions], how many rows each has.
        options_per_question: how many options each must have; None: at least two.
        single: bool [questions], which are asked yes or no in one row, whose option is None; None: no question.
        partial: let questions miss options.

    Raises:
        InputError: an option is there twice or negative, a question has too many or, unless `partial`, misses one.
    """
    complete = sizes > 1 if single is None else (sizes > 1) | single
    wrong = "has only one option"
    if options_per_question is not None:
        complete &= sizes == options_per_question
        wrong = f"does not have {options_per_question} options"
        if (question := first_true(sizes > options_per_question)) is not None:
            raise refuse(questions, ids, question, f"has {sizes[question]} options, more than allowed")
    if options is not None:
        codes, names = check_ids(options, "options", len(questions), optional=single is not None)
        if (position := first_repeat(questions * (len(names) + 1) + codes + 1)) is not None:
            name = names[codes[position]]
            raise InputError(f"question {ids[questions[position]]!r} has option {name!r} twice", position)
        if names and all(isinstance(name, int) for name in names):
            if names[0] < 0:
                raise InputError(
                    f"option {names[0]} is negative; options count from 0", first_true(codes == 0)
                )
            highest = np.zeros(len(ids), np.int64)
            listed = codes >= 0
            np.maximum.at(highest, questions[listed], np.array(names, dtype=np.int64)[codes[listed]])
            gaps = highest != sizes - 1
            if (gaps & complete).any():
                wrong = "misses an option: its options do not count 0, 1, 2, …"
            complete &= ~gaps
    if not partial and (question := first_true(~complete)) is not None:
        raise refuse(questions, ids, question, f"{wrong}; it has {sizes[question]}")
    return complete


def check_answers(
    questions: Ints, ids: list[Any], labels: Bools, *, single: Bools | None = None, partial: bool
) -> Bools:
    """bool [questions]: which have their right option. Two right options are always an error.

    Args:
        questions: int64 [N], code of the question of each row.
        ids: the question of each code.
        labels: bool [N], which rows are the right option.
        single: bool [questions], which are asked yes or no in one row, whose label may be 0; None: no question.
        partial: let questions miss their right option.

    Raises:
        InputError: a question has two right options or, unless `partial`, none.
    """
    right = np.bincount(questions[labels], minlength=len(ids))
    answered = right == 1 if single is None else (right == 1) | single
    if (question := first_true(right > 1)) is not None:
        raise refuse(questions, ids, question, f"has {right[question]} right options (label 1), not one")
    if not partial and (question := first_true(~answered)) is not None:
        raise refuse(questions, ids, question, "has no right option (label 1)")
    return answered


def best_options(scores: Floats, labels: Bools, questions: Ints, count: int) -> tuple[Floats, Bools, Bools]:
    """Of each question, how much choosing its best-scored option is worth: expected, worst, best.

    When t options share the highest score, any of them may be chosen: 1/t where the right option is among them.

    Args:
        scores: float64 [N], one an option.
        labels: bool [N], which rows are the right option.
        questions: int64 [N], code of the question of each row.
        count: how many questions.

    Returns:
        float64 [count] and twice bool [count].
    """
    best = np.full(count, -np.inf)
    np.maximum.at(best, questions, scores)
    at_best = scores == best[questions]
    tied = np.bincount(questions[at_best], minlength=count)
    reached = np.bincount(questions[at_best & labels], minlength=count) > 0
    return reached / tied, reached & (tied == 1), reached


def refuse(questions: Ints, ids: list[Any], question: int, problem: str) -> InputError:
    """The error that a question, of which the first row is named, has a problem."""
    position = int(np.flatnonzero(questions == question)[0])
    return InputError(f"question {ids[question]!r} {problem}", position)
