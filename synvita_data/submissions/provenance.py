"""Where a number of the leaderboard comes from: recomputed, run again, said by its author, or printed in the paper.

The proof of a recomputed number is the report that `synvita verify --write` puts beside its result. It counts only for
the two files that were read then, byte for byte: the report names their SHA-256, the task, the model, the annotations
and the main score, and where one of these is another, the number is its author's word again. A report says nothing about
who wrote it: in the results repository only its own workflow may add one, and `synvita verify` refuses a pull request
that brings its own.
"""

from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any, Literal

from ..errors import SynvitaError, parsing
from ..evaluation.results import Result
from ..files import parse_json, sha256_file
from ..tasks import TASKS, task_of_result
from .report import REPORT_VERSION, Trained, report_path
from .trained import RECORD, read_trained

ProvenanceKind = Literal["verified", "re-run", "self-reported", "published"]
LARGEST_REPORT = 4 << 20
# What is between two numbers that were computed alike.
CLOSE = 1e-9


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a number comes from.

    Attributes:
        kind: `verified` (recomputed from its score table and the task's annotations), `re-run` (the maintainers ran
            the model themselves), `self-reported` or `published`.
        checked: when it was recomputed, in UTC (ISO 8601); None where it was not.
        version: of this package, with which it was.
        difference: of a number that was run again: the maintainers' minus this one, in percentage points.
        doubt: why a report that is there does not count; None where there is none, or it does.
    """

    kind: ProvenanceKind
    checked: str | None = None
    version: str | None = None
    difference: float | None = None
    doubt: str | None = None


PUBLISHED = Provenance("published")
SELF_REPORTED = Provenance("self-reported")


def provenance_of(result: Result) -> Provenance:
    """Where a result's number comes from; raises nothing, for a broken report is none.

    Args:
        result: as it was read from its file; one that has no file is its author's word.
    """
    if result.path is None:
        return SELF_REPORTED
    place = report_path(result.path)
    if not place.is_file():
        return SELF_REPORTED
    try:
        record = _read(place)
        doubt = _doubt(record, result, result.path)
        if doubt is not None:
            return Provenance("self-reported", doubt=doubt)
        entry = record["results"][0]
        rerun = entry.get("rerun")
        with parsing("the report of a result cannot be read", file=place):
            return Provenance(
                "verified" if rerun is None else "re-run",
                str(record["checked"]),
                str(record["synvita_data"]),
                None if rerun is None else float(rerun["difference"]),
            )
    except SynvitaError as error:
        return Provenance("self-reported", doubt=error.problem)
    except OSError as error:
        return Provenance("self-reported", doubt=f"the report cannot be read: {error.strerror}")


def training_of(result: Result) -> Trained | None:
    """What the record of the fine-tune beside a result says; None where there is none, or it cannot be read."""
    if result.path is None:
        return None
    place = result.path.with_name(RECORD)
    if not place.is_file():
        return None
    task = TASKS.get(result.task) or task_of_result(result.record["task"])
    try:
        return read_trained(place, task)
    except (SynvitaError, OSError):
        return None


def _read(place: Path) -> dict[str, Any]:
    with parsing("the report of a result cannot be read", file=place, expected="what synvita verify writes"):
        if place.stat().st_size > LARGEST_REPORT:
            raise ValueError("it is too large")
        record = parse_json(place.read_text(encoding="utf-8"), foreign=True)
        if not isinstance(record, dict) or len(record["results"]) != 1:
            raise TypeError("it is not the report of one result")
        entry = record["results"][0]
        if not isinstance(entry, dict) or not isinstance(entry.get("rerun"), dict | None):
            raise TypeError("it is not the report of one result")
        return record


def _doubt(record: dict[str, Any], result: Result, path: Path) -> str | None:
    """Why a report does not speak of this result as it is now; None if it does."""
    entry, table = record["results"][0], path.with_suffix(".parquet")
    if str(record.get("report_version")).split(".")[0] != REPORT_VERSION.split(".")[0]:
        return "the report is of another version"
    if record.get("verdict") != "verified" or entry.get("verdict") != "verified":
        return "the report does not say that the result was verified"
    if entry.get("differences") != [] or entry.get("problem") is not None:
        return "the report says verified, and names what is wrong"
    said = {"model": result.model, "task": result.task, "control": result.control}
    said["annotations"] = result.record["task"].get("annotations")
    for name, value in said.items():
        if entry.get(name) != value:
            return f"the report is of another {name}"
    value, found = result.main_score.get("value"), entry.get("score")
    if entry.get("score_name") != result.main_score.get("name") or not _equal(value, found):
        return "the report is of another score"
    if not table.is_file():
        return "the score table that the report speaks of is not there"
    if entry.get("result_sha256") != sha256_file(path) or entry.get("table_sha256") != sha256_file(table):
        return "the result or its score table was changed after it was verified"
    return None


def _equal(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    if isinstance(one, bool) or not isinstance(one, int | float) or not isinstance(other, int | float):
        return False
    return isclose(one, other, rel_tol=0.0, abs_tol=CLOSE)
