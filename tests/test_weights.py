"""Weights against the formulas of the paper written out for plain numbers."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.errors import ScoreError, SynvitaError
from synvita_data.weights import WEIGHTINGS, ModelScore, mean_scores, weigh, weight

PROBABILITY = st.floats(0, 1)


def by_hand(name: str, s: float, r: float) -> float:
    """s: f̄(V^s,t^s), r: f̄(V^s,t^r)."""
    if name == "difference":
        return s - r if s > r else 0.0
    if name == "fixed":
        return 1.0
    if name == "match":
        return s
    if name == "product":
        return s * (1 - r)
    return 1.0 if s > r else 0.0


def scores(*pairs: tuple[float, float]) -> list[ModelScore]:
    return [ModelScore(f"m{i}", s, r) for i, (s, r) in enumerate(pairs)]


def test_names_of_the_paper():
    assert list(WEIGHTINGS) == ["difference", "fixed", "match", "product", "indicator"]


@pytest.mark.parametrize("name", WEIGHTINGS)
@given(st.lists(st.tuples(PROBABILITY, PROBABILITY), max_size=6))
def test_many_rows(name, pairs):
    neg, cap = [s for s, _ in pairs], [r for _, r in pairs]
    weights = weigh(neg, cap, name)
    assert weights.dtype == np.float64
    assert weights.tolist() == [by_hand(name, s, r) for s, r in pairs]


@pytest.mark.parametrize("name", WEIGHTINGS)
@given(st.lists(st.tuples(PROBABILITY, PROBABILITY), min_size=1, max_size=5))
def test_one_row_is_weighed_by_the_mean_over_models(name, pairs):
    s, r = (math.fsum(column) / len(pairs) for column in zip(*pairs, strict=True))
    value = weight(scores(*pairs), name)
    assert type(value) is float
    assert value == by_hand(name, s, r)
    assert 0 <= value <= 1


def test_default_is_eq_4():
    three = scores((0.9, 0.2), (0.6, 0.5), (0.3, 0.5))
    assert weight(three) == pytest.approx(0.6 - 0.4)
    assert weigh(0.6, 0.4) == pytest.approx(0.2)
    assert weigh([0.4], [0.6]).tolist() == [0.0]
    assert weigh([0.4], [0.4], "indicator").tolist() == [0.0]


def test_shapes():
    neg, cap = np.array([[0.1], [0.9]]), np.array([0.2, 0.5, 0.9])
    for name in WEIGHTINGS:
        table = weigh(neg, cap, name)
        assert table.shape == (2, 3)
        assert table[1, 1] == by_hand(name, 0.9, 0.5)
        assert weigh([], [], name).shape == (0,)
    neg32 = np.array([0.1, 0.9], dtype=np.float32)
    assert weigh(neg32, neg32, "match").dtype == np.float64
    match = weigh(neg, neg, "match")
    match[:] = 0  # a copy: the scores stay
    assert neg.tolist() == [[0.1], [0.9]]


def test_order_of_models_does_not_reach_the_last_bit():
    three = scores((0.1, 0.7), (0.2, 1e-17), (0.3, 0.3))
    assert len({mean_scores(list(order)) for order in permutations(three)}) == 1


@pytest.mark.parametrize("bad", [math.nan, -0.001, 1.0001, math.inf, -math.inf])
@pytest.mark.parametrize("name", WEIGHTINGS)
def test_values_that_are_no_probabilities(bad, name):
    for pair in ((bad, 0.5), (0.5, bad)):
        with pytest.raises(ScoreError, match=r"model m1"):
            weight(scores((0.5, 0.5), pair), name)
        with pytest.raises(ScoreError, match="row 2"):
            weigh([0.1, 0.2, pair[0]], [0.1, 0.2, pair[1]], name)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_no_scores(name):
    with pytest.raises(ScoreError, match="no scores"):
        weight([], name)
    with pytest.raises(ScoreError, match="no scores"):
        mean_scores(())


def test_models():
    two = scores((0.5, 0.4), (0.5, 0.4))
    assert weight(two, models={"m1", "m0"}) == pytest.approx(0.1)
    with pytest.raises(ScoreError, match="score of m2 is missing"):
        weight(two, models=["m0", "m1", "m2"])
    with pytest.raises(ScoreError, match="score of m1 was not expected"):
        weight(two, models=["m0"])
    with pytest.raises(ScoreError, match="two scores of m0"):
        weight([two[0], two[0]])


def test_unknown_name():
    for call in (lambda: weight(scores((0.5, 0.5)), "linear"), lambda: weigh([0.5], [0.5], "linear")):
        with pytest.raises(SynvitaError, match="difference, fixed, match, product, indicator"):
            call()
