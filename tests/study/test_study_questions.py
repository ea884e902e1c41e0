"""The file of questions: what is shipped is whole, and what is wrong in one is named."""

import copy

import pytest
import yaml

from synvita_data.errors import SchemaError
from synvita_data.study.questions import QUESTIONS, CellName, read_questions


@pytest.fixture(scope="module")
def study():
    return read_questions()


def recipe(study, arm, question="main", setting="default"):
    return study.recipe(study.question(question), CellName(arm, setting, 0))


def test_the_issues_questions_are_declared(study):
    assert list(study.questions) == ["main", "losses", "noise", "kinds", "omega"]
    arms = set(study.question("main").arms)
    assert arms >= {
        "before",
        "none",
        "weight-1",
        "synvita",
        "synvita-no-scr",
        "mean-one",
        "mean-one-scr",
        "oracle",
    }
    assert arms >= {"contrast-real", "grey", "shuffled"}


def test_cells_come_seed_by_seed(study):
    seeds = [cell.seed for cell in study.question("noise").cells([3, 1])]
    assert seeds == sorted(seeds, reverse=True)


def test_an_arm_is_run_in_the_settings_that_have_it(study):
    alike = [cell.arm for cell in study.question("omega").cells([0]) if cell.setting == "alike"]
    assert alike == ["weight-1", "weight-1-scr"]


def test_synvita_is_the_trainers_own(study):
    own = recipe(study, "synvita")
    assert (own.weights, own.scr_weight, own.margin, own.clips) == ("difference", 1.0, 0.2, "generated")


def test_settings_that_act_on_nothing_make_no_other_cell(study):
    clean, noisy = (recipe(study, "none", "noise", setting) for setting in ("clean", "noisy"))
    assert clean != noisy
    assert clean.essence() == noisy.essence()
    assert (
        recipe(study, "before").essence()
        == study.cell.changed(
            {"steps": 0, "clips": "none", "scr_weight": 0, "rank": 3, "pairs": 70}
        ).essence()
    )
    assert recipe(study, "weight-1", "noise", "clean").essence() != recipe(study, "weight-1").essence()


def test_the_rows_of_a_misalignment_are_counted(study):
    one = study.cell.changed({"pairs": 30, "misalignments": ["attribute"], "batch": 1})
    assert one.rows == 5  # places 1, 8, 15, 22 and 29


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"pairs": 10, "batch": 14}, "too few pairs for a cell"),
        ({"misalignments": ["count"], "pairs": 70}, "too few pairs for a cell"),
        ({"test_pairs": 3}, "too few pairs for a test set"),
        ({"share": 1.2}, "share is out of range"),
        ({"reverted": -0.1}, "reverted is out of range"),
        ({"noise": "-1"}, "noise is out of range"),
        ({"noise": "nan"}, "noise is out of range"),
        ({"noise": 1}, "noise is of another kind"),
        ({"steps": 1.5}, "steps is of another kind"),
        ({"clips": "filmed"}, "unknown kind of clips"),
        ({"weights": "guess"}, "unknown weights"),
        ({"clips": "grey"}, "only the generator's clips have scores"),
        ({"colour": "red"}, "unknown field of recipe"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(study, change, problem):
    with pytest.raises(SchemaError, match=problem):
        study.cell.changed(change)


def rewrite(tmp_path, change):
    content = copy.deepcopy(yaml.safe_load(QUESTIONS.read_text()))
    change(content)
    path = tmp_path / "questions.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: c["questions"]["main"]["arms"].append("magic"), "unknown arm"),
        (lambda c: c["questions"]["main"]["compare"].append(["none", "action"]), "unknown arm of main"),
        (
            lambda c: c["questions"]["main"]["expect"].append(["none", "synvita", "unseen", "why"]),
            "not compared",
        ),
        (lambda c: c["questions"]["main"]["outcomes"].append("charm"), "unknown outcome"),
        (lambda c: c["arms"]["none"]["change"].update(colour=1), "unknown field of recipe"),
        (lambda c: c["questions"]["main"].pop("compare"), "lacks fields"),
        (lambda c: c.update(format=9), "unknown format"),
        (lambda c: c.pop("arms"), "another form"),
    ],
)
def test_a_file_that_cannot_be_is_refused(tmp_path, change, problem):
    path = rewrite(tmp_path, change)
    with pytest.raises(SchemaError, match=problem) as caught:
        read_questions(path)
    assert caught.value.file == str(path)


def test_an_unknown_question_is_named(study):
    with pytest.raises(SchemaError, match="unknown question"):
        study.question("life")
