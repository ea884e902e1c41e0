"""Retrieval under ties against brute force over all orders, hypergeometric sums and scikit-learn."""

import csv
import doctest
import itertools
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom
from sklearn.metrics import average_precision_score

from synvita_data.evaluate_metrics._shared.inputs import InputError
from synvita_data.evaluate_metrics.retrieval_map import ranking as module
from synvita_data.evaluate_metrics.retrieval_map.ranking import retrieval_map


def average_precision(labels):
    precisions = [Fraction(sum(labels[: rank + 1]), rank + 1) for rank, label in enumerate(labels) if label]
    return sum(precisions) / len(precisions)


def all_orders(scores, labels):
    """The labels in every order that falling scores allow, each order of tied videos once."""
    for order in itertools.permutations(range(len(scores))):
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order)):
            yield [labels[i] for i in order]


@st.composite
def captions(draw, least=1, most=6):
    """One to three captions of up to `most` videos each, few score levels, at least one positive."""
    groups = []
    for _ in range(draw(st.integers(1, 3))):
        size = draw(st.integers(least, most))
        labels = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size).filter(any))
        scores = draw(st.lists(st.sampled_from([0.1, 0.2, 0.2000001, 0.9]), min_size=size, max_size=size))
        groups.append((scores, labels))
    return groups


def columns_of(groups):
    rows = [
        (score, label, f"caption {number}", f"video {place:03d}")
        for number, (scores, labels) in enumerate(groups)
        for place, (score, label) in enumerate(zip(scores, labels, strict=True))
    ]
    return [list(column) for column in zip(*rows, strict=True)]


@settings(max_examples=40)
@given(captions())
def test_expectation_worst_and_best_over_all_orders(groups):
    result = retrieval_map(*columns_of(groups), candidates="own", ks=(1, 2, 5), resamples=0)
    statistics = {
        "map": average_precision,
        "r_at_1": lambda labels: any(labels[:1]),
        "r_at_2": lambda labels: any(labels[:2]),
        "r_at_5": lambda labels: any(labels[:5]),
    }
    for name, statistic in statistics.items():
        values = [[Fraction(statistic(labels)) for labels in all_orders(*group)] for group in groups]
        expected = sum(sum(v) / len(v) for v in values) / len(groups)
        assert result[name]["value"] == pytest.approx(100 * float(expected), abs=1e-9)
        for bound, extreme in (("worst_ties", min), ("best_ties", max)):
            exact = sum(extreme(v) for v in values) / len(groups)
            assert result[name][bound] == pytest.approx(100 * float(exact), abs=1e-9)
        chance = [
            [
                Fraction(statistic([labels[i] for i in order]))
                for order in itertools.permutations(range(len(labels)))
            ]
            for _, labels in groups
        ]
        by_chance = sum(sum(v) / len(v) for v in chance) / len(groups)
        assert result["chance"][name] == pytest.approx(100 * float(by_chance), abs=1e-9)


@given(captions(most=20))
def test_official_is_the_stable_order_by_path_and_sklearn_is_scikit_learn(groups):
    columns = columns_of(groups)
    official, hits = [], []
    for scores, labels in groups:
        order = np.argsort([-score for score in scores], kind="stable")  # the paths are in order already
        in_order = [labels[i] for i in order]
        official.append(average_precision(in_order))
        hits.append(any(in_order[:5]))
    result = retrieval_map(*columns, candidates="own", ties="official", resamples=0)
    assert result["map"]["value"] == pytest.approx(100 * float(sum(official) / len(groups)))
    assert result["r_at_5"]["value"] == pytest.approx(100 * np.mean(hits))

    result = retrieval_map(*columns, candidates="own", ties="sklearn", resamples=0)
    expected = np.mean([average_precision_score(labels, scores) for scores, labels in groups])
    assert result["map"]["value"] == pytest.approx(100 * expected)
    assert "r_at_1" not in result


@given(
    captions(least=5, most=5), st.sampled_from(["expected", "official"]), st.randoms(use_true_random=False)
)
def test_the_order_of_rows_changes_nothing_to_the_bit(groups, ties, random):
    columns = columns_of(groups)
    order = list(range(len(columns[0])))
    random.shuffle(order)
    mixed = [[column[i] for i in order] for column in columns]
    results = [retrieval_map(*c, ties=ties, resamples=20, per_caption=True) for c in (columns, mixed)]
    assert json.dumps(results[0]) == json.dumps(results[1])


def random_table(seed, captions=20, videos=300, positives=12, levels=24):
    generator = np.random.default_rng(seed)
    labels = np.zeros((captions, videos), int)
    for row in labels:
        row[generator.choice(videos, positives, replace=False)] = 1
    scores = (generator.random((captions, videos)) + 0.3 * labels).round(4)
    scores = np.floor(scores * levels) / levels if levels else generator.random((captions, videos))
    return scores, labels


