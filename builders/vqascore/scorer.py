"""What a VQA model does here: frames and captions in, log-probabilities of the answer's tokens out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from synvita_data.display import get_logger
from synvita_data.video.frames import Frames

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """One video with its captions, ready for a model, on the CPU.

    Attributes:
        images: what the vision tower takes, one entry a look (a frame, or the whole video).
        questions: one entry a caption, as this model's scorer tokenizes them.
    """

    images: Any
    questions: tuple[Any, ...]

    @property
    def looks(self) -> int:
        return len(self.images)


class VqaScorer(ABC):
    """A loaded VQA model. Weights may be bf16; the log-softmax is fp32 whatever they are.

    Attributes:
        device: where the model is.
        behind_placeholder: what follows the image or video in the prompt (`placeholders`), JSON-ready; None where the
            prompt has no placeholder of ours.
    """

    device: torch.device
    behind_placeholder: dict[str, Any] | None = None

    def __init__(self) -> None:
        # Fast tokenizers may not be used by two threads at once when one of them changes padding.
        self._tokenizing = Lock()

    @abstractmethod
    def prepare(self, frames: Frames, captions: Sequence[str]) -> Prepared:
        """The work on the CPU; called in threads, so it does not use the model.

        Raises:
            CaptionError: too long for the model, or with a special token of it.
        """

    @abstractmethod
    def log_probs(self, batch: Sequence[Prepared]) -> list[Tensor]:
        """For each video fp32 [looks, captions, k]: log-probabilities of the answer's tokens, end token last.

        Every image goes through the vision tower once, whatever the number of captions.
        """


class FrameScorer(VqaScorer):
    """A scorer whose images and questions are prepared apart, one image a frame, all of one size."""

    def prepare(self, frames: Frames, captions: Sequence[str]) -> Prepared:
        with self._tokenizing:
            questions = tuple(self.question(caption) for caption in captions)
        return Prepared(self.images(frames), questions)

    @abstractmethod
    def images(self, frames: Frames) -> Tensor:
        """Preprocessed frames, float32 [T, 3, S, S]."""

    @abstractmethod
    def question(self, caption: str) -> Any:
        """A tokenized question.

        Raises:
            CaptionError: too long for the model, or with a special token of it.
        """


@dataclass
class MemoryLimit:
    """What one worker has learnt of how much fits on its device.

    Attributes:
        pairs: looks × captions that may be tried in one batch; None before anything did not fit.
    """

    pairs: int | None = None


def log_probs_that_fit(
    scorer: VqaScorer, batch: Sequence[Prepared], limit: MemoryLimit | None = None
) -> list[Tensor]:
    """`scorer.log_probs`, in halves where the device has not enough memory: of videos, then looks, then captions.

    Scores of a batch and of its halves differ by rounding.

    Args:
        limit: remembered from batch to batch, so that what did not fit is not tried again.

    Raises:
        torch.OutOfMemoryError: one look at one caption does not fit.
    """
    limit = MemoryLimit() if limit is None else limit
    pairs = sum(pair_counts(batch))
    if limit.pairs is None or pairs <= limit.pairs or pairs == 1:
        try:
            return scorer.log_probs(batch)
        except torch.OutOfMemoryError:
            if pairs == 1:
                raise
            limit.pairs = pairs - 1
            _log.warning("%d pairs of a frame and a caption do not fit in memory: trying half", pairs)
        if scorer.device.type == "cuda":
            torch.cuda.empty_cache()
    if len(batch) > 1:
        half = len(batch) // 2
        return [
            found
            for part in (batch[:half], batch[half:])
            for found in log_probs_that_fit(scorer, part, limit)
        ]
    (video,) = batch
    if video.looks > 1:
        half, joined = video.looks // 2, 0
        parts = [Prepared(part, video.questions) for part in (video.images[:half], video.images[half:])]
    else:
        half, joined = len(video.questions) // 2, 1
        parts = [Prepared(video.images, part) for part in (video.questions[:half], video.questions[half:])]
    return [torch.cat([log_probs_that_fit(scorer, [part], limit)[0] for part in parts], dim=joined)]


def token_log_probs(logits: Tensor, tokens: Sequence[int]) -> Tensor:
    """fp32 [B, k] on the CPU from logits [B, k, V]: the log-probability of token i at position i."""
    wanted = torch.tensor(tokens, device=logits.device).expand(len(logits), -1)
    return logits.float().log_softmax(-1).gather(-1, wanted[..., None])[..., 0].cpu()


def pair_counts(batch: Sequence[Prepared]) -> list[int]:
    """How many (look, caption) pairs each video has."""
    return [video.looks * len(video.questions) for video in batch]


def by_video(values: Tensor, batch: Sequence[Prepared]) -> list[Tensor]:
    """[pairs of all videos, k], looks outermost in each video -> one [looks, captions, k] a video."""
    parts = values.split(pair_counts(batch))
    return [
        part.view(video.looks, len(video.questions), -1) for part, video in zip(parts, batch, strict=True)
    ]
