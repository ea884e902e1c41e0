"""What a pull request may change, the schema of what is submitted, and the workflow that looks at it."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from submitted_results import evaluate, write_annotations

from synvita_data.errors import SourceError
from synvita_data.submissions.changes import added_results, changes_between, digests, refused_changes
from synvita_data.submissions.differing import differences
from synvita_data.submissions.report import make_report
from synvita_data.submissions.review import verify_changes
from synvita_data.submissions.schema import schemas, schemas_json
from synvita_data.submissions.verify import Truth, verify_file
from synvita_data.submissions.workflow import workflow_text, write_workflow

states = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("12"))


@given(states, states)
def test_changes_lead_from_one_state_to_the_other(base, now):
    found = changes_between(base, now)
    made = {path: content for path, content in base.items() if path not in found.deleted}
    assert not set(found.added) & base.keys()
    made |= {path: now[path] for path in (*found.added, *found.changed)}
    assert made == now
    assert all(base[path] != now[path] for path in found.changed)


@pytest.mark.parametrize(
    ("path", "good"),
    [
        ("results/owner--model/abc/videocon-llm.json", True),
        ("results/owner--model/abc/videocon-llm@frame.json", True),
        ("results/m/1/training_run.json", False),  # alone
        ("results/m/1/videocon-llm.verified.json", False),
        ("results/m/1/videocon-llm.parquet", False),  # alone
        ("results/m/videocon-llm.json", False),
        ("results/m/1/2/videocon-llm.json", False),
        ("results/../1/videocon-llm.json", False),
        ("results/m/.hidden/videocon-llm.json", False),
        ("results/m/1/videocon-llm.json\n", False),
        ("results/m/1/x.py", False),
        ("README.md", False),
    ],
)
def test_what_may_be_added(path, good):
    changes = changes_between({}, {path: "1"})
    assert (refused_changes(changes, {path: 10}) == []) == good
    assert refused_changes(changes, {path: 10**9})
    assert refused_changes(changes, {path: 10}, frozenset({path}))


def test_of_many_problems_the_first_are_named():
    changes = changes_between({}, {f"x{place}": "1" for place in range(2000)})
    problems = refused_changes(changes, {})
    assert len(problems) == 11
    assert problems[-1].endswith("more")


def test_a_folder_against_another(tmp_path):
    annotations = write_annotations(tmp_path / "annotations")
    evaluate(annotations, "videocon-llm", tmp_path / "made")
    (tmp_path / "base").mkdir()
    folder = tmp_path / "now"
    folder.mkdir()
    assert verify_changes(folder, tmp_path / "base", Truth(annotations)).problems == ("adds no result",)
    path = next((tmp_path / "made").rglob("videocon-llm.json"))
    revision = json.loads(path.read_text())["model"]["revision"]
    place = folder / "results" / "owner--model" / revision
    place.mkdir(parents=True)
    import pyarrow.parquet as pq

    (place / path.name).write_bytes(path.read_bytes())
    pq.write_table(
        pq.read_table(path.with_suffix(".parquet")).drop_columns(["caption"]), place / "videocon-llm.parquet"
    )
    assert verify_changes(folder, tmp_path / "base", Truth(annotations)).verdict == "verified"
    assert added_results(changes_between({}, digests(folder))) == [
        f"results/owner--model/{revision}/{path.name}"
    ]
    pq.write_table(pq.read_table(path.with_suffix(".parquet")), place / "videocon-llm.parquet")
    report = verify_changes(folder, tmp_path / "base", Truth(annotations))
    assert "holds captions" in report.problems[0]
    (place / path.name).unlink()
    (place / path.name).symlink_to(path)
    assert verify_changes(folder, tmp_path / "base", Truth(annotations)).verdict == "refused"


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_a_value_does_not_differ_from_itself(value):
    assert list(differences(value, json.loads(json.dumps(value)), "x")) == []


@given(values, values)
def test_values_that_differ_are_told_apart(one, other):
    def plain(value):  # numbers that are as good as equal are
        if isinstance(value, bool) or value is None or isinstance(value, str):
            return repr(value)
        if isinstance(value, int | float):
            return round(float(value), 8) + 0.0
        if isinstance(value, list):
            return [plain(each) for each in value]
        return {key: plain(each) for key, each in value.items()}

    if plain(one) != plain(other):
        found = list(differences(one, other, "x"))
        assert found
        assert all(each.field.startswith("x") for each in found)


def test_the_schema_in_the_docs_is_current(repo_root):
    assert (repo_root / "docs/schemas/submissions.json").read_text() == schemas_json(), (
        "make it again: synvita verify --schema > docs/schemas/submissions.json"
    )


def test_results_and_reports_have_the_schema(tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    schema = schemas()
    jsonschema.Draft202012Validator.check_schema(schema)
    annotations = write_annotations(tmp_path / "annotations")
    path = evaluate(annotations, "ssv2-temporal", tmp_path / "results")
    check = jsonschema.Draft202012Validator(schema)
    record = json.loads(path.read_text())
    check.validate(record)
    for broken in (
        {**record, "extra": 1},
        {**record, "official": "yes"},
        {**record, "schema_version": "9.0"},
    ):
        assert not check.is_valid(broken)
    reports = [verify_file(path, Truth(annotations)), verify_file(tmp_path / "no.json", Truth(None))]
    check.validate(json.loads(make_report(reports).to_json()))
    assert not check.is_valid({**json.loads(make_report(reports).to_json()), "verdict": "wonderful"})


def test_the_workflow_runs_verify_on_pull_requests(tmp_path):
    path = write_workflow(tmp_path, "board/results", "board/annotations")
    assert path == tmp_path / ".github/workflows/verify-results.yml"
    text = path.read_text()
    jobs = yaml.safe_load(text)["jobs"]
    steps = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    assert any(
        "synvita verify board/results --annotations board/annotations --pull-requests --comment" in step
        for step in steps
    )
    assert any(step.endswith("--annotations board/annotations --write") for step in steps)
    assert "RESULTS_REPO" not in text
    with pytest.raises(SourceError, match="OWNER/NAME"):
        workflow_text("board/results; rm -rf", "board/annotations")
