"""The row reader: CSV, JSON Lines and Parquet files as dictionaries of named fields, row by row.

All three yield `(row, cells)` with `row` counted from 0 (blank lines do not count, as in pandas) and `cells` mapping
the fields that the file has to raw values: text, or numbers of JSON and Parquet. A row that is broken in itself comes
as `(row, error)`. Faults of the whole file (not UTF-8, no such columns, empty) are raised.

A cell may be a video as `datasets` stores one, `{bytes, path}`, a list of one such, or bytes alone: the cell is then its
path, or where it has none a name made of its bytes. Bytes of any other column are text whose writer did not say so
(Impala, old Hive), and decimals (DuckDB, Spark) are numbers.
"""

import contextlib
import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..errors import OTHER_FORM, SchemaError
from ..files import parse_json
from ..schema import check_schema_version
from .cells import read_json_object
from .columns import parquet_errors
from .csv import DELIMITERS, CsvFile, check_text, open_csv, refuse_encoding

if TYPE_CHECKING:
    import pyarrow.parquet as pq

Cells = dict[str, Any]
Rows = Iterator[tuple[int, Cells | SchemaError]]

PARQUET_BATCH = 4096
_VIDEO_BATCH = 16  # rows read at once where the bytes of videos must be
_VIDEO_FIELDS = frozenset({"videopath", "video"})
# Arrow's short floats -> from where on they do not hold every whole number.
_EXACT_IN = {"halffloat": 1 << 11, "float": 1 << 24}


def normal_name(column: str) -> str:
    """A column name without byte-order mark and surrounding space, lower case, words joined by `_`."""
    words = column.strip("\ufeff \t\r\n").lower().replace("-", " ").replace("_", " ").split()
    return "_".join(words)


@dataclass(frozen=True)
class Fields:
    """The fields of a table, and the column names by which they are known.

    Attributes:
        aliases: field -> accepted column names, best first, as `normal_name` writes them.
        required: fields that must have a column; of a tuple one of the fields.
        fix: advice where one is missing.
    """

    aliases: Mapping[str, Sequence[str]]
    required: Sequence[str | tuple[str, ...]] = ()
    fix: str | None = None

    @classmethod
    def named(cls, *required: str | tuple[str, ...], optional: Sequence[str] = ()) -> Self:
        """Fields that are known by their own names only."""
        groups = [(each,) if isinstance(each, str) else each for each in required]
        names = [name for group in (*groups, optional) for name in group]
        return cls({name: (name,) for name in names}, required)

    def choose(self, found: Sequence[str]) -> dict[str, int]:
        """Field -> index of the column in `found` that holds it; other columns are left out.

        Raises:
            SchemaError: a required column is missing, or two columns have the name of one field.
        """
        names = [normal_name(column) for column in found]
        chosen: dict[str, int] = {}
        for field, accepted in self.aliases.items():
            name = next((alias for alias in accepted if alias in names), None)
            if name is None:
                continue
            if names.count(name) > 1:
                raise SchemaError(
                    f"two columns could be {field!r}",
                    found=[column for column, other in zip(found, names, strict=True) if other == name],
                    expected=f"one column named {name!r}",
                    fix="Rename or remove the other",
                )
            chosen[field] = names.index(name)
        groups = [(each,) if isinstance(each, str) else each for each in self.required]
        if missing := [group for group in groups if not chosen.keys() & set(group)]:
            raise SchemaError(
                f"the table has no column for {' and '.join(' or '.join(group) for group in missing)}",
                found=f"columns {list(found)}",
                expected="; ".join(
                    " or ".join(alias for field in group for alias in self.aliases[field])
                    for group in missing
                ),
                fix=self.fix,
            )
        return chosen

    def are_header(self, cells: Mapping[str, str]) -> bool:
        """Whether a row is a header again, as where one file was put behind another."""
        for field, cell in cells.items():
            # Most rows are told by their first cell: it is too long for a name, or a number.
            if len(cell) >= 30 or cell[:1].isdigit() or normal_name(cell) not in self.aliases[field]:
                return False
        return True


