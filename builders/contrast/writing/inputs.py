"""Videos with captions: what contrast captions are written from.

Read from VideoCon's CSVs and any CSV, JSON Lines or Parquet file with a caption column, MSR-VTT's JSON, VATEX's JSON, and
datasets of Hugging Face (a folder here or a name on the Hub). `CaptionReader` streams them and keeps account of what was
left out. A caption that a video has twice counts once.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from synvita_data.dataset.built import reading
from synvita_data.display import counted, get_logger
from synvita_data.errors import CaptionError, HubError, SchemaError, SynvitaError, choose, first_line
from synvita_data.files import parse_json
from synvita_data.real_videos.names import normal_source
from synvita_data.schema import SPLITS, Triplet
from synvita_data.tables.cells import read_choice
from synvita_data.tables.csv import refuse_encoding
from synvita_data.tables.rows import Cells, normal_name, read_rows

from ...triplets import ALIASES as TRIPLET_ALIASES
from ...triplets import SeenVideos, VideoFields, check_suffix, parse_captioned

logger = get_logger(__name__)

_VATEX_COLUMN = "encap"
FIELDS = VideoFields(
    {
        "caption": (
            *TRIPLET_ALIASES["caption"],
            *("captions", "sentence", "sentences", _VATEX_COLUMN, "description"),
        ),
        **{
            name: TRIPLET_ALIASES[name]
            for name in (
                "videopath",
                "video_id",
                "video_url",
                "youtube_key",
                "source",
                "split",
                "hard",
                "start",
                "end",
            )
        },
    },
    required=("caption",),
    fix="Name the column of captions `caption`",
)
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".pq")
MSR_VTT, VATEX = "msr-vtt", "vatex"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(?:@[\w./-]+)?")
# What a row is of: its number, its cells by field (a caption may be a list of them), and whence rows are that do not say.
_Row = tuple[int, Cells | SynvitaError]


@dataclass(frozen=True, slots=True)
class CaptionedVideo:
    """A video with one of its captions; fields are those of a `Triplet`."""

    source: str
    video_id: str
    caption: str
    split: str
    videopath: str | None = None
    start: float | None = None
    end: float | None = None
    youtube_key: str | None = None
    video_url: str | None = None
    file: str | None = None
    row: int | None = None

    @property
    def video_key(self) -> str:
        """`<source>_<video_id>`."""
        return f"{self.source}_{self.video_id}"

    def triplet(self, neg_caption: str, **more: Any) -> Triplet:
        """The triplet with a contrast caption.

        Args:
            neg_caption: t^s.
            more: further fields of a `Triplet`.
        """
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return Triplet(**own, neg_caption=neg_caption, **more)


@dataclass
class CaptionReport:
    """What became of the captions of one input.

    Attributes:
        rows: rows read.
        captions: distinct captions of videos, in `videos` videos.
        videos: distinct videos.
        duplicates: captions that their video had already.
        quarantined: one error a row, or caption of a row, that cannot be used.
    """

    rows: int = 0
    captions: int = 0
    videos: int = 0
    duplicates: int = 0
    quarantined: list[SynvitaError] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{counted(self.rows, 'rows')}: {counted(self.captions, 'captions')} of {self.videos:,} videos, {self.duplicates:,} that a video "
            f"has already, {len(self.quarantined):,} quarantined"
        )


class CaptionReader:
    """Iterate over videos with captions, then look at `report`; every iteration reads the input again.

    Args:
        captions: a file, a folder that `datasets` reads, or a Hub dataset `OWNER/NAME[@REVISION]`.
        split: train, validation or test for rows that do not say.
        source: of rows that do not say; MSR-VTT's and VATEX's own files are known.
        config: of a Hugging Face dataset with several.
        on_bad: called with each error of a row as it is met.

    Attributes:
        report: of the last iteration, complete once that has ended.

    Raises:
        SchemaError: while iterating, for a fault of the whole input: unknown format, not JSON, no caption column.
        HubError: the dataset cannot be read from the Hub.
    """

    def __init__(
        self,
        captions: str | Path,
        *,
        split: str | None = None,
        source: str | None = None,
        config: str | None = None,
        on_bad: Callable[[SynvitaError], None] | None = None,
    ) -> None:
        if split is not None:
            choose(split, SPLITS, "split", error=SchemaError)
        self.captions, self.report = str(captions), CaptionReport()
        self._split, self._config, self._on_bad = split, config, on_bad
        self._source = None if source is None else normal_source(source)

    def __iter__(self) -> Iterator[CaptionedVideo]:
        report = self.report = CaptionReport()
        seen: dict[tuple[str, str], dict[str, CaptionedVideo]] = {}
        suffixes = SeenVideos()
        for row, cells in self._rows():
            report.rows += 1
            for each in _each_caption(cells):
                try:
                    if isinstance(each, SynvitaError):
                        raise each
                    video = self._parse(each, row)
                    check_suffix(video, suffixes)
                    known = seen.setdefault((video.source, video.video_id), {})
                    first = known.setdefault(video.caption, video)
                    if first is not video:
                        _refuse_contradiction(first, video)
                        report.duplicates += 1
                        continue
                except SynvitaError as error:
                    report.quarantined.append(error.at(self.captions, row))
                    if self._on_bad is not None:
                        self._on_bad(error)
                    continue
                report.captions += 1
                report.videos = len(seen)
                yield video
        if not report.rows:
            raise SchemaError("the file has no rows", file=self.captions)
        level = logging.WARNING if report.quarantined else logging.INFO
        logger.log(level, "%s: %s", self.captions, report)

    def _parse(self, cells: Cells, row: int) -> CaptionedVideo:
        split, source = cells.pop("_split", None) or self._split, cells.pop("_source", None)
        found = parse_captioned(
            cells, file=self.captions, row=row, split=split, source=self._source or source
        )
        return CaptionedVideo(**found)

    def _rows(self) -> Iterator[_Row]:
        path = Path(self.captions).expanduser()
        if path.is_dir() or (
            not path.exists() and path.suffix.lower() not in SUFFIXES and _REPOSITORY.fullmatch(self.captions)
        ):
            return _dataset_rows(self.captions, self._config)
        if self._config is not None:
            raise SchemaError("a file has no configs", file=path, found=self._config)
        if path.suffix.lower() == ".json" and path.is_file():
            return _json_rows(path)
        rows: Iterator[_Row] = read_rows(path, FIELDS, "captions")
        return rows


def _refuse_contradiction(first: CaptionedVideo, video: CaptionedVideo) -> None:
    other = [
        each.name
        for each in fields(video)
        if each.name not in ("file", "row") and getattr(first, each.name) != getattr(video, each.name)
    ]
    if other:
        raise SchemaError(
            "the same video and caption as an earlier row, but another value in another column",
            found=f"{other[0]} {getattr(video, other[0])!r}, and {getattr(first, other[0])!r} in row {first.row}",
            expected="rows of a video and caption that are equal in every column",
            fix="Keep the right one of the two rows",
        )


def _each_caption(cells: Cells | SynvitaError) -> Iterator[Cells | SynvitaError]:
    """The row once for each caption that it has."""
    if isinstance(cells, SynvitaError) or not isinstance(cells.get("caption"), (list, tuple)):
        yield cells
        return
    captions = cells["caption"]
    if not captions:
        yield CaptionError("the row has no caption", found="[]", expected="one caption or more")
    for number, caption in enumerate(captions, start=1):
        if isinstance(caption, str):
            yield {**cells, "caption": caption}
        else:
            yield CaptionError(
                "a caption is not text", found=f"caption {number}: {caption!r}", expected="text"
            )


# -- JSON -------------------------------------------------------------------------------------------------


def _json_rows(path: Path) -> Iterator[_Row]:
    """MSR-VTT's object, a list of objects such as VATEX's, or JSON Lines."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        refuse_encoding(path, error)
    try:
        document = parse_json(text)
    except ValueError as error:
        first = text.lstrip().partition("\n")[0].rstrip()
        if first.startswith("{") and first.endswith("}"):
            return read_rows(path, FIELDS, "captions")
        raise SchemaError(
            "the file is not JSON",
            file=path,
            found=first_line(error),
            expected="MSR-VTT's or VATEX's JSON, a list of objects, or one object a line",
            fix="It may have been cut off: fetch it again",
        ) from error
    if isinstance(document, list):
        return _list_rows(document, path)
    if isinstance(document, dict) and {"videos", "sentences"} <= document.keys():
        return _msr_vtt_rows(document, path)
    return read_rows(path, FIELDS, "captions")  # a single line, or what it says of the first


