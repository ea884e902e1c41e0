"""Captions and contrast captions of videos: VideoCon's CSVs, and files whose columns are declared."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..captions.prompts import read_caption
from ..errors import SchemaError, SynvitaError
from ..real_videos.names import normal_source
from ..schema import make_pair_id
from ..tables.cells import given_text, read_choice
from ..tables.columns import Column, Floats, Ints
from ..tables.rows import Fields, open_table
from ..tasks import Task
from .declared import DeclaredRow, DeclaredRows, clean_caption
from .forms import Form, Metrics, OfficialJoin
from .mistakes import Grouped, Judged, Shown, by_margin, margins
from .table import AnnotationReport, Annotations, make_annotations
from .units import ScoredRows, Units
from .videos import VideoRef, check_distinct, video_at, video_at_url

if TYPE_CHECKING:
    from ..evaluate_metrics.entailment_auc.auc import EntailmentByVideo

_FIELDS = Fields.named(
    "caption",
    "neg_caption",
    ("videopath", "video_url"),
    optional=("source", "split", "misalignment", "hard"),
)


def read_entailment(task: Task, path: Path) -> Annotations:
    """The pairs of `videocon_llm_entailment.csv`, `videocon_llm_feedback.csv` or `videocon_human.csv`.

    Each gives two rows, (caption, 1) and (contrast caption, 0). A pair that repeats an earlier one is dropped
    and counted. A text that several pairs of a video share stays in each of them, so that paired accuracy
    can compare all pairs; `Annotations.first_of_text` says which rows the official AUC keeps. A text that is
    both caption and contrast caption of a video keeps both labels, as in the official script, where its
    two rows tie.

    Rows that cannot be used are left out and reported: VideoCon's captions were written by a model, and one
    bad row among 27,000 must not stop an evaluation, nor vanish.

    Raises:
        SchemaError: columns are missing, an unknown split, misalignment or `hard`, or the file is broken.
    """
    # The columns, and the rows of the task's split.
    csv, positions = open_table(path, _FIELDS)
    for needed in (*(["split"] if task.split else []), *(["hard"] if task.only_hard else [])):
        if needed not in positions:
            raise SchemaError(
                f"the table has no column {needed}",
                file=path,
                fix=f"Take the file of task {task.name}: {task.files[0]}",
            )
    columns = csv.columns(positions, has_header=True)
    count = len(columns["caption"])
    report = AnnotationReport(files=(str(path),), rows=count)
    # The released code scores all rows of the split, and keeps the hard ones afterwards.
    split = _wanted(replace(task, only_hard=False), columns, path, np.arange(count))
    rows = _wanted(replace(task, split=None), columns, path, split)
    report.other_rows = count - len(rows)

    # Rows without a usable caption or video are left out, each with its reason.
    captions, caption_code, neg_code, bad_caption = _captions(columns)
    videos, video_code, bad_video = _videos(task, columns)
    errors: dict[int, SynvitaError] = {}
    for codes, faults in ((video_code, bad_video), (neg_code, bad_caption), (caption_code, bad_caption)):
        if faults:
            for row in rows[np.isin(codes[rows], list(faults))]:
                errors[int(row)] = copy.copy(faults[int(codes[row])]).at(path, int(row))
    report.left_out = [errors[row] for row in sorted(errors)]
    rows = rows[~np.isin(rows, list(errors))]
    if not len(rows):
        raise report.no_rows(task.name, path)
    check_distinct((videos[code] for code in np.unique(video_code[rows])), path)
    return _make_pairs(
        _Pairs(
            videos,
            captions,
            video_code[rows],
            caption_code[rows],
            neg_code[rows],
            tags={name: _category(columns, name, path, rows) for name in ("misalignment", "hard")},
            row=rows,
            order=np.searchsorted(split, rows),
        ),
        task,
        report,
    )


@dataclass(frozen=True)
class _Pairs:
    """Captions with contrast captions.

    Attributes:
        videos, captions: what the codes mean; values may repeat.
        video, caption, contrast: int64 [P], of each pair.
        tags: name -> value of each pair.
        row: int64 [P], row of the file.
        order: int64 [P], place among the rows of the task.
        declared: names in `tags` that a declaration gave.
    """

    videos: list[VideoRef]
    captions: list[str]
    video: Ints
    caption: Ints
    contrast: Ints
    tags: dict[str, list[Any]]
    row: Ints
    order: Ints
    declared: tuple[str, ...] = ()


def _make_pairs(pairs: _Pairs, task: Task, report: AnnotationReport) -> Annotations:
    """Two rows a pair; a pair that repeats an earlier one is dropped and counted."""
    # Videos by id, captions by text: two spellings of a path, or a bare and a prompted caption, are one.
    video_key, caption_key = (
        _same(pairs.videos, lambda video: video.video_id),
        _same(pairs.captions, str),
    )
    keys = np.stack([video_key[pairs.video], caption_key[pairs.caption], caption_key[pairs.contrast]])
    _, first, group = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    tags = list(zip(*pairs.tags.values(), strict=True))
    report.duplicates = len(pairs.row) - len(first)
    report.contradictions = sum(tag != tags[earlier] for tag, earlier in zip(tags, first[group], strict=True))

    # The first row of each pair stays, and gives two rows.
    kept = np.sort(first)
    groups = [""] * len(first)
    for at in kept.tolist():
        ref = pairs.videos[pairs.video[at]]
        texts = pairs.captions[pairs.caption[at]], pairs.captions[pairs.contrast[at]]
        groups[group[at]] = make_pair_id(ref.source, ref.unit, *texts)

    def twice(name: str) -> list[Any] | None:
        values = pairs.tags.get(name)
        return values and [value for position in kept.tolist() for value in (values[position],) * 2]

    return make_annotations(
        task.name,
        form=task.form,
        videos=pairs.videos,
        captions=pairs.captions,
        groups=groups,
        video=np.repeat(pairs.video[kept], 2),
        text=np.stack([pairs.caption[kept], pairs.contrast[kept]], axis=1).reshape(-1),
        group=np.repeat(group[kept], 2),
        label=np.tile(np.array([1, 0], np.int8), len(kept)),
        misalignment=twice("misalignment"),
        hard=twice("hard"),
        row=np.repeat(pairs.row[kept], 2),
        file_order=(2 * pairs.order[kept][:, None] + np.arange(2)).reshape(-1),
        declared={name: twice(name) or [] for name in pairs.declared},
        report=report,
    )


def read_declared_entailment(rows: DeclaredRows) -> Annotations:
    """Pairs (video, caption, contrast), or single texts (video, caption, label) with the ids of their groups or
    without.

    Raises:
        SchemaError: a caption is empty, no video is named, an unknown misalignment, `hard` or label; unless such rows
            are left out.
    """

    def choice(row: DeclaredRow, name: str) -> Any:
        text = given_text(row.cells.get(name), name)
        return None if text is None else read_choice(text, name)

    def read(row: DeclaredRow) -> tuple[VideoRef, str, str | int, Any, Any]:
        video = rows.video(row, row.cells["video"])
        other: str | int
        if row.cells.get("contrast") is not None or not row.has("label"):
            other = clean_caption(row.cells.get("contrast"))
        else:
            other = row.label()
        caption = clean_caption(row.cells["caption"])
        if caption == other:
            raise SchemaError("caption and contrast caption are the same", found=repr(caption))
        return video, caption, other, choice(row, "misalignment"), choice(row, "hard")

    found = rows.each(read)
    if rows.task.only_hard:
        rows.report.other_rows += sum(values[4] is not True for _, values in found)
        found = [each for each in found if each[1][4] is True]
    if not found:
        raise rows.report.no_rows(rows.task.name, Path(rows.report.files[0]))
    given = [row for row, _ in found]
    videos, captions, others, misalignment, hard = map(list, zip(*(v for _, v in found), strict=True))
    check_distinct(videos, Path(rows.report.files[0]))
    tags = {"misalignment": misalignment, "hard": hard, **rows.breakdown(given)}
    declared = tuple(rows.task.breakdown_columns)
    count = len(found)
    row, order = (np.array([getattr(each, name) for each in given], np.int64) for name in ("row", "order"))
    if all(isinstance(other, str) for other in others):
        pairs = _Pairs(
            videos,
            [*captions, *others],
            np.arange(count),
            np.arange(count),
            np.arange(count) + count,
            tags=tags,
            row=row,
            order=order,
            declared=declared,
        )
        return _make_pairs(pairs, rows.task, rows.report)
    if any(isinstance(other, str) for other in others):
        raise SchemaError(
            "some rows have a contrast caption and some a label",
            file=rows.report.files[0],
            expected="one of both",
        )
    # Single texts: a text that stands twice with one label is one.
    first: dict[Any, int] = {}
    groups = [
        each.id("group") if each.has("group") else video.video_id
        for each, video in zip(given, videos, strict=True)
    ]
    for at in range(count):
        first.setdefault((videos[at].video_id, captions[at], others[at], groups[at]), at)
    kept = np.array(sorted(first.values()), np.int64)
    rows.report.duplicates = count - len(kept)

    def chosen(values: list[Any]) -> list[Any]:
        return [values[at] for at in kept]

    return make_annotations(
        rows.task.name,
        form=rows.task.form,
        videos=videos,
        captions=captions,
        groups=groups,
        video=kept,
        text=kept,
        group=kept,
        label=np.array(others, np.int8)[kept],
        misalignment=chosen(misalignment),
        hard=chosen(hard),
        row=row[kept],
        file_order=order[kept],
        declared={name: chosen(tags[name]) for name in declared},
        report=rows.report,
    )


def _wanted(task: Task, columns: dict[str, Column], path: Path, rows: Ints) -> Ints:
    """Those of `rows` that belong to the task, by its split and by `hard`."""
    wanted = {"split": task.split} if task.split is not None else {}
    for name, value in (wanted | ({"hard": True} if task.only_hard else {})).items():
        found = _category(columns, name, path, rows)
        rows = rows[np.array([each == value for each in found], bool)]
    return rows


def _category(columns: dict[str, Column], name: str, path: Path, rows: Ints) -> list[Any]:
    """The values of a column in `rows`; all None where the file has no such column."""
    if name not in columns:
        return [None] * len(rows)

    def read(cell: str) -> Any:
        text = given_text(cell, name)
        return None if text is None else read_choice(text, name)

    values, faults = columns[name].try_convert(read)
    codes = columns[name].codes[rows].tolist()
    for row, code in zip(rows.tolist(), codes, strict=True) if faults else ():
        if code in faults:
            raise faults[code].at(path, row)
    return [values[code] for code in codes]


def _captions(columns: dict[str, Column]) -> tuple[list[str], Ints, Ints, dict[int, SynvitaError]]:
    """Clean captions of both columns in one list, the codes of each, and the faults by code."""
    own, own_faults = columns["caption"].try_convert(read_caption)
    contrast, contrast_faults = columns["neg_caption"].try_convert(read_caption)
    offset = len(own)
    faults = own_faults | {code + offset: error for code, error in contrast_faults.items()}
    captions = [caption or "" for caption in (*own, *contrast)]
    return captions, columns["caption"].codes, columns["neg_caption"].codes + offset, faults


def _videos(task: Task, columns: dict[str, Column]) -> tuple[list[VideoRef], Ints, dict[int, SynvitaError]]:
    """Distinct (source, path, address), the code of each row, and the faults by code."""
    count = len(columns["caption"])
    empty = Column(np.zeros(count, np.int64), [""])
    parts = [columns.get(name, empty) for name in ("source", "videopath", "video_url")]
    distinct, codes = np.unique(np.stack([part.codes for part in parts]), axis=1, return_inverse=True)
    videos: list[VideoRef] = []
    faults: dict[int, SynvitaError] = {}
    for code, (source, path, url) in enumerate(distinct.T.tolist()):
        try:
            videos.append(_video(task, parts[0].values[source], parts[1].values[path], parts[2].values[url]))
        except SynvitaError as error:
            videos.append(VideoRef("", ""))
            faults[code] = error
    return videos, codes.reshape(-1).astype(np.int64), faults


def _video(task: Task, source: str, path: str, url: str) -> VideoRef:
    own_source, own_path = given_text(source, "source"), given_text(path, "videopath")
    if own_source is None and task.source is None:
        raise SchemaError("source is empty", expected="msr-vtt, vatex or tempo")
    known = normal_source(own_source or task.source or "")
    if own_path is not None:
        return video_at_url(known, own_path) if "://" in own_path else video_at(known, own_path)
    if given_text(url, "video_url") is None:
        raise SchemaError("the row names no video", expected="a videopath or video_url")
    return video_at_url(known, url)


def _same(values: list[Any], key: Any) -> Ints:
    """int64 [len(values)]: equal where `key` is equal."""
    codes: dict[str, int] = {}
    return np.array([codes.setdefault(key(value), len(codes)) for value in values], np.int64)


def _measure(
    a: Annotations, scores: Floats, kind: str, options: Metrics, official: OfficialJoin | None
) -> Metrics:
    from ..evaluate_metrics.entailment_auc.auc import entailment_auc

    rows, texts = np.arange(len(a)), a.text_id
    if official is not None and len(official.rows):
        # A text with another score is a text of its own: two rows of the AUC.
        further = [
            f"{text} {score!r}"
            for text, score in zip(texts[official.rows], official.scores.tolist(), strict=True)
        ]
        rows, texts = np.append(rows, official.rows), np.append(texts, np.array(further, object))
        scores = np.append(scores, official.scores)
    groups = {name: column[rows] for name, column in a.breakdown.items()}
    # Texts without pairs are compared within their video, which may have texts of one label only.
    paired = not np.array_equal(a.group, a.video_id)
    return entailment_auc(
        scores,
        a.label[rows],
        a.video_id[rows],
        texts=texts,
        pairs=a.group[rows] if paired else None,
        groups=groups,
        kind=kind,
        scored=~np.isnan(scores),
        **options,
    )


def _judge(a: Annotations, scores: Floats, kind: str) -> Judged:
    """A pair is wrong where its contrast caption scores as high as its caption, or higher."""
    grouped = Grouped(a)

    def show(group: int) -> list[Shown]:
        rows = grouped.rows(group).tolist()
        return [Shown("caption" if a.label[row] else "contrast caption", row) for row in rows]

    return by_margin(a, grouped, margins(a, grouped, scores), show, "pairs")


def _units(rows: ScoredRows, scores: Floats, kind: str) -> Units:
    """Videos, with all their texts. An item is a pair, or without annotations all texts of a video."""
    from ..evaluate_metrics.entailment_auc.auc import THRESHOLDS, entailment_by_video

    # As `_measure`: without pairs, texts are compared within their video.
    groups_are_pairs = rows.annotations is not None and not np.array_equal(rows.annotations.group, rows.video)
    pairs = rows.annotations.group if rows.annotations is not None and groups_are_pairs else None

    def by_video(chosen: Any) -> "EntailmentByVideo":
        return entailment_by_video(
            scores[chosen],
            rows.label[chosen],
            rows.video[chosen],
            texts=rows.text[chosen],
            pairs=None if pairs is None else pairs[chosen],
            kind=kind,
            scored=rows.scored[chosen],
            partial=not rows.complete,
        )

    # Without annotations nothing says which texts are a pair, so that only the AUC is what it is in the results.
    names: tuple[str, ...] = ("auc",)
    if rows.annotations is not None:
        names += ("paired_accuracy",) if THRESHOLDS[kind] is None else ("paired_accuracy", "strict_accuracy")

    def units(chosen: Any, groups: Mapping[str, Mapping[str, Units]]) -> Units:
        found = by_video(chosen)

        def weighted(weights: Ints) -> Floats:
            return np.array([found.weighted(one)[: len(names)] for one in weights])

        return Units(
            unit="video",
            ids=found.videos,
            item="video" if pairs is None else "pair",
            items=found.pairs,
            values=found.pair_values,
            right=None,
            names=names,
            weighted=weighted,
            groups=groups,
        )

    groups: dict[str, dict[str, Units]] = {}
    for name, column in rows.breakdown.items():
        for value in sorted({each for each in column if each is not None}, key=str):
            chosen = (column == value) & rows.scored
            if len(set(rows.label[chosen].tolist())) == 2:  # an AUC of one class is undefined
                groups.setdefault(name, {})[str(value)] = units(chosen, {})
    return units(slice(None), groups)


FORM = Form(
    read=read_entailment,
    read_declared=read_declared_entailment,
    measure=_measure,
    units=_units,
    from_tables=frozenset({"auc"}),
    judge=_judge,
)
