"""The output folder: whose it is, what was started there, on which data, and that one run has it at a time."""

import json
import os
import signal
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.captions import Text
from synvita_data.errors import SynvitaError
from synvita_data.training.data.selection import SelectedRow
from synvita_data.training.output import (
    RunLock,
    check_data,
    check_folder,
    data_identity,
    different_keys,
    is_finished,
    missing_folders,
    read_started,
    remove_leftovers,
    remove_traces,
    write_started,
)
from synvita_data.training.recipe import Recipe, RunOptions

RECIPE = Recipe("r", RunOptions(model="m", data="d"), {"seed": 1, "output_dir": "out"})
TEXTS = (Text("a dog"), Text("a cat"), Text("a dog", ((2, 5),)), Text("a cat", ((2, 5),)))
TRIPLET = SelectedRow(3, "row", "pair", TEXTS, 0.25, True, "Because.", True, True, 1.0, 2.5)
VERSION = {"path": "d", "build": "abc"}


def identity(*triplets, version=VERSION, **counts):
    return data_identity(version, triplets, {"rows": 5, **counts})


@pytest.mark.parametrize(
    "change",
    [
        {"number": 4},
        {"row_id": "other"},
        {"pair_id": "other"},
        {"texts": (*TEXTS[:3], Text("a cat", ((0, 5),)))},
        {"texts": (Text("a dot"), *TEXTS[1:])},
        {"weight": 0.26},
        {"takes_real": False},
        {"explanation": None},
        {"real": False},
        {"synthetic": False},
        {"start": None},
        {"end": 2.6},
    ],
)
def test_the_identity_of_data_knows_all_that_a_triplet_trains(change):
    assert identity(TRIPLET) == identity(replace(TRIPLET))
    assert identity(TRIPLET)["triplets"] != identity(replace(TRIPLET, **change))["triplets"]


def test_the_order_of_triplets_belongs_to_the_data():
    other = replace(TRIPLET, number=4, row_id="other")
    assert identity(TRIPLET, other)["triplets"] != identity(other, TRIPLET)["triplets"]


def test_a_run_goes_on_only_with_its_recipe_and_its_data(tmp_path):
    check_folder(tmp_path / "new", RECIPE)
    check_data(tmp_path / "new", identity(TRIPLET))
    write_started(tmp_path, RECIPE, identity(TRIPLET))
    (tmp_path / "checkpoint-2").mkdir()
    elsewhere = Recipe(
        "other-name",
        RunOptions(model="m", data="d", real_root="/r", merge=True, push_to="a/b"),
        {"seed": 1, "output_dir": "./out", "report_to": "none"},
    )
    check_folder(tmp_path, elsewhere)
    with pytest.raises(SynvitaError, match="data: d there, e here, seed: 1 there, None here"):
        check_folder(tmp_path, Recipe("r", RunOptions(model="m", data="e"), {"output_dir": "out"}))

    check_data(tmp_path, identity(TRIPLET))
    check_data(tmp_path, {"version": VERSION})
    check_data(tmp_path, identity(TRIPLET, version={"path": "moved", "build": None}))
    with pytest.raises(SynvitaError, match="build abc there, xyz here"):
        check_data(tmp_path, {"version": {**VERSION, "build": "xyz"}})
    with pytest.raises(SynvitaError, match="rows 5 there, 4 here"):
        check_data(tmp_path, identity(rows=4))
    with pytest.raises(SynvitaError, match="but others"):
        check_data(tmp_path, identity(replace(TRIPLET, weight=0.5)))

    # The kinds of contrast that rows were chosen by belong to the data, even where they choose the same rows.
    chosen = data_identity(VERSION, [TRIPLET], {"rows": 5}, ("action", "flip"))
    assert "misalignments" not in identity(TRIPLET)
    with pytest.raises(SynvitaError, match=r"other data.*misalignments: all rows there, action, flip here"):
        check_data(tmp_path, chosen)
    write_started(tmp_path / "chosen", RECIPE, chosen)
    check_data(tmp_path / "chosen", chosen)
    check_data(tmp_path / "chosen", {"version": VERSION})
    for other, said in ((None, "all rows"), (("action",), "action")):
        with pytest.raises(SynvitaError, match=f"misalignments: action, flip there, {said} here"):
            check_data(tmp_path / "chosen", data_identity(VERSION, [TRIPLET], {"rows": 5}, other))

    only = {"source": ["tempo"], "weight": {"min": 0.5}}
    chosen = data_identity(VERSION, [TRIPLET], {"rows": 5}, None, only)
    assert "only" not in identity(TRIPLET)
    with pytest.raises(SynvitaError, match=r'only: all rows there, {"source": \["tempo"\].* here'):
        check_data(tmp_path, chosen)
    write_started(tmp_path / "only", RECIPE, chosen)
    check_data(tmp_path / "only", chosen)

    # What was started stays what was started.
    write_started(tmp_path, elsewhere, identity())
    assert read_started(tmp_path) == {"recipe": RECIPE.to_dict(), "data": identity(TRIPLET)}
    assert not is_finished(tmp_path)
    (tmp_path / "training_run.json").write_text("{}")
    with pytest.raises(SynvitaError, match="finished run"):
        check_folder(tmp_path, RECIPE)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null", '{"recipe": [], "data": {}}', "\x00"])
