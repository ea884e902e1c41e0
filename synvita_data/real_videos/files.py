"""The files of a user's folder of real videos: all of them, or those that a mapping names."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SchemaError, SourceError, SynvitaError, UnsafePathError, located
from ..files import parse_json, resolve_under, stays_inside
from ..tables.cells import given_id, given_text, read_choice, unique_names
from ..tables.csv import refuse_encoding
from ..tables.rows import Fields, read_rows, whole
from .names import VIDEO_SUFFIXES

_KEYS = ("videopath", "video_key", "video", "id")
_PATHS = ("path", "file")
_FIELDS = Fields.named(_KEYS, _PATHS, optional=("trimmed",))


def walk_videos(root: Path, on_bad: Callable[[SynvitaError], None]) -> Iterator[str]:
    """Paths of all video files below `root`, relative to it, POSIX-style, in a fixed order.

    Hidden files and folders (`.cache`, `._video1.mp4`) are skipped. Symlinks are followed where their
    target is inside `root` (`stays_inside`), except back to a folder above themselves; every other symlink is given
    to `on_bad` as an `UnsafePathError` and not followed. So is a folder that cannot be read.
    """
    real_root = os.path.realpath(root)
    yield from _walk(real_root, "", (real_root,), real_root, on_bad)


def _walk(
    folder: str, prefix: str, above: tuple[str, ...], root: str, on_bad: Callable[[SynvitaError], None]
) -> Iterator[str]:
    try:
        with os.scandir(folder) as handle:
            entries = sorted((e for e in handle if e.name[0] != "."), key=lambda entry: entry.name)
    except OSError as error:
        on_bad(SourceError("a folder cannot be read", file=folder, found=error.strerror))
        return
    for entry in entries:
        relative = f"{prefix}{entry.name}"
        target = entry.path
        if entry.is_symlink():
            target = os.path.realpath(entry.path)
            if not stays_inside(Path(target), Path(root)):
                on_bad(
                    UnsafePathError(
                        "a symlink leads out of its folder and was not followed",
                        file=entry.path,
                        found=target,
                        expected=f"a target inside {root}",
                        fix="Name the folder it points to, or copy the files in",
                    )
                )
                continue
        try:
            is_folder = entry.is_dir()
        except OSError as error:  # a link that leads to itself
            on_bad(SourceError("a link leads nowhere", file=entry.path, found=error.strerror))
            continue
        if is_folder:
            if target not in above:  # a link to a folder above itself would never end
                yield from _walk(target, f"{relative}/", (*above, target), root, on_bad)
        elif os.path.splitext(entry.name)[1].lower() in VIDEO_SUFFIXES and entry.is_file():  # noqa: PTH122
            yield relative


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
    file: str | Path = "mapping"
    if isinstance(mapping, Mapping):
        rows = _from_object(mapping, file)
    elif (file := Path(mapping)).suffix.lower() == ".json":
        rows = _from_object(_read_object(file), file)
    else:
        rows = (_row(row, cells, file) for row, cells in whole(read_rows(file, _FIELDS, "mappings")))
    result: dict[str, MappedVideo] = {}
    for row, key, path, trimmed in rows:
        # A folder of Windows is one here too, as in the paths of rows.
        path = path.replace("\\", "/")
        video = MappedVideo(resolve_under(root, path, file=str(file), row=row), trimmed)
        if result.setdefault(key, video) != video:
            raise SchemaError("the mapping gives two files for one video", file=file, row=row, found=key)
    return result


_Row = tuple[int | str, str, str, bool | None]


def _read_object(path: Path) -> Any:
    if not path.is_file():
        raise SchemaError("the mapping file does not exist", file=path)
    try:
        return parse_json(path.read_text(encoding="utf-8-sig"), foreign=True, object_pairs_hook=unique_names)
    except UnicodeDecodeError as error:
        refuse_encoding(path, error)
    except ValueError as error:
        raise SchemaError("the mapping file cannot be read", file=path, found=str(error)) from error


def _from_object(mapping: Any, file: str | Path) -> Iterator[_Row]:
    if not isinstance(mapping, Mapping) or not all(isinstance(v, str) for v in mapping.values()):
        raise SchemaError(
            "the mapping cannot be read", file=file, found=mapping, expected="one JSON object, {video: path}"
        )
    return ((key, key, path, None) for key, path in mapping.items())


def _row(row: int, cells: Mapping[str, Any], file: Path) -> _Row:
    with located(file, row):
        given = {name: given_id(cells.get(name), name) for name in (*_KEYS, *_PATHS)}
        key = next((given[name] for name in _KEYS if given[name] is not None), None)
        path = next((given[name] for name in _PATHS if given[name] is not None), None)
        if key is None or path is None:
            raise SchemaError(
                "a row of the mapping does not name a video and a file",
                found=cells,
                expected=f"one of {', '.join(_KEYS)}, and one of {', '.join(_PATHS)}",
            )
        trimmed = given_text(cells.get("trimmed"), "trimmed")
        return row, key, path, None if trimmed is None else read_choice(trimmed, "trimmed")
