"""What `synvita verify` found, as data: one report, an entry a result, written as JSON.

The JSON schema is made from these classes (`schema.py`), so that code and schema cannot differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from .. import __version__
from ..display import json_text
from ..files import write_atomic

# Changes when a reader of older reports would misread one.
REPORT_VERSION = "1.0"
# Behind the stem of a result: `<task>.verified.json` lies beside `<task>.json` and `<task>.parquet`.
REPORT_SUFFIX = ".verified.json"

# verified: recomputed from the score table and the task's annotations, and all the same. consistent: without annotations,
# the result and its own table do not contradict each other, which says nothing about the labels. differs: a field is not
# what was recomputed. refused: it cannot be recomputed, or may not stand here.
Verdict = Literal["verified", "consistent", "differs", "refused"]
WORDS: Mapping[Verdict, str] = {
    "verified": "verified",
    "consistent": "consistent with its own table",
    "differs": "differs",
    "refused": "refused",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that is not what was recomputed.

    Attributes:
        field: its place in the result file, such as `metrics.map.low`; `table.…` for one of the score table.
        found: what stands there; null where nothing does.
        recomputed: what should stand there; null where nothing should.
    """

    field: str
    found: str | float | bool | None
    recomputed: str | float | bool | None

    def __str__(self) -> str:
        return f"{self.field}: found {_said(self.found)}, recomputed {_said(self.recomputed)}"


@dataclass(frozen=True, slots=True)
class Rerun:
    """The maintainers' own run of the same model on the same task.

    Attributes:
        result_sha256: of its result file.
        value: its main score, in percent.
        difference: that minus the submitted main score, in percentage points.
    """

    result_sha256: str
    value: float
    difference: float


@dataclass(frozen=True, slots=True)
class Trained:
    """What a fine-tune's own record (`training_run.json`) says of its training; nobody has checked it.

    Attributes:
        base: the model that was fine-tuned.
        data: the dataset that it was trained on.
        videocon: whether that is VideoCon or made from it, by its name; null where the record names no data.
        zero_shot: nothing of the task's own data was trained on, by the same name; null where that is not known.
        never: the task's declaration forbids training on it.
    """

    base: str | None
    data: str | None
    videocon: bool | None
    zero_shot: bool | None
    never: bool


@dataclass(frozen=True, slots=True)
class NearestPublished:
    """The row of the paper's Table 3 whose number is nearest.

    Attributes:
        model: as the paper names it.
        value: in percent, as printed.
        difference: the result's main score minus that, in percentage points.
        inside: whether the printed number lies inside the result's interval; null without an interval.
    """

    model: str
    value: float
    difference: float
    inside: bool | None


@dataclass(frozen=True, slots=True)
class ResultReport:
    """What was found of one result.

    Attributes:
        file: of the result, below what was verified.
        verdict: see `Verdict`.
        model, revision, task, control: as the result says; null where it could not be read.
        result_sha256, table_sha256: of the two files as they were read.
        annotations: revision of the annotations that it was recomputed with; null without.
        official: as the result says, and confirmed where it is verified.
        score_name, score: the main score in percent, as the result says; recomputed, where it is verified.
        compared: the parts of the result file that were recomputed or checked.
        not_compared: the parts that nothing here can check.
        differences: the fields that are not as recomputed; at most `MOST_DIFFERENCES`.
        more_differences: how many further ones there are.
        problem: why it was refused, one sentence with file, row, found and expected.
        notes: what a reader should know, a sentence each.
        trained: from the fine-tune's own record beside the result; null where there is none.
        published: the nearest row of the paper; null for tasks that it does not have.
        rerun: by the maintainers; null where there was none.
    """

    file: str
    verdict: Verdict
    model: str | None = None
    revision: str | None = None
    task: str | None = None
    control: str | None = None
    result_sha256: str | None = None
    table_sha256: str | None = None
    annotations: str | None = None
    official: bool | None = None
    score_name: str | None = None
    score: float | None = None
    compared: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    more_differences: int = 0
    problem: str | None = None
    notes: tuple[str, ...] = ()
    trained: Trained | None = None
    published: NearestPublished | None = None
    rerun: Rerun | None = None

    @property
    def good(self) -> bool:
        return self.verdict in ("verified", "consistent")


@dataclass(frozen=True, slots=True)
class Report:
    """What was found of a file, a folder or a repository of results.

    Attributes:
        report_version: of this form.
        synvita_data: version of this package.
        checked: when, in UTC (ISO 8601).
        verdict: the worst one of the results; `refused` where a problem of the whole is named.
        results: one entry a result, by file.
        problems: of the whole, such as a change of somebody else's result; a sentence each.
    """

    report_version: str
    synvita_data: str
    checked: str
    verdict: Verdict
    results: tuple[ResultReport, ...]
    problems: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Nothing differs and nothing was refused."""
        return self.verdict in ("verified", "consistent")

    def to_record(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    def to_json(self) -> str:
        """The file's text."""
        return json_text(self.to_record(), indent=1, allow_nan=False) + "\n"


def make_report(results: Sequence[ResultReport], problems: Sequence[str] = ()) -> Report:
    """The report of several results, with the worst verdict of all."""
    order: tuple[Verdict, ...] = ("verified", "consistent", "differs", "refused")
    verdicts: list[Verdict] = [each.verdict for each in results]
    worst: Verdict = "refused" if problems else max(verdicts, key=order.index, default="refused")
    return Report(
        REPORT_VERSION,
        __version__,
        datetime.now(UTC).isoformat(timespec="seconds"),
        worst,
        tuple(results),
        tuple(problems),
    )


def report_path(result: Path) -> Path:
    """Where the report of a result lies: `<task>.verified.json` beside `<task>.json`."""
    return result.with_name(result.stem + REPORT_SUFFIX)


def write_reports(report: Report, folder: Path) -> list[Path]:
    """Write the report of each verified result beside it; what is not verified gets none, and loses an older one.

    Args:
        report: of results below `folder`.
        folder: that their `file` is relative to.

    Returns:
        The files written.
    """
    texts = report_files(report)
    for each in report.results:
        place = report_path(folder / each.file)
        if place.relative_to(folder).as_posix() in texts:
            write_atomic(place, texts[place.relative_to(folder).as_posix()])
        else:
            place.unlink(missing_ok=True)
    return [folder / name for name in texts]


def report_files(report: Report) -> dict[str, str]:
    """The report of each verified result, alone, by the path of its file."""
    found = {}
    for each in report.results:
        if each.verdict == "verified":
            own = Report(report.report_version, report.synvita_data, report.checked, "verified", (each,))
            found[report_path(Path(each.file)).as_posix()] = own.to_json()
    return found


def _said(value: Any) -> str:
    return "nothing" if value is None else str(value)
