"""Videos that a dataset names and does not hold, in the rows that are read from it, and never in its table.

Real videos must not be redistributed, and whatever stands in a dataset's table leaves with it: `push_to_hub` and
`save_to_disk` even read local files and embed them. So the table stays as it was published, and a *format*, which
`datasets` carries through `filter`, `map`, `select`, `shuffle`, `train_test_split`, concatenation and pickling,
finds the files when a row is read. Saved and published is the table; the format is left behind.

What a row holds of a file is a `LocalVideo`: a path for whoever opens it, and for Arrow the published reference. A
function given to `map` may therefore return the rows that it read.

Synthetic videos that rows refer to (`synthetic_videos.reference`) are treated likewise: found, or fetched, when a row's
`synthetic_video` is read.
"""

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets.arrow_dataset import update_metadata_with_features
from datasets.fingerprint import Hasher
from datasets.formatting import _FORMAT_TYPES
from datasets.formatting.formatting import LazyBatch, LazyRow, PythonFormatter
from datasets.table import InMemoryTable

from ..display import warn
from ..errors import SchemaError
from ..real_videos.find import RealVideo, RealVideos
from ..synthetic_videos.find import SyntheticVideos

# What names a row's video, and what is different in a row whose video is here.
_NAMES = ("source", "video_id", "videopath", "youtube_key", "start", "end")
_OVERLAID = ("real_video", "real_available", "start", "end")
_NEEDED = ("source", "video_id", "real_video")
_ROWS_AT_ONCE = 1000
# Full paths, of whatever system; published references are relative.
_PLACE = re.compile(r"[/\\~]|[A-Za-z]:[/\\]|file:")


class LocalVideo(type(Path())):  # type: ignore[misc]  # PosixPath or WindowsPath
    """The file of a video that a row names: a `Path` that can be asked what text can, and that Arrow takes for its reference.

    Attributes:
        reference: what the published row calls the video; None where it does not.
    """

    reference: str | None = None

    @classmethod
    def of(cls, path: Path | str, reference: str | None) -> "LocalVideo":
        video = cls(path)
        video.reference = reference
        return video

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        # `datasets` and numpy ask for this before anything is written into a table.
        return np.array(self.reference, dtype=object)

    def __eq__(self, other: object) -> bool:
        return str(self) == other if isinstance(other, str) else bool(super().__eq__(other))

    def __hash__(self) -> int:
        return hash(str(self))

    def __getattr__(self, name: str) -> Any:
        # `endswith` and the like: a row's path is text where nothing is looked for.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(str(self), name)

    def replace(self, *parts: Any) -> Any:
        """As of text: such a video is never renamed."""
        return str(self).replace(*parts)

    def __reduce__(self) -> Any:
        return LocalVideo.of, (str(self), self.reference)


@dataclass(frozen=True, slots=True)
class RealPart:
    """What a row says of its real video after it was looked for.

    Attributes:
        path: the file; None where it was not found, or where its bytes are in the table.
        embedded: the bytes are in the table.
        start, end: seconds to decode of the file or bytes; as published where there is neither.
    """

    path: Path | None
    embedded: bool
    start: float | None
    end: float | None

    @property
    def available(self) -> bool:
        return self.embedded or self.path is not None


