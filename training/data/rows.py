"""The rows of a dataset as training sees them: checked columns, and whether each video is there, never its bytes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, cast

from synvita_data.errors import SchemaError, located, parsing
from synvita_data.schema import MISALIGNMENTS

if TYPE_CHECKING:
    import datasets

    from synvita_data.dataset.local_videos import RealPart

_TEXTS = ("id", "pair_id", "caption", "neg_caption")
_VIDEOS = ("real_video", "synthetic_video")
_ALWAYS = (*_TEXTS, "start", "end", "real_available", "real_video")


@dataclass(frozen=True, slots=True)
class Row:
    """What one row says, without its videos.

    Attributes:
        number: in the dataset, from 0.
        row_id: `id` of the dataset.
        pair_id: `pair_id` of the dataset.
        caption: caption of the real video.
        neg_caption: its contrast.
        start: second of the real video's file at which the clip begins, None for its beginning.
        end: second at which the clip ends, None for its end.
        has_real: whether the real video is there (bytes or a path; nothing is opened).
        has_synthetic: whether the synthetic video is there.
        nle, weight, vqascores, shared: the columns of these names as they are; None where the column is null
            or was not asked for.
        misalignment: one of `schema.MISALIGNMENTS`; None where it is unknown or was not asked for.
        source, video_id, hard, generation: as `nle`.
    """

    number: int
    row_id: str
    pair_id: str
    caption: str
    neg_caption: str
    start: float | None
    end: float | None
    has_real: bool
    has_synthetic: bool
    nle: str | None = None
    weight: Any = None
    vqascores: Any = None
    shared: Any = None
    misalignment: str | None = None
    source: Any = None
    video_id: Any = None
    hard: Any = None
    generation: Any = None


def read_rows(rows: Any, *, optional: Iterable[str] = (), name: str = "the dataset") -> list[Row]:
    """Read and check every row, column by column.

    Args:
        rows: a `datasets.Dataset` or a sequence of mappings.
        optional: which of `nle`, `synthetic_video`, `weight`, `vqascores`, `shared`, `misalignment`, `source`,
            `video_id`, `hard`, `generation` are needed too.
        name: of the dataset, for messages.

    Raises:
        SchemaError: no rows, a DatasetDict or a stream, missing columns, or a cell of the wrong type; the message
            names dataset and row.
    """
    with located(name):
        # Each once: what is always read may be asked for too.
        columns = _columns(rows, tuple(dict.fromkeys((*_ALWAYS, *optional))))
        _check_cells(columns)
        count = len(columns["id"])
        columns["misalignment"] = _misalignments(columns.get("misalignment", [None] * count))
        cells = {field: columns.get(field, [None] * count) for field in _OPTIONAL_FIELDS}
        read = [
            Row(
                number=number,
                row_id=columns["id"][number],
                pair_id=columns["pair_id"][number],
                caption=columns["caption"][number],
                neg_caption=columns["neg_caption"][number],
                start=columns["start"][number],
                end=columns["end"][number],
                has_real=columns["real_available"][number] and columns["real_video"][number],
                has_synthetic="synthetic_video" in columns and columns["synthetic_video"][number],
                **{field: values[number] for field, values in cells.items()},
            )
            for number in range(count)
        ]
        _check_pairs(read)
    return read


_OPTIONAL_FIELDS = (
    *("nle", "weight", "vqascores", "shared", "misalignment"),
    *("source", "video_id", "hard", "generation"),
)


def is_table(rows: Any) -> bool:
    """Whether rows are a `datasets.Dataset`, seen by its methods, so that `datasets` is not imported here."""
    return hasattr(rows, "select_columns") and hasattr(rows, "with_format") and hasattr(rows, "data")


def is_frame(rows: Any) -> bool:
    """Whether rows are a table of pandas, which gives columns and not rows by `[…]`."""
    return hasattr(rows, "iloc") and hasattr(rows, "to_dict")


def is_number(value: Any) -> bool:
    """Whether a value is a Python number that a float holds; True and False are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < 1 << 1023


def describe(rows: Any) -> str:
    """A name for messages: the dataset's own and its split, where it has them."""
    info = getattr(rows, "info", None)
    name = getattr(info, "dataset_name", None) or "the dataset"
    shown = ", ".join(
        str(part) for part in (getattr(info, "config_name", None), getattr(rows, "split", None)) if part
    )
    return f"{name} ({shown})" if shown else str(name)


