"""Where a video's bytes come from, and how large it may be.

A source is a path, bytes in memory, or the `{"bytes", "path"}` struct of a dataset row.
"""

import io
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import MissingVideoError, NotAVideoError, VideoTooLargeError
from ..files import kind_of

# What `probe`, `check_video` and `decode` accept.
VideoSource = str | os.PathLike[str] | bytes | bytearray | memoryview | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a video may be before it is refused: a guard against decompression bombs and wrong files.

    The defaults pass 8K frames and two hours at 30 frames a second.

    Attributes:
        max_bytes: size of the file.
        max_pixels: width times height of one stored frame; also enforced inside the decoder, so that a
            stream whose headers lie is stopped before its frames are allocated.
        max_frames: frames in the video stream.
        max_seconds: duration of the video stream.
        max_output_bytes: size of the RGB array that one `decode` returns.
    """

    max_bytes: int = 4 << 30
    max_pixels: int = 7680 * 4320
    max_frames: int = 216_000
    max_seconds: float = 7200.0
    max_output_bytes: int = 4 << 30


@dataclass(frozen=True, slots=True)
class Source:
    """One video to read.

    Attributes:
        name: what messages and `Frames.source` call it.
        content: its path, or its bytes.
        size: of the file, in bytes.
        limits: how large it may be.
    """

    name: str
    content: Path | bytes
    size: int
    limits: Limits

    def open(self) -> BinaryIO:
        """A fresh handle on the bytes: never shared between calls, threads or forked processes."""
        if isinstance(self.content, bytes):
            return io.BytesIO(self.content)  # shares the memory of `bytes`, copies nothing
        try:
            return self.content.open("rb")
        except OSError as error:
            raise MissingVideoError("a video cannot be opened", file=self.name, found=str(error)) from error

    def check(self, limit: str, found: float, what: str, fix: str | None = None) -> None:
        """Raise `VideoTooLargeError` if the video exceeds one of its limits.

        Args:
            limit: an attribute of `Limits`.
            found: what the video has of it.
            what: the quantity in words, with its unit.
            fix: what the user can do instead of raising the limit.
        """
        allowed = getattr(self.limits, limit)
        if found > allowed:
            raise VideoTooLargeError(
                f"a video is too large ({what})",
                file=self.name,
                found=f"{found:,.10g}",
                expected=f"at most {allowed:,.10g} (Limits.{limit})",
                fix=fix or f"Raise Limits({limit}=…) if the file is meant to be this large",
            )

    def describe(self) -> str:
        """What the first bytes look like, in words."""
        with self.open() as handle:
            head = handle.read(64)
        return kind_of(head) or f"{self.size:,} bytes that begin with {head[:16]!r}"


def resolve(source: VideoSource, limits: Limits = Limits()) -> Source:
    """Name, size and kind of `source`, checked before anything is parsed.

    Raises:
        MissingVideoError: the file does not exist or cannot be read, or a struct with neither bytes nor path.
        NotAVideoError: empty, or a folder, pipe or device.
        VideoTooLargeError: over `limits.max_bytes`.
    """
    data: Any = source
    name = None
    if isinstance(source, Mapping):
        data, name = source.get("bytes"), source.get("path")
        if data is None and not name:
            raise MissingVideoError(
                "a dataset row holds no video", found="bytes and path both null", expected="one of them"
            )
        data = name if data is None else data
    if isinstance(data, bytes | bytearray | memoryview):
        content = bytes(data)
        resolved = Source(str(name or f"<{len(content)} bytes>"), content, len(content), limits)
    elif isinstance(data, str | os.PathLike):
        path = Path(data)
        resolved = Source(str(path), path, _file_size(path), limits)
    else:
        raise MissingVideoError(
            "this is not a video source",
            found=type(data).__name__,
            expected="a path, bytes, or a mapping with 'bytes' and 'path'",
        )
    if resolved.size == 0:
        raise NotAVideoError("a video file is empty", file=resolved.name, found="0 bytes", expected="a video")
    resolved.check("max_bytes", resolved.size, "bytes")
    return resolved


def _file_size(path: Path) -> int:
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise MissingVideoError(
            "the video file does not exist or cannot be read", file=repr(str(path))[1:-1], found=str(error)
        ) from error
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise NotAVideoError(
            "the path of a video is not a file", file=path, found=kind, expected="a video file"
        )
    return status.st_size
