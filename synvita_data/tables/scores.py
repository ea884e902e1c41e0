"""Tables of VQAScores: how well each VQA model finds that a synthetic video matches two captions.

Two forms are read. Our Parquet (written by `write_scores`) has `id, model, revision, method, frame,
neg_caption_score, caption_score`. The long CSV has `row` (of the triplets file, from 0) or `id`,
`model, neg_caption_score, caption_score`. Either may carry more: `videopath`, `caption` and
`neg_caption` are then compared with those of the row that takes the scores, and `sha256`, `generator`
and `sample` with its synthetic video. Columns stand in any order; a BOM, CRLF, and white space or
capitals in column names do no harm.

A table may hold the scores of several synthetic videos of one row number or pair, if it says which is
which. A row takes those that are of its own video; scores that name none are taken as they are, and
whoever builds a dataset of them says so (`ScoreTable.bindings`).

What is wrong with a whole file is raised when it is read. What is wrong with one row of the dataset (a
score missing, NaN, outside [0, 1], given twice, for another caption or of another video, a model missing
that other rows have) is raised when that row asks for its scores, so that a build quarantines the row and goes on.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from ..errors import SchemaError, ScoreError
from ..schema import Triplet
from ..weights import ModelScore, check_models, check_probability
from .cells import given_text, id_text, read_number, read_whole_number
from .score_files import SHA256, Cells, ScoreRow, read_cells, score_schema, write_scores

__all__ = [
    "Binding",
    "Key",
    "ScoreRow",
    "ScoreTable",
    "VideoIdentity",
    "read_scores",
    "score_schema",
    "write_scores",
]

# What a score is filed under: a row id or pair id of the dataset, or a row number of the triplets file.
Key = str | int
T = TypeVar("T")
# How a row's scores say that they are of its video: by the digest of its bytes, by generator and sample
# (in columns, or in the row id that they are filed under), or not at all.
Binding = Literal["sha256", "name", "nothing"]


@dataclass(frozen=True, slots=True)
class VideoIdentity:
    """Which synthetic video; None is not known, and agrees with everything.

    Attributes:
        sha256: of its bytes, 64 lower-case hex digits. generator: what made it.
        sample: which of several made from one caption, from 1.
    """

    sha256: str | None = None
    generator: str | None = None
    sample: int | None = None

    def agrees(self, other: "VideoIdentity") -> bool:
        """Whether both may be one video: nothing that both know differs."""
        pairs = (
            (self.sha256, other.sha256),
            (self.generator, other.generator),
            (self.sample, other.sample),
        )
        return all(own is None or theirs is None or own == theirs for own, theirs in pairs)

    def __str__(self) -> str:
        named = (("sha256", self.sha256), ("generator", self.generator), ("sample", self.sample))
        return ", ".join(f"{name} {value}" for name, value in named if value is not None) or "nothing"


_UNKNOWN = VideoIdentity()
OF_ANOTHER_VIDEO = "the scores are of another video"
# Scores of one video under one key; a table that names no videos has one a key.
_Slot = tuple[Key, VideoIdentity]


class _Entry(NamedTuple):
    """One row of a score table that was read; `line` is its number in the file, from 0."""

    line: int
    model: str
    revision: str | None
    method: str | None
    frame: int | None
    neg_caption_score: float
    caption_score: float
    videopath: str | None
    caption: str | None
    neg_caption: str | None
    video: VideoIdentity


class ScoreTable:
    """Scores by row of the dataset; made by `read_scores`.

    Attributes:
        file: where it was read. rows: rows of the file.
        models: names of all models in it, sorted; a row of the dataset has all of them or none.
        generators: names of all generators in it.
        duplicates: rows that repeat another one, score for score, and were left out.
        bindings: row id -> how its scores name its video, of the rows that `for_row` found scores for.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows = 0
        self.models: tuple[str, ...] = ()
        self.generators: set[str] = set()
        self.duplicates = 0
        self._entries: dict[Key, list[_Entry]] = {}
        self.bindings: dict[str, Binding] = {}
        self._errors: dict[_Slot, ScoreError] = {}  # what was wrong with a slot while reading
        self._frames: dict[str, int] = {}  # model -> frames that each row must have; 0 for means
        self._several = False  # one key has scores of several generators or samples
        self._used: set[Key] = set()
        self._used_slots: set[_Slot] = set()

    def __len__(self) -> int:
        """How many rows of the dataset (ids or row numbers) have scores."""
        return len(self._entries)

    def for_row(
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
    ) -> tuple[ModelScore, ...]:
        """Scores of one row, one entry a model, sorted by model; `()` if the table has none for it.

        Args:
            row_id: looked up first. pair_id: then this. source_row: and then this row number of the
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
        key = self._find(row_id, pair_id, source_row)
        if key is None:
            return ()
        self._used.add(key)
        entries = self._entries_of(key, video)
        if not entries:
            return ()
        self._used_slots.update((key, entry.video) for entry in entries)
        self._check_texts(entries, videopath=videopath, caption=caption, neg_caption=neg_caption)
        if key != row_id:
            self._check_one_video(key, entries, video, among)
        found = self._resolve(key, entries)
        self.bindings[row_id] = _binding(entries, video, by_id=key == row_id)
        return found

    def unused(self) -> list[Key]:
        """Ids and row numbers, in file order, that no call of `for_row` has matched so far."""
        return [key for key in self._entries if key not in self._used]

    def of_other_videos(self) -> int:
        """How many videos have scores under ids or row numbers that were asked for, but were not asked for."""
        slots = {(key, entry.video) for key in self._used for entry in self._entries[key]}
        return len(slots - self._used_slots)

    def problems(self) -> list[ScoreError]:
        """What is wrong with single rows, in file order: the errors that `for_row` would raise."""
        found = []
        for key, entries in self._entries.items():
            for video in dict.fromkeys(entry.video for entry in entries):
                try:
                    self._resolve(key, [entry for entry in entries if entry.video == video])
                except ScoreError as error:
                    found.append(error)
        return found

    def _entries_of(self, key: Key, video: VideoIdentity) -> list[_Entry]:
        """The scores under `key` that may be of `video`.

        Raises:
            ScoreError: there are some, all of other videos; not so for a table that holds the scores of several
                videos of one row, where this one may just not have been scored.
        """
        entries = self._entries[key]
        own = [entry for entry in entries if entry.video.agrees(video)]
        unknown_maker = self.generators and video.generator not in (None, *self.generators)
        if own or (self._several and not unknown_maker):
            return own
        first = entries[0]
        remade = replace(first.video, sha256=None).agrees(video)
        raise ScoreError(
            OF_ANOTHER_VIDEO + (": this one was made, or replaced, after the scoring" if remade else ""),
            file=self.file,
            row=first.line,
            found=str(first.video),
            expected=str(video),
            fix="Score the videos again, or give the videos that were scored",
        )

    def _check_one_video(
        self, key: Key, entries: Sequence[_Entry], video: VideoIdentity, among: Sequence[VideoIdentity]
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

    def _resolve(self, key: Key, entries: Sequence[_Entry]) -> tuple[ModelScore, ...]:
        by_model: dict[str, list[_Entry]] = {}
        for entry in entries:
            if (key, entry.video) in self._errors:
                raise self._errors[key, entry.video]
            by_model.setdefault(entry.model, []).append(entry)
        line = entries[0].line
        check_models(list(by_model), self.models, file=str(self.file), row=line)
        return tuple(self._mean_over_frames(model, by_model[model]) for model in sorted(by_model))

    def _mean_over_frames(self, model: str, entries: Sequence[_Entry]) -> ModelScore:
        first = entries[0]
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
                found=[(entry.revision, entry.method, entry.frame, str(entry.video)) for entry in entries],
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

    def _find(self, *keys: Key | None) -> Key | None:
        return next((key for key in keys if key is not None and key in self._entries), None)

    def _check_texts(self, entries: Iterable[_Entry], **own: str | None) -> None:
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
        right, first_wrong = 0, None
        for triplet in triplets:
            # Ids of rows hold a digest of the captions: only pairs and row numbers can be mistaken.
            key = self._find(triplet.pair_id, triplet.row)
            if key is None:
                continue
            for entry in self._entries[key]:
                try:
                    self._check_texts(
                        [entry],
                        videopath=triplet.videopath,
                        caption=triplet.caption,
                        neg_caption=triplet.neg_caption,
                    )
                    right += 1
                except ScoreError as error:
                    first_wrong = first_wrong or error
                    self._errors.setdefault((key, entry.video), error)
        if first_wrong and not right:
            raise first_wrong

    def _fill(self, rows: Iterable[Cells]) -> None:
        for line, cells in enumerate(rows):
            self.rows += 1
            key, entry = self._entry(line, cells)
            if entry.video.generator is not None:
                self.generators.add(entry.video.generator)
            entries = self._entries.setdefault(key, [])
            before = None
            if entries:
                identity = (*entry[1:5], entry.video)
                before = next((e for e in entries if (*e[1:5], e.video) == identity), None)
            if before is None:
                entries.append(entry)
            elif before[5:-1] == entry[5:-1]:
                self.duplicates += 1
            else:
                problem = ScoreError(
                    f"two rows contradict each other about model {entry.model}",
                    file=self.file,
                    row=line,
                    found=f"{entry[5:-1]}, but {before[5:-1]} in row {before.line}",
                    expected="one row for each id, model and frame",
                )
                self._errors.setdefault((key, entry.video), problem)
        counts: dict[str, dict[int, int]] = {}  # model -> frames -> rows that have so many
        for entries in self._entries.values():
            own: dict[tuple[str, VideoIdentity], int] = {}
            for entry in entries:
                of_one = (entry.model, entry.video)
                own[of_one] = own.get(of_one, 0) + (entry.frame is not None)
            if len(own) > 1:
                named = {(video.generator, video.sample) for _, video in own}
                self._several = self._several or len(named - {(None, None)}) > 1
            for (model, _), frames in own.items():
                tally = counts.setdefault(model, {})
                tally[frames] = tally.get(frames, 0) + 1
        self.models = tuple(sorted(counts))
        # What most rows have is right; of equally many, the larger number.
        self._frames = {
            model: max((n, frames) for frames, n in tally.items())[1] for model, tally in counts.items()
        }

    def _entry(self, line: int, cells: Cells) -> tuple[Key, _Entry]:
        (
            own_id,
            row,
            model,
            revision,
            method,
            frame,
            neg_score,
            score,
            videopath,
            caption,
            neg_caption,
            *named,
        ) = cells
        model = self._read(line, given_text, model, "a model")
        key: Key | None = self._id(line, own_id)
        if key is None:
            key = self._whole_number(line, "row", row)
        if key is None or model is None:
            raise SchemaError(
                "a score does not say whose it is",
                file=self.file,
                row=line,
                found=f"id {own_id!r}, row {row!r}, model {cells.model!r}",
                expected="an id or a row number, and a model",
            )
        video = self._video(line, *named)
        return key, _Entry(
            line,
            model,
            _text(revision) if revision else None,
            _text(method) if method else None,
            None if frame is None or frame == "" else self._whole_number(line, "frame", frame),
            self._score(line, (key, video), model, "neg_caption_score", neg_score),
            self._score(line, (key, video), model, "caption_score", score),
            _text(videopath) if videopath else None,
            _text(caption) if caption else None,
            _text(neg_caption) if neg_caption else None,
            video,
        )

    def _video(self, line: int, sha256: Any, generator: Any, sample: Any) -> VideoIdentity:
        """Which video a row says that it scored."""
        if not sha256 and not generator and not sample and sample != 0:
            return _UNKNOWN
        digest = self._read(line, given_text, sha256, "a sha256")
        maker = self._read(line, given_text, generator, "a generator")
        # Also a column with empty cells, which comes from pandas as floats.
        given = self._read(line, given_text, sample, "a sample number") is not None
        number = self._whole_number(line, "sample", sample) if given else None
        if number == 0 or (digest is not None and not SHA256.fullmatch(digest.lower())):
            raise SchemaError(
                "a score does not say which video it is of",
                file=self.file,
                row=line,
                found=f"sha256 {digest!r}, sample {number!r}",
                expected="64 hex digits, a sample from 1; or an empty cell",
            )
        return VideoIdentity(None if digest is None else digest.lower(), maker, number)

    def _score(self, line: int, slot: _Slot, model: str, column: str, cell: Any) -> float:
        """A cell as a probability; what is wrong with it waits for the row it belongs to."""
        value, what = math.nan, f"the {column} of model {model}"
        try:
            if isinstance(cell, float):
                value = cell
            elif (text := given_text(cell, what)) is not None:
                infinite = text.lower().lstrip("+-") in ("inf", "infinity")
                value = float(text) if infinite else read_number(text, what)
        except SchemaError as error:
            self._errors.setdefault(
                slot,
                ScoreError(
                    error.problem,
                    file=self.file,
                    row=line,
                    found=error.found,
                    expected="a probability",
                    fix=error.fix,
                ),
            )
        if not 0.0 <= value <= 1.0:
            try:
                check_probability(value, what, file=str(self.file), row=line)
            except ScoreError as error:
                self._errors.setdefault(slot, error)
        return value

    def _whole_number(self, line: int, name: str, cell: Any) -> int | None:
        if cell is None or cell == "":
            return None
        return self._read(line, read_whole_number, cell, f"a {name} number")

    def _id(self, line: int, cell: Any) -> str | None:
        text = self._read(line, given_text, cell, "an id")
        if text is None:
            return None
        return self._read(line, id_text, text if isinstance(cell, str) else cell, "an id")

    def _read(self, line: int, read: Callable[[Any, str], T], cell: Any, what: str) -> T:
        """`read(cell, what)`; its error says the row."""
        try:
            return read(cell, what)
        except SchemaError as error:
            error.file, error.row = str(self.file), line
            error.args = (str(error),)
            raise


def read_scores(path: str | Path, triplets: Iterable[Triplet] | None = None) -> ScoreTable:
    """Read a score table: `.parquet`, or else the long CSV.

    Args:
        triplets: if given, what the table says of `videopath`, `caption` and `neg_caption` is compared
            with each; for a row where they differ `ScoreTable.for_row` raises.

    Raises:
        SchemaError: not readable, a column missing, another schema version, a score without an id
            (or row) or a model.
        ScoreError: no such file, or it agrees with none of `triplets`: it belongs to another file.
    """
    path = Path(path)
    if not path.is_file():
        raise ScoreError("there is no such score table", file=path)
    table = ScoreTable(path)
    table._fill(read_cells(path))
    table._check_triplets(triplets or ())
    return table


def _binding(entries: Sequence[_Entry], video: VideoIdentity, *, by_id: bool) -> Binding:
    """How surely these scores are of `video`; the weakest of them counts."""
    if video.sha256 is not None and all(entry.video.sha256 is not None for entry in entries):
        return "sha256"
    if by_id or all(entry.video.generator and entry.video.sample for entry in entries):
        return "name"
    return "nothing"


def _text(cell: Any) -> str | None:
    """A cell as text without white space around it; None if empty."""
    return None if cell is None else str(cell).strip() or None
