"""VideoCon's CSVs: a row is a caption and a contrast caption of one video."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..captions.prompts import read_caption
from ..errors import SchemaError, SynvitaError
from ..real_videos.names import normal_source
from ..schema import make_pair_id
from ..tables.cells import given_text, read_choice
from ..tables.columns import Column, Floats, Ints
from ..tables.rows import Fields, open_table
from ..tasks import Task
from .forms import Form, Metrics, OfficialJoin
from .mistakes import Grouped, Judged, Shown, margins
from .table import AnnotationReport, Annotations, make_annotations
from .videos import VideoRef, check_distinct, video_at, video_at_url

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

    misalignment = _category(columns, "misalignment", path, rows)
    hard = _category(columns, "hard", path, rows)
    # Videos by id, captions by text: two spellings of a path, or a bare and a prompted caption, are one.
    video_key, caption_key = _same(videos, lambda video: video.video_id), _same(captions, str)
    keys = np.stack(
        [video_key[video_code[rows]], caption_key[caption_code[rows]], caption_key[neg_code[rows]]]
    )
    _, first, group = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    tags = list(zip(misalignment, hard, strict=True))
    report.duplicates = len(rows) - len(first)
    report.contradictions = sum(tag != tags[earlier] for tag, earlier in zip(tags, first[group], strict=True))

    # The first row of each pair stays, and gives two rows.
    kept = np.sort(first)
    rows_kept, group_kept = rows[kept], group[kept]
    groups = [""] * len(first)
    for row, code in zip(rows_kept.tolist(), group_kept.tolist(), strict=True):
        ref = videos[video_code[row]]
        groups[code] = make_pair_id(
            ref.source, ref.name, captions[caption_code[row]], captions[neg_code[row]]
        )

    def twice(values: Any) -> Any:
        return [value for position in kept.tolist() for value in (values[position],) * 2]

    return make_annotations(
        task.name,
        videos=videos,
        captions=captions,
        groups=groups,
        video=np.repeat(video_code[rows_kept], 2),
        text=np.stack([caption_code[rows_kept], neg_code[rows_kept]], axis=1).reshape(-1),
        group=np.repeat(group_kept, 2),
        label=np.tile(np.array([1, 0], np.int8), len(kept)),
        misalignment=twice(misalignment),
        hard=twice(hard),
        row=np.repeat(rows_kept, 2),
        file_order=(2 * np.searchsorted(split, rows_kept)[:, None] + np.arange(2)).reshape(-1),
        report=report,
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
    groups = {
        name: column[rows]
        for name, column in (("misalignment", a.misalignment), ("hard", a.hard))
        if any(value is not None for value in column)
    }
    return entailment_auc(
        scores,
        a.label[rows],
        a.video_id[rows],
        texts=texts,
        pairs=a.group[rows],
        groups=groups,
        kind=kind,
        scored=~np.isnan(scores),
        **options,
    )


def _judge(a: Annotations, scores: Floats) -> Judged:
    """A pair is wrong where its contrast caption scores as high as its caption, or higher."""
    grouped = Grouped(a)
    margin = margins(a, grouped, scores)
    known = np.flatnonzero(~np.isnan(margin))

    def show(place: int) -> list[Shown]:
        rows = grouped.rows(int(known[place])).tolist()
        return [Shown("caption" if a.label[row] else "contrast caption", row) for row in rows]

    return Judged(known, margin[known], margin[known] <= 0, show, groups="pairs")


FORM = Form(read=read_entailment, measure=_measure, judge=_judge)
