"""Pair CSVs of SSv2: `videopath, caption, match`, the caption bare or inside VideoCon's prompt."""

from pathlib import Path
from typing import Any

import numpy as np

from ..captions.prompts import read_caption
from ..errors import SchemaError
from ..tables.columns import Floats, Ints
from ..tables.rows import Fields, open_table
from ..tasks import Task
from .forms import Form, Metrics, OfficialJoin
from .mistakes import Grouped, Judged, Shown
from .table import AnnotationReport, Annotations, make_annotations, make_text_id
from .videos import VideoRef, check_distinct, video_at

_SHOWN = 6  # false positives of a caption that are shown, and missed videos
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


def _judge(a: Annotations, scores: Floats) -> Judged:
    """A caption is wrong where its P positives are not the first P; by its average precision, as in mAP.

    Shown are the highest of the videos that do not belong among the first P (false positives), and of those that
    do and are not there (missed), the last first. Ties are ranked against the model.
    """
    from ..evaluate_metrics.retrieval_map.ranking import retrieval_map

    scored = ~np.isnan(scores)
    if not (scored & (a.label == 1)).any():
        nothing = np.zeros(0)
        return Judged(nothing.astype(np.int64), nothing, nothing.astype(bool), lambda place: [], "captions")
    each = retrieval_map(
        scores, a.label, a.group, a.video, scored=scored, per_caption=True, partial=True, resamples=0
    )["captions"]
    code = {group: place for place, group in enumerate(a.groups)}
    groups = np.array([code[caption["caption"]] for caption in each], np.int64)
    precision = np.array([caption["map"]["value"] for caption in each])
    worst = np.array([caption["map"]["worst_ties"] for caption in each])
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

    return Judged(groups, precision, worst < 100, show, "captions", "average precision", 4, note)


FORM = Form(
    read=read_retrieval,
    measure=_measure,
    group="captions",
    official_leaves_out="repeated",
    judge=_judge,
    groups_in_scores=True,
)
