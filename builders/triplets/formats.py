"""Stream the rows of CSV, JSON Lines and Parquet files as dictionaries of the fields of a `Triplet`.

All three yield `(row, cells)` with `row` counted from 0 (blank lines do not count, as in pandas) and
`cells` mapping the fields that the file has to raw values, or `(row, error)` for a row that is
broken in itself. Faults of the whole file (not UTF-8, no such columns, empty) are raised.
"""

import json
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

from synvita_data.errors import SchemaError
from synvita_data.tables.cells import read_json_object
from synvita_data.tables.csv_text import (
    DELIMITERS,
    choose_dialect,
    first_record,
    read_records,
    refuse_encoding,
    wrong_width,
)

from .columns import ALIASES, choose_columns, normal_name

Cells = dict[str, Any]
Rows = Iterator[tuple[int, Cells | SchemaError]]

PARQUET_BATCH = 4096
# Arrow's short floats -> from where on they do not hold every whole number.
_EXACT_IN = {"halffloat": 1 << 11, "float": 1 << 24}


def read_rows(path: Path) -> Rows:
    """The rows of `path`, in the format its suffix names.

    Raises:
        SchemaError: no such file, another suffix, or a fault of the whole file.
    """
    reader = {
        ".csv": _csv_rows,
        ".tsv": _csv_rows,
        ".jsonl": _json_rows,
        ".ndjson": _json_rows,
        ".json": _json_rows,
        ".parquet": _parquet_rows,
    }.get(path.suffix.lower())
    if reader is None:
        raise SchemaError(
            "not a format that triplets are read from",
            file=path,
            found=f"suffix {path.suffix!r}",
            expected=".csv, .tsv, .jsonl (one JSON object a line) or .parquet",
        )
    if path.is_dir():
        raise SchemaError("a folder, not a file", file=path)
    if not path.is_file():
        raise SchemaError("no such file", file=path)
    try:
        yield from reader(path)
    except UnicodeDecodeError as error:
        refuse_encoding(path, error)


def _csv_rows(path: Path) -> Rows:
    delimiter, width, columns = _csv_header(path)
    fields, indices = list(columns), list(columns.values())
    pick = itemgetter(*indices)  # at least caption and neg_caption: always a tuple
    row = -1
    for row, values in read_records(path, choose_dialect(path, delimiter), has_header=True):
        if row < 0:
            continue
        if isinstance(values, SchemaError):
            yield row, values
        elif len(values) == width:
            cells = dict(zip(fields, pick(values), strict=True))
            if len(cells["caption"]) < 30 and _is_header(values, columns):
                yield (
                    row,
                    SchemaError(
                        "the header stands here again, as where two files were joined",
                        file=path,
                        row=row,
                        found=", ".join(values),
                        fix="Take it out",
                    ),
                )
            else:
                yield row, cells
        else:
            yield row, wrong_width(path, row, values, width)
    if row < 0:
        raise SchemaError("the file has a header but no rows", file=path)


def _is_header(cells: list[str], columns: dict[str, int]) -> bool:
    """Whether a row is the header again, as where one file was put behind another."""
    return all(normal_name(cells[index]) in ALIASES[field] for field, index in columns.items())


def _csv_header(path: Path) -> tuple[str, int, dict[str, int]]:
    """Delimiter, number of columns and field -> column index; the first delimiter that fits is taken."""
    first_error: SchemaError | None = None
    for delimiter in DELIMITERS:
        try:
            header = first_record(path, delimiter)
            return delimiter, len(header), choose_columns(header, path)
        except SchemaError as error:
            first_error = first_error or error
    assert first_error is not None
    raise first_error


def _json_rows(path: Path) -> Rows:
    columns_of: dict[tuple[str, ...], dict[str, str] | SchemaError] = {}
    row = -1
    with path.open(encoding="utf-8-sig", newline="\n") as handle:
        for line in handle:
            if not line.strip():
                continue
            row += 1
            if row == 0 and line.lstrip().startswith("["):
                raise SchemaError(
                    "a JSON array instead of JSON Lines",
                    file=path,
                    expected="one JSON object a line",
                    fix="Convert it: `jq -c '.[]' in.json > out.jsonl`",
                )
            try:
                record = read_json_object(line)
            except (ValueError, RecursionError) as error:
                yield (
                    row,
                    SchemaError(
                        "a line is not a JSON object", file=path, row=row, found=str(error), expected="{…}"
                    ),
                )
                continue
            keys = tuple(record)
            if keys not in columns_of:
                try:
                    columns_of[keys] = {f: keys[i] for f, i in choose_columns(keys, path).items()}
                except SchemaError as error:
                    if row == 0:
                        raise
                    columns_of[keys] = error
            columns = columns_of[keys]
            if isinstance(columns, SchemaError):
                yield (
                    row,
                    SchemaError(
                        columns.problem, file=path, row=row, found=columns.found, expected=columns.expected
                    ),
                )
            else:
                yield row, {field: record[key] for field, key in columns.items()}
    if row < 0:
        raise SchemaError("the file is empty", file=path, expected="one JSON object a line")


def _parquet_rows(path: Path) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise SchemaError("not a readable Parquet file", file=path, found=str(error)) from error
    with file:
        names = file.schema_arrow.names
        columns = {field: names[index] for field, index in choose_columns(names, path).items()}
        labels = _class_labels(file.schema_arrow.metadata)
        row = -1
        # Only the columns that are used: the videos of a published dataset stay on the disk.
        for batch in file.iter_batches(batch_size=PARQUET_BATCH, columns=list(columns.values())):
            lists = []
            for name in columns.values():
                values = batch.column(batch.schema.get_field_index(name)).to_pylist()
                if name in labels:
                    values = [labels[name].get(value, value) for value in values]
                elif exact := _EXACT_IN.get(str(batch.schema.field(name).type)):
                    # As a rounded number is written: what is an id refuses it, a time reads it.
                    values = [f"{v:e}" if v is not None and abs(v) >= exact else v for v in values]
                lists.append(values)
            for cells in zip(*lists, strict=True):
                row += 1
                yield row, dict(zip(columns, cells, strict=True))
    if row < 0:
        raise SchemaError("the file has no rows", file=path)


def _class_labels(metadata: dict[bytes, bytes] | None) -> dict[str, dict[Any, str]]:
    """Column -> {number: name} for the `ClassLabel` columns that `datasets` notes in a Parquet file."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {
            column: dict(enumerate(feature["names"]))
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError):
        return {}