class _VideoFormat(str):
    """The name of a format that finds real videos under one root, and synthetic videos that rows refer to.

    It is a `str` because `datasets` keeps the name of a format with the dataset, compares it when datasets are
    concatenated, sends it to workers, and writes it as JSON into what `save_to_disk` saves. As JSON it is
    "python", the name of the plain format, so that a saved dataset opens anywhere and knows no root. It says that
    it equals "custom": then a column is read from whole rows.
    """

    videos: RealVideos | None
    synthetic: SyntheticVideos | None
    _token: tuple[str | None, str | None]

    def __new__(cls, videos: RealVideos | None, synthetic: SyntheticVideos | None = None) -> "_VideoFormat":
        self = super().__new__(cls, "python")
        self.videos, self.synthetic = videos, synthetic
        self._token = (
            None if videos is None else videos.identity,
            None if synthetic is None else synthetic.identity,
        )
        # In every process that meets it, and for the newest look at the folder.
        _FORMAT_TYPES[self] = _FormatterOf(videos, synthetic)
        return self

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _VideoFormat):
            return self._token == other._token
        return isinstance(other, str) and str.__eq__("custom", other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((_VideoFormat, self._token))

    def __reduce__(self) -> Any:
        return _VideoFormat, (self.videos, self.synthetic)

    def __deepcopy__(self, memo: Any) -> "_VideoFormat":
        return self


class _FormatterOf:
    """Makes the formatter of one root, as `datasets` makes those of other formats."""

    def __init__(self, videos: RealVideos | None, synthetic: SyntheticVideos | None) -> None:
        self.videos, self.synthetic = videos, synthetic

    def __call__(self, **options: Any) -> "_VideoFormatter":
        return _VideoFormatter(self.videos, self.synthetic, **options)


class _Lazy:
    """Columns of rows, made when they are asked for: no video is read for the sake of a caption."""

    formatter: "_VideoFormatter"
    pa_table: pa.Table
    _parts: list[RealPart] | None = None

    def column(self, key: str) -> Any:
        plain = self.formatter.plain(self.pa_table, key)
        videos, synthetic = self.formatter.videos, self.formatter.synthetic
        if key == "synthetic_video" and synthetic is not None:
            named = "generation" in self.pa_table.column_names
            made = self.formatter.plain(self.pa_table, "generation") if named else [None] * len(plain)
            return [found_synthetic(cell, how, synthetic) for cell, how in zip(plain, made, strict=True)]
        if key not in _OVERLAID or videos is None or not self.formatter.can_find(self.pa_table, key):
            return plain
        if self._parts is None:
            inside = has_bytes(self.pa_table.column("real_video"))
            self._parts = list(_find(self.pa_table, inside, videos))
        return [_overlaid(key, cell, part) for cell, part in zip(plain, self._parts, strict=True)]

    def __reduce__(self) -> Any:
        return dict, (dict(self),)  # type: ignore[call-overload]


class _VideoRow(_Lazy, LazyRow):
    def format(self, key: str) -> Any:
        return self.column(key)[0]


class _VideoBatch(_Lazy, LazyBatch):
    def format(self, key: str) -> Any:
        return self.column(key)


class _VideoFormatter(PythonFormatter):
    """Plain Python objects, but for the columns of videos that are found."""

    def __init__(
        self,
        videos: RealVideos | None,
        synthetic: SyntheticVideos | None,
        features: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(features=features, token_per_repo_id=options.get("token_per_repo_id"))
        self.videos, self.synthetic = videos, synthetic

    def format_row(self, pa_table: pa.Table) -> Any:
        return _VideoRow(pa_table, self)

    def format_batch(self, pa_table: pa.Table) -> Any:
        return _VideoBatch(pa_table, self)

    def format_column(self, pa_table: pa.Table) -> list[Any]:
        batch: list[Any] = self.format_batch(pa_table)[pa_table.column_names[0]]
        return batch

    def plain(self, pa_table: pa.Table, key: str) -> list[Any]:
        column: list[Any] = super().format_column(pa_table.select([key]))
        return column

    def can_find(self, pa_table: pa.Table, key: str) -> bool:
        missing = [name for name in _NEEDED if name not in pa_table.column_names]
        if missing:
            warn(
                f"the real videos of rows cannot be found without the columns {', '.join(missing)}, so {key} is as "
                "published. Select those columns too",
                stacklevel=2,
            )
        return not missing


def with_local_videos(
    dataset: datasets.Dataset, videos: RealVideos | None, synthetic: SyntheticVideos | None = None
) -> datasets.Dataset:
    """`dataset` with the same table, whose rows hold the videos that are found when they are read.

    Its fingerprint depends on the real files that are found now, so that `map` finds its cache again for equal files
    and misses it for others. Synthetic videos are the same wherever they are found: rows have their SHA-256.

    Args:
        dataset: as it was published.
        videos: finds real videos; None looks for none.
        synthetic: finds the synthetic videos that rows refer to; None for a dataset that holds its own.
    """
    formatted = dataset.with_format(_VideoFormat(videos, synthetic))
    if videos is None:
        return formatted
    found = [[str(part.path), part.start, part.end] for part in _parts(formatted, videos)]
    formatted._fingerprint = Hasher.hash([dataset._fingerprint, json.dumps(found)])
    return formatted


def with_stream_videos(
    stream: datasets.IterableDataset, videos: RealVideos | None, synthetic: SyntheticVideos | None
) -> datasets.IterableDataset:
    """A stream whose rows hold the videos that are found when they are read; see `with_local_videos`."""
    return stream.with_format(_VideoFormat(videos, synthetic))


def batch_as_published(batch: pa.Table) -> pa.Table:
    """Rows of a stream that somebody may have saved on a machine, without what they say of it; see `_as_published`."""
    cells = batch.column("real_video")
    if not pa.types.is_struct(cells.type):
        return batch
    inside = pa.array(has_bytes(cells), pa.bool_())
    available = pc.and_(batch.column("real_available"), inside)
    if any(map(_is_place, pc.struct_field(cells, "path").to_pylist())):
        cells = pa.chunked_array(list(map(_without_places, cells.chunks)), cells.type)
        batch = batch.set_column(batch.column_names.index("real_video"), batch.field("real_video"), cells)
    return batch.set_column(
        batch.column_names.index("real_available"), batch.field("real_available"), available
    )


def refers_to_synthetic(dataset: Any) -> bool:
    """Whether a row of a dataset refers to its synthetic video instead of holding it. Reads no video."""
    cells = dataset.data.column("synthetic_video")
    if not pa.types.is_struct(cells.type) or cells.type.get_field_index("path") < 0:
        return False
    inside = pa.array(has_bytes(cells), pa.bool_())
    named = pc.is_valid(pc.struct_field(cells, "path"))
    return bool(pc.any(pc.and_(named, pc.invert(inside))).as_py())


def found_synthetic(cell: Any, generation: Any, videos: SyntheticVideos) -> Any:
    """A cell of synthetic videos whose reference is a file of this machine; one that holds its bytes as it is.

    Args:
        cell: `{"bytes", "path"}` or None.
        generation: the row's, whose `sha256` is compared; None where it is not known.
        videos: finds them.

    Raises:
        SynvitaError: as `SyntheticVideos.find`.
    """
    if not cell or cell.get("bytes") is not None or cell.get("path") is None:
        return cell
    path = videos.find(cell["path"], (generation or {}).get("sha256"))
    return {"bytes": None, "path": LocalVideo.of(path, cell["path"])}


def synthetic_finder(dataset: Any) -> SyntheticVideos | None:
    """Where the synthetic videos that a dataset refers to are looked for; None where it refers to none."""
    name = getattr(dataset, "_format_type", None)
    return _FORMAT_TYPES[name].synthetic if isinstance(name, _VideoFormat) else None


def finder_of(dataset: Any) -> RealVideos | None:
    """Where the real videos of a dataset are looked for; None where it was loaded without a root."""
    name = getattr(dataset, "_format_type", None)
    return _FORMAT_TYPES[name].videos if isinstance(name, _VideoFormat) else None


def real_parts(dataset: Any) -> list[RealPart] | None:
    """For each row of a dataset of `load_triplets` what its real video is; None without a root. Reads no video."""
    videos = finder_of(dataset)
    return None if videos is None else list(_parts(dataset, videos))


def _parts(dataset: Any, videos: RealVideos) -> Iterator[RealPart]:
    if missing := [name for name in _NEEDED if name not in dataset.column_names]:
        raise SchemaError(
            "real videos cannot be found without the columns that name them",
            found=f"columns {', '.join(dataset.column_names)}",
            expected=f"also {', '.join(missing)}",
            fix="Keep them in select_columns and remove_columns",
        )
    # Which cells hold bytes is told by the table's bitmaps, and the other columns are small: no video is read.
    embedded = pa.array(has_bytes(dataset.data.column("real_video")), pa.bool_())
    if dataset._indices is not None:
        embedded = embedded.take(dataset._indices.column(0).combine_chunks())
    names = [name for name in _NAMES if name in dataset.column_names]
    offset = 0
    for batch in dataset.select_columns(names).with_format("arrow").iter(_ROWS_AT_ONCE):
        yield from _find(batch, embedded.slice(offset, batch.num_rows).to_pylist(), videos)
        offset += batch.num_rows


def _find(table: pa.Table, embedded: list[bool], videos: RealVideos) -> Iterator[RealPart]:
    """The real videos of the rows of `table`; of `embedded` ones nothing is looked for."""
    empty = [None] * table.num_rows
    columns = [table.column(name).to_pylist() if name in table.column_names else empty for name in _NAMES]
    for inside, source, video_id, videopath, youtube_key, start, end in zip(embedded, *columns, strict=True):
        found: RealVideo | None = None
        if not inside and isinstance(source, str) and isinstance(video_id, str):
            found = videos.find(
                source, video_id, videopath=videopath, youtube_key=youtube_key, start=start, end=end
            )
        if found is not None:
            start, end = found.seconds(start, end)
        yield RealPart(None if found is None else found.path, inside, start, end)


def has_bytes(cells: Any) -> list[bool]:
    """Which cells of a column of videos hold bytes, from the validity bitmaps: no video is read."""
    if not pa.types.is_struct(cells.type) or cells.type.get_field_index("bytes") < 0:
        return [False] * len(cells)
    there: list[bool] = pc.and_(pc.is_valid(cells), pc.is_valid(pc.struct_field(cells, "bytes"))).to_pylist()
    return there


def plain_references(dataset: datasets.Dataset) -> datasets.Dataset:
    """`dataset` with `real_video` as a plain struct of bytes and path: the table stays as it is.

    So is `synthetic_video` where rows refer to their videos. As a column of type `Video` it would be taken for files of
    this machine: `push_to_hub` and `save_to_disk` open the path of each cell that holds no bytes, from whatever folder
    they are called in, and embed what they find.
    """
    features = dataset.features.copy()
    struct = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features["real_video"] = struct
    if refers_to_synthetic(dataset):
        features["synthetic_video"] = struct
    if not pa.types.is_struct(dataset.data.column("real_video").type):  # nothing but nulls, without a type
        dataset = dataset.cast_column("real_video", features["real_video"])
    plain = copy.deepcopy(dataset if dataset._indices is None else dataset.flatten_indices())
    # Where a dataset was loaded from is a place on this machine, and would be saved with it.
    plain._info.download_checksums = None
    if dataset.features != features:
        plain._info.features = features
        plain._data = update_metadata_with_features(plain._data, features)
        plain._fingerprint = Hasher.hash([dataset._fingerprint, "plain references"])
    return _as_published(plain)


def _as_published(dataset: datasets.Dataset) -> datasets.Dataset:
    """A table that somebody saved on this or another machine, without what it says of that machine: that a file was
    found (`real_available` where there are no bytes), and full paths."""
    cells = dataset.data.column("real_video")
    inside = has_bytes(cells)
    said = dataset.data.column("real_available").to_pylist()
    columns: dict[str, Any] = {}
    if any(claimed and not there for claimed, there in zip(said, inside, strict=True)):
        columns["real_available"] = pa.array(inside, pa.bool_())
    if any(map(_is_place, pc.struct_field(cells, "path").to_pylist())):
        columns["real_video"] = pa.chunked_array(list(map(_without_places, cells.chunks)), cells.type)
    if not columns:
        return dataset
    replaced = datasets.Dataset(
        InMemoryTable(pa.table(columns)),
        info=datasets.DatasetInfo(
            features=datasets.Features({name: dataset.features[name] for name in columns})
        ),
        fingerprint=Hasher.hash([dataset._fingerprint, sorted(columns)]),
    )
    rest = dataset.remove_columns(list(columns))
    joined = datasets.concatenate_datasets([rest, replaced], axis=1, info=dataset.info, split=dataset.split)
    return joined.select_columns(dataset.column_names)


def _is_place(path: str | None) -> bool:
    return path is not None and _PLACE.match(path) is not None


def _with_child(cells: pa.StructArray, name: str, values: pa.Array) -> pa.StructArray:
    """Cells of videos with other `bytes` or another `path`; what stays is not copied."""
    names = [cells.type.field(index).name for index in range(cells.type.num_fields)]
    children = dict(zip(names, cells.flatten(), strict=True)) | {name: values}
    return pa.StructArray.from_arrays([children[each] for each in names], names=names, mask=cells.is_null())


def _without_places(cells: pa.StructArray) -> pa.StructArray:
    """Cells of videos whose full paths are null."""
    paths = [None if _is_place(path) else path for path in pc.struct_field(cells, "path").to_pylist()]
    return _with_child(cells, "path", pa.array(paths, pa.string()))


def without_real_bytes(dataset: datasets.Dataset) -> datasets.Dataset:
    """`dataset` without the bytes of real videos that `synvita build --embed-real` put into it: names only.

    For who wants to publish rows of such a dataset. Rows are copied; their synthetic videos too.
    """

    def bare(batch: pa.Table) -> pa.Table:
        cells = batch.column("real_video").combine_chunks()
        inside = pa.array(has_bytes(cells), pa.bool_())
        bare_cells = _with_child(cells, "bytes", pa.nulls(len(cells), pa.binary()))
        available = pc.and_(batch.column("real_available"), pc.invert(inside))
        batch = batch.set_column(batch.column_names.index("real_video"), "real_video", bare_cells)
        return batch.set_column(batch.column_names.index("real_available"), "real_available", available)

    form = dataset.format
    columns = form.pop("columns")
    bared = dataset.with_format("arrow").map(
        bare, batched=True, batch_size=100, features=dataset.features, desc="Leaving out real videos"
    )
    return bared.with_format(**form, columns=None if columns == dataset.column_names else columns)


def _overlaid(key: str, cell: Any, part: RealPart) -> Any:
    """The cell that a row shows in place of the published one."""
    if key != "real_video":
        return {"real_available": part.available, "start": part.start, "end": part.end}[key]
    if part.path is None:
        return cell
    return {"bytes": None, "path": LocalVideo.of(part.path, None if cell is None else cell.get("path"))}
