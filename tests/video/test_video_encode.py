"""encode_mp4: what was put in comes out, and the same bytes come out every time."""

import hashlib
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from numbered_clips import numbers_in, picture

from synvita_data.video import EncodeError, FramePolicy, check_video, decode, encode_mp4


def numbered(count: int) -> np.ndarray:
    return np.stack([picture(i) for i in range(count)])


def test_frames_come_back_in_order_and_close(tmp_path) -> None:
    pixels = numbered(30)
    encode_mp4(pixels, 8, tmp_path / "clip.mp4")
    found = decode(tmp_path / "clip.mp4", FramePolicy(rule="all"))
    assert numbers_in(found.pixels) == list(range(30))
    assert np.abs(found.pixels.astype(int) - pixels).mean() < 3
    info = check_video(tmp_path / "clip.mp4", decode_all=True)
    assert (info.codec, info.pix_fmt, info.frames, info.fps, info.duration) == (
        "h264",
        "yuv420p",
        30,
        8.0,
        3.75,
    )


def test_colours_come_back(tmp_path) -> None:
    """Flat frames of one colour: no chroma is lost, only rounding between RGB and limited-range YUV."""
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [200, 120, 30]])
    pixels = np.broadcast_to(colours[:, None, None], (6, 32, 32, 3)).astype(np.uint8)
    encode_mp4(pixels, 8, tmp_path / "clip.mp4", crf=0)
    found = decode(tmp_path / "clip.mp4", FramePolicy(rule="all")).pixels.astype(int)
    assert np.abs(found - pixels).max() <= 3


def test_the_same_frames_give_the_same_bytes_in_another_process(tmp_path) -> None:
    encode_mp4(numbered(20), 8, tmp_path / "a.mp4")
    encode_mp4((frame for frame in numbered(20)), 8.0, tmp_path / "b.mp4")
    script = (
        "import numpy as np, sys; from numbered_clips import picture; from synvita_data.video import encode_mp4;"
        "encode_mp4(np.stack([picture(i) for i in range(20)]), 8, sys.argv[1])"
    )
    from pathlib import Path

    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "c.mp4")],
        cwd=Path(__file__).parent,
        check=True,
        timeout=300,
    )
    digests = {
        hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("a.mp4", "b.mp4", "c.mp4")
    }
    assert len(digests) == 1


def test_the_file_says_neither_when_nor_with_what_it_was_written(tmp_path) -> None:
    encode_mp4(numbered(4), 8, tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        words = {**container.metadata, **container.streams.video[0].metadata}
    assert not {"encoder", "creation_time"} & words.keys()
    data = (tmp_path / "clip.mp4").read_bytes()
    assert b"Lavf" not in data
    assert b"Lavc" not in data
    assert data.index(b"moov") < data.index(b"mdat")  # index in front, so that it plays while it loads


@pytest.mark.parametrize(
    ("fps", "exact"),
    [
        (8, 8),
        (29.97, Fraction(30000, 1001)),
        (23.976, Fraction(24000, 1001)),
        (Fraction(15, 2), Fraction(15, 2)),
        (12.5, 12.5),
    ],
)
def test_frame_rates_are_exact(tmp_path, fps, exact) -> None:
    encode_mp4(numbered(9), fps, tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.streams.video[0].average_rate == Fraction(exact)
    found = decode(tmp_path / "clip.mp4", FramePolicy(rule="all"))
    assert found.timestamps == pytest.approx([i / float(exact) for i in range(9)], abs=1e-4)


def test_views_and_one_frame(tmp_path) -> None:
    pixels = numbered(12)[::-3, :, ::-1]
    encode_mp4(pixels, 8, tmp_path / "view.mp4")
    assert (
        np.abs(decode(tmp_path / "view.mp4", FramePolicy(rule="all")).pixels.astype(int) - pixels).mean() < 3
    )
    encode_mp4(numbered(1), 8, tmp_path / "one.mp4")
    assert decode(tmp_path / "one.mp4").indices == (0,) * 8


@pytest.mark.parametrize(
    ("pixels", "fps", "words"),
    [
        (np.zeros((0, 4, 4, 3), np.uint8), 8, "nothing to encode"),
        (np.zeros((2, 5, 4, 3), np.uint8), 8, r"5×4.*6×4"),
        (np.zeros((2, 4, 5, 3), np.uint8), 8, r"4×5.*4×6"),
        (np.zeros((2, 4, 4, 3), np.float32), 8, "float32"),
        (np.zeros((2, 4, 4), np.uint8), 8, "RGB"),
        (np.zeros((2, 4, 4, 4), np.uint8), 8, "RGB"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)], 8, "frame 1 has another size"),
        ([np.zeros((4, 4, 3), np.uint8), "x"], 8, "frame 1 is not"),
        (np.zeros((2, 4, 4, 3), np.uint8), 0, "fps"),
        (np.zeros((2, 4, 4, 3), np.uint8), float("nan"), "fps"),
    ],
)
def test_what_cannot_be_encoded_is_named_and_leaves_nothing(tmp_path, pixels, fps, words) -> None:
    with pytest.raises(EncodeError, match=words):
        encode_mp4(pixels, fps, tmp_path / "clip.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_broken_stream_of_frames_leaves_the_old_file(tmp_path) -> None:
    encode_mp4(numbered(3), 8, tmp_path / "clip.mp4")
    before = (tmp_path / "clip.mp4").read_bytes()

    def failing():
        yield picture(1)
        raise KeyError("the renderer failed")

    with pytest.raises(KeyError):
        encode_mp4(failing(), 8, tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
