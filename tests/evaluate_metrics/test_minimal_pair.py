"""Minimal-pair accuracy against brute force over every choice that ties leave open."""

import doctest
import itertools
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.evaluate_metrics._shared.inputs import InputError
from synvita_data.evaluate_metrics._shared.intervals import cluster_sums, mean_interval, ratio_interval
from synvita_data.evaluate_metrics.minimal_pair_accuracy import minimal_pair as module
from synvita_data.evaluate_metrics.minimal_pair_accuracy.minimal_pair import minimal_pair_accuracy
from synvita_data.evaluate_metrics.multiple_choice_accuracy.choice import multiple_choice_accuracy

LEVELS = st.sampled_from([-1.0, 0.0, 0.5])


@st.composite
def questions(draw):
    """(scores, right) with several options, or ([score], label) asked yes or no, at the threshold 0."""
    scores = draw(st.lists(LEVELS, min_size=1, max_size=4))
    return scores, draw(st.integers(0, 1 if len(scores) == 1 else len(scores) - 1))


# Pairs of two questions, questions in none, and an aspect of each.
cases = st.lists(
    st.tuples(st.lists(questions(), min_size=1, max_size=2), st.sampled_from("xy")), min_size=1, max_size=4
)


def columns_of(groups):
    """Rows of the questions; those of a list of two are a pair."""
    rows = []
    for place, (members, aspect) in enumerate(groups):
        for number, (scores, right) in enumerate(members):
            pair = f"pair {place}" if len(members) == 2 else None
            for option, score in enumerate(scores):
                single = len(scores) == 1
                label = right if single else int(option == right)
                rows.append(
                    (score, label, f"question {place}.{number}", pair, None if single else option, aspect)
                )
    names = ("scores", "labels", "questions", "pairs", "options", "aspect")
    return dict(zip(names, (list(column) for column in zip(*rows, strict=True)), strict=True))


def answers(question):
    """Right or wrong for every choice among the best options, or both answers at the threshold."""
    scores, right = question
    if len(scores) == 1:
        return [True, False] if scores[0] == 0 else [(scores[0] > 0) == bool(right)]
    return [option == right for option, score in enumerate(scores) if score == max(scores)]


def by_brute_force(units):
    """Expected, worst and best share of units (lists of questions) of which all questions are right."""
    each = [[all(chosen) for chosen in itertools.product(*map(answers, unit))] for unit in units]
    return [
        100 * sum(values) / len(units)
        for values in (
            [Fraction(sum(ways), len(ways)) for ways in each],
            [min(ways) for ways in each],
            [max(ways) for ways in each],
        )
    ]


def check(found, units):
    if not units:
        assert found == {"value": None, "low": None, "high": None, "worst_ties": None, "best_ties": None} | {
            "k": 0,
            "n": 0,
        }
        return
    expected = [pytest.approx(float(value), abs=1e-12) for value in by_brute_force(units)]
    assert [found["value"], found["worst_ties"], found["best_ties"]] == expected
    assert (found["k"], found["n"]) == (len(units), len(units))


@given(cases)
def test_expectation_and_bounds_over_every_choice_among_ties(groups):
    columns = columns_of(groups)
    aspects = columns.pop("aspect")
    if not any(columns["pairs"]):
        columns["pairs"] = None
    result = minimal_pair_accuracy(**columns, kind="log_odds", breakdown={"aspect": aspects}, resamples=0)
    for found, chosen in [(result, groups)] + [
        (result["breakdown"]["aspect"][value], [g for g in groups if g[1] == value])
        for value in sorted({*aspects})
    ]:
        check(found["accuracy"], [[question] for members, _ in chosen for question in members])
        pairs = [members for members, _ in chosen if len(members) == 2]
        if columns["pairs"] is None:
            assert found["pair_accuracy"] is None
        else:
            check(found["pair_accuracy"], pairs)


