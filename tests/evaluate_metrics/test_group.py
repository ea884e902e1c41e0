"""Group score against brute force over every order of tied scores."""

import doctest
import itertools
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.evaluate_metrics._shared.inputs import InputError
from synvita_data.evaluate_metrics.group_score import group as module
from synvita_data.evaluate_metrics.group_score.group import group_score

CELLS = ((0, 0), (0, 1), (1, 0), (1, 1))
NAMES = ("text", "video", "group")

# Four scores of few levels, in the order of CELLS, and a category.
cases = st.lists(
    st.tuples(st.lists(st.sampled_from([-1.0, 0.0, 0.5]), min_size=4, max_size=4), st.sampled_from("ab")),
    min_size=1,
    max_size=4,
)


def columns_of(groups):
    rows = [
        (score, *CELLS[cell], f"group {number}")
        for number, (scores, _) in enumerate(groups)
        for cell, score in enumerate(scores)
    ]
    scores, video, caption, ids = (list(column) for column in zip(*rows, strict=True))
    return {"scores": scores, "video": video, "caption": caption, "groups": ids}


def outcomes(scores):
    """Text, video and group of one group in every order of its scores that keeps the untied ones in order."""
    for order in itertools.permutations(range(4)):
        if all(scores[a] <= scores[b] for a, b in itertools.pairwise(order)):
            s = {cell: order.index(place) for place, cell in enumerate(CELLS)}
            text = s[0, 0] > s[0, 1] and s[1, 1] > s[1, 0]
            video = s[0, 0] > s[1, 0] and s[1, 1] > s[0, 1]
            yield {"text": text, "video": video, "group": text and video}


def by_brute_force(groups, name):
    """Expected, worst and best share in percent."""
    each = [[outcome[name] for outcome in outcomes(scores)] for scores, _ in groups]
    return [
        100 * sum(values) / len(groups)
        for values in (
            [Fraction(sum(ways), len(ways)) for ways in each],
            [min(ways) for ways in each],
            [max(ways) for ways in each],
        )
    ]


@given(cases)
def test_expectation_and_bounds_over_every_order_of_ties(groups):
    categories = [category for _, category in groups for _ in CELLS]
    result = group_score(**columns_of(groups), breakdown={"major": categories}, resamples=0, per_group=True)
    parts = {value: [case for case in groups if case[1] == value] for value in sorted({*categories})}
    assert list(result["breakdown"]["major"]) == list(parts)
    for found, chosen in [(result, groups)] + [
        (result["breakdown"]["major"][value], part) for value, part in parts.items()
    ]:
        for name in NAMES:
            exact = by_brute_force(chosen, name)
            assert [found[name][key] for key in ("value", "worst_ties", "best_ties")] == [
                pytest.approx(float(value), abs=1e-12) for value in exact
            ]
            assert (found[name]["k"], found[name]["n"]) == (len(chosen), len(chosen))
    assert [row["id"] for row in result["groups"]] == sorted({*columns_of(groups)["groups"]})
    for row, case in zip(result["groups"], groups, strict=True):
        assert [row[name] for name in NAMES] == [
            pytest.approx(float(by_brute_force([case], name)[0])) for name in NAMES
        ]


