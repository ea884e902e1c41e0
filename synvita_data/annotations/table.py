"""Annotations of a task as columns: what is to be scored, and the truth.

A row is a text of a video in its place: a caption or contrast caption of a pair, a video of a caption's
ranking, a statement of a question. A video–text pair may stand in several rows (a caption with three
contrast captions has three); it is scored once, and every row gets the score.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..captions import Question, Text
from ..display import counted
from ..errors import SchemaError, SourceError, SynvitaError
from ..schema import MISALIGNMENTS
from ..scoring import ScoringItem
from ..tables.columns import Ints
from ..tasks import get_task
from .videos import Resolver, VideoRef, tied_together

if TYPE_CHECKING:
    from ..real_videos.check import NeededVideo
    from ..real_videos.find import RealVideo, RealVideos
    from ..real_videos.roots import RealVideoRoots

TYPES = ("CW", "CH", "TN", "TC", "TP")
# Changes when the same rows would get another revision.
_REVISION_FORMAT = 1


@dataclass
class AnnotationReport:
    """What became of the rows of the files.

    Attributes:
        files: the files that were read.
        rows: rows of the main file (a header and blank lines are none).
        other_rows: rows of other splits, or not hard where only hard ones are asked for.
        duplicates: rows that repeat an earlier one and were dropped.
        contradictions: rows dropped because they repeat an earlier pair with another misalignment or `hard`.
        left_out: VideoCon rows that cannot be used (an empty caption, no video), with their reasons; of other tasks
            the rows that `skip_bad` passed over.
        untyped: questions whose type and id are not known.
        asked_twice: ids of questions whose video asks another one in the same words; the official script loses
            them. Not known of a packed file.
        mismatches: expected counts that are not met, one sentence each. Not an error: files get mended.
        checked: for each file that was read whether it is the one the declaration was checked against, as
            `check_files` says it; None where the files were not compared.
    """

    files: tuple[str, ...] = ()
    rows: int = 0
    other_rows: int = 0
    duplicates: int = 0
    contradictions: int = 0
    left_out: list[SynvitaError] = field(default_factory=list)
    untyped: int = 0
    asked_twice: tuple[str, ...] = ()
    mismatches: tuple[str, ...] = ()
    checked: Mapping[str, Any] | None = None

    def no_rows(self, task: str, file: Path) -> SchemaError:
        """The error of a file that was read and in which nothing belongs to the task."""
        kept_out = [counted(self.rows, "rows")]
        if self.other_rows:
            kept_out.append(f"{self.other_rows:,} of another split, or not hard")
        if self.left_out:
            kept_out.append(f"{len(self.left_out):,} not usable, the first: {self.left_out[0]}")
        return SchemaError(f"no row belongs to task {task}", file=file, found=", ".join(kept_out))

    def to_record(self) -> dict[str, Any]:
        """JSON-ready form, for result files: files by their names, not where they lie on this machine."""
        left_out = [error.to_record() for error in self.left_out]
        for record in left_out:
            if "file" in record:
                record["file"] = Path(record["file"]).name
        counted = {
            name: value for name, value in vars(self).items() if name not in ("asked_twice", "checked")
        }
        return {
            **counted,
            "files": [Path(file).name for file in self.files],
            "left_out": left_out,
            "mismatches": list(self.mismatches),
        }


@dataclass(frozen=True, eq=False)
class Annotations:
    """Rows in a fixed order that does not depend on the order of the file: by video, group, option, captions
    before contrast captions. Made by `make_annotations`.

    Attributes:
        task: name of the task.
        form: of the task, by which `find_form` finds what reads and measures it.
        videos, captions, groups: distinct values, sorted (videos by id). Where texts are questions, several may have
            one caption.
        questions: aligned with `captions`: what is asked for each, None for a caption; () where nothing is.
        video, text, group_code: int64 [N], which of them each row has.
        label: int8 [N], 1 for a text that describes the video (the right answer), 0 otherwise.
        option: int64 [N], place among a question's statements; 0 in other tasks.
        misalignment, hard, type: object [N], None where unknown or where the task has none.
        declared: breakdown columns that the task's declaration names, object [N] each, None where unknown.
        minimal_pair: object [N], id of the pair that a row's question belongs to; None where the task has none.
        row: int64 [N], row of the file it was read from, for messages.
        file_order: int64 [N], place among the rows of the task as the released code scores them, one video and text
            a row in the order of the file; rows that were left out or dropped keep their places. None where the
            file does not tell (packed annotations).
        report: what reading left out.
    """

    task: str
    videos: tuple[VideoRef, ...]
    captions: tuple[str, ...]
    groups: tuple[str, ...]
    video: Ints
    text: Ints
    group_code: Ints
    label: npt.NDArray[np.int8]
    option: Ints
    misalignment: npt.NDArray[np.object_]
    hard: npt.NDArray[np.object_]
    type: npt.NDArray[np.object_]
    row: Ints
    report: AnnotationReport
    file_order: Ints | None = None
    form: str = "entailment"
    questions: tuple[Question | None, ...] = ()
    declared: Mapping[str, npt.NDArray[np.object_]] = field(default_factory=dict)
    minimal_pair: npt.NDArray[np.object_] | None = None

    def __len__(self) -> int:
        return len(self.label)

    @cached_property
    def text_ids(self) -> tuple[str, ...]:
        """Ids of `captions`, or of the questions they stand for."""
        return tuple(make_text_id(text.caption, text.question) for text in self.texts)

    @cached_property
    def texts(self) -> tuple[Text, ...]:
        """What is scored, aligned with `captions`."""
        questions = self.questions or (None,) * len(self.captions)
        return tuple(
            Text(caption, question=question)
            for caption, question in zip(self.captions, questions, strict=True)
        )

    @cached_property
    def breakdown(self) -> dict[str, npt.NDArray[np.object_]]:
        """Name -> object [N], None where unknown: what results are broken down by. Columns of which nothing is known
        are not among them."""
        own = {"misalignment": self.misalignment, "hard": self.hard, "type": self.type}
        return {
            name: column
            for name, column in {**own, **self.declared}.items()
            if any(value is not None for value in column)
        }

    @property
    def video_id(self) -> npt.NDArray[np.object_]:
        """object [N]: ids of the videos, the units of the entailment bootstrap."""
        return _objects([video.video_id for video in self.videos])[self.video]

    @cached_property
    def tied_videos(self) -> npt.NDArray[np.object_]:
        """object [N]: the first id of the videos that groups and minimal pairs tie a row's video to (both videos of a
        2×2 group; all that a caption ranks): what a text is said of as a whole."""
        sets: dict[tuple[str, Any], set[int]] = {}
        for column, values in (("group", self.group_code), ("pair", self.minimal_pair)):
            for value, video in zip(
                () if values is None else values.tolist(), self.video.tolist(), strict=False
            ):
                if value is not None:
                    sets.setdefault((column, value), set()).add(video)
        ids = [video.video_id for video in self.videos]
        first = tied_together([ids[video] for video in each] for each in sets.values())
        return _objects([first[name] for name in ids])[self.video]

    @property
    def videopath(self) -> npt.NDArray[np.object_]:
        """object [N]: paths as the file spells them (ids where it has none), for `ties="official"`."""
        return _objects([video.videopath or video.video_id for video in self.videos])[self.video]

    @property
    def text_id(self) -> npt.NDArray[np.object_]:
        """object [N]: ids of the texts, stable: a digest of the caption."""
        return _objects(self.text_ids)[self.text]

    @property
    def caption(self) -> npt.NDArray[np.object_]:
        """object [N]: clean captions."""
        return _objects(self.captions)[self.text]

    @property
    def group(self) -> npt.NDArray[np.object_]:
        """object [N]: pair id (entailment), text id of the caption (retrieval) or question id (choice)."""
        return _objects(self.groups)[self.group_code]

    @property
    def item_id(self) -> npt.NDArray[np.object_]:
        """object [N]: id of the ScoringItem, one a video."""
        return _objects([self.item_id_of(video) for video in self.videos])[self.video]

    def item_id_of(self, video: VideoRef) -> str:
        return f"{self.task}:{video.video_id}"

    @property
    def pair_key(self) -> Ints:
        """int64 [N]: `video * len(captions) + text`, equal where video and text are."""
        return self.video * len(self.captions) + self.text

    @cached_property
    def pair(self) -> Ints:
        """int64 [N]: rank of `pair_key`, from 0 without gaps; rows of equal rank have one score."""
        return np.unique(self.pair_key, return_inverse=True)[1].astype(np.int64)

    @cached_property
    def first_of_text(self) -> npt.NDArray[np.bool_]:
        """bool [N]: False on a row whose (video, text, label) stood in an earlier row. VideoCon's scripts drop
        those before they compute an AUC; a text with both labels stays in, once for each."""
        first = np.zeros(len(self), bool)
        first[np.unique(2 * self.pair + self.label, return_index=True)[1]] = True
        return first

    @cached_property
    def contradictory(self) -> npt.NDArray[np.bool_]:
        """bool [N]: rows whose video and text also stand with the other label. The official scripts keep both,
        with the same score, so that the two tie; so do we, and say how many there are."""
        both = np.bincount(self.pair[self.first_of_text]) == 2
        return both[self.pair]

    def counts(self) -> dict[str, int]:
        """`rows`; `texts` (distinct video, text and label: what the AUC pools); `pairs` (distinct video and
        text: what is scored); `videos`, `captions`, `groups`, `positives` (rows of label 1);
        `repeated_texts`; `contradictory_texts`."""
        return {
            "rows": len(self),
            "texts": int(self.first_of_text.sum()),
            "pairs": int(self.pair.max(initial=-1)) + 1,
            "videos": len(self.videos),
            "captions": len(self.captions),
            "groups": len(self.groups),
            "positives": int(self.label.sum()),
            "repeated_texts": int((~self.first_of_text).sum()),
            "contradictory_texts": len(np.unique(self.pair[self.contradictory])),
        }

    @cached_property
    def revision(self) -> str:
        """16 hex digits over everything that is scored or counted: equal rows, equal revision, whichever
        file form, row order or prompt they were read from."""
        digest = hashlib.sha256()
        names = [[video.video_id for video in self.videos], self.captions, self.groups]
        digest.update(json.dumps([_REVISION_FORMAT, self.task, *names]).encode())
        columns: list[npt.NDArray[Any]] = [self.video, self.text, self.group_code, self.label, self.option]
        for column in (*columns, *self._categories()):
            digest.update(column.astype("<i8").tobytes())
        # What the first six benchmarks have not, so that their revisions stay.
        if self.questions or self.declared or self.minimal_pair is not None:
            asked = [q and [q.words, q.answers, q.place] for q in self.questions]
            pairs = None if self.minimal_pair is None else self.minimal_pair.tolist()
            declared = {name: column.tolist() for name, column in sorted(self.declared.items())}
            digest.update(json.dumps([self.form, asked, pairs, declared]).encode())
        return digest.hexdigest()[:16]

    def _categories(self) -> Iterator[Ints]:
        for column, names in (
            (self.misalignment, MISALIGNMENTS),
            (self.hard, (False, True)),
            (self.type, TYPES),
        ):
            code: dict[Any, int] = {name: index for index, name in enumerate(names)} | {None: -1}
            yield np.fromiter((code[value] for value in column), np.int64, len(column))

    def needed_videos(self, root_source: str | None = None) -> "list[NeededVideo]":
        """The task's videos for `check_real_videos`.

        Args:
            root_source: `Task.source`: the dataset that the user's folder is taken to hold, as when evaluating.
        """
        from ..real_videos.check import NeededVideo

        return [
            NeededVideo(
                source=video.source,
                video_id=video.name,
                videopath=video.videopath,
                youtube_key=video.youtube_key,
                video_url=video.video_url,
                start=video.start,
                end=video.end,
                root_source=root_source,
            )
            for video in self.videos
        ]

    def items(
        self,
        resolve: "Resolver | RealVideos | RealVideoRoots",
        *,
        on_missing: Callable[[VideoRef], None] | None = None,
        mirrored: npt.NDArray[np.bool_] | None = None,
        only: Collection[str] | None = None,
    ) -> Iterator[ScoringItem]:
        """One item a video, by video id, with all its distinct texts, by their first row.

        Args:
            resolve: `RealVideos(root)`, or a function from a video to its file or bytes (None: not there).
            on_missing: called with each video that is not there, which is then passed over.
            mirrored: bool [N], rows that are scored against the mirror image of their video. A text that stands in
                rows of either kind stands twice in its item.
            only: ids of the videos that are wanted; None for all.

        Raises:
            SourceError: a video is not there and `on_missing` is None.
        """
        find = resolve if callable(resolve) else _finder(resolve)
        for video, rows in zip(self.videos, self._rows_by_video, strict=True):
            if only is not None and video.video_id not in only:
                continue
            found = find(video)
            if found is None:
                if on_missing is None:
                    raise SourceError(
                        "a video of the task is not there",
                        file=video.videopath,
                        found=video.video_id,
                        fix="Complete the folder of real videos, or allow a partial run",
                    )
                on_missing(video)
                continue
            flags = [False] * len(self.text[rows]) if mirrored is None else mirrored[rows].tolist()
            pairs = list(dict.fromkeys(zip(self.text[rows].tolist(), flags, strict=True)))
            texts = [code for code, _ in pairs]
            times = (video.start, video.end)
            if not isinstance(found, Path | bytes):
                times = found.seconds(*times)
            yield ScoringItem(
                item_id=self.item_id_of(video),
                video_id=video.video_id,
                video=found if isinstance(found, Path | bytes) else found.path,
                texts=tuple(self.texts[code] for code in texts),
                text_ids=tuple(self.text_ids[code] for code in texts),
                start=times[0],
                end=times[1],
                mirrored=() if mirrored is None else tuple(side for _, side in pairs),
            )

    @cached_property
    def _rows_by_video(self) -> list[slice]:
        edges = np.searchsorted(self.video, np.arange(len(self.videos) + 1))
        return [slice(int(start), int(end)) for start, end in pairwise(edges)]

    @cached_property
    def _video_codes(self) -> dict[str, int]:
        return {video.video_id: code for code, video in enumerate(self.videos)}

    @cached_property
    def _text_codes(self) -> dict[str, int]:
        return {text_id: code for code, text_id in enumerate(self.text_ids)}

    def place(
        self,
        scores: npt.NDArray[np.float64],
        item: ScoringItem,
        values: Sequence[float],
        mirrored: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Write the scores of one item into `scores` (float64 [N], aligned with the rows): every row of the
        item's video gets the value of its text. Texts of other tasks are passed over.

        Args:
            mirrored: bool [N], as of `items`: a row gets the value of its text and side.
        """
        rows = self._rows_by_video[self._video_codes[item.video_id]]
        sides = item.mirrored or (False,) * len(item.texts)
        value_of = {
            (self._text_codes[text_id], side): value
            for text_id, side, value in zip(item.text_ids, sides, values, strict=True)
            if text_id in self._text_codes
        }
        flags = [False] * len(self.text[rows]) if mirrored is None else mirrored[rows].tolist()
        wanted = zip(self.text[rows].tolist(), flags, strict=True)
        scores[rows] = [value_of.get(each, np.nan) for each in wanted]


