"""Accuracy of questions, and of pairs of them of which both are right: a pure function of NumPy columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._shared.inputs import (
    THRESHOLDS,
    Bools,
    Column,
    Floats,
    InputError,
    Ints,
    check_choice,
    check_constant,
    check_ids,
    check_probabilities,
    check_rows,
    first_true,
)
from .._shared.intervals import (
    Estimate,
    check_bootstrap,
    cluster_sums,
    estimate,
    histogram,
    no_estimate,
    ratio_interval,
)
from .._shared.options import best_options, check_answers, check_options, refuse


def minimal_pair_accuracy(
    scores: Column,
    labels: Column,
    questions: Column,
    pairs: Column | None = None,
    *,
    options: Column | None = None,
    clusters: Column | None = None,
    breakdown: Mapping[str, Column] | None = None,
    kind: str = "probability",
    per_question: bool = False,
    scored: Column | None = None,
    partial: bool = False,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Share of questions that are answered right, and of pairs of questions that both are.

    A question of several rows has an option in each, and the option with the highest score is chosen; when t
    options share it, any of them may be, and a right option among them counts 1/t. A question of one row is
    asked yes or no: a score above the threshold says yes, one below it no, and one at the threshold is right
    half the time. A pair (two minimally different videos with one question, or two questions with opposite
    answers) is right where both of its questions are; its expectation under ties is the product of theirs,
    because their choices are independent. `worst_ties` gives ties nothing, `best_ties` gives them everything.

    Intervals are percentile bootstraps over clusters, drawn with all their questions. Results do not depend on
    the order of the rows, to the bit.

    Args:
        scores: float [N], one a row; a row is an option of a question, or a question asked yes or no.
        labels: [N], 1 for the right option, exactly one in each question of options; for a question asked yes
            or no 1 where the answer is yes, 0 where it is no.
        questions: [N] ids of the questions.
        pairs: [N] ids of the pairs, each of two questions; the rows of a question must agree. None in the column: the
            question is in no pair. None: there are no pairs.
        options: [N] what the option is in its question. Integers count from 0, and a gap is a missing option;
            strings need only differ; None: the question is asked yes or no. None: a question of one row is
            asked yes or no, and the rows of others are taken for different options.
        clusters: [N] ids of what is drawn in the bootstrap, such as videos, for questions that depend on each other;
            each holds whole questions and whole pairs. None: the pairs, and questions that are in no pair.
        breakdown: named columns [N], for example `{"aspect": […]}`; None in a column leaves the row out of that
            breakdown. The rows of a question, and of a pair, must agree.
        kind: `probability` (in [0, 1], threshold 0.5), `log_odds` (threshold 0) or `similarity` (no threshold:
            questions with options only).
        per_question: add `questions`, a list of each question's value.
        scored: bool [N], False where a score is missing (its value is not looked at); None: all are there.
        partial: leave out questions that miss a score or an option, and pairs that miss a question, and count them
            in `n` but not in `k`. Pass `options` too, or a question left with one row is taken for yes or no.
        resamples: of the bootstrap; 0 leaves `low` and `high` None, as does one cluster.
        level: share of the resampled values between `low` and `high`.
        seed: of the bootstrap.

    Returns:
        `accuracy` (k, n: questions) and `pair_accuracy` (k, n: pairs; None without `pairs`), each an `Estimate` in
        percent; `breakdown`: column -> value -> the same two; `chance` of the two (over the same questions
        and pairs); `options` (how many questions have how many rows, as a dict of strings to counts);
        `bootstrap`; and `questions` if asked for.

    Raises:
        InputError (a ValueError): NaN, infinity, labels other than 0 and 1, a question of options without exactly
            one right one, a repeated or missing option, a pair of another number than two questions, rows that must
            agree and do not, a probability outside [0, 1], a question asked yes or no with `similarity`; the
            message and `.position` name the first entry at fault.

    Example:
        Two pairs of questions asked yes or no; the last score says neither.

        >>> result = minimal_pair_accuracy(
        ...     [2.0, -1.0, 0.5, 0.0], [1, 0, 1, 0], ["a1", "a2", "b1", "b2"], ["a", "a", "b", "b"], kind="log_odds"
        ... )
        >>> result["accuracy"]["value"], result["pair_accuracy"]["value"]
        (87.5, 75.0)
        >>> result["pair_accuracy"]["worst_ties"], result["pair_accuracy"]["best_ties"], result["chance"]
        (50.0, 100.0, {'accuracy': 50.0, 'pair_accuracy': 25.0})
    """
    check_bootstrap(resamples, level)
    check_choice("kind", kind, THRESHOLDS)
    # Check the columns, turn ids into codes, and find the questions that have all their parts.
    count = len(scores)
    numbers, truth, present = check_rows(scores, labels, scored, partial)
    check_probabilities(numbers, kind)
    codes, ids = check_ids(questions, "questions", count)
    sizes = np.bincount(codes)
    single = _asked_yes_or_no(codes, ids, sizes, options)
    complete = check_options(codes, ids, options, sizes, single=single, partial=partial)
    complete &= check_answers(codes, ids, truth, single=single, partial=partial)
    complete[codes[~present]] = False

    # Of each question its value by the rule for ties, in the worst and in the best order, and by chance.
    values = np.stack(best_options(numbers, truth, codes, len(ids)), axis=1).astype(np.float64)
    if single.any():
        values[single] = _decisions(numbers, truth, codes, ids, single, kind)
    chance = 1 / np.where(single, 2, sizes)

    # What questions and pairs belong to.
    first = np.unique(codes, return_index=True)[1]

    def per_question_of(column: Column, name: str, what: str, optional: bool) -> tuple[Ints, list[Any]]:
        found, distinct = check_ids(column, name, count, optional)
        check_constant(codes, found, ids, "question", what)
        return found[first], distinct

    units = np.arange(len(ids))
    pair_of, pair_ids = np.full(len(ids), -1), list[Any]()
    if pairs is not None:
        pair_of, pair_ids = per_question_of(pairs, "pairs", "pairs", True)
        if not pair_ids:
            raise InputError("`pairs` puts no question in a pair; leave it out for the accuracy alone")
        units = np.where(pair_of >= 0, pair_of, len(pair_ids) + units)
    two = _check_pairs(pair_of, pair_ids, first, partial)
    if clusters is not None:
        units = per_question_of(clusters, "clusters", "clusters", False)[0]
        advice = "; a cluster must hold whole pairs"
        check_constant(pair_of[codes], units[codes], pair_ids, "pair", "clusters", advice)
    columns = {
        name: per_question_of(column, name, f"values of {name!r}", True)
        for name, column in (breakdown or {}).items()
    }
    for name, (found, _) in columns.items():
        check_constant(pair_of[codes], found[codes], pair_ids, "pair", f"values of {name!r}")
    if not complete.any():
        raise InputError("no question has a score for all its options")

    # A pair is right where both of its questions are.
    asked = _Items(values, chance, complete, units)
    paired = None
    if pairs is not None:
        one, other = two.T
        paired = _Items(
            values=values[one] * values[other],
            chance=chance[one] * chance[other],
            complete=complete[one] & complete[other] & (one != other),
            units=units[one],
        )
    bootstrap: dict[str, Any] = {"resamples": resamples, "level": level, "seed": seed}

    def measure(chosen: Bools) -> dict[str, Estimate | None]:
        return {
            "accuracy": asked.estimate(chosen, bootstrap),
            "pair_accuracy": paired.estimate(chosen[two[:, 0]], bootstrap) if paired else None,
        }

    result: dict[str, Any] = {
        **measure(np.ones(len(ids), bool)),
        "breakdown": {
            name: {str(value): measure(found == code) for code, value in enumerate(distinct)}
            for name, (found, distinct) in columns.items()
        },
        "chance": {
            "accuracy": asked.mean_chance(),
            "pair_accuracy": paired.mean_chance() if paired else None,
        },
        "options": histogram(sizes[complete]),
        "bootstrap": {
            "unit": "cluster" if clusters is not None else "question" if pairs is None else "pair",
            **bootstrap,
        },
    }
    if per_question:
        result["questions"] = [
            {
                "question": ids[index],
                "pair": None if pair_of[index] < 0 else pair_ids[pair_of[index]],
                "value": 100 * float(values[index, 0]),
                "worst_ties": 100 * float(values[index, 1]),
                "best_ties": 100 * float(values[index, 2]),
                "options": int(sizes[index]),
            }
            for index in np.flatnonzero(complete).tolist()
        ]
    return result