@given(cases, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing_to_the_bit(groups, random):
    columns = columns_of([([([0.5], 1), ([0.5, 0.5, 0.5], 1)], "x"), *groups])
    columns["clusters"] = [f"video {ord(aspect) % 2}" for aspect in columns.pop("aspect")]
    order = list(range(len(columns["scores"])))
    random.shuffle(order)
    mixed = {name: [column[place] for place in order] for name, column in columns.items()}
    results = [
        minimal_pair_accuracy(**c, kind="log_odds", resamples=20, per_question=True) for c in (columns, mixed)
    ]
    assert json.dumps(results[0]) == json.dumps(results[1])


@given(st.lists(questions().filter(lambda q: len(q[0]) > 1), min_size=1, max_size=5))
def test_with_options_only_it_is_multiple_choice_accuracy(asked):
    columns = columns_of([([question], "x") for question in asked])
    del columns["aspect"], columns["pairs"]
    found = minimal_pair_accuracy(**columns, kind="similarity", resamples=30)
    expected = multiple_choice_accuracy(**columns, resamples=30)
    assert found["accuracy"] == expected["accuracy"]
    # Two ways of taking the mean of 100 / options: the last bit may differ.
    assert found["chance"] == {
        "accuracy": pytest.approx(expected["chance"], rel=1e-12),
        "pair_accuracy": None,
    }
    assert found["options"] == expected["options"]


def test_thresholds_and_chance_of_yes_and_no():
    asked = {"labels": [1, 0, 1, 0], "questions": [1, 2, 3, 4], "pairs": ["a", "a", "b", "b"], "resamples": 0}
    odds = minimal_pair_accuracy([2.0, -0.1, 0.4, 0.0], **asked, kind="log_odds")
    share = minimal_pair_accuracy([0.9, 0.4, 0.6, 0.5], **asked)
    for result in (odds, share):
        assert (result["accuracy"]["value"], result["pair_accuracy"]["value"]) == (87.5, 75.0)
        assert result["chance"] == {"accuracy": 50.0, "pair_accuracy": 25.0}
        assert result["options"] == {"1": 4}
    # A model that always says yes is half right, and never right about a pair of opposite answers.
    yes = minimal_pair_accuracy([0.9] * 4, **asked)
    assert (yes["accuracy"]["value"], yes["pair_accuracy"]["value"]) == (50.0, 0.0)
    mixed = minimal_pair_accuracy(
        [0.9, 0.1, 0.2, 0.8], [1, 0, 0, 1], ["p", "p", "p", "q"], ["a"] * 4, resamples=0
    )
    assert mixed["chance"] == {
        "accuracy": pytest.approx(100 * (1 / 3 + 1 / 2) / 2),
        "pair_accuracy": pytest.approx(100 / 6),
    }


def random_pairs(count, seed=0):
    """Pairs of two-option questions whose scores depend on a common part of their video."""
    generator = np.random.default_rng(seed)
    videos = np.repeat(np.arange(count), 4)  # two pairs a video, two questions a pair
    easy = generator.normal(0.5, 2, count)[videos] + generator.normal(0, 0.5, 4 * count)
    return {
        "scores": np.where(easy > 0, 1.0, -1.0),
        "labels": np.ones(4 * count, int),
        "questions": np.arange(4 * count),
        "pairs": np.repeat(np.arange(2 * count), 2),
    }, videos


def test_intervals_draw_whole_pairs_or_clusters():
    columns, videos = random_pairs(300)
    width = {}
    for name, clusters in (("pair", None), ("cluster", videos), ("alone", None)):
        chosen = columns | ({"pairs": None} if name == "alone" else {})
        result = minimal_pair_accuracy(**chosen, kind="log_odds", clusters=clusters, resamples=3000)
        width[name] = result["accuracy"]["high"] - result["accuracy"]["low"]
        assert result["bootstrap"]["unit"] == ("question" if name == "alone" else name)
    right = (columns["scores"] > 0).astype(float)
    for name, size in (("alone", 1), ("pair", 2), ("cluster", 4)):  # by the central limit theorem
        means = right.reshape(-1, size).mean(axis=1)
        assert width[name] == pytest.approx(100 * 2 * 1.96 * means.std() / np.sqrt(len(means)), rel=0.1)
    assert width["alone"] < width["pair"] < width["cluster"]


def test_clusters_of_different_sizes_are_drawn_as_indices_would_be():
    generator = np.random.default_rng(3)
    clusters = generator.integers(0, 40, 150)
    values = generator.choice([0.0, 0.5, 1.0], 150)
    sums, counts = cluster_sums(values, clusters)
    assert sums.tolist() == [values[clusters == code].sum() for code in np.unique(clusters)]
    draws = generator.integers(0, len(sums), (20_000, len(sums)))
    naive = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    found = ratio_interval(sums, counts, resamples=20_000, level=0.95, seed=2)
    assert found == pytest.approx(np.quantile(naive, [0.025, 0.975]), abs=0.004)
    assert ratio_interval(values, np.ones(150), resamples=50, level=0.9, seed=1) == mean_interval(
        values, resamples=50, level=0.9, seed=1
    )


def test_incomplete_questions_and_pairs_are_counted_when_allowed():
    groups = [([([0.5], 1), ([-1.0], 0)], "x"), ([([0.5, -1.0], 0), ([0.5, 0.0, 0.2], 1)], "x")]
    columns = columns_of(groups)
    del columns["aspect"]
    columns["scores"][1] = float("nan")
    scored = [True, False] + [True] * 5
    with pytest.raises(InputError, match="no score") as error:
        minimal_pair_accuracy(**columns, kind="log_odds", scored=scored)
    assert error.value.position == 1
    result = minimal_pair_accuracy(**columns, kind="log_odds", scored=scored, partial=True, resamples=0)
    assert (result["accuracy"]["k"], result["accuracy"]["n"]) == (3, 4)
    assert (result["pair_accuracy"]["k"], result["pair_accuracy"]["n"]) == (1, 2)
    assert result["accuracy"]["value"] == pytest.approx(100 * 2 / 3)

    # An absent option leaves a gap: without `options` the question of one row would be taken for yes or no.
    columns = columns_of(groups)
    rows = {name: column[:2] + column[3:] for name, column in columns.items() if name != "aspect"}
    with pytest.raises(InputError, match=r"'question 1\.0' misses an option|only one option"):
        minimal_pair_accuracy(**rows, kind="log_odds")
    result = minimal_pair_accuracy(**rows, kind="log_odds", partial=True, resamples=0)
    assert (result["accuracy"]["k"], result["pair_accuracy"]["k"], result["pair_accuracy"]["n"]) == (3, 1, 2)

    # An absent question leaves a pair of one.
    rows = {name: column[1:] for name, column in columns.items() if name != "aspect"}
    with pytest.raises(InputError, match="'pair 0' has 1 questions, not two"):
        minimal_pair_accuracy(**rows, kind="log_odds")
    result = minimal_pair_accuracy(**rows, kind="log_odds", partial=True, resamples=0)
    assert (result["pair_accuracy"]["k"], result["pair_accuracy"]["n"]) == (1, 2)


@pytest.mark.parametrize(
    ("change", "message", "position"),
    [
        ({"scores": [0.1, 0.2, np.inf, 0.4, 0.5]}, "finite", 2),
        ({"scores": [0.1, 0.2, 1.5, 0.4, 0.5]}, "not a probability", 2),
        ({"labels": [1, 0, 1, 0, 2]}, "the label is 2", 4),
        ({"labels": [0, 0, 1, 0, 1]}, "'p' has no right option", 0),
        ({"labels": [1, 1, 1, 0, 1]}, "'p' has 2 right options", 0),
        ({"kind": "similarity"}, "'r' is asked yes or no", 2),
        ({"kind": "cosine"}, "kind='cosine'", None),
        ({"options": [0, 0, None, None, None]}, "'p' has option 0 twice", 1),
        ({"options": [0, 2, None, None, None]}, "'p' misses an option", 0),
        ({"options": [0, None, None, None, None]}, "'p' has 2 rows, 1 of them without", 0),
        ({"options": [0, 1, 0, None, None]}, "'r' has only one option", 2),
        ({"pairs": ["x", "x", "x", "y", None]}, "'y' has 1 questions", 3),
        ({"pairs": ["x", "x", "x", "x", None]}, "'x' has 3 questions, not two", 0),
        ({"pairs": ["x", "y", "x", "y", None]}, "'p' has two different pairs", 1),
        ({"pairs": [None] * 5}, "no question in a pair", None),
        ({"clusters": ["v", "w", "v", "v", "v"]}, "'p' has two different clusters", 1),
        ({"clusters": ["v", "v", "w", "v", "v"]}, "pair 'x' has two different clusters; .* whole pairs", 2),
        ({"clusters": ["v", "v", None, "v", "v"]}, "missing", 2),
        ({"breakdown": {"aspect": ["a", "b", "a", "a", "a"]}}, "'p' has two different values of 'aspect'", 1),
        ({"breakdown": {"aspect": ["a", "a", "b", "a", "a"]}}, "'x' has two different values of 'aspect'", 2),
    ],
)
def test_bad_input_names_its_position(change, message, position):
    good = {
        "scores": [0.9, 0.2, 0.3, 0.4, 0.5],
        "labels": [1, 0, 1, 0, 1],
        "questions": ["p", "p", "r", "s", "t"],
        "pairs": ["x", "x", "x", None, None],
    }
    minimal_pair_accuracy(**good, resamples=0)
    with pytest.raises(InputError, match=message) as error:
        minimal_pair_accuracy(**good | change)
    assert error.value.position == position


@pytest.mark.parametrize("partial", [False, True])
def test_a_pair_of_three_is_an_error_even_with_partial_results(partial):
    with pytest.raises(InputError, match="'x' has 3 questions, not two") as error:
        minimal_pair_accuracy([0.9] * 3, [1] * 3, [1, 2, 3], ["x"] * 3, partial=partial)
    assert error.value.position == 0


def test_docstring_examples():
    done = doctest.testmod(module)
    assert done.attempted >= 3
    assert done.failed == 0
