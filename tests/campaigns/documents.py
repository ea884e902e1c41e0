"""Files as what is in them, so that a mutation can change their structure: JSON, lines of JSON, YAML, CSV, Parquet.

document = read(path)              # by its suffix; bytes where it is no such file
data = mutated(document, steps)    # the bytes of the file after some steps, each told by a number
"""

import copy
import csv
import io
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .values import WORDS, mutate_bytes, mutate_cells, mutate_tree, odd_name, odd_value

_DEEP = re.compile(r'"\\u0001deep-([\[{])-(\d+)\\u0001"')


@dataclass(frozen=True)
class Document:
    """A file.

    Attributes:
        kind: json, jsonl, yaml, csv, parquet or bytes.
        content: a tree, a list of them, rows of cells, an Arrow table, or bytes.
        data: the file as it is.
    """

    kind: str
    content: Any
    data: bytes


def read(path: Path, kind: str | None = None) -> Document:
    """A valid file by its suffix."""
    data = path.read_bytes()
    suffixes = {
        "json": "json",
        "jsonl": "jsonl",
        "yaml": "yaml",
        "yml": "yaml",
        "csv": "csv",
        "parquet": "parquet",
    }
    kind = kind or suffixes.get(path.suffix.lower().lstrip("."), "bytes")
    content: Any = data
    if kind == "json":
        content = json.loads(data)
    elif kind == "jsonl":
        content = [json.loads(line) for line in data.decode().splitlines() if line.strip()]
    elif kind == "yaml":
        import yaml

        content = yaml.safe_load(data)
    elif kind == "csv":
        content = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    elif kind == "parquet":
        import pyarrow.parquet as pq

        content = pq.read_table(io.BytesIO(data))
    return Document(kind, content, data)


def mutated(document: Document, steps: Sequence[int], other: bytes = b"") -> bytes:
    """The file after the steps, each of which is drawn from its own number: fewer steps are a smaller mutation.

    Args:
        document: of a valid file; it is left as it is.
        steps: a number each. Odd ones change bytes, even ones the structure where the kind has one.
        other: bytes of another file, spliced in now and then.
    """
    structural = [step for step in steps if step % 2 == 0 and document.kind != "bytes"]
    data = document.data if not structural else _rendered(document, structural)
    for step in steps:
        if step not in structural:
            data = mutate_bytes(data, random.Random(step), other)
    return data


def _rendered(document: Document, steps: Sequence[int]) -> bytes:
    kind = document.kind
    if kind == "parquet":
        table = document.content
        for step in steps:
            table = _mutate_table(table, random.Random(step))
        return _parquet(table, random.Random(steps[0]))
    content = copy.deepcopy(document.content)
    for step in steps:
        rng = random.Random(step)
        if kind == "csv":
            content = mutate_cells(content, rng)
        elif kind == "jsonl" and isinstance(content, list) and content and rng.random() < 0.8:
            at = rng.randrange(len(content))
            content[at] = mutate_tree(content[at], rng)
        else:
            content = mutate_tree(content, rng)
    if kind == "csv":
        return _csv(content, random.Random(steps[0]))
    if kind == "jsonl":
        lines = content if isinstance(content, list) else [content]
        return b"".join(_json(line) + b"\n" for line in lines)
    # JSON is YAML as well, and PyYAML writes neither huge depths nor names that stand twice.
    return _json(content, indent=2 if steps[0] % 4 == 0 else None)


def _json(tree: Any, indent: int | None = None) -> bytes:
    text = json.dumps(tree, indent=indent, default=str)
    return _DEEP.sub(_brackets, text).encode("utf-8", "surrogatepass")


def _brackets(found: re.Match[str]) -> str:
    depth = int(found[2])
    return "[" * depth + "]" * depth if found[1] == "[" else '{"a":' * depth + "1" + "}" * depth


def _csv(rows: Any, rng: random.Random) -> bytes:
    text = io.StringIO(newline="")
    ends, delimiters = ("\n", "\n", "\n", "\r\n", "\r"), (",", ",", ",", ";", "\t")
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    writer = csv.writer(
        text, lineterminator=rng.choice(ends), delimiter=rng.choice(delimiters), quoting=quoting
    )
    writer.writerows(rows)
    encoding = rng.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"))
    return text.getvalue().encode(encoding, "surrogatepass" if "utf" in encoding else "replace")


def _mutate_table(table: Any, rng: random.Random) -> Any:
    """One mutation of an Arrow table: its columns, their types, its rows, its metadata, a cell."""
    import pyarrow as pa

    columns = len(table.column_names)
    if not columns:
        return pa.table({"x": [1]})
    at, what = rng.randrange(columns), rng.randrange(9)
    name, column = table.column_names[at], table.column(at).combine_chunks()
    values: list[Any] = column.to_pylist() if what >= 6 else []
    if what == 0:
        return table.remove_column(at)
    if what == 1:
        return table.rename_columns(
            [
                odd_name(n, rng).encode("utf-8", "replace").decode() if i == at else n
                for i, n in enumerate(table.column_names)
            ]
        )
    if what == 2:
        return table.append_column(name, column)
    if what == 3:
        rows = (
            [rng.randrange(len(table)) for _ in range(rng.choice((0, 1, len(table), 2 * len(table))))]
            if len(table)
            else []
        )
        return table.take(pa.array(rows, pa.int64()))
    if what == 4:
        metadata = dict(table.schema.metadata or {})
        key = rng.choice([*metadata, b"x"])
        metadata[key] = mutate_bytes(metadata.get(key, b"y"), rng)
        return table.replace_schema_metadata({k: v for k, v in metadata.items() if rng.random() < 0.9})
    if what == 5:
        kind = rng.choice(
            (
                pa.string(),
                pa.binary(),
                pa.large_string(),
                pa.int8(),
                pa.int64(),
                pa.uint64(),
                pa.float16(),
                pa.float64(),
                pa.bool_(),
                pa.null(),
                pa.timestamp("ns"),
                pa.dictionary(pa.int8(), pa.string()),
                pa.decimal128(10, 2),
            )
        )
        try:
            changed = column.cast(kind, safe=False)
        except (pa.ArrowException, ValueError):
            changed = pa.nulls(len(table), kind)
        return table.set_column(at, name, changed)
    if what == 6 and values:  # a cell becomes another
        values[rng.randrange(len(values))] = rng.choice((None, odd_value(rng), rng.choice(values)))
    elif what == 7:
        values = [[value] for value in values]
    elif what == 8:
        values = [{rng.choice(("a", "bytes", "path")): value} for value in values]
    return table.set_column(at, name, _array(values, column.type))


def _array(values: list[Any], kind: Any) -> Any:
    """Values as they were typed before, as Arrow would type them, or as text, whichever works first."""
    import pyarrow as pa

    for how in (lambda: pa.array(values, kind), lambda: pa.array(values)):
        try:
            return how()
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            continue
    texts = [None if value is None else str(value).encode("utf-8", "surrogatepass") for value in values]
    # Text that is no UTF-8 gets into files of others: Arrow does not look at it.
    return pa.array(texts, pa.binary()).view(pa.string())


def _parquet(table: Any, rng: random.Random) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    try:
        pq.write_table(
            table, sink, compression=rng.choice(("none", "zstd", "snappy", "gzip")), row_group_size=rng.choice((None, 1, 3)),
            use_dictionary=rng.random() < 0.7,
        )  # fmt: skip
    except (pa.ArrowException, ValueError, OSError):  # what cannot be written
        return rng.choice(WORDS).encode("utf-8", "surrogatepass")
    return sink.getvalue()
