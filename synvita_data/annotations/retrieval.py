"""Pair CSVs of SSv2: `videopath, caption, match`, the caption bare or inside VideoCon's prompt."""

from pathlib import Path
from typing import Any

import numpy as np

from ..captions.prompts import read_caption
from ..errors import SchemaError
from ..tables.columns import Floats
from ..tables.rows import Fields, open_table
from ..tasks import Task
from .forms import Form, Metrics, OfficialJoin
from .table import AnnotationReport, Annotations, make_annotations, make_text_id
from .units import ScoredRows, Units, units_of_items
from .videos import VideoRef, check_distinct, video_at

_MATCH = {"1": 1, "1.0": 1, "true": 1, "0": 0, "0.0": 0, "false": 0}


def read_retrieval(task: Task, path: Path) -> Annotations:
    """One row a (caption, video) pair; the group is the caption's text id. A pair that repeats an earlier one
    is dropped and counted. Captions with different numbers of videos are kept (the official script drops
    those of another size than it was given); the metric reports or refuses them.

    Raises:
        SchemaError: columns are missing, a caption or path is empty, `match` is not 0 or 1, or a pair
            stands with both; the row is named.
    """
    csv, positions = open_table(path, Fields.named("videopath", "caption", "match"))
    columns = csv.columns(positions, has_header=True)
    report = AnnotationReport(files=(str(path),), rows=len(columns["match"]))

    def video(cell: str) -> VideoRef:
        return video_at(task.source or "", cell)

    videos = columns["videopath"].convert(video, path)
    captions = columns["caption"].convert(read_caption, path)
    match = columns["match"].convert(_match, path)
    check_distinct(videos, path)

    # Videos by id and captions by text: two spellings of a path, or a bare and a prompted caption, are one.
    position = {name: code for code, name in enumerate(sorted({ref.video_id for ref in videos}))}
    video_key = np.array([position[ref.video_id] for ref in videos], np.int64)[columns["videopath"].codes]
    caption_code = {caption: code for code, caption in enumerate(sorted(set(captions)))}
    text = np.array([caption_code[caption] for caption in captions], np.int64)[columns["caption"].codes]
    label = np.array(match, np.int8)[columns["match"].codes]
    # The first row of each pair stays; a later one may only repeat it.
    _, first, inverse = np.unique(
        video_key * len(caption_code) + text, return_index=True, return_inverse=True
    )
    earlier = first[inverse]
    wrong = np.flatnonzero(label != label[earlier])
    if wrong.size:
        row = int(wrong[0])
        raise SchemaError(
            "a video and caption stand with match 0 and with match 1",
            file=path,
            row=row,
            found=f"rows {int(earlier[row])} and {row}: {columns['videopath'].cell(row)}",
        )
    rows = np.sort(first)
    report.duplicates = report.rows - len(rows)
    distinct = sorted(caption_code)

    return make_annotations(
        task.name,
        videos=videos,
        captions=distinct,
        groups=[make_text_id(caption) for caption in distinct],
        video=columns["videopath"].codes[rows],
        text=text[rows],
        group=text[rows],
        label=label[rows],
        row=rows,
        file_order=rows,
        report=report,
    )


def _match(cell: str) -> int:
    if cell.strip().lower() not in _MATCH:
        raise SchemaError("match is not 0 or 1", found=repr(cell))
    return _MATCH[cell.strip().lower()]


def _measure(
    a: Annotations, scores: Floats, kind: str, options: Metrics, official: OfficialJoin | None
) -> Metrics:
    from ..evaluate_metrics.retrieval_map.ranking import retrieval_map

    def ranked(**more: Any) -> Metrics:
        scored = ~np.isnan(scores)
        return retrieval_map(scores, a.label, a.caption, a.videopath, scored=scored, **{**options, **more})

    found = ranked()
    for ties in ("official", "sklearn"):
        found[f"map_{ties}"] = ranked(ties=ties, resamples=0)["map"]["value"]
    return found


def _units(rows: ScoredRows, scores: Floats, kind: str) -> Units:
    """Captions, each with its ranking; a caption is also an item, by its average precision."""
    from ..evaluate_metrics.retrieval_map.ranking import retrieval_map

    found = retrieval_map(
        scores,
        rows.label,
        rows.text,
        rows.video,
        scored=rows.scored,
        partial=not rows.complete,
        per_caption=True,
        resamples=0,
    )["captions"]
    captions = [each["caption"] for each in found]
    names = [name for name in found[0] if name == "map" or name.startswith("r_at_")]
    return units_of_items(
        unit="caption",
        of_item=captions,
        item="caption",
        items=captions,
        metrics={name: [each[name]["value"] / 100 for each in found] for name in names},
    )


FORM = Form(
    read=read_retrieval,
    measure=_measure,
    units=_units,
    from_tables=frozenset({"map", "r_at_1", "r_at_5", "r_at_10"}),
    group="captions",
    official_leaves_out="repeated",
)
