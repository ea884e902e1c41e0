"""What is said of cells: differences by seed, tests against closed forms, Holm over what decides."""

import math

import numpy as np
import pytest

from synvita_data.study.analysis import arm_means, compare_all, mean, paired, t_test, verdict
from synvita_data.study.questions import read_questions


def test_the_t_test_is_students():
    """n = 3, degrees of freedom 2: p = 1 − t/√(t² + 2), in closed form."""
    found = [1.0, 2.0, 4.0]
    t = np.mean(found) / (np.std(found, ddof=1) / math.sqrt(3))
    assert t_test(found) == pytest.approx(1 - t / math.sqrt(t * t + 2))


def test_what_has_no_spread_has_no_p():
    assert t_test([2.0]) is None
    assert t_test([2.0, 2.1]) is None
    assert t_test([2.0, 2.0, 2.0]) is None


def test_the_interval_of_a_mean_is_the_bootstraps():
    """Two seeds: a resample has mean a, the middle or b with chances 1/4, 1/2, 1/4; so the 95% interval is [a, b]."""
    own = mean([1.0, 3.0])
    assert (own.value, own.low, own.high, own.seeds) == (2.0, 1.0, 3.0, 2)
    alone = mean([1.5])
    assert (alone.low, alone.high) == (None, None)


def test_a_difference_is_paired_by_seed():
    values = {
        ("a", "default", 0): {"unseen": 10.0},
        ("a", "default", 1): {"unseen": 50.0},
        ("a", "default", 2): {"unseen": 0.0},
        ("b", "default", 1): {"unseen": 49.0},
        ("b", "default", 0): {"unseen": 7.0},
    }
    own = paired(values, "default", "a", "b", "unseen")
    assert own.difference.value == 2.0
    assert own.difference.seeds == 2
    assert own.wins == 2
    assert paired(values, "default", "a", "c", "unseen") is None


@pytest.fixture(scope="module")
def question():
    return read_questions().question("main")


def made(question, shift, seeds=6):
    """Cells whose arms differ from `none` by `shift[arm]`, with noise by seed."""
    rng = np.random.default_rng(3)
    return {
        (arm, "default", seed): {
            outcome: 70 + seed + shift.get(arm, 0.0) + rng.normal(0, 0.1) for outcome in question.outcomes
        }
        for seed in range(seeds)
        for arm in question.arms
    }


def test_holm_runs_over_the_outcomes_that_decide(question):
    found = compare_all(question, made(question, {"weight-1": 9.0}))
    assert {own.outcome for own in found if own.holm is None} == set(question.outcomes) - set(question.decide)
    deciding = [own for own in found if own.holm is not None]
    assert len(deciding) == len(question.compare) * len(question.decide)
    smallest = min(deciding, key=lambda own: own.p)
    assert smallest.holm == pytest.approx(min(1.0, smallest.p * len(deciding)))
    assert all(own.holm >= own.p for own in deciding)


def test_verdicts(question):
    found = compare_all(question, made(question, {"weight-1": 9.0}))
    said = {(own.first, own.second): verdict(own) for own in found if own.outcome == "unseen"}
    assert said["weight-1", "none"] == "larger"
    assert said["synvita", "weight-1"] == "smaller"
    assert said["synvita", "none"] == "open"


def test_means_are_of_the_cells_there_are(question):
    values = made(question, {})
    del values["none", "default", 0]
    means = arm_means(question, values)
    assert means["default", "none"]["unseen"].seeds == 5
    assert means["default", "before"]["unseen"].seeds == 6


def test_what_was_not_run_counts_among_the_tests(question):
    """A study that stops early gets no smaller correction."""
    values = made(question, {"weight-1": 9.0})
    part = {key: own for key, own in values.items() if key[0] in ("none", "weight-1")}
    deciding = [each for each in compare_all(question, part) if each.outcome in question.decide]
    own = min(deciding, key=lambda each: each.p)
    assert own.holm == pytest.approx(min(1.0, own.p * len(question.compare) * len(question.decide)))
