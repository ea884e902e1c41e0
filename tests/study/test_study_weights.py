"""Weights that are made from all rows together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.errors import ScoreError, SynvitaError
from synvita_data.study.weights import own_weights

rows = st.lists(
    st.tuples(st.floats(0, 1), st.booleans(), st.sampled_from(["count", "flip", "object"])),
    min_size=1,
    max_size=40,
)


def columns(rows):
    omega, right, kinds = zip(*rows, strict=True)
    return np.array(omega), np.array(right), list(kinds)


@given(rows)
def test_normalised_weights_have_mean_one_and_the_order_of_omega(rows):
    omega, right, kinds = columns(rows)
    if not omega.mean() > 1e-300:
        return
    weights = own_weights("mean-one", omega, right, kinds, 0)
    assert weights.mean() == pytest.approx(1)
    assert np.allclose(weights * omega.sum(), omega * len(omega))


@given(rows)
def test_oracle_and_constant(rows):
    omega, right, kinds = columns(rows)
    assert own_weights("oracle", omega, right, kinds, 0).tolist() == [float(each) for each in right]
    if omega.mean() > 0:
        assert np.unique(own_weights("constant", omega, right, kinds, 0)).tolist() == [omega.mean()]


@given(rows, st.integers(0, 5))
def test_halves_are_of_each_kind_and_by_omega(rows, seed):
    omega, right, kinds = columns(rows)
    top, bottom, random = (
        own_weights(f"{which}-half", omega, right, kinds, seed) for which in ("top", "bottom", "random")
    )
    for kind in set(kinds):
        own = np.array([each == kind for each in kinds])
        for weights in (top, bottom, random):
            assert weights[own].sum() == own.sum() // 2
        if own.sum() > 1:
            assert omega[own & (top > 0)].min() >= omega[own & (bottom > 0)].max()
    assert not (top * bottom).any()


def test_a_random_half_follows_from_its_seed():
    omega, right, kinds = np.linspace(0, 1, 40), np.ones(40, bool), ["flip"] * 40
    first, again, other = (own_weights("random-half", omega, right, kinds, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_weights_without_a_mean_are_refused():
    with pytest.raises(ScoreError, match="need a mean"):
        own_weights("mean-one", np.zeros(3), np.ones(3, bool), ["flip"] * 3, 0)
    with pytest.raises(SynvitaError, match="unknown weights"):
        own_weights("difference", np.ones(3), np.ones(3, bool), ["flip"] * 3, 0)