def _list_rows(document: Sequence[Any], path: Path) -> Iterator[_Row]:
    """A list of objects. VATEX: `[{"videoID": …, "enCap": […]}]`."""
    columns_of: dict[tuple[str, ...], dict[str, str] | SchemaError] = {}
    usable = 0
    first: SchemaError | None = None
    for row, entry in enumerate(document):
        if not isinstance(entry, dict):
            yield row, _not_an_object(entry)
            continue
        names = tuple(entry)
        if names not in columns_of:
            try:
                columns_of[names] = {each: names[at] for each, at in FIELDS.choose(names).items()}
            except SchemaError as error:
                columns_of[names] = error
        columns = columns_of[names]
        if isinstance(columns, SchemaError):
            first = first or columns
            yield row, columns.recast(SchemaError)
            continue
        usable += 1
        yield row, _named(columns, entry)
    if first is not None and not usable:
        raise first.at(path)


def _named(columns: Mapping[str, str], entry: Mapping[str, Any]) -> Cells:
    """The cells of a row by field; a row with VATEX's captions is VATEX's where it does not say."""
    cells = {each: entry[name] for each, name in columns.items()}
    if normal_name(columns["caption"]) == _VATEX_COLUMN:
        cells["_source"] = VATEX
    return cells


def _not_an_object(entry: Any) -> SchemaError:
    return SchemaError(
        "an entry is not an object", found=repr(entry), expected='{"videoID": …, "enCap": […]} or the like'
    )


