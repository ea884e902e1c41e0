"""The packets of a video stream in order: which frame is the i-th shown, and what must be decoded to show it.

Containers' frame counts and nominal rates are often wrong or missing, so frames are counted and ordered
by their packets, without decoding: frame i is the one with the i-th smallest presentation timestamp.

The little of H.264's syntax that is read here decides which packets can be left out, and whether a packet is whole: a
picture whose slices have nal_ref_idc 0 is not a reference for any other picture (ITU-T H.264, 7.4.1), so a decoder that does
not show it need not decode it. That is half of the frames of x264's default output.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import av

from ..errors import CorruptVideoError, NoFramesError, TruncatedVideoError
from .container import has_sample_table, video_packets
from .frames import Timeline
from .source import Source

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

# Compressed bytes kept in memory after indexing; a larger stream is read from the file a second time.
KEPT_BYTES = 64 << 20
# VP8 packets may hold a frame that is never shown, and nothing outside the packet says so.
_HIDES_FRAMES = frozenset({"vp8"})
# Containers that store no presentation times; FFmpeg's guesses are wrong where there are B-frames.
_UNTIMED = frozenset({"avi", "h264", "hevc", "m4v", "mpegvideo"})
# Containers that say at which time the file ends, sound and all, and not how long its parts are.
_COUNTS_FROM_ZERO = frozenset({"matroska", "flv"})
# A jump to a later keyframe drains and restarts the decoder: worth it only past this many packets.
_WORTH_A_JUMP = 6

# H.264: kinds of NAL units.
_SLICE = 1  # of a picture that is not an IDR picture
# A packet that holds only these, besides non-reference slices, can be dropped: SEI, access unit delimiter,
# filler. Parameter sets (7, 8) must reach the decoder; extensions (14, 20) are left alone.
_HARMLESS = frozenset((6, 9, 12))


@dataclass(slots=True)
class PacketIndex:
    """Packets in decoding order, and the frames they give in presentation order.

    Attributes:
        pts: presentation timestamps in the stream's time base.
        keys: keyframe flags.
        spare: packets that no other packet refers to (H.264 only), in decoding order.
        kept: the packets themselves, or None where they exceed `KEPT_BYTES`.
        order: positions (in decoding order) of the shown frames, by presentation time.
        timeline: when they are shown; None where packets do not tell and frames must be counted by decoding.
        broken: position of the first packet whose inner lengths do not fit it, if any (H.264 only).
    """

    pts: list[int | None] = field(default_factory=list)
    keys: list[bool] = field(default_factory=list)
    spare: list[bool] = field(default_factory=list)
    kept: "list[Packet] | None" = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    timeline: Timeline | None = None
    broken: int | None = None

    def runs(self, wanted: Sequence[int]) -> list[tuple[int, int]]:
        """Half-open ranges of positions to decode, ascending, so that the `wanted` positions come out.

        Each begins at a keyframe from which its first wanted frame is decodable: the last keyframe before
        it in decoding order that is also shown no later. (A frame that is shown before the open-GOP
        keyframe it follows needs the keyframe before that.)
        """
        keys = [position for position, is_key in enumerate(self.keys) if is_key]
        runs: list[tuple[int, int]] = []
        for target in sorted(set(wanted)):
            shown_at = self.pts[target]
            earlier = reversed(keys[: bisect_right(keys, target)])
            start = next((key for key in earlier if _no_later(self.pts[key], shown_at)), 0)
            if runs and start < runs[-1][1] + _WORTH_A_JUMP:
                runs[-1] = (runs[-1][0], target + 1)
            else:
                runs.append((start, target + 1))
        return runs

    @property
    def open_gop(self) -> bool:
        """Whether some frame follows a keyframe in the file but is shown before it."""
        keyframe: int | None = None
        for pts, is_key in zip(self.pts, self.keys, strict=True):
            if is_key:
                keyframe = pts
            elif pts is not None and keyframe is not None and pts < keyframe:
                return True
        return False


def read_index(container: "InputContainer", stream: "VideoStream", source: Source) -> PacketIndex:
    """Demux the whole stream once, decoding nothing.

    Raises:
        TruncatedVideoError: the sample table points beyond the end of the file, or a packet is cut.
        NoFramesError: no packet at all, or none that is shown.
        VideoTooLargeError: more frames or seconds than `limits` allow.
    """
    _check_sample_table(container, stream, source)
    index, total = PacketIndex(), 0
    shown: list[bool] = []
    lengths: list[int] = []
    h264 = stream.codec_context.name == "h264"
    prefix = length_size(stream.codec_context.extradata) if h264 else None
    try:
        for packet in video_packets(container, stream):
            if packet.is_corrupt:
                raise _cut_packet(source, len(index.pts), None)
            whole, spare = inspect_packet(memoryview(packet), prefix) if h264 else (True, False)
            if not whole and index.broken is None:
                index.broken = len(index.pts)
            index.pts.append(packet.pts)
            index.keys.append(packet.is_keyframe)
            index.spare.append(spare)
            shown.append(not packet.is_discard)  # an edit list hides some frames
            lengths.append(packet.duration or 0)
            source.check("max_frames", len(index.pts), "frames")
            total += packet.size
            if index.kept is not None:
                index.kept.append(packet)
                if total > KEPT_BYTES:
                    index.kept = None
    except av.error.FFmpegError as error:
        raise _cut_packet(source, len(index.pts), error) from error
    index.order = [position for position, is_shown in enumerate(shown) if is_shown]
    if not index.order:
        raise NoFramesError(
            "a video stream has no frames",
            found=f"{len(index.pts)} packets, none of them shown",
            expected="at least one frame",
        )
    if container.format.name not in _UNTIMED and _tells_time(index, stream):
        pts = [pts or 0 for pts in index.pts]  # None only where not shown
        index.order.sort(key=pts.__getitem__)
        ticks = [pts[position] for position in index.order]
        length = _last_length(ticks, index.order[-1], lengths, container, stream)
        index.timeline = Timeline.from_ticks(ticks, length, _time_base(stream), sound_start(container))
        source.check("max_seconds", index.timeline.duration, "seconds")
    return index


def is_whole(packet: "Packet", stream: "VideoStream") -> bool:
    """Whether the inner lengths of an H.264 packet fit it; True where there are none."""
    if stream.codec_context.name != "h264":
        return True
    return inspect_packet(memoryview(packet), length_size(stream.codec_context.extradata))[0]


def sound_start(container: "InputContainer") -> float | None:
    """The file's own time at which its sound begins, seconds; None without sound or where it is not known."""
    starts = [
        float(audio.start_time * audio.time_base)
        for audio in container.streams.audio
        if audio.start_time is not None and audio.time_base is not None
    ]
    return min(starts, default=None)


