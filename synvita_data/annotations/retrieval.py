"""Videos to be ranked for captions: SSv2's pair CSVs (`videopath, caption, match`, the caption bare or inside
VideoCon's prompt), and files whose columns are declared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..captions.prompts import read_caption
from ..errors import SchemaError
from ..tables.columns import Floats, Ints
from ..tables.rows import Fields, open_table
from ..tasks import Task
from .declared import DeclaredRow, DeclaredRows, clean_caption, read_label
from .forms import Form, Metrics, OfficialJoin
from .mistakes import Grouped, Judged, Shown
from .table import AnnotationReport, Annotations, make_annotations, make_text_id
from .units import ScoredRows, Units, units_of_items
from .videos import VideoRef, check_distinct, video_at

_SHOWN = 6  # false positives of a caption that are shown, and missed videos


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
    match = columns["match"].convert(lambda cell: read_label(cell, "match"), path)
    check_distinct(videos, path)

    return _make_grid(
        _Grid(
            videos,
            captions,
            columns["videopath"].codes,
            columns["caption"].codes,
            np.array(match, np.int8)[columns["match"].codes],
            row=np.arange(report.rows),
            where=lambda at: (path, at),
        ),
        task,
        report,
    )


@dataclass(frozen=True)
class _Grid:
    """Videos with captions.

    Attributes:
        videos, captions: what the codes mean; values may repeat.
        video, caption: int64 [N], of each row.
        label: int8 [N], 1 where the caption describes the video.
        row: int64 [N], row of the file.
        where: file and row of a place in these columns, for messages.
        declared: breakdown name -> value of each row.
    """

    videos: list[VideoRef]
    captions: list[str]
    video: Ints
    caption: Ints
    label: npt.NDArray[np.int8]
    row: Ints
    where: Callable[[int], tuple[Path, int | str]]
    declared: Mapping[str, list[str | None]] = field(default_factory=dict)


def _make_grid(grid: _Grid, task: Task, report: AnnotationReport) -> Annotations:
    # Videos by id and captions by text: two spellings of a path, or a bare and a prompted caption, are one.
    position = {name: code for code, name in enumerate(sorted({ref.video_id for ref in grid.videos}))}
    video_key = np.array([position[ref.video_id] for ref in grid.videos], np.int64)[grid.video]
    caption_code = {caption: code for code, caption in enumerate(sorted(set(grid.captions)))}
    text = np.array([caption_code[caption] for caption in grid.captions], np.int64)[grid.caption]
    # The first row of each pair stays; a later one may only repeat it.
    _, first, inverse = np.unique(
        video_key * len(caption_code) + text, return_index=True, return_inverse=True
    )
    earlier = first[inverse]
    wrong = np.flatnonzero(grid.label != grid.label[earlier])
    if wrong.size:
        at = int(wrong[0])
        (_, before), (file, row) = grid.where(int(earlier[at])), grid.where(at)
        video = grid.videos[grid.video[at]]
        raise SchemaError(
            "a video and caption stand with match 0 and with match 1",
            file=file,
            row=row,
            found=f"rows {before} and {row}: {video.videopath or video.name}",
        )
    kept = np.sort(first)
    report.duplicates = len(grid.row) - len(kept)
    distinct = sorted(caption_code)

    return make_annotations(
        task.name,
        form=task.form,
        videos=grid.videos,
        captions=distinct,
        groups=[make_text_id(caption) for caption in distinct],
        video=grid.video[kept],
        text=text[kept],
        group=text[kept],
        label=grid.label[kept],
        row=grid.row[kept],
        file_order=kept,
        declared={name: [values[at] for at in kept] for name, values in grid.declared.items()},
        report=report,
    )


def read_declared_retrieval(rows: DeclaredRows) -> Annotations:
    """One row a (video, caption, label).

    Raises:
        SchemaError: a caption is empty, no video is named, a label is not 0 or 1 (unless such rows are left out), or a
            pair stands with both.
    """

    def read(row: DeclaredRow) -> tuple[VideoRef, str, int]:
        return (
            rows.video(row, row.cells["video"]),
            clean_caption(row.cells["caption"]),
            row.label(),
        )

    found = rows.each(read)
    if not found:
        raise rows.report.no_rows(rows.task.name, Path(rows.report.files[0]))
    given = [row for row, _ in found]
    videos, captions, labels = map(list, zip(*(values for _, values in found), strict=True))
    check_distinct(videos, Path(rows.report.files[0]))
    count = len(found)
    grid = _Grid(
        videos,
        captions,
        np.arange(count),
        np.arange(count),
        np.array(labels, np.int8),
        row=np.array([row.row for row in given], np.int64),
        where=lambda at: (given[at].file, given[at].place),
        declared=rows.breakdown(given),
    )
    return _make_grid(grid, rows.task, rows.report)


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


def _judge(a: Annotations, scores: Floats, kind: str) -> Judged:
    """A caption is wrong where its P positives are not the first P; by its average precision, as in mAP.

    Shown are the highest of the videos that do not belong among the first P (false positives), and of those that
    do and are not there (missed), the last first. Ties are ranked against the model.
    """
    from ..evaluate_metrics.retrieval_map.ranking import retrieval_map

    scored = ~np.isnan(scores)
    each: list[dict[str, Any]] = []
    if (scored & (a.label == 1)).any():
        each = retrieval_map(
            scores, a.label, a.group, a.video, scored=scored, per_caption=True, partial=True, resamples=0
        )["captions"]
    code = {group: place for place, group in enumerate(a.groups)}
    groups = np.array([code[caption["caption"]] for caption in each], np.int64)
    precision = np.array([caption["map"]["value"] for caption in each], np.float64)
    worst = np.array([caption["map"]["worst_ties"] for caption in each], np.float64)
    grouped = Grouped(a)

    def ranked(place: int) -> tuple[Ints, int]:
        """Rows from the first place to the last, and how many are positives."""
        rows = grouped.rows(int(groups[place]))
        rows = rows[scored[rows]]
        return rows[np.lexsort((a.label[rows], -scores[rows]))], int(a.label[rows].sum())

    def show(place: int) -> list[Shown]:
        rows, positives = ranked(place)
        right = a.label[rows] == 1
        wrong = np.flatnonzero(~right[:positives])[:_SHOWN].tolist()
        missed = (positives + np.flatnonzero(right[positives:]))[::-1][:_SHOWN].tolist()
        # As many of one as of the other; in turn, so that a few show both.
        pairs = zip(wrong, missed, strict=True)
        turns = [each for one, two in pairs for each in (("false positive", one), ("missed", two))]
        return [Shown(role, int(rows[rank]), rank + 1) for role, rank in turns]

    def note(place: int) -> str:
        rows, positives = ranked(place)
        found = int(a.label[rows[:positives]].sum())
        return f"{found} of {positives} among the first {positives} of {len(rows)} videos"

    return Judged(
        ids=[a.groups[group] for group in groups.tolist()],
        row=grouped.first()[groups],
        measure=precision,
        wrong=worst < 100,
        show=show,
        groups="captions",
        total=len(a.groups),
        by="average precision",
        first=4,
        note=note,
    )


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
    read_declared=read_declared_retrieval,
    measure=_measure,
    units=_units,
    from_tables=frozenset({"map", "r_at_1", "r_at_5", "r_at_10"}),
    group="captions",
    official_leaves_out="repeated",
    judge=_judge,
    groups_in_scores=True,
)
