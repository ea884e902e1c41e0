"""The default decoder: PyAV, decoding only what the chosen frames need.

The quick way orders frames by packets, starts at the keyframes it needs, leaves out non-reference H.264
pictures that are not shown, and scales only the chosen frames, straight to their final size. Where
anything is unusual (no timestamps, a frame that does not appear, an error), the careful way decodes the
stream from its beginning and counts the frames that come out; its verdict is final.
"""

import itertools
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from ..errors import CorruptVideoError, NoFramesError
from ..frames import Frames
from ..limits import Limits
from ..sampling import FramePolicy
from ..source import Source
from .container import has_sample_table, open_video, video_packets
from .packets import PacketIndex, is_whole, read_index, sound_start
from .timeline import Chosen, Timeline

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
_MAX_THREADS = 8


class _Doubt(Exception):
    """The quick way met something unusual; the careful way decides."""


def read_frames(
    source: Source,
    policy: FramePolicy,
    start: float | None,
    end: float | None,
    limits: Limits,
    threads: int | None = None,
) -> Frames:
    """`decode` for backend `pyav`; same arguments, errors and result."""
    try:
        return _read_quickly(source, policy, start, end, limits, threads)
    except _Doubt:
        return _read_carefully(source, policy, start, end, limits, threads)


def _read_quickly(
    source: Source,
    policy: FramePolicy,
    start: float | None,
    end: float | None,
    limits: Limits,
    threads: int | None,
) -> Frames:
    with open_video(source, limits) as (container, stream):
        index = read_index(container, stream, source, limits)
        if index.timeline is None:
            raise _Doubt
        timeline = index.timeline
        chosen = timeline.choose(policy, start, end, source)
        positions = [index.order[i] for i in chosen.indices]
        canvas = _Canvas(positions, policy, source, limits)
        if index.kept is not None:
            for position, frame in _decode(stream, index, index.kept, positions, threads):
                canvas.put(position, frame)
    if index.kept is None:
        with open_video(source, limits) as (container, stream):
            packets = video_packets(container, stream)
            for position, frame in _decode(stream, index, packets, positions, threads):
                canvas.put(position, frame)
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


def _read_carefully(
    source: Source,
    policy: FramePolicy,
    start: float | None,
    end: float | None,
    limits: Limits,
    threads: int | None,
) -> Frames:
    timeline = count_frames(source, limits, threads)
    chosen = timeline.choose(policy, start, end, source)
    canvas = _Canvas(chosen.indices, policy, source, limits)
    last = max(chosen.indices)
    with open_video(source, limits, lean=False) as (container, stream):
        for i, frame in enumerate(_every_frame(container, stream, source, limits, threads)):
            canvas.put(i, frame)
            if i == last:
                break
    return canvas.frames(chosen)


def count_frames(source: Source, limits: Limits, threads: int | None = None) -> Timeline:
    """The timeline of a video by decoding all of it.

    Frames whose timestamps are missing or out of order are taken to be shown in the order the decoder gives
    them: in AVI when their packets come up (it leaves out a packet to show a frame for longer), elsewhere at
    the container's rate.

    Raises:
        CorruptVideoError: a packet does not decode without errors. NoFramesError: no frame came out.
        VideoTooLargeError: beyond `limits`.
    """
    packet_times: list[int | None] = []
    length = 0
    with open_video(source, limits, lean=False) as (container, stream):
        times = []
        for frame in _every_frame(container, stream, source, limits, threads, packet_times):
            times.append(frame.pts)
            length = frame.duration or 0
        unit = stream.time_base or Fraction(1, 1_000_000)
        rate = stream.guessed_rate or stream.average_rate or Fraction(25)
        sound, is_avi = sound_start(container), container.format.name == "avi"
    if not times:
        raise _no_frames(source)
    if is_avi and len(packet_times) == len(times):
        times = packet_times
    ticks = [time for time in times if time is not None]
    if len(ticks) < len(times) or any(late <= early for early, late in itertools.pairwise(ticks)):
        ticks, unit, length = list(range(len(times))), 1 / rate, 1
    timeline = Timeline.from_ticks(ticks, length, unit, sound)
    limits.check("max_seconds", timeline.duration, source.name, "seconds")
    return timeline


