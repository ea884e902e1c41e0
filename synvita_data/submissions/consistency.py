"""A result beside its own score table, without the task's annotations: whether the two contradict each other.

The table's labels are its author's here, so a result that agrees with it is consistent and never verified.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..annotations import find_form
from ..annotations.units import ScoredRows
from ..errors import SchemaError, ScoreError
from ..tables.columns import Floats, coded, number_column, read_parquet
from ..tasks import Task
from .differing import differences, frames_differences
from .opening import Submitted
from .report import Difference

COMPARED = ("main_score", "coverage", "partial", "official", "task.counts", "score table", "frame_indices")
_COLUMNS = ("task", "video_id", "text_id", "label", "score")
_ESTIMATE = {"value", "low", "high", "worst_ties", "best_ties", "k", "n"}


def contradictions(submitted: Submitted, task: Task | None) -> Iterator[Difference]:
    """What a result and its own table contradict each other in.

    Args:
        submitted: the result.
        task: that it is of; None for one that is not known here.

    Raises:
        SchemaError: a label or score of the table cannot be used.
        ScoreError: a text has two scores, and the result does not say how they were joined.
    """
    side, record = submitted.side, submitted.record
    table = read_parquet(side.table, _COLUMNS)
    video, text = coded(table, "video_id", side.table), coded(table, "text_id", side.table)
    label, score = (number_column(table, name, side.table) for name in ("label", "score"))
    usable = np.isfinite(score) & ((side.kind != "probability") | ((score >= 0) & (score <= 1)))
    for name, good in (("label", np.isin(label, (0, 1))), ("score", usable)):
        if not good.all():
            row = int(np.flatnonzero(~good)[0])
            found = table.column(name)[row].as_py()
            raise SchemaError(f"a {name} cannot be used", file=side.table, row=row, found=str(found))
    pair = video.codes * len(text.values) + text.codes
    _, first, inverse = np.unique(pair, return_index=True, return_inverse=True)
    several = np.flatnonzero(score != score[first[inverse]])
    if several.size and not submitted.joined:
        row = int(several[0])
        raise ScoreError(
            "one text of a video has two different scores",
            file=side.table,
            row=row,
            found=f"{score[first[inverse[row]]]} and {score[row]} for {video.cell(row)}",
        )

    # Counts of the table are those of the result, and of a whole result those of its task.
    k, n = len(first), record["task"]["counts"].get("pairs")
    yield from differences(record["coverage"], {"k": k, "n": n}, "coverage")
    yield from differences(record["partial"], not isinstance(n, int) or k < n, "partial")
    if k == n and not submitted.joined:
        texts = np.unique(2 * pair + label.astype(np.int64))
        counts = {
            **record["task"]["counts"],
            "rows": len(table),
            "texts": len(texts),
            "pairs": k,
            "videos": len(video.values),
            "positives": int(label.sum()),
        }
        yield from differences(record["task"]["counts"], counts, "task.counts")
    yield from frames_differences(side.table, record)
    yield from _scores(record, task)
    if task is not None and k == n and not submitted.joined:
        rows = ScoredRows(
            np.array(video.values, object)[video.codes],
            np.array(text.values, object)[text.codes],
            label.astype(np.int8),
            np.ones(len(table), bool),
            complete=True,
        )
        yield from _values(submitted, task, rows, score)


def _scores(record: dict[str, Any], task: Task | None) -> Iterator[Difference]:
    """The main score stands among the metrics, and what is official says so."""
    main = dict(record["main_score"])
    name = main.pop("name", None)
    yield from differences(main, record["metrics"].get(name), "main_score")
    if task is not None and name != task.main_score:
        yield Difference("main_score.name", str(name), task.main_score)
    if missing := sorted(_ESTIMATE - main.keys()):
        yield Difference(f"main_score.{missing[0]}", None, "a number or null")
    official = not record["why_not_official"]
    yield from differences(record["official"], official and not record["partial"], "official")


def _values(submitted: Submitted, task: Task, rows: ScoredRows, score: Floats) -> Iterator[Difference]:
    """Metrics that the table alone gives."""
    form = find_form(task)
    wanted = form.from_tables & submitted.record["metrics"].keys()
    if form.units is None or not wanted:
        return
    try:
        units = form.units(rows, score, submitted.side.kind)
    except ValueError as error:  # the metrics stand alone and know no SynvitaError
        raise ScoreError(
            f"{task.metric} cannot be computed: {str(error).rstrip('.')}", file=submitted.side.table
        ) from error
    values = 100 * units.weighted(np.ones((1, len(units.ids)), np.int64))[0]
    for name in sorted(wanted & set(units.names)):
        found = submitted.record["metrics"][name]
        value = found.get("value") if isinstance(found, dict) else None
        again = round(float(values[units.names.index(name)]), 9)
        if not isinstance(value, int | float) or abs(value - again) > 1e-6:
            yield Difference(f"metrics.{name}.value", None if value is None else str(value), again)