class VideoColumn:
    """One of the two columns of videos, read a row at a time; pickles as the dataset does."""

    def __init__(self, rows: Any, name: str) -> None:
        self._name = name
        # What finds the synthetic videos that rows refer to, by their references and SHA-256.
        self._finder = _synthetic_finder(rows) if name == "synthetic_video" else None
        # Files of real videos that `load_triplets` found; they are not in the dataset's table.
        self._paths: list[str | None] = []
        if name == "real_video" and (parts := _real_parts(rows)) is not None:
            self._paths = [None if part.path is None else str(part.path) for part in parts]
        # In Arrow's form: no feature decodes, and no other column (another video) is read.
        names = [name] if self._finder is None else [name, "generation"]
        self._rows = rows.select_columns(names).with_format("arrow") if is_table(rows) else rows

    def __getitem__(self, number: int) -> Any:
        """`{"bytes", "path"}` of a row, or what stands in its place."""
        if self._paths and self._paths[number] is not None:
            return {"bytes": None, "path": self._paths[number]}
        if self._finder is not None:
            return self._found(number)
        if is_table(self._rows):
            return self._rows[number].column(0)[0].as_py()
        return self._rows[number][self._name]

    def _found(self, number: int) -> Any:
        """The cell of a synthetic video that may be elsewhere, looked for or fetched now."""
        from synvita_data.dataset.local_videos import found_synthetic  # imports `datasets`, as the rows did

        assert self._finder is not None
        cell, generation = (self._rows[number].column(each)[0] for each in (self._name, "generation"))
        return found_synthetic(cell.as_py(), generation.as_py(), self._finder)

    def path(self, number: int) -> str | None:
        """The file of a row's video; None where its bytes are in the dataset, which are not read."""
        if self._paths and self._paths[number] is not None:
            return self._paths[number]
        if is_table(self._rows):
            cell = self._rows[number].column(0)[0]
            path = None if cell["bytes"].is_valid else cell["path"].as_py()
            if path is not None and self._finder is not None:
                path = self._found(number)["path"]
        else:
            path = self._rows[number][self._name]
            if isinstance(path, Mapping):
                path = None if path.get("bytes") else path["path"]
        return None if path is None or isinstance(path, bytes) else str(path)


def _real_parts(rows: Any) -> "list[RealPart] | None":
    """What the real videos of a dataset of `load_triplets` are; None without a root, or for other rows."""
    if not is_table(rows):
        return None
    from synvita_data.dataset.local_videos import real_parts  # imports `datasets`, which the rows did already

    return real_parts(rows)


def _synthetic_finder(rows: Any) -> Any:
    """What finds the synthetic videos that a dataset of `load_triplets` refers to; None for other rows."""
    if not is_table(rows):
        return None
    from synvita_data.dataset.local_videos import synthetic_finder

    return synthetic_finder(rows)


def _columns(rows: Any, wanted: Sequence[str]) -> dict[str, list[Any]]:
    """Cells by column; of a column of videos whether one is there."""
    if isinstance(rows, Mapping):
        raise SchemaError(
            "training takes one split of a dataset",
            found=f"{type(rows).__name__} with {', '.join(map(str, rows))}",
            expected="a Dataset",
            fix="Give split= to load_triplets, or take one of them by its name",
        )
    if is_frame(rows):
        raise SchemaError(
            "the training data is neither a Dataset nor a list of dicts",
            found=type(rows).__name__,
            expected="a datasets.Dataset or a sequence of its rows",
            fix='Give the rows of the frame: frame.to_dict("records")',
        )
    if not hasattr(rows, "__len__") or not hasattr(rows, "__getitem__") or isinstance(rows, str | bytes):
        raise SchemaError(
            "the training data is neither a Dataset nor a list of dicts",
            found=type(rows).__name__,
            expected="a datasets.Dataset or a sequence of its rows; a stream has no row numbers",
            fix="Load without streaming",
        )
    if not len(rows):
        raise SchemaError("the dataset is empty", found="0 rows", expected="at least one row")
    videos = [column for column in wanted if column in _VIDEOS]
    if is_table(rows):
        _check_names(rows.column_names, wanted)
        plain = [column for column in wanted if column not in _VIDEOS]
        table = rows.select_columns(plain).with_format("arrow")[:]
        with parsing("the dataset has cells that cannot be read", expected="texts in UTF-8"):
            columns = {column: table.column(column).to_pylist() for column in plain}
        columns |= {column: _videos_there(rows, column) for column in videos}
        if (parts := _real_parts(rows)) is not None:
            # The table names real videos as they were published; these are the ones that are here.
            columns["real_video"] = columns["real_available"] = [part.available for part in parts]
            columns["start"] = [part.start for part in parts]
            columns["end"] = [part.end for part in parts]
        return columns
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise SchemaError("a row is not a mapping", row=number, found=type(row).__name__)
        _check_names(row, wanted, number)
    columns = {column: [row[column] for row in rows] for column in wanted}
    for column in videos:
        columns[column] = [_is_video(v, column, n) for n, v in enumerate(columns[column])]
    return columns


