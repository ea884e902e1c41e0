"""Which video of a task does a path in a score file mean?"""

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ScoreError, SynvitaError
from ..real_videos.names import VideoName, flat_name, name_in_scheme, path_id, path_of_id, video_stem
from ..tables.cells import id_text
from ..tables.csv_columns import Column
from ..tasks.annotations import Annotations, Ints

# A path, a path without suffix, or (source, name) -> places in `Annotations.videos`.
_Codes = dict[Any, set[int]]


def match_videos(paths: Column, annotations: Annotations, file: Path) -> tuple[Ints, dict[int, str]]:
    """Video of the annotations for each distinct path, -1 for none, and why there is none.

    Scripts write a path under their own data folder, so a path means the video whose path in the annotations
    it ends with, whole folders only, the longest first; with another suffix, if none ends with it as it is.
    Where annotations give ids alone (NExT-QA's statements, VideoCon-Human's addresses), or spell paths in
    another way (SynViTA's flattened names), a path means the one video of its name. `<source>_<name>`, our
    own id, is understood too. A path that could mean several videos means none.

    Raises:
        ScoreError: two paths of the file mean one video, so that scores of different files would mix.
    """
    by_path: _Codes = {}
    by_bare: _Codes = {}
    by_last: _Codes = {}  # for a path without folders, which contradicts none
    by_name: _Codes = {}
    for code, video in enumerate(annotations.videos):
        by_path.setdefault(video.video_id, set()).add(code)
        # A flattened path is one part; of a name of its source's own it says what the name says.
        for bare in (path_of_id(video.name), flat_name(path_of_id(video.name))):
            by_bare.setdefault(bare.lstrip("/"), set()).add(code)
        if video.videopath:
            by_path.setdefault(_normal(video.videopath), set()).add(code)
            by_bare.setdefault(_bare(video.videopath), set()).add(code)
        by_last.setdefault(path_of_id(video.name).rpartition("/")[2], set()).add(code)
        by_name.setdefault((video.source, video.name), set()).add(code)
    sources = sorted({video.source for video in annotations.videos})
    result = np.full(len(paths.values), -1, np.int64)
    why: dict[int, str] = {}
    taken: dict[int, str] = {}
    for position, cell in enumerate(paths.values):
        normal = _normal(_whole_number(cell))
        found = _by_ending(normal, by_path) or _by_name(normal, by_name, sources)
        found = found or _by_ending(_bare(normal), by_bare)
        if not found and "/" not in normal:
            found = set(by_last.get(_bare(normal), ()))
        if len(found) != 1:
            why[position] = "its name could be several" if found else "no path or name like it"
            continue
        code = found.pop()
        other = taken.setdefault(code, cell)
        if _normal(other) != _normal(cell):
            raise ScoreError(
                "two paths of a score file mean one video",
                file=file,
                row=int(paths.first_rows()[position]),
                found=f"{other} and {cell}, both {annotations.videos[code].video_id}",
                expected="one path for each video",
                fix="Split the file, or write the paths as the annotations do",
            )
        result[position] = code
    return result, why


def _by_ending(path: str, codes: _Codes) -> set[int]:
    ending = path
    while ending:
        if ending in codes:
            return set(codes[ending])
        ending = ending.partition("/")[2]
    return set()


def _by_name(path: str, by_name: _Codes, sources: list[str]) -> set[int]:
    found: set[int] = set()
    for source in sources:
        try:
            name = name_in_scheme(source, video_stem(path)) or VideoName(path_id(path))
        except SynvitaError:
            continue
        found |= by_name.get((source, name.video_id), set())
    return found


def _whole_number(cell: str) -> str:
    """`1524.0` as `1524`; a rounded number is no path of any video."""
    try:
        return id_text(cell.strip(), "a path")
    except SynvitaError:
        return cell


def _normal(path: str) -> str:
    """Forward slashes, no `.` parts, no slash at the ends."""
    return "/".join(part for part in path.strip().replace("\\", "/").split("/") if part not in ("", "."))


def _bare(path: str) -> str:
    folder, slash, name = _normal(path).rpartition("/")
    return f"{folder}{slash}{video_stem(name)}"
