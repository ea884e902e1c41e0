"""Frames come out exactly: clips whose every frame shows its number, in many containers and orders."""

import io
import json
import random
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_clips import copy_packets, number_in, numbers_in, picture, write_clip

from synvita_data.video import (
    FramePolicy,
    FramePolicyError,
    Frames,
    Limits,
    NoFramesError,
    VideoTooLargeError,
    decode,
    packets,
    probe,
)

B_FRAMES = {"x264-params": "keyint=12:scenecut=0:bframes=3:b-adapt=0"}
OPEN_GOP = {"x264-params": "keyint=12:bframes=3:b-adapt=0:scenecut=0:open-gop=1"}
TENTHS = {"time_base": Fraction(1, 10), "ticks": range(40)}
# name -> arguments of write_clip; forty frames each
CLIPS = {
    "b-frames.mp4": {"options": B_FRAMES},
    "open-gop.mp4": {"options": OPEN_GOP},
    "intra-refresh.mp4": {"options": {"x264-params": "intra-refresh=1:keyint=12"}},
    "one-gop.mp4": {},
    "every-frame-a-key.mp4": {"options": {"x264-params": "keyint=1"}},
    "interlaced.mp4": {"options": {"x264-params": "interlaced=1"}},
    "fragmented.mp4": {"options": B_FRAMES, "movflags": "frag_keyframe+empty_moov"},
    "ten-bit.mp4": {"pix_fmt": "yuv420p10le"},
    "odd-size.mp4": {"pix_fmt": "yuv444p", "size": (65, 83)},
    "starts-late.mkv": {"ticks": [5000 + 125 * i for i in range(40)]},
    "transport.ts": {"options": OPEN_GOP},
    "flash.flv": {"options": B_FRAMES},
    "mpeg4.mp4": {"codec": "mpeg4", "bframes": 2},
    "mpeg4.avi": {"codec": "mpeg4", "bframes": 2, **TENTHS},
    "h264.avi": {"options": B_FRAMES, **TENTHS},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p", **TENTHS},
    "raw.h264": {"container": "h264"},
    "mpeg2.mpg": {"codec": "mpeg2video", "time_base": Fraction(1, 25), "ticks": range(40), "bframes": 2},
    "hidden-frames.vp8.webm": {
        "codec": "libvpx",
        "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good", "b": "200k"},
    },
    "vp9.webm": {
        "codec": "libvpx-vp9",
        "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good", "cpu-used": "5"},
    },
    "hevc-open-gop.mp4": {
        "codec": "libx265",
        "options": {"x265-params": "keyint=12:open-gop=1:log-level=none"},
    },
    "pictures.gif": {"codec": "gif", "pix_fmt": "rgb8", **TENTHS},
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory):
    """clip(name): the path of one of CLIPS, written once."""
    folder = tmp_path_factory.mktemp("clips")

    def made(name: str) -> Path:
        path = folder / name
        return path if path.exists() else write_clip(path, 40, **CLIPS[name])

    return made


@pytest.mark.parametrize("name", CLIPS)
def test_every_frame_is_where_it_should_be(clip, name: str) -> None:
    frames = decode(clip(name), FramePolicy(rule="all"))
    assert numbers_in(frames.pixels) == list(range(40)) == list(frames.indices)
    assert probe(clip(name)).frames == 40


@pytest.mark.parametrize("name", CLIPS)
def test_chosen_frames_are_the_same_pixels_as_in_the_whole(clip, name: str) -> None:
    whole = decode(clip(name), FramePolicy(rule="all")).pixels
    chooser = random.Random(name)
    for count in (1, 2, 5):
        indices = tuple(chooser.choices(range(40), k=count))
        assert np.array_equal(decode(clip(name), FramePolicy(indices=indices)).pixels, whole[list(indices)])


