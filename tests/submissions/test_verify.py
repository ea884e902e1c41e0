"""Verifying a result: what is whole is verified, and whatever somebody changes is found and named."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from submitted_results import change, evaluate, with_column, write_annotations

from synvita_data.errors import SourceError
from synvita_data.evaluation.results import read_result
from synvita_data.evaluation.run import evaluate_scorer
from synvita_data.scoring.open import open_scorer
from synvita_data.submissions import opening
from synvita_data.submissions.verify import AnnotationsError, Truth, place_of, verify_file, verify_folder
from synvita_data.tasks import get_task

TASKS = ("ssv2-temporal", "videocon-llm", "atp-hard")


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    return write_annotations(tmp_path_factory.mktemp("annotations"))


@pytest.fixture(scope="module")
def results(annotations, tmp_path_factory):
    """Of each task one, which nobody changes."""
    folder = tmp_path_factory.mktemp("made") / "results"
    return {task: evaluate(annotations, task, folder) for task in TASKS}


@pytest.fixture
def copy(results, tmp_path):
    """Gives a copy of a result that a test may change."""

    def copied(task="videocon-llm"):
        place = tmp_path / f"{task}.json"
        for suffix in (".json", ".parquet"):
            shutil.copyfile(results[task].with_suffix(suffix), place.with_suffix(suffix))
        return place

    return copied


def verified(path, annotations):
    return verify_file(path, Truth(annotations))


def fields(report):
    return [difference.field for difference in report.differences]


@pytest.mark.parametrize("task", TASKS)
def test_a_whole_result_is_verified(results, annotations, task):
    report = verified(results[task], annotations)
    assert (report.problem, report.differences) == (None, ())
    assert report.verdict == "verified"
    assert report.score == read_result(results[task]).main_score["value"]
    alone = verify_file(results[task], Truth(None))
    assert (alone.problem, alone.differences, alone.verdict) == (None, (), "consistent")


@pytest.mark.parametrize("task", TASKS)
def test_without_captions_it_is_verified_all_the_same(copy, annotations, task):
    path = change(copy(task), change_table=lambda table: table.drop_columns(["caption"]))
    assert verified(path, annotations).verdict == "verified"


def test_a_run_of_a_scorer_is_verified_and_its_videos_are_counted(annotations, tmp_path):
    task = get_task("videocon-llm")
    from synvita_data.annotations import read_annotations

    rows = read_annotations(task, annotations)
    done = evaluate_scorer(open_scorer("chance"), task, rows, None, tmp_path / "results", resamples=50)
    assert verified(done.path, annotations).verdict == "verified"
    change(done.path, lambda record: record.update(videos_missing=["tempo_1"]))
    assert fields(verified(done.path, annotations)) == ["videos_left_out"]


def numbers(value, at=()):
    """The place of every number of a JSON value that can be made again."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if at or key not in ("run", "versions", "model", "frames"):
                yield from numbers(inner, (*at, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from numbers(inner, (*at, place))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield at


@settings(max_examples=60)
@given(st.data())
def test_any_changed_number_is_found(results, annotations, tmp_path_factory, data):
    task = data.draw(st.sampled_from(TASKS[:2]))
    record = json.loads(results[task].read_text())
    place = data.draw(st.sampled_from(sorted(numbers(record), key=str)))
    *outer, last = place
    inner = record
    for key in outer:
        inner = inner[key]
    whole = isinstance(inner[last], int)
    inner[last] += data.draw(
        st.integers(1, 5) if whole else st.sampled_from((-1.0, -0.01, 1e-6, 0.5)), label="by how much"
    )
    path = tmp_path_factory.mktemp("changed") / f"{task}.json"
    path.write_text(json.dumps(record))
    shutil.copyfile(results[task].with_suffix(".parquet"), path.with_suffix(".parquet"))
    report = verified(path, annotations)
    assert report.verdict in ("differs", "refused"), place
    if report.verdict == "differs" and place[0] != "bootstrap":
        # The changed field is named with what stands there and what should.
        named = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place).lstrip(".")
        related = ("score_file",) if place[0] == "score_file" else (named,)
        assert any(field.startswith(related) for field in fields(report)), (place, fields(report))


@settings(max_examples=25)
@given(st.data())
def test_any_changed_score_is_found(results, annotations, tmp_path_factory, data):
    task = data.draw(st.sampled_from(TASKS[:2]))  # of a question only the highest counts
    path = tmp_path_factory.mktemp("scores") / f"{task}.json"
    for suffix in (".json", ".parquet"):
        shutil.copyfile(results[task].with_suffix(suffix), path.with_suffix(suffix))
    table = pq.read_table(path.with_suffix(".parquet"))
    scores = table["score"].to_numpy().copy()
    row = data.draw(st.integers(0, len(scores) - 1))
    # Past every other score, so that an order changes.
    scores[row] = 0.0 if scores[row] > np.median(scores) else 1.0
    change(path, change_table=lambda table: with_column(table, "score", scores))
    assert verified(path, annotations).verdict in ("differs", "refused")


def test_a_tampered_result_is_named_field_by_field(copy, annotations):
    def boast(record):
        record["main_score"]["value"] = record["metrics"]["auc"]["value"] = 99.0

    report = verified(change(copy(), boast), annotations)
    assert report.verdict == "differs"
    assert fields(report) == ["main_score.value", "metrics.auc.value"]
    assert {difference.found for difference in report.differences} == {99.0}
    again = report.differences[0].recomputed
    assert 0 < again < 99
    assert "main_score.value: found 99.0, recomputed" in str(report.differences[0])


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("removed", lambda table: table.slice(1), "texts have no score"),
        ("doubled", lambda table: pa.concat_tables([table, table.slice(3, 1)]), "table.rows"),
        (
            "foreign text",
            lambda table: with_column(table, "text_id", ["f" * 16, *table["text_id"].to_pylist()[1:]]),
            "not one of the task's",
        ),
        (
            "foreign video",
            lambda table: with_column(table, "video_id", ["ssv2_1", *table["video_id"].to_pylist()[1:]]),
            "no video of the task",
        ),
        (
            "another label",
            lambda table: with_column(
                table, "label", [1 - table["label"][0].as_py(), *table["label"].to_pylist()[1:]]
            ),
            "table.label, row 0",
        ),
        (
            "another item",
            lambda table: with_column(table, "item_id", ["x", *table["item_id"].to_pylist()[1:]]),
            "table.item_id, row 0",
        ),
        (
            "not a number",
            lambda table: with_column(table, "score", [float("nan"), *table["score"].to_pylist()[1:]]),
            "not a finite number",
        ),
        (
            "no probability",
            lambda table: with_column(table, "score", [1.5, *table["score"].to_pylist()[1:]]),
            "not a probability",
        ),
        (
            "two scores",
            lambda table: pa.concat_tables(
                [table, with_column(table.slice(0, 1), "score", [table["score"][0].as_py() / 2])]
            ),
            "two different scores",
        ),
        ("another order", lambda table: table.take(list(range(len(table)))[::-1]), "table."),
        ("another column", lambda table: table.append_column("secret", table["task"]), "other columns"),
        ("no column", lambda table: table.drop_columns(["label"]), "other columns"),
        (
            "another schema",
            lambda table: table.replace_schema_metadata({**table.schema.metadata, b"schema_version": b"9.0"}),
            "another schema version",
        ),
        (
            "another control",
            lambda table: table.replace_schema_metadata({**table.schema.metadata, b"control": b"frame"}),
            "another control",
        ),
        (
            "other annotations",
            lambda table: table.replace_schema_metadata({**table.schema.metadata, b"annotations": b"0" * 16}),
            "does not belong to its result",
        ),
    ],
)
def test_changed_tables_are_refused(copy, annotations, name, changed, said):
    report = verified(change(copy(), change_table=changed), annotations)
    assert report.verdict in ("differs", "refused"), name
    assert said in (report.problem or " ".join(map(str, report.differences)))
    assert report.problem is None or str(annotations.parent) not in report.problem


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda record: record.update(schema_version="9.0"), "another schema version"),
        (lambda record: record.update(extra={"a": 1}), "extra"),
        (lambda record: record["metrics"].update(auc_of_mine={"value": 99.0}), "metrics.auc_of_mine"),
        (lambda record: record["metrics"].pop("auc"), "metrics.auc"),
        (lambda record: record.update(metrics=[]), "metrics is not an object"),
        (lambda record: record.update(official=True, why_not_official=[]), "why_not_official"),
        (lambda record: record.update(partial=True), "partial"),
        (lambda record: record["bootstrap"].update(resamples=10**9), "resamples"),
        (lambda record: record["bootstrap"].update(seed=-1), "seed"),
        (lambda record: record["task"].update(annotations="0" * 16), "does not belong"),
        (lambda record: record["task"].update(hub_revision="main"), "task.hub_revision"),
        (lambda record: record["task"]["counts"].update(pairs="many"), "task.counts.pairs"),
        (lambda record: record["model"].update(kind="similarity"), "does not belong"),
        (lambda record: record.update(frames={"policy": {"count": 8}}), "frame_indices"),
        (lambda record: record["model"].update(revision=5), "revision"),
    ],
)
def test_changed_records_are_refused(copy, annotations, changed, said):
    report = verified(change(copy(), changed), annotations)
    assert report.verdict in ("differs", "refused")
    assert said in (report.problem or " ".join(map(str, report.differences)))


