"""Groups of two videos and two captions, each caption of one of them: text, video and group score."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from ..errors import SchemaError
from ..tables.columns import Floats, Ints
from .declared import DeclaredRow, DeclaredRows, clean_caption
from .forms import Form, Metrics, OfficialJoin
from .mistakes import Grouped, Judged, Shown, by_margin, margins
from .table import Annotations, make_annotations, make_text_id
from .units import ScoredRows, Units, units_of_items
from .videos import VideoRef, check_distinct

_Half = tuple[DeclaredRow, VideoRef, str]


def read_declared_groups(rows: DeclaredRows) -> Annotations:
    """A group a row (two columns of videos, two of captions, the id of the group or none), or two rows a group with its
    id. Each gives four rows: V0 and V1 with C0 and C1. `option` is the place of the caption.

    Raises:
        SchemaError: a caption is empty, no video is named, two captions or videos of a group are the same, a group has one
            or three rows, or two rows one id; with file and row, unless such groups are left out.
    """
    task, report = rows.task, rows.report
    several = [isinstance((task.columns or {}).get(name), tuple) for name in ("video", "caption")]
    if any(several) and not all(several):
        raise SchemaError(
            "a group has two videos and two captions",
            file=report.files[0],
            expected="two columns of each, or one",
        )
    groups = _in_rows(rows) if all(several) else _of_two_rows(rows)
    if not groups:
        raise report.no_rows(task.name, Path(report.files[0]))
    halves = [half for group in groups.values() for half in group]
    check_distinct((video for _, video, _ in halves), Path(report.files[0]))

    # Of each group V0 C0, V0 C1, V1 C0, V1 C1.
    first = 2 * np.arange(len(groups))[:, None]
    video = (first + np.array([0, 0, 1, 1])).reshape(-1)
    text = (first + np.array([0, 1, 0, 1])).reshape(-1)
    return make_annotations(
        task.name,
        form=task.form,
        videos=[ref for _, ref, _ in halves],
        captions=[caption for _, _, caption in halves],
        groups=list(groups),
        video=video,
        text=text,
        group=np.repeat(np.arange(len(groups)), 4),
        label=(video == text).astype(np.int8),
        option=text % 2,
        row=np.array([row.row for row, _, _ in halves], np.int64)[video],
        file_order=np.arange(len(video)),
        declared={
            name: [values[at] for at in video]
            for name, values in rows.breakdown([row for row, _, _ in halves]).items()
        },
        report=report,
    )


def _in_rows(rows: DeclaredRows) -> dict[str, list[_Half]]:
    """Groups that are a row each."""

    def read(row: DeclaredRow) -> tuple[str, list[_Half]]:
        videos, captions = row.cells["video"], row.cells["caption"]
        if len(videos) != 2 or len(captions) != 2:
            raise SchemaError(
                "a group has another number of videos or captions",
                found=f"{len(videos)} and {len(captions)}",
                expected="two and two",
            )
        half = [
            (row, rows.video(row, video), clean_caption(caption))
            for video, caption in zip(videos, captions, strict=True)
        ]
        name = row.id("group") if row.has("group") else _made_id(half)
        rows.check_id(row, name)
        _check_different(half)
        return name, half

    return dict(found for _, found in rows.each(read))


def _of_two_rows(rows: DeclaredRows) -> dict[str, list[_Half]]:
    """Groups of two rows with one id."""

    def read(row: DeclaredRow) -> tuple[str, _Half]:
        if not row.has("group"):
            raise SchemaError("the row names no group", expected="a column of the groups' ids")
        one = row, rows.video(row, row.cells["video"]), clean_caption(row.cells["caption"])
        return row.id("group"), one

    found: defaultdict[str, list[_Half]] = defaultdict(list)
    for _, (name, one) in rows.each(read):
        found[name].append(one)
    whole: dict[str, list[_Half]] = {}
    for name, half in found.items():
        try:
            if len(half) != 2:
                raise SchemaError(
                    f"a group has {len(half)} rows",
                    found=name,
                    expected="two: a video and its caption in each",
                )
            _check_different(half)
            if half[0][0].breakdown != half[1][0].breakdown:
                raise SchemaError("the rows of a group differ in a breakdown", found=name)
        except SchemaError as error:
            rows.refuse_all([row for row, _, _ in half], error)
        else:
            whole[name] = half
    return whole


def _made_id(half: list[_Half]) -> str:
    return make_text_id("\n".join(part for _, video, caption in half for part in (video.video_id, caption)))


def _check_different(half: list[_Half]) -> None:
    (_, video, caption), (_, other_video, other_caption) = half
    if video.video_id == other_video.video_id or caption == other_caption:
        raise SchemaError(
            "the two videos or captions of a group are the same",
            found=video.video_id if video.video_id == other_video.video_id else repr(caption),
            expected="two of each",
        )


def _measure(
    a: Annotations, scores: Floats, kind: str, options: Metrics, official: OfficialJoin | None
) -> Metrics:
    from ..evaluate_metrics.group_score.group import group_score

    scored = ~np.isnan(scores)
    return group_score(
        scores, _video_place(a), a.option, a.group, breakdown=a.breakdown, scored=scored, **options
    )


def _judge(a: Annotations, scores: Floats, kind: str) -> Judged:
    """A group is wrong where a caption scores as high with the other video as with its own, or higher, or a video with
    the other caption: where its group score is not 1. So the margin is the lower of the two right scores minus the
    higher of the two wrong ones."""
    grouped = Grouped(a)

    def show(group: int) -> list[Shown]:
        rows = grouped.rows(group)
        order = np.lexsort((-a.label[rows], a.video[rows]))
        return [
            Shown("own caption" if a.label[row] else "other video's caption", row)
            for row in rows[order].tolist()
        ]

    return by_margin(a, grouped, margins(a, grouped, scores), show, "groups", first=4)


def _video_place(a: Annotations) -> Ints:
    """int64 [N], 0 or 1: a caption describes the video of its own place."""
    return np.where(a.label == 1, a.option, 1 - a.option)


def _units(rows: ScoredRows, scores: Floats, kind: str) -> Units:
    """Groups; a group is also an item, by its group score."""
    from ..evaluate_metrics.group_score.group import group_score

    a = rows.annotations
    assert a is not None  # `from_tables` is empty
    found = group_score(
        scores,
        _video_place(a),
        a.option,
        a.group,
        scored=rows.scored,
        partial=not rows.complete,
        per_group=True,
        resamples=0,
    )["groups"]
    groups = [each["id"] for each in found]
    return units_of_items(
        unit="group",
        of_item=groups,
        item="group",
        items=groups,
        metrics={name: [each[name] / 100 for each in found] for name in ("group", "text", "video")},
        breakdown=rows.breakdown_of(groups),
    )


FORM = Form(
    read=None,
    read_declared=read_declared_groups,
    measure=_measure,
    units=_units,
    group="groups",
    judge=_judge,
)