@given(cases, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing_to_the_bit(groups, random):
    columns = columns_of(groups) | {"category": [category for _, category in groups for _ in CELLS]}
    order = list(range(len(columns["scores"])))
    random.shuffle(order)
    results = []
    for places in (sorted(order), order):
        mixed = {name: [column[place] for place in places] for name, column in columns.items()}
        breakdown = {"category": mixed.pop("category")}
        results.append(group_score(**mixed, breakdown=breakdown, resamples=20, per_group=True))
    assert json.dumps(results[0]) == json.dumps(results[1])


@given(cases)
def test_swapping_the_two_sides_or_negating_all_scores_does_what_it_must(groups):
    columns = columns_of(groups)
    result = group_score(**columns, resamples=0)
    # Other names for the two videos and their captions change nothing.
    renamed = columns | {name: [1 - side for side in columns[name]] for name in ("video", "caption")}
    assert json.dumps(group_score(**renamed, resamples=0)) == json.dumps(result)
    # Videos for captions: text and video change places.
    turned = group_score(**columns | {"video": columns["caption"], "caption": columns["video"]}, resamples=0)
    assert (turned["text"], turned["video"], turned["group"]) == (
        result["video"],
        result["text"],
        result["group"],
    )
    assert result["group"]["value"] <= min(result["text"]["value"], result["video"]["value"]) + 1e-12


def test_a_constant_model_and_a_random_one_have_the_values_of_chance():
    constant = group_score(**columns_of([([0.3] * 4, "a")] * 5), resamples=0)
    assert [constant[name]["value"] for name in NAMES] == [25.0, 25.0, pytest.approx(100 / 6)]
    assert constant["chance"] == {"text": 25.0, "video": 25.0, "group": pytest.approx(100 / 6)}
    generator = np.random.default_rng(0)
    count = 20_000
    drawn = group_score(
        generator.random(4 * count),
        np.tile([0, 0, 1, 1], count),
        np.tile([0, 1, 0, 1], count),
        np.repeat(np.arange(count), 4),
        resamples=0,
    )
    for name in NAMES:
        assert drawn[name]["value"] == pytest.approx(drawn["chance"][name], abs=1.2)  # four deviations


def test_the_interval_is_about_that_of_the_central_limit_theorem():
    generator = np.random.default_rng(1)
    groups = [(generator.random(4).round(1).tolist(), "a") for _ in range(800)]
    result = group_score(**columns_of(groups), resamples=4000, per_group=True)
    for name in NAMES:
        values = [row[name] for row in result["groups"]]
        assert np.mean(values) == pytest.approx(result[name]["value"])
        width = result[name]["high"] - result[name]["low"]
        assert width == pytest.approx(2 * 1.96 * np.std(values) / np.sqrt(len(values)), rel=0.08)
    assert result["bootstrap"]["unit"] == "group"


def test_incomplete_groups_are_counted_when_allowed():
    groups = [([0.9, 0.1, 0.2, 0.8], "a"), ([0.9, 0.1, 0.2, 0.8], "b"), ([0.1, 0.9, 0.2, 0.8], "b")]
    columns = columns_of(groups)
    columns["scores"][5] = float("nan")
    scored = [True] * 5 + [False] + [True] * 6
    with pytest.raises(InputError, match="no score") as error:
        group_score(**columns, scored=scored)
    assert error.value.position == 5
    categories = {"category": [category for _, category in groups for _ in CELLS]}
    result = group_score(**columns, scored=scored, partial=True, resamples=0, breakdown=categories)
    assert [(result[name]["k"], result[name]["n"], result[name]["value"]) for name in NAMES] == [
        (2, 3, 50.0),
        (2, 3, 100.0 - 50.0),
        (2, 3, 50.0),
    ]
    assert (result["breakdown"]["category"]["b"]["text"]["k"]) == 1

    # A group of three rows.
    rows = {name: column[:6] + column[7:] for name, column in columns_of(groups).items()}
    with pytest.raises(
        InputError, match="'group 1' has 3 of 4 rows: none of video 1 with caption 0"
    ) as error:
        group_score(**rows)
    assert error.value.position == 4
    assert group_score(**rows, partial=True, resamples=0)["group"]["k"] == 2
    with pytest.raises(InputError, match="no group has a score"):
        group_score([0.5] * 3, [0, 0, 1], [0, 1, 0], ["g"] * 3, partial=True)


def test_a_group_without_a_category_is_in_no_breakdown():
    columns = columns_of([([0.9, 0.1, 0.2, 0.8], "a")] * 2)
    result = group_score(**columns, breakdown={"minor": [None] * 4 + ["cyclical"] * 4}, resamples=0)
    assert result["text"]["n"] == 2
    assert result["breakdown"]["minor"]["cyclical"]["text"]["n"] == 1


@pytest.mark.parametrize(
    ("change", "message", "position"),
    [
        ({"scores": [0.1, np.nan, 0.3, 0.4]}, "finite", 1),
        ({"video": [0, 0, 1, 2]}, "the video is 2", 3),
        ({"caption": [0, "1", 0, 1]}, "the caption is '1'", 1),
        ({"caption": [0, 1, 0, 0]}, "'g' has video 1 with caption 0 twice", 3),
        ({"groups": ["g", "g", "g", None]}, "missing", 3),
        ({"groups": ["g", "g", "g", "h"]}, "'g' has 3 of 4 rows", 0),
        ({"video": [0, 0, 1]}, "3 entries for 4", None),
        ({"breakdown": {"major": ["a", "a", "b", "a"]}}, "'g' has two different values of 'major'", 2),
        ({"resamples": -1}, "resamples", None),
    ],
)
def test_bad_input_names_its_position(change, message, position):
    good = columns_of([([0.9, 0.1, 0.2, 0.8], "a")]) | {"groups": ["g"] * 4}
    group_score(**good, resamples=0)
    with pytest.raises(InputError, match=message) as error:
        group_score(**good | change)
    assert error.value.position == position


def test_docstring_examples():
    done = doctest.testmod(module)
    assert done.attempted >= 3
    assert done.failed == 0
