"""What a pipeline returns, as uint8 frames; what is no video is refused."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synvita_data.errors import VideoError

# A whole video within this range of values shows nothing: what a VAE that overflowed gives.
FLAT_RANGE = 2


def to_uint8(frames: Any) -> NDArray[np.uint8]:
    """One video of a pipeline (`output_type="np"`) as uint8 [T, H, W, 3].

    Args:
        frames: floats in [0, 1], uint8, or a list of either or of PIL pictures, [T, H, W, 3].

    Raises:
        VideoError: no such frames; values that are not finite (NaN is how an fp16 overflow shows); or a
            video of one flat colour.
    """
    array = np.asarray([np.asarray(frame) for frame in frames])
    if array.ndim != 4 or array.shape[-1] != 3 or 0 in array.shape:
        raise VideoError("the pipeline gave no frames", found=f"{array.dtype} {list(array.shape)}")
    if array.dtype != np.uint8:
        finite = np.isfinite(array)
        if not finite.all():
            raise VideoError(
                "the pipeline gave values that are not numbers",
                found=f"{int((~finite).sum())} of {array.size} values are NaN or infinite",
                fix="Give --set dtype=bfloat16 or vae_dtype=float32: fp16 overflows in some models",
            )
        array = (array.clip(0, 1) * 255).round().astype(np.uint8)
    low, high = int(array.min()), int(array.max())
    if high - low <= FLAT_RANGE:
        raise VideoError(
            "the video shows nothing but one flat colour",
            found=f"all values within {low} to {high}",
            expected="a picture",
            fix="Look at dtype, steps and guidance; a safety checker also gives black frames",
        )
    return array