def test_a_broken_note_of_what_was_started_is_said(tmp_path, content):
    (tmp_path / "recipe.json").write_text(content)
    for ask in (lambda: check_folder(tmp_path, RECIPE), lambda: check_data(tmp_path, identity(TRIPLET))):
        with pytest.raises(SynvitaError, match=r"recipe\.json is missing or unreadable") as caught:
            ask()
        assert "recipe.json" in str(caught.value)


@given(st.binary(max_size=40))
def test_no_bytes_of_that_note_end_in_a_traceback(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("note")
    (folder / "recipe.json").write_bytes(content)
    with pytest.raises(SynvitaError):
        check_folder(folder, RECIPE)


@pytest.mark.parametrize(
    "name",
    ["config.json", "model.safetensors", "pytorch_model.bin", "adapter_config.json", "checkpoint-7"],
)
def test_a_model_or_checkpoint_from_elsewhere_is_left_alone(tmp_path, name):
    (tmp_path / "notes.txt").touch()
    check_folder(tmp_path, RECIPE)
    (tmp_path / name).touch()
    with pytest.raises(SynvitaError, match=f"did not make.*(?s:.*){name}"):
        check_folder(tmp_path, RECIPE)


@pytest.mark.parametrize("key", ["model", "data", "real_root"])
def test_the_result_never_goes_where_it_is_made_from(tmp_path, key):
    places = {"model": "m", "data": "d", key: f"{tmp_path}/sub/.."}
    (tmp_path / "sub").mkdir()
    with pytest.raises(SynvitaError, match=f"the folder of {key}"):
        check_folder(tmp_path, Recipe("r", RunOptions(**places), {}))


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SynvitaError, match="is a file"):
        check_folder(tmp_path / "file", RECIPE)
    with pytest.raises(SynvitaError, match=r"would lie in a file\. Found: .*file\."):
        check_folder(tmp_path / "file" / "a" / "b", RECIPE)


def test_one_run_has_a_folder_at_a_time(tmp_path):
    out = tmp_path / "out"
    first = RunLock(out)
    with pytest.raises(SynvitaError, match=f"process {os.getpid()} on"):
        RunLock(out)
    first.release()
    first.release()
    RunLock(out).release()


def test_the_lock_of_a_killed_run_is_taken_over_at_once(tmp_path):
    child = os.fork()
    if not child:
        try:
            lock = RunLock(tmp_path)
            assert lock is not None
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert list((tmp_path / ".synvita").rglob("*.claim*"))
    RunLock(tmp_path).release()


def test_what_came_to_nothing_leaves_no_trace(tmp_path):
    out = tmp_path / "a" / "b"
    missing = missing_folders(out)
    assert missing == [out, tmp_path / "a"]
    RunLock(out).release()
    remove_traces(out, missing)
    assert not list(tmp_path.iterdir())

    out.mkdir(parents=True)
    (out / "kept.json").write_text(json.dumps(1))
    RunLock(out).release()
    remove_traces(out, missing)
    assert [path.name for path in out.iterdir()] == ["kept.json"]


def test_two_spellings_of_one_folder_are_one_recipe(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    write_started(tmp_path / "out", with_data(str(tmp_path / "data")), {})
    for spelling in ("data", "./data", "../" + tmp_path.name + "/data"):
        assert different_keys(tmp_path / "out", with_data(spelling)) == ""
    (tmp_path / "other").mkdir()
    assert different_keys(tmp_path / "out", with_data("other")).endswith("data there, other here")
    assert different_keys(tmp_path / "out", with_data("owner/data"))


def with_data(name):
    return Recipe("r", RunOptions(model="m", data=name), {"output_dir": "out"})


def test_what_a_killed_run_was_writing_goes(tmp_path):
    (tmp_path / ".part-model-abc").mkdir()
    (tmp_path / ".part-model-abc" / "adapter_model.safetensors").write_text("half")
    (tmp_path / ".part-1234-recipe.json").write_text("half")
    (tmp_path / "checkpoint-3" / ".part-model-x").mkdir(parents=True)
    (tmp_path / "recipe.json").write_text("whole")
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["checkpoint-3", "recipe.json"]