def _check_names(found: Iterable[str], wanted: Sequence[str], row: int | None = None) -> None:
    if missing := [column for column in wanted if column not in found]:
        raise SchemaError(
            "the dataset lacks columns that training needs",
            row=row,
            found=f"columns {', '.join(found)}",
            expected=f"also {', '.join(missing)}",
            fix="Load it with load_triplets; docs/dataset.md lists the columns",
        )


def _videos_there(dataset: "datasets.Dataset", column: str) -> list[bool]:
    """Which rows hold a video, from Arrow's validity bitmaps: reading the cells would read every video."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cells = dataset.data.column(column)
    if pa.types.is_null(cells.type):
        return [False] * len(dataset)
    if not pa.types.is_struct(cells.type) or not {"bytes", "path"} <= {field.name for field in cells.type}:
        raise SchemaError(
            "a column of videos is of another type",
            found=f"{column}: {cells.type}",
            expected="a struct of bytes and path, the storage of datasets.Video",
        )
    there = pc.or_(*(pc.is_valid(pc.struct_field(cells, part)) for part in ("bytes", "path")))
    indices = dataset._indices  # a selection or shuffle; no public method leaves the videos alone
    if indices is not None:
        there = there.take(indices.column(0))
    return cast(list[bool], there.to_pylist())


def _is_video(value: Any, column: str, row: int) -> bool:
    if value is None:
        return False
    if isinstance(value, Mapping):
        return value.get("bytes") is not None or value.get("path") is not None
    if isinstance(value, str | bytes | PathLike):
        return True
    raise SchemaError(
        f"{column} is not a video",
        row=row,
        found=type(value).__name__,
        expected="a mapping with bytes and path, a path, bytes, or null",
        fix="Load the dataset with Video(decode=False)",
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_second(value: Any) -> bool:
    return value is None or (is_number(value) and math.isfinite(value) and value >= 0)


# Column -> what its cells must be, and the test of it.
_CELLS: dict[str, tuple[str, Any]] = {
    **dict.fromkeys(_TEXTS, ("text", _is_text)),
    "nle": ("text or null", lambda value: value is None or isinstance(value, str)),
    "real_available": ("true or false", lambda value: isinstance(value, bool)),
    **dict.fromkeys(("start", "end"), ("seconds from 0 on, or null", _is_second)),
}


def _check_cells(columns: Mapping[str, list[Any]]) -> None:
    for column, (expected, right) in _CELLS.items():
        for row, value in enumerate(columns.get(column, ())):
            if not right(value):
                raise SchemaError(
                    f"{column} is of the wrong type or empty",
                    row=row,
                    found=repr(value),
                    expected=expected,
                )
    for row, (available, there) in enumerate(
        zip(columns["real_available"], columns["real_video"], strict=True)
    ):
        if available and not there:
            raise SchemaError(
                "a row says that its real video is available, but has none",
                row=row,
                found="real_available true, real_video without bytes and path",
                expected="bytes or a path",
                fix="Load the dataset with load_triplets(…, real_root=DIR)",
            )
    for row, (start, end) in enumerate(zip(columns["start"], columns["end"], strict=True)):
        if start is not None and end is not None and start >= end:
            raise SchemaError("a clip ends before it starts", row=row, found=f"{start} to {end} s")


def _misalignments(cells: Sequence[Any]) -> list[str | None]:
    """Names of the class numbers of a built dataset (or names as they are); None for null and −1, which are unknown."""
    known: dict[Any, str | None] = {None: None, -1: None}
    for number, kind in enumerate(MISALIGNMENTS):
        known[number] = known[kind] = kind
    for row, value in enumerate(cells):
        if isinstance(value, bool) or not isinstance(value, int | str | None) or value not in known:
            raise SchemaError(
                "misalignment is not of a known kind",
                row=row,
                found=repr(value),
                expected=f"a class number from 0 to {len(MISALIGNMENTS) - 1}, one of {', '.join(MISALIGNMENTS)}, or null",
                fix="Load the dataset with load_triplets; docs/dataset.md lists the columns",
            )
    return [known[value] for value in cells]


def _check_pairs(rows: Sequence[Row]) -> None:
    """Rows of one pair have one pair of captions: L_real is taken from the first of them."""
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(row.pair_id, row)
        if (row.caption, row.neg_caption) != (other.caption, other.neg_caption):
            raise SchemaError(
                f"two rows of pair {row.pair_id} have different captions",
                row=row.number,
                found=f"{row.caption!r} / {row.neg_caption!r}",
                expected=f"{other.caption!r} / {other.neg_caption!r}, as in row {other.number}",
            )
