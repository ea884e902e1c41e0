"""Read a mapping file: which file of the user's is which video of a source dataset."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SchemaError
from ..files import resolve_under
from ..tables.cells import given_text, id_text, read_json_object, strip_cell, unique_names
from ..tables.csv_text import read_table, refuse_encoding

_KEYS = ("videopath", "video_key", "video", "id")
_PATHS = ("path", "file")
_TRUE_FALSE = {"true": True, "1": True, "1.0": True, "yes": True} | {
    "false": False,
    "0": False,
    "0.0": False,
    "no": False,
}


@dataclass(frozen=True, slots=True)
class MappedVideo:
    """A file, and whether it is cut to the row's start and end already (None: not said)."""

    path: Path
    trimmed: bool | None = None


def read_mapping(mapping: str | Path | Mapping[str, str], root: Path) -> dict[str, MappedVideo]:
    """Videopath or `<source>_<video_id>` -> file under `root`. The files need not exist.

    Args:
        mapping: a dictionary; a .json file with an object `{key: path}`; or a .csv, .tsv or .jsonl file whose
            columns are `videopath` (or `video_key`, `video`, `id`), `path` (or `file`), relative to
            `root`, and maybe `trimmed`.

    Raises:
        SchemaError: the file cannot be read, lacks a column, or names one video twice.
        UnsafePathError: a path that leaves `root`.
    """
    if isinstance(mapping, Mapping):
        file, rows = "mapping", _from_object(mapping)
    else:
        file, rows = str(mapping), _read(Path(mapping))
    result: dict[str, MappedVideo] = {}
    for row, key, path, trimmed in rows:
        # A folder of Windows is one here too, as in the paths of rows.
        path = path.replace("\\", "/")
        video = MappedVideo(resolve_under(root, path, file=file, row=row), trimmed)
        if result.setdefault(key, video) != video:
            raise SchemaError("the mapping gives two files for one video", file=file, row=row, found=key)
    return result


_Row = tuple[int | str, str, str, bool | None]


def _read(path: Path) -> Iterator[_Row]:
    if not path.is_file():
        raise SchemaError("no such mapping file", file=path)
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        yield from _from_table(path)
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            if suffix == ".json":
                yield from _from_object(json.load(handle, object_pairs_hook=unique_names))
            elif suffix == ".jsonl":
                lines = (read_json_object(line) for line in handle if line.strip())
                yield from (_row(row, record, path) for row, record in enumerate(lines))
            else:
                raise SchemaError(
                    "not a format of mapping files", file=path, expected=".csv, .tsv, .json or .jsonl"
                )
    except UnicodeDecodeError as error:
        refuse_encoding(path, error)
    except (ValueError, RecursionError) as error:  # also JSONDecodeError
        raise SchemaError("the mapping file cannot be read", file=path, found=str(error)) from error


def _from_table(path: Path) -> Iterator[_Row]:
    header, rows = read_table(path)
    names = [strip_cell(name).lower() for name in header]
    if twice := [name for name in (*_KEYS, *_PATHS, "trimmed") if names.count(name) > 1]:
        raise SchemaError(f"two columns are named {twice[0]}", file=path, found=", ".join(names))
    for row, cells in rows:
        yield _row(row, dict(zip(names, cells, strict=True)), path)


def _from_object(mapping: Any) -> Iterator[_Row]:
    if not isinstance(mapping, Mapping) or not all(isinstance(v, str) for v in mapping.values()):
        raise ValueError("expected one JSON object, {video: path}")
    return ((key, key, path, None) for key, path in mapping.items())


def _row(row: int, record: Any, file: Path) -> _Row:
    cells = {strip_cell(str(name)).lower(): value for name, value in record.items()}
    try:
        given = {
            name: id_text(text if isinstance(cells[name], str) else cells[name], name)
            for name in (*_KEYS, *_PATHS)
            if (text := given_text(cells.get(name), name)) is not None
        }
    except SchemaError as error:
        error.file, error.row = str(file), row
        error.args = (str(error),)
        raise
    key = next((given[name] for name in _KEYS if name in given), None)
    path = next((given[name] for name in _PATHS if name in given), None)
    if key is None or path is None:
        raise SchemaError(
            "a row of the mapping does not name a video and a file",
            file=file,
            row=row,
            found=dict(record),
            expected=f"one of {', '.join(_KEYS)}, and one of {', '.join(_PATHS)}",
        )
    trimmed = (given_text(cells.get("trimmed"), "trimmed") or "").lower()
    if trimmed and trimmed not in _TRUE_FALSE:
        raise SchemaError("trimmed is not true or false", file=file, row=row, found=cells["trimmed"])
    return row, key, path, _TRUE_FALSE[trimmed] if trimmed else None
