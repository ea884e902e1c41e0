"""A frame is on show from its timestamp until the next frame's: every rule against a reference that looks at each
millisecond, with random timestamps and windows, and with encoded files of many containers."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numbered_clips import copy_packets, numbers_in, picture, write_clip

from synvita_data.video import (
    RULES,
    BackendError,
    FramePolicy,
    MissingBackendError,
    NoFramesError,
    decode,
    probe,
    select_frames,
)
from synvita_data.video.frames import Timeline, is_even

COUNTED = ["segment-midpoints", "linspace", "mplug-owl", "all"]
SLIDES = [0, 2000, 2100, 7000, 7125, 12000]  # ms at which pictures come on show; the last one stays for 4 s
SLIDES_END = 16_000


def on_show(ticks: Sequence[int], end: int, time: int) -> int | None:
    """The frame that a player shows at `time`, looked up one by one."""
    for index, tick in enumerate(ticks):
        until = ticks[index + 1] if index + 1 < len(ticks) else end
        if tick <= time < until:
            return index
    return None


def shown_within(ticks: Sequence[int], end: int, window: tuple[int | None, int | None]) -> list[int]:
    """Every frame on show at some millisecond of the window."""
    first = ticks[0] if window[0] is None else max(window[0], ticks[0])
    stop = end if window[1] is None else min(window[1], end)
    seen = {on_show(ticks, end, time) for time in range(first, stop)}
    return sorted(index for index in seen if index is not None)


def seconds(time: int | None) -> float | None:
    return None if time is None else time / 1000


@st.composite
def videos(draw: st.DrawFn) -> tuple[list[int], int]:
    """Ascending ticks of 1 ms from 0, with gaps from 1 ms to 3 s, and the end of the last frame."""
    gaps = draw(st.lists(st.one_of(st.integers(1, 60), st.integers(200, 3000)), max_size=30))
    ticks = np.cumsum([0, *gaps]).tolist()
    return ticks, ticks[-1] + draw(st.integers(1, 3000))


@st.composite
def windows(draw: st.DrawFn) -> tuple[tuple[list[int], int], tuple[int | None, int | None]]:
    """A video, and times around its frames: between them, on them, before the first and behind the last."""
    ticks, end = draw(videos())
    near = st.sampled_from([*ticks, end]).flatmap(lambda tick: st.integers(tick - 2, tick + 2))
    time = st.one_of(st.none(), near, st.integers(-500, end + 500))
    return (ticks, end), (draw(time), draw(time))


@given(windows(), st.sampled_from(COUNTED))
@example((([0, 10_000, 20_000, 30_000], 40_000), (2000, 8000)), "linspace")
@example((([0], 5000), (4000, None)), "all")
def test_every_rule_chooses_among_the_frames_on_show_in_the_window(case, rule: str) -> None:
    (ticks, end), (start, stop) = case
    times = [tick / 1000 for tick in ticks]
    bounds = {"start": seconds(start), "end": seconds(stop), "duration": end / 1000}
    inside = shown_within(ticks, end, (start, stop))
    if not inside:
        with pytest.raises(NoFramesError, match="within the asked time"):
            select_frames(FramePolicy(rule=rule), times, **bounds)
        return
    policy = FramePolicy(rule=rule)
    assert inside == list(range(inside[0], inside[-1] + 1))
    expected = [inside[0] + k for k in RULES[rule](len(inside), policy.count or 0)]
    assert select_frames(policy, times, **bounds) == expected


@given(windows(), st.sampled_from([1, 2, 4, 5, 8, 10, 100]))
def test_fps_looks_at_what_is_on_show_at_each_instant(case, fps: int) -> None:
    (ticks, end), (start, stop) = case
    times = [tick / 1000 for tick in ticks]
    bounds = {"start": seconds(start), "end": seconds(stop), "duration": end / 1000}
    if not shown_within(ticks, end, (start, stop)):
        with pytest.raises(NoFramesError):
            select_frames(FramePolicy(fps=fps), times, **bounds)
        return
    begin = 0 if start is None else max(start, 0)
    # Instants in thousandths of a millisecond, so that every rate comes out whole.
    last = min(end if stop is None else stop, end)
    instants = range(begin * 1000, last * 1000, 1_000_000 // fps)
    expected = [on_show([tick * 1000 for tick in ticks], end * 1000, instant) for instant in instants]
    assert select_frames(FramePolicy(fps=fps), times, **bounds) == expected


@given(windows())
def test_an_index_may_be_asked_for_where_its_frame_is_on_show(case) -> None:
    (ticks, end), (start, stop) = case
    times = [tick / 1000 for tick in ticks]
    inside = shown_within(ticks, end, (start, stop))
    for index in range(len(ticks)):
        ask = FramePolicy(indices=(index,))
        bounds = {"start": seconds(start), "end": seconds(stop), "duration": end / 1000}
        if index in inside:
            assert select_frames(ask, times, **bounds) == [index]
        else:
            with pytest.raises(NoFramesError):
                select_frames(ask, times, **bounds)


@given(
    steps=st.lists(st.integers(1, 5000), max_size=40),
    base=st.sampled_from(["1/16000", "1001/30000", "1/90000", "1/1000", "1/3", "125/2997"]).map(Fraction),
    first=st.integers(-9000, 10**7),
    data=st.data(),
)
def test_a_timestamp_that_is_written_with_six_decimals_is_still_that_frame(steps, base, first, data) -> None:
    """Rational time bases: what `round(timestamp, 6)` or the float itself asks for is this frame and no other."""
    ticks = (first + np.cumsum([0, *steps])).tolist()
    timeline = Timeline.from_ticks(ticks, 1, base)
    index = data.draw(st.integers(0, len(ticks) - 1))
    exact = (ticks[index] - first) * base
    for start in (float(exact), round(float(exact), 6)):
        chosen = select_frames(
            FramePolicy(rule="all"), timeline.timestamps, start=start, duration=timeline.duration
        )
        assert chosen[0] == index
    if index:  # and it ends the window before
        chosen = select_frames(FramePolicy(rule="all"), timeline.timestamps, end=round(float(exact), 6))
        assert chosen[-1] == index - 1


@pytest.mark.parametrize(
    ("start", "end"), [(float("inf"), None), (None, float("-inf")), (3.0, float("-inf"))]
)
def test_endless_windows_without_frames(start, end) -> None:
    with pytest.raises(NoFramesError):
        select_frames(FramePolicy(), [0.0, 1.0], start=start, end=end, duration=2.0)


def test_endless_windows() -> None:
    bounds = {"start": float("-inf"), "end": float("inf"), "duration": 2.0}
    assert select_frames(FramePolicy(rule="all"), [0.0, 1.0], **bounds) == [0, 1]
    assert select_frames(FramePolicy(fps=2), [0.0, 1.0], **bounds) == [0, 0, 1, 1]


def test_a_single_picture_without_a_length_is_on_show_at_its_instant() -> None:
    assert select_frames(FramePolicy(count=3), [0.0], start=0.0, duration=0.0) == [0, 0, 0]
    assert select_frames(FramePolicy(fps=2), [0.0], duration=0.0) == [0]
    with pytest.raises(NoFramesError):
        select_frames(FramePolicy(), [0.0], start=0.001, duration=0.0)


def test_even_is_a_steady_rate_but_for_the_rounding_of_milliseconds() -> None:
    rate = 30_000 / 1001
    exact = [i / rate for i in range(5000)]
    rounded = [round(time, 3) for time in exact]
    assert is_even(range(5000), exact, rate)
    assert is_even(range(5000), rounded, 4999 / rounded[-1])
    assert not is_even(range(3), [0.0, 0.1, 0.5], 4.0)
    assert is_even([4, 4, 9], [0.4, 0.4, 0.9], 10.0)


# --- encoded files ------------------------------------------------------------------------------------------------

B_FRAMES = {"x264-params": "keyint=3:min-keyint=3:scenecut=0:bframes=2:b-adapt=0"}
FILES = {
    "plain.mp4": {"bframes": 0},
    "b-frames.mp4": {"options": B_FRAMES},
    "fragmented.mp4": {"options": B_FRAMES, "movflags": "frag_keyframe+empty_moov"},
    "plain.mov": {"options": B_FRAMES},
    "b-frames.mkv": {"options": B_FRAMES},
    "late.mkv": {"late": 5000},
    "vp8.webm": {"codec": "libvpx"},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "flash.flv": {"options": B_FRAMES},
    "transport.ts": {"options": B_FRAMES, "repeat": 40},
    "pictures.gif": {"codec": "gif", "pix_fmt": "rgb8", "hundredths": True},
    "left-out.avi": {"codec": "mpeg4", "bframes": 0, "hundredths": True},
    "left-out-h264.avi": {"bframes": 0, "hundredths": True},
}


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory):
    """slides(name): path of one of FILES; its ticks (ms), for those that need more frames the same slides again."""
    folder = tmp_path_factory.mktemp("slides")

    def made(name: str) -> tuple[Path, list[int]]:
        settings = dict(FILES[name])
        late, repeat = settings.pop("late", 0), settings.pop("repeat", 1)
        ticks = [tick + 16_000 * again for again in range(-(-repeat // len(SLIDES))) for tick in SLIDES]
        if settings.pop("hundredths", False):  # what these two count in
            ticks = [tick - tick % 10 for tick in ticks]
            settings |= {"time_base": Fraction(1, 100)}
            written = [tick // 10 for tick in ticks]
        else:
            written = [tick + late for tick in ticks]
        path = folder / name
        if not path.exists():
            write_clip(path, len(ticks), ticks=written, **settings)
        return path, ticks

    return made


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """The backend of the parameter, or a skip where it cannot run."""
    from importlib import import_module

    if request.param != "pyav":
        module = import_module("synvita_data.video.other_backends")
        try:
            getattr(module, f"_import_{request.param}")()
        except MissingBackendError as error:
            pytest.skip(str(error))
    return request.param


WINDOWS = [(500, 1500), (1999, 2001), (2050, 7100), (2100, 7000), (3000, 3001), (7001, 7124), (7130, 11_999)]


@pytest.mark.parametrize("backend", ["pyav", "decord", "torchcodec"], indirect=True)
@pytest.mark.parametrize("name", FILES)
def test_files_show_what_is_on_show(slides, backend: str, name: str) -> None:
    """Every backend gives the frames of the reference, or says that it cannot read this file; never others."""
    path, ticks = slides(name)
    for start, end in WINDOWS:
        inside = shown_within(ticks, ticks[-1] + 10, (start, end))
        for policy in (FramePolicy(rule="all", backend=backend), FramePolicy(count=4, backend=backend)):
            try:
                found = decode(path, policy, start / 1000, end / 1000)
            except BackendError:
                assert backend != "pyav"
                continue
            assert numbers_in(found.pixels) == list(found.indices)
            assert sorted(set(found.indices)) == inside
        instants = range(start, end, 250)
        expected = [on_show(ticks, ticks[-1] + 10, instant) for instant in instants]
        found = decode(path, FramePolicy(fps=4), start / 1000, end / 1000)
        assert numbers_in(found.pixels) == expected
        assert found.look_times == pytest.approx([instant / 1000 for instant in instants])


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "flv"])
@pytest.mark.parametrize("frames", [1, 6])
def test_the_last_frame_is_on_show_as_long_as_the_file_says(tmp_path, suffix: str, frames: int) -> None:
    plain = write_clip(tmp_path / "plain.mp4", frames, ticks=SLIDES[:frames], bframes=0)
    path = tmp_path / f"clip.{suffix}"
    with av.open(str(plain)) as given_file, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(given_file.streams.video[0])
        output.start_encoding()
        packets = [packet for packet in given_file.demux(video=0) if packet.size]
        packets[-1].duration = int(4 / packets[-1].time_base)
        for packet in packets:
            packet.stream = stream
            output.mux(packet)
    end = SLIDES[frames - 1] / 1000 + 4
    assert probe(path).duration == pytest.approx(end)
    last = frames - 1
    assert set(decode(path, start=end - 1, end=end + 20).indices) == {last}
    assert decode(path, FramePolicy(fps=1), start=end - 3).indices == (last,) * 3
    assert decode(path, FramePolicy(fps=1), start=end - 3.5, end=end - 0.5).indices == (last,) * 3
    with pytest.raises(NoFramesError, match=f"{end:.3f} s"):
        decode(path, start=end)


def test_reordered_frames_of_uneven_length_end_when_the_track_does(tmp_path) -> None:
    """MP4 stores the time to the next packet, and the last frame shown is not the last packet."""
    ticks = [0, 100, 200, 300, 5000, 5100, 5200]
    params = "bframes=2:b-adapt=0:b-pyramid=none"
    path = write_clip(tmp_path / "clip.mp4", 7, ticks=ticks, options={"x264-params": params})
    with av.open(str(path)) as opened:
        stream = opened.streams.video[0]
        packets = [packet for packet in opened.demux(stream) if packet.size]
        last = max(packets, key=lambda packet: packet.pts)
        track = float(stream.duration * stream.time_base)
    assert last is not packets[-1]
    assert float((last.pts + last.duration) * last.time_base) > 9  # to the packet after it in the file
    assert probe(path).duration == track == pytest.approx(5.325)
    assert decode(path, FramePolicy(fps=20), start=5.2).indices == (6, 6, 6)
    with pytest.raises(NoFramesError):
        decode(path, start=5.33)


def with_sound(path: Path, video_late: int, sound_late: int) -> Path:
    """Thirty numbered frames, ten a second, and silence, each beginning so many milliseconds late."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=10)
        video.height, video.width, video.pix_fmt = 64, 80, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        sound = output.add_stream("aac", rate=48_000)
        sound.layout = "mono"
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = video_late + 100 * number, Fraction(1, 1000)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        for number in range(140):
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            silence.sample_rate, silence.time_base = 48_000, Fraction(1, 48_000)
            silence.pts = 48 * sound_late + 1024 * number
            output.mux(sound.encode(silence))
        output.mux(sound.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "ts"])
