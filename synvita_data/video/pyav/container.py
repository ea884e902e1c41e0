"""Opening a video with PyAV: the containers allowed, the limits inside FFmpeg, and its errors in our words.

Every call opens its own container and closes it: nothing of FFmpeg outlives a call, so a process may fork
between two calls, and threads never share a decoder.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import av
from av.stream import Discard, Disposition

from ..errors import NotAVideoError, NoVideoStreamError, TruncatedVideoError
from ..limits import Limits
from ..source import Source
from .container_length import find_cut, is_iso

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

# Demuxers that may run. Others are refused because a file named .mp4 can be a playlist that reads other
# files or URLs (hls, concat), or plain text that FFmpeg draws as a video (tty). Audio formats are here so
# that an audio file is called that.
_CONTAINERS = "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,h264,hevc,m4v,flv,asf,gif,ogg,ivf,mp3,wav,flac,aac"

# Not looking into the streams beyond their headers.
_LEAN = {"skip_frame": "all", "probesize": "4096", "fpsprobesize": "0"}

# Demuxers with a complete table of samples whose positions can be compared with the file's size.
_ISO = "mov"


@contextmanager
def open_video(
    source: Source, limits: Limits, *, lean: bool = True
) -> Iterator[tuple["InputContainer", "VideoStream"]]:
    """The open container and its video stream (`choose_stream`); closed on leaving.

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
        lean = lean and is_iso(handle.read(8))
        container = _open(handle, source, {**options, **_LEAN} if lean else options)
        stream = _named_default(video_streams(container)) if lean else None
        if lean and stream is None and len(video_streams(container)) > 1:
            container.close()  # FFmpeg compares streams by what it finds when it looks into them
            container = _open(handle, source, options)
        with container:
            stream = stream or choose_stream(container, source)
            for other in container.streams:
                if other is not stream:
                    other.discard = Discard.all
            limits.check("max_pixels", stream.width * stream.height, source.name, "pixels a frame")
            stream.codec_context.options = {"max_pixels": max_pixels}
            yield container, stream


def video_streams(container: "InputContainer") -> "list[VideoStream]":
    """The video streams that can be decoded; cover art and thumbnails of chapters are none."""
    return [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None
    ]


def has_pictures(container: "InputContainer") -> bool:
    """Whether cover art or thumbnails of chapters lie beside the video."""
    return any(stream.disposition & Disposition.attached_pic for stream in container.streams.video)


def choose_stream(container: "InputContainer", source: Source) -> "VideoStream":
    """The stream that FFmpeg itself takes, and so ffplay and torchcodec: `av_find_best_stream`, without cover art.

    The one that the file marks as the default, unless it is meant for the visually impaired; among equals one of
    more than a few frames; then the higher bit rate, where the file tells it; then the one with more packets in
    the first seconds.

    Raises:
        NoVideoStreamError: there is none.
    """
    streams = video_streams(container)
    if not streams:
        kinds = [stream.type for stream in container.streams]
        raise NoVideoStreamError(
            "a media file has no video stream",
            file=source.name,
            found=f"{container.format.name} with " + (", ".join(kinds) or "no streams"),
            expected="a video stream",
        )
    stream = _named_default(streams)
    if stream is None:
        best = container.streams.best("video")
        stream = next((each for each in streams if best is not None and each.index == best.index), None)
    # FFmpeg prefers cover art, or what it cannot decode: the next best, by what the headers tell.
    return stream or max(streams, key=lambda each: (_rank(each), min(5, each.frames), each.bit_rate or 0))


def _named_default(streams: "list[VideoStream]") -> "VideoStream | None":
    """The only stream, or the one that the file's marks put first; None where they do not decide."""
    ranks = [_rank(stream) for stream in streams]
    first = [stream for stream, rank in zip(streams, ranks, strict=True) if rank == max(ranks)]
    return first[0] if len(first) == 1 else None


def _rank(stream: "VideoStream") -> int:
    """`av_find_best_stream`'s first criterion: marked as default, and not made for impaired viewers."""
    impaired = Disposition.hearing_impaired | Disposition.visual_impaired
    return (not stream.disposition & impaired) + bool(stream.disposition & Disposition.default)


def _open(handle: BinaryIO, source: Source, options: dict[str, str]) -> "InputContainer":
    handle.seek(0)
    try:
        return av.open(handle, mode="r", options=options, **_metadata_option(av.__version__))
    except av.error.FFmpegError as error:
        raise NotAVideoError(
            f"this is not a video that can be read ({error.strerror})",
            file=source.name,
            found=source.describe(),
            expected="an MP4, MOV, WebM, Matroska, AVI, MPEG, FLV, ASF, Ogg or GIF video",
        ) from error


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


def _metadata_option(version: str) -> dict[str, Any]:
    """Titles in another encoding must not make a file unreadable: PyAV up to 18 needs to be told so."""
    return {"metadata_errors": "replace"} if int(version.partition(".")[0]) < 19 else {}
