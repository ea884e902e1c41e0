"""Where a number comes from: a report counts for the very files it was made of, and for nothing else."""

import json
import shutil

import pytest
from submitted_results import change, evaluate, write_annotations

from synvita_data.errors import SchemaError, SourceError
from synvita_data.evaluation.results import read_result
from synvita_data.leaderboard.table import read_results
from synvita_data.submissions.provenance import SELF_REPORTED, provenance_of, training_of
from synvita_data.submissions.report import make_report, report_path, write_reports
from synvita_data.submissions.trained import RECORD, read_trained, refuse_never
from synvita_data.submissions.verify import Truth, verify_file, verify_folder, with_rerun
from synvita_data.tasks import get_task


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    return write_annotations(tmp_path_factory.mktemp("annotations"))


@pytest.fixture(scope="module")
def made(annotations, tmp_path_factory):
    """A folder of results with a verified one."""
    folder = tmp_path_factory.mktemp("made") / "results"
    path = evaluate(annotations, "videocon-llm", folder)
    write_reports(verify_folder(folder, Truth(annotations)), folder)
    assert report_path(path).is_file()
    return folder


@pytest.fixture
def path(made, tmp_path):
    shutil.copytree(made, tmp_path / "results")
    return tmp_path / "results" / "owner--model" / "videocon-llm.json"


def kind(path):
    return provenance_of(read_result(path)).kind


def forge(path, change_entry=None, change_report=None):
    place = report_path(path)
    report = json.loads(place.read_text())
    if change_entry is not None:
        change_entry(report["results"][0])
    if change_report is not None:
        change_report(report)
    place.write_text(json.dumps(report))


def test_a_verified_result_and_one_that_nobody_has_looked_at(path):
    found = provenance_of(read_result(path))
    assert (found.kind, found.doubt, found.difference) == ("verified", None, None)
    assert found.version
    assert found.checked
    report_path(path).unlink()
    assert provenance_of(read_result(path)) == SELF_REPORTED


def test_the_report_is_no_result(path):
    assert [each.path for each in read_results(path.parent.parent)] == [path]


@pytest.mark.parametrize(
    ("entry", "report"),
    [
        (lambda entry: entry.update(verdict="consistent"), None),
        (lambda entry: entry.update(result_sha256="0" * 64), None),
        (lambda entry: entry.update(table_sha256="0" * 64), None),
        (lambda entry: entry.update(score=99.0), None),
        (lambda entry: entry.update(score=True), None),
        (lambda entry: entry.update(model="another"), None),
        (lambda entry: entry.update(task="ssv2-temporal"), None),
        (lambda entry: entry.update(annotations="0" * 16), None),
        (lambda entry: entry.update(control="frame"), None),
        (lambda entry: entry.update(differences=[{"field": "x", "found": 1, "recomputed": 2}]), None),
        (lambda entry: entry.update(rerun="better"), None),
        (lambda entry: entry.update(rerun={"difference": "far"}), None),
        (None, lambda report: report.update(verdict="differs")),
        (None, lambda report: report.update(report_version="9.0")),
        (None, lambda report: report.update(results=report["results"] * 2)),
        (None, lambda report: report.update(results=[])),
        (None, lambda report: report.pop("results")),
        (None, lambda report: report.pop("checked")),
    ],
)
def test_a_forged_report_does_not_count(path, entry, report):
    forge(path, entry, report)
    found = provenance_of(read_result(path))
    assert found.kind == "self-reported"
    assert found.doubt


@pytest.mark.parametrize("text", ["", "[]", "null", '{"results": [1]}', "[" * 100_000, '"\\ud800"'])
def test_a_broken_report_does_not_count(path, text):
    report_path(path).write_text(text)
    found = provenance_of(read_result(path))
    assert (found.kind, bool(found.doubt)) == ("self-reported", True)


