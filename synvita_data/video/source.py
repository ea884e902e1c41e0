"""Where a video's bytes come from: a path, bytes in memory, or the `{"bytes", "path"}` struct of a dataset row."""

import io
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from .errors import MissingVideoError, NotAVideoError
from .limits import Limits

# What `probe`, `check_video` and `decode` accept.
VideoSource = str | os.PathLike[str] | bytes | bytearray | memoryview | Mapping[str, Any]

# First bytes of files that are often found under a video's name, for messages.
_SIGNATURES = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"%PDF", "a PDF"),
    (b"<", "HTML or XML text (a failed download?)"),
    (b"{", "JSON text (a failed download?)"),
    (b"version https://git-lfs", "a Git LFS pointer (run `git lfs pull`)"),
)


@dataclass(frozen=True, slots=True)
class Source:
    """One video to read; `name` is what messages and `Frames.source` call it."""

    name: str
    content: Path | bytes
    size: int

    def open(self) -> BinaryIO:
        """A fresh handle on the bytes: never shared between calls, threads or forked processes."""
        if isinstance(self.content, bytes):
            return io.BytesIO(self.content)  # shares the memory of `bytes`, copies nothing
        try:
            return self.content.open("rb")
        except OSError as error:
            raise MissingVideoError("a video cannot be opened", file=self.name, found=str(error)) from error

    def describe(self) -> str:
        """What the first bytes look like, in words."""
        with self.open() as handle:
            head = handle.read(64)
        for signature, words in _SIGNATURES:
            if head.lstrip().startswith(signature):
                return words
        return f"{self.size:,} bytes that begin with {head[:16]!r}"


def resolve(source: VideoSource, limits: Limits) -> Source:
    """Name, size and kind of `source`, checked before anything is parsed.

    Raises:
        MissingVideoError: no such file, unreadable, or a struct with neither bytes nor path.
        NotAVideoError: empty, or a folder, pipe or device.
        VideoTooLargeError: over `limits.max_bytes`.
    """
    if isinstance(source, Mapping):
        data, path = source.get("bytes"), source.get("path")
        if data is None and path:
            return resolve(path, limits)
        if data is None:
            raise MissingVideoError(
                "a dataset row holds no video", found="bytes and path both null", expected="one of them"
            )
        resolved = Source(str(path or f"<{len(data)} bytes>"), bytes(data), len(data))
    elif isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        resolved = Source(f"<{len(data)} bytes>", data, len(data))
    elif isinstance(source, str | os.PathLike):
        resolved = _resolve_path(Path(source))
    else:
        raise MissingVideoError(
            "this is not a video source",
            found=type(source).__name__,
            expected="a path, bytes, or a mapping with 'bytes' and 'path'",
        )
    if resolved.size == 0:
        raise NotAVideoError("a video file is empty", file=resolved.name, found="0 bytes", expected="a video")
    limits.check("max_bytes", resolved.size, resolved.name, "bytes")
    return resolved


def _resolve_path(path: Path) -> Source:
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise MissingVideoError(
            "there is no such video file", file=repr(str(path))[1:-1], found=str(error)
        ) from error
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise NotAVideoError("a video path is no file", file=path, found=kind, expected="a video file")
    return Source(str(path), path, status.st_size)
