"""Folders that change places while they are read, and JSON that a kill, a user or an attacker may have written."""

import errno
import json
import os
import threading
from pathlib import Path

import pytest
import yaml

from synvita_data import files
from synvita_data.errors import SynvitaError, UnsafePathError
from synvita_data.files import (
    atomic_link,
    atomic_path,
    exchange_folder,
    json_lines,
    new_folder,
    parse_json,
    parse_yaml,
    read_json,
    resolve_under,
    sweep,
    write_atomic,
)


def folder(path, content):
    path.mkdir()
    (path / "file").write_text(content)
    return path


def test_a_reader_finds_the_old_folder_or_the_new_one_at_any_time(tmp_path):
    final = folder(tmp_path / "final", "0")
    seen, stop = set(), threading.Event()

    def read():
        while not stop.is_set():
            seen.add((final / "file").read_text())  # FileNotFoundError where there is a moment without it

    failed = []
    reader = threading.Thread(target=lambda: _keep(read, failed))
    reader.start()
    for k in range(1, 1001):
        new = folder(tmp_path / f"new-{k}", str(k))
        exchange_folder(new, final)
        assert (new / "file").read_text() == str(k - 1)
    stop.set()
    reader.join()
    assert failed == []
    assert len(seen) > 1


def _keep(run, failed):
    try:
        run()
    except OSError as error:
        failed.append(error)


@pytest.mark.parametrize("atomic", [True, False])
def test_folders_change_places(tmp_path, monkeypatch, atomic):
    if not atomic:  # a file system that cannot
        monkeypatch.setattr("synvita_data.files._exchange", lambda one, other: False)
    final, new = folder(tmp_path / "final", "old"), folder(tmp_path / "new", "new")
    exchange_folder(new, final)
    assert ((final / "file").read_text(), (new / "file").read_text()) == ("new", "old")
    assert {path.name for path in tmp_path.iterdir()} == {"final", "new"}
    first = folder(tmp_path / "first", "first")
    exchange_folder(first, tmp_path / "place")
    assert not first.exists()
    assert (tmp_path / "place" / "file").read_text() == "first"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 50_000, "nested too deeply"),
        ("{", "Expecting"),
        (f"[-{'1' * 309}]", "a whole number of 310 digits"),
    ],
)
def test_json_that_is_none(tmp_path, text, problem):
    with pytest.raises(ValueError, match=problem):
        parse_json(text)
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(SynvitaError, match=problem):
        read_json(path, "settings")


def test_half_of_a_surrogate_pair_is_refused_in_files_of_others_only():
    text = json.dumps({"name": "a\ud800"})
    assert parse_json(text) == {"name": "a\ud800"}
    for content in (text, text.encode()):
        with pytest.raises(ValueError, match="half of a surrogate pair"):
            parse_json(content, foreign=True)
    whole = json.dumps({"name": "\U0001f600 \\u", "é": 1})
    assert parse_json(whole, foreign=True) == {"name": "\U0001f600 \\u", "é": 1}


@pytest.mark.parametrize(
    ("found", "end"),
    [
        ("two.", "Found: two."),
        ("which?", "Found: which?"),
        ("HF_HUB_OFFLINE.. ", "Found: HF_HUB_OFFLINE."),
        ("cut…", "Found: cut…"),
    ],
)
def test_a_sentence_of_an_error_ends_once(found, end):
    assert str(SynvitaError("a problem.", found=found)) == f"a problem. {end}"


def _killed_while_writing(path):
    """A process that dies inside `atomic_path`."""
    child = os.fork()
    if child == 0:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            os._exit(0)
    os.waitpid(child, 0)


def _parts(folder):
    return sorted(path.name for path in folder.glob(".part-*"))


def test_what_killed_writers_left_goes_and_what_live_ones_write_stays(tmp_path):
    _killed_while_writing(tmp_path / "result.json")
    (left,) = _parts(tmp_path)
    with atomic_path(tmp_path / "other.json") as live:
        live.write_text("whole")
        files._swept.clear()  # as in a new process
        write_atomic(tmp_path / "third.json", "{}")
        assert _parts(tmp_path) == [live.name]
        assert left != live.name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.json", "third.json"]
    assert (tmp_path / "other.json").read_text() == "whole"


def test_temporary_files_of_other_machines_stay_for_a_day(tmp_path, monkeypatch):
    _killed_while_writing(tmp_path / "result.json")
    (left,) = _parts(tmp_path)
    monkeypatch.setattr(files, "_host", lambda: "zzzz")
    files._swept.clear()
    write_atomic(tmp_path / "a", "")
    assert _parts(tmp_path) == [left]
    os.utime(tmp_path / left, (1, 1))
    files._swept.clear()
    write_atomic(tmp_path / "b", "")
    assert _parts(tmp_path) == []


def _killed_while_linking(source, final, folder):
    """A process that dies between the two steps of `atomic_link`."""
    child = os.fork()
    if child == 0:
        Path.replace = lambda self, target: os._exit(0)
        atomic_link(source, final, folder)
    os.waitpid(child, 0)


