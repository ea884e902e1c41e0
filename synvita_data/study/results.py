"""The result file of a question, `OUT/<question>.json`: small, committed, and all that the page is made from.

The same question asked of another model, or with cells of other sizes, lies beside it as `<question>@<label>.json`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SchemaError, SynvitaError, of_type, parsing
from ..files import read_json, write_atomic
from .questions import CellName, Question, Study

FORMAT = 1


@dataclass(frozen=True, slots=True)
class QuestionResult:
    """What was run of a question.

    Attributes:
        question: its name.
        declaration: SHA-256 of the file of questions.
        model: name and revision of the files of the model that cells start from.
        seeds: of which all or some cells are done.
        cell: the recipe that arms and settings change.
        cells: for each done cell its arm, setting, seed and key, and the fields of `CellResult`.
        worlds: processor seconds of the parts of worlds, by part.
        versions: of the libraries.
        file: where it was read; None where it was not.
    """

    question: str
    declaration: str
    model: Mapping[str, str]
    seeds: tuple[int, ...]
    cell: Mapping[str, Any]
    cells: tuple[Mapping[str, Any], ...]
    worlds: Mapping[str, Sequence[float]]
    versions: Mapping[str, str]
    file: Path | None = None

    @property
    def values(self) -> dict[tuple[str, str, int], Mapping[str, float]]:
        """(arm, setting, seed) -> outcome -> value."""
        return {(own["arm"], own["setting"], own["seed"]): own["values"] for own in self.cells}

    @property
    def name(self) -> str:
        """The question, with the label of the file behind `@` where it has one."""
        return self.question if self.file is None else self.file.stem

    def missing(self, question: Question) -> list[CellName]:
        """Declared cells of the planned seeds that were not run."""
        done = set(self.values)
        planned = question.cells(range(question.seeds))
        return [cell for cell in planned if (cell.arm, cell.setting, cell.seed) not in done]

    def other_sizes(self, study: Study) -> dict[str, Any]:
        """Fields of the cells' recipe that are now declared otherwise, as they were run."""
        declared = study.cell.record()
        return {name: value for name, value in self.cell.items() if value != declared[name]}

    @property
    def processor_seconds(self) -> tuple[float, float]:
        """Of training and evaluating the distinct cells, and of making the worlds."""
        distinct = {own["key"]: own["seconds"] for own in self.cells}
        cells = sum(seconds["train"] + seconds["evaluate"] for seconds in distinct.values())
        return cells, sum(sum(own) for own in self.worlds.values())


def result_path(out: Path, question: str) -> Path:
    """Where a question's result lies."""
    return out / f"{question}.json"


def write_question(out: Path, result: QuestionResult) -> Path:
    """Write the file, a cell a line, so that a difference between two runs can be read."""
    record = {
        "format": FORMAT,
        "question": result.question,
        "declaration": result.declaration,
        "model": dict(result.model),
        "seeds": list(result.seeds),
        "cell": dict(result.cell),
        "worlds": {name: list(own) for name, own in result.worlds.items()},
        "versions": dict(result.versions),
    }
    head = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    lines = ",\n  ".join(json.dumps(own, ensure_ascii=False, allow_nan=False) for own in result.cells)
    path = result_path(out, result.question)
    write_atomic(path, head[: -len("\n}")] + f',\n "cells": [\n  {lines}\n ]\n}}\n')
    return path


def read_question(path: Path) -> QuestionResult:
    """Read a result file.

    Raises:
        SchemaError: it is not one, or is of another format.
    """
    record = read_json(path, "a result of the study", error=SchemaError)
    with parsing("this is not a result of the study", file=path):
        if record["format"] != FORMAT:
            raise SchemaError(
                "unknown format of a result", file=path, found=record["format"], expected=FORMAT
            )
        for own in record["cells"]:
            check_cell(own)
        return QuestionResult(
            question=str(record["question"]),
            declaration=str(record["declaration"]),
            model=dict(record["model"]),
            seeds=tuple(map(int, record["seeds"])),
            cell=dict(record["cell"]),
            cells=tuple(record["cells"]),
            worlds={str(name): list(map(float, own)) for name, own in record["worlds"].items()},
            versions=dict(record["versions"]),
            file=path,
        )


def check_cell(own: Mapping[str, Any]) -> None:
    """Raise what `parsing` explains where this is not a cell."""
    _ = own["arm"], own["setting"], int(own["seed"]), own["key"], of_type(own["facts"], dict, None)
    for value in (*own["values"].values(), own["seconds"]["train"], own["seconds"]["evaluate"]):
        of_type(value, float, int)


def read_all(out: Path, questions: Sequence[str]) -> list[QuestionResult]:
    """The results in a folder, in the order of questions; those with a label behind the one without.

    Raises:
        SynvitaError: there is none. SchemaError: a file that is not one.
    """
    files = [
        path
        for name in questions
        for path in (result_path(out, name), *sorted(out.glob(f"{name}@*.json")))
        if path.is_file()
    ]
    found = [read_question(path) for path in files]
    if not found:
        raise SynvitaError(
            "there are no results of the study here",
            file=out,
            expected=", ".join(f"{name}.json" for name in questions),
            fix="Run a question first: synvita study shapes --question main --out DIR",
        )
    return found
