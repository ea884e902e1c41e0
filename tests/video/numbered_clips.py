"""Clips whose every frame shows its own number, written with PyAV alone: what a decoder must find in them is known."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

HEIGHT, WIDTH = 64, 80
_ROWS, _COLUMNS = 2, 5  # ten bits, as blocks of 32 × 16


def picture(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """uint8 [height, width, 3] that shows `number` (0 to 1023) as dark and bright blocks."""
    bits = np.array([number >> i & 1 for i in range(_ROWS * _COLUMNS)]).reshape(_ROWS, _COLUMNS)
    rows = np.arange(height) * _ROWS // height
    columns = np.arange(width) * _COLUMNS // width
    grey = np.where(bits[rows][:, columns] == 1, 210, 40).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def number_in(pixels: np.ndarray) -> int:
    """The number that a decoded, perhaps scaled, frame shows."""
    height, width = pixels.shape[:2]
    number = 0
    for i in range(_ROWS * _COLUMNS):
        row, column = divmod(i, _COLUMNS)
        y, x = (2 * row + 1) * height // (2 * _ROWS), (2 * column + 1) * width // (2 * _COLUMNS)
        number |= int(pixels[y - 1 : y + 2, x - 1 : x + 2].mean() > 125) << i
    return number


def numbers_in(pixels: np.ndarray) -> list[int]:
    return [number_in(frame) for frame in pixels]


def write_clip(
    path: Path,
    frames: int,
    *,
    codec: str = "libx264",
    container: str | None = None,
    ticks: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 1000),
    size: tuple[int, int] = (HEIGHT, WIDTH),
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    movflags: str = "",
    rotation: int | None = None,
    bframes: int | None = None,
) -> Path:
    """Encode frames numbered 0, 1, … shown at `ticks` (default: every 125 of 1/1000 s, 8 a second)."""
    ticks = [125 * i for i in range(frames)] if ticks is None else ticks
    with av.open(
        str(path), "w", format=container, options={"movflags": movflags} if movflags else {}
    ) as output:
        stream = output.add_stream(codec, rate=Fraction(8), options=options or {})
        stream.height, stream.width = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = time_base
        if bframes is not None:
            stream.codec_context.max_b_frames = bframes
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for number, tick in zip(range(frames), ticks, strict=True):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24").reformat(
                format=pix_fmt
            )
            frame.pts, frame.time_base = tick, time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def copy_packets(
    source: Path,
    path: Path,
    *,
    container: str | None = None,
    skip: int = 0,
    shift: int = 0,
    movflags: str = "",
) -> Path:
    """Stream-copy the video of `source`, leaving out its first `skip` packets and shifting time by `shift` ticks."""
    with (
        av.open(str(source)) as given,
        av.open(
            str(path), "w", format=container, options={"movflags": movflags} if movflags else {}
        ) as output,
    ):
        stream = output.add_stream_from_template(given.streams.video[0])
        output.start_encoding()
        for number, packet in enumerate(p for p in given.demux(video=0) if p.size):
            if number < skip:
                continue
            packet.stream = stream
            if shift:
                packet.pts += shift
                packet.dts += shift
            output.mux(packet)
    return path
