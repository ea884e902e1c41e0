"""A result made again from its score table and the task's annotations, by the functions that `synvita evaluate` uses.

What `evaluate` reads from scores (metrics with intervals, bounds and breakdown, coverage, counts, whether the result is
official, the table itself) is made anew and compared leaf by leaf. What it knows from running the model (its name and
settings, prompt, frames, times) nothing can make anew; there only contradictions are found.
"""

import json
from collections.abc import Iterator
from typing import Any, cast

import numpy as np

from ..annotations import Annotations
from ..errors import ScoreError
from ..evaluation.predictions import Predictions, item_scores_table, read_predictions
from ..evaluation.results import make_result, measure
from ..evaluation.scored import check_annotations
from ..tasks import Task
from .differing import differences, frames_differences, read_table, table_differences
from .opening import Submitted
from .report import Difference

# Of a result file: what is made again, what only a run knows, and what stands there where there is something to say.
RECOMPUTED = ("schema_version", "task", "main_score", "metrics", "coverage", "partial", "official")
OF_THE_RUN = ("model", "frames", "versions", "run")
_NOTES = ("videos_missing", "videos_unreadable", "videos_left_out", "texts_cut", "problems", "doubts")
KNOWN = {*RECOMPUTED, *OF_THE_RUN, *_NOTES} | {
    *("checked", "control", "why_not_official", "flips", "score_file", "bootstrap"),
}
COMPARED = (
    *RECOMPUTED,
    "why_not_official",
    "checked",
    "bootstrap",
    "score table",
    "model.kind",
    "frame_indices",
)
NOT_COMPARED = (
    "model.name",
    "model.revision",
    "model.settings",
    "model.prompt",
    "versions",
    "run",
    "texts_cut",
)


def recompute(submitted: Submitted, task: Task, annotations: Annotations) -> Iterator[Difference]:
    """Every field of a result that is not what its scores give.

    Args:
        submitted: the result.
        task: that it is of.
        annotations: of the task.

    Raises:
        ScoreError: rows are missing, foreign, or have two scores; a score is not a number; other annotations.
        SchemaError: the table cannot be read.
    """
    side, record = submitted.side, submitted.record
    check_annotations(side, annotations)
    found = read_predictions(
        side.table,
        annotations,
        task,
        kind=cast(Any, side.kind),
        allow_missing=record["partial"],
        join="official" if submitted.joined else "strict",
    )
    if found.control != side.control:
        raise ScoreError(
            "the score table is of another control than its result",
            file=side.table,
            found=found.control or "none",
            expected=side.control or "none",
        )
    again = _again(submitted, task, annotations, found)
    yield from table_differences(
        read_table(side.table), item_scores_table(annotations, found.scores, found.kind, found.official)
    )
    yield from _recomputed(record, again)
    yield from _reasons(record, again)
    yield from _counted(submitted, annotations, found)
    yield from frames_differences(side.table, record)
    for name in record.keys() - KNOWN:
        yield from differences({name: record[name]}, {}, "")


def _again(submitted: Submitted, task: Task, annotations: Annotations, found: Predictions) -> dict[str, Any]:
    """The result file as `evaluate` would write it from these scores."""
    record = submitted.record
    seed, resamples = submitted.bootstrap
    metrics = measure(
        task,
        annotations,
        found.scores,
        found.kind,
        partial=record["partial"],
        resamples=resamples,
        seed=seed,
        official=found.official,
    )
    result = make_result(
        task=task,
        annotations=annotations,
        metrics=metrics,
        model={**record["model"], "kind": found.kind},
        scores=found.scores,
        frames=record["frames"],
        run={},
        notes={},
        doubts=[] if found.official is None else found.official.doubts(),
        control=submitted.side.control,
    )
    again: dict[str, Any] = json.loads(json.dumps(result.record))
    return again


def _recomputed(record: dict[str, Any], again: dict[str, Any]) -> Iterator[Difference]:
    """All that is made again, but for whether the result is official."""
    there, here = record["task"], again["task"]
    # Files of another form (packed, or published ones) give equal rows and another account of the reading.
    if there["reading"].get("files") != here["reading"].get("files"):
        there, here = ({**each, "reading": None} for each in (there, here))
    else:
        yield from differences(record.get("checked"), again["checked"], "checked")
    yield from differences(there, here, "task")
    for name in ("main_score", "metrics", "coverage", "partial"):
        yield from differences(record[name], again[name], name)
    yield from differences(record["model"]["kind"], again["model"]["kind"], "model.kind")


def _reasons(record: dict[str, Any], again: dict[str, Any]) -> Iterator[Difference]:
    """A result may be more modest than its scores, never less: every reason that is found must be named."""
    said = record["why_not_official"]
    for reason in again["why_not_official"]:
        if reason not in said:
            yield Difference("why_not_official", None, reason)
    if record["official"] != (not said):
        yield Difference("official", record["official"], not said)


def _counted(submitted: Submitted, annotations: Annotations, found: Predictions) -> Iterator[Difference]:
    """What the counts of a score file, or of the videos of a run, must be."""
    record, joined = submitted.record, {}
    if found.official is not None:
        joined = found.official.to_record()
    if "flips" in record:
        flips = record["flips"]
        yield from differences(flips, {"name": flips.get("name"), **joined}, "flips")
    if (counts := record.get("score_file")) is not None:
        used = _sum(counts, "repeated") + found.counts.scored
        if found.official is not None:  # rows may repeat a further score, which the table does not tell
            used = max(used + _further(found, annotations), _sum(counts, "used"))
        again = {
            **{
                name: counts.get(name)
                for name in ("file", "form", "header", "prompts", "unended", "score_last")
            },
            "rows": _sum(counts, "used", "unknown"),
            "unknown": counts.get("unknown"),
            "used": used,
            "repeated": counts.get("repeated"),
            "scored": found.counts.scored,
            "texts": found.counts.texts,
            "distinct_scores": found.counts.distinct_scores,
            **(joined if submitted.joined and "flips" not in record else {}),
        }
        yield from differences(counts, again, "score_file")
        return
    missing, unreadable = record.get("videos_missing"), record.get("videos_unreadable")
    if isinstance(missing, list) and isinstance(unreadable, list):
        scored = len(np.unique(annotations.video[~np.isnan(found.scores)]))
        left_out = len(annotations.videos) - scored - len(missing) - len(unreadable)
        yield from differences(record.get("videos_left_out"), left_out, "videos_left_out")


def _further(found: Predictions, annotations: Annotations) -> int:
    """How many scores texts have beside their first ones."""
    assert found.official is not None
    pairs = annotations.pair[found.official.rows].tolist()
    return len(set(zip(pairs, found.official.scores.tolist(), strict=True)))


def _sum(counts: dict[str, Any], *names: str) -> int:
    values = [counts.get(name) for name in names]
    return sum(value for value in values if isinstance(value, int))