def test_a_report_is_stale_once_one_of_the_files_changes(path):
    kept = path.read_bytes(), path.with_suffix(".parquet").read_bytes()
    path.write_bytes(kept[0] + b" ")
    assert kind(path) == "self-reported"
    path.write_bytes(kept[0])
    assert kind(path) == "verified"
    path.with_suffix(".parquet").write_bytes(kept[1] + b" ")
    assert kind(path) == "self-reported"
    path.with_suffix(".parquet").unlink()
    assert kind(path) == "self-reported"


def test_what_is_verified_no_longer_loses_its_report(path, annotations):
    change(path, lambda record: record["main_score"].update(value=99.0))
    folder = path.parent.parent
    write_reports(verify_folder(folder, Truth(annotations)), folder)
    assert not report_path(path).exists()


def test_a_result_that_was_run_again(path, annotations, tmp_path):
    own = evaluate(annotations, "videocon-llm", tmp_path / "own", seed=0)
    change(own, lambda record: record["run"].update(wall_seconds=0.5))
    truth = Truth(annotations)
    found = with_rerun(verify_file(path, truth), verify_file(own, truth))
    assert found.rerun.difference == 0.0
    write_reports(make_report([found]), path.parent)
    again = provenance_of(read_result(path))
    assert (again.kind, again.difference) == ("re-run", 0.0)
    # Of another revision of the model, and of a result that is not verified.
    other = evaluate(annotations, "videocon-llm", tmp_path / "other", seed=1)
    with pytest.raises(SourceError, match="another revision"):
        with_rerun(verify_file(path, truth), verify_file(other, truth))
    with pytest.raises(SourceError, match="not verified"):
        with_rerun(verify_file(path, truth), verify_file(own, Truth(None)))


def record(data, **more):
    return {"recipe": {"data": data}, "model": {"name": "base/model"}, "data": {"path": data}, **more}


@pytest.mark.parametrize(
    ("data", "task", "videocon", "zero_shot", "never"),
    [
        ("synvita/videocon-syn", "videocon-human", True, False, False),
        ("synvita/videocon-syn", "ssv2-temporal", True, True, False),
        ("me/shapes", "videocon-human", False, True, False),
        ("me/ssv2-captions", "ssv2-temporal", False, False, False),
        ("lmms-lab/TempCompass", "videocon-llm", False, True, True),
        ("me/my_vinoground_copy", "videocon-llm", False, True, True),
        (None, "videocon-llm", None, None, False),
    ],
)
def test_what_a_fine_tune_was_trained_on(tmp_path, data, task, videocon, zero_shot, never):
    place = tmp_path / RECORD
    place.write_text(json.dumps(record(data)))
    found = read_trained(place, get_task(task))
    assert (found.base, found.data) == ("base/model", data)
    assert (found.videocon, found.zero_shot, found.never) == (videocon, zero_shot, never)
    if never:
        with pytest.raises(SourceError, match="must not be trained on"):
            refuse_never(place, found)
    else:
        refuse_never(place, found)


def test_a_file_that_is_a_benchmark_is_known_by_its_digest(tmp_path):
    digest = get_task("tempcompass-yes-no").checked[0].sha256
    place = tmp_path / RECORD
    place.write_text(json.dumps({**record("x.csv"), "data": {"path": "x.csv", "sha256": digest}}))
    assert read_trained(place, None).never


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"recipe": {}}', '{"recipe": {}, "data": {"path": 5}, "model": {"name": "x"}}']
)
def test_what_is_no_record_of_training(tmp_path, text):
    place = tmp_path / RECORD
    place.write_text(text)
    with pytest.raises(SchemaError):
        read_trained(place, None)


def test_a_result_of_a_model_that_was_trained_on_a_benchmark_is_refused(path, annotations):
    path.with_name(RECORD).write_text(json.dumps(record("synvita/videocon-syn")))
    report = verify_file(path, Truth(annotations))
    assert (report.verdict, report.trained.videocon, report.trained.zero_shot) == ("verified", True, False)
    assert training_of(read_result(path)) == report.trained
    path.with_name(RECORD).write_text(json.dumps(record("velociti")))
    report = verify_file(path, Truth(annotations))
    assert report.verdict == "refused"
    assert "must not be trained on" in report.problem
