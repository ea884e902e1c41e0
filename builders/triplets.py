"""Read triplets from VideoCon's three CSVs, and from any CSV, JSON Lines or Parquet file like them.

`TripletReader` streams the rows of a file and keeps account of what was left out; `parse_triplet` makes a validated
`Triplet` of the cells of one row.
"""

import hashlib
import logging
import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol
from urllib.parse import urlsplit

from synvita_data.display import counted, get_logger
from synvita_data.errors import CaptionError, SchemaError, SynvitaError, choose, located
from synvita_data.files import check_relative
from synvita_data.real_videos.names import (
    VideoName,
    name_id,
    name_in_scheme,
    name_url,
    name_video,
    normal_path,
    normal_source,
    path_id,
    video_stem,
)
from synvita_data.schema import SPLITS, Triplet
from synvita_data.tables.cells import given_id, given_text, read_choice, read_seconds
from synvita_data.tables.digests import SIZE, Digests, digest_of
from synvita_data.tables.rows import Fields, normal_name, read_rows

from .contrast_columns import ALIASES as CONTRAST_ALIASES
from .contrast_columns import STRUCT, read_contrast

logger = get_logger(__name__)

# Field -> accepted column names, best first, as `normal_name` writes them. VideoCon's own names come
# first; the others are those of comparable caption-pair files.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "caption": ("caption", "real_caption", "pos_caption", "positive_caption", "original_caption", "text"),
    "neg_caption": ("neg_caption", "negative_caption", "contrast_caption", "contrast", "negative", "foil"),
    "videopath": ("videopath", "video_path", "video", "video_file", "video_name", "filepath", "filename"),
    "video_id": ("video_id", "videoid", "vid_id", "vid", "id"),
    "video_url": ("video_url", "videourl", "url"),
    "youtube_key": ("youtube_key", "youtube_id", "yt_id"),
    "source": ("source", "dataset"),
    "split": ("split", "subset", "partition"),
    "misalignment": ("misalignment", "misalignment_type"),
    "nle": ("nle", "natural_language_explanation", "explanation", "feedback"),
    "hard": ("hard", "is_hard"),
    "start": ("start", "start_time", "start_sec", "start_seconds"),
    "end": ("end", "end_time", "end_sec", "end_seconds"),
    **CONTRAST_ALIASES,
}


class VideoFields(Fields):
    """Columns of a file whose rows are about videos."""

    def choose(self, found: Sequence[str]) -> dict[str, int]:
        chosen = super().choose(found)
        # A bare `id` beside a path or URL numbers the rows, it does not name the video.
        named_by_row = "video_id" in chosen and normal_name(found[chosen["video_id"]]) == "id"
        if named_by_row and ("videopath" in chosen or "video_url" in chosen):
            del chosen["video_id"]
        # A column `contrast` may be the contrast caption itself.
        if STRUCT in chosen and chosen[STRUCT] == chosen.get("neg_caption"):
            del chosen[STRUCT]
        return chosen


FIELDS = VideoFields(
    ALIASES,
    required=("caption", "neg_caption"),
    fix="Name the columns as VideoCon does: caption, neg_caption, videopath, source, split, …",
)

MAX_TEXT = 2000  # characters of a caption or explanation; VideoCon's longest caption has 286
DEFAULT_SOURCE = "custom"
HUMAN_SOURCE = "activitynet"  # VideoCon-Human is drawn from ActivityNet's validation videos

_LINE_BREAKS = re.compile(r"\s*[\r\n\u2028\u2029]+\s*")
_UNWRITABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufeff]")
_IDS = frozenset({"video_id", "videopath", "youtube_key"})
# Nothing in such a path is absolute, hidden, `..` or a drive: it needs no closer look.
_PLAIN_PATH = re.compile(r"[\w-]+(?:[./][\w-]+)*")


def parse_triplet(
    cells: Mapping[str, Any], *, file: str, row: int, split: str | None, source: str | None
) -> Triplet:
    """Validate one row.

    Args:
        cells: field -> raw value, for the fields that the file has a column for.
        file, row: where the row stands, for errors and for `Triplet.file` and `Triplet.row`.
        split, source: for rows that do not say; None means VideoCon-Human's `test` and `activitynet`
            where the columns are its own, `train` and `custom` where there is no such column, and an
            error where there is one and its cell is empty.

    Raises:
        CaptionError: a caption is empty, too long, not writable, or equal to its contrast caption.
        UnsafePathError: the video's path is absolute, climbs with `..` or holds a control character.
        SchemaError: any other cell cannot be what its column says.
    """
    with located(file, row):
        caption = _caption(cells.get("caption"), "caption")
        neg_caption = _caption(cells.get("neg_caption"), "neg_caption")
        if caption == neg_caption:
            raise CaptionError("the contrast caption is the caption itself", found=repr(caption))
        return Triplet(
            caption=caption,
            neg_caption=neg_caption,
            **_described(cells, caption, split, source),
            nle=_long_text(cells, "nle"),
            misalignment=_choice(cells, "misalignment"),
            hard=_choice(cells, "hard"),
            contrast=read_contrast(cells),
            file=file,
            row=row,
        )


