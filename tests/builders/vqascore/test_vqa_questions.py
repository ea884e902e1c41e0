"""Wordings and scores, without a model."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.builders.vqascore import SCORES, score_of
from synvita_data.builders.vqascore.base import BLIP, CHAT, VICUNA
from synvita_data.errors import ScoreError, SynvitaError

log_probs = st.lists(st.floats(-80, 0), min_size=2, max_size=5)


def test_wordings_are_those_of_the_released_code():
    assert VICUNA.wrap("a {dog}") == (
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions. USER: <image>\n"
        'Does this figure show "a {dog}"? Please answer yes or no. ASSISTANT: '
    )
    assert BLIP.wrap("a dog") == 'Question: Does this figure show "a dog"? Please answer yes or no.'
    assert CHAT.wrap("a dog") == 'Does this figure show "a dog"? Please answer yes or no.'
    assert (VICUNA.answer, BLIP.answer, CHAT.answer) == ("Yes", "yes", "Yes")


@given(log_probs)
def test_the_reference_is_the_geometric_mean_of_the_tokens(values):
    expected = math.prod(math.exp(value / len(values)) for value in values)
    assert score_of(values, "reference") == pytest.approx(expected, rel=1e-9)


@given(log_probs)
def test_the_first_token_stands_alone(values):
    assert score_of(values, "first-token") == math.exp(values[0])
    assert score_of([values[0], -50.0], "first-token") == score_of(values, "first-token")


@pytest.mark.parametrize("score", SCORES)
def test_rounding_above_one_is_one(score):
    assert score_of([6e-8, 6e-8], score) == 1.0


@pytest.mark.parametrize("value", [math.nan, -math.inf, math.inf])
@pytest.mark.parametrize("score", SCORES)
def test_what_is_no_probability_is_an_error(value, score):
    with pytest.raises(ScoreError, match="no probability"):
        score_of([-1.0, value], score)


def test_an_unknown_score_is_refused():
    with pytest.raises(SynvitaError, match="first-token"):
        score_of([-1.0, -1.0], "mean")
