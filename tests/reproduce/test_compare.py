"""Bands and verdicts: against closed forms, brute force and another library's AUC."""

import math
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_results import record, write

from synvita_data.errors import SchemaError
from synvita_data.evaluation.results import safe_name
from synvita_data.reproduce.cells import RESULTS, measure_cell, result_name
from synvita_data.reproduce.compare import (
    NO_VALUE,
    OFF,
    ORDER_KEPT,
    WITHIN,
    Band,
    band,
    is_within,
    jittered,
    keeps_order,
    reach,
    to_log_odds,
    verdict,
)

NUMBERS = st.floats(0, 100)


def auc(scores, labels):
    """Percent, by comparing everything with everything."""
    above = scores[labels == 1][:, None] - scores[labels == 0][None, :]
    return 100 * float(np.mean((above > 0) + 0.5 * (above == 0)))


def test_the_mean_of_jittered_aucs_is_the_closed_form():
    """E[AUC] is the mean over comparisons of Φ((x − y) / (σ √2))."""
    generator = np.random.default_rng(5)
    scores, labels = generator.normal(size=40), np.repeat([1, 0], 20)
    sigma, draws = 0.8, 4000
    values = jittered(
        lambda moved: auc(moved, labels), scores, np.arange(40), sigma=sigma, draws=draws, seed=1
    )
    apart = (scores[:20, None] - scores[None, 20:]) / (sigma * math.sqrt(2))
    expected = 100 * float(np.mean([NormalDist().cdf(each) for each in apart.ravel()]))
    assert abs(values.mean() - expected) < 5 * values.std() / math.sqrt(draws)
    assert abs(values.mean() - auc(scores, labels)) > 5 * values.std() / math.sqrt(draws)  # it could fail


def test_two_scores_swap_as_often_as_the_normal_distribution_says():
    gap, sigma, draws = 0.1, 0.06, 20_000
    values = jittered(
        lambda moved: float(moved[0] > moved[1]), np.array([gap, 0.0]), np.arange(2), sigma=sigma, draws=draws
    )
    expected = NormalDist().cdf(gap / (sigma * math.sqrt(2)))
    assert abs(values.mean() - expected) < 5 * math.sqrt(expected * (1 - expected) / draws)


def test_rows_of_one_text_move_together_and_missing_ones_stay_missing():
    seen = []
    unit = np.array([0, 1, 0, 2])
    scores = np.array([1.0, 2.0, 1.0, np.nan])
    jittered(lambda moved: seen.append(moved) or 0.0, scores, unit, sigma=1.0, draws=3, seed=0)
    for moved in seen:
        assert moved[0] == moved[2]
        assert moved[0] - 1.0 != moved[1] - 2.0
        assert np.isnan(moved[3])
    assert len({moved[0] for moved in seen}) == 3


def test_the_same_seed_gives_the_same_values_and_no_noise_the_metric():
    scores, unit = np.arange(5.0), np.arange(5)
    how = {"sigma": 0.3, "draws": 4}
    first, again = (jittered(np.sum, scores, unit, seed=7, **how) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, jittered(np.sum, scores, unit, seed=8, **how))
    assert np.array_equal(jittered(np.sum, scores, unit, sigma=0.0, draws=2), [10.0, 10.0])


def test_the_band_leaves_half_of_the_rest_on_either_side():
    found = band(np.arange(201.0), 0.99)
    assert (found.low, found.high) == (pytest.approx(1.0), pytest.approx(199.0))
    assert band(np.full(200, 3.5), 0.99) == Band(3.5, 3.5)


def test_the_band_of_a_normal_metric_is_that_of_the_normal_distribution():
    values = jittered(lambda moved: float(moved[0]), np.zeros(1), np.zeros(1, int), sigma=2.0, draws=50_000)
    found = band(values, 0.99)
    assert found.high == pytest.approx(2.0 * NormalDist().inv_cdf(0.995), rel=0.03)
    assert found.low == pytest.approx(-found.high, rel=0.03)


def test_log_odds_of_probabilities():
    scores = np.array([0.5, 0.25, 1.0, 0.0, 1 - 2.0**-8, np.nan])
    found = to_log_odds(scores, "probability")
    assert found[:2] == pytest.approx([0.0, -math.log(3)])
    assert found[2] == pytest.approx(-found[3]) == pytest.approx(math.log(511))
    assert found[2] > found[4]  # the order stays
    assert np.isnan(found[5])
    assert np.array_equal(to_log_odds(np.array([3.0, -1.0]), "log_odds"), [3.0, -1.0])
    with pytest.raises(ValueError, match="similarity"):
        to_log_odds(scores, "similarity")


@given(value=NUMBERS, points=st.floats(0.01, 5), ends=st.lists(st.tuples(NUMBERS, NUMBERS), max_size=3))
def test_the_reach_holds_every_band_and_no_more(value, points, ends):
    bands = {str(place): Band(min(pair), max(pair)) for place, pair in enumerate(ends)} | {"none": None}
    found = reach(value, points, bands)
    low = min([value - points, *(min(pair) for pair in ends)])
    high = max([value + points, *(max(pair) for pair in ends)])
    assert (found.low, found.high) == (low, high)


@pytest.mark.parametrize(
    ("paper", "within"), [(80.86, True), (81.46, True), (81.47, False), (80.255, True), (80.25, False)]
)
def test_a_value_within_the_band_to_the_digits_printed(paper, within):
    """Half a unit of the last digit is the printer's."""
    assert is_within(paper, 2, Band(80.26, 81.455)) == within


@pytest.mark.parametrize(
    ("paper", "kept", "expected"),
    [(80.0, None, WITHIN), (80.0, False, WITHIN), (85.0, True, ORDER_KEPT), (85.0, False, OFF), (85.0, None, OFF), (None, True, NO_VALUE)],
)  # fmt: skip
def test_verdicts(paper, kept, expected):
    assert verdict(paper, 1, Band(79.5, 80.5), order_kept=kept) == expected


def test_the_order_is_the_papers_whichever_that_is():
    assert keeps_order(75.0, 76.0, 77.16, 77.48)
    assert keeps_order(90.0, 80.0, 88.39, 86.45)  # of VideoCon (LLM) and mPLUG-Owl the baseline is ahead
    assert not keeps_order(80.0, 90.0, 88.39, 86.45)
    assert not keeps_order(80.0, 80.0, 77.16, 77.48)


def test_a_result_under_a_control_is_no_cell(tmp_path):
    made = record("tiny", "atp-hard", 50.0, why=("control: frame",), control="frame")
    name = safe_name(result_name("chance", "clean"))
    path = write(tmp_path, f"{RESULTS}/clean/{name}/atp-hard.json", made)
    with pytest.raises(SchemaError, match="a result under a control stands in the place") as error:
        measure_cell(None, tmp_path, SimpleNamespace(task="atp-hard"), "chance", "clean", "key")
    assert str(path) in str(error.value)
