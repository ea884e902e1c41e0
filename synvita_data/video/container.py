"""Opening a video with PyAV: the containers allowed, the limits inside FFmpeg, and its errors in our words.

Every call opens its own container and closes it: nothing of FFmpeg outlives a call, so a process may fork
between two calls, and threads never share a decoder.

FFmpeg reads a truncated Matroska, AVI or ASF (WMV) file to its end without a word, and calls an MP4 whose index
(`moov`, often written last) is missing "invalid data". How long a file says it is, from its own outermost boxes,
tells the cases apart and costs a few small reads.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import av
from av.stream import Discard, Disposition

from ..errors import NotAVideoError, NoVideoStreamError, TruncatedVideoError, located
from .source import Source

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Demuxers that may run. Others are refused because a file named .mp4 can be a playlist that reads other
# files or URLs (hls, concat), or plain text that FFmpeg draws as a video (tty). Audio formats are here so
# that an audio file is called that.
_CONTAINERS = "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,h264,hevc,m4v,flv,asf,gif,ogg,ivf,mp3,wav,flac,aac"

# Not looking into the streams beyond their headers.
_LEAN = {"skip_frame": "all", "probesize": "4096", "fpsprobesize": "0"}

# Box types with which ISO base media (MP4, MOV) files begin; later ones may have any name and are skipped by their size.
_BOXES = frozenset(
    b"ftyp moov mdat moof free skip wide uuid meta mfra sidx ssix styp pdin prft emsg udta pnot".split()
)
_MAX_BOXES = 500_000
# The objects that an ASF file begins with: each a GUID and its size.
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")

# Demuxers with a complete table of samples whose positions can be compared with the file's size.
_ISO = "mov"


@contextmanager
def open_video(source: Source, *, lean: bool = True) -> Iterator[tuple["InputContainer", "VideoStream"]]:
    """The open container and its video stream (`choose_stream`); closed on leaving.

    Errors that are raised while it is open name the file.

    Args:
        source: the video.
        lean: for MP4 and MOV, trust the headers instead of decoding the first frames to learn the
            pixel format, which the decoder finds out anyway (saves about 8 ms of a 512×320 clip's 100).

    Raises:
        NotAVideoError, TruncatedVideoError, NoVideoStreamError, VideoTooLargeError, MissingVideoError.
    """
    with located(source.name), source.open() as handle:
        cut = find_cut(handle, source.size)
        if cut is not None:
            raise TruncatedVideoError(
                f"a video was cut off: it lacks {cut.what}",
                found=f"{source.size:,} bytes",
                expected=f"at least {cut.least_bytes:,} bytes",
                fix="Copy or generate it again",
            )
        # FFmpeg counts its buffers' padding, so this only stops what is far too large; frames are checked again.
        max_pixels = str(2 * source.limits.max_pixels + (1 << 16))
        options = {"format_whitelist": _CONTAINERS, "max_pixels": max_pixels}
        lean = lean and handle.read(8)[4:8] in _BOXES  # ISO base media: MP4, MOV, 3GP
        container = _open(handle, source, {**options, **_LEAN} if lean else options)
        stream = _named_default(video_streams(container)) if lean else None
        if lean and stream is None and len(video_streams(container)) > 1:
            container.close()  # FFmpeg compares streams by what it finds when it looks into them
            container = _open(handle, source, options)
        with container:
            stream = stream or choose_stream(container)
            for other in container.streams:
                if other is not stream:
                    other.discard = Discard.all
            source.check("max_pixels", stream.width * stream.height, "pixels a frame")
            stream.codec_context.options = {"max_pixels": max_pixels}
            yield container, stream


def video_streams(container: "InputContainer") -> "list[VideoStream]":
    """The video streams that can be decoded; cover art and thumbnails of chapters are not among them."""
    return [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None
    ]


def has_pictures(container: "InputContainer") -> bool:
    """Whether cover art or thumbnails of chapters lie beside the video."""
    return any(stream.disposition & Disposition.attached_pic for stream in container.streams.video)


def choose_stream(container: "InputContainer") -> "VideoStream":
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


def shown_size(frame: "VideoFrame") -> tuple[int, int]:
    """Height and width of a frame as it is shown, rotation applied."""
    turned = frame.rotation % 180 == 90
    return (frame.width, frame.height) if turned else (frame.height, frame.width)


def has_sample_table(container: "InputContainer") -> bool:
    """Whether `stream.index_entries` lists every sample with position and size (MP4, MOV)."""
    return _ISO in container.format.name.split(",")


def _metadata_option(version: str) -> dict[str, Any]:
    """Titles in another encoding must not make a file unreadable: PyAV up to 18 needs an option for that."""
    return {"metadata_errors": "replace"} if int(version.partition(".")[0]) < 19 else {}


@dataclass(frozen=True, slots=True)
class Cut:
    """Evidence that a file ends too early.

    Attributes:
        what: which part is missing.
        least_bytes: the least length the file should have.
    """

    what: str
    least_bytes: int


def find_cut(handle: BinaryIO, size: int) -> Cut | None:
    """Evidence that a file of `size` bytes was cut off, or None; leaves `handle` at its start.

    ISO media: no `moov` box, or a fragmented file whose last box runs over the end (in a file that is
    not fragmented the sample table decides, see `packets.read_index`). Matroska and WebM: the Segment's
    declared size. AVI: the RIFF chunks' sizes. ASF (WMV): its data object's. Other containers declare nothing: None.
    """
    handle.seek(0)
    head = handle.read(16)
    try:
        if head[4:8] in _BOXES:
            return _iso_cut(handle, size)
        if head.startswith(b"\x1a\x45\xdf\xa3"):
            return _matroska_cut(handle, size)
        if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
            return _riff_cut(handle, size)
        if head == _ASF_HEADER:
            return _asf_cut(handle, size)
        return None
    finally:
        handle.seek(0)


def _iso_cut(handle: BinaryIO, size: int) -> Cut | None:
    position, seen, last = 0, set(), b""
    for _ in range(_MAX_BOXES):
        if position + 8 > size:
            break
        handle.seek(position)
        head = handle.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        seen.add(kind)
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:  # up to the end of the file
            length = size - position
        if length < 8:
            break
        position, last = position + length, kind
    if b"meta" in seen and b"moov" not in seen:  # a HEIF or AVIF picture
        return None
    if b"moov" not in seen or (last == b"moov" and position > size):
        what = "a whole moov box, the index of an MP4 file"
        return Cut(what, max(position, size + 1))
    if b"moof" in seen and last in (b"moof", b"mdat") and position > size:
        return Cut(f"the rest of its last {last.decode()} box", position)
    return None


def _matroska_cut(handle: BinaryIO, size: int) -> Cut | None:
    handle.seek(4)
    header = _vint(handle)
    if header is None:
        return None
    handle.seek(header, 1)
    if handle.read(4) != b"\x18\x53\x80\x67":  # Segment
        return None
    length = _vint(handle)
    if length is None:  # a live stream does not know its length
        return None
    end = handle.tell() + length
    return Cut("the rest of its Matroska segment", end) if end > size else None


def _vint(handle: BinaryIO) -> int | None:
    """An EBML variable-length size; None for the reserved 'unknown' or a broken one."""
    first = handle.read(1)
    if not first or first[0] == 0:
        return None
    width = 9 - first[0].bit_length()
    rest = handle.read(width - 1)
    value = int.from_bytes(bytes([first[0] & ((1 << (8 - width)) - 1)]) + rest, "big")
    return None if len(rest) < width - 1 or value == (1 << 7 * width) - 1 else value


def _riff_cut(handle: BinaryIO, size: int) -> Cut | None:
    position = 0
    for _ in range(_MAX_BOXES):
        if position + 12 > size:
            break
        handle.seek(position)
        head = handle.read(12)
        if head[:4] != b"RIFF" or head[8:12] not in (b"AVI ", b"AVIX"):
            break
        length = int.from_bytes(head[4:8], "little")
        if length in (0, 0xFFFFFFFF):  # never filled in: says nothing
            return None
        position += 8 + length + (length & 1)
    # The final pad byte is often left out.
    return Cut("the rest of its RIFF chunk", position) if position - 1 > size else None


def _asf_cut(handle: BinaryIO, size: int) -> Cut | None:
    handle.seek(16)
    position = int.from_bytes(handle.read(8), "little")
    if not 24 <= position <= size - 24:
        return Cut("the rest of its ASF header", max(position, size + 1))
    handle.seek(position)
    head = handle.read(24)
    length = int.from_bytes(head[16:], "little")
    # A live stream does not know its length; an index may follow the data, which no player needs.
    if head[:16] != _ASF_DATA or length < 24 or position + length <= size:
        return None
    return Cut("the rest of its ASF data", position + length)
