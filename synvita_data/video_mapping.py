"""Read a mapping file: which file of the user's is which video of a source dataset."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import SchemaError
from .files import resolve_under

_KEYS = ("videopath", "video_key", "video", "id")
_PATHS = ("path", "file")
_TRUE_FALSE = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class MappedVideo:
    """A file, and whether it is cut to the row's start and end already (None: not said)."""

    path: Path
    trimmed: bool | None = None


def read_mapping(mapping: str | Path | Mapping[str, str], root: Path) -> dict[str, MappedVideo]:
    """Videopath or `<source>_<video_id>` -> file under `root`. The files need not exist.

    Args:
        mapping: a dictionary; a .json file with an object `{key: path}`; or a .csv or .jsonl file whose
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
        video = MappedVideo(resolve_under(root, path, file=file, row=row), trimmed)
        if result.setdefault(key, video) != video:
            raise SchemaError("the mapping gives two files for one video", file=file, row=row, found=key)
    return result


_Row = tuple[int | str, str, str, bool | None]


def _read(path: Path) -> Iterator[_Row]:
    if not path.is_file():
        raise SchemaError("no such mapping file", file=path)
    suffix = path.suffix.lower()
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            if suffix == ".json":
                yield from _from_object(json.load(handle))
            elif suffix == ".jsonl":
                lines = (json.loads(line) for line in handle if line.strip())
                yield from (_row(row, record, path) for row, record in enumerate(lines))
            elif suffix == ".csv":
                records = csv.DictReader(handle)
                yield from (_row(row, record, path) for row, record in enumerate(records))
            else:
                raise SchemaError(
                    "not a format of mapping files", file=path, expected=".csv, .json or .jsonl"
                )
    except (ValueError, csv.Error) as error:  # also JSONDecodeError, UnicodeDecodeError
        raise SchemaError("the mapping file cannot be read", file=path, found=str(error)) from error


def _from_object(mapping: Any) -> Iterator[_Row]:
    if not isinstance(mapping, Mapping) or not all(isinstance(v, str) for v in mapping.values()):
        raise ValueError("expected one JSON object, {video: path}")
    return ((key, key, path, None) for key, path in mapping.items())


def _row(row: int, record: Any, file: Path) -> _Row:
    if not isinstance(record, Mapping):
        raise ValueError(f"row {row} is not a JSON object")
    cells = {str(name).strip().lower(): value for name, value in record.items()}
    key = next((cells[name] for name in _KEYS if cells.get(name)), None)
    path = next((cells[name] for name in _PATHS if cells.get(name)), None)
    if not isinstance(key, str) or not isinstance(path, str):
        raise SchemaError(
            "a row of the mapping does not name a video and a file",
            file=file,
            row=row,
            found=dict(record),
            expected=f"one of {', '.join(_KEYS)}, and one of {', '.join(_PATHS)}",
        )
    trimmed = cells.get("trimmed")
    if trimmed in (None, ""):
        return row, key.strip(), path.strip(), None
    if str(trimmed).strip().lower() not in _TRUE_FALSE:
        raise SchemaError("trimmed is not true or false", file=file, row=row, found=trimmed)
    return row, key.strip(), path.strip(), _TRUE_FALSE[str(trimmed).strip().lower()]
