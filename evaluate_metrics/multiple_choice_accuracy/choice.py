"""Accuracy of choosing the best-scored option, exact under ties: a pure function of NumPy columns."""

from typing import Any

import numpy as np

from .._shared.inputs import (
    Bools,
    Column,
    InputError,
    Ints,
    check_constant,
    check_ids,
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
from .._shared.options import best_options, check_answers, check_options

# NExT-QA's codes: the coarse type of each subtype, in the order results are listed.
COARSE_TYPES = {
    "CW": "C",  # causal: why
    "CH": "C",  # causal: how
    "TN": "T",  # temporal: next
    "TC": "T",  # temporal: current
    "TP": "T",  # temporal: previous
    "DC": "D",  # descriptive: count
    "DL": "D",  # descriptive: location
    "DO": "D",  # descriptive: other
}


def multiple_choice_accuracy(
    scores: Column,
    labels: Column,
    questions: Column,
    *,
    options: Column | None = None,
    types: Column | None = None,
    clusters: Column | None = None,
    options_per_question: int | None = None,
    per_question: bool = False,
    scored: Column | None = None,
    partial: bool = False,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Share of questions whose right option has the highest score.

    When t options share the highest score, any of them may be chosen: a question whose right option is
    among them counts 1/t, the exact expectation over random choices; `worst_ties` counts it 0 (unless t = 1) and
    `best_ties` 1. Rows belong to a question by its *id*: one video can repeat a question text with
    another type, which the official script takes for one question of ten options and drops.

    Intervals are percentile bootstraps over questions, or over clusters with all their questions. Results do not depend on the order of the rows.

    Args:
        scores: float [N], one a row; a row is an option of a question.
        labels: [N], 1 for the right option, exactly one in each question.
        questions: [N] ids of the questions.
        options: [N] what the option is in its question. Integers count from 0, and a gap is a missing option;
            strings need only differ. None: rows are taken for different options.
        types: [N] type of the row's question, None for unknown; one per question. NExT-QA's subtypes
            (CW, CH, TN, TC, TP) are also pooled into their coarse types C and T.
        clusters: [N] ids of what is drawn in the bootstrap, such as videos, for questions that depend on each other;
            the rows of a question must agree. None: the questions.
        options_per_question: refuse questions with another number of options; None: the number may vary.
        per_question: add `questions`, a list of each question's value.
        scored: bool [N], False where a score is missing (its value is not looked at); None: all are there.
        partial: leave out questions that miss a score or an option, and count them in `n` but not in `k`.
        resamples: of the bootstrap; 0 leaves `low` and `high` None, as does one question or cluster.
        level: share of the resampled values between `low` and `high`.
        seed: of the bootstrap.

    Returns:
        `accuracy`, an `Estimate` in percent (k, n: questions); `types`: type -> `Estimate`; `chance` (mean of
        100 / number of options, over the same questions); `options` (how many questions have how many, as a
        dict of strings to counts); `bootstrap`; and `questions` if asked for.

    Raises:
        InputError (a ValueError): NaN, infinity, labels other than 0 and 1, not exactly one right option, a
            repeated or missing option, a question of one option, of two types or of two clusters; the message and `.position`
            name the first entry at fault.

    Example:
        Two questions; in the second the right option ties with a wrong one.

        >>> result = multiple_choice_accuracy(
        ...     [0.9, 0.2, 0.1, 0.4, 0.4, 0.3], [1, 0, 0, 0, 1, 0], [7, 7, 7, 8, 8, 8], types=["CW"] * 3 + ["TN"] * 3
        ... )
        >>> accuracy = result["accuracy"]
        >>> accuracy["value"], accuracy["worst_ties"], accuracy["best_ties"], accuracy["k"]
        (75.0, 50.0, 100.0, 2)
        >>> {name: value["value"] for name, value in result["types"].items()}
        {'C': 100.0, 'CW': 100.0, 'T': 50.0, 'TN': 50.0}
    """
    check_bootstrap(resamples, level)
    # Check the columns, turn ids into codes, and find the questions that have all their parts.
    numbers, truth, present = check_rows(scores, labels, scored, partial)
    codes, ids = check_ids(questions, "questions", len(scores))
    sizes = np.bincount(codes)
    complete = check_options(
        codes, ids, options, sizes, options_per_question=options_per_question, partial=partial
    )
    complete &= check_answers(codes, ids, truth, partial=partial)
    type_codes, type_names = _question_types(codes, ids, types)
    units = np.arange(len(ids))
    if clusters is not None:
        cluster_codes, _ = check_ids(clusters, "clusters", len(scores))
        check_constant(codes, cluster_codes, ids, "question", "clusters")
        units = cluster_codes[np.unique(codes, return_index=True)[1]]
    complete[codes[~present]] = False
    if not complete.any():
        raise InputError("no question has a score for all its options")

    expected, worst, reached = best_options(numbers, truth, codes, len(ids))
    bootstrap: dict[str, Any] = {"resamples": resamples, "level": level, "seed": seed}

    def measure(chosen: Bools) -> Estimate:
        kept = chosen & complete
        total, used = int(chosen.sum()), int(kept.sum())
        if not used:
            return no_estimate(k=0, n=total)
        # Sorted, so that rounding of the sum does not depend on the order of the ids either.
        value = float(np.sort(expected[kept]).mean())
        means = value, float(worst[kept].mean()), float(reached[kept].mean())
        interval = ratio_interval(*cluster_sums(expected[kept], units[kept]), **bootstrap)
        return estimate(means, interval, k=used, n=total)

    result: dict[str, Any] = {
        "accuracy": measure(np.ones(len(ids), bool)),
        "types": {
            name: measure(np.isin(type_codes, members)) for name, members in _type_groups(type_names).items()
        },
        "chance": 100 * float(np.sort(1 / sizes[complete]).mean()),
        "options": histogram(sizes[complete]),
        "bootstrap": {"unit": "question" if clusters is None else "cluster", **bootstrap},
    }
    if per_question:
        result["questions"] = [
            {
                "question": ids[index],
                "type": None if type_codes[index] < 0 else type_names[type_codes[index]],
                "value": 100 * float(expected[index]),
                "worst_ties": 100.0 * bool(worst[index]),
                "best_ties": 100.0 * bool(reached[index]),
                "options": int(sizes[index]),
            }
            for index in np.flatnonzero(complete).tolist()
        ]
    return result


def _question_types(questions: Ints, ids: list[Any], types: Any) -> tuple[Ints, list[Any]]:
    """Code of each question's type (−1: unknown) and the types in sorted order."""
    if types is None:
        return np.full(len(ids), -1), []
    codes, names = check_ids(types, "types", len(questions), optional=True)
    per_question = codes[np.unique(questions, return_index=True)[1]]
    if (position := first_true(codes != per_question[questions])) is not None:
        raise InputError(
            f"question {ids[questions[position]]!r} has two types; give questions that share a text their own ids",
            position,
        )
    return per_question, names


def _type_groups(names: list[Any]) -> dict[str, list[int]]:
    """Name in the result -> codes: NExT-QA's coarse types before their subtypes, then other types."""
    groups: dict[str, list[int]] = {}
    order = {name: place for place, name in enumerate(COARSE_TYPES)}
    for name in sorted(names, key=lambda name: (order.get(name, len(order)), str(name))):
        code = names.index(name)
        if name in COARSE_TYPES:
            groups.setdefault(COARSE_TYPES[name], []).append(code)
        groups.setdefault(str(name), []).append(code)
    return groups