def make_text_id(caption: str, question: Question | None = None) -> str:
    """First 16 hex digits of SHA-256 over the caption, or over caption and question: the same text has one id in all
    tasks, for ever."""
    return hashlib.sha256(_text_key((caption, question)).encode()).hexdigest()[:16]


def _text_key(text: tuple[str, Question | None]) -> str:
    """Equal for equal texts; of a caption itself."""
    caption, question = text
    if question is None:
        return caption
    return json.dumps([caption, question.words, question.answers, question.place])


def make_annotations(
    task: str,
    *,
    videos: Sequence[VideoRef],
    captions: Sequence[str],
    groups: Sequence[str],
    video: Ints,
    text: Ints,
    group: Ints,
    label: npt.ArrayLike,
    row: Ints,
    option: Ints | None = None,
    misalignment: Sequence[str | None] | None = None,
    hard: Sequence[bool | None] | None = None,
    type: Sequence[str | None] | None = None,
    report: AnnotationReport,
    file_order: Ints | None = None,
    form: str | None = None,
    questions: Sequence[Question | None] = (),
    declared: Mapping[str, Sequence[Any]] | None = None,
    minimal_pair: Sequence[str] | None = None,
) -> Annotations:
    """Bring rows into their fixed order. `videos`, `captions` and `groups` may hold values that repeat or that
    no row has; `video`, `text` and `group` [N] index them; `questions` is aligned with `captions`, or empty; the
    other columns are [N]. `form` may be left out for a task of ours."""
    # Distinct values, sorted, and the codes of the rows in them.
    count = len(video)
    video_refs, video = _recoded(videos, video, lambda ref: ref.video_id)
    asked = questions or (None,) * len(captions)
    distinct, text = _recoded(list(zip(captions, asked, strict=True)), text, _text_key)
    distinct_captions, distinct_questions = [[each[at] for each in distinct] for at in (0, 1)]
    distinct_groups, group = _recoded(groups, group, str)
    label = np.asarray(label, np.int8)
    option = np.zeros(count, np.int64) if option is None else np.asarray(option, np.int64)
    # By video, group, option, captions before contrast captions, and text.
    order = np.lexsort((np.asarray(row), text, 1 - label, option, group, video))

    def column(values: Sequence[Any] | None) -> npt.NDArray[np.object_]:
        return _objects([None] * count if values is None else values)[order]

    return Annotations(
        task=task,
        videos=tuple(video_refs),
        captions=tuple(distinct_captions),
        groups=tuple(distinct_groups),
        video=video[order],
        text=text[order],
        group_code=group[order],
        label=label[order],
        option=option[order],
        misalignment=column(misalignment),
        hard=column(hard),
        type=column(type),
        row=np.asarray(row, np.int64)[order],
        report=report,
        file_order=None if file_order is None else np.asarray(file_order, np.int64)[order],
        form=get_task(task).form if form is None else form,
        questions=tuple(distinct_questions) if questions else (),
        declared={name: column(values) for name, values in (declared or {}).items()},
        minimal_pair=None if minimal_pair is None else column(minimal_pair),
    )


def _recoded(values: Sequence[Any], codes: Ints, key: Callable[[Any], str]) -> tuple[list[Any], Ints]:
    """The values that are used, distinct and sorted by `key`, and the codes that index them."""
    used = np.zeros(len(values), bool)
    used[codes] = True
    first: dict[str, Any] = {}
    for position in np.flatnonzero(used).tolist():
        first.setdefault(key(values[position]), values[position])
    ordered = sorted(first)
    place = {name: code for code, name in enumerate(ordered)}
    new = np.full(len(values), -1, np.int64)
    new[used] = [place[key(values[position])] for position in np.flatnonzero(used).tolist()]
    return [first[name] for name in ordered], new[codes]


def _finder(real_videos: "RealVideos | RealVideoRoots") -> Resolver:
    def find(video: VideoRef) -> "RealVideo | None":
        return real_videos.find(
            video.source,
            video.name,
            videopath=video.videopath,
            youtube_key=video.youtube_key,
            start=video.start,
            end=video.end,
        )

    return find


def _objects(values: Sequence[Any]) -> npt.NDArray[np.object_]:
    array = np.empty(len(values), object)
    array[:] = values
    return array
