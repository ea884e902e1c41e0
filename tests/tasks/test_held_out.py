"""Benchmarks that must not be trained on: known by their file's digest, their videos' source, and their pairs."""

import hashlib
from dataclasses import replace

import pytest
from declared import declare, write_csv, write_jsonl

from synvita_data import held_out
from synvita_data.errors import SynvitaError
from synvita_data.tasks import TASKS, CheckedFile

PAIRS = [{"video": "one", "caption": "a dog runs", "contrast": "a cat runs"}]


def test_a_file_is_known_by_its_digest(tmp_path, monkeypatch):
    path = write_csv(tmp_path / "harmless.csv", PAIRS)
    held_out.refuse_file(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    task = replace(TASKS["vitatecs"], checked=(CheckedFile("Type.jsonl", digest),))
    monkeypatch.setitem(TASKS, "vitatecs", task)
    with pytest.raises(
        SynvitaError, match=r"harmless\.csv: the file is of VITATECS, which must not be trained on"
    ):
        held_out.refuse_file(path)
    monkeypatch.setitem(TASKS, "vitatecs", replace(task, train="allowed"))
    held_out.refuse_file(path)


def test_a_source_of_its_own():
    held_out.refuse_sources(["msr-vtt", "vatex", None, "shapes"], "data")
    with pytest.raises(SynvitaError, match=r"data, row 2: a row is of TempCompass.*source tempcompass"):
        held_out.refuse_sources(["msr-vtt", "vatex", "tempcompass"], "data")


def test_pairs(tmp_path):
    declare(tmp_path, "form: entailment\nfiles: [rows.csv]\ntrain: never")
    write_csv(
        tmp_path / "rows.csv", [*PAIRS, {"video": "one", "caption": "it rains", "contrast": "it snows"}]
    )
    for place in (tmp_path, tmp_path / "mine.yaml"):
        (found,) = held_out.read_held_out(place)
        assert found.task == "mine"
    held_out.refuse_pairs([("a dog runs", "it rains"), ("a dog runs", "a bird runs")], [found], "data")
    with pytest.raises(SynvitaError, match=r"data, row 1: a row is of mine.*'it snows'.*1 such rows"):
        held_out.refuse_pairs([("a dog", "a cat"), ("it snows", "it rains")], [found], "data")


def test_nothing_that_forbids_training(tmp_path):
    declare(tmp_path, "form: entailment\nfiles: [rows.csv]")
    write_csv(tmp_path / "rows.csv", PAIRS)
    with pytest.raises(SynvitaError, match=r"no benchmark that forbids training. Found: mine"):
        held_out.read_held_out(tmp_path)


def test_a_build_refuses_them(tmp_path, monkeypatch):
    from synvita_data.builders.dataset import BuildOptions, build_dataset

    rows = [
        {
            "videopath": "a.mp4",
            "source": "velociti",
            "caption": "a dog runs",
            "neg_caption": "a cat runs",
            "split": "train",
        }
    ]
    path = write_csv(tmp_path / "triplets.csv", rows)
    with pytest.raises(SynvitaError, match=r"row 0: a row is of VELOCITI"):
        build_dataset(BuildOptions(triplets=path, out=tmp_path / "out", config="tiny"))
    assert not (tmp_path / "out" / "tiny").exists()
    path = write_jsonl(
        tmp_path / "pairs.jsonl", [{**rows[0], "source": "msr-vtt", "videopath": "video1.mp4"}]
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(
        TASKS, "vitatecs", replace(TASKS["vitatecs"], checked=(CheckedFile("Type.jsonl", digest),))
    )
    with pytest.raises(SynvitaError, match="the file is of VITATECS"):
        build_dataset(BuildOptions(triplets=path, out=tmp_path / "out", config="tiny"))
