"""The data behind the leaderboard: result files and the paper's Table 3 in, rows of cells out.

`docs/leaderboard.md` states the rule by which cells are compared; `standings` is that rule.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .. import __version__
from ..errors import SchemaError, SourceError, SynvitaError
from ..evaluation.results import Result, is_result_file, read_result
from ..schema import SCHEMA_VERSION
from ..submissions.provenance import PUBLISHED, SELF_REPORTED, Provenance, provenance_of, training_of
from ..submissions.report import Trained
from ..tasks import COLUMNS, MODELS, SOURCE, TASKS, Task, task_of_result
from .controls import Gap, add_gaps

if TYPE_CHECKING:
    from .paired import AgainstTop

Kind = Literal["published", "ours"]
# best: told apart from all others. shared: not told apart from the highest, or the highest itself then.
# highest: the highest, but without an interval, so that nothing says how far it is ahead.
Standing = Literal["best", "shared", "highest"]
_ESTIMATE = ("value", "low", "high", "worst_ties", "best_ties")


@dataclass(slots=True, kw_only=True)
class Cell:
    """One number of the table, in percent.

    Attributes:
        value, low, high, worst_ties, best_ties: the estimate of the main score; None where unknown.
        k, n: units scored and units of the task (texts, pairs, questions); None for published numbers.
        digits: decimals to show: as printed for published numbers, otherwise 2.
        official: every text was scored, on the annotations the paper used; True for published numbers.
        partial: some texts were not scored.
        why_not_official: one sentence each.
        annotations: revision of the annotations.
        revision: of the model (for a score file, of the file).
        standing: filled in by `make_leaderboard`; None for a cell behind the best or one that is not compared.
        details: model, frames policy, metrics with breakdown and versions, as the result file has them.
        controls: the model's results under controls (`video.controls`), by name.
        paired: how it compares with the top of its column, pair by pair; None where that was not needed or not possible.
        provenance: where the number comes from.
        trained: what the fine-tune's own record beside the result says of its training; None where there is none.
        path: of the result file, where it was read from one; not in the JSON form.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    worst_ties: float | None = None
    best_ties: float | None = None
    k: int | None = None
    n: int | None = None
    digits: int = 2
    official: bool
    partial: bool = False
    why_not_official: tuple[str, ...] = ()
    annotations: str | None = None
    revision: str | None = None
    standing: Standing | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    controls: dict[str, Gap] = field(default_factory=dict)
    paired: "AgainstTop | None" = None
    provenance: Provenance = SELF_REPORTED
    trained: Trained | None = None
    path: Path | None = field(default=None, compare=False)

    @property
    def baseline(self) -> bool:
        """Of a scorer that looks at no video and learned from the benchmark's own labels: shown, never compared."""
        settings = self.details.get("model", {}).get("settings")
        return isinstance(settings, Mapping) and settings.get("video") == "none"

    @property
    def has_interval(self) -> bool:
        return self.low is not None and self.high is not None

    @property
    def reach(self) -> tuple[float, float]:
        """From `low` to `high`, in which `value` lies; a point where no interval is known, NaN without a value."""
        value = math.nan if self.value is None else self.value
        if self.low is None or self.high is None:
            return value, value
        return min(self.low, value), max(self.high, value)

    @property
    def depends_on_ties(self) -> bool:
        """The order of tied scores could move the number by more than the last digit shown."""
        return (
            self.worst_ties is not None
            and self.best_ties is not None
            and self.best_ties - self.worst_ties > 0.005
        )

    def to_record(self) -> dict[str, Any]:
        """JSON-ready form, without `path`: where the files lie on this machine is nobody's business."""
        record = {**_fields(self), "why_not_official": list(self.why_not_official)}
        del record["path"]
        record["controls"] = {name: asdict(gap) for name, gap in self.controls.items()}
        for name in ("paired", "trained"):
            if record[name] is not None:
                record[name] = asdict(record[name])
        for name in ("controls", "paired", "trained"):
            if not record[name]:
                del record[name]
        provenance = asdict(self.provenance)
        record["provenance"] = {name: part for name, part in provenance.items() if part is not None}
        return record