def parse_captioned(
    cells: Mapping[str, Any], *, file: str, row: int, split: str | None, source: str | None
) -> dict[str, Any]:
    """Validate one row of a video with its caption alone: what it says of a `Triplet`, by the names of its fields.

    Args:
        cells, file, row, split, source: as of `parse_triplet`.

    Raises:
        SynvitaError: as of `parse_triplet`.
    """
    with located(file, row):
        caption = _caption(cells.get("caption"), "caption")
        described = _described(cells, caption, split, source)
    return {"caption": caption, **described, "file": file, "row": row}


def check_written(caption: str, neg_caption: str) -> str:
    """A contrast caption as a reader of the file that it is written to will see it.

    Raises:
        CaptionError: empty, too long, not writable, taken for no data, or equal to its caption.
    """
    text = _caption(neg_caption, "neg_caption")
    if text == caption:
        raise CaptionError("the contrast caption is the caption itself", found=repr(caption))
    return text


def written_text(text: str | None, field: str) -> str | None:
    """An explanation or phrase as a reader of the file will see it; None where a reader would refuse it."""
    try:
        return _long_text({field: text}, field)
    except SchemaError:
        return None


def _described(
    cells: Mapping[str, Any], caption: str, split: str | None, source: str | None
) -> dict[str, Any]:
    """Which video a row is about, and its split."""
    human = "hard" in cells and "video_url" in cells and "videopath" not in cells
    source = _source(cells, source or (HUMAN_SOURCE if human else None))
    url, videopath = _text(cells, "video_url"), _text(cells, "videopath")
    if videopath is not None and "://" in videopath:
        url, videopath = url or videopath, None
    url = _url(url)
    if videopath is not None and not _PLAIN_PATH.fullmatch(videopath):
        check_relative(videopath)
    name, videopath = _video_name(cells, source, videopath, url, caption)
    start, end = _seconds(cells, "start", name.start), _seconds(cells, "end", name.end)
    if start is not None and end is not None and end <= start:
        raise SchemaError("a video ends before it starts", found=f"start {start}, end {end}")
    return {
        "source": source,
        "video_id": name.video_id,
        "split": _split(cells, split or ("test" if human else None)),
        "videopath": videopath,
        "start": start,
        "end": end,
        "youtube_key": _text(cells, "youtube_key") or name.youtube_key,
        "video_url": url,
    }


def _raw(cells: Mapping[str, Any], field: str) -> str | None:
    """A cell as stripped text; None where it is empty or the file has no such column."""
    value = cells.get(field)
    if value is None or value == "":
        return None
    return given_id(value, field) if field in _IDS else given_text(value, field)


def _text(cells: Mapping[str, Any], field: str) -> str | None:
    text = _raw(cells, field)
    if text is not None and not text.isprintable():
        if field != "videopath":
            raise SchemaError(f"{field} holds a control character", found=repr(text))
        check_relative(text)
        if unwritable := _UNWRITABLE.search(text):
            raise SchemaError(f"{field} holds a character that no path should", found=repr(unwritable[0]))
    return text


def _long_text(cells: Mapping[str, Any], field: str) -> str | None:
    """Text for reading: a line break and the space around it become one space, all else is kept."""
    text = _raw(cells, field)
    if text is None or (len(text) <= MAX_TEXT and text.isprintable()):
        return text
    text = _LINE_BREAKS.sub(" ", text)
    if found := _UNWRITABLE.search(text):
        raise SchemaError(f"{field} holds a control character or half a surrogate pair", found=repr(found[0]))
    if len(text) > MAX_TEXT:
        raise SchemaError(
            f"{field} is too long",
            found=f"{len(text)} characters, beginning {text[:40]!r}",
            expected=f"at most {MAX_TEXT}",
            fix="Look for a quote that is not closed",
        )
    return text


def _caption(value: Any, field: str) -> str:
    try:
        text = _long_text({field: value}, field)
    except SchemaError as error:
        raise error.recast(CaptionError) from error
    if text is None:
        raise CaptionError(f"{field} is empty", found=None if value is None else repr(value))
    return text


