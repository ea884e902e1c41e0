"""The default decoder: PyAV, decoding only what the chosen frames need.

The quick way orders frames by packets, starts at the keyframes it needs, leaves out non-reference H.264
pictures that are not shown, and scales only the chosen frames, straight to their final size. Where
anything is unusual (no timestamps, a frame that does not appear, an error), the careful way decodes the
stream from its beginning and counts the frames that come out; its verdict is final.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from ..errors import CorruptVideoError, NoFramesError
from .container import has_sample_table, open_video, shown_size, video_packets
from .frames import Chosen, Frames, Request, Timeline
from .packets import PacketIndex, is_whole, read_index, sound_start
from .source import Source

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Bicubic, as CLIP's own preprocessing; swscale widens the filter when it shrinks, so there is no aliasing.
# The two flags give the same pixels whatever the processor's vector instructions.
_SCALED = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
# At the stored size, swscale's plain YUV-to-RGB conversion, which decord and torchcodec use as well.
_UNSCALED = Interpolation.BILINEAR
# With three frame threads FFmpeg loses the error of a damaged H.264 packet in a quarter of all decodings of the same
# bytes, with two in none of 600: with two, a frame is finished before it is handed out.
_MAX_THREADS = 2


class _Doubt(Exception):
    """The quick way met something unusual; the careful way decides."""


def read_frames(request: Request) -> Frames:
    """`decode` for backend `pyav`."""
    try:
        return _read_quickly(request)
    except _Doubt:
        return _read_carefully(request)


def _read_quickly(request: Request) -> Frames:
    source, threads = request.source, request.threads
    with open_video(source) as (container, stream):
        index = read_index(container, stream, source)
        if index.timeline is None:
            raise _Doubt
        chosen = index.timeline.choose(request)
        positions = [index.order[i] for i in chosen.indices]
        canvas = _Canvas(positions, request)
        if index.kept is not None:
            canvas.put_all(_decode(stream, index, index.kept, positions, threads))
    if index.kept is None:
        with open_video(source) as (container, stream):
            packets = video_packets(container, stream)
            canvas.put_all(_decode(stream, index, packets, positions, threads))
    return canvas.frames(chosen)


def _decode(
    stream: "VideoStream",
    index: PacketIndex,
    packets: "Iterable[Packet]",
    positions: Sequence[int],
    threads: int | None,
) -> "Iterator[tuple[int, VideoFrame]]":
    """Frames of the packets at `positions`, as (position, frame), in presentation order within each run."""
    by_pts = {index.pts[position]: position for position in positions}
    shown = set(positions)
    context = stream.codec_context
    _use_threads(stream, threads)
    numbered = enumerate(packets)
    found = 0
    try:
        for first, stop in index.runs(positions):
            context.flush_buffers()
            for position, packet in numbered:
                if position < first or (index.spare[position] and position not in shown):
                    continue
                last = position == stop - 1
                for frame in context.decode(packet) + (context.decode(None) if last else []):
                    if frame.is_corrupt:
                        raise _Doubt
                    if frame.pts in by_pts:
                        found += 1
                        yield by_pts[frame.pts], frame
                if last:
                    break
    except av.error.FFmpegError as error:
        raise _Doubt from error
    if found != len(by_pts):
        raise _Doubt


def _read_carefully(request: Request) -> Frames:
    chosen = count_frames(request.source, request.threads).choose(request)
    canvas = _Canvas(chosen.indices, request)
    with open_video(request.source, lean=False) as (container, stream):
        frames = _every_frame(container, stream, request.source, request.threads)
        canvas.put_all(itertools.islice(enumerate(frames), max(chosen.indices) + 1))
    return canvas.frames(chosen)


def count_frames(source: Source, threads: int | None = None) -> Timeline:
    """The timeline of a video by decoding all of it.

    Frames whose timestamps are missing or out of order are taken to be shown in the order the decoder gives
    them: in AVI when their packets come up (it leaves out a packet to show a frame for longer), elsewhere at
    the container's rate.

    Raises:
        CorruptVideoError: a packet does not decode without errors.
        NoFramesError: no frame came out.
        VideoTooLargeError: beyond the limits.
    """
    packet_times: list[int | None] = []
    length = 0
    with open_video(source, lean=False) as (container, stream):
        times = []
        for frame in _every_frame(container, stream, source, threads, packet_times):
            times.append(frame.pts)
            length = frame.duration or 0
        unit = stream.time_base or Fraction(1, 1_000_000)
        rate = stream.guessed_rate or stream.average_rate or Fraction(25)
        sound, is_avi = sound_start(container), container.format.name == "avi"
        if not times:
            raise _no_frames()
    if is_avi and len(packet_times) == len(times):
        times = packet_times
    ticks = [time for time in times if time is not None]
    if len(ticks) < len(times) or any(late <= early for early, late in itertools.pairwise(ticks)):
        ticks, unit, length = list(range(len(times))), 1 / rate, 1
    timeline = Timeline.from_ticks(ticks, length, unit, sound)
    source.check("max_seconds", timeline.duration, "seconds")
    return timeline


def first_frame(stream: "VideoStream", index: PacketIndex, source: Source) -> "VideoFrame":
    """The first frame shown, decoded in this thread from as few packets as it needs.

    Raises:
        CorruptVideoError: it does not decode without errors.
        NoFramesError: nothing does.
    """
    if index.timeline is not None and index.kept is not None:
        try:
            frame = next(_decode(stream, index, index.kept, index.order[:1], threads=1))[1]
        except (_Doubt, StopIteration):
            pass
        else:
            source.check("max_pixels", frame.width * frame.height, "pixels a frame")
            return frame
    with open_video(source, lean=False) as (container, fresh):
        for frame in _every_frame(container, fresh, source, threads=1):
            return frame
        raise _no_frames()


def _every_frame(
    container: "InputContainer",
    stream: "VideoStream",
    source: Source,
    threads: int | None,
    packet_times: list[int | None] | None = None,
) -> "Iterator[VideoFrame]":
    """All frames in presentation order, none of them damaged.

    Args:
        container: the open file.
        stream: its video stream.
        source: the video, with its limits.
        threads: of the decoder.
        packet_times: takes the decoding times of the packets, in their order.
    """
    count, keyframe_seen = 0, has_sample_table(container)
    _use_threads(stream, threads)
    try:
        for number, packet in enumerate(itertools.chain(video_packets(container, stream), [None])):
            keyframe_seen = keyframe_seen or packet is None or packet.is_keyframe
            if packet_times is not None and packet is not None:
                packet_times.append(packet.dts)
            try:
                frames = stream.codec_context.decode(packet)  # None: what the decoder still holds
            except av.error.FFmpegError as error:
                # The tail of a group of pictures whose head was cut away (a recording that was joined late).
                if packet is not None and not keyframe_seen and is_whole(packet, stream):
                    continue
                raise _damaged(f"packet {number} that does not decode ({error})") from error
            for frame in frames:
                if frame.is_corrupt:
                    raise _damaged(f"frame {count} decoded with errors")
                source.check("max_pixels", frame.width * frame.height, "pixels a frame")
                yield frame
                count += 1
                source.check("max_frames", count, "frames")
    except av.error.FFmpegError as error:
        raise _damaged(f"packets that cannot be read after {count} frames ({error})") from error


class _Canvas:
    """The output array; frames are scaled into it as they come, by one scaler."""

    def __init__(self, keys: Sequence[int], request: Request) -> None:
        self._rows: dict[int, list[int]] = defaultdict(list)
        for row, key in enumerate(keys):
            self._rows[key].append(row)
        self._missing = set(keys)
        self._request = request
        self._scaler = VideoReformatter()
        self._pixels: NDArray[np.uint8] | None = None
        self._count = len(keys)

    def put_all(self, frames: "Iterable[tuple[int, VideoFrame]]") -> None:
        """Place each frame in every row that asked for its key."""
        for key, frame in frames:
            if key in self._missing:
                self._put(key, frame)

    def _put(self, key: int, frame: "VideoFrame") -> None:
        self._request.source.check("max_pixels", frame.width * frame.height, "pixels a frame")
        if self._pixels is None:
            height, width = self._request.output_size(self._count, *shown_size(frame))
            self._pixels = np.empty((self._count, height, width, 3), np.uint8)
        # The frame is scaled as it is stored, then turned.
        turns = frame.rotation // 90 % 4 if frame.rotation % 90 == 0 else 0  # counterclockwise
        height, width = self._pixels.shape[1:3]
        if turns % 2:
            height, width = width, height
        same = (frame.height, frame.width) == (height, width)
        flags = _UNSCALED if same else _SCALED
        try:
            picture = self._scaler.reformat(
                frame, width, height, "rgb24", interpolation=flags, threads=1
            ).to_ndarray()
        except av.error.FFmpegError as error:
            found = f"pixel format {frame.format.name}, {frame.width}×{frame.height} ({error})"
            raise _damaged(found) from error
        for row in self._rows[key]:
            self._pixels[row] = np.rot90(picture, turns) if turns else picture
        self._missing.discard(key)

    def frames(self, chosen: Chosen) -> Frames:
        """The finished selection; `chosen` are the frames of the rows."""
        if self._missing or self._pixels is None:
            raise _damaged(f"{len(self._missing)} of the chosen frames missing")
        return chosen.frames(self._pixels)


def _use_threads(stream: "VideoStream", threads: int | None) -> None:
    """Frame threads, at most two."""
    threads = min(threads or _MAX_THREADS, _MAX_THREADS)
    stream.codec_context.thread_type = "FRAME" if threads > 1 else "NONE"
    stream.codec_context.thread_count = threads


def _damaged(found: str) -> CorruptVideoError:
    return CorruptVideoError(
        "a video is damaged",
        found=found,
        expected="packets that decode without errors",
        fix="Copy or generate it again",
    )


def _no_frames() -> NoFramesError:
    return NoFramesError("no frame of a video can be decoded", found="0 frames", expected="at least one")