def first_frame(stream: "VideoStream", index: PacketIndex, source: Source, limits: Limits) -> "VideoFrame":
    """The first frame shown, decoded in this thread from as few packets as it needs.

    Raises:
        CorruptVideoError: it does not decode without errors. NoFramesError: nothing does.
    """
    if index.timeline is not None and index.kept is not None:
        try:
            frame = next(_decode(stream, index, index.kept, index.order[:1], threads=1))[1]
        except (_Doubt, StopIteration):
            pass
        else:
            limits.check("max_pixels", frame.width * frame.height, source.name, "pixels a frame")
            return frame
    with open_video(source, limits, lean=False) as (container, fresh):
        for frame in _every_frame(container, fresh, source, limits, threads=1):
            return frame
    raise _no_frames(source)


def _every_frame(
    container: "InputContainer",
    stream: "VideoStream",
    source: Source,
    limits: Limits,
    threads: int | None,
    packet_times: list[int | None] | None = None,
) -> "Iterator[VideoFrame]":
    """All frames in presentation order, none of them damaged.

    Args:
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
                raise _damaged(source, f"packet {number} that does not decode ({error})") from error
            for frame in frames:
                if frame.is_corrupt:
                    raise _damaged(source, f"frame {count} decoded with errors")
                limits.check("max_pixels", frame.width * frame.height, source.name, "pixels a frame")
                yield frame
                count += 1
                limits.check("max_frames", count, source.name, "frames")
    except av.error.FFmpegError as error:
        raise _damaged(source, f"packets that cannot be read after {count} frames ({error})") from error


class _Canvas:
    """The output array; frames are scaled into it as they come, by one scaler."""

    def __init__(self, keys: Sequence[int], policy: FramePolicy, source: Source, limits: Limits) -> None:
        self._rows: dict[int, list[int]] = defaultdict(list)
        for row, key in enumerate(keys):
            self._rows[key].append(row)
        self._missing = set(keys)
        self._policy, self._source, self._limits = policy, source, limits
        self._scaler = VideoReformatter()
        self._pixels: NDArray[np.uint8] | None = None
        self._count = len(keys)

    def put(self, key: int, frame: "VideoFrame") -> None:
        """Place `frame` in every row that asked for `key`."""
        if key not in self._missing:
            return
        turns = frame.rotation // 90 % 4 if frame.rotation % 90 == 0 else 0  # counterclockwise
        self._limits.check("max_pixels", frame.width * frame.height, self._source.name, "pixels a frame")
        if self._pixels is None:
            self._pixels = self._allocate(frame, turned=turns % 2 == 1)
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
            raise _damaged(self._source, found) from error
        for row in self._rows[key]:
            self._pixels[row] = np.rot90(picture, turns) if turns else picture
        self._missing.discard(key)

    def frames(self, chosen: Chosen) -> Frames:
        """The finished selection; `chosen` are the frames of the rows."""
        if self._missing or self._pixels is None:
            raise _damaged(self._source, f"{len(self._missing)} of the chosen frames missing")
        return chosen.frames(self._pixels, self._source, "pyav")

    def _allocate(self, frame: "VideoFrame", turned: bool) -> NDArray[np.uint8]:
        shown = (frame.width, frame.height) if turned else (frame.height, frame.width)
        height, width = self._policy.target_size(*shown)
        check_output(self._count, height, width, self._source, self._limits)
        return np.empty((self._count, height, width, 3), np.uint8)


def check_output(count: int, height: int, width: int, source: Source, limits: Limits) -> None:
    """Raise `VideoTooLargeError` if an RGB array of this shape exceeds `limits.max_output_bytes`."""
    limits.check(
        "max_output_bytes",
        count * height * width * 3,
        source.name,
        f"bytes of RGB for {count} frames of {height}×{width}",
        fix="Ask for fewer or smaller frames",
    )


def _use_threads(stream: "VideoStream", threads: int | None) -> None:
    """Frame threads, one more than processors (the default) so that none waits for the scaler."""
    if threads is None:
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = min(usable + 1, _MAX_THREADS)
    stream.codec_context.thread_type = "FRAME" if threads > 1 else "NONE"
    stream.codec_context.thread_count = threads


def _damaged(source: Source, found: str) -> CorruptVideoError:
    return CorruptVideoError(
        "a video is damaged",
        file=source.name,
        found=found,
        expected="packets that decode without errors",
        fix="Copy or generate it again",
    )


def _no_frames(source: Source) -> NoFramesError:
    return NoFramesError(
        "no frame of a video can be decoded", file=source.name, found="0 frames", expected="at least one"
    )