def _choice(cells: Mapping[str, Any], field: str) -> Any:
    text = _raw(cells, field)
    return None if text is None else read_choice(text, field)


def _split(cells: Mapping[str, Any], default: str | None) -> str:
    found = _choice(cells, "split")
    if found is not None:
        return found
    if default is None and "split" in cells:
        _empty("split", "--split")
    return default or "train"


def _source(cells: Mapping[str, Any], default: str | None) -> str:
    found = _text(cells, "source")
    if found is None and default is None and "source" in cells:
        _empty("source", "--source")
    return normal_source(found or default or DEFAULT_SOURCE)


def _empty(field: str, option: str) -> NoReturn:
    raise SchemaError(f"{field} is empty", fix=f"Fill it in, or say what empty cells mean ({option})")


def _seconds(cells: Mapping[str, Any], field: str, default: float | None) -> float | None:
    text = _raw(cells, field)
    return default if text is None else read_seconds(text, field)


def _url(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https", "s3") and parts.hostname and " " not in text
    except ValueError:
        good = False
    if not good:
        raise SchemaError("video_url is not a web address", found=repr(text), expected="https://…")
    return text


def _video_name(
    cells: Mapping[str, Any], source: str, videopath: str | None, url: str | None, caption: str
) -> tuple[VideoName, str | None]:
    """What the video is called, and its videopath; the best column that has a value decides."""
    given = _text(cells, "video_id")
    if given is not None:
        if not _PLAIN_PATH.fullmatch(given):
            check_relative(given, expected="an id of a video, not a path out of its folder")
        name = name_id(source, given)
        if videopath is not None and name.start is None:
            from_path = name_video(source, videopath)
            # An id that was made of this path stays as it is: only others may carry a suffix.
            own = given if from_path.video_id == given else name.video_id
            name = VideoName(own, from_path.start, from_path.end, from_path.youtube_key)
        return name, videopath
    if videopath is not None:
        return name_video(source, videopath), videopath
    if url is not None:
        return name_url(source, url), None
    if not cells.keys() & {"video_id", "videopath", "video_url"}:
        # Captions alone are enough to make synthetic videos; equal captions share a (missing) video.
        return VideoName(f"text-{hashlib.sha256(caption.encode()).hexdigest()[:10]}"), None
    raise SchemaError("the row names no video", expected="a videopath, video_id or video_url")


# --- files ------------------------------------------------------------------------------------------


@dataclass
class ReadReport:
    """What became of the rows of one file.

    Attributes:
        rows: rows read (a header and blank lines are not rows).
        triplets: rows that became a triplet.
        duplicates: `(row, first)`: rows dropped because row `first` has the same value in every field.
        quarantined: one error for each row left out for a fault, with file and row.
    """

    rows: int = 0
    triplets: int = 0
    duplicates: list[tuple[int, int]] = field(default_factory=list)
    quarantined: list[SynvitaError] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{counted(self.rows, 'rows')}: {counted(self.triplets, 'triplets')}, {counted(len(self.duplicates), 'exact duplicates')} "
            f"dropped, {len(self.quarantined):,} quarantined"
        )