def test_a_more_modest_result_is_no_fault(copy, annotations):
    path = change(copy(), lambda record: record["why_not_official"].append("the prompt was translated"))
    assert verified(path, annotations).verdict == "verified"


@pytest.mark.parametrize(
    "text", ['{"schema_version": NaN}', "{", "[" * 100_000, '{"a": 1}', "[]", '"\\ud800"']
)
def test_what_is_no_result_is_refused(copy, annotations, text):
    path = copy()
    path.write_text(text)
    assert verified(path, annotations).verdict == "refused"


def test_a_million_rows_are_refused_before_they_are_read(copy, annotations, monkeypatch):
    path = copy()
    table = pq.read_table(path.with_suffix(".parquet")).slice(0, 1)
    large = pa.Table.from_arrays(
        [pa.repeat(table.column(name)[0], 1_000_000) for name in table.column_names], schema=table.schema
    )
    pq.write_table(large, path.with_suffix(".parquet"))
    del large

    def refuse(*args, **how):
        raise AssertionError("the table was read")

    monkeypatch.setattr(pq, "read_table", refuse)
    report = verified(path, annotations)
    assert "1,000,000 rows" in report.problem


def test_large_files_and_links_are_refused(copy, annotations, monkeypatch, tmp_path):
    path = copy()
    monkeypatch.setattr(opening, "LARGEST_TABLE", 1000)
    assert "too large" in verified(path, annotations).problem
    monkeypatch.undo()
    table = path.with_suffix(".parquet")
    table.rename(tmp_path / "elsewhere.parquet")
    table.symlink_to(tmp_path / "elsewhere.parquet")
    assert "is a link" in verified(path, annotations).problem


