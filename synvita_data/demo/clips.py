"""Videos as small pictures that move, and triplets to look at."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import VideoError
from .report import Clip, Example

STILL = 4  # frames of a still picture


def animated(pixels: "np.ndarray[Any, np.dtype[np.uint8]]", fps: float) -> Clip:
    """Frames uint8 [T, H, W, 3] as pictures: WebP where Pillow can write it, GIF elsewhere; they go round for ever."""
    from PIL import Image, features

    images = [Image.fromarray(frame) for frame in pixels]
    duration = round(1000 / fps) if fps > 0 else 125
    kind, options = ("webp", {"quality": 60, "method": 4}) if features.check("webp") else ("gif", {})
    moving = io.BytesIO()
    images[0].save(
        moving,
        kind,
        save_all=True,
        append_images=images[1:],
        duration=duration,
        loop=0,
        **options,
    )
    chosen = np.linspace(0, len(pixels) - 1, STILL).round().astype(int)
    still = io.BytesIO()
    strip = Image.fromarray(np.concatenate(pixels[chosen], axis=1))
    strip.quantize(64).save(still, "png", optimize=True)
    height, width = pixels.shape[1:3]
    return Clip(moving.getvalue(), kind, still.getvalue(), width, height)


def choose_rows(rows: Sequence[Mapping[str, Any]], each: int) -> list[int]:
    """Which triplets to show: of each misalignment at most `each`, half of them wrong clips where there are enough.

    Those that name an unseen concept come first, then the order of `rows`. No choice looks at a model.

    Args:
        rows: with `misalignment`, `wrong` (whether the clip is wrong in the contrasted fact) and `unseen` (concepts).
        each: how many of a misalignment.

    Returns:
        Places in `rows`, misalignment by misalignment as they first come, right clips before wrong ones.
    """
    kinds = list(dict.fromkeys(row["misalignment"] for row in rows))
    chosen: list[int] = []
    for kind in kinds:
        own = [place for place, row in enumerate(rows) if row["misalignment"] == kind]
        own.sort(key=lambda place: (not rows[place]["unseen"], place))
        right = [place for place in own if not rows[place]["wrong"]]
        wrong = [place for place in own if rows[place]["wrong"]]
        some = min(len(wrong), max(each // 2, each - len(right)))
        chosen += right[: each - some] + wrong[:some]
    return chosen


def example(
    row: Mapping[str, Any],
    *,
    misalignment: str,
    real: Any,
    synthetic: Any,
    right: bool,
    faults: Sequence[str],
    shown: str,
    unseen: Sequence[str],
) -> Example:
    """A row of the dataset as an example.

    Args:
        row: with its captions, shared spans, scores and weight.
        misalignment: its name.
        real, synthetic: the clips, as `video.decode` takes them; None where there is none.
        right, faults, shown, unseen: as of `Example`.
    """
    from ..captions import hidden_spans
    from ..video import FramePolicy, decode

    def clip(video: Any) -> Clip | None:
        if video is None:
            return None
        try:
            frames = decode(video, FramePolicy(rule="all"))
        except VideoError:
            return None
        return animated(frames.pixels, frames.fps)

    shared = {
        name: [(first, last) for first, last in row["shared"][name]] for name in ("caption", "neg_caption")
    }
    scores = row["vqascores"] or []
    difference = None
    if scores:
        difference = float(np.mean([score["neg_caption_score"] - score["caption_score"] for score in scores]))
    return Example(
        row_id=str(row["id"]),
        misalignment=misalignment,
        caption=row["caption"],
        contrast=row["neg_caption"],
        hidden=hidden_spans(row["caption"], shared["caption"]),
        hidden_contrast=hidden_spans(row["neg_caption"], shared["neg_caption"]),
        real=clip(real),
        synthetic=clip(synthetic),
        right=right,
        faults=tuple(faults),
        shown=shown,
        weight=None if row["weight"] is None else float(row["weight"]),
        difference=difference,
        unseen=tuple(unseen),
    )