def test_a_clip_is_cut_by_the_players_clock_which_the_sound_may_start(tmp_path, suffix: str) -> None:
    """The sound begins at 0 and the picture at 0.5 s: what is shown at second 1 is frame 5."""
    path = with_sound(tmp_path / f"late.{suffix}", 500, 0)
    assert probe(path).first_shown == pytest.approx(0.5, abs=0.03)  # some muxers add the codec's warm-up
    assert numbers_in(decode(path, FramePolicy(rule="all"), 1.06, 1.46).pixels) == [5, 6, 7, 8, 9]
    assert decode(path, FramePolicy(rule="all"), 1.06, 1.46).timestamps[0] == pytest.approx(0.5)
    with pytest.raises(NoFramesError) as caught:  # nothing is shown yet
        decode(path, start=0.0, end=0.25)
    assert caught.value.found == "[0.0, 0.25) s"
    assert caught.value.expected.endswith("(0.500 to 3.500 s)" if suffix in ("mp4", "mov") else " s)")
    assert decode(path, FramePolicy(fps=1)).indices == (0, 10, 20)


def test_sound_that_begins_later_moves_nothing(tmp_path) -> None:
    path = with_sound(tmp_path / "clip.mp4", 0, 500)
    assert probe(path).first_shown == 0
    assert decode(path, FramePolicy(rule="all"), 1.0, 1.5).indices == (10, 11, 12, 13, 14)


