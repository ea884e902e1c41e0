"""Two models on the same texts: their difference, how sure it is, and who wins how many items.

`docs/compare.md` says what is computed; `annotations.units` has the unit of each form, `paired` the statistics.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..annotations import Annotations, find_form, read_annotations, tasks_at
from ..annotations.units import ScoredRows, Units
from ..errors import SchemaError, ScoreError, SourceError
from ..evaluation.scored import ScoredResult, not_its_table, read_scored, task_of
from ..schema import SCHEMA_VERSION
from ..tables.columns import Floats, Ints
from ..tasks import TASKS, Task
from .paired import Difference, McNemar, Won, count_won, difference, holm, mcnemar, resample_both
from .scored import Texts, align, check_alike, find_results

# How far a metric that is computed again may be from the one in the result file, in percent.
_SAME = 1e-6


@dataclass(frozen=True, slots=True)
class TaskComparison:
    """Two models on one task.

    Attributes:
        task: its name.
        control: as of `ScoredResult`; None where the two are of different ones.
        annotations: revision.
        a, b: of `ScoredResult.to_record`.
        metric: the task's main score.
        main: its difference.
        p_holm: its p value, corrected for the tasks that were compared together.
        unit, units: what the bootstrap draws, and how many of them.
        item: what is won.
        won: how often.
        mcnemar: for items that are right or wrong, otherwise None.
        metrics: name -> the difference of every metric, the main one first.
        breakdown: column -> value -> the difference of the main score.
        compared, texts_a, texts_b, texts: texts that both have, that each has, and that the task has.
        resamples, seed: of the bootstrap.
        notes: what a reader must know, a sentence each.
    """

    task: str
    control: str | None
    annotations: str
    a: Mapping[str, Any]
    b: Mapping[str, Any]
    metric: str
    main: Difference
    p_holm: float | None
    unit: str
    units: int
    item: str
    won: Won
    mcnemar: McNemar | None
    metrics: Mapping[str, Difference]
    breakdown: Mapping[str, Mapping[str, Difference]]
    compared: int
    texts_a: int
    texts_b: int
    texts: int
    resamples: int
    seed: int
    notes: tuple[str, ...] = ()

    def to_record(self) -> dict[str, Any]:
        """JSON-ready form; `docs/compare.md` describes it."""
        return {**asdict(self), "won": {**asdict(self.won), "share": self.won.share}}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the tasks that both have. `notes`: what was not compared, a sentence each."""

    a: str
    b: str
    tasks: tuple[TaskComparison, ...]
    notes: tuple[str, ...] = field(default=())

    def to_record(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "schema_version": SCHEMA_VERSION,
            "synvita_data": __version__,
            "unit": "percent",
            "a": self.a,
            "b": self.b,
            "tasks": [task.to_record() for task in self.tasks],
            "notes": list(self.notes),
        }