@settings(max_examples=25)
@given(
    data=st.data(),
    frames=st.integers(1, 30),
    keyint=st.integers(1, 12),
    bframes=st.integers(0, 5),
    pyramid=st.sampled_from(["none", "strict", "normal"]),
    open_gop=st.booleans(),
    container=st.sampled_from(["mp4", "matroska", "mpegts"]),
)
def test_any_structure_of_references_and_any_timing(
    tmp_path_factory, data, frames, keyint, bframes, pyramid, open_gop, container
) -> None:
    """Random groups of pictures, random instants, random choices; timestamps against what was written."""
    if container == "mpegts":
        frames += 20  # FFmpeg does not recognise a transport stream of a few packets
    path = tmp_path_factory.mktemp("random") / "clip"
    steps = data.draw(st.lists(st.integers(2, 400), min_size=frames, max_size=frames))
    ticks = np.cumsum(steps).tolist()
    params = (
        f"keyint={keyint}:bframes={bframes}:b-pyramid={pyramid}:open-gop={open_gop:d}"
        ":scenecut=40:b-adapt=0:ref=4:rc-lookahead=10"
    )
    write_clip(path, frames, container=container, ticks=ticks, options={"x264-params": params}, size=(32, 48))
    wanted = data.draw(st.lists(st.integers(0, frames - 1), min_size=1, max_size=6))
    found = decode(path, FramePolicy(indices=wanted))
    assert numbers_in(found.pixels) == wanted
    for index, seconds in zip(wanted, found.timestamps, strict=True):
        assert seconds == pytest.approx((ticks[index] - ticks[0]) / 1000, abs=0.0011)
    assert probe(path).frames == frames


def test_variable_rate_timestamps_windows_and_rate(tmp_path) -> None:
    ticks = [0, 100, 150, 900, 1000, 2500, 2600, 4000]
    path = write_clip(tmp_path / "clip.mp4", 8, ticks=ticks)
    frames = decode(path, FramePolicy(rule="all"))
    assert frames.timestamps == pytest.approx([tick / 1000 for tick in ticks])
    assert frames.fps == pytest.approx(7 / 4.0)
    assert numbers_in(decode(path, FramePolicy(rule="all"), start=0.15, end=2.5).pixels) == [2, 3, 4]
    # on show at 0, 1, 2, 3 and 4 s
    assert numbers_in(decode(path, FramePolicy(fps=1), end=4.5).pixels)[:5] == [0, 4, 4, 6, 7]


def test_time_counts_from_the_first_frame_wherever_the_file_starts(clip) -> None:
    late = decode(clip("starts-late.mkv"), FramePolicy(rule="all"), start=1.0, end=2.0)
    assert numbers_in(late.pixels) == list(range(8, 16))
    assert late.timestamps[0] == pytest.approx(1.0)
    assert probe(clip("starts-late.mkv")).start_time == pytest.approx(5.0)


def test_an_edit_list_hides_frames(clip, tmp_path) -> None:
    """A trim without re-encoding keeps the packets before the cut and marks them as not to be shown."""
    trimmed = copy_packets(clip("b-frames.mp4"), tmp_path / "trimmed.mp4", shift=-16000)  # 1 s of 1/16000
    with av.open(str(trimmed)) as container:
        assert sum(packet.size > 0 for packet in container.demux(video=0)) > 32
    assert probe(trimmed).frames == 32
    frames = decode(trimmed, FramePolicy(count=4))
    assert frames.indices == (4, 12, 20, 28)
    assert numbers_in(frames.pixels) == [12, 20, 28, 36]