def flat(scores, labels):
    rows, width = scores.shape
    return (
        scores.ravel(),
        labels.ravel(),
        np.repeat(np.arange(rows), width),
        np.tile([f"v{i:05d}" for i in range(width)], rows),
    )


@pytest.mark.parametrize("levels", [1, 3, 24, 200])
def test_agrees_with_hypergeometric_sums(levels):
    """The same expectation by SciPy's hypergeometric distribution, position by position."""
    scores, labels = random_table(levels, captions=4, videos=60, positives=7, levels=levels)
    expected, hits = [], []
    for score, label in zip(scores, labels, strict=True):
        before = positives_before = 0
        total, miss = 0.0, 1.0
        for value in np.unique(score)[::-1]:
            size, good = int((score == value).sum()), int(label[score == value].sum())
            for place in range(1, size + 1):
                if good:
                    count = np.arange(good)
                    # (SciPy has no distribution over the zero others of a block of one.)
                    chance = hypergeom.pmf(count, size - 1, good - 1, place - 1) if size > 1 else np.ones(1)
                    precision = (positives_before + 1 + count) / (before + place)
                    total += good / size * float(chance @ precision)
            draws = min(max(10 - before, 0), size)
            miss *= hypergeom.pmf(0, size, good, draws)
            before, positives_before = before + size, positives_before + good
        expected.append(total / label.sum())
        hits.append(1 - miss)
    result = retrieval_map(*flat(scores, labels), resamples=0)
    assert result["map"]["value"] == pytest.approx(100 * np.mean(expected), abs=1e-9)
    assert result["r_at_10"]["value"] == pytest.approx(100 * np.mean(hits), abs=1e-9)


def test_without_ties_all_rules_agree_with_scikit_learn():
    scores, labels = random_table(1, levels=0)
    expected = 100 * np.mean([average_precision_score(y, x) for x, y in zip(scores, labels, strict=True)])
    for ties in module.TIES:
        result = retrieval_map(*flat(scores, labels), ties=ties, resamples=0)["map"]
        for name in ("value", "worst_ties", "best_ties"):
            assert result[name] == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_agrees_with_torchmetrics():
    functional = pytest.importorskip("torchmetrics.functional.retrieval")
    import torch

    scores, labels = random_table(2, levels=0)
    both = [(torch.tensor(x), torch.tensor(y)) for x, y in zip(scores, labels, strict=True)]
    result = retrieval_map(*flat(scores, labels), resamples=0)
    precision = np.mean([float(functional.retrieval_average_precision(*pair)) for pair in both])
    hits = np.mean([float(functional.retrieval_hit_rate(*pair, top_k=5)) for pair in both])
    assert result["map"]["value"] == pytest.approx(100 * precision, abs=1e-3)
    assert result["r_at_5"]["value"] == pytest.approx(100 * hits, abs=1e-3)


def test_the_interval_narrows_as_captions_do_and_holds_the_value():
    widths = []
    for captions_ in (20, 320):
        scores, labels = random_table(3, captions=captions_, videos=40, positives=4)
        result = retrieval_map(*flat(scores, labels), resamples=2000, per_caption=True)
        spread = np.std([row["map"]["value"] for row in result["captions"]])
        low, value, high = (result["map"][name] for name in ("low", "value", "high"))
        assert low < value < high
        # Central limit theorem: the bootstrap's standard error is spread / sqrt(captions).
        assert high - low == pytest.approx(2 * 1.96 * spread / np.sqrt(captions_), rel=0.1)
        widths.append(high - low)
    assert widths[1] < widths[0] / 3


def test_published_scores_of_ssv2_temporal(real_data):
    with (real_data / "ssv2-temporal/eval_ssv2_temporal.csv").open(newline="") as handle:
        pairs = list(csv.DictReader(handle))
    with (real_data / "ssv2-temporal/eval_ssv2_temporal_scores.csv").open(newline="") as handle:
        scores = {(row[0], row[1]): float(row[2]) for row in csv.reader(handle)}
    columns = (
        [scores[row["videopath"], row["caption"]] for row in pairs],
        [int(row["match"]) for row in pairs],
        [row["caption"] for row in pairs],
        [row["videopath"] for row in pairs],
    )
    # The table of shared/facts/benchmarks.md, to the digits printed there.
    expected = {
        "map": (15.565456, 11.646, 21.867),
        "r_at_1": (16.358, 5.56, 27.78),
        "r_at_5": (49.568, 33.33, 66.67),
        "r_at_10": (65.647, 50.0, 77.78),
    }
    result = retrieval_map(*columns)
    for name, (value, worst, best) in expected.items():
        assert result[name]["value"] == pytest.approx(value, abs=5e-7 if name == "map" else 5e-4)
        assert result[name]["worst_ties"] == pytest.approx(worst, abs=6e-3)
        assert result[name]["best_ties"] == pytest.approx(best, abs=6e-3)
        assert result[name]["low"] < result[name]["value"] < result[name]["high"]
        assert (result[name]["k"], result[name]["n"]) == (3888, 3888)
    assert result["candidates"] == {"216": 18}
    assert result["positives"] == {"12": 18}

    official = retrieval_map(*columns, ties="official", resamples=0)
    found = [official[name]["value"] for name in expected]
    assert found == pytest.approx([15.500598, 200 / 9, 50.0, 550 / 9], abs=5e-7)
    assert retrieval_map(*columns, ties="sklearn", resamples=0)["map"]["value"] == pytest.approx(
        13.566, abs=5e-4
    )


