"""Single samples of a benchmark, by name: what a model says of each of their texts. No result file is written.

They are scored as in a run of the whole task and kept in its place, so that such a run finds them, and they it.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from ..annotations import Annotations, VideoRef
from ..errors import SchemaError, SourceError
from ..jobs import JobProgress
from ..real_videos.names import video_stem
from ..scoring import Scorer
from ..tables.columns import Ints
from ..tasks import Task
from .run import find_videos
from .scoring import process_rank, score_task

_NEAR = 5


@dataclass(frozen=True, slots=True)
class NamedText:
    """A text of a sample, as a row of the annotations says it.

    Attributes:
        item: id of its pair, question or caption.
        caption: the text.
        label: 1 for one that describes the video (the right answer), 0 otherwise.
        score: of the kind of the scorer; None where the video could not be read.
        of: what results are broken down by, such as its misalignment; empty where nothing is known.
    """

    item: str
    caption: str
    label: int
    score: float | None
    of: str


@dataclass(frozen=True, slots=True)
class NamedVideo:
    """A video with the texts that were asked for, in the order of the annotations.

    Attributes:
        task: name of the benchmark.
        video: as the annotations refer to it.
        texts: rows of the annotations.
        frames: the frames that were looked at, as indices in the file in the order shown.
        error: why the video could not be scored; None where it was.
    """

    task: str
    video: VideoRef
    texts: tuple[NamedText, ...]
    frames: tuple[int, ...] = ()
    error: str | None = None


def named_rows(
    read: Sequence[tuple[Task, Annotations]], videos: Collection[str], items: Collection[str]
) -> list[Ints]:
    """The rows of each benchmark's annotations that are named, int64.

    Args:
        read: benchmarks with their annotations.
        videos: ids, names, files or paths of videos: all their rows.
        items: ids of pairs (entailment), questions, minimal pairs of questions, groups or captions (retrieval); or a
            caption, for the items that it is part of: all their rows.

    Raises:
        SchemaError: an id that no benchmark has, with those that are nearest; a name that several videos have.
    """
    found: list[Ints] = [np.zeros(0, np.int64) for _ in read]
    for what, ids in (("video", videos), ("item", items)):
        known = [_handles(annotations, what) for _, annotations in read]
        for wanted in ids:
            places = [own.get(wanted, {}) for own in known]
            if what == "video" and not any(
                places
            ):  # the name of a file, where the annotations give names alone
                places = [own.get(video_stem(wanted), {}) for own in known]
            if not any(places):
                raise _unknown(what, wanted, [name for own in known for name in own])
            for number, place in enumerate(places):
                if what == "video" and len(place) > 1:
                    raise SchemaError(
                        f"several videos of {read[number][0].name} have this name",
                        found=wanted,
                        expected=f"one of {', '.join(sorted(place))}",
                    )
                annotations = read[number][1]
                column = annotations.video if what == "video" else annotations.group_code
                for code in place.values():
                    found[number] = np.union1d(found[number], np.flatnonzero(column == code))
    return found


def score_named(
    scorer: Scorer,
    task: Task,
    annotations: Annotations,
    rows: Ints,
    real_root: Any,
    out: Path,
    *,
    real_mapping: Path | None = None,
    on_progress: Callable[[JobProgress], None] | None = None,
) -> Iterator[NamedVideo]:
    """What a model says of the texts in these rows, a video at a time. Only the first process gives anything.

    Args:
        scorer: the model.
        task: the benchmark.
        annotations: of it.
        rows: int64, as `named_rows` gives them.
        real_root: as of `evaluate_scorer`.
        out: folder of results, below which scores are kept.
        real_mapping: which file is which video.
        on_progress: as of `run_job`.

    Raises:
        SourceError: a video that is not there.
    """
    codes = np.unique(annotations.video[rows]).tolist()
    wanted = [annotations.videos[code] for code in codes]
    resolve, roots = find_videos(scorer, task, real_root, real_mapping)
    found = score_task(
        scorer,
        task,
        annotations,
        resolve,
        out / ".work",
        wait=process_rank() == 0,
        only={video.video_id for video in wanted},
        on_progress=on_progress,
    )
    if found is None:
        return
    if found.missing:
        raise SourceError(
            f"{task.name}: a video that is asked for is not there",
            file=", ".join(map(str, roots)) or None,
            found=", ".join(found.missing[:_NEAR]),
            fix="Look at --real-root, and --real-mapping for other names",
        )
    ids = annotations.group
    for code, video in zip(codes, wanted, strict=True):
        error = found.unreadable.get(video.video_id)
        texts = tuple(
            NamedText(
                item=str(ids[row]),
                caption=annotations.captions[annotations.text[row]],
                label=int(annotations.label[row]),
                score=None if np.isnan(found.scores[row]) else float(found.scores[row]),
                of=_type(annotations, row),
            )
            for row in rows[annotations.video[rows] == code].tolist()
        )
        reason = None if error is None else str(error.get("problem"))
        yield NamedVideo(task.name, video, texts, found.frames.get(video.video_id, ()), reason)


def _handles(annotations: Annotations, what: str) -> dict[str, dict[str, int]]:
    """What a user may call a video, or an item -> ids of those that are called so -> their codes."""
    if what == "item":
        # A caption, or a pair of questions, is all the items that it is part of; the id of an item comes before both.
        items = {name: {name: code} for code, name in enumerate(annotations.groups)}
        wholes: dict[str, dict[str, int]] = {}
        items_of = annotations.group_code.tolist()
        captions = [annotations.captions[text] for text in annotations.text.tolist()]
        pairs = [] if annotations.minimal_pair is None else annotations.minimal_pair.tolist()
        for names in (captions, pairs):
            for name, code in zip(names, items_of, strict=False):
                if name is not None:
                    wholes.setdefault(name, {})[annotations.groups[code]] = code
        return items | {name: codes for name, codes in wholes.items() if name not in items}
    handles: dict[str, dict[str, int]] = {}
    for code, video in enumerate(annotations.videos):
        path = video.videopath or video.video_url or video.video_id
        for name in {video.video_id, video.name, path, path.rpartition("/")[2]}:
            handles.setdefault(name, {})[video.video_id] = code
    return handles


def _type(annotations: Annotations, row: int) -> str:
    """What is known of a row that results are broken down by: values, and the names of what holds."""
    known = {name: column[row] for name, column in annotations.breakdown.items()}
    return ", ".join(name if value is True else str(value) for name, value in known.items() if value)


def _unknown(what: str, wanted: str, known: Sequence[str]) -> SchemaError:
    names = list(dict.fromkeys(known))
    near = get_close_matches(wanted, names, n=_NEAR, cutoff=0.3)
    return SchemaError(
        f"the annotations have no {what} of this id",
        found=wanted,
        expected=f"an id such as {', '.join(near or names[:_NEAR])}"
        + (f" (near ones of {len(names):,})" if near else f" (the first of {len(names):,})"),
    )