@pytest.mark.parametrize("skip", [5, 12, 13])
@pytest.mark.parametrize("suffix", ["ts", "mkv"])
def test_a_stream_cut_open_in_the_middle_counts_only_what_can_be_shown(clip, tmp_path, skip, suffix) -> None:
    cut = copy_packets(clip("transport.ts"), tmp_path / f"cut.{suffix}", skip=skip)
    numbers = numbers_in(decode(cut, FramePolicy(rule="all")).pixels)
    assert numbers == list(range(numbers[0], 40))
    assert numbers[0] > skip - 5
    assert probe(cut).frames == len(numbers)
    assert numbers_in(decode(cut, FramePolicy(count=3)).pixels) == [
        numbers[(2 * k + 1) * len(numbers) // 6] for k in range(3)
    ]


def test_a_stream_too_large_to_keep_is_read_twice(clip, monkeypatch) -> None:
    policy = FramePolicy(indices=(39, 0, 14, 14))
    kept = decode(clip("b-frames.mp4"), policy)
    monkeypatch.setattr(packets, "KEPT_BYTES", 1)
    again = decode(clip("b-frames.mp4"), policy)
    assert np.array_equal(kept.pixels, again.pixels)
    assert numbers_in(again.pixels) == [39, 0, 14, 14]


def test_rotation_is_applied(tmp_path) -> None:
    """Phones store the sensor's picture and say how to turn it; the turn is counterclockwise."""
    upright = decode(write_clip(tmp_path / "a.mp4", 2), FramePolicy(rule="all")).pixels
    for angle, turns in ((90, 1), (180, 2), (-90, 3)):
        path = write_clip(tmp_path / f"turned{angle}.mp4", 2, rotation=angle)
        turned = decode(path, FramePolicy(rule="all")).pixels
        assert np.array_equal(turned, np.rot90(upright, turns, axes=(1, 2)))
        info = probe(path)
        assert (info.height, info.width) == turned.shape[1:3]
        assert decode(path, FramePolicy(count=1, size=16)).pixels.shape == (
            (1, 20, 16, 3) if turns % 2 else (1, 16, 20, 3)
        )


@pytest.mark.parametrize(
    ("size", "expected"), [(32, (32, 40)), ((48, 48), (48, 48)), ((128, 160), (128, 160)), (None, (64, 80))]
)
def test_scaling_keeps_the_picture(clip, size, expected) -> None:
    frames = decode(clip("b-frames.mp4"), FramePolicy(count=5, size=size))
    assert frames.pixels.shape == (5, *expected, 3)
    assert numbers_in(frames.pixels) == list(frames.indices)


def test_scaling_agrees_with_pillow(tmp_path) -> None:
    """Bicubic with a widened filter, as Pillow's: equal within a few levels on a smooth picture."""
    from PIL import Image

    from synvita_data.video import encode_mp4

    y, x = np.mgrid[0:240, 0:320]
    smooth = np.stack([128 + 90 * np.sin(x / 31), 128 + 90 * np.cos(y / 23), (x + y) * 255 / 560], axis=-1)
    encode_mp4(smooth[None].astype(np.uint8), 8, tmp_path / "smooth.mp4", crf=0)
    stored = decode(tmp_path / "smooth.mp4", FramePolicy(count=1)).pixels[0]
    ours = decode(tmp_path / "smooth.mp4", FramePolicy(count=1, size=(96, 96))).pixels[0]
    pillow = np.asarray(Image.fromarray(stored).resize((96, 96), Image.Resampling.BICUBIC))
    difference = np.abs(ours.astype(int) - pillow)
    assert difference.mean() < 3
    assert difference.max() <= 10


def test_grey_levels_survive_the_colour_conversion(clip) -> None:
    frame = decode(clip("ten-bit.mp4"), FramePolicy(indices=(7,))).pixels[0].astype(int)
    assert np.abs(frame - picture(7)).mean() < 4  # ringing at block edges aside


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize(("matrix", "name"), [(1, "ITU709"), (6, "ITU601")])
def test_colour_tags_of_a_file_are_honoured(tmp_path, matrix: int, name: str, full_range: bool) -> None:
    """Flat colours stored by either matrix and range, tagged so, come back as they were."""
    colours = np.array([[220, 30, 40], [20, 200, 60], [40, 50, 230], [128, 128, 128]], np.uint8)
    with av.open(str(tmp_path / "tagged.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if full_range else 1
        for colour in colours:
            flat = np.broadcast_to(colour, (32, 32, 3)).copy()
            frame = av.VideoFrame.from_ndarray(flat, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=name, dst_color_range="JPEG" if full_range else "MPEG"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for size in (None, (24, 24)):
        found = decode(tmp_path / "tagged.mp4", FramePolicy(rule="all", size=size)).pixels.astype(int)
        assert np.abs(found - colours[:, None, None]).max() <= 5


def test_paths_bytes_and_dataset_structs_give_the_same(clip) -> None:
    path = clip("open-gop.mp4")
    data, policy = path.read_bytes(), FramePolicy(count=3)
    reference = decode(path, policy)
    sources = [
        str(path),
        data,
        bytearray(data),
        memoryview(data),
        {"bytes": data, "path": None},
        {"bytes": data, "path": "elsewhere.mp4"},
        {"bytes": None, "path": str(path)},
    ]
    for source in sources:
        assert np.array_equal(decode(source, policy).pixels, reference.pixels)
    assert decode(sources[5], policy).source == "elsewhere.mp4"
    assert reference.source == str(path)


def test_the_record_says_all_but_the_pixels(clip) -> None:
    frames = decode(clip("b-frames.mp4"), FramePolicy(count=2, size=(8, 16)))
    record = json.loads(json.dumps(frames.record()))
    assert record == {
        "source": str(clip("b-frames.mp4")),
        "backend": "pyav",
        "indices": [10, 30],
        "timestamps": [1.25, 3.75],
        "fps": 8.0,
        "height": 8,
        "width": 16,
    }
    assert len(frames) == 2


def test_threads_do_not_change_pixels(clip) -> None:
    one, many = (decode(clip("open-gop.mp4"), FramePolicy(count=6), threads=n).pixels for n in (1, 5))
    assert np.array_equal(one, many)


def test_threads_may_decode_at_once(clip) -> None:
    names = ["b-frames.mp4", "open-gop.mp4", "vp9.webm", "h264.avi"] * 3
    paths = [clip(name) for name in names]
    expected = [decode(path, FramePolicy(count=4)).pixels for path in paths]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda path: decode(path, FramePolicy(count=4)).pixels, paths))
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files through /proc")
def test_nothing_stays_open(clip) -> None:
    good = clip("b-frames.mp4")
    broken = good.read_bytes()[:-2000]
    decode(good, FramePolicy(count=2))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        decode(good, FramePolicy(count=2))
        probe(good)
        for source in (broken, b"not a video", io.BytesIO(broken).getvalue()[:100]):
            with pytest.raises(Exception, match="bytes"):
                decode(source)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_limits_are_kept(clip) -> None:
    path = clip("b-frames.mp4")
    for limits, word in [
        (Limits(max_bytes=100), "max_bytes"),
        (Limits(max_pixels=64 * 80 - 1), "max_pixels"),
        (Limits(max_frames=39), "max_frames"),
        (Limits(max_seconds=4.9), "max_seconds"),
        (Limits(max_output_bytes=8 * 64 * 80 * 3 - 1), "max_output_bytes"),
    ]:
        with pytest.raises(VideoTooLargeError, match=word) as caught:
            decode(path, limits=limits)
        assert caught.value.file == str(path)
        assert all((caught.value.found, caught.value.expected))
    exact = Limits(path.stat().st_size, 64 * 80, 40, 5.0, 8 * 64 * 80 * 3)
    assert len(decode(path, limits=exact)) == 8


def test_a_stream_that_grows_beyond_its_header_is_stopped(clip, tmp_path) -> None:
    """The header of a raw stream says 64 × 80; its second half is larger."""
    small, large = clip("raw.h264").read_bytes(), tmp_path / "large.h264"
    write_clip(large, 4, container="h264", size=(512, 512))
    with pytest.raises(Exception, match=r"damaged|too large"):
        decode(small + large.read_bytes(), FramePolicy(rule="all"), limits=Limits(max_pixels=128 * 128))


def test_windows_without_frames(clip) -> None:
    for start, end in ((5.0, None), (7.0, 9.0), (2.0, 1.0), (1.0, 1.0), (None, 0.0), (-2.0, -1.0)):
        with pytest.raises(NoFramesError, match="within the asked time"):
            decode(clip("b-frames.mp4"), start=start, end=end)


def test_frames_refuses_arrays_that_do_not_fit() -> None:
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="differ"):
        Frames(pixels, (0,), (0.0, 1.0), 8.0, "x", "pyav")
    with pytest.raises(ValueError, match="uint8"):
        Frames(pixels.astype(float), (0, 1), (0.0, 1.0), 8.0, "x", "pyav")


def test_real_clips(real_data) -> None:
    """What the generators' papers say: 49 and 32 frames at 8 a second."""
    for generator, frames, size in (("cogvideox", 49, (480, 720)), ("lavie", 32, (320, 512))):
        for path in sorted((real_data / "synvita-samples" / generator).glob("*.mp4")):
            info = probe(path)
            assert (info.frames, info.fps, info.height, info.width) == (frames, 8.0, *size)
            assert decode(path, FramePolicy(count=4, size=224)).pixels.shape[:2] == (4, 224)


def test_number_in_reads_what_picture_draws() -> None:
    for number in (0, 1, 2, 513, 1023):
        assert number_in(picture(number)) == number


def test_a_number_is_how_many_frames_and_the_repr_is_short(tmp_path):
    write_clip(tmp_path / "clip.mp4", 12)
    few = decode(tmp_path / "clip.mp4", 4)
    assert few.indices == decode(tmp_path / "clip.mp4", FramePolicy(count=4)).indices
    assert repr(few).startswith("<Frames: 4 of ")
    assert "clip.mp4" in repr(few)
    assert len(repr(few)) < 400
    for wrong in ("4", True, 4.0):
        with pytest.raises(FramePolicyError, match="a FramePolicy, or a number"):
            decode(tmp_path / "clip.mp4", wrong)
