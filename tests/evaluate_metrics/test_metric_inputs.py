"""What the metrics share: columns that are checked, intervals, and folders that are published whole."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.evaluate_metrics import METRICS
from synvita_data.evaluate_metrics._shared.inputs import (
    InputError,
    check_ids,
    check_labels,
    check_scored,
    check_scores,
)
from synvita_data.evaluate_metrics._shared.intervals import mean_interval, percentile_interval
from synvita_data.evaluate_metrics.export import export


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    for name in METRICS:
        export(name, folder)
    return folder


@pytest.mark.parametrize("name", ["inputs.py", "intervals.py", "options.py", "page.py", "requirements.txt"])
def test_shared_files_are_the_same_in_every_space(repo_root, exported, name):
    texts = {(exported / metric / name).read_text() for metric in METRICS}
    assert texts == {(repo_root / "evaluate_metrics" / "_shared" / name).read_text()}


@pytest.mark.parametrize("metric", METRICS)
def test_a_space_names_nothing_of_this_package(exported, metric):
    for path in (exported / metric).glob("*.py"):
        text = path.read_text()
        assert not re.search(r"^\s*(from|import) (synvita_data|\.\.)", text, re.MULTILINE), path
        for module in re.findall(r"^from \.(\w+) import", text, re.MULTILINE):
            assert (exported / metric / f"{module}.py").is_file()


@pytest.mark.parametrize("metric", METRICS)
def test_every_space_is_complete_and_its_card_is_that_of_an_evaluate_metric(exported, metric):
    import yaml

    folder = exported / metric
    assert (folder / f"{metric}.py").is_file()
    assert (folder / "app.py").is_file()
    _, front, body = (folder / "README.md").read_text().split("---\n", 2)
    front = yaml.safe_load(front)
    assert front["sdk"] == "gradio"
    assert {"evaluate", "metric"} <= set(front["tags"])
    assert front["app_file"] == "app.py"
    for section in (
        "Metric description",
        "How to use",
        "Inputs",
        "Outputs",
        "Values from papers",
        "Limits",
        "Citation",
    ):
        assert f"# {section}" in body


@pytest.mark.parametrize(
    ("scores", "message", "position"),
    [
        ([], "empty", None),
        ([[0.1, 0.2]], "one column", None),
        ([0.1, "0.2"], "'0.2'", 1),
        (["0.1", "0.2"], "'0.1'", 0),
        ([0.1, None, 0.3], "None", 1),
        ([0.1, True, None], "True", 1),
        (np.array([0.1, 1j]), "number", 0),
        ([0.1, float("nan")], "nan", 1),
        ([0.1, 10**400], "number", 1),
        (np.array([True, False]), "True", 0),
    ],
)
def test_scores_that_are_not_finite_numbers_are_refused(scores, message, position):
    with pytest.raises(InputError, match=message) as error:
        check_scores(scores)
    assert error.value.position == position


def test_scores_of_every_number_type_pass_unrounded():
    for dtype in (np.float16, np.float32, np.float64, np.int8, np.uint64):
        values = np.array([0, 1, 3], dtype=dtype)
        assert check_scores(values).tolist() == [0.0, 1.0, 3.0]
    assert check_scores([1, 0.1, np.float32(0.1)]).tolist() == [1.0, 0.1, float(np.float32(0.1))]


def test_unscored_entries_are_not_looked_at():
    scored = check_scored([True, False, False], 3, partial=True)
    assert check_scores([0.5, None, float("nan")], scored).tolist() == [0.5, 0.0, 0.0]
    assert check_scored([True, True], 2, partial=False) is None


def test_labels_are_zero_or_one_in_any_type():
    for labels in ([1, 0], [True, False], [1.0, 0.0], np.array([1, 0], dtype=object)):
        assert check_labels(labels, 2).tolist() == [True, False]
    for labels in (["1", "0"], [1, None], [0.5, 1], [2, 0], ["yes", 1]):
        with pytest.raises(InputError, match="0 or 1") as error:
            check_labels(labels, 2)
        assert error.value.position == next(i for i, value in enumerate(labels) if value not in (0, 1))


@given(st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1))
def test_ids_get_codes_in_sorted_order(ids):
    codes, distinct = check_ids(ids, "videos", len(ids), optional=True)
    assert distinct == sorted({value for value in ids if value is not None})
    assert [None if code < 0 else distinct[code] for code in codes] == ids
    if None in ids:
        with pytest.raises(InputError) as error:
            check_ids(ids, "videos", len(ids))
        assert error.value.position == ids.index(None)


@pytest.mark.parametrize("ids", [["a", 1], [["a"], ["b"]], [0.5, 1.5], [{}, {}]])
def test_ids_that_cannot_be_ids_are_refused(ids):
    with pytest.raises(InputError, match="videos"):
        check_ids(ids, "videos", 2)


def test_an_input_error_is_a_value_error_that_says_where():
    error = InputError("the score is odd", 3)
    assert isinstance(error, ValueError)
    assert str(error) == "position 3 (from 0): the score is odd"


def test_mean_interval_covers_the_true_mean_as_often_as_it_says():
    generator = np.random.default_rng(0)
    inside = 0
    for trial in range(400):
        values = generator.exponential(1.0, size=60)
        low, high = mean_interval(values, resamples=400, level=0.9, seed=trial)
        inside += low <= 1.0 <= high
    # Binomial(400, 0.9) has standard deviation 6; the percentile bootstrap of a skewed mean is a little short.
    assert 400 * 0.9 - 30 <= inside <= 400 * 0.9 + 24


def test_mean_interval_of_resampling_indices_is_the_same_distribution():
    generator = np.random.default_rng(1)
    values = generator.choice([0.0, 0.2, 0.5, 1.0], size=90)
    naive = values[generator.integers(0, 90, (20_000, 90))].mean(axis=1)
    found = mean_interval(values, resamples=20_000, level=0.95, seed=2)
    assert found == pytest.approx(np.quantile(naive, [0.025, 0.975]), abs=0.004)


def test_no_interval_without_spread_to_learn_from():
    assert mean_interval(np.array([0.3]), resamples=100, level=0.95, seed=0) is None
    assert mean_interval(np.array([0.3, 0.4]), resamples=0, level=0.95, seed=0) is None
    assert percentile_interval(np.array([np.nan, np.nan, 0.5]), 0.95) is None
    assert percentile_interval(np.array([np.nan, 0.5, 0.5]), 0.95) == (0.5, 0.5)
