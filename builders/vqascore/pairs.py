"""VQAScore of any videos and texts: a VQA model as a scorer of `synvita_data.scoring`, for `synvita score`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

import numpy as np

from synvita_data.captions import Text
from synvita_data.errors import SynvitaError
from synvita_data.models.runtime import one_cpu_thread, read_ahead
from synvita_data.scoring import ItemScores, ScoreKind, ScoringItem
from synvita_data.video import FramePolicy, Frames, MissingBackendError, decode

from .base import FrameScorer, MemoryLimit, Prepared, log_probs_that_fit
from .job import SCORER_VERSION, VqaScoreJob, VqaSettings, check_distinct
from .models import WHOLE_VIDEO, VqaModel, open_scorer
from .run import score_of

# Captions that a model of single frames is asked about at once, so that its memory is bounded.
_CAPTIONS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class _Look:
    """A video's frames, prepared with all its texts."""

    prepared: Prepared
    frames: Frames


class VqaPairScorer:
    """VQAScore in [0, 1]: the mean over frames of the score that `synvita vqascore` writes a frame.

    Frames, questions, preprocessing and readout are those of `synvita vqascore`. It asks about the two captions of a row
    at once; here up to eight texts of a video are asked about at once, so that scores may differ in rounding.

    Args:
        model: of `find_model`; it is loaded.
        settings: how it looks at videos; `batch_rows` is 1 here.
        score: `reference` or `first-token`; None for what the model's makers use.
        device: None for this process's GPU, or the CPU.

    Attributes:
        behind_placeholder: as of `VqaScorer`.

    Raises:
        SynvitaError: the model cannot be loaded, or an unknown score.
    """

    kind: ScoreKind = "probability"

    def __init__(
        self,
        model: VqaModel,
        settings: VqaSettings = VqaSettings(),  # noqa: B008 (frozen)
        *,
        score: str | None = None,
        device: str | None = None,
    ) -> None:
        self._score = score or model.default_score
        method = VqaScoreJob(Path(), model, settings, ()).method(self._score)
        self.name, self.revision = model.label, model.revision
        self.frames: FramePolicy = settings.frames
        self.prompt: str | None = model.question
        self.settings: dict[str, Any] = {"method": method, "version": SCORER_VERSION}
        self.reads_times = model.reads_times
        self._whole, self._threads, self._memory = model.kind == WHOLE_VIDEO, settings.threads, MemoryLimit()
        self._scorer = open_scorer(
            model,
            preprocessing=settings.preprocessing,
            dtype=settings.dtype,
            device=device,
            placeholder_space=settings.placeholder_space,
        )
        self.behind_placeholder = self._scorer.behind_placeholder

    def check_texts(self, texts: Iterable[Text]) -> None:
        """Complain before long work about texts that cannot be scored with any video.

        Raises:
            CaptionError: a text with a special token of the model, or too long for it.
        """
        count = self.frames.count or 1
        pixels = np.zeros((count, 224, 224, 3), dtype=np.uint8)
        times = tuple(number / 2 for number in range(count))
        black = Frames(pixels, tuple(range(count)), times, 2.0, "a black clip", "none")
        self._scorer.prepare(black, list(dict.fromkeys(text.caption for text in texts)))

    def score(self, items: Iterable[ScoringItem]) -> Iterator[ItemScores]:
        """Scores of each item, in order; see `synvita_data.scoring.Scorer`."""
        for item, look in read_ahead(items, self._look, self._threads):
            if isinstance(look, SynvitaError):
                yield ItemScores(item.item_id, None, error=look)
                continue
            try:
                scores = self._scores(look.prepared)
            except SynvitaError as error:  # an answer without a probability
                yield ItemScores(item.item_id, None, error=error)
                continue
            yield ItemScores(item.item_id, scores, look.frames.indices, {"backend": look.frames.backend})

    def _look(self, item: ScoringItem) -> "_Look | SynvitaError":
        """In a thread: the item's video, or what is wrong with it."""
        try:
            frames = decode(item.video, self.frames, item.start, item.end)
            if not self._whole:
                check_distinct(frames)
            return _Look(self._scorer.prepare(frames, [text.caption for text in item.texts]), frames)
        except MissingBackendError:  # the machine's fault
            raise
        except SynvitaError as error:
            return error

    def _scores(self, prepared: Prepared) -> np.ndarray:
        """float64 [texts], means over frames."""
        step = _CAPTIONS_AT_ONCE if isinstance(self._scorer, FrameScorer) else len(prepared.questions)
        found: list[float] = []
        for begin in range(0, len(prepared.questions), step):
            part = Prepared(prepared.images, prepared.questions[begin : begin + step])
            with one_cpu_thread(str(self._scorer.device)):
                looks = log_probs_that_fit(self._scorer, [part], self._memory)[0].tolist()
            for of_text in zip(*looks, strict=True):  # from [frames][texts] to [texts][frames]
                found.append(fsum(score_of(each, self._score) for each in of_text) / len(of_text))
        return np.array(found)
