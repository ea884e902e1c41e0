"""Opening a video with PyAV: the containers allowed, the limits inside FFmpeg, and its errors in our words.

Every call opens its own container and closes it: nothing of FFmpeg outlives a call, so a process may fork
between two calls, and threads never share a decoder.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import av
from av.stream import Discard, Disposition

from .container_length import find_cut, is_iso
from .errors import NotAVideoError, NoVideoStreamError, TruncatedVideoError
from .limits import Limits
from .source import Source

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

# Demuxers that may run. Others are refused because a file named .mp4 can be a playlist that reads other
# files or URLs (hls, concat), or plain text that FFmpeg draws as a video (tty). Audio formats are here so
# that an audio file is called that.
_CONTAINERS = "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,h264,hevc,m4v,flv,asf,gif,ogg,ivf,mp3,wav,flac,aac"

# Demuxers with a complete table of samples whose positions can be compared with the file's size.
_ISO = "mov"


@contextmanager
def open_video(
    source: Source, limits: Limits, *, lean: bool = True
) -> Iterator[tuple["InputContainer", "VideoStream"]]:
    """The open container and its video stream (the first that is not cover art); closed on leaving.

    Args:
        lean: for MP4 and MOV, trust the headers instead of decoding the first frames to learn the
            pixel format, which the decoder finds out anyway (saves about 8 ms of a 512×320 clip's 100).

    Raises:
        NotAVideoError, TruncatedVideoError, NoVideoStreamError, VideoTooLargeError, MissingVideoError.
    """
    with source.open() as handle:
        cut = find_cut(handle, source.size)
        if cut is not None:
            raise TruncatedVideoError(
                f"a video was cut off: it lacks {cut.what}",
                file=source.name,
                found=f"{source.size:,} bytes",
                expected=f"at least {cut.least_bytes:,} bytes",
                fix="Copy or generate it again",
            )
        # FFmpeg counts its buffers' padding, so this only stops what is far too large; frames are checked again.
        max_pixels = str(2 * limits.max_pixels + (1 << 16))
        options = {"format_whitelist": _CONTAINERS, "max_pixels": max_pixels}
        if lean and is_iso(handle.read(8)):
            options |= {"skip_frame": "all", "probesize": "4096", "fpsprobesize": "0"}
        handle.seek(0)
        try:
            container = av.open(handle, mode="r", options=options, **_metadata_option(av.__version__))
        except av.error.FFmpegError as error:
            raise NotAVideoError(
                f"this is not a video that can be read ({error.strerror})",
                file=source.name,
                found=source.describe(),
                expected="an MP4, MOV, WebM, Matroska, AVI, MPEG, FLV, ASF, Ogg or GIF video",
            ) from error
        with container:
            stream = _video_stream(container, source)
            for other in container.streams:
                if other is not stream:
                    other.discard = Discard.all
            limits.check("max_pixels", stream.width * stream.height, source.name, "pixels a frame")
            stream.codec_context.options = {"max_pixels": max_pixels}
            yield container, stream


def video_packets(container: "InputContainer", stream: "VideoStream") -> "Iterator[Packet]":
    """The stream's packets in decoding order, without the demuxer's empty end marker."""
    try:
        for packet in container.demux(stream):
            if packet.size:  # an AVI file may leave a frame out, too
                yield packet
    except IndexError:
        # PyAV 18 trips at the end of a file in which another stream appeared late (FLV); all packets are out.
        return


def has_sample_table(container: "InputContainer") -> bool:
    """Whether `stream.index_entries` lists every sample with position and size (MP4, MOV)."""
    return _ISO in container.format.name.split(",")


def _video_stream(container: "InputContainer", source: Source) -> "VideoStream":
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None:
            return stream
    kinds = [stream.type for stream in container.streams]
    raise NoVideoStreamError(
        "a media file has no video stream",
        file=source.name,
        found=f"{container.format.name} with " + (", ".join(kinds) or "no streams"),
        expected="a video stream",
    )


def _metadata_option(version: str) -> dict[str, Any]:
    """Titles in another encoding must not make a file unreadable: PyAV up to 18 needs to be told so."""
    return {"metadata_errors": "replace"} if int(version.partition(".")[0]) < 19 else {}