@dataclass(frozen=True)
class _Items:
    """Questions, or pairs of them: of each its values (float64 [M, 3]: by the rule for ties, in the worst and in the
    best order), its value by chance, whether it has all its parts, and the unit of the bootstrap."""

    values: Floats
    chance: Floats
    complete: Bools
    units: Ints

    def estimate(self, chosen: Bools, bootstrap: dict[str, Any]) -> Estimate:
        kept = chosen & self.complete
        if not kept.any():
            return no_estimate(k=0, n=int(chosen.sum()))
        # Sorted, so that rounding of the sum does not depend on the order of the ids either.
        value, worst, best = np.sort(self.values[kept], axis=0).T.copy().mean(axis=1)
        sums, counts = cluster_sums(self.values[kept, 0], self.units[kept])
        interval = ratio_interval(sums, counts, **bootstrap)
        return estimate((value, worst, best), interval, k=int(kept.sum()), n=int(chosen.sum()))

    def mean_chance(self) -> float | None:
        chance = np.sort(self.chance[self.complete])
        return 100 * float(chance.mean()) if len(chance) else None


def _asked_yes_or_no(questions: Ints, ids: list[Any], sizes: Ints, options: Column | None) -> Bools:
    """bool [questions]: which are asked yes or no: those of one row or, with `options`, without an option."""
    if options is None:
        return sizes == 1
    codes, _ = check_ids(options, "options", len(questions), optional=True)
    without = np.bincount(questions[codes < 0], minlength=len(ids))
    if (question := first_true((without > 0) & (sizes > 1))) is not None:
        raise refuse(
            questions,
            ids,
            question,
            f"has {sizes[question]} rows, {without[question]} of them without an option; a question asked yes or no "
            "has one row, and any other names the option of each",
        )
    return without > 0


