"""From a frame's pixels to a model's: the reference preprocessing of each scorer, in PIL's arithmetic.

The released scorers resize with PIL's antialiased bicubic filter, in 8 bits; torchvision's filter on tensors, which
image processors of transformers use, differs by a level here and there. So this is PIL, whatever is installed.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.uint8]
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def pad(image: "Image", size: int, mean: Sequence[float]) -> "Image":
    """Centred on a square of the mean colour, then resized: CLIP-FlanT5 and LLaVA-1.5.

    The colour is `int(255 × mean)`, and an odd pixel goes below or to the right, as in LLaVA's `expand2square`.
    """
    from PIL import Image as images

    width, height = image.size
    if width != height:
        side = max(width, height)
        square = images.new("RGB", (side, side), tuple(int(255 * part) for part in mean))
        square.paste(image, ((side - width) // 2, (side - height) // 2))
        image = square
    return squash(image, size, mean)


def crop(image: "Image", size: int, mean: Sequence[float]) -> "Image":
    """The shorter side resized, then the centre cut out: InstructBLIP's reference (torchvision's Resize, CenterCrop)."""
    from PIL.Image import Resampling

    width, height = image.size
    short, long = min(width, height), max(width, height)
    longer = int(size * long / short)
    resized = image.resize((size, longer) if width <= height else (longer, size), resample=Resampling.BICUBIC)
    left, top = (round((side - size) / 2) for side in resized.size)
    return resized.crop((left, top, left + size, top + size))


def squash(image: "Image", size: int, mean: Sequence[float]) -> "Image":
    """Resized to a square whatever its shape: `BlipImageProcessor` of transformers."""
    from PIL.Image import Resampling

    if image.size == (size, size):
        return image
    return image.resize((size, size), resample=Resampling.BICUBIC)


SHAPES: dict[str, Callable[["Image", int, Sequence[float]], "Image"]] = {
    "pad": pad,
    "crop": crop,
    "squash": squash,
}


def preprocess(
    frames: Pixels,
    shape: str,
    size: int,
    mean: Sequence[float] = CLIP_MEAN,
    std: Sequence[float] = CLIP_STD,
) -> NDArray[np.float32]:
    """Frames as a vision tower takes them.

    Args:
        frames: uint8 [T, H, W, 3], RGB. shape: a name in SHAPES. size: pixels of the square's side.
        mean, std: of the three channels, in [0, 1].

    Returns:
        float32 [T, 3, size, size], (value / 255 − mean) / std.
    """
    from PIL import Image as images

    squares = [np.asarray(SHAPES[shape](images.fromarray(frame), size, mean)) for frame in frames]
    values: NDArray[np.float32] = np.stack(squares).astype(np.float32)
    values /= np.float32(255)
    values -= np.array(mean, np.float32)
    values /= np.array(std, np.float32)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))
