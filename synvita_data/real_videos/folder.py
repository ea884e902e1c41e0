"""List the video files of a folder, without ever leaving it through a symlink."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import SourceError, SynvitaError, UnsafePathError
from .names import VIDEO_SUFFIXES


def walk_videos(root: Path, on_bad: Callable[[SynvitaError], None]) -> Iterator[str]:
    """Paths of all video files below `root`, relative to it, POSIX-style, in a fixed order.

    Hidden files and folders (`.cache`, `._video1.mp4`) are skipped. Symlinks are followed where their
    target is inside `root`, except back to a folder above themselves; every other symlink is given
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
            if not Path(target).is_relative_to(root):
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
        if entry.is_dir():
            if target not in above:  # a link to a folder above itself would never end
                yield from _walk(target, f"{relative}/", (*above, target), root, on_bad)
        elif os.path.splitext(entry.name)[1].lower() in VIDEO_SUFFIXES and entry.is_file():  # noqa: PTH122
            yield relative
