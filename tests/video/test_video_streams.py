"""Which of several video streams is decoded: FFmpeg's own choice, whatever decodes, or an error with a name."""

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
from av.stream import Disposition
from numbered_clips import numbers_in, picture

from synvita_data.video import (
    BackendError,
    FramePolicy,
    MissingBackendError,
    NoVideoStreamError,
    check_video,
    decode,
    probe,
)
from synvita_data.video.rules import takes_other_stream

NONE, DEFAULT, PICTURE = Disposition(0), Disposition.default, Disposition.attached_pic
SMALL, LARGE = (64, 80), (128, 160)


class Stream(NamedTuple):
    """A stream whose frames show first, first + 1, …"""

    first: int
    frames: int = 12
    size: tuple[int, int] = SMALL
    disposition: Disposition = NONE
    codec: str = "libx264"
    rate: int = 10


def write(path: Path, *streams: Stream, sound: bool = False) -> Path:
    with av.open(str(path), "w") as output:
        opened = []
        for each in streams:
            stream = output.add_stream(each.codec, rate=each.rate)
            stream.height, stream.width = each.size
            stream.pix_fmt = "yuvj420p" if each.codec == "mjpeg" else "yuv420p"
            stream.disposition = each.disposition
            opened.append(stream)
        if sound:
            voice = output.add_stream("aac", rate=48_000)
            voice.layout = "mono"
        for stream, each in zip(opened, streams, strict=True):
            for number in range(each.frames):
                frame = av.VideoFrame.from_ndarray(picture(each.first + number, *each.size), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, each.rate)
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        if sound:
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            silence.sample_rate, silence.pts, silence.time_base = 48_000, 0, Fraction(1, 48_000)
            output.mux(voice.encode(silence))
            output.mux(voice.encode(None))
    return path


