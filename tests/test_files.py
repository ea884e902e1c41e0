"""Folders that change places while they are read, and JSON that a kill, a user or an attacker may have written."""

import json
import threading

import pytest

from synvita_data.errors import SynvitaError
from synvita_data.files import exchange_folder, parse_json, read_json


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
    [("[" * 100_000, "nested too deeply"), ('{"a":' * 50_000, "nested too deeply"), ("{", "Expecting")],
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
