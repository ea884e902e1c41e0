"""Declarations: ours say what they said as code, a user's is read strictly, and errors name the line."""

import dataclasses
import json
from pathlib import Path

import pytest

from synvita_data.errors import SchemaError
from synvita_data.tasks import COLUMNS, FORMS, TASKS, get_task, task_of_file

MINIMAL = "name: mine\nform: entailment\n"


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_six_say_what_they_said_as_code():
    """`six_tasks.json` was written from the code before the declarations were."""
    recorded = json.loads(Path(__file__).with_name("six_tasks.json").read_text(encoding="utf-8"))
    assert list(recorded) == list(COLUMNS) == list(TASKS)[:6]
    for name, fields in recorded.items():
        now = json.loads(json.dumps(dataclasses.asdict(TASKS[name])))
        assert {field: now[field] for field in fields} == fields
        assert TASKS[name].key_parts == {}


def test_a_declaration_of_two_keys(tmp_path):
    task = get_task(write(tmp_path, MINIMAL))
    assert (task.name, task.metric, task.main_score, task.columns) == ("mine", "entailment_auc", "auc", {})
    assert task.checked == ()
    assert task.file == str(tmp_path / "mine.yaml")
    assert task.key_parts == {"declaration": task.digest}
    # Another layout of the same is the same task; another value is another.
    assert get_task(write(tmp_path, "# mine\nform: 'entailment'\nname: mine\n")).digest == task.digest
    assert get_task(write(tmp_path, MINIMAL + "split: test\n")).digest != task.digest


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("caption: text\n", r"mine\.yaml: line 3: unknown key 'caption'.*Expected: one of .*columns"),
        ("name: again\n", r"line 3: the key 'name' stands twice"),
        ("columns: {video: v, caption: c, contrast: d, capton: e}\n", r"columns has an unknown key 'capton'"),
        ("columns: {video: v, caption: c}\n", r"columns lacks 'contrast' or 'label'"),
        ("columns: {video: [a, b], caption: c, contrast: d}\n", r"columns: video has several columns"),
        ("columns: {video: 'v/{}.mp4', caption: c, contrast: d}\n", r"braces without a column's name"),
        ("columns: {video: 'v/{id.mp4', caption: c, contrast: d}\n", r"stray brace"),
        ("expected: {rows: many}\n", r"line 3: expected: rows is not a whole number. Found: 'many'"),
        ("expected: {row: 3}\n", r"expected has an unknown key 'row'"),
        ("split: true\n", r"line 3: split is not text"),
        ("only_hard: maybe\n", r"only_hard is not true or false"),
        ("train: sometimes\n", r"unknown train.*one of allowed, never"),
        ("scored_as: letter\n", r"scored_as does not fit"),
        ("frames: {count: 0}\n", r"frames: count is not a whole number"),
        ("frames: {fps: 1, count: 8}\n", r"frames is not a way to choose frames"),
        ("files: annotations.csv\n", r"files is not a list"),
        ("files: [a.csv, a.csv]\n", r"files names one twice"),
        ("checked_against: {file: a.csv, sha256: abc}\n", r"sha256 is no digest"),
        (
            f"unchecked: true\nchecked_against: {{file: a.csv, sha256: {'0' * 64}}}\n",
            r"line 3: checked_against and unchecked contradict",
        ),
        ("unchecked: false\n", r"nothing says what it was checked against"),
        ("metric: retrieval_map\n", r"unknown metric.*entailment_auc"),
        ("licence: [MIT]\n", r"licence is not a mapping"),
        ("licence: {of: MIT}\n", r"licence has an unknown key"),
        ("1: 2\n", r"a key is not text"),
        ("title: &a x\ndescription: *a\n", r"line 4: an alias is not read"),
        ("title: [\n", r"this is not YAML"),
    ],
)
def test_errors_name_the_line(tmp_path, more, says):
    with pytest.raises(SchemaError, match=says) as caught:
        get_task(write(tmp_path, MINIMAL + more))
    assert caught.value.file == str(tmp_path / "mine.yaml")


def test_a_licence_may_be_one_text(tmp_path):
    task = get_task(write(tmp_path, MINIMAL + "licence: MIT\n"))
    assert (task.licence, task.video_licence) == ("MIT", "not stated")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the declaration is empty"),
        ("form: entailment\n", "lacks the key 'name'"),
        ("name: mine\n", "lacks the key 'form'"),
        ("- name\n", "the declaration is not a mapping"),
        ("name: My Task\nform: entailment\n", "cannot be used"),
        ("name: ../up\nform: entailment\n", "cannot be used"),
        ("name: mine@frame\nform: entailment\n", "cannot be used"),
        ("name: mine\nform: guessing\n", f"one of {', '.join(FORMS)}"),
        ("name: vitatecs2\nform: entailment\ntitle: 2024\n", "title is not text"),
        ("name: atp-hard\nform: choice\n", "taken by one of this package"),
    ],
)
def test_what_is_no_declaration(tmp_path, text, says):
    with pytest.raises(SchemaError, match=says):
        get_task(write(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(SchemaError, match="cannot be read"):
        get_task(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(SchemaError, match="cannot be read"):
        get_task(tmp_path / "bytes.yaml")
    write(tmp_path, "# " + "x" * (1 << 20), "large.yaml")
    with pytest.raises(SchemaError, match="too large"):
        get_task(tmp_path / "large.yaml")


def test_the_path_of_ours_is_ours(repo_root):
    path = repo_root / "synvita_data/tasks/declarations/atp-hard.yaml"
    assert get_task(str(path)) is TASKS["atp-hard"]


def test_a_task_of_a_file(tmp_path):
    task = task_of_file(tmp_path / "My Pairs (2).csv", "entailment")
    assert (task.name, task.form, task.files) == ("my-pairs-2-", "entailment", ("My Pairs (2).csv",))
    with pytest.raises(SchemaError, match="taken by one of this package"):
        task_of_file("atp-hard.csv", "choice")
    with pytest.raises(SchemaError, match="unknown form"):
        task_of_file("pairs.csv", "pair")
    with pytest.raises(SchemaError, match="no task can be named"):
        task_of_file("___.csv", "pairs")