def test_a_table_of_another_task_is_refused(copy, results, annotations):
    path = copy()
    shutil.copyfile(results["ssv2-temporal"].with_suffix(".parquet"), path.with_suffix(".parquet"))
    assert "does not belong" in verified(path, annotations).problem


def test_without_annotations_nothing_is_verified_but_contradictions_are_found(copy, annotations):
    for task, metric in (("ssv2-temporal", "map"), ("videocon-llm", "auc")):

        def boast(record, metric=metric):
            record["main_score"]["value"] = record["metrics"][metric]["value"] = 99.0

        report = verify_file(change(copy(task), boast), Truth(None))
        assert (report.verdict, fields(report)) == ("differs", [f"metrics.{metric}.value"])
    # Labels of one's own are consistent, and that is why consistent is not verified.
    path = copy("ssv2-temporal")
    other = evaluate(annotations, "ssv2-temporal", path.parent / "other", name="m")
    assert verify_file(other, Truth(None)).verdict == "consistent"
    report = verify_file(change(path, lambda record: record["coverage"].update(k=3)), Truth(None))
    assert "coverage.k" in fields(report)


def test_a_partial_result_is_verified_as_one(annotations, tmp_path):
    path = evaluate(annotations, "videocon-llm", tmp_path / "a" / "results")
    short = pq.read_table(path.with_suffix(".parquet")).slice(0, 30)
    scores = tmp_path / "short.parquet"
    pq.write_table(short, scores)
    from synvita_data.annotations import read_annotations
    from synvita_data.evaluation.run import evaluate_predictions

    task = get_task("videocon-llm")
    rows = read_annotations(task, annotations)
    done = evaluate_predictions(scores, task, rows, tmp_path / "results", partial=True, resamples=50)
    report = verified(done.path, annotations)
    assert (report.verdict, report.official) == ("verified", False)
    change(done.path, lambda record: record["coverage"].update(k=record["coverage"]["k"] + 1))
    assert verified(done.path, annotations).verdict == "differs"


