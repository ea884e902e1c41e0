"""Frames to pixels in the way that a released model was trained and evaluated with, by name.

`processor` is what transformers' own processor does. `languagebind` is the video transform of LanguageBind, which the
original Video-LLaVA and SynViTA's code use (`languagebind/video/processing_video.py`, decord branch): scaled to [0, 1],
normalised by CLIP's mean and deviation, the short side brought to the tower's size by bilinear interpolation *without*
antialias, the middle cut out. Its last step, a random mirroring, is `scoring.released.draw_flips` here.
"""

import math
from typing import TYPE_CHECKING, Any

from ..errors import choose

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

PREPROCESSES = ("processor", "languagebind")
# Of CLIP (OPENAI_DATASET_MEAN and _STD in LanguageBind), red, green, blue.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def check_preprocess(name: str, allowed: tuple[str, ...] = PREPROCESSES) -> str:
    """The name, if it is one.

    Args:
        name: of a preprocessing.
        allowed: `Family.preprocesses`.

    Raises:
        SynvitaError: it is not, or the model has no such preprocessing.
    """
    what = "preprocess for this model" if name in PREPROCESSES else "preprocess"
    fix = "`processor` is what transformers does; `languagebind` is of the original Video-LLaVA"
    return choose(name, allowed, what, fix=fix)


def languagebind(pixels: "NDArray[np.uint8]", size: int = 224) -> "Tensor":
    """LanguageBind's video transform, but for its random mirroring.

    Args:
        pixels: uint8 [T, H, W, 3], RGB.
        size: of the square that the tower takes, pixels.

    Returns:
        fp32 [T, 3, size, size].
    """
    import torch
    from torch.nn.functional import interpolate

    frames = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    frames = (frames - mean) / std
    # The long side is rounded down, in the original's own order of operations.
    height, width = frames.shape[-2:]
    if width < height:
        height, width = math.floor(height / width * size), size
    else:
        height, width = size, math.floor(width / height * size)
    frames = interpolate(frames, size=(height, width), mode="bilinear", align_corners=False, antialias=False)
    # Python's `round` takes halves to the even number, as the original does.
    top, left = round((height - size) / 2.0), round((width - size) / 2.0)
    return frames[..., top : top + size, left : left + size].contiguous()


def languagebind_record(size: int) -> dict[str, Any]:
    """What results and keys record of `languagebind`."""
    return {"name": "languagebind", "size": size, "mean": list(MEAN), "std": list(STD)}
