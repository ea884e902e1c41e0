"""Questions run whole, with tiny cells: every kind of cell, resumed, refused, and reported by the program."""

import json
import shutil

import pytest
import yaml
from in_process import run_program

from synvita_data.demo.arms import make_job
from synvita_data.errors import SchemaError, SynvitaError
from synvita_data.study.pretraining.record import RECORD
from synvita_data.study.questions import QUESTIONS, read_questions
from synvita_data.study.results import read_all, read_question
from synvita_data.study.run import run_question
from synvita_data.testing import make_tiny

# One worker makes the small study.
pytestmark = pytest.mark.xdist_group("small study")

SMALL = {"pairs": 21, "test_pairs": 7, "steps": 2, "batch": 2, "share": 1.0, "rank": 2}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A tiny model of random weights, of the shipped one's layout."""
    folder = tmp_path_factory.mktemp("tiny")
    return make_tiny("video_llava", folder, hidden_size=32, intermediate_size=32, layers=1, vision_layers=1)


def small(path, arms, seeds=1, settings=None, only=None, **changes):
    """A file of one question with these arms."""
    content = yaml.safe_load(QUESTIONS.read_text())
    content["cell"] |= SMALL | changes
    own = {"title": "A small question", "seeds": seeds, "arms": arms, "outcomes": ["unseen", "rest"]}
    own |= {"compare": [[arms[0], arms[-1]]], "decide": ["unseen"]}
    own["expect"] = [[arms[0], arms[-1], "unseen", "the first is better"]]
    if settings:
        own |= {"settings": settings, "only": only or {}}
    content["questions"] = {"small": own}
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="session")
def begun(tiny, tmp_path_factory):
    """A study of one seed whose cells are done: file of questions, and its folder."""
    root = tmp_path_factory.mktemp("study")
    path = small(root / "questions.yaml", ["none", "mean-one-scr"], seeds=2)
    run_question(read_questions(path), "small", [0], root / "out", model=str(tiny))
    return path, root / "out"


@pytest.mark.slow
def test_a_cell_has_its_numbers_and_facts(begun, tiny):
    result = read_question(begun[1] / "small.json")
    none, weighed = result.cells
    assert (none["arm"], weighed["arm"]) == ("none", "mean-one-scr")
    for own in result.cells:
        assert set(own["values"]) == {"unseen", "train_like", "rest", "flip", "temporal"}
        assert all(0 <= value <= 100 for value in own["values"].values())
        assert set(own["seconds"]) == {"train", "evaluate"}
    assert none["facts"]["triplets"] == 21
    assert weighed["facts"]["weight"] == pytest.approx(1, abs=1e-3)  # rounded to four digits
    assert 0 < weighed["facts"]["omega"] < 1
    assert result.model["revision"]
    assert [cell.seed for cell in result.missing(read_questions(begun[0]).question("small"))] == [1, 1]