class TripletReader:
    """Iterate over the triplets of an annotation file, then look at `report`; every iteration reads it again.

    Example:
        >>> reader = TripletReader("videocon_llm_entailment.csv")
        >>> triplets = list(reader)
        >>> print(reader.report)
        16,856 rows: 16,854 triplets, 2 exact duplicates dropped, 0 quarantined

    Rows are streamed, in the order of the file. A row that cannot be used is quarantined (noted in
    `report`, given to `on_bad`) and reading goes on; a row equal to an earlier one in every field is
    dropped and noted. A row with the pair (source, video, both captions) of an earlier row but another
    value elsewhere, such as another split, contradicts it and is quarantined: the first row stays. So is a
    row whose path differs from an earlier one only by the suffix: an id does not hold it.

    Args:
        path: .csv, .tsv, .jsonl or .parquet; see `docs/dataset.md` for the columns.
        on_bad: called with each quarantined row's error as it is met.
        split: train, validation or test for rows that do not say (default: `test` for VideoCon-Human,
            `train` where the file has no such column).
        source: name of the videos' dataset for rows that do not say (default: `activitynet` for
            VideoCon-Human, `custom` where the file has no such column).

    Attributes:
        report: of the last iteration, complete once that has ended.

    Raises:
        SchemaError: while iterating, for a fault of the whole file: unknown format, empty, not UTF-8,
            missing columns (the message lists those found and those expected), an unclosed quote.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        on_bad: Callable[[SynvitaError], None] | None = None,
        split: str | None = None,
        source: str | None = None,
    ) -> None:
        if split is not None:
            choose(split, SPLITS, "split", error=SchemaError)
        self.path = Path(path)
        self.report = ReadReport()
        self._on_bad = on_bad
        self._split = split
        self._source = None if source is None else normal_source(source)

    def __iter__(self) -> Iterator[Triplet]:
        report = self.report = ReadReport()
        file = str(self.path)
        # Digests, not rows: 90 bytes each keep a file of millions of rows in reach.
        seen, suffixes = _SeenPairs(), SeenVideos()
        for row, cells in read_rows(self.path, FIELDS, "triplets"):
            report.rows += 1
            try:
                if isinstance(cells, SynvitaError):
                    raise cells
                triplet = parse_triplet(cells, file=file, row=row, split=self._split, source=self._source)
                check_suffix(triplet, suffixes)
                first, equal = seen.first(triplet, row)
                if first != row:
                    if equal:
                        report.duplicates.append((row, first))
                        continue
                    raise SchemaError(
                        "the same video and captions as an earlier row, but another value in another column",
                        found=f"rows {first} and {row} of pair {triplet.pair_id}",
                        expected="one row a pair, or rows equal in every column",
                        fix="Keep the right one of the two rows",
                    )
            except SynvitaError as error:
                error.at(file, row)
                report.quarantined.append(error)
                if self._on_bad is not None:
                    self._on_bad(error)
                continue
            report.triplets += 1
            yield triplet
        if not report.rows:
            raise SchemaError("the file has no rows", file=self.path)
        level = logging.WARNING if report.quarantined else logging.INFO
        logger.log(level, "%s: %s", file, report)


class _OfVideo(Protocol):
    @property
    def source(self) -> str: ...
    @property
    def video_id(self) -> str: ...
    @property
    def videopath(self) -> str | None: ...
    @property
    def row(self) -> int | None: ...


class SeenVideos:
    """The suffix and row with which each video was first seen."""

    def __init__(self) -> None:
        self._videos = Digests()
        self._suffixes: dict[str, int] = {}
        self._suffix_of, self._row_of = array("i"), array("q")

    def first(self, video: str, suffix: str, row: int) -> tuple[str, int]:
        """Suffix and row of the first row of a video, which this may be."""
        number = self._videos.add(digest_of(video))
        if number == len(self._row_of):
            self._suffix_of.append(self._suffixes.setdefault(suffix, len(self._suffixes)))
            self._row_of.append(row)
            return suffix, row
        if self._suffixes.get(suffix) == self._suffix_of[number]:
            return suffix, self._row_of[number]
        return list(self._suffixes)[self._suffix_of[number]], self._row_of[number]


def check_suffix(triplet: _OfVideo, seen: SeenVideos) -> None:
    """Raise `SchemaError` if an earlier row has the same path with another suffix, where the path makes the id.

    Args:
        triplet: to check.
        seen: the videos of earlier rows; this one is noted there.
    """
    if triplet.videopath is None:
        return
    path = normal_path(triplet.videopath)
    stem = video_stem(path)
    if name_in_scheme(triplet.source, stem) or path_id(path) != triplet.video_id:
        return
    suffix = path.rpartition("/")[2][len(stem) :]
    first, row = seen.first(f"{triplet.source}_{triplet.video_id}", suffix, triplet.row or 0)
    if first != suffix:
        raise SchemaError(
            "two files that differ by their suffix would be taken for one video",
            found=f"{triplet.videopath}, and the same with {first or 'no suffix'} in row {row}",
            expected="one file a video",
            fix="Give the videos different names, or a column video_id",
        )


class _SeenPairs:
    """The row in which each pair (source, video, both captions) was first seen, and a digest of all its fields."""

    def __init__(self) -> None:
        self._pairs = Digests()
        self._row_of, self._rest_of = array("q"), bytearray()

    def first(self, triplet: Triplet, row: int) -> tuple[int, bool]:
        """The first row of a triplet's pair, which may be `row`; and whether it is equal in every field."""
        t = triplet
        pair = repr((t.source, t.video_id, t.caption, t.neg_caption))
        rest = repr(
            (t.split, t.videopath, t.start, t.end, t.youtube_key, t.video_url, t.nle, t.misalignment, t.hard)
            + (() if t.contrast is None else (t.contrast,))
        )
        number, digest = self._pairs.add(digest_of(pair)), digest_of(rest)
        if number == len(self._row_of):
            self._row_of.append(row)
            self._rest_of += digest
            return row, True
        return self._row_of[number], self._rest_of[SIZE * number : SIZE * number + SIZE] == digest
