"""Entailment AUC against brute force over all orders of tied scores, scikit-learn and hand counts."""

import doctest
import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from synvita_data.evaluate_metrics._shared.inputs import InputError
from synvita_data.evaluate_metrics.entailment_auc import auc as module
from synvita_data.evaluate_metrics.entailment_auc.auc import entailment_auc

levels = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0])


def auc_of_order(labels_ascending):
    """Share of (1, 0) pairs in which the 1 comes later."""
    pairs = [
        later == 1
        for earlier, later in itertools.combinations(labels_ascending, 2)
        if {earlier, later} == {0, 1}
    ]
    return sum(pairs) / len(pairs)


@st.composite
def rows(draw, most=7):
    count = draw(st.integers(2, most))
    labels = draw(
        st.lists(st.integers(0, 1), min_size=count, max_size=count).filter(lambda x: len(set(x)) == 2)
    )
    scores = draw(st.lists(levels, min_size=count, max_size=count))
    videos = draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count))
    return scores, labels, videos


@given(rows())
def test_value_and_bounds_are_mean_and_extremes_over_all_orders_of_ties(case):
    scores, labels, videos = case
    values = [
        auc_of_order([labels[i] for i in order])
        for order in itertools.permutations(range(len(scores)))
        if all(scores[a] <= scores[b] for a, b in itertools.pairwise(order))
    ]
    result = entailment_auc(scores, labels, videos, resamples=0)["auc"]
    assert result["value"] == pytest.approx(100 * np.mean(values))
    assert result["worst_ties"] == pytest.approx(100 * min(values))
    assert result["best_ties"] == pytest.approx(100 * max(values))
    assert (result["k"], result["n"], result["low"]) == (len(scores), len(scores), None)


@given(rows(most=12))
def test_paired_and_strict_accuracy_by_comparing_every_caption_with_every_contrast_caption(case):
    scores, labels, videos = case
    paired, worst, best, strict, complete = [], [], [], [], set()
    for i, j in itertools.product(range(len(scores)), repeat=2):
        if (labels[i], labels[j]) == (1, 0) and videos[i] == videos[j]:
            complete.add(videos[i])
            paired.append((scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]))
            worst.append(scores[i] > scores[j])
            best.append(scores[i] >= scores[j])
            strict.append(scores[i] > 0.5 and scores[j] < 0.5)
    result = entailment_auc(scores, labels, videos, resamples=0)
    found = result["paired_accuracy"]
    assert (found["k"], found["n"]) == (len(complete), len(set(videos)))
    if paired:
        assert found["value"] == pytest.approx(100 * np.mean(paired))
        assert found["worst_ties"] == pytest.approx(100 * np.mean(worst))
        assert found["best_ties"] == pytest.approx(100 * np.mean(best))
        assert result["strict_accuracy"]["value"] == pytest.approx(100 * np.mean(strict))
    else:
        assert found["value"] is None
        assert result["strict_accuracy"]["value"] is None