def _decisions(
    scores: Floats, labels: Bools, questions: Ints, ids: list[Any], single: Bools, kind: str
) -> Floats:
    """float64 [single questions, 3]: whether yes or no is right, where a score at the threshold says neither."""
    threshold = THRESHOLDS[kind]
    if threshold is None:
        problem = f"is asked yes or no, which needs a threshold, and {kind} scores have none"
        raise refuse(questions, ids, int(np.flatnonzero(single)[0]), problem)
    rows = np.flatnonzero(single[questions])
    rows = rows[np.argsort(questions[rows])]
    right = np.where(labels[rows], scores[rows] > threshold, scores[rows] < threshold)
    tied = scores[rows] == threshold
    return np.stack([right + tied / 2, right, right | tied], axis=1).astype(np.float64)


def _check_pairs(pair_of: Ints, pair_ids: list[Any], rows: Ints, partial: bool) -> Ints:
    """int64 [pairs, 2]: the two questions of each pair; twice the same where a pair has one only.

    Args:
        pair_of: int64 [questions], code of the pair of each; −1: in none.
        pair_ids: the pair of each code.
        rows: int64 [questions], a row of each, for messages.
        partial: let pairs miss a question.
    """
    paired = np.flatnonzero(pair_of >= 0)
    sizes = np.bincount(pair_of[paired], minlength=len(pair_ids))
    wrong = sizes > 2 if partial else sizes != 2
    if (pair := first_true(wrong)) is not None:
        advice = "" if sizes[pair] > 2 else "; complete it, or pass partial=True to have coverage reported"
        raise InputError(
            f"pair {pair_ids[pair]!r} has {sizes[pair]} questions, not two{advice}",
            int(rows[pair_of == pair].min()),
        )
    ordered = paired[np.argsort(pair_of[paired], kind="stable")]
    starts = np.cumsum(sizes) - sizes
    return np.stack([ordered[starts], ordered[starts + sizes - 1]], axis=1)
