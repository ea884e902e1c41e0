"""Tables of VQAScores: how well each VQA model finds that a synthetic video matches two captions.

`score_files` says how their files look. What a table says of `videopath`, `caption` and `neg_caption` is compared with
the row that takes the scores, and `sha256`, `generator` and `sample` with its synthetic video.

A table may hold the scores of several synthetic videos of one row number or pair, if it says which is
which. A row takes those that are of its own video; scores that name none are taken as they are, and
whoever builds a dataset of them says so (`Found.binding`).

What is wrong with a whole file is raised when it is read. What is wrong with one row of the dataset (a
score missing, NaN, outside [0, 1], given twice, for another caption or of another video, a model missing
that other rows have) is raised when that row asks for its scores, so that a build quarantines the row and goes on.
"""

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..errors import ScoreError
from ..schema import Triplet
from ..weights import ModelScore, check_models
from .digests import SIZE, Digests, digest_of
from .score_files import (
    NO_VIDEO,
    Key,
    ScoreRow,
    VideoIdentity,
    read_score_rows,
    score_schema,
    write_scores,
)
from .spill import Spill

__all__ = [
    "Binding",
    "Found",
    "Key",
    "ScoreRow",
    "ScoreTable",
    "VideoIdentity",
    "read_scores",
    "score_schema",
    "write_scores",
]

# How a row's scores say that they are of its video: by the digest of its bytes, by generator and sample
# (in columns, or in the row id that they are filed under), or not at all.
Binding = Literal["sha256", "name", "nothing"]
OF_ANOTHER_VIDEO = "the scores are of another video"
_UNKNOWN = VideoIdentity()
# From so many scores of one key on, a dictionary finds what repeats.
_MANY = 16
# How many of them an error shows.
_SHOWN = 8
# Scores of one video under one key; a table that names no videos has one a key.
_Slot = tuple[Key, VideoIdentity]


class Found(NamedTuple):
    """Scores of a row of the dataset, one entry a model, sorted by model; and how they name its video."""

    scores: tuple[ModelScore, ...] = ()
    binding: Binding = "nothing"


class _Interned:
    """Values that repeat, numbered; a table of millions of rows holds a digest of each."""

    def __init__(self, folder: Path | None) -> None:
        self._digests = Digests()
        self._values: Spill[tuple[Any, ...]] = Spill(folder, list, tuple, block=64)
        self._last: tuple[tuple[Any, ...], int] | None = None

    def number(self, value: tuple[Any, ...]) -> int:
        if self._last is not None and self._last[0] == value:
            return self._last[1]
        number = self._digests.add(digest_of(repr(value)))
        if number == len(self._values):
            self._values.append(value)
        self._last = value, number
        return number

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        return self._values[number]


class _Keys:
    """The keys of a table, numbered in the order in which they first came."""

    def __init__(self, folder: Path | None) -> None:
        self._digests = Digests()
        # A row number as it is, and of an id -1, -2, …: where it stands among the ids.
        self._values = array("q")
        self._ids: Spill[str] = Spill(folder, str, str, block=64)
        self._last: tuple[Key, int] | None = None

    def __len__(self) -> int:
        return len(self._digests)

    def __iter__(self) -> Iterator[Key]:
        ids = iter(self._ids)
        return (value if value >= 0 else next(ids) for value in self._values)

    @property
    def have_ids(self) -> bool:
        return len(self._ids) > 0

    def number(self, key: Key) -> int:
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        number = self._digests.add(_key_digest(key))
        if number == len(self._values):
            if isinstance(key, int) and key < 1 << 63:
                self._values.append(key)
            else:
                self._ids.append(str(key))
                self._values.append(-len(self._ids))
        self._last = key, number
        return number

    def find(self, key: Key) -> int:
        """-1 of a key that is not there."""
        return self._digests.find(_key_digest(key))


def _key_digest(key: Key) -> bytes:
    """A row number is its own digest, and finds its slot at once."""
    if isinstance(key, int) and 0 <= key < 1 << 63:
        return key.to_bytes(SIZE, "little")
    return digest_of(f"{type(key).__name__} {key}")


