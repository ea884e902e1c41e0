"""Two results to be compared: found, checked to belong together, and the texts that both have scored."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..annotations import Annotations
from ..annotations.units import ScoredRows
from ..errors import SchemaError, ScoreError, SourceError
from ..evaluation.predictions import read_predictions
from ..evaluation.results import is_result_file, safe_name
from ..evaluation.scored import ScoredResult, check_annotations
from ..tables.columns import Column, Floats, coded, number_column, read_parquet
from ..tasks import Task
from ..video.controls import asked_but_for_control, differing

_COLUMNS = ("task", "video_id", "text_id", "label", "score")


@dataclass(frozen=True, slots=True)
class Texts:
    """How many distinct texts of videos each has, both have, and the task has."""

    a: int
    b: int
    both: int
    task: int

    @property
    def same(self) -> bool:
        return self.a == self.b == self.both


def find_results(place: str | Path, results: Path) -> dict[str, Path]:
    """The result files of a model by their names without suffix: `videocon-human`, `videocon-human@reverse`.

    Args:
        place: as of `compare`.
        results: folder of results, for a name.

    Raises:
        SourceError: there is none.
    """
    path = Path(place)
    if path.is_file():
        if path.suffix != ".json":
            raise SourceError(
                "this is not a result file", file=path, expected="<task>.json, which has its table beside it"
            )
        return {path.stem: path}
    if not path.is_dir() and (results / safe_name(str(place))).is_dir():
        path = results / safe_name(str(place))
    if not path.is_dir():
        raise SourceError(
            "there is no such result",
            found=str(place),
            expected=f"a result file, the folder of a model, or the name of a model in {results}",
        )
    files = {file.stem: file for file in sorted(path.glob("*.json")) if is_result_file(file)}
    if not files:
        models = sorted({file.parent.name for file in path.glob("*/*.json") if file.parent.name[0] != "."})
        raise SourceError(
            "the folder holds no result",
            file=path,
            expected="the folder of a model, with a <task>.json for each task",
            fix=f"Give one of the models in it: {', '.join(models[:5])}" if models else None,
        )
    return files


def check_alike(a: ScoredResult, b: ScoredResult, task: Task, annotations: Annotations | None) -> None:
    """Refuse what does not belong together before anything is read."""
    for name, first, second in (
        ("task", a.result.task, b.result.task),
        ("revision of the annotations", a.revision, b.revision),
        ("task than asked for", a.result.task, task.name),
        (
            "way of scoring options",
            *(side.result.record["task"].get("scored_as") or "none" for side in (a, b)),
        ),
    ):
        if first != second:
            raise ScoreError(
                f"the results cannot be compared: they are of another {name}",
                file=b.path,
                found=f"{first} ({a.path.parent.name}/{a.path.name}) and {second}",
                expected="the same in both",
            )
    if a.control != b.control and (why := why_no_gap(a, b)) is not None:
        raise ScoreError(
            "the results cannot be compared: they are of another control, and not of one model asked in one way",
            file=b.path,
            found=f"{a.control or 'none'} ({a.path.parent.name}/{a.path.name}) and {b.control or 'none'}; {why}",
            expected="the same in both, or a result of the same model without the control",
        )
    if annotations is not None:
        check_annotations(a, annotations)
    for side in (a, b):
        joined = side.result.record.get("score_file"), side.result.record.get("flips")
        for record in joined:
            if isinstance(record, Mapping) and (
                record.get("texts_with_several_scores") or record.get("groups_left_out")
            ):
                raise ScoreError(
                    "a result that was joined as the official scripts do has texts with two scores",
                    file=side.path,
                    found=f"{record.get('texts_with_several_scores', 0):,} texts with several scores, "
                    f"{record.get('groups_left_out', 0):,} groups left out",
                    fix="Evaluate with one score a text (--join strict, no --flips)",
                )


def why_no_gap(a: ScoredResult, b: ScoredResult) -> str | None:
    """What else than the control two results differ in, in words; None for nothing."""
    if a.result.model != b.result.model:
        return "another model"
    watches = "text" not in (a.control, b.control)
    asked = [
        asked_but_for_control(record["model"], (record.get("frames") or {}).get("policy"), watches=watches)
        for record in (a.result.record, b.result.record)
    ]
    return differing(*asked)


def align(
    a: ScoredResult, b: ScoredResult, task: Task, annotations: Annotations | None
) -> tuple[ScoredRows, tuple[Floats, Floats], Texts]:
    """Rows, the scores of both on them, and how many texts there are."""
    if annotations is not None:
        first, second = (
            read_predictions(
                side.table, annotations, task, kind=cast(Any, side.kind), allow_missing=True
            ).scores
            for side in (a, b)
        )
        has = [~np.isnan(first), ~np.isnan(second)]
        both = has[0] & has[1]
        in_a, in_b, in_both = (len(np.unique(annotations.pair[mask])) for mask in (*has, both))
        texts = Texts(in_a, in_b, in_both, int(annotations.pair.max(initial=-1)) + 1)
        return (
            ScoredRows(
                annotations.video_id,
                annotations.text_id,
                annotations.label,
                both,
                bool(both.all()),
                annotations,
            ),
            (np.where(both, first, np.nan), np.where(both, second, np.nan)),
            texts,
        )
    tables = [_Table.read(side) for side in (a, b)]
    keys = [{key[:2] for key in table.score_of} for table in tables]
    common = sorted(key for key in tables[0].score_of if key[:2] in keys[1])
    if common != sorted(key for key in tables[1].score_of if key[:2] in keys[0]):
        raise SchemaError(
            "the score tables give the same texts other labels", file=b.table, expected=f"those of {a.table}"
        )
    texts = Texts(len(keys[0]), len(keys[1]), len(keys[0] & keys[1]), int(a.result.record["coverage"]["n"]))
    return (
        ScoredRows(
            np.array([video for video, _, _ in common], object),
            np.array([text for _, text, _ in common], object),
            np.array([label for _, _, label in common], np.int8),
            np.ones(len(common), bool),
            texts.both == texts.task,
        ),
        (
            np.array([tables[0].score_of[key] for key in common]),
            np.array([tables[1].score_of[key] for key in common]),
        ),
        texts,
    )


@dataclass(frozen=True, slots=True)
class _Table:
    """A score table without annotations: (video, text, label) -> score."""

    score_of: Mapping[tuple[str, str, int], float]

    @classmethod
    def read(cls, side: ScoredResult) -> "_Table":
        table = read_parquet(side.table, _COLUMNS)
        video, text = coded(table, "video_id", side.table), coded(table, "text_id", side.table)
        labels = number_column(table, "label", side.table)
        scores = number_column(table, "score", side.table)
        for column, good in (("label", np.isin(labels, (0, 1))), ("score", np.isfinite(scores))):
            if not good.all():
                row = int(np.flatnonzero(~good)[0])
                raise SchemaError(
                    f"a {column} cannot be used",
                    file=side.table,
                    row=row,
                    found=table.column(column)[row].as_py(),
                )
        pairs = video.codes * len(text.values) + text.codes
        _, first, inverse = np.unique(pairs, return_index=True, return_inverse=True)
        if (wrong := np.flatnonzero(scores != scores[first[inverse]])).size:
            row = int(wrong[0])
            raise ScoreError(
                "one text of a video has two different scores",
                file=side.table,
                row=row,
                found=f"{scores[first[inverse[row]]]} and {scores[row]} for {video.cell(row)}",
                fix="Evaluate with one score a text (--join strict, no --flips)",
            )
        keys = zip(_cells(video), _cells(text), labels.astype(int).tolist(), strict=True)
        return cls(dict(zip(keys, scores.tolist(), strict=True)))


def _cells(column: Column) -> list[str]:
    values: list[str] = np.array(column.values, object)[column.codes].tolist()
    return values