def test_scores_joined_as_the_official_scripts_do(annotations, tmp_path):
    path = evaluate(annotations, "videocon-llm", tmp_path / "a" / "results")
    table = pq.read_table(path.with_suffix(".parquet"))
    twice = pa.concat_tables([table, with_column(table.slice(2, 2), "score", [0.25, 0.75])])
    pq.write_table(twice, tmp_path / "twice.parquet")
    from synvita_data.annotations import read_annotations
    from synvita_data.evaluation.run import evaluate_predictions

    task = get_task("videocon-llm")
    rows = read_annotations(task, annotations)
    done = evaluate_predictions(
        tmp_path / "twice.parquet", task, rows, tmp_path / "results", join="official", resamples=50
    )
    report = verified(done.path, annotations)
    assert (report.verdict, report.differences) == ("verified", ())
    change(done.path, lambda record: record["score_file"].update(texts_with_several_scores=1))
    assert fields(verified(done.path, annotations)) == ["score_file.texts_with_several_scores"]


def test_a_folder_in_either_layout_and_two_results_of_one_model(annotations, tmp_path):
    path = evaluate(annotations, "videocon-llm", tmp_path / "results")
    place = place_of(read_result(path))
    assert place.split("/")[:2] == ["results", "owner--model"]
    deep = tmp_path / "repository" / place
    deep.parent.mkdir(parents=True)
    for suffix in (".json", ".parquet"):
        shutil.copyfile(path.with_suffix(suffix), deep.with_suffix(suffix))
    for folder, name in (
        (tmp_path / "results", "owner--model/videocon-llm.json"),
        (tmp_path / "repository", place),
    ):
        report = verify_folder(folder, Truth(annotations))
        assert ([each.file for each in report.results], report.verdict) == ([name], "verified")
    shutil.copytree(tmp_path / "repository" / "results", tmp_path / "results", dirs_exist_ok=True)
    report = verify_folder(tmp_path / "results", Truth(annotations))
    assert report.verdict == "refused"
    assert "two results of owner/model" in report.problems[0]
    with pytest.raises(SourceError, match="no result"):
        verify_folder(annotations, Truth(annotations))


def test_annotations_of_another_task_and_broken_ones(results, annotations, tmp_path):
    file = annotations / "eval_ssv2_temporal.csv"
    assert verify_file(results["ssv2-temporal"], Truth(file)).verdict == "verified"
    other = verify_file(results["videocon-llm"], Truth(file))
    assert (other.verdict, other.notes[-1]) == ("consistent", "the annotations are those of ssv2-temporal")
    empty = verify_file(results["videocon-llm"], Truth(tmp_path))
    assert empty.verdict == "consistent"
    (tmp_path / file.name).write_text("videopath,caption,match\nx")
    with pytest.raises(AnnotationsError, match="eval_ssv2_temporal"):
        verify_file(results["ssv2-temporal"], Truth(tmp_path))


def test_names_of_others_arrive_as_text(annotations, tmp_path):
    from synvita_data.submissions.report import make_report
    from synvita_data.submissions.review import to_markdown

    name = "<script>alert(1)</script>\x1b[31m|`@owner"
    path = evaluate(annotations, "videocon-llm", tmp_path / "results", name=name)
    change(path, lambda record: record["main_score"].update(name="<b>\x1b"))
    report = make_report([verified(path, annotations)])
    text = to_markdown(report)
    assert "<script>" not in text
    assert "<b>" not in text
    assert "\x1b" not in text
    assert "\x1b" not in report.to_json()


def test_the_released_scores_are_verified(real_data, tmp_path):
    """SSv2-Temporal's released scores, evaluated and verified; then with a better number."""
    from synvita_data.annotations import read_annotations
    from synvita_data.evaluation.run import evaluate_predictions

    folder, task = real_data / "ssv2-temporal", get_task("ssv2-temporal")
    rows = read_annotations(task, folder)
    done = evaluate_predictions(
        folder / "eval_ssv2_temporal_scores.csv", task, rows, tmp_path, name="released"
    )
    report = verified(done.path, folder)
    assert (report.verdict, report.official, round(report.score, 2)) == ("verified", True, 15.57)
    assert report.published.inside
    change(done.path, lambda record: record["main_score"].update(high=25.0))
    assert fields(verified(done.path, folder)) == ["main_score.high"]