def _msr_vtt_rows(document: Mapping[str, Any], path: Path) -> Iterator[_Row]:
    """MSR-VTT: videos with their part of a YouTube video, and sentences that name a video each."""
    videos, sentences = document["videos"], document["sentences"]
    for name, part in (("videos", videos), ("sentences", sentences)):
        if not isinstance(part, list):
            raise SchemaError(f"{name!r} is not a list", file=path, found=type(part).__name__)
    known: dict[str, Mapping[str, Any]] = {}
    for video in videos:
        if isinstance(video, dict) and isinstance(video.get("video_id"), str):
            known.setdefault(video["video_id"], video)
    for row, sentence in enumerate(sentences):
        if not isinstance(sentence, dict):
            yield row, _not_an_object(sentence)
            continue
        video_id = sentence.get("video_id")
        video = known.get(video_id) if isinstance(video_id, str) else None
        if video is None:
            yield (
                row,
                SchemaError(
                    "a sentence is of no video of the file",
                    found=f"video_id {video_id!r}",
                    expected="the video_id of an entry of `videos`",
                ),
            )
            continue
        url = video.get("url")
        # An entry without a split is one of a table without that column.
        split = {"split": video["split"]} if "split" in video else {}
        yield (
            row,
            {
                "caption": sentence.get("caption"),
                "video_id": video_id,
                "start": video.get("start time"),
                "end": video.get("end time"),
                "video_url": url,
                "youtube_key": _youtube_key(url),
                "_source": MSR_VTT,
                **split,
            },
        )


def _youtube_key(url: Any) -> str | None:
    """The id in a YouTube address; None for any other."""
    found = re.search(r"youtu(?:\.be/|be\.com/(?:watch\?(?:.*&)?v=|embed/))([\w-]{11})(?![\w-])", str(url))
    return None if found is None else found[1]


# -- datasets of Hugging Face -----------------------------------------------------------------------------


def _dataset_rows(name: str, config: str | None) -> Iterator[_Row]:
    """Rows of every split, numbered through, streamed: nothing is copied, and no column of videos is read."""
    import datasets

    location, _, revision = name.partition("@") if not Path(name).exists() else (name, "", "")
    number = 0
    with reading(location, revision or None):
        for split, part in _open_dataset(location, config, revision or None).items():
            try:
                given_split = read_choice(str(split), "split")
            except SchemaError:
                given_split = None
            columns = _text_columns(part)
            try:
                chosen = {each: columns[at] for each, at in FIELDS.choose(columns).items()}
            except SchemaError as error:
                raise error.at(name) from None
            try:
                for record in part.select_columns(sorted(set(chosen.values()))):
                    yield number, {**_named(chosen, record), "_split": given_split}
                    number += 1
            except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:
                if hasattr(error, "response"):  # the Hub's
                    raise
                raise SchemaError(
                    "the dataset cannot be read to its end", file=name, found=first_line(error)
                ) from error


def _open_dataset(name: str, config: str | None, revision: str | None) -> Mapping[Any, Any]:
    """Split -> rows."""
    import datasets

    folder = Path(name).expanduser()
    try:
        if (folder / "dataset_dict.json").is_file() or (folder / "dataset_info.json").is_file():
            loaded = datasets.load_from_disk(str(folder))
            is_one = isinstance(loaded, datasets.Dataset)
            return {str(loaded.split or "train"): loaded} if is_one else loaded
        source = str(folder) if folder.is_dir() else name
        opened: Mapping[Any, Any] = datasets.load_dataset(source, config, revision=revision, streaming=True)
        return opened
    except (datasets.exceptions.DatasetsError, FileNotFoundError, ValueError) as error:
        if hasattr(error, "response"):
            raise
        kind = SchemaError if folder.is_dir() else HubError
        raise kind(
            "the dataset cannot be opened",
            file=name,
            found=first_line(error),
            expected="a folder or a Hub repository that `datasets.load_dataset` reads",
            fix="Name a config with --config, if it has several",
        ) from error


def _text_columns(part: Any) -> list[str]:
    """The columns that hold text, numbers or lists of them: no videos, no structs."""
    import datasets

    features = part.features
    if features is None:  # of CSV and JSON they are known when a row is read
        part = part._resolve_features()
        features = part.features
    plain = (datasets.Value, datasets.ClassLabel)
    return [
        column
        for column, feature in features.items()
        if isinstance(feature, plain)
        or (isinstance(feature, datasets.List) and isinstance(feature.feature, datasets.Value))
    ]