def compare(
    a: str | Path,
    b: str | Path,
    *,
    results: Path = Path("results"),
    tasks: Sequence[Task] = (),
    annotations: Path | None = None,
    partial: bool = False,
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare two models, as `synvita compare` does.

    Args:
        a, b: a result file, the folder of a model, or the name of a model that has a folder in `results`.
        results: folder of results.
        tasks: only these, which may be tasks of the user's own; empty: all that both have.
        annotations: file or folder, as of `synvita evaluate`; needed where the score table does not tell which texts
            belong together.
        partial: compare on the texts that both have scored where they scored different ones.
        resamples, seed: of the bootstrap.

    Raises:
        SourceError: no such result, or no task that both have.
        SchemaError: a result or table is broken, or does not belong to the other.
        ScoreError: the two cannot be compared: other annotations, other texts, another control, two scores a text.
    """
    files_a, files_b = find_results(a, results), find_results(b, results)
    wanted = {task.name: task for task in tasks}
    keys, notes = _common(files_a, files_b, set(wanted), (str(a), str(b)))
    if len(keys) > 1 and annotations is not None and annotations.is_file():
        raise SourceError(
            "one annotation file is of one task",
            file=annotations,
            found=f"results of {len(keys)} tasks",
            fix="Name the task with --task, or give a folder that holds the files of all",
        )
    found = []
    for first, second in keys:
        pair = read_scored(first), read_scored(second)
        task = task_of(pair[0], wanted, annotations)
        rows = _annotations(task, annotations)
        found.append(compare_results(*pair, task, rows, partial=partial, resamples=resamples, seed=seed))
    corrected = holm([each.main.p for each in found])
    return Comparison(
        _name(found[0], "a"),
        _name(found[0], "b"),
        tuple(replace(each, p_holm=p) for each, p in zip(found, corrected, strict=True)),
        tuple(notes),
    )


def _name(first: TaskComparison, side: str) -> str:
    """What one of the two is called: its model, with the control where the two differ in it."""
    own = first.a if side == "a" else first.b
    if first.a["control"] == first.b["control"] or own["control"] is None:
        return str(own["model"])
    return f"{own['model']} under the control {own['control']}"


def _common(
    a: Mapping[str, Path], b: Mapping[str, Path], tasks: set[str], names: tuple[str, str]
) -> tuple[list[tuple[Path, Path]], list[str]]:
    """The files that are compared with each other, and what is not compared."""
    if len(a) == len(b) == 1:  # two files: whatever they are called, or an error that says how they differ
        return list(zip(a.values(), b.values(), strict=True)), []

    def asked(stem: str) -> bool:
        return not tasks or stem.partition("@")[0] in tasks

    both = [stem for stem in a if stem in b and asked(stem)]
    if not both:
        raise SourceError(
            "the two have no task in common" if not tasks else "the two do not both have the task",
            found=f"{names[0]}: {', '.join(a)}; {names[1]}: {', '.join(b)}",
            expected=" or ".join(sorted(tasks)) or None,
        )
    notes = [
        f"not compared: {stem}, which only {names[0] if stem in a else names[1]} has"
        for stem in sorted({*a, *b})
        if (stem in a) != (stem in b) and asked(stem)
    ]
    return [(a[stem], b[stem]) for stem in both], notes


def needs_annotations(task: Task) -> bool:
    """The score tables alone do not give the task's main score."""
    return task.main_score not in find_form(task).from_tables


def _annotations(task: Task, path: Path | None) -> Annotations | None:
    """The task's annotations; None where a folder holds none of one of our tasks that needs none."""
    if path is None:
        return None
    ours = task.name in TASKS and path.is_dir()
    if ours and not needs_annotations(task) and task.name not in {each.name for each in tasks_at(path)}:
        return None
    return read_annotations(task, path)


def compare_results(
    a: ScoredResult,
    b: ScoredResult,
    task: Task,
    annotations: Annotations | None = None,
    *,
    partial: bool = False,
    resamples: int = 10_000,
    seed: int = 0,
) -> TaskComparison:
    """Compare two results of one task.

    Args:
        a, b: of `read_scored`.
        task: what both are results of.
        annotations: of the task, or None where the tables tell all.
        partial, resamples, seed: as of `compare`.

    Raises:
        SchemaError, ScoreError: as of `compare`.
    """
    first, second, texts = paired_units(a, b, task, annotations, partial=partial)
    names = tuple(name for name in first.names if name in second.names)
    main, metrics, breakdown = _differences(first, second, task.main_score, names, resamples, seed)
    return TaskComparison(
        task=task.name,
        control=a.control if a.control == b.control else None,
        annotations=a.revision,
        a=a.to_record(),
        b=b.to_record(),
        metric=task.main_score,
        main=main,
        p_holm=main.p,
        unit=first.unit,
        units=len(first.ids),
        item=first.item,
        won=count_won(first.values, second.values),
        mcnemar=None if first.right is None or second.right is None else mcnemar(first.right, second.right),
        metrics=metrics,
        breakdown=breakdown,
        compared=texts.both,
        texts_a=texts.a,
        texts_b=texts.b,
        texts=texts.task,
        resamples=resamples,
        seed=seed,
        notes=tuple(_notes(a, b, texts)),
    )


def paired_units(
    a: ScoredResult,
    b: ScoredResult,
    task: Task,
    annotations: Annotations | None = None,
    *,
    partial: bool = False,
) -> tuple[Units, Units, Texts]:
    """The units of two results that may be compared, on the same rows, and how many texts they have.

    Args:
        a, b, task, annotations, partial: as of `compare_results`.

    Raises:
        SchemaError, ScoreError: as of `compare`.
    """
    check_alike(a, b, task, annotations)
    form = find_form(task)
    if form.units is None:
        raise ScoreError(f"results of the form {task.form} cannot be compared", file=a.path)
    if annotations is None and needs_annotations(task):
        raise ScoreError(
            f"{task.main_score} of {task.name} cannot be compared from the score tables alone: they do not say which texts "
            "belong together",
            file=a.path,
            fix="Give the task's annotations with --annotations",
        )

    # The scores of both, on the rows of the annotations or on those of the tables.
    rows, scores, texts = align(a, b, task, annotations)
    for side, count in ((a, texts.a), (b, texts.b)):
        if count != (counted := side.result.record["coverage"]["k"]):
            raise not_its_table(side, f"{count:,} texts", f"{counted:,} texts")
    if not texts.both:
        raise ScoreError("the two results have no text in common", file=b.table, found=f"those of {a.table}")
    if not texts.same and not partial:
        raise ScoreError(
            "the two results scored different texts",
            file=b.path,
            found=f"{texts.a:,} texts and {texts.b:,}, {texts.both:,} of them in both, of {texts.task:,}",
            fix="Complete both, or compare what both have with --partial",
        )

    def units_of(side: ScoredResult, own: Floats, of: ScoredRows) -> Units:
        assert form.units is not None
        try:
            return form.units(of, own, side.kind)
        except ValueError as error:  # the metrics stand alone and know no SynvitaError
            raise ScoreError(
                f"{task.metric} cannot be computed: {str(error).rstrip('.')}", file=side.table
            ) from error

    found = [units_of(side, own, rows) for side, own in zip((a, b), scores, strict=True)]
    names = tuple(name for name in found[0].names if name in found[1].names)
    if task.main_score not in names:
        raise ScoreError(
            f"{task.main_score} cannot be computed from the scores of both",
            file=a.path,
            found=f"{a.kind} and {b.kind}",
            expected=f"scores that give it, or one of {', '.join(names)} as the task's main score",
        )
    first, second = found
    if texts.same:
        for side, units in ((a, first), (b, second)):
            _check_main_score(side, units, task)
    if first.ids != second.ids or first.items != second.items:  # not of equal rows
        raise SchemaError("the score tables do not have the same units", file=b.table)

    return first, second, texts


def _check_main_score(side: ScoredResult, units: Units, task: Task) -> None:
    """All texts of the table must give the main score of its result."""
    score = side.result.main_score
    if score["name"] != task.main_score or score["value"] is None:
        return
    again = 100 * float(_once(units)[units.names.index(task.main_score)])
    if not abs(again - score["value"]) <= _SAME:
        raise not_its_table(side, *(f"{task.main_score} {value:.4f}" for value in (again, score["value"])))


def _once(units: Units) -> Floats:
    """The metrics when each unit counts once."""
    return units.weighted(np.ones((1, len(units.ids)), np.int64))[0]


def _differences(
    a: Units, b: Units, main: str, names: Sequence[str], resamples: int, seed: int
) -> tuple[Difference, dict[str, Difference], dict[str, dict[str, Difference]]]:
    """The main difference, that of every metric, and the main one in every part of the breakdown."""
    names = [main, *(name for name in names if name != main)]
    place = {name: at for at, name in enumerate(a.ids)}

    def picked(units: Units, of: Sequence[str]) -> Callable[[Ints], Floats]:
        columns = [units.names.index(name) for name in of]
        return lambda weights: units.weighted(weights)[:, columns]

    labels = [
        (column, value)
        for column, values in a.groups.items()
        for value in values
        if value in b.groups.get(column, {})
        and main in a.groups[column][value].names
        and a.groups[column][value].ids == b.groups[column][value].ids
    ]
    parts = [(a.groups[column][value], b.groups[column][value]) for column, value in labels]
    whole, of_parts = resample_both(
        picked(a, names),
        picked(b, names),
        [
            (np.array([place[each] for each in first.ids]), picked(first, [main]), picked(second, [main]))
            for first, second in parts
        ],
        units=len(a.ids),
        resamples=resamples,
        seed=seed,
    )

    def of(first: Units, second: Units, name: str, resampled: Floats) -> Difference:
        one, other = (float(_once(each)[each.names.index(name)]) for each in (first, second))
        return difference(one, other, resampled, units=len(first.ids))

    metrics = {name: of(a, b, name, whole[:, at]) for at, name in enumerate(names)}
    breakdown: dict[str, dict[str, Difference]] = {}
    for (column, value), (first, second), resampled in zip(labels, parts, of_parts, strict=True):
        breakdown.setdefault(column, {})[value] = of(first, second, main, resampled[:, 0])
    return metrics[main], metrics, breakdown


def _notes(a: ScoredResult, b: ScoredResult, texts: Texts) -> list[str]:
    """What a reader must know of this comparison."""
    notes = []
    if texts.both < texts.task:
        notes.append(
            f"compared on {texts.both:,} of {texts.task:,} texts ({texts.a:,} and {texts.b:,} were scored)"
        )
    records = [side.result.record for side in (a, b)]
    for what, values in {
        "declaration of the task": [record["task"].get("declaration") for record in records],
        "kind of score": [record["model"].get("kind") for record in records],
        "prompt": [record["model"].get("prompt") for record in records],
        "frames": [(record.get("frames") or {}).get("policy") for record in records],
    }.items():
        if values[0] != values[1] and (what != "frames" or a.control == b.control):
            notes.append(f"another {what}: {values[0]}; {values[1]}")
    return notes
