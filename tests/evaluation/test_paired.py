"""The statistics of a comparison, against their definitions."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from synvita_data.annotations.units import units_of_items
from synvita_data.evaluate_metrics.entailment_auc.auc import entailment_by_video
from synvita_data.evaluation.paired import (
    bootstrap_p,
    count_won,
    difference,
    draw,
    holm,
    mcnemar,
    resample_both,
)


def test_draws_are_those_of_a_plain_bootstrap():
    generator = np.random.default_rng(7)
    plain = [np.bincount(generator.integers(0, 5, 5), minlength=5) for _ in range(230)]
    parts = list(draw(5, 230, 7))
    assert [len(part) for part in parts] == [100, 100, 30]
    assert np.concatenate(parts).tolist() == np.array(plain).tolist()


@pytest.mark.parametrize(
    ("resampled", "p"),
    [
        ([0.0] * 9, 1.0),
        ([1.0] * 9, 2 * 1 / 10),
        ([-1.0] * 9, 2 * 1 / 10),
        ([1.0] * 7 + [-1.0] * 2, 2 * 3 / 10),
        ([1.0] * 7 + [0.0] + [-1.0], 2 * 3 / 10),
        ([1.0, -1.0], 1.0),
    ],
)
def test_p_value_by_hand(resampled, p):
    assert bootstrap_p(np.array(resampled)) == pytest.approx(p)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40))
def test_p_value_is_the_same_in_either_direction(values):
    resampled = np.array(values, float)
    assert bootstrap_p(resampled) == bootstrap_p(-resampled)
    assert 2 / (len(values) + 1) <= bootstrap_p(resampled) <= 1


def test_holm_by_hand():
    # 0.01·4, 0.02·3, 0.03·2 and 0.04·1, each at least the one before.
    assert holm([0.03, 0.01, None, 0.04, 0.02]) == pytest.approx([0.06, 0.04, None, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.3]) == [0.3]
    assert holm([None]) == [None]
    assert holm([]) == []


@given(st.lists(st.floats(0.0001, 1), max_size=5), st.floats(0.01, 0.2))
def test_holm_rejects_what_its_steps_reject(p_values, level):
    """Step down: the smallest against level/m, the next against level/(m − 1), until one is not rejected."""
    order, rejected = sorted(range(len(p_values)), key=p_values.__getitem__), set()
    for rank, place in enumerate(order):
        if p_values[place] * (len(p_values) - rank) >= level:
            break
        rejected.add(place)
    assert {place for place, p in enumerate(holm(p_values)) if p < level} == rejected


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 5))
def test_mcnemar_is_the_binomial_test(a_only, b_only, both):
    a = np.array([True] * a_only + [False] * b_only + [True] * both, bool)
    b = np.array([False] * a_only + [True] * b_only + [True] * both, bool)
    found = mcnemar(a, b)
    assert (found.a_only, found.b_only) == (a_only, b_only)
    expected = stats.binomtest(a_only, a_only + b_only).pvalue if a_only + b_only else 1.0
    assert found.p == pytest.approx(expected, abs=1e-12)


def test_mcnemar_of_very_many_items():
    a = np.arange(5000) < 2600
    found = mcnemar(a, ~a)
    assert found.p == pytest.approx(stats.binomtest(2400, 5000).pvalue, rel=1e-9)


def test_items_won():
    found = count_won(np.array([1, 0.5, 0.2, 1 / 3 + 1 / 3]), np.array([0, 0.5, 0.3, 2 / 3]))
    assert (found.won, found.tied, found.lost, found.share) == (1, 2, 1, 50.0)


# --- brute force -------------------------------------------------------------------------------------


def some_rows(seed, videos=8, rows=40, digits=1):
    """Labels, videos and two models' scores with ties; every video has both labels."""
    generator = np.random.default_rng(seed)
    video = np.repeat(np.arange(videos), rows // videos)
    label = np.tile([0, 1], rows // 2)
    scores = [(0.3 * label + generator.random(rows)).round(digits) / 2 for _ in range(2)]
    return label, video, scores


@pytest.mark.parametrize("seed", range(3))
def test_the_bootstrap_of_the_auc_is_the_plain_one(seed):
    label, video, scores = some_rows(seed)
    a, b = (entailment_by_video(each, label, video) for each in scores)

    def weighted(by_video):
        return lambda weights: np.array([by_video.weighted(one)[:1] for one in weights])

    found, _ = resample_both(weighted(a), weighted(b), [], units=8, resamples=60, seed=seed)
    generator, expected = np.random.default_rng(seed), []
    for _ in range(60):
        rows = np.concatenate([np.flatnonzero(video == one) for one in generator.integers(0, 8, 8)])
        expected.append(np.subtract(*(roc_auc_score(label[rows], each[rows]) for each in scores)))
    assert found[:, 0] == pytest.approx(np.array(expected), abs=1e-12)


def items(seed, count=30, owners=7):
    generator = np.random.default_rng(seed)
    of_item = generator.integers(0, owners, count).tolist()
    values = [generator.choice([0, 1 / 3, 0.5, 1], count) for _ in range(2)]
    return of_item, values


def units(of_item, values, **more):
    return units_of_items(
        unit="video",
        of_item=of_item,
        item="question",
        items=list(range(len(of_item))),
        metrics={"accuracy": values},
        **more,
    )


def test_the_bootstrap_of_a_mean_draws_whole_units():
    of_item, values = items(1)
    kinds = ["x" if place % 3 else None for place in range(30)]
    a, b = (units(of_item, each, breakdown={"kind": kinds}) for each in values)
    part = [each.groups["kind"]["x"] for each in (a, b)]
    places = np.array([a.ids.index(one) for one in part[0].ids])
    found, (of_part,) = resample_both(
        a.weighted,
        b.weighted,
        [(places, part[0].weighted, part[1].weighted)],
        units=len(a.ids),
        resamples=50,
        seed=3,
    )
    generator, owner = np.random.default_rng(3), np.array(of_item)
    for resample in range(50):
        drawn = np.array(a.ids)[generator.integers(0, len(a.ids), len(a.ids))]
        rows = np.concatenate([np.flatnonzero(owner == one) for one in drawn])
        assert found[resample, 0] == pytest.approx((values[0] - values[1])[rows].mean(), abs=1e-12)
        of_kind = [row for row in rows if row % 3]
        assert of_part[resample, 0] == pytest.approx((values[0] - values[1])[of_kind].mean(), abs=1e-12)


def test_a_metric_over_other_items_stands_beside():
    found = units(["v", "v", "w"], [1, 0, 1], also={"pairs": (["v", "w"], [0.5, 0.0])})
    assert found.names == ("accuracy", "pairs")
    assert found.weighted(np.array([[1, 1], [2, 0], [0, 1]])).tolist() == [
        [pytest.approx(2 / 3), 0.25],
        [0.5, 0.5],
        [1.0, 0.0],
    ]
    # A unit without an item leaves the metric undefined when only it is drawn.
    other = units(["v"], [1.0], also={"more": (["w"], [1.0])}).weighted(np.array([[2, 0]]))
    assert other[0, 0] == 1.0
    assert math.isnan(other[0, 1])


# --- what must hold of every difference --------------------------------------------------------------


def compared(a, b, seed=0, resamples=199):
    found, _ = resample_both(a.weighted, b.weighted, [], units=len(a.ids), resamples=resamples, seed=seed)
    ones = np.ones((1, len(a.ids)), np.int64)
    return difference(
        float(a.weighted(ones)[0, 0]), float(b.weighted(ones)[0, 0]), found[:, 0], units=len(a.ids)
    )


@given(st.integers(0, 10_000))
def test_swapping_the_models_turns_the_difference_round(seed):
    of_item, values = items(seed)
    a, b = (units(of_item, each) for each in values)
    one, other = compared(a, b), compared(b, a).reversed()
    assert one.p == other.p
    assert one.difference == -compared(b, a).difference
    assert [one.low, one.high] == pytest.approx([other.low, other.high], abs=1e-9)
    assert one.low - 1e-9 <= one.high


@given(st.integers(0, 10_000))
def test_equal_models_do_not_differ(seed):
    of_item, values = items(seed)
    # The same sums in another order of the items, which rounds differently.
    order = np.random.default_rng(seed).permutation(30)
    shuffled = units_of_items(
        unit="video",
        of_item=[of_item[place] for place in order],
        item="question",
        items=order.tolist(),
        metrics={"accuracy": values[0][order]},
    )
    found = compared(units(of_item, values[0]), shuffled)
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_without_a_difference_small_p_values_are_rare():
    """Two models of equal skill whose questions of one video agree: p < 0.1 in about a tenth of the cases."""
    p_values = []
    for seed in range(200):
        generator = np.random.default_rng(seed)
        skill = generator.random((2, 40)).repeat(5, axis=1)  # of each model on each video
        right = (generator.random((2, 200)) < skill).astype(float)
        owners = np.arange(40).repeat(5).tolist()
        p_values.append(compared(units(owners, right[0]), units(owners, right[1]), seed=seed).p)
    # 20 of 200 expected, standard deviation 4.2.
    assert 5 <= sum(p < 0.1 for p in p_values) <= 38
    assert 70 <= sum(p < 0.5 for p in p_values) <= 130


def test_a_real_difference_is_found_and_more_surely_pair_by_pair():
    """Two models that make nearly the same mistakes: the intervals of both overlap, their difference does not hold 0."""
    generator = np.random.default_rng(0)
    first = (generator.random(400) < 0.6).astype(float)
    second = first.copy()
    second[np.flatnonzero(first == 1)[:12]] = 0
    owners = np.arange(400).tolist()
    found = compared(units(owners, first), units(owners, second), resamples=999)
    assert found.difference == pytest.approx(3.0)
    assert found.p < 0.01
    assert found.low > 0


def test_one_unit_says_nothing():
    a, b = units(["v"] * 3, [1, 1, 0]), units(["v"] * 3, [1, 0, 0])
    found = compared(a, b)
    assert found.difference == pytest.approx(100 / 3)
    assert (found.low, found.high, found.p) == (None, None, None)


def test_resamples_in_which_a_metric_is_undefined_count_nowhere():
    resampled = np.array([np.nan, 0.1, 0.2, -0.1])
    found = difference(0.6, 0.5, resampled, units=4)
    assert found.defined == 3
    assert found.p == min(1, 2 * 2 / 4)
    assert difference(0.6, 0.5, np.array([np.nan, np.nan, 0.1]), units=4).p is None


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_order_of_items_does_not_matter(order):
    of_item, values = ["v", "w", "v"], [1.0, 0.5, 0.0]
    found = units_of_items(
        unit="video",
        of_item=[of_item[place] for place in order],
        item="question",
        items=list(order),
        metrics={"accuracy": [values[place] for place in order]},
        right=[values[place] == 1 for place in order],
    )
    assert (found.items, found.values.tolist(), found.right.tolist()) == (
        [0, 1, 2],
        values,
        [True, False, False],
    )
