"""`synvita evaluate` and its neighbours with tasks of a user's own: a YAML file, or annotations and a form."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from synvita_data.cli import app
from synvita_data.evaluation.results import read_result
from synvita_data.tasks import get_task

DECLARATION = """name: my-lab
title: My lab's questions
form: choice
files: [questions.csv]
columns: {video: clip, question: q, options: [first, second], answer: right}
breakdown: [aspect]
licence: {annotations: CC0, videos: ours}
train: never
expected: {groups: 3, rows: 6}
"""
HEADER = ("clip", "q", "first", "second", "right", "aspect")
ROWS = (
    ("one.mp4", "Which way?", "left", "right", "left", "direction"),
    ("one.mp4", "How fast?", "slowly", "quickly", "B", "speed"),
    ("two.mp4", "Which way?", "left", "right", "right", "direction"),
)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    (tmp_path / "my-lab.yaml").write_text(DECLARATION, encoding="utf-8")
    with (tmp_path / "questions.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([HEADER, *ROWS])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "300"})
    assert done.exit_code == code, done.output
    return done.output


def refused(*arguments: str) -> str:
    """What the command line raises, which prints it without a traceback."""
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code != 0
    return str(done.exception)


def test_a_task_in_one_file(folder):
    said = run("evaluate", "chance", "--task", "my-lab.yaml", "--annotations", ".", "--resamples", "0")
    assert "my-lab · chance · accuracy" in said
    assert "annotations: unchecked" in said
    record = read_result(folder / "results/chance/my-lab.json").record
    assert record["official"] is True
    assert record["checked"] == {"unchecked": True}
    task = record["task"]
    assert (task["form"], task["scored_as"], task["train"]) == ("choice", "letter", "never")
    assert task["declaration"] == get_task("my-lab.yaml").digest
    assert record["metrics"]["groups"]["aspect"].keys() == {"direction", "speed"}
    # Another declaration of the same name is another run.
    key = record["run"]["key"]
    (folder / "my-lab.yaml").write_text(DECLARATION + "split_note: x\n")
    assert "unknown key 'split_note'" in refused(
        "evaluate", "chance", "--task", "my-lab.yaml", "--annotations", "."
    )
    (folder / "my-lab.yaml").write_text(DECLARATION.replace("title: My", "title: Our"))
    run("evaluate", "chance", "--task", "my-lab.yaml", "--annotations", ".", "--resamples", "0")
    assert read_result(folder / "results/chance/my-lab.json").record["run"]["key"] != key


def test_on_the_leaderboard(folder):
    run("evaluate", "chance", "--task", "my-lab.yaml", "--annotations", ".", "--resamples", "0")
    run("leaderboard", "results", "--no-published", "--json", "board.json")
    board = json.loads((folder / "board.json").read_text())
    assert [column["task"] for column in board["columns"]][6:] == ["my-lab"]
    assert board["columns"][6]["title"] == "My lab's questions"
    (row,) = board["rows"]
    assert row["cells"]["my-lab"]["n"] == 3
    # What a result file says is only text.
    path = folder / "results/chance/my-lab.json"
    record = json.loads(path.read_text())
    record["task"]["column"] = "\x1b[31mred\u202e"
    path.write_text(json.dumps(record))
    said = run("leaderboard", "results", "--no-published")
    assert "\x1b[31mred" not in said
    assert "\u202e" not in said
    # A form that nobody knows has no column.
    record["task"]["form"] = "guessing"
    path.write_text(json.dumps(record))
    assert "chance: my-lab has no column here" in run("leaderboard", "results", "--no-published")


def test_annotations_and_a_form(folder):
    said = run("evaluate", "chance", "--annotations", "pairs.csv", "--form", "entailment", code=1)
    assert said == ""
    with (folder / "Pairs.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([["video", "caption", "contrast"], ["a.mp4", "a dog", "a cat"]])
    run("evaluate", "chance", "--annotations", "Pairs.csv", "--form", "entailment", "--resamples", "0")
    assert read_result(folder / "results/chance/pairs.json").record["task"]["form"] == "entailment"
    both = ("--task", "atp-hard", "--annotations", "Pairs.csv", "--form", "entailment")
    assert "--form is for annotations without a --task" in refused("evaluate", "chance", *both)
    assert "one of entailment, retrieval" in refused(
        "evaluate", "chance", "--annotations", "Pairs.csv", "--form", "x"
    )
    assert "--task FILE.yaml" in refused("evaluate", "chance", "--annotations", "Pairs.csv")


def test_rows_that_cannot_be_used(folder):
    with (folder / "questions.csv").open("a", newline="") as handle:
        csv.writer(handle).writerow(("two.mp4", "How fast?", "slowly", "quickly", "sideways", "speed"))
    command = (
        "evaluate",
        "chance",
        "--task",
        "my-lab.yaml",
        "--annotations",
        "questions.csv",
        "--resamples",
        "0",
    )
    assert re.search(r"questions\.csv, row 3: the answer is none of the options", refused(*command))
    said = run(*command, "--skip-bad-rows")
    assert "my-lab: 1 row left out, first: questions.csv, row 3" in said
    record = read_result(folder / "results/chance/my-lab.json").record
    assert record["why_not_official"] == ["1 rows cannot be used and were left out"]
    assert record["task"]["reading"]["left_out"][0]["row"] == 3


def test_the_other_commands(folder):
    (folder / "clips").mkdir()
    (folder / "clips/one.mp4").write_bytes(b"not looked into")
    options = ("--task", "my-lab.yaml", "--annotations", "questions.csv")
    said = run(
        "videos",
        "check",
        *options,
        "--real-root",
        "clips",
        "--decode",
        "none",
        "--json",
        "videos.json",
        code=1,
    )
    assert "two" in said
    assert json.loads((folder / "videos.json").read_text())["tasks"] == {"my-lab": {"needed": 2, "found": 1}}
    run("annotations", *options, "--out", "packed")
    assert "my-lab" in (folder / "packed/README.md").read_text()
    run("evaluate", "chance", "--task", "my-lab.yaml", "--annotations", "packed", "--resamples", "0")
    said = run("doctor", "evaluate", "chance", *options)
    assert "my-lab: 6 texts of 2 videos; unchecked, as published" in said
    (folder / "pairs.jsonl").write_text('{"video": "a.mp4", "caption": "a dog", "contrast": "a cat"}\n')
    assert "pairs: 2 texts of 1 videos" in run(
        "doctor", "evaluate", "chance", "--annotations", "pairs.jsonl", "--form", "entailment"
    )


@pytest.mark.slow
def test_the_example_of_the_page(repo_root, tmp_path):
    """docs/tasks.md: its declaration and its rows, with its command."""
    page = (repo_root / "docs/tasks.md").read_text(encoding="utf-8")
    section = page.partition("## A task of your own")[2].partition("\n## ")[0]
    blocks = dict(re.findall(r"`([\w-]+\.(?:yaml|csv))`:\n\n```\w+\n(.*?)```", section, re.S))
    assert blocks.keys() == {"doors.yaml", "doors.csv"}
    for name, text in blocks.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (command,) = re.findall(r"^    synvita (evaluate chance --task .*)$", section, re.M)
    done = subprocess.run(
        [sys.executable, "-m", "synvita_data.cli", *command.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    record = read_result(tmp_path / "results/chance/doors.json").record
    assert record["task"]["counts"]["groups"] == 3
    assert record["metrics"]["groups"]["kind"].keys() == {"order", "direction"}


@pytest.mark.slow
def test_a_video_llm_answers_by_letter_and_by_yes(folder):
    """Questions reach the model: the probabilities of a question's letters are one whole, those of a statement are not."""
    import numpy as np
    import pyarrow.parquet as pq

    from synvita_data.testing import make_tiny
    from synvita_data.video import encode_mp4

    model = make_tiny("video_llava", folder / "model")
    for number, name in enumerate(("one", "two")):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 32, 44, 3), dtype=np.uint8)
        encode_mp4(pixels, 8, folder / f"clips/{name}.mp4")
    (folder / "asked.yaml").write_text(
        "name: asked\nform: yes_no\ncolumns: {video: clip, question: q, answer: a}\nframes: {count: 4}\n"
    )
    (folder / "asked.csv").write_text("clip,q,a\none.mp4,Fast?,yes\none.mp4,Slow?,no\ntwo.mp4,Fast?,no\n")
    statements = DECLARATION.replace("name: my-lab", "name: said") + "scored_as: statement\n"
    (folder / "said.yaml").write_text(statements)

    found = {}
    for task, rows in (("my-lab", "questions.csv"), ("said", "questions.csv"), ("asked", "asked.csv")):
        options = ("--task", f"{task}.yaml", "--annotations", rows, "--real-root", "clips", "--name", "tiny")
        run("evaluate", str(model), *options, "--device", "cpu", "--resamples", "0")
        scores = pq.read_table(folder / f"results/tiny/{task}.parquet").to_pylist()
        record = read_result(folder / f"results/tiny/{task}.json").record
        probability = {(row["video_id"], row["caption"]): 1 / (1 + np.exp(-row["score"])) for row in scores}
        found[task] = probability, record
    for video, (first, second) in (
        ("one", ("Which way? left", "Which way? right")),
        ("one", ("How fast? slowly", "How fast? quickly")),
        ("two", ("Which way? left", "Which way? right")),
    ):
        for task, whole in (("my-lab", True), ("said", False)):
            probability = found[task][0]
            total = probability[f"{task}_{video}", first] + probability[f"{task}_{video}", second]
            assert bool(abs(total - 1) < 1e-5) == whole
    assert [found[task][1]["task"]["scored_as"] for task in found] == ["letter", "statement", None]
    # The declared frames are looked at.
    assert len(found["asked"][1]["frames"]["first_video"]["indices"]) == 4
    assert len(found["my-lab"][1]["frames"]["first_video"]["indices"]) == 8
    assert found["asked"][1]["metrics"]["accuracy"]["n"] == 3


def test_settings_that_tasks_disagree_on(folder):
    (folder / "other.yaml").write_text(DECLARATION.replace("my-lab", "other") + "frames: {count: 4}\n")
    tasks = ("--task", "my-lab.yaml", "--task", "other.yaml", "--annotations", "questions.csv")
    assert "the tasks declare different frames" in refused(
        "evaluate", "some/model", *tasks, "--real-root", "clips"
    )
