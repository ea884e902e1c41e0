"""What is read without decoding: spare pictures against FFmpeg's own rule, keyframe runs, lengths of containers."""

import io
from fractions import Fraction

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_clips import write_clip

from synvita_data.video.container import find_cut, open_video
from synvita_data.video.packets import PacketIndex, Timeline, inspect_packet, length_size, read_index
from synvita_data.video.source import resolve


@settings(max_examples=15)
@given(
    bframes=st.integers(0, 4),
    pyramid=st.sampled_from(["none", "strict", "normal"]),
    slices=st.integers(1, 3),
    container=st.sampled_from(["mp4", "mpegts"]),
)
def test_spare_packets_are_those_ffmpeg_calls_non_reference(
    tmp_path_factory, bframes, pyramid, slices, container
) -> None:
    path = tmp_path_factory.mktemp("spare") / "clip"
    params = f"keyint=10:bframes={bframes}:b-pyramid={pyramid}:b-adapt=0:slices={slices}"
    write_clip(path, 30, container=container, options={"x264-params": params})
    source = resolve(path)
    with open_video(source) as (opened, stream):
        index = read_index(opened, stream, source)
    with av.open(str(path)) as opened:
        stream = opened.streams.video[0]
        stream.codec_context.skip_frame = "NONREF"
        references = {frame.pts for frame in opened.decode(stream)}
    spare = {pts for pts, is_spare in zip(index.pts, index.spare, strict=True) if is_spare}
    assert spare == set(index.pts) - references
    assert bool(spare) == (bframes > 0)
    assert index.broken is None


def nal(kind: int, reference: int, size: int = 5) -> bytes:
    body = bytes([reference << 5 | kind]) + bytes([0x80]) * (size - 1)
    return len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    ("packet", "whole", "spare"),
    [
        (nal(1, 0), True, True),
        (nal(1, 0) + nal(1, 0), True, True),
        (nal(9, 0) + nal(6, 0) + nal(1, 0), True, True),
        (nal(1, 2), True, False),
        (nal(1, 0) + nal(1, 1), True, False),
        (nal(5, 3), True, False),
        (nal(8, 3) + nal(1, 0), True, False),  # carries a parameter set
        (nal(6, 0), True, False),  # no picture at all
        (nal(14, 0) + nal(1, 0), True, False),
        (nal(1, 0)[:-1], False, False),
        (nal(1, 0) + b"\0", False, False),
        (bytes(20), False, False),
        (nal(1, 4), False, False),  # the forbidden bit
    ],
)
def test_inspecting_length_prefixed_packets(packet: bytes, whole: bool, spare: bool) -> None:
    assert inspect_packet(memoryview(packet), 4) == (whole, spare)


def test_inspecting_start_codes() -> None:
    code = b"\0\0\1"
    assert inspect_packet(memoryview(b"\0" + code + b"\x09\xf0" + code + b"\x01\x9a"), None) == (True, True)
    assert inspect_packet(memoryview(code + b"\x41\x9a"), None) == (True, False)
    assert inspect_packet(memoryview(b"nothing"), None) == (True, False)
    assert length_size(bytes([1, 100, 0, 31, 0xFF, 0xE1, 0, 0])) == 4
    assert length_size(bytes([1, 100, 0, 31, 0xFD, 0xE1, 0, 0])) == 2
    assert length_size(b"\0\0\0\1\x67\x64\0\x1f") is None
    assert length_size(None) is None


def test_runs_start_at_the_keyframe_that_suffices() -> None:
    """Two groups of 20; the second keyframe (position 20, shown at 23) is followed by frames shown before it."""
    pts = [*range(20), 23, 20, 21, 22, *range(24, 40)]
    index = PacketIndex(pts=pts, keys=[i in (0, 20) for i in range(40)], spare=[False] * 40)
    assert index.open_gop
    assert index.runs([5]) == [(0, 6)]
    assert index.runs([20]) == [(20, 21)]
    assert index.runs([21]) == [(0, 22)]  # shown at 20, before the keyframe it follows
    assert index.runs([30]) == [(20, 31)]
    assert index.runs([30, 3, 3]) == [(0, 4), (20, 31)]
    assert index.runs([18, 30]) == [(0, 31)]  # a gap of one packet is not worth a restart
    assert not PacketIndex(pts=[*range(4)], keys=[True, False, True, False]).open_gop


def test_timeline_is_exact_over_a_long_video() -> None:
    base = Fraction(1001, 30000)
    timeline = Timeline.from_ticks(range(7, 216_007), 0, base)
    assert timeline.timestamps[-1] == float(215_999 * base)
    assert timeline.start == float(7 * base)
    assert timeline.duration == float(216_000 * base)
    assert timeline.fps == pytest.approx(30000 / 1001)
    assert Timeline.from_ticks([4], 2, Fraction(1, 8)).duration == 0.25
    assert Timeline.from_ticks([4], 0, Fraction(1, 8)).fps == 0.0


def box(kind: bytes, size: int, declared: int | None = None) -> bytes:
    return (size if declared is None else declared).to_bytes(4, "big") + kind + bytes(size - 8)


def cut_of(data: bytes) -> int | None:
    cut = find_cut(io.BytesIO(data), len(data))
    return None if cut is None else cut.least_bytes


def test_lengths_of_iso_files() -> None:
    start, index = box(b"ftyp", 16), box(b"moov", 40)
    assert cut_of(start + index + box(b"mdat", 20)) is None
    assert cut_of(start + index + box(b"mdat", 20, declared=0)) is None  # to the end of the file
    large = (1).to_bytes(4, "big") + b"mdat" + (30).to_bytes(8, "big") + bytes(14)
    assert cut_of(start + large + index) is None
    assert cut_of(start + large) == len(start + large) + 1  # no index
    assert cut_of(start + box(b"mdat", 20, declared=500)) == 516
    assert cut_of(start + index[:-1]) == len(start + index)
    assert cut_of(start + index + box(b"moof", 20) + box(b"mdat", 20, declared=24)) == 16 + 40 + 20 + 24
    assert cut_of(start + index + box(b"mdat", 20) + b"trailing junk of no known kind") is None
    assert cut_of(start + box(b"meta", 20) + box(b"mdat", 20)) is None  # a HEIF picture


def test_lengths_of_matroska_and_riff_files() -> None:
    header = b"\x1a\x45\xdf\xa3\x84" + bytes(4)
    assert cut_of(header + b"\x18\x53\x80\x67\x8a" + bytes(10)) is None
    assert cut_of(header + b"\x18\x53\x80\x67\x8a" + bytes(9)) == len(header) + 5 + 10
    assert cut_of(header + b"\x18\x53\x80\x67\x40\xc8" + bytes(9)) == len(header) + 6 + 200
    assert cut_of(header + b"\x18\x53\x80\x67\xff" + bytes(9)) is None  # unknown: a live recording
    assert cut_of(header + b"\x18\x53\x80\x67\x01" + b"\xff" * 7 + bytes(9)) is None

    def riff(kind: bytes, size: int) -> bytes:
        return b"RIFF" + size.to_bytes(4, "little") + kind + bytes(size - 4)

    assert cut_of(riff(b"AVI ", 40)) is None
    assert cut_of(riff(b"AVI ", 40)[:-3]) == 48
    assert cut_of(riff(b"AVI ", 40) + riff(b"AVIX", 40)[:-3]) == 96
    assert cut_of(b"MPEG transport or anything else") is None
