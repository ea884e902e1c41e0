"""Verify results: a file, a folder of them, or what a pull request adds to one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Self

from .. import __version__
from ..annotations import Annotations, read_annotations, tasks_at
from ..errors import SchemaError, SourceError, SynvitaError
from ..evaluation.results import Result, is_result_file, safe_name
from ..evaluation.scored import task_of
from ..hub.places import without_places
from ..tasks import FORMS, TASKS, Task, get_task
from .annotations import find_annotations
from .consistency import COMPARED as CONSISTENT
from .consistency import contradictions
from .opening import Submitted, open_submitted
from .recompute import COMPARED, NOT_COMPARED, recompute
from .report import NearestPublished, Report, Rerun, ResultReport, Trained, Verdict, make_report
from .trained import RECORD, read_trained, refuse_never

MOST_DIFFERENCES = 50
MOST_RESULTS = 5_000
# Folders above a result file: `<model>/<task>.json`, `<model>/<revision>/<task>.json`, below `results/` or not.
_DEEPEST = 4


class AnnotationsError(SynvitaError):
    """The annotations that results are to be recomputed with cannot be read: no fault of any result."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The annotations that results are recomputed with, each task's read once.

    Attributes:
        place: annotation file of a task, or a folder of all; None for none.
        tasks: name -> tasks of the user's own, by their declarations.
    """

    place: Path | None
    tasks: Mapping[str, Task] = field(default_factory=dict)
    _read: dict[str, Annotations] = field(default_factory=dict)

    @classmethod
    def named(cls, annotations: str | None, declarations: Iterable[Path | str] = ()) -> Self:
        """What a command line names.

        Args:
            annotations: as of `find_annotations`.
            declarations: files of tasks of the user's own.

        Raises:
            SynvitaError: as of `find_annotations` and `get_task`.
        """
        own = [get_task(each) for each in declarations]
        return cls(find_annotations(annotations), {each.name: each for each in own})

    def of(self, submitted: Submitted) -> tuple[Task | None, Annotations | None, str | None]:
        """Task and annotations of a result, and why there are none.

        Raises:
            AnnotationsError: the annotations cannot be read.
            SchemaError: nothing says what the task is.
        """
        name = submitted.side.result.task
        if name in self.tasks:
            task = self.tasks[name]
        else:
            file = self.place if self.place is not None and self.place.is_file() else None
            try:
                task = task_of(submitted.side, {}, file)
            except SchemaError as error:
                return None, None, error.problem
        if self.place is None:
            return task, None, "no annotations were given"
        if self.place.is_dir() and not (task.files or name in TASKS):
            return task, None, f"the annotations do not say where those of {name} are"
        others = [] if self.place.is_dir() else [each.name for each in tasks_at(self.place)]
        if others and name not in others:
            return task, None, f"the annotations are those of {', '.join(others)}"
        if name not in self._read:
            try:
                self._read[name] = read_annotations(task, self.place)
            except SchemaError as error:
                if error.problem.startswith("the folder holds no annotations"):
                    return task, None, error.problem
                raise error.recast(AnnotationsError) from error
        return task, self._read[name], None


def verify_file(path: Path, truth: Truth, *, shown: str | None = None) -> ResultReport:
    """Verify one result, whatever its files hold.

    Args:
        path: of the result file; its score table and the record of the model's training lie beside it.
        truth: annotations.
        shown: the file's name in the report; None for its own.

    Raises:
        AnnotationsError: the annotations cannot be read.
    """
    report = ResultReport(shown or path.name, "refused")
    try:
        submitted = open_submitted(path)
        report = _described(report, submitted)
        task, annotations, why = truth.of(submitted)
        trained = _trained(path, task)
        report = replace(report, trained=trained, notes=tuple(_notes(submitted, task, trained)))
        found = (
            contradictions(submitted, task)
            if annotations is None or task is None
            else recompute(submitted, task, annotations)
        )
        wrong = list(islice(found, 10_000))
    except AnnotationsError:
        raise
    except SynvitaError as error:
        return replace(report, problem=_said(error, path))
    except (
        ArithmeticError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RuntimeError,
        OSError,
    ) as error:
        # A field of another type than `evaluate` writes, deep inside, or what Arrow cannot read.
        problem = SchemaError(
            "this is not a whole result file", file=path, found=f"{type(error).__name__}: {error}"
        )
        return replace(report, problem=_said(problem, path))
    verdict: Verdict = "differs" if wrong else "consistent" if annotations is None else "verified"
    return replace(
        report,
        verdict=verdict,
        annotations=None if annotations is None else annotations.revision,
        compared=CONSISTENT if annotations is None else COMPARED,
        not_compared=NOT_COMPARED,
        differences=tuple(wrong[:MOST_DIFFERENCES]),
        more_differences=max(len(wrong) - MOST_DIFFERENCES, 0),
        notes=report.notes + (() if why is None else (why,)),
    )


def verify_folder(
    folder: Path,
    truth: Truth,
    *,
    only: Sequence[str] | None = None,
    on_result: Callable[[ResultReport], None] | None = None,
) -> Report:
    """Verify every result below a folder.

    Args:
        folder: of results, of one model, or a results repository.
        truth: annotations.
        only: paths below it that are looked at; None for all.
        on_result: called after each.

    Raises:
        SourceError: there is no result, or there are too many.
    """
    if not folder.is_dir():
        raise SourceError("the folder of results does not exist", file=folder)
    found = result_files(folder)
    if only is not None:
        wanted = set(only)
        found = [path for path in found if path in wanted]
    if not found or len(found) > MOST_RESULTS:
        raise SourceError(
            "the folder holds no result" if not found else "the folder holds too many results",
            file=folder,
            found=f"{len(found):,}",
            expected=f"1 to {MOST_RESULTS:,} files <model>/<task>.json or <model>/<revision>/<task>.json",
        )
    reports = []
    for name in found:
        reports.append(verify_file(folder / name, truth, shown=name))
        if on_result is not None:
            on_result(reports[-1])
    return make_report(reports, _doubled(reports))


def result_files(folder: Path) -> list[str]:
    """The result files below a folder, as paths relative to it, sorted; links and hidden folders are passed over."""
    found = []
    for depth in range(_DEEPEST):
        for path in folder.glob("*/" * depth + "*.json"):
            parts = path.relative_to(folder).parts
            if is_result_file(path) and not any(part.startswith(".") for part in parts):
                found.append("/".join(parts))
    return sorted(found)


def with_rerun(report: ResultReport, rerun: ResultReport) -> ResultReport:
    """The report of a verified result, with the maintainers' own run of the same model beside it.

    Args:
        report: of the submitted result, verified.
        rerun: of theirs, verified.

    Raises:
        SourceError: one of them is not verified, or they are not of one model, task and annotations.
    """
    for name, each in (("submitted result", report), ("result of the re-run", rerun)):
        if each.verdict != "verified" or each.score is None:
            raise SourceError(
                f"the {name} is not verified",
                file=each.file,
                found=each.problem or each.verdict,
                fix="Verify it first",
            )
    for name in ("model", "revision", "task", "control", "annotations", "score_name"):
        one, other = getattr(report, name), getattr(rerun, name)
        if one != other:
            raise SourceError(
                f"the re-run is of another {name.replace('_', ' ')}",
                file=rerun.file,
                found=other,
                expected=one,
            )
    assert report.score is not None
    assert rerun.score is not None
    assert rerun.result_sha256 is not None
    return replace(
        report, rerun=Rerun(rerun.result_sha256, rerun.score, round(rerun.score - report.score, 9))
    )


def place_of(result: Result) -> str:
    """Where a result stands in a results repository: `results/<model>/<revision>/<task>.json`."""
    revision = result.record["model"].get("revision")
    own = safe_name(revision) if isinstance(revision, str) and revision else "no-revision"
    return f"results/{safe_name(result.model)}/{own}/{result.stem}.json"


def _described(report: ResultReport, submitted: Submitted) -> ResultReport:
    result, record = submitted.side.result, submitted.record
    score = result.main_score.get("value")
    value = float(score) if isinstance(score, int | float) and not isinstance(score, bool) else None
    return replace(
        report,
        model=result.model,
        revision=record["model"].get("revision"),
        task=result.task,
        control=result.control,
        result_sha256=submitted.result_sha256,
        table_sha256=submitted.table_sha256,
        official=result.official,
        score_name=str(result.main_score.get("name")),
        score=value,
        published=None if result.control is not None else _nearest(result, value),
    )


def _nearest(result: Result, value: float | None) -> NearestPublished | None:
    published = TASKS[result.task].published if result.task in TASKS else ()
    if value is None or not published:
        return None
    row = min(published, key=lambda each: abs(each.value - value))
    low, high = result.main_score.get("low"), result.main_score.get("high")
    inside = None
    if isinstance(low, int | float) and isinstance(high, int | float):
        inside = bool(low <= row.value <= high)
    return NearestPublished(row.model, row.value, round(value - row.value, 9), inside)


def _trained(path: Path, task: Task | None) -> Trained | None:
    """What the record beside a result says; a model that learned from what must not be trained on is refused."""
    place = path.with_name(RECORD)
    if not place.is_file():
        return None
    trained = read_trained(place, task)
    refuse_never(place, trained)
    return trained


def _notes(submitted: Submitted, task: Task | None, trained: Trained | None) -> list[str]:
    """What a reader of the number should know, and no fault."""
    record, notes = submitted.record, []
    made_with = record["versions"].get("synvita-data")
    if made_with != __version__:
        notes.append(f"made with synvita-data {made_with}, checked with {__version__}")
    prompt = record["model"].get("prompt")
    if task is not None and prompt is not None and prompt != task.prompt:
        notes.append(f"asked with the prompt {prompt}, and not the task's {task.prompt}")
    seed, resamples = submitted.bootstrap
    if (seed, resamples) != (0, 1000):
        notes.append(f"intervals of {resamples:,} resamples with seed {seed}, and not of 1,000 with seed 0")
    if trained is None:
        notes.append("no record of a training run: nothing says what the model was trained on")
    elif trained.data is not None:
        notes.append(f"trained on {trained.data}, by its own record")
    if task is not None and task.form in FORMS and submitted.joined:
        notes.append("texts with two scores are joined as the official scripts do")
    return notes


def _doubled(reports: Sequence[ResultReport]) -> list[str]:
    """Two results of one model, revision, task and control: nobody can say which one counts."""
    seen: dict[tuple[str | None, ...], str] = {}
    problems = []
    for each in reports:
        if each.model is None:
            continue
        key = (each.model, each.revision, each.task, each.control)
        first = seen.setdefault(key, each.file)
        if first != each.file:
            problems.append(
                f"two results of {each.model}, revision {each.revision}, {each.task}: {first} and {each.file}"
            )
    return problems


def _said(error: SynvitaError, path: Path) -> str:
    """An error as a report has it: files beside the result by their names, and no place on this machine."""
    if error.file is not None and Path(error.file).parent == path.parent:
        error.file = Path(error.file).name
    return str(without_places(str(error).replace(f"{path.parent}/", "")))