@pytest.mark.slow
def test_what_is_done_is_not_done_again(begun, tiny, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(begun[1], out)
    before = {path: path.stat().st_mtime_ns for path in (out / ".work" / "cells").rglob("*.json")}
    again = run_question(read_questions(begun[0]), "small", [0], out, model=str(tiny))
    assert again.cells == read_question(begun[1] / "small.json").cells
    assert before == {path: path.stat().st_mtime_ns for path in (out / ".work" / "cells").rglob("*.json")}


@pytest.mark.slow
def test_another_model_is_refused(begun, tmp_path, tiny):
    out = tmp_path / "out"
    shutil.copytree(begun[1], out)
    other = make_tiny(
        "video_llava", tmp_path / "other", seed=1, hidden_size=32, intermediate_size=32, layers=1
    )
    with pytest.raises(SchemaError, match="another version of the model"):
        run_question(read_questions(begun[0]), "small", [0], out, model=str(other))


@pytest.mark.slow
def test_other_sizes_are_refused(begun, tmp_path, tiny):
    out = tmp_path / "out"
    shutil.copytree(begun[1], out)
    with pytest.raises(SchemaError, match="begun with other sizes") as caught:
        run_question(read_questions(begun[0]).smaller(steps=3), "small", [0], out, model=str(tiny))
    assert "steps 2" in str(caught.value)


@pytest.mark.slow
def test_other_seeds_are_refused_until_those_begun_are_done(begun, tmp_path, tiny):
    out = tmp_path / "out"
    shutil.copytree(begun[1], out)
    note = out / ".work" / "begun-small.json"
    record = json.loads(note.read_text())
    note.write_text(json.dumps(record | {"seeds": [0, 1]}))
    with pytest.raises(SchemaError, match="other seeds and is not finished") as caught:
        run_question(read_questions(begun[0]), "small", [0], out, model=str(tiny))
    assert "2 cells to do" in str(caught.value)
    assert "--seeds 2" in str(caught.value)


@pytest.mark.slow
def test_the_program_runs_and_reports(begun, tmp_path, tiny, capsys):
    out = tmp_path / "study"
    shutil.copytree(begun[1], out)
    page = tmp_path / "docs" / "study.md"
    given = ("--questions", begun[0], "--out", out, "--model", tiny)
    assert run_program("study", "shapes", "--question", "small", "--seeds", 1, *given, "--report", page) == 0
    printed = capsys.readouterr().out
    assert "mean-one-scr" in printed
    text = page.read_text()
    assert "What did not reproduce" in text
    assert "**2 not run**" in text
    for image in (page.parent / "images").glob("*.png"):
        assert f"images/{image.name}" in text
    # Equal results give an equal page.
    assert run_program("study", "shapes", *given, "--report", page) == 0
    assert page.read_text() == text


def test_the_program_lists_what_is_declared(capsys):
    assert run_program("study", "shapes", "--list") == 0
    printed = capsys.readouterr().out
    for name, question in read_questions().questions.items():
        assert f"{name}: " in printed
        assert question.arms[-1] in printed


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "nothing is asked for"),
        (("--question", "life"), "unknown question"),
        (("--question", "main", "--set", "steps"), "--set takes NAME=VALUE"),
        (("--question", "main", "--set", "pairs=7"), "too few pairs for a cell"),
        (("--report", "page.md"), "there are no results of the study here"),
    ],
)
def test_what_cannot_be_run_is_named(arguments, problem, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_program("study", "shapes", *arguments) == 2
    assert problem in capsys.readouterr().err


def test_a_model_of_another_world_is_refused(tiny, tmp_path):
    """Before anything is made, also by the demo."""
    other = shutil.copytree(tiny, tmp_path / "other")
    (other / RECORD).write_text(json.dumps({"world": 1}))
    study = read_questions().smaller(**SMALL)
    with pytest.raises(SynvitaError, match="another version of the shapes world"):
        run_question(study, "main", [0], tmp_path / "out", model=str(other))
    assert not (tmp_path / "out").exists()
    with pytest.raises(SynvitaError, match="another version of the shapes world"):
        make_job(study, tmp_path / "demo", model=str(other), seed=0, tasks={}, results="results")


@pytest.mark.slow
def test_a_cell_of_each_question_runs(tiny, tmp_path):
    """All arms of all questions, each once, on one small world a setting."""
    study = read_questions().smaller(**SMALL | {"pairs": 70})
    for name, question in study.questions.items():
        result = run_question(study, name, [0], tmp_path / "out", model=str(tiny))
        assert len(result.cells) == len(question.cells([0]))
    page = tmp_path / "study.md"
    from synvita_data.study.page import write_page

    write_page(study, read_all(tmp_path / "out", list(study.questions)), page, tmp_path / "images")
    assert page.read_text().count("Not run:") == len(study.questions)


@pytest.mark.slow
def test_a_result_of_other_sizes_says_which(begun, tmp_path):
    from synvita_data.study.page import write_page

    out = tmp_path / "out"
    out.mkdir()
    record = json.loads((begun[1] / "small.json").read_text())
    (out / "small.json").write_text(json.dumps(record))
    (out / "small@quick.json").write_text(
        json.dumps(record | {"cell": record["cell"] | {"learning_rate": 0.5}})
    )
    study, page = read_questions(begun[0]), tmp_path / "study.md"
    write_page(study, read_all(out, ["small"]), page, tmp_path / "images")
    text = page.read_text()
    assert "`small@quick` was run with learning rate 0.5." in text
    first, second = (line for line in text.splitlines() if line.startswith("## A small question"))
    assert "learning rate" not in first
    assert second.endswith("learning rate 0.5)")