def _last_length(
    ticks: Sequence[int],
    last: int,
    lengths: Sequence[int],
    container: "InputContainer",
    stream: "VideoStream",
) -> int:
    """How long the last frame is on show, in units of the time base; 0 where nothing tells.

    Args:
        ticks: timestamps of the frames, ascending.
        last: position of the last one's packet.
        lengths: durations of the packets in decoding order, 0 where unknown.
    """
    own = lengths[last]
    if has_sample_table(container) and last < len(lengths) - 1:
        # MP4 stores the time to the next packet, which is not the next frame where frames are reordered.
        own = lengths[-1]
    elif own > 0:
        return own
    declared = 0
    if stream.duration:
        declared = ticks[0] + stream.duration
    elif own <= 0 and container.duration and _COUNTS_FROM_ZERO & set(container.format.name.split(",")):
        declared = int(Fraction(container.duration, av.time_base) / _time_base(stream))
    return declared - ticks[-1] if declared > ticks[-1] else own


def _time_base(stream: "VideoStream") -> Fraction:
    return stream.time_base or Fraction(1, 1_000_000)


def _tells_time(index: PacketIndex, stream: "VideoStream") -> bool:
    """Whether every shown packet gives one frame, at a time of its own.

    Not so: packets without timestamps or with equal ones (field pairs), VP8, and streams cut so
    that they begin without a keyframe or with frames that refer to what lies before it.
    """
    times = [index.pts[position] for position in index.order]
    first = index.pts[0]
    if stream.codec_context.name in _HIDES_FRAMES or not index.keys[0] or first is None:
        return False
    return len(set(times)) == len(times) and all(time is not None and time >= first for time in times)


def _check_sample_table(container: "InputContainer", stream: "VideoStream", source: Source) -> None:
    """An MP4 says where each packet lies: the farthest must end within the file."""
    if not has_sample_table(container):
        return
    ends = [entry.pos + entry.size for entry in stream.index_entries]
    missing = sum(end > source.size for end in ends)
    if missing:
        raise TruncatedVideoError(
            f"a video was cut off: {missing} of its {len(ends)} packets lie beyond the end of the file",
            found=f"{source.size:,} bytes",
            expected=f"at least {max(ends):,} bytes",
            fix="Copy or generate it again",
        )


def _cut_packet(source: Source, position: int, error: Exception | None) -> CorruptVideoError:
    return CorruptVideoError(
        f"packet {position} of a video cannot be read whole" + (f" ({error})" if error else ""),
        found=f"{source.size:,} bytes",
        expected="packets up to the end of the stream",
        fix="Copy or generate it again",
    )


def _no_later(key: int | None, target: int | None) -> bool:
    return key is not None and target is not None and key <= target


def length_size(extradata: bytes | None) -> int | None:
    """Bytes of a NAL unit's length prefix, from an `avcC` record; None for start codes (Annex B)."""
    if extradata and len(extradata) > 6 and extradata[0] == 1:
        return (extradata[4] & 3) + 1
    return None


def inspect_packet(packet: memoryview, prefix: int | None) -> tuple[bool, bool]:
    """`(whole, droppable)` of one access unit.

    `whole`: the NAL units' lengths add up to the packet and their forbidden bit is 0 (always True for
    Annex B, which has no lengths). `droppable`: only non-reference slices and harmless NAL units.
    """
    headers = _annex_b_headers(packet) if prefix is None else _prefixed_headers(packet, prefix)
    if headers is None or any(header & 0x80 for header in headers):
        return prefix is None, False
    spare = [header & 31 == _SLICE and header >> 5 & 3 == 0 for header in headers]
    rest = (header & 31 for header, is_spare in zip(headers, spare, strict=True) if not is_spare)
    return True, any(spare) and all(kind in _HARMLESS for kind in rest)


def _prefixed_headers(packet: memoryview, prefix: int) -> list[int] | None:
    headers, position, end = [], 0, len(packet)
    while position < end:
        start = position + prefix
        length = int.from_bytes(packet[position:start], "big")
        if length < 1 or start + length > end:
            return None
        headers.append(packet[start])
        position = start + length
    return headers


def _annex_b_headers(packet: memoryview) -> list[int]:
    data, headers, position = bytes(packet), [], 0
    while (position := data.find(b"\x00\x00\x01", position)) >= 0 and position + 3 < len(data):
        headers.append(data[position + 3])
        position += 3
    return headers
