"""Multiple choice against brute force over every choice among tied options."""

import doctest
import itertools
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.evaluate_metrics._shared.inputs import InputError
from synvita_data.evaluate_metrics.multiple_choice_accuracy import choice as module
from synvita_data.evaluate_metrics.multiple_choice_accuracy.choice import multiple_choice_accuracy


@st.composite
def questions(draw):
    """Up to four questions: scores of few levels, the right option, a type."""
    result = []
    for _ in range(draw(st.integers(1, 4))):
        scores = draw(st.lists(st.sampled_from([0.0, 0.5, 0.9]), min_size=2, max_size=5))
        right = draw(st.integers(0, len(scores) - 1))
        result.append((scores, right, draw(st.sampled_from(["CW", "CH", "TN", "TC", "TP"]))))
    return result


def columns_of(cases):
    rows = [
        (score, int(option == right), f"question {number}", option, type_)
        for number, (scores, right, type_) in enumerate(cases)
        for option, score in enumerate(scores)
    ]
    scores, labels, ids, options, types = (list(column) for column in zip(*rows, strict=True))
    return {"scores": scores, "labels": labels, "questions": ids, "options": options, "types": types}


def accuracies(cases):
    """Accuracy of every way to choose one best option in each question."""
    best = [[i for i, score in enumerate(scores) if score == max(scores)] for scores, _, _ in cases]
    right = [answer for _, answer, _ in cases]
    for chosen in itertools.product(*best):
        yield Fraction(sum(c == r for c, r in zip(chosen, right, strict=True)), len(cases))


@given(questions())
def test_expectation_and_bounds_over_every_choice_among_ties(cases):
    result = multiple_choice_accuracy(**columns_of(cases), resamples=0)
    groups = {"C": ("CW", "CH"), "T": ("TN", "TC", "TP")} | {t: (t,) for t in ("CW", "CH", "TN", "TC", "TP")}
    expected = {name: [case for case in cases if case[2] in types] for name, types in groups.items()}
    found = dict(result["types"]) | {"all": result["accuracy"]}
    expected = {name: chosen for name, chosen in expected.items() if chosen} | {"all": cases}
    assert found.keys() == expected.keys()
    for name, chosen in expected.items():
        values = list(accuracies(chosen))
        assert found[name]["value"] == pytest.approx(100 * float(sum(values) / len(values)))
        assert found[name]["worst_ties"] == pytest.approx(100 * float(min(values)))
        assert found[name]["best_ties"] == pytest.approx(100 * float(max(values)))
        assert (found[name]["k"], found[name]["n"]) == (len(chosen), len(chosen))
    assert result["chance"] == pytest.approx(np.mean([100 / len(scores) for scores, _, _ in cases]))