def read_rows(path: Path, fields: Fields, what: str) -> Rows:
    """The rows of `path`, in the format that its suffix names.

    Args:
        path: .csv, .tsv, .jsonl (also .ndjson, .json) or .parquet (also .pq).
        fields: which columns are read.
        what: what is read, for messages: "triplets".

    Raises:
        SchemaError: no such file, another suffix, or a fault of the whole file.
    """
    reader = {
        ".csv": csv_rows,
        ".tsv": csv_rows,
        ".jsonl": _json_rows,
        ".ndjson": _json_rows,
        ".json": _json_rows,
        ".parquet": parquet_rows,
        ".pq": parquet_rows,
    }.get(path.suffix.lower())
    if reader is None:
        raise SchemaError(
            f"this is not a format that {what} are read from",
            file=path,
            found=f"suffix {path.suffix!r}",
            expected=".csv, .tsv, .jsonl (one JSON object a line) or .parquet",
        )
    if not path.is_file():
        raise SchemaError(
            "the path is a folder, not a file" if path.is_dir() else "the file does not exist", file=path
        )
    return reader(path, fields)


def whole(rows: Rows) -> Iterator[tuple[int, Cells]]:
    """The same rows of a table in which no row may be broken: the first that is one is raised."""
    for row, cells in rows:
        if isinstance(cells, SchemaError):
            raise cells
        yield row, cells


def open_table(path: Path, fields: Fields) -> tuple[CsvFile, dict[str, int]]:
    """A CSV file, read with the first delimiter whose header has the columns, and where these stand.

    Raises:
        SchemaError: no such file, not UTF-8, or what `Fields.choose` raises of the delimiter that splits the header best.
    """
    errors: list[tuple[int, SchemaError]] = []
    for delimiter in DELIMITERS:
        width = 0
        try:
            file = open_csv(path, delimiter)
            width = len(file.first) if len(file.first) > 1 else 0
            return file, fields.choose(file.first)
        except SchemaError as error:
            errors.append((width, error.at(path)))
    raise max(errors, key=lambda each: each[0])[1]


def csv_rows(path: Path, fields: Fields) -> Rows:
    """Rows of delimited text, whatever its suffix; see `read_rows`. Those of empty cells that a spreadsheet left behind the
    last one with text are none."""
    file, columns = open_table(path, fields)
    empty: list[tuple[int, Cells]] = []  # until one with text follows
    for row, cells in file.records():
        if not isinstance(cells, SchemaError) and not any(map(str.strip, cells)):
            empty.append((row, dict.fromkeys(columns, "")))
            continue
        yield from empty
        empty.clear()
        if isinstance(cells, SchemaError):
            yield row, cells
            continue
        named = {field: cells[at] for field, at in columns.items()}
        if not fields.are_header(named):
            yield row, named
            continue
        error = SchemaError(
            "the header stands here again, as where two files were joined",
            file=path,
            row=row,
            found=", ".join(cells),
            fix="Take it out",
        )
        yield row, error


def _json_rows(path: Path, fields: Fields) -> Rows:
    columns_of: dict[tuple[str, ...], dict[str, str] | SchemaError] = {}
    row = -1
    check_text(path)
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as handle:
            for line in handle:
                if not line.strip():
                    continue
                row += 1
                if row == 0 and line.lstrip().startswith("["):
                    raise SchemaError(
                        "the file holds a JSON array instead of JSON Lines",
                        file=path,
                        expected="one JSON object a line",
                        fix="Convert it: `jq -c '.[]' in.json > out.jsonl`",
                    )
                yield row, _json_cells(line, row, path, fields, columns_of)
    except UnicodeDecodeError as error:
        refuse_encoding(path, error)
    if row < 0:
        raise SchemaError("the file is empty", file=path, expected="one JSON object a line")


def _json_cells(
    line: str,
    row: int,
    path: Path,
    fields: Fields,
    columns_of: dict[tuple[str, ...], dict[str, str] | SchemaError],
) -> Cells | SchemaError:
    """The fields of one line. `columns_of`: what was chosen of the names of earlier lines."""
    try:
        record = read_json_object(line)
    except ValueError as error:
        return SchemaError(
            "a line is not a JSON object", file=path, row=row, found=str(error), expected="{…}"
        )
    names = tuple(record)
    if names not in columns_of:
        try:
            columns_of[names] = {field: names[at] for field, at in fields.choose(names).items()}
        except SchemaError as error:
            if row == 0:
                raise error.at(path) from None
            columns_of[names] = error
    columns = columns_of[names]
    if isinstance(columns, SchemaError):
        return copy.copy(columns).at(path, row)
    return {field: plain_cell(record[name], field) for field, name in columns.items()}