def _fields(of: "Cell | Row") -> dict[str, Any]:
    """The fields by name; unlike `asdict`, what a result file says is not copied."""
    return {each.name: getattr(of, each.name) for each in fields(of)}


@dataclass(frozen=True, slots=True)
class Column:
    """A benchmark. `annotations`: the distinct revisions that our results were made on, sorted. `compared`:
    False where official results are of different ones, which leaves every cell without a standing."""

    task: str
    title: str
    metric: str
    annotations: tuple[str, ...]
    compared: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A model.

    Attributes:
        model: its name.
        label: the name as shown, with a short revision where the model has several rows.
        kind: `published` (the paper's Table 3) or `ours` (a result file).
        reproduced: marked * in the paper.
        revision: of the model; None for published rows and for score files, which have one each.
        score_files: the scores came from files, not from running the model.
        cells: by task; a task without a number is not there.
    """

    model: str
    label: str
    kind: Kind
    reproduced: bool
    revision: str | None
    score_files: bool
    cells: Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Rows: the paper's in its order, then ours by label. `notes`: what a reader must know, a sentence each.
    `problems`: result files that could not be used."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]

    def to_record(self) -> dict[str, Any]:
        """JSON-ready form; `docs/leaderboard.md` describes it."""
        rows = [
            {**_fields(row), "cells": {task: cell.to_record() for task, cell in row.cells.items()}}
            for row in self.rows
        ]
        return {
            "schema_version": SCHEMA_VERSION,
            "synvita_data": __version__,
            "unit": "percent",
            "published_source": SOURCE,
            "columns": [asdict(column) for column in self.columns],
            "rows": rows,
            "notes": list(self.notes),
            "problems": list(self.problems),
        }


def read_results(folder: Path, *, on_broken: Callable[[SynvitaError], None] | None = None) -> list[Result]:
    """Read every `RESULTS/<model>/<task>.json` and `RESULTS/<model>/<revision>/<task>.json`, by path; names that begin
    with a dot are passed over.

    Args:
        folder: RESULTS, as `synvita evaluate --out` writes it, or `results/` of a results repository.
        on_broken: called with the error of each file that cannot be used, which is then left out.

    Raises:
        SourceError: no such folder, or no usable result in it.
        SchemaError: a file that cannot be used, and `on_broken` is None.
    """
    if not folder.is_dir():
        raise SourceError(
            "the folder of results does not exist", file=folder, fix="Make one with synvita evaluate"
        )
    results: list[Result] = []
    broken: list[SynvitaError] = []
    paths = [*folder.glob("*/*.json"), *folder.glob("*/*/*.json")]
    folders = {path: path.relative_to(folder).parts[:-1] for path in paths if is_result_file(path)}
    for path in sorted(path for path, above in folders.items() if not any(n.startswith(".") for n in above)):
        try:
            result = read_result(path)
            make_cell(result, file=path)
        except SynvitaError as error:
            if on_broken is None:
                raise
            on_broken(error)
            broken.append(error)
        else:
            results.append(result)
    if not results:
        loose = any(folder.glob("*.json"))
        raise SourceError(
            "the folder holds no usable result",
            file=folder,
            found=f"{len(broken):,} unusable: {broken[0]}" if broken else None,
            expected="RESULTS/<model>/<task>.json, as synvita evaluate writes them",
            fix="Give the folder above, which holds one folder a model" if loose and not broken else None,
        )
    return results


def make_leaderboard(
    results: Iterable[Result],
    *,
    published: bool = True,
    problems: Iterable[SynvitaError] = (),
    paired: bool = True,
    annotations: Path | None = None,
) -> Leaderboard:
    """The table; it does not depend on the order of `results`.

    Args:
        results: of any models and tasks. A model has a row for each of its revisions; the revision of a
            score file is the file's, so score files under one name share a row. A task's second result
            of one model and revision gets a row of its own, and equal results count once.
        published: with the paper's rows.
        problems: what `read_results` could not use, to be reported with the table.
        paired: compare results whose intervals meet that of the top with it pair by pair, where the score tables of
            both lie beside the result files; False compares intervals only.
        annotations: folder or file of annotations, for tasks whose score tables do not tell which texts belong together.

    Raises:
        SchemaError: a result whose fields contradict each other or are not what the schema says.
    """
    notes: list[str] = []
    results = list(results)
    tasks = _tasks(results)
    ours = _our_rows(results, tasks, notes)
    rows = [*(_published_rows() if published else ()), *ours]
    columns = tuple(_column(task, ours, notes) for task in tasks.values())
    for column in columns:
        cells = [row.cells.get(column.task) for row in rows]
        if not column.compared:
            continue
        if paired:
            _compare_with_top(tasks[column.task], rows, cells, annotations, notes)
        for cell, standing in zip(cells, standings(cells), strict=True):
            if cell is not None:
                cell.standing = standing
    notes += [
        f"{row.label}, {printable(tasks[task].column)}: not official: "
        + printable("; ".join(cell.why_not_official) or "its file does not say why")
        for row in ours
        for task, cell in row.cells.items()
        if not cell.official
    ]
    return Leaderboard(
        columns, tuple(rows), tuple(notes), tuple(printable(str(problem)) for problem in problems)
    )


def standings(cells: Sequence[Cell | None]) -> list[Standing | None]:
    """Who may be called best in a column, aligned with `cells`.

    Compared are official cells with a value, but for baselines without videos. A cell reaches from `low` to `high`; one without an interval
    (a published number) is a point. The highest value is on top, and every cell whose reach meets that of the
    top one is not told apart from it, unless it was compared with the top one pair by pair (`Cell.paired`) and
    differs: all these share the place. Alone, the top is `best` if it has an interval, `highest` otherwise. Two
    published numbers are compared as printed. With fewer than two cells there is nothing to compare.
    """
    found: list[Standing | None] = [None] * len(cells)
    top, together = _top(cells)
    together = [place for place in together if place == top or not _differs(cells[place])]
    for place in together:
        found[place] = "shared"
    if top is not None and together == [top]:
        found[top] = "best" if _has_interval(cells[top]) else "highest"
    return found


def _differs(cell: Cell | None) -> bool:
    return cell is not None and cell.paired is not None and cell.paired.differs


def _has_interval(cell: Cell | None) -> bool:
    return cell is not None and cell.has_interval


def _top(cells: Sequence[Cell | None]) -> tuple[int | None, list[int]]:
    """The place of the highest number, and of all whose reach meets its; None and nothing where none is compared."""
    compared = {
        place: cell
        for place, cell in enumerate(cells)
        if cell is not None and cell.official and cell.value is not None and not cell.baseline
    }
    if len(compared) < 2:
        return None, []
    # Of equal values the one that reaches down the furthest, whatever their order.
    top = max(compared, key=lambda place: (compared[place].value, -compared[place].reach[0]))
    return top, [place for place, cell in compared.items() if cell.reach[1] >= compared[top].reach[0]]


def _compare_with_top(
    task: Task, rows: Sequence[Row], cells: Sequence[Cell | None], annotations: Path | None, notes: list[str]
) -> None:
    """Fill in `paired` of the cells that reach the top one of the column."""
    top, together = _top(cells)
    scored = {place: cell for place in together if (cell := cells[place]) is not None and _has_table(cell)}
    if top in scored and len(scored) > 1:
        from .paired import compare_with_top

        rivals = [cell for place, cell in scored.items() if place != top]
        compare_with_top(task, rows[top].label, scored[top], rivals, annotations, notes)


def _has_table(cell: Cell) -> bool:
    return cell.path is not None and cell.path.with_suffix(".parquet").is_file()


def make_cell(result: Result, *, file: Path | None = None) -> Cell:
    """The number of a result file, checked: a file may have been edited or made elsewhere.

    Raises:
        SchemaError: a field is missing or of another type, out of range, or contradicts another.
    """
    record = result.record
    try:
        json.dumps(record, allow_nan=False)
        score, model = record["main_score"], record["model"]
        if not isinstance(result.model, str) or not isinstance(result.task, str):
            raise TypeError("the name of the model or task is not a string")
        estimate: dict[str, Any] = {name: _number(score[name]) for name in _ESTIMATE}
        cell = Cell(
            **estimate,
            k=_count(score["k"]),
            n=_count(score["n"]),
            official=record["official"] is True,
            partial=record["partial"] is True,
            why_not_official=tuple(map(str, record["why_not_official"])),
            annotations=str(record["task"]["annotations"]),
            revision=None if model["revision"] is None else str(model["revision"]),
            path=result.path,
            details={
                "model": dict(model),
                "frames": (record["frames"] or {}).get("policy"),
                **{name: dict(record[name]) for name in ("coverage", "metrics", "versions")},
            },
        )
        name = score["name"]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise SchemaError(
            "this is not a result file", file=file, found=repr(error), expected="a complete result"
        ) from error
    task = TASKS.get(result.task)
    low, high = cell.low, cell.high
    # What a whole and honest result cannot be -> whether this one is.
    faults = {
        "a percentage outside [0, 100]": any(
            number is not None and not 0 <= number <= 100 for number in estimate.values()
        ),
        "an interval whose ends do not fit each other": (low is None) != (high is None)
        or (low is not None and high is not None and low > high),
        "more texts scored than there are": not 0 <= (cell.k or 0) <= (cell.n or 0),
        "a result called official that is partial or says why it is not official": cell.official
        and (cell.partial or bool(cell.why_not_official) or cell.k != cell.n),
        f"another main score than {task and task.main_score}": task is not None and name != task.main_score,
    }
    for fault, holds in faults.items():
        if holds:
            raise SchemaError(
                f"the result holds {fault}", file=file, found=dict(score), fix="Evaluate the scores again"
            )
    return cell


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise TypeError(f"{value!r} is not a number")
    return None if value is None else float(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _published_rows() -> list[Row]:
    """The paper's rows in its order."""
    numbers = [number for task in TASKS.values() for number in task.published]
    rows = []
    for model in MODELS:
        own = [number for number in numbers if number.model == model]
        cells = {
            n.task: Cell(value=n.value, digits=n.digits, official=True, provenance=PUBLISHED) for n in own
        }
        rows.append(Row(model, model, "published", any(n.reproduced for n in own), None, False, cells))
    return rows


def _tasks(results: Iterable[Result]) -> dict[str, Task]:
    """The tasks that have a column: those of the paper, then of ours those with a result, then those of users, each as most
    of its results have it."""
    tasks = [TASKS.get(result.task) or task_of_result(result.record["task"]) for result in results]
    counts = Counter((task.name, task.main_score) for task in tasks if task is not None)
    found: dict[str, Task] = {}
    for task in filter(None, tasks):
        either = found.get(task.name, task), task
        found[task.name] = min(either, key=lambda one: _weight(one, counts))
    own = sorted(name for name in found if name not in TASKS)
    return {
        **{name: TASKS[name] for name in TASKS if name in COLUMNS or name in found},
        **{name: found[name] for name in own},
    }


def _weight(task: Task, counts: Mapping[tuple[str, str], int]) -> tuple[int, str, str, str]:
    """The lower, the sooner a column is this declaration of the task, whatever the order of results."""
    return -counts[task.name, task.main_score], task.main_score, task.column, task.digest


def _our_rows(results: Iterable[Result], known: Mapping[str, Task], notes: list[str]) -> list[Row]:
    """One row a model and revision, and a further one for each further result of a task, by label."""
    grouped: dict[tuple[str, bool, str], dict[str, dict[str, Cell]]] = {}
    controls: dict[tuple[str, str], dict[str, tuple[str, Cell]]] = {}
    for result in results:
        if result.task not in known:
            notes.append(f"{printable(result.model)}: {printable(result.task)} has no column here")
            continue
        cell = make_cell(result)
        if (main := result.main_score["name"]) != (wanted := known[result.task].main_score):
            notes.append(
                f"{printable(result.model)}: {printable(result.task)} is not shown: its main score is "
                f"{printable(str(main))}, and that of most results {printable(wanted)}"
            )
            continue
        if result.control is not None:  # no result of the task
            text = json.dumps({**result.record, "run": None}, sort_keys=True)
            controls.setdefault((result.model, result.task), {})[text] = (result.control, cell)
            continue
        # The revision of a score file is a digest of it: another one for each task, and nothing of the model.
        score_files = "score_file" in result.record
        key = (result.model, score_files, "" if score_files else cell.revision or "")
        same_task = grouped.setdefault(key, {}).setdefault(result.task, {})
        text = json.dumps({**result.record, "run": None}, sort_keys=True)
        cell.provenance, cell.trained = provenance_of(result), training_of(result)
        if cell.provenance.doubt is not None:
            notes.append(
                f"{printable(result.model)}, {known[result.task].column}: not verified: {cell.provenance.doubt}"
            )
        # Of equal results one counts, and of these one that was verified.
        if text not in same_task or same_task[text].provenance.kind == "self-reported":
            same_task[text] = cell
    notes.sort()
    rows = []
    for (model, score_files, revision), tasks in sorted(grouped.items()):
        label = printable(model)
        if any(cell.baseline for found in tasks.values() for cell in found.values()):
            label += " (no video)"
        others = [each for name, _, each in grouped if name == model]
        if len(others) > 1:
            which = _short(revision, others) if revision else "no revision"
            label += f" ({'score files' if score_files else which})"
        count = max(map(len, tasks.values()))
        if count > 1:
            notes.append(f"{label}: {count} different results of one task and revision, in rows of their own")
        for place in range(count):
            cells = {
                task: [found[text] for text in sorted(found)][place]
                for task, found in tasks.items()
                if len(found) > place
            }
            shown = label if place == 0 else f"{label} #{place + 1}"
            rows.append(Row(model, shown, "ours", False, revision or None, score_files, cells))
    for (model, task), found in sorted(controls.items()):
        own = [row.cells[task] for row in rows if row.model == model and task in row.cells]
        label = f"{printable(model)}, {printable(known[task].column)}"
        add_gaps(own, [found[text] for text in sorted(found)], label, notes)
    return sorted(rows, key=lambda row: (row.label.casefold(), row.label))


def _column(task: Task, ours: Sequence[Row], notes: list[str]) -> Column:
    by_revision: dict[str, list[Row]] = {}
    for row in ours:
        if task.name in row.cells:
            by_revision.setdefault(row.cells[task.name].annotations or "unknown", []).append(row)
    official = {
        revision
        for revision, rows in by_revision.items()
        if any(row.cells[task.name].official for row in rows)
    }
    if len(by_revision) > 1:
        lists = "; ".join(
            f"{_short(revision, list(by_revision))}: {', '.join(row.label for row in by_revision[revision])}"
            for revision in sorted(by_revision)
        )
        notes.append(
            f"{printable(task.column)}: results on different annotations"
            + (", so none is compared" if len(official) > 1 else "")
            + f" ({lists})"
        )
    return Column(
        task.name, printable(task.column), task.main_score, tuple(sorted(by_revision)), len(official) < 2
    )


def printable(text: str) -> str:
    """Text from a file as one line without control characters, which a terminal would obey."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split()) or "(empty)"


def _short(revision: str, others: Sequence[str]) -> str:
    """Enough of a long hexadecimal revision to tell it from the others, 8 digits at least; others in full."""
    if len(revision) < 12 or set(revision) - set("0123456789abcdef"):
        return printable(revision)
    rest = [other for other in others if other != revision]
    length = 8
    while length < len(revision) and any(other.startswith(revision[:length]) for other in rest):
        length += 1
    return revision[:length]


def estimate_text(score: Mapping[str, Any]) -> str:
    """One estimate as text: `15.57 [11.6, 19.9]`, with ` 96/100` behind it when k of n were scored.

    Args:
        score: value, low, high (percent, any may be None), k, n.
    """
    value, low, high = score["value"], score["low"], score["high"]
    text = "–" if value is None else f"{value:.2f}"
    if low is not None and high is not None:
        text += f" [{low:.1f}, {high:.1f}]"
    return text if score["k"] == score["n"] else f"{text} {score['k']:,}/{score['n']:,}"