@given(rows(most=12), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing_to_the_bit(case, random):
    order = list(range(len(case[0])))
    random.shuffle(order)
    mixed = [[column[i] for i in order] for column in case]
    groups = {"parity": [video in "ab" for video in case[2]]}
    mixed_groups = {"parity": [groups["parity"][i] for i in order]}
    first = entailment_auc(*case, groups=groups, resamples=20)
    second = entailment_auc(*mixed, groups=mixed_groups, resamples=20)
    assert json.dumps(first) == json.dumps(second)


def random_pairs(seed, pairs=300, videos=80, digits=1):
    generator = np.random.default_rng(seed)
    truth = np.tile([1, 0], pairs)
    scores = np.clip(generator.normal(0.4 + 0.2 * truth, 0.2), 0, 1).round(digits)
    return scores, truth, np.repeat(generator.integers(0, videos, pairs), 2), np.repeat(np.arange(pairs), 2)


@pytest.mark.parametrize("digits", [1, 12])
def test_agrees_with_scikit_learn(digits):
    scores, labels, videos, _ = random_pairs(1, digits=digits)
    found = entailment_auc(scores, labels, videos, resamples=0)["auc"]["value"]
    assert found == pytest.approx(100 * roc_auc_score(labels, scores), abs=1e-10)


@pytest.mark.slow
def test_agrees_with_torchmetrics():
    functional = pytest.importorskip("torchmetrics.functional")
    import torch

    scores, labels, videos, _ = random_pairs(2)
    other = functional.classification.binary_auroc(torch.tensor(scores), torch.tensor(labels))
    found = entailment_auc(scores, labels, videos, resamples=0)["auc"]["value"]
    assert found == pytest.approx(100 * float(other), abs=1e-4)


def test_interval_is_that_of_rows_copied_as_often_as_their_video_was_drawn():
    scores, labels, videos, pairs = random_pairs(3)
    names, resamples, seed = np.unique(videos), 60, 7
    draws = np.random.default_rng(seed)
    aucs, accuracies = [], []
    for _ in range(resamples):
        drawn = names[draws.integers(0, len(names), len(names))]
        copies = np.concatenate([np.flatnonzero(videos == name) for name in drawn])
        aucs.append(roc_auc_score(labels[copies], scores[copies]))
        caption, contrast = scores[copies][labels[copies] == 1], scores[copies][labels[copies] == 0]
        accuracies.append(np.mean((caption > contrast) + 0.5 * (caption == contrast)))
    result = entailment_auc(scores, labels, videos, pairs=pairs, resamples=resamples, seed=seed, level=0.9)
    for name, values in (("auc", aucs), ("paired_accuracy", accuracies)):
        expected = 100 * np.quantile(values, [0.05, 0.95])
        assert [result[name]["low"], result[name]["high"]] == pytest.approx(expected, abs=1e-9)


def test_texts_copied_within_their_video_do_not_narrow_the_interval():
    columns = random_pairs(4)[:3]
    once = entailment_auc(*columns, resamples=200)
    tenfold = entailment_auc(*(np.repeat(column, 10) for column in columns), resamples=200)
    for name in ("auc", "paired_accuracy", "strict_accuracy"):
        assert tenfold[name] == pytest.approx(once[name] | {"k": tenfold[name]["k"], "n": tenfold[name]["n"]})


def test_the_seed_decides_the_interval():
    columns = random_pairs(5)[:3]
    first, again, other = (entailment_auc(*columns, resamples=50, seed=seed)["auc"] for seed in (1, 1, 2))
    assert first == again
    assert first["low"] != other["low"]
    assert first["low"] < first["value"] < first["high"]


def test_one_video_has_no_interval():
    result = entailment_auc([0.9, 0.1], [1, 0], ["a", "a"], resamples=100)
    assert result["auc"]["low"] is None
    assert result["paired_accuracy"]["high"] is None


def test_groups_are_the_metric_of_their_rows():
    scores, labels, videos, pairs = random_pairs(6)
    kind = np.where(pairs % 3 == 0, "flip", np.where(pairs % 3 == 1, "count", None))
    result = entailment_auc(
        scores, labels, videos, pairs=pairs, groups={"misalignment": kind, "hard": pairs < 50}, resamples=30
    )
    assert list(result["groups"]["misalignment"]) == ["count", "flip"]
    assert list(result["groups"]["hard"]) == ["False", "True"]
    chosen = kind == "flip"
    found = result["groups"]["misalignment"]["flip"]
    assert found["auc"]["value"] == pytest.approx(100 * roc_auc_score(labels[chosen], scores[chosen]))
    alone = entailment_auc(scores[chosen], labels[chosen], videos[chosen], pairs=pairs[chosen], resamples=30)
    assert found == {name: alone[name] for name in found}
    assert found["paired_accuracy"]["n"] == len(np.unique(pairs[chosen]))


def test_a_group_of_one_class_is_reported_without_a_value():
    result = entailment_auc(
        [0.9, 0.1, 0.4], [1, 0, 1], ["a", "a", "b"], groups={"g": ["x", "x", "y"]}, resamples=0
    )
    only = result["groups"]["g"]["y"]
    assert only["auc"] == {
        "value": None,
        "low": None,
        "high": None,
        "worst_ties": None,
        "best_ties": None,
        "k": 1,
        "n": 1,
    }
    assert (only["paired_accuracy"]["k"], only["paired_accuracy"]["n"]) == (0, 1)


def test_repeated_texts_count_once_in_the_auc_and_in_every_pair():
    # One caption with two contrast captions: two rows of VideoCon, the caption in both.
    scores, labels = [0.6, 0.8, 0.6, 0.2, 0.9, 0.7], [1, 0, 1, 0, 1, 0]
    videos, texts = ["a", "a", "a", "a", "b", "b"], ["x", "y", "x", "z", "x", "w"]
    pairs = [1, 1, 2, 2, 3, 3]
    result = entailment_auc(scores, labels, videos, texts=texts, pairs=pairs, resamples=0)
    once = [0, 1, 3, 4, 5]
    expected = roc_auc_score([labels[i] for i in once], [scores[i] for i in once])
    assert result["auc"]["value"] == pytest.approx(100 * expected)
    assert (result["auc"]["k"], result["repeated_texts"], result["contradictory_texts"]) == (5, 1, 0)
    assert result["paired_accuracy"]["value"] == pytest.approx(200 / 3)
    assert entailment_auc(scores, labels, videos, pairs=pairs, resamples=0)["auc"]["k"] == 6


def test_a_text_with_both_labels_is_counted_as_contradictory():
    result = entailment_auc([0.6, 0.6, 0.1], [1, 0, 0], ["a"] * 3, texts=["x", "x", "y"], resamples=0)
    assert (result["contradictory_texts"], result["auc"]["k"], result["auc"]["value"]) == (1, 3, 75.0)


def test_log_odds_have_their_threshold_at_zero_and_similarities_none():
    columns = [0.4, -0.2, 0.3, 0.1], [1, 0, 1, 0], ["a", "a", "b", "b"]
    assert entailment_auc(*columns, kind="log_odds", resamples=0)["strict_accuracy"]["value"] == 50.0
    result = entailment_auc(*columns, kind="similarity", resamples=0)
    assert result["strict_accuracy"] is None
    assert result["paired_accuracy"]["value"] == 100.0
    with pytest.raises(InputError, match="threshold"):
        entailment_auc(*columns, kind="similarity", strict=True)


def test_scores_at_the_threshold_are_wrong_for_both_labels():
    result = entailment_auc([0.5, 0.4, 0.6, 0.5], [1, 0, 1, 0], ["a", "a", "b", "b"], resamples=0)
    assert result["strict_accuracy"]["value"] == 0.0
    assert result["strict_accuracy"]["best_ties"] == 0.0


def test_missing_scores_are_counted_when_allowed():
    scores, labels = [0.9, 0.2, float("nan"), 0.4, 0.3, 0.3], [1, 0, 1, 0, 1, 0]
    columns = scores, labels, ["a", "a", "b", "b", "c", "c"]
    options = {"pairs": [1, 1, 2, 2, 3, 3], "scored": [True, True, False, True, True, True], "resamples": 0}
    with pytest.raises(InputError, match="no score") as error:
        entailment_auc(*columns, **options)
    assert error.value.position == 2
    result = entailment_auc(*columns, **options, partial=True)
    assert (result["auc"]["k"], result["auc"]["n"]) == (5, 6)
    assert result["auc"]["value"] == pytest.approx(
        100 * roc_auc_score([1, 0, 0, 1, 0], [0.9, 0.2, 0.4, 0.3, 0.3])
    )
    assert (result["paired_accuracy"]["k"], result["paired_accuracy"]["n"]) == (2, 3)
    assert result["paired_accuracy"]["value"] == 75.0


def test_a_group_without_any_score_is_reported_with_k_zero():
    result = entailment_auc(
        [0.9, 0.2, 0.0, 0.0],
        [1, 0, 1, 0],
        ["a", "a", "b", "b"],
        groups={"g": ["x", "x", "y", "y"]},
        scored=[True, True, False, False],
        partial=True,
    )
    empty = result["groups"]["g"]["y"]
    for name, n in (("auc", 2), ("paired_accuracy", 1), ("strict_accuracy", 1)):
        assert (empty[name]["value"], empty[name]["k"], empty[name]["n"]) == (None, 0, n)
    assert (result["auc"]["value"], result["auc"]["k"], result["auc"]["n"]) == (100.0, 2, 4)


@pytest.mark.parametrize(
    ("change", "message", "position"),
    [
        ({"labels": [1, 1, 1, 1]}, "all 4 labels are 1", None),
        ({"labels": [1, 0, 2, 0]}, "label is 2", 2),
        ({"labels": [1, 0, 1]}, "3 entries for 4 scores", None),
        ({"scores": [0.9, 1.2, 0.1, 0.2]}, "not a probability", 1),
        ({"scores": [0.9, np.nan, 0.1, 0.2]}, "finite", 1),
        ({"scores": [0.9, 0.8, 0.1, -np.inf]}, "finite", 3),
        ({"videos": ["a", None, "b", "b"]}, "missing", 1),
        ({"pairs": [1, 1, 2, 3]}, "no contrast caption", 2),
        ({"pairs": [1, 2, 2, 1]}, "two different videos", 2),
        ({"pairs": [1, 1, 2, 2], "groups": {"hard": [True, False, True, True]}}, "values of 'hard'", 1),
        ({"videos": ["a"] * 4, "texts": ["x", "y", "x", "y"]}, "another score at position 0", 2),
        ({"kind": "logit"}, "expected one of", None),
        ({"resamples": -1}, "resamples", None),
        ({"level": 1.0}, "level", None),
    ],
)
def test_bad_input_names_its_position(change, message, position):
    good = {"scores": [0.9, 0.2, 0.7, 0.1], "labels": [1, 0, 1, 0], "videos": ["a", "a", "b", "b"]}
    entailment_auc(**good, resamples=0)
    with pytest.raises(InputError, match=message) as error:
        entailment_auc(**good | {"resamples": 0} | change)
    assert error.value.position == position


def test_docstring_examples():
    assert doctest.testmod(module).attempted >= 3
    assert doctest.testmod(module).failed == 0


@given(rows(most=12), st.sampled_from([20, 21]))
def test_without_videos_rows_are_the_units(case, resamples):
    """The same numbers and intervals as with a video a row; nothing is paired."""
    scores, labels, _ = case
    alone = entailment_auc(scores, labels, resamples=resamples)
    own = entailment_auc(scores, labels, list(range(len(scores))), resamples=resamples)
    assert alone["auc"] == own["auc"]
    assert alone["auc"]["value"] == pytest.approx(100 * roc_auc_score(labels, scores))
    assert alone["bootstrap"]["unit"] == "row"
    assert own["bootstrap"]["unit"] == "video"
    assert alone["videos"] is None
    for name in ("paired_accuracy", "strict_accuracy"):
        assert alone[name] == {**own[name], "n": 0}
        assert alone[name]["value"] is None


@given(rows(most=12))
def test_without_videos_pairs_are_the_units(case):
    scores, labels, pairs = case
    alone = entailment_auc(scores, labels, pairs=pairs, partial=True, resamples=20)
    own = entailment_auc(scores, labels, pairs, pairs=pairs, partial=True, resamples=20)
    assert (alone.pop("videos"), own.pop("videos")) == (None, len(set(pairs)))
    assert alone.pop("bootstrap") == {**own.pop("bootstrap"), "unit": "pair"}
    assert alone == own


def test_texts_need_to_know_of_what_they_are():
    with pytest.raises(InputError, match="without `videos` or `pairs`"):
        entailment_auc([0.5, 0.25], [1, 0], texts=["a", "b"])
    found = entailment_auc([0.5, 0.5, 0.25], [1, 1, 0], texts=["a", "a", "b"], pairs=["p"] * 3, resamples=0)
    assert (found["repeated_texts"], found["auc"]["n"]) == (1, 2)