def plain_cell(value: Any, field: str) -> Any:
    """A cell of Parquet or JSON: a video by its name, bytes that are text as text, a decimal as a number, any other value
    as it is."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            text = value.decode()
            if field not in _VIDEO_FIELDS or (text.isprintable() and ("." in text or "/" in text)):
                return text
        if field not in _VIDEO_FIELDS:
            return value
    return _named_video(value)


def _named_video(value: Any) -> Any:
    """The name of the video that a cell holds; any other value as it is."""
    inner = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(inner, bytes):
        return f"sha256-{hashlib.sha256(inner).hexdigest()[:16]}" if inner else None
    if isinstance(inner, Mapping) and "path" in inner and inner.keys() <= {"bytes", "path"}:
        path, data = inner["path"], inner.get("bytes")
        return path if path or not isinstance(data, bytes) else _named_video(data)
    return value


def parquet_rows(path: Path, fields: Fields) -> Rows:
    """Rows of a Parquet file, whatever its suffix; see `read_rows`. Only the columns that are chosen are read: the
    videos of a published dataset stay on the disk."""
    import pyarrow.parquet as pq

    with parquet_errors(path), pq.ParquetFile(path) as file:
        metadata = file.schema_arrow.metadata or {}
        if b"schema_version" in metadata:
            check_schema_version(metadata, file=str(path))
        names = file.schema_arrow.names
        try:
            columns = {field: names[at] for field, at in fields.choose(names).items()}
        except SchemaError as error:
            raise error.at(path) from None
        labels = _class_labels(metadata)
        row = -1
        leaves, rows = _leaves(file, list(columns.values()))
        for batch in file.iter_batches(batch_size=rows, columns=leaves):
            lists = []
            for field, name in columns.items():
                values = batch.column(batch.schema.get_field_index(name)).to_pylist()
                if values and isinstance(values[0], dict | list | bytes | Decimal | None):
                    values = [plain_cell(value, field) for value in values]
                if name in labels:
                    values = [labels[name].get(value, value) for value in values]
                elif exact := _EXACT_IN.get(str(batch.schema.field(name).type)):
                    # As a rounded number is written: what is an id refuses it, a time reads it.
                    values = [f"{v:e}" if v is not None and abs(v) >= exact else v for v in values]
                lists.append(values)
            for cells in zip(*lists, strict=True):
                row += 1
                yield row, dict(zip(columns, cells, strict=True))


def _leaves(file: "pq.ParquetFile", columns: list[str]) -> tuple[list[str], int]:
    """What to read of a Parquet file for `columns`, and how many rows at once: of videos with paths the paths alone, as
    all their bytes would not fit into memory."""
    import pyarrow as pa
    import pyarrow.compute as pc

    leaves, rows = [], PARQUET_BATCH
    for name in columns:
        kind = file.schema_arrow.field(name).type
        many = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        inner = kind.value_type if many else kind
        if pa.types.is_struct(inner) and inner.get_field_index("path") >= 0:
            leaf = f"{name}.list.element.path" if many else f"{name}.path"
            videos = file.read(columns=[leaf]).column(0).combine_chunks()
            paths = pc.struct_field(pc.list_flatten(videos) if many else videos, "path")
            if paths.null_count == 0:
                leaves.append(leaf)
                continue
            rows = _VIDEO_BATCH
        elif pa.types.is_binary(inner) or pa.types.is_large_binary(inner):
            rows = _VIDEO_BATCH
        leaves.append(name)
    return leaves, rows


def _class_labels(metadata: Mapping[bytes, bytes]) -> dict[str, dict[Any, str]]:
    """Column -> {number: name} for the `ClassLabel` columns that `datasets` notes in a Parquet file."""
    try:
        features = parse_json(metadata[b"huggingface"])["info"]["features"]
        return {
            column: dict(enumerate(feature["names"]))
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except OTHER_FORM:
        return {}
