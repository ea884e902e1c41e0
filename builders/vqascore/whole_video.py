"""A video chat model that sees the chosen frames as one video: P(Yes) once a caption, not once a frame.

For the families of `synvita_data.models`, with the question each of them asks there: captions of a video
share its prefix.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from synvita_data.captions import Text
from synvita_data.models import AlignmentModel
from synvita_data.models.loading import load_alignment_model
from synvita_data.models.resolve import find_checkpoint
from synvita_data.video.frames import Frames

from .base import Prepared, VqaScorer, token_log_probs
from .models import VqaModel


class WholeVideoScorer(VqaScorer):
    """P(Yes) among the whole vocabulary, where `alignment` itself gives log-odds of Yes over No.

    Args:
        model: in evaluation mode, on its device.
    """

    def __init__(self, model: AlignmentModel) -> None:
        super().__init__(model)
        self.behind_placeholder = model.prompter.behind_video
        self._answer = [model.prompter.answer_ids[0], model.prompter.end_id]

    def prepare(self, frames: Frames, captions: Sequence[str]) -> Prepared:
        video = self.model.prepare(frames)
        with self._tokenizing:
            texts = tuple(Text(caption) for caption in captions)
            for text in texts:
                self.model.prompter.tokens(text, True, video)  # raises for what cannot be asked
        return Prepared([video], texts)

    @torch.inference_mode()
    def log_probs(self, batch: Sequence[Prepared]) -> list[Tensor]:
        return [self._of_one(video) for video in batch]

    def _of_one(self, video: Prepared) -> Tensor:
        output = self.model(
            list(video.images),
            [list(video.questions)],
            vocabulary=2,
            answers=[[True] * len(video.questions)],
        )
        return token_log_probs(output.vocabulary_logits, self._answer)[None]


def load(model: VqaModel, *, dtype: str, device: str, placeholder_space: str, **_: Any) -> WholeVideoScorer:
    """The scorer of a checkpoint; see `models.open_scorer`."""
    checkpoint = find_checkpoint(model.location, revision=model.hub_revision)
    aligned, _revision = load_alignment_model(
        checkpoint,
        prompt=model.trained_prompt,
        dtype=dtype,
        device=device,
        placeholder_space=placeholder_space,
        preprocess=model.trained_preprocess or "processor",
    )
    return WholeVideoScorer(aligned)