# name -> the streams, and which of them is the video.
FILES: dict[str, tuple[list[Stream], int]] = {
    "second-is-default.mp4": ([Stream(100), Stream(200, size=LARGE, disposition=DEFAULT)], 1),
    "second-is-default.mkv": ([Stream(100), Stream(200, size=LARGE, disposition=DEFAULT)], 1),
    "second-is-default.mov": ([Stream(100), Stream(200, size=LARGE, disposition=DEFAULT)], 1),
    "small-default-first.mkv": ([Stream(100, disposition=DEFAULT), Stream(200, size=LARGE)], 0),
    "thumbnail-first.mp4": ([Stream(100, 1, codec="mjpeg"), Stream(200, disposition=DEFAULT)], 1),
    "thumbnail-first.mkv": ([Stream(100, 1, codec="mjpeg"), Stream(200)], 1),
    "both-default-thumbnail.mp4": (
        [Stream(100, 1, codec="mjpeg", disposition=DEFAULT), Stream(200, disposition=DEFAULT)],
        1,
    ),
    # Equal marks and many frames: the bit rate in MP4, which tells it (the larger picture), and the first in Matroska.
    "both-default.mp4": (
        [Stream(100, disposition=DEFAULT), Stream(200, size=LARGE, disposition=DEFAULT)],
        1,
    ),
    "none-default.mkv": ([Stream(100), Stream(200, size=LARGE)], 0),
    "different-rates.mkv": ([Stream(100), Stream(200, 36, rate=30)], 1),
    "transport.ts": ([Stream(100, 40), Stream(200, 120, size=LARGE, rate=30)], 1),
    "for-the-impaired.mkv": ([Stream(100, disposition=Disposition.visual_impaired), Stream(200)], 1),
    "cover.mp4": ([Stream(100, 1, codec="mjpeg", disposition=PICTURE), Stream(200, 12)], 1),
    "cover-beside-one-frame.mp4": ([Stream(100, 1, codec="mjpeg", disposition=PICTURE), Stream(200, 1)], 1),
    "three.mkv": ([Stream(100), Stream(200), Stream(300, disposition=DEFAULT)], 2),
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("streams")

    def made(name: str) -> Path:
        return folder / name if (folder / name).exists() else write(folder / name, *FILES[name][0])

    return made


@pytest.mark.parametrize("name", FILES)
def test_the_stream_of_every_reading_is_the_same(file, name: str) -> None:
    path, (streams, best) = file(name), FILES[name]
    wanted = streams[best]
    shown = [wanted.first + number for number in range(wanted.frames)]
    assert numbers_in(decode(path, FramePolicy(rule="all")).pixels) == shown
    assert (
        numbers_in(decode(path.read_bytes(), FramePolicy(indices=(wanted.frames - 1,))).pixels) == shown[-1:]
    )
    for info in (probe(path), check_video(path), check_video(path, decode_all=True)):
        assert (info.frames, info.height, info.width) == (wanted.frames, *wanted.size)
        assert info.duration == pytest.approx(wanted.frames / wanted.rate, abs=0.01)
        assert info.codec == ("mjpeg" if wanted.codec == "mjpeg" else "h264")
    first_video = next(i for i, each in enumerate(streams) if each.disposition != PICTURE)
    assert takes_other_stream(path) == (best != first_video)


@pytest.mark.parametrize("name", [name for name in FILES if "cover" not in name])
def test_it_is_the_one_that_ffmpeg_takes(file, name: str) -> None:
    """`av_find_best_stream`, asked directly."""
    with av.open(str(file(name))) as container:
        best = container.streams.best("video")
        assert container.streams.video.index(best) == FILES[name][1]


@pytest.mark.parametrize("backend", ["decord", "torchcodec"])
@pytest.mark.parametrize("name", FILES)
def test_other_backends_take_the_same_or_refuse(file, name: str, backend: str) -> None:
    path = file(name)
    for policy in (FramePolicy(rule="all", backend=backend), FramePolicy(count=2, backend=backend)):
        ours = decode(path, FramePolicy(rule=policy.rule, count=policy.count))
        try:
            theirs = decode(path, policy)
        except MissingBackendError as error:
            pytest.skip(str(error))
        except BackendError as error:
            refusal = error
        else:
            assert np.array_equal(ours.pixels, theirs.pixels)
            continue
        # Neither reads transport streams reliably; that they say so is what matters.
        assert name.endswith(".ts") or (
            backend == "decord" and "which of several video streams" in refusal.problem
        )


def test_bytes_that_end_early_are_refused_whichever_stream_they_hold(file) -> None:
    """The sample table of the stream that is shown decides whether a file is whole."""
    whole = file("second-is-default.mp4").read_bytes()
    with pytest.raises(Exception, match=r"cut off|damaged"):
        check_video(whole[: len(whole) // 2])


def test_a_damaged_preview_does_not_matter_and_a_damaged_video_does(tmp_path) -> None:
    path = write(tmp_path / "two.mp4", Stream(100), Stream(200, size=LARGE, disposition=DEFAULT))
    spans = {}
    with av.open(str(path)) as container:
        for number, stream in enumerate(container.streams.video):
            entry = stream.index_entries[0]
            spans[number] = (entry.pos, entry.size)
    for number, (position, size) in spans.items():
        data = bytearray(path.read_bytes())
        data[position : position + size] = bytes(size)
        if number == 0:
            assert check_video(bytes(data)).frames == 12
        else:
            with pytest.raises(Exception, match="damaged"):
                check_video(bytes(data))


def test_sound_alone_or_with_a_cover_is_no_video(tmp_path) -> None:
    for name, streams in (
        ("sound.mp4", []),
        ("cover.mp4", [Stream(1, 1, codec="mjpeg", disposition=PICTURE)]),
    ):
        path = write(tmp_path / name, *streams, sound=True)
        with pytest.raises(NoVideoStreamError, match="audio"):
            decode(path)
        assert not takes_other_stream(path)


def test_what_cannot_be_read_takes_no_stream(tmp_path) -> None:
    (tmp_path / "no.mp4").write_bytes(b"no video")
    assert not takes_other_stream(tmp_path / "no.mp4")
    assert not takes_other_stream(tmp_path / "nowhere.mp4")
