"""The shapes world's own frame-level scorers as VQA models of the job: `shapes-vqa-a`, `-b` and `-c`.

They compute on pixels with NumPy and have no weights, so a whole VQAScore run can be had without a download. `@2` behind a
name takes the measures of that version of the world.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synvita_data.errors import VideoError
from synvita_data.video.frames import Frames

from ..shapes.grammar import parse
from ..shapes.layout import Geometry, geometry_of
from ..shapes.vqa import VQA_MODELS, ShapesVQA, score_frames
from .base import Prepared, VqaScorer
from .models import VqaModel


class ShapesScorer(VqaScorer):
    """P(yes) of one of the shapes world's scorers for each frame and caption.

    Args:
        model: the scorer.
        geometry: measures of the world that the videos are of.
    """

    def __init__(self, model: ShapesVQA, geometry: Geometry) -> None:
        # No weights and no tokenizer: what `VqaScorer.__init__` reads off a model is known.
        self.model, self.geometry = model, geometry
        self.device = torch.device("cpu")

    def prepare(self, frames: Frames, captions: Sequence[str]) -> Prepared:
        for caption in captions:
            parse(caption)
        if frames.pixels.dtype != np.uint8:
            raise VideoError("frames are not of the form scorers take", found=str(frames.pixels.dtype))
        return Prepared(frames.pixels, tuple(captions))

    def log_probs(self, batch: Sequence[Prepared]) -> list[Tensor]:
        """For each video float64 [looks, captions, 2]: log P(yes), and 0 for an end that is sure."""
        return [self._of_one(video) for video in batch]

    def _of_one(self, video: Prepared) -> Tensor:
        (probability,) = score_frames(video.images, video.questions, [self.model], self.geometry)
        log = torch.from_numpy(np.log(probability))
        return torch.stack([log, torch.zeros_like(log)], dim=-1)


def load(model: VqaModel, **_: Any) -> ShapesScorer:
    """The scorer of a name; see `models.open_scorer`."""
    scorer = next(each for each in VQA_MODELS if each.name == model.label)
    return ShapesScorer(scorer, geometry_of(int(model.model_type.rpartition("-")[2])))
