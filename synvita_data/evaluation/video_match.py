"""Which video of a task does a path in a score file mean?"""

from pathlib import Path

import numpy as np

from ..csv_columns import Column
from ..errors import ScoreError, SynvitaError
from ..tasks.annotations import Annotations, Ints
from ..video_names import name_video


def match_videos(paths: Column, annotations: Annotations, file: Path) -> tuple[Ints, dict[int, str]]:
    """Video of the annotations for each distinct path, -1 for none, and why there is none.

    Scripts write a path under their own data folder, so a path means the video whose path in the annotations
    it ends with, whole folders only, the longest first. Where annotations give ids alone (NExT-QA's
    statements, VideoCon-Human's addresses), or spell paths in another way (SynViTA's flattened names), a path
    means the one video of its name. `<source>_<name>`, our own id, is understood too.

    Raises:
        ScoreError: two paths of the file mean one video, so that scores of different files would mix.
    """
    by_path: dict[str, int] = {}
    by_name: dict[tuple[str, str], int] = {}
    for code, video in enumerate(annotations.videos):
        by_path[video.video_id] = code
        if video.videopath:
            by_path[_normal(video.videopath)] = code
        by_name[video.source, video.name] = code
    sources = sorted({video.source for video in annotations.videos})
    result = np.full(len(paths.values), -1, np.int64)
    why: dict[int, str] = {}
    taken: dict[int, str] = {}
    for position, cell in enumerate(paths.values):
        found = _by_ending(cell, by_path)
        if not found:
            found = _by_name(cell, by_name, sources)
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


def _by_ending(cell: str, by_path: dict[str, int]) -> set[int]:
    ending = _normal(cell)
    while ending:
        if ending in by_path:
            return {by_path[ending]}
        ending = ending.partition("/")[2]
    return set()


def _by_name(cell: str, by_name: dict[tuple[str, str], int], sources: list[str]) -> set[int]:
    found = set()
    for source in sources:
        try:
            name = name_video(source, _normal(cell)).video_id
        except SynvitaError:
            continue
        if (source, name) in by_name:
            found.add(by_name[source, name])
    return found


def _normal(path: str) -> str:
    """Forward slashes, no `.` parts, no slash at the ends."""
    return "/".join(part for part in path.strip().replace("\\", "/").split("/") if part not in ("", "."))