def test_chance_by_simulation_at_the_sizes_of_ssv2():
    generator = np.random.default_rng(0)
    for videos, most in ((216, 7.74), (588, 3.05)):
        labels = np.arange(videos) < 12
        draws = [generator.permutation(labels) for _ in range(4000)]
        ranks = np.array([np.flatnonzero(draw) + 1 for draw in draws])
        simulated = 100 * (np.arange(1, 13) / ranks).mean(axis=1)
        chance = retrieval_map(np.zeros(videos), labels, [0] * videos, np.arange(videos), resamples=0)[
            "chance"
        ]["map"]
        assert abs(chance - simulated.mean()) < 4 * simulated.std() / np.sqrt(len(draws))
        assert chance == pytest.approx(most, abs=0.02)


def test_groups_of_unequal_size_are_allowed_and_reported():
    columns = columns_of([([0.9, 0.1, 0.5], [0, 1, 0]), ([0.3, 0.4], [0, 1])])
    result = retrieval_map(*columns, candidates="own", resamples=0)
    assert result["candidates"] == {"2": 1, "3": 1}
    assert result["map"]["value"] == pytest.approx(100 * (1 / 3 + 1) / 2)
    assert (result["map"]["k"], result["map"]["n"]) == (5, 5)


def test_a_missing_pair_is_an_error_unless_partial():
    columns = columns_of([([0.9, 0.1, 0.5], [0, 1, 0]), ([0.3, 0.4], [0, 1])])
    with pytest.raises(InputError, match=r"'caption 1' has no pair with video 'video 002'.*1 of 6 pairs"):
        retrieval_map(*columns)
    result = retrieval_map(*columns, partial=True, resamples=0)
    assert result["map"]["value"] == pytest.approx(100 * (1 / 3 + 1) / 2)
    assert (result["map"]["k"], result["map"]["n"]) == (5, 6)
    assert result["captions_ranked"] == {"k": 2, "n": 2}


def test_a_missing_score_is_an_error_unless_partial():
    columns = columns_of(
        [([0.9, np.nan, 0.5], [0, 1, 1]), ([0.3, 0.4, np.inf], [0, 1, 0]), ([0.1] * 3, [1, 0, 0])]
    )
    scored = [True, False, True, True, True, False, False, True, True]
    with pytest.raises(InputError, match="no score") as error:
        retrieval_map(*columns, scored=scored)
    assert error.value.position == 1
    result = retrieval_map(*columns, scored=scored, partial=True, resamples=0, per_caption=True)
    assert (result["map"]["k"], result["map"]["n"]) == (6, 9)
    assert result["captions_ranked"] == {"k": 2, "n": 3}  # the third caption's only positive has no score
    assert [row["caption"] for row in result["captions"]] == ["caption 0", "caption 1"]
    assert [row["map"]["value"] for row in result["captions"]] == [50.0, 100.0]


@pytest.mark.parametrize(
    ("change", "message", "position"),
    [
        ({"scores": [0.1, 0.2, np.nan, 0.4]}, "finite", 2),
        ({"labels": [1, 0, 0, 0]}, "'b' has no positive", 2),
        ({"videos": ["u", "v", "u", "u"]}, "'b' with video 'u' is already at position 2", 3),
        ({"captions": ["a", "a", "b", 3]}, "all strings or all integers", None),
        ({"ties": "random"}, "expected one of", None),
        ({"candidates": "all"}, "expected one of", None),
        ({"ks": (0,)}, "at least 1", None),
        ({"scored": [False] * 4, "partial": True}, "no entry has a score", None),
        ({"scored": [1, 0, 1, 1]}, "booleans", None),
    ],
)
def test_bad_input_names_its_position(change, message, position):
    good = {
        "scores": [0.1, 0.2, 0.3, 0.4],
        "labels": [1, 0, 0, 1],
        "captions": ["a", "a", "b", "b"],
        "videos": ["u", "v", "u", "v"],
    }
    retrieval_map(**good, resamples=0)
    with pytest.raises(InputError, match=message) as error:
        retrieval_map(**good | change)
    assert error.value.position == position


def test_docstring_examples():
    assert doctest.testmod(module).attempted >= 3
    assert doctest.testmod(module).failed == 0
