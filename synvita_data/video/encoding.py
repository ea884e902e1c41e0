"""`encode_mp4`: frames to an H.264 file that every player opens, with the same bytes every time."""

import itertools
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import EncodeError
from ..files import atomic_path

# One thread and x264's processor-independent arithmetic: the same frames give the same bytes, with one
# version of x264 (the version stands in the stream).
_X264 = {"preset": "medium", "threads": "1", "x264-params": "cpu-independent=1"}


def encode_mp4(
    pixels: NDArray[np.uint8] | Iterable[NDArray[np.uint8]],
    fps: float | Fraction,
    path: str | Path,
    *,
    crf: int = 18,
) -> None:
    """Write RGB frames as MP4: H.264, yuv420p (BT.601, limited range), index in front, no date in it.

    The file appears under its name only when it is complete. Frames may come from an iterator: only
    the encoder's look-ahead is held in memory.

    Args:
        pixels: uint8 [T, H, W, 3], or an iterable of uint8 [H, W, 3]; height and width even, because 4:2:0
            chroma has half of each (an odd size is an error here, not a silent change of size).
        fps: frames a second, kept exactly as a fraction (29.97 becomes 30000/1001).
        path: where to write; the folder is made.
        crf: x264's constant rate factor, 0 (lossless in YUV) to 51.

    Raises:
        EncodeError: no frames, another dtype or shape, odd or changing sizes, fps not positive.
    """
    import av
    from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

    path = Path(path)
    rate = _exact_rate(fps, path)
    frames = iter(pixels)
    first = next(frames, None)
    if first is None:
        raise EncodeError("there is nothing to encode", file=path, found="0 frames", expected="one or more")
    height, width = size = _check_frame(first, path, 0)
    if height % 2 or width % 2:
        raise EncodeError(
            "yuv420p needs an even height and width",
            file=path,
            found=f"{height}×{width}",
            expected=f"{height + height % 2}×{width + width % 2}",
            fix="Crop or pad the frames",
        )
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with (
        atomic_path(path) as temporary,
        av.open(str(temporary), "w", format="mp4", options=options) as container,
    ):
        stream = container.add_stream("libx264", rate=rate, options={**_X264, "crf": str(crf)})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = 1 / rate
        context.color_range, context.colorspace = ColorRange.MPEG, 6  # 6: SMPTE 170M, the BT.601 matrix
        context.flags |= 1 << 23  # AV_CODEC_FLAG_BITEXACT: no library version in the file
        scaler = VideoReformatter()
        for number, image in enumerate(itertools.chain([first], frames)):
            if _check_frame(image, path, number) != size:
                raise EncodeError(
                    f"frame {number} has another size than frame 0",
                    file=path,
                    found="×".join(map(str, image.shape[:2])),
                    expected="×".join(map(str, size)),
                )
            picture = scaler.reformat(
                av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU601,
                dst_color_range=ColorRange.MPEG,
                interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT,
                threads=1,
            )
            picture.pts, picture.time_base = number, 1 / rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def _check_frame(pixels: NDArray[np.uint8], path: Path, number: int) -> tuple[int, int]:
    found = f"{getattr(pixels, 'dtype', type(pixels).__name__)} {list(getattr(pixels, 'shape', ()))}"
    if getattr(pixels, "dtype", None) != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise EncodeError(
            f"frame {number} is not an RGB picture", file=path, found=found, expected="uint8 [H, W, 3]"
        )
    if 0 in pixels.shape:
        raise EncodeError(f"frame {number} is empty", file=path, found=found, expected="H and W of 2 or more")
    return pixels.shape[0], pixels.shape[1]


def _exact_rate(fps: float | Fraction, path: Path) -> Fraction:
    try:
        rate = Fraction(fps)
    except (ValueError, OverflowError, TypeError) as error:
        raise EncodeError("fps is not a number", file=path, found=repr(fps), expected="fps > 0") from error
    if not 0 < rate <= 1000:
        raise EncodeError("fps is out of range", file=path, found=fps, expected="0 < fps <= 1000")
    ntsc = Fraction(round(rate * 1001), 1001)  # 29.97 and 23.976 mean these
    if rate.denominator > 1001 and round(float(ntsc), 3) == round(float(rate), 3):
        return ntsc
    return rate.limit_denominator(1001)