def test_a_link_of_a_killed_process_goes_and_that_of_a_live_one_stays(tmp_path, monkeypatch):
    source, final, work = tmp_path / "source", tmp_path / "final", tmp_path / "work"
    work.mkdir()
    source.write_text("whole")
    os.utime(source, (1, 1))
    _killed_while_linking(source, final, work)
    (left,) = _parts(work)

    def replace(self, target):  # between the two steps of a live process
        sweep(work, again=True)
        assert self.name in _parts(work)
        self.rename(target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        atomic_link(source, final, work)
    assert final.samefile(source)
    atomic_link(source, final, work)  # it is there
    assert left in _parts(work)  # of the same file, which the live one had locked
    with monkeypatch.context() as patch:
        patch.setattr(files, "_host", lambda: "zzzz")
        sweep(work, again=True)
        assert _parts(work) == [left]  # however old its file is
    sweep(work, again=True)
    assert _parts(work) == []
    assert (source.read_text(), final.read_text()) == ("whole", "whole")


def test_a_name_that_no_file_system_holds_is_an_unsafe_path(tmp_path):
    (tmp_path / "folder").mkdir()
    for name in ("a" * 300 + ".mp4", "folder/" + "ü" * 200, "/".join(["deep"] * 2000)):
        with pytest.raises(UnsafePathError, match="cannot be resolved"):
            resolve_under(tmp_path, name)
    assert resolve_under(tmp_path, "not/there.mp4") == tmp_path.resolve() / "not" / "there.mp4"


def test_half_a_line_of_json_is_passed_over():
    deep = "[" * 100_000
    text = f'{{"a": 1}}\n{{"a": 2\n[3]\n\n{deep}\n{{"a": 4}}\n{{"config": "c", "re'
    assert list(json_lines(text)) == [{"a": 1}, {"a": 4}]


@pytest.mark.parametrize(
    "text",
    [
        *("2026-13-45", "!!int x", "!!float x", "!!timestamp x", "{", "[" * 3000, "!!python/name:os"),
        *("!!bool x", "!!int ''", "1" * 309, f"0x{'f' * 5000}", f"1{':1' * 300}", f"1{':1' * 300}.5"),
    ],
)
def test_yaml_that_its_constructors_refuse_is_a_value_error(text):
    with pytest.raises(ValueError) as caught:
        parse_yaml(text)
    assert str(caught.value)
    for deep in ("[" * 200_000, "- " * 200_000, '{"a":' * 100_000):
        with pytest.raises(ValueError, match=r"nested too deeply|recursion"):  # libyaml's, or PyYAML's own
            parse_yaml(deep, getattr(yaml, "CBaseLoader", yaml.BaseLoader))
    assert parse_yaml("a: [1, 5.0]") == {"a": [1, 5.0]}
    assert parse_yaml(f"a: -{'1' * 308}") == {"a": -int("1" * 308)}


def test_a_pipe_or_device_takes_the_bytes_and_stays_what_it_is(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_atomic(pipe, "all of it")
    reader.join()
    assert read == ["all of it"]
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
    # As `/dev/null`; a full disk behind it is named.
    for device in ("null", "full"):
        (link := tmp_path / device).symlink_to(f"/dev/{device}")
        if device == "null":
            write_atomic(link, "x")
        else:
            with pytest.raises(OSError, match="No space left") as caught:
                write_atomic(link, "x")
            assert caught.value.filename == str(link)
        assert link.readlink() == Path(f"/dev/{device}")


def test_standard_output_by_its_name_is_written_to_though_it_is_a_file(tmp_path):
    out = tmp_path / "out.txt"
    with out.open("ab") as handle:
        write_atomic(Path(f"/proc/self/fd/{handle.fileno()}"), "first\n")
        write_atomic(Path(f"/dev/fd/{handle.fileno()}"), "second\n")
    assert out.read_text() == "first\nsecond\n"


def test_an_error_names_the_file_that_its_user_knows(tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError) as caught:
        write_atomic(tmp_path / "x.json", "{}")
    assert caught.value.filename == str(tmp_path / "x.json")
    monkeypatch.undo()
    with pytest.raises(OSError, match="No space") as caught, new_folder(tmp_path / "out") as temporary:
        raise OSError(errno.ENOSPC, "No space left on device", str(temporary / "a" / "b.mp4"))
    assert caught.value.filename == str(tmp_path / "out/a/b.mp4")
    with pytest.raises(OSError, match=r"No space.*x\.json") as caught, atomic_path(tmp_path / "x.json"):
        raise OSError(errno.ENOSPC, "No space left on device")  # as of `write`
    monkeypatch.setattr(files, "_made", lambda temporary, final: refuse(temporary))
    with pytest.raises(PermissionError) as caught, new_folder(tmp_path / "out"):
        pass
    assert caught.value.filename == str(tmp_path / "out")