class ScoreTable:
    """Scores by row of the dataset; made by `read_scores`.

    Of a score it holds two numbers, its line, and numbers that stand for all else: 40 bytes, and 40 a key.

    Args:
        file: where it was read.
        folder: for what does not fit into memory; None holds it all the same.

    Attributes:
        file: where it was read.
        rows: rows of the file.
        models: names of all models in it, sorted; a row of the dataset has all of them or none.
        generators: names of all generators in it.
        duplicates: rows that repeat another one, score for score, and were left out.
        matched: how often `find` found scores.
    """

    def __init__(self, file: Path, folder: Path | None = None) -> None:
        self.file = file
        self.rows = 0
        self.models: tuple[str, ...] = ()
        self.generators: set[str] = set()
        self.duplicates = 0
        self.matched = 0
        self._keys = _Keys(folder)
        # By number of the key: its first and its last entry.
        self._first, self._last = array("i"), array("i")
        # By entry: the next one of its key, -1 behind the last; and what it says.
        self._next = array("i")
        self._scores, self._lines = array("d"), array("q")  # two scores, one line
        self._labels, self._videos, self._texts = array("i"), array("i"), array("i")
        self._label_values: dict[tuple[str, str | None, str | None, int | None], int] = {}
        self._label_list: list[tuple[str, str | None, str | None, int | None]] = []
        self._video_values, self._text_values = _Interned(folder), _Interned(folder)
        self._video_values.number(tuple(NO_VIDEO))
        self._errors: dict[_Slot, ScoreError] = {}  # what was wrong with a slot while reading
        self._frames: dict[str, int] = {}  # model -> frames that each row must have; 0 for means
        self._several = False  # one key has scores of several generators or samples
        self._used, self._used_entries = bytearray(), bytearray()  # 1: of a key or entry that was asked for

    def __len__(self) -> int:
        """How many rows of the dataset (ids or row numbers) have scores."""
        return len(self._keys)

    def for_row(
        self, row_id: str, pair_id: str | None = None, source_row: int | None = None, **own: Any
    ) -> tuple[ModelScore, ...]:
        """The scores that `find` finds for the same arguments."""
        return self.find(row_id, pair_id, source_row, **own).scores

    def find(
        self,
        row_id: str,
        pair_id: str | None = None,
        source_row: int | None = None,
        *,
        videopath: str | None = None,
        caption: str | None = None,
        neg_caption: str | None = None,
        video: VideoIdentity = _UNKNOWN,
        among: Sequence[VideoIdentity] = (),
    ) -> Found:
        """Scores of one row, and how they name its video; no scores if the table has none for it.

        Args:
            row_id: looked up first.
            pair_id: then this.
            source_row: and then this row number of the
                triplets file (from 0, the header not counted).
            videopath, caption, neg_caption: of the row. Compared (white space around them apart) with
                what the table says where it says so.
            video: the row's synthetic video, as far as it is known, compared likewise.
            among: all synthetic videos of the row's pair. Scores that could be of several of them are
                those of none.

        Raises:
            ScoreError: the scores are of another video or caption, of an unknown one of several
                videos, incomplete, NaN, outside [0, 1], or contradict each other.
        """
        key, number = self._find(row_id, pair_id, source_row)
        if key is None:
            return Found()
        self._used[number] = 1
        entries = self._entries_of(key, number, video)
        if not entries:
            return Found()
        self._check_texts(entries, videopath=videopath, caption=caption, neg_caption=neg_caption)
        if key != row_id:
            self._check_one_video(key, entries, video, among)
        found = self._resolve(key, entries)
        self.matched += 1
        return Found(found, _binding(entries, video, by_id=key == row_id))

    def numbers_shifted(self, rows: int) -> list[int]:
        """Row numbers from `rows` on, where not all below have scores: of other triplets, or shifted by some rows.

        A table that has all of them and more is of these triplets' file, of which only the beginning was taken.
        """
        beyond = sorted(key for key in self._keys if isinstance(key, int) and key >= rows)
        return [] if not beyond or all(self._keys.find(row) >= 0 for row in range(rows)) else beyond

    def unused(self) -> list[Key]:
        """Ids and row numbers, in file order, that no call of `find` has matched so far."""
        return [key for key, used in zip(self._keys, self._used, strict=True) if not used]

    def of_other_videos(self) -> int:
        """How many videos have scores under ids or row numbers that were asked for, but were not asked for."""
        left = 0
        for number, used in enumerate(self._used):
            if used:
                left += len({self._videos[at] for at in self._chain(number) if not self._used_entries[at]})
        return left

    def problems(self) -> list[ScoreError]:
        """What is wrong with single rows, in file order: the errors that `find` would raise."""
        found = []
        for number, key in enumerate(self._keys):
            of_video: dict[VideoIdentity, list[ScoreRow]] = {}
            for at in self._chain(number):
                entry = self._entry(key, at)
                of_video.setdefault(entry.video, []).append(entry)
            for own in of_video.values():
                try:
                    self._resolve(key, own)
                except ScoreError as error:
                    found.append(error)
        return found

    def _chain(self, number: int) -> Iterator[int]:
        """The entries of a key, in file order."""
        at = self._first[number]
        while at >= 0:
            yield at
            at = self._next[at]

    def _entry(self, key: Key, at: int) -> ScoreRow:
        model, revision, method, frame = self._label_list[self._labels[at]]
        return ScoreRow(
            key,
            model,
            self._scores[2 * at],
            self._scores[2 * at + 1],
            revision,
            method,
            frame,
            *self._video_values[self._videos[at]],
            *self._text_values[self._texts[at]],
            self._lines[at],
        )

    def _entries_of(self, key: Key, number: int, video: VideoIdentity) -> list[ScoreRow]:
        """The scores under `key` that may be of `video`.

        Raises:
            ScoreError: there are some, all of other videos; not so for a table that holds the scores of several
                videos of one row, where this one may just not have been scored.
        """
        places = list(self._chain(number))
        entries = [self._entry(key, at) for at in places]
        own = []
        for at, entry in zip(places, entries, strict=True):
            if entry.video.agrees(video):
                self._used_entries[at] = 1
                own.append(entry)
        unknown_maker = self.generators and video.generator not in (None, *self.generators)
        if own or (self._several and not unknown_maker):
            return own
        first = entries[0]
        remade = first.video._replace(sha256=None).agrees(video)
        raise ScoreError(
            OF_ANOTHER_VIDEO + (": this one was made, or replaced, after the scoring" if remade else ""),
            file=self.file,
            row=first.line,
            found=str(first.video),
            expected=str(video),
            fix="Score the videos again, or give the videos that were scored",
        )

    def _check_one_video(
        self, key: Key, entries: Sequence[ScoreRow], video: VideoIdentity, among: Sequence[VideoIdentity]
    ) -> None:
        others = [
            other
            for other in among
            if other != video and (other.sha256 is None or other.sha256 != video.sha256)
        ]
        if any(entry.video.agrees(other) for entry in entries for other in others):
            raise ScoreError(
                "scores do not say which of several synthetic videos they are of",
                file=self.file,
                row=entries[0].line,
                found=f"scores of {key!r} and {entries[0].video}, {len(among)} synthetic videos",
                expected=f"scores of {video}",
                fix="File scores under the ids of the dataset's rows, or give the columns generator and sample, or sha256",
            )

    def _resolve(self, key: Key, entries: Sequence[ScoreRow]) -> tuple[ModelScore, ...]:
        by_model: dict[str, list[ScoreRow]] = {}
        for entry in entries:
            if self._errors and (key, entry.video) in self._errors:
                raise self._errors[key, entry.video]
            by_model.setdefault(entry.model, []).append(entry)
        line = entries[0].line
        check_models(list(by_model), self.models, file=str(self.file), row=line)
        return tuple(self._mean_over_frames(model, by_model[model]) for model in sorted(by_model))

    def _mean_over_frames(self, model: str, entries: Sequence[ScoreRow]) -> ModelScore:
        first = entries[0]
        if len(entries) == 1 and first.frame is None and not self._frames[model]:  # nearly all tables
            return ModelScore(
                model, first.neg_caption_score, first.caption_score, first.revision, first.method
            )
        frames = 0 if len(entries) == 1 and first.frame is None else len(entries)
        problem = None
        if len({(entry.revision, entry.method) for entry in entries}) > 1:
            problem = "under two revisions or methods"
        elif len({entry.video for entry in entries}) > 1:
            problem = "of several videos"
        elif len(entries) > 1 and any(entry.frame is None for entry in entries):
            problem = "both of single frames and as their mean"
        elif frames != self._frames[model]:
            problem = f"for {frames or 'the mean of its'} frames, where other rows have {self._frames[model]}"
        if problem:
            raise ScoreError(
                f"model {model} has scores {problem}",
                file=self.file,
                row=first.line,
                found=[(e.revision, e.method, e.frame, str(e.video)) for e in entries[:_SHOWN]],
                expected="one mean, or as many frames as every other row, of one revision, method and video",
                fix=None
                if problem != "of several videos"
                else "Give the videos with --synthetic, or name the generator with --config",
            )
        return ModelScore(
            model=model,
            neg_caption_score=math.fsum(entry.neg_caption_score for entry in entries) / len(entries),
            caption_score=math.fsum(entry.caption_score for entry in entries) / len(entries),
            revision=first.revision,
            method=first.method,
        )

    def _find(self, *keys: Key | None) -> tuple[Key | None, int]:
        """The first of these keys that has scores, and its number."""
        for key in keys:
            if key is None or (isinstance(key, str) and not self._keys.have_ids):
                continue
            if (number := self._keys.find(key)) >= 0:
                return key, number
        return None, -1

    def _check_texts(self, entries: Iterable[ScoreRow], **own: str | None) -> None:
        for entry in entries:
            for name, text in own.items():
                said = getattr(entry, name)
                if text is not None and said is not None and said != text.strip():
                    raise ScoreError(
                        f"the score of model {entry.model} is of another {name}",
                        file=self.file,
                        row=entry.line,
                        found=repr(said),
                        expected=repr(text.strip()),
                        fix="Use the score table of this triplets file: its `row` counts rows from 0",
                    )

    def _check_triplets(self, triplets: Iterable[Triplet]) -> None:
        right, first_wrong = False, None
        for triplet in triplets:
            # Ids of rows hold a digest of the captions: only pairs and row numbers can be mistaken.
            pair_id = triplet.pair_id if self._keys.have_ids else None
            key, number = self._find(pair_id, triplet.row)
            if key is None:
                continue
            good = -1  # models of one row say the same of it
            for at in self._chain(number):
                if self._texts[at] == good:
                    continue
                entry = self._entry(key, at)
                try:
                    self._check_texts(
                        [entry],
                        videopath=triplet.videopath,
                        caption=triplet.caption,
                        neg_caption=triplet.neg_caption,
                    )
                    right, good = True, self._texts[at]
                except ScoreError as error:
                    first_wrong = first_wrong or error
                    self._errors.setdefault((key, entry.video), error)
        if first_wrong and not right:
            raise first_wrong

    def _fill(self, rows: Iterable[tuple[ScoreRow, ScoreError | None]]) -> None:
        # Identity -> its entry, of keys that have more than a few: looking through all of them is quadratic.
        known: dict[int, dict[tuple[int, int], int]] = {}
        for row, fault in rows:
            self.rows += 1
            if fault is not None:
                self._errors.setdefault((row.id, row.video), fault)
            if row.generator is not None:
                self.generators.add(row.generator)
            key = self._keys.number(row.id)
            label = self._label(row)
            video = 0 if row.video is NO_VIDEO else self._video_values.number(row[7:10])
            if key == len(self._first):
                self._first.append(-1)
                self._last.append(-1)
            before = self._before(key, (label, video), known)
            if before is None:
                self._add(key, label, video, row)
                continue
            old = self._entry(row.id, before)
            if _same(old.content, row.content):
                self.duplicates += 1
            else:
                problem = ScoreError(
                    f"two rows contradict each other about model {row.model}",
                    file=self.file,
                    row=row.line,
                    found=f"{row.content}, but {old.content} in row {old.line}",
                    expected="one row for each id, model and frame",
                )
                self._errors.setdefault((row.id, row.video), problem)
        self._used, self._used_entries = bytearray(len(self._keys)), bytearray(len(self._next))
        self._count_models()

    def _label(self, row: ScoreRow) -> int:
        """The number of a row's model, revision, method and frame."""
        label = row.model, row.revision, row.method, row.frame
        number = self._label_values.setdefault(label, len(self._label_list))
        if number == len(self._label_list):
            self._label_list.append(label)
        return number

    def _before(
        self, key: int, identity: tuple[int, int], known: dict[int, dict[tuple[int, int], int]]
    ) -> int | None:
        """The entry of a key with the same label and video; where there is none, the next one is taken to be."""
        if key in known:
            before = known[key].setdefault(identity, len(self._next))
            return None if before == len(self._next) else before
        seen = 0
        for at in self._chain(key):
            if (self._labels[at], self._videos[at]) == identity:
                return at
            seen += 1
        if seen >= _MANY:
            known[key] = {(self._labels[at], self._videos[at]): at for at in self._chain(key)}
            known[key][identity] = len(self._next)
        return None

    def _add(self, key: int, label: int, video: int, row: ScoreRow) -> None:
        at = len(self._next)
        if self._first[key] < 0:
            self._first[key] = at
        else:
            self._next[self._last[key]] = at
        self._last[key] = at
        self._next.append(-1)
        self._scores.append(row.neg_caption_score)
        self._scores.append(row.caption_score)
        self._lines.append(row.line)
        self._labels.append(label)
        self._videos.append(video)
        self._texts.append(self._text_values.number(row[10:13]))

    def _count_models(self) -> None:
        """Find the models, and how many frames each has in most rows."""
        counts: dict[str, dict[int, int]] = {}  # model -> frames -> rows that have so many
        for key in range(len(self._keys)):
            own: dict[tuple[str, int], int] = {}
            for at in self._chain(key):
                model, _, _, frame = self._label_list[self._labels[at]]
                of_one = model, self._videos[at]
                own[of_one] = own.get(of_one, 0) + (frame is not None)
            videos = {video for _, video in own}
            if len(videos) > 1 and not self._several:
                named = {self._video_values[video][1:] for video in videos}
                self._several = len(named - {(None, None)}) > 1
            for (model, _), frames in own.items():
                rows_with = counts.setdefault(model, {})
                rows_with[frames] = rows_with.get(frames, 0) + 1
        self.models = tuple(sorted(counts))
        # What most rows have is right; of equally many, the larger number.
        self._frames = {
            model: max((n, frames) for frames, n in rows_with.items())[1]
            for model, rows_with in counts.items()
        }


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether what two rows say is equal, a missing score with a missing one too."""
    return all(a == b or (a != a and b != b) for a, b in zip(one, other, strict=True))


def read_scores(
    path: str | Path, triplets: Iterable[Triplet] | None = None, *, folder: Path | None = None
) -> ScoreTable:
    """Read a score table: `.parquet`, or else the long CSV.

    Args:
        path: of the table.
        triplets: if given, what the table says of `videopath`, `caption` and `neg_caption` is compared
            with each; for a row where they differ `ScoreTable.find` raises.
        folder: for what does not fit into memory; None holds it all the same.

    Raises:
        SchemaError: not readable, a column missing, another schema version, a score without an id
            (or row) or a model.
        ScoreError: no such file, or it agrees with none of `triplets`: it belongs to another file.
    """
    path = Path(path)
    if not path.is_file():
        raise ScoreError("the score table does not exist", file=path)
    table = ScoreTable(path, folder)
    table._fill(read_score_rows(path))
    table._check_triplets(triplets or ())
    return table


def _binding(entries: Sequence[ScoreRow], video: VideoIdentity, *, by_id: bool) -> Binding:
    """How surely these scores are of `video`; the weakest of them counts."""
    if video.sha256 is not None and all(entry.video.sha256 is not None for entry in entries):
        return "sha256"
    if by_id or all(entry.video.generator and entry.video.sample for entry in entries):
        return "name"
    return "nothing"