@pytest.mark.parametrize("shift", [-16_000, 16_000, 123_456])
def test_edit_lists_and_late_beginnings_count_from_the_first_frame_shown(tmp_path, shift: int) -> None:
    """Eight frames a second; the first second hidden by an edit list, or the whole moved to a later time."""
    plain = write_clip(tmp_path / "plain.mp4", 40, options=B_FRAMES)
    path = copy_packets(plain, tmp_path / "moved.mp4", shift=shift)
    hidden = 8 if shift < 0 else 0
    found = decode(path, FramePolicy(rule="all"), 1.01, 1.99)
    assert numbers_in(found.pixels) == [number + hidden for number in range(8, 16)]
    assert decode(path, FramePolicy(fps=8), 1.01, 1.99).indices == found.indices


def test_negative_times(tmp_path) -> None:
    path = write_clip(tmp_path / "clip.ts", 40, ticks=[-1000 + 125 * i for i in range(40)], options=B_FRAMES)
    assert numbers_in(decode(path, FramePolicy(rule="all"), 1.01, 1.99).pixels) == list(range(8, 16))


@settings(max_examples=20)
@given(
    gaps=st.lists(st.sampled_from([40, 41, 100, 500, 3000]), min_size=1, max_size=12),
    bframes=st.integers(0, 3),
    container=st.sampled_from(["mp4", "matroska"]),
    data=st.data(),
)
def test_random_files_and_windows(tmp_path_factory, gaps, bframes, container, data) -> None:
    """What stands in the file is read back and looked up millisecond by millisecond."""
    ticks = np.cumsum([0, *gaps]).tolist()
    path = tmp_path_factory.mktemp("random") / "clip"
    params = f"keyint=4:scenecut=0:bframes={bframes}:b-adapt=0"
    write_clip(
        path, len(ticks), ticks=ticks, container=container, options={"x264-params": params}, size=(64, 80)
    )
    end = round(probe(path).duration * 1000)
    time = st.one_of(st.sampled_from(ticks), st.integers(0, ticks[-1]))
    start, stop = data.draw(time), data.draw(time)
    inside = shown_within(ticks, end, (start, stop))
    if not inside:
        with pytest.raises(NoFramesError):
            decode(path, FramePolicy(rule="all"), start / 1000, stop / 1000)
        return
    assert numbers_in(decode(path, FramePolicy(rule="all"), start / 1000, stop / 1000).pixels) == inside