@given(questions(), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing_to_the_bit(cases, random):
    columns = columns_of(cases)
    order = list(range(len(columns["scores"])))
    random.shuffle(order)
    mixed = {name: [column[i] for i in order] for name, column in columns.items()}
    results = [multiple_choice_accuracy(**c, resamples=20, per_question=True) for c in (columns, mixed)]
    assert json.dumps(results[0]) == json.dumps(results[1])


def random_questions(count, seed=0):
    generator = np.random.default_rng(seed)
    return [
        (
            generator.random(5).round(1).tolist(),
            int(generator.integers(5)),
            str(generator.choice(["CW", "TN"])),
        )
        for _ in range(count)
    ]


def test_the_interval_is_about_that_of_the_central_limit_theorem():
    columns = columns_of(random_questions(800))
    result = multiple_choice_accuracy(**columns, resamples=4000, per_question=True)
    values = [row["value"] for row in result["questions"]]
    assert np.mean(values) == pytest.approx(result["accuracy"]["value"])
    width = result["accuracy"]["high"] - result["accuracy"]["low"]
    assert width == pytest.approx(2 * 1.96 * np.std(values) / np.sqrt(len(values)), rel=0.08)
    narrower = multiple_choice_accuracy(**columns, resamples=4000, level=0.5)["accuracy"]
    assert narrower["high"] - narrower["low"] == pytest.approx(width * 0.6745 / 1.96, rel=0.12)


def test_types_come_in_the_order_of_nextqa_and_unknown_types_last():
    types = ["TP", "zoom", "CH", None, "TN", "CW"]
    cases = [([0.9, 0.1], 0, type_) for type_ in types]
    result = multiple_choice_accuracy(**columns_of(cases), resamples=0)
    assert list(result["types"]) == ["C", "CW", "CH", "T", "TN", "TP", "zoom"]
    assert result["accuracy"]["n"] == 6


def test_questions_are_told_apart_by_id_though_one_video_repeats_the_text():
    # The official script joins these into one question of ten options and drops it.
    cases = [([0.9, 0.1, 0.2, 0.3, 0.4], 0, "CW"), ([0.9, 0.1, 0.2, 0.3, 0.4], 1, "TN")]
    result = multiple_choice_accuracy(**columns_of(cases), resamples=0)
    assert result["options"] == {"5": 2}
    assert {name: value["value"] for name, value in result["types"].items()} == {
        "C": 100.0,
        "CW": 100.0,
        "T": 0.0,
        "TN": 0.0,
    }


def test_incomplete_questions_are_counted_when_allowed():
    cases = [([0.9, 0.1, 0.2], 0, "CW"), ([0.9, 0.1, 0.2], 1, "CW"), ([0.5, 0.5, 0.2], 0, "TN")]
    columns = columns_of(cases)
    columns["scores"][1] = float("nan")
    scored = [True, False] + [True] * 7
    with pytest.raises(InputError, match="no score") as error:
        multiple_choice_accuracy(**columns, scored=scored)
    assert error.value.position == 1
    result = multiple_choice_accuracy(**columns, scored=scored, partial=True, resamples=0)
    assert (result["accuracy"]["k"], result["accuracy"]["n"], result["accuracy"]["value"]) == (2, 3, 25.0)
    assert (result["types"]["CW"]["k"], result["types"]["CW"]["n"]) == (1, 2)

    # An absent row (a gap in the options) and an absent right option are coverage, too.
    for absent in (4, 6):
        rows = {name: column[:absent] + column[absent + 1 :] for name, column in columns_of(cases).items()}
        with pytest.raises(InputError):
            multiple_choice_accuracy(**rows)
        result = multiple_choice_accuracy(**rows, partial=True, resamples=0)
        assert (result["accuracy"]["k"], result["accuracy"]["n"]) == (2, 3)


def test_clusters_are_drawn_with_all_their_questions():
    generator = np.random.default_rng(0)
    right = generator.random(200) < 0.6
    videos = np.repeat(np.arange(200), 3)  # a video answers all its three questions, or none
    columns = {
        "scores": np.stack([right[videos], ~right[videos]], axis=1).reshape(-1).astype(float),
        "labels": np.tile([1, 0], 600),
        "questions": np.repeat(np.arange(600), 2),
    }
    width = {}
    for unit, clusters in (("question", None), ("cluster", np.repeat(videos, 2))):
        result = multiple_choice_accuracy(**columns, clusters=clusters, resamples=3000)
        width[unit] = result["accuracy"]["high"] - result["accuracy"]["low"]
        assert result["bootstrap"]["unit"] == unit
        count = 600 if unit == "question" else 200  # by the central limit theorem
        assert width[unit] == pytest.approx(100 * 2 * 1.96 * right.std() / np.sqrt(count), rel=0.1)
    # A cluster each question is no cluster.
    alone = multiple_choice_accuracy(**columns, clusters=columns["questions"], resamples=500)
    assert alone["accuracy"] == multiple_choice_accuracy(**columns, resamples=500)["accuracy"]


@pytest.mark.parametrize(
    ("change", "message", "position"),
    [
        ({"scores": [0.1, 0.2, 0.3, np.inf, 0.5]}, "finite", 3),
        ({"labels": [0, 0, 1, 0, 0]}, "'p' has no right option", 0),
        ({"labels": [1, 1, 1, 0, 0]}, "'p' has 2 right options", 0),
        ({"options": [0, 0, 0, 1, 2]}, "'p' has option 0 twice", 1),
        ({"options": [0, 1, 0, 1, 3]}, "'q' misses an option", 2),
        ({"options": [-1, 0, 0, 1, 2]}, "negative", 0),
        ({"questions": ["p", "q", "q", "q", "q"], "labels": [1, 0, 0, 0, 1]}, "only one option", 0),
        ({"options_per_question": 3}, "'p' does not have 3 options", 0),
        ({"options_per_question": 2}, "'q' has 3 options", 2),
        ({"types": ["CW", "TN", "TN", "TN", "TN"]}, "two types", 1),
        ({"clusters": ["v", "w", "w", "w", "w"]}, "question 'p' has two different clusters", 1),
        ({"questions": ["p", "p", None, "q", "q"]}, "missing", 2),
    ],
)
def test_bad_input_names_its_position(change, message, position):
    good = {
        "scores": [0.1, 0.2, 0.3, 0.4, 0.5],
        "labels": [1, 0, 1, 0, 0],
        "questions": ["p", "p", "q", "q", "q"],
    }
    multiple_choice_accuracy(**good, resamples=0)
    with pytest.raises(InputError, match=message) as error:
        multiple_choice_accuracy(**good | change)
    assert error.value.position == position


def test_docstring_examples():
    assert doctest.testmod(module).attempted >= 3
    assert doctest.testmod(module).failed == 0
