"""The scorer `words`: what a bag of words says of a benchmark's texts, without their videos.

Each text gets its log-odds by a model of words and bigrams that was trained on the benchmark's own other videos
(`captions.text_only`). A benchmark that it answers can be answered without watching; what a Video LLM has above it is not
owed to how the texts are written.
"""

from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from ..captions.text_only import FOLDS, RULE, check_labelled, out_of_fold, settings
from ..errors import CaptionError, ScoreError
from . import ItemScores, ScoreKind, ScoringItem

if TYPE_CHECKING:
    from ..annotations import Annotations


class WordsScorer:
    """Out-of-fold log-odds of the texts of one task; no video is opened.

    `fit` takes the labels of the whole task, so that a text has the same number whichever videos are scored, in any
    order, process or batch. The models are trained when the first score is asked for.
    """

    name = "words"
    kind: ScoreKind = "log_odds"
    frames = None
    prompt = None

    def __init__(self, seed: int = 0) -> None:
        self.revision = f"{RULE}-seed{seed}"
        self.settings: dict[str, Any] = {
            "seed": seed,
            "video": "none",
            **settings(),
            "scikit-learn": metadata.version("scikit-learn"),
        }
        self._seed = seed
        self._annotations: Annotations | None = None
        self._units: list[str] | None = None
        self._scores: dict[tuple[str, str], float] | None = None

    def fit(self, annotations: "Annotations") -> None:
        """Take the texts of a task and their labels.

        Args:
            annotations: all of the task.

        Raises:
            ScoreError: fewer videos than folds, or texts of one label only.
        """
        if annotations is self._annotations:
            return
        self._units = fold_units(annotations)
        try:
            check_labelled(annotations.label, self._units or annotations.video_id.tolist(), seed=self._seed)
        except CaptionError as error:
            raise ScoreError(
                f"words cannot be scored on {annotations.task}: {error.problem}",
                found=error.found,
                expected=error.expected,
            ) from error
        self._annotations, self._scores = annotations, None

    def score(self, items: Iterable[ScoringItem]) -> Iterator[ItemScores]:
        for item in items:
            scores = [self._log_odds(item.video_id, text.caption) for text in item.texts]
            yield ItemScores(item.item_id, np.asarray(scores, dtype=np.float64))

    def _log_odds(self, video: str, caption: str) -> float:
        if self._scores is None:
            self._scores = self._train()
        try:
            return self._scores[video, caption]
        except KeyError:
            raise ScoreError(
                "words has no score for a text that it was not fitted on",
                found=f"{caption!r} of {video}",
                fix="Call fit with the annotations of the task that is scored",
            ) from None

    def _train(self) -> dict[tuple[str, str], float]:
        annotations = self._annotations
        if annotations is None:
            raise ScoreError(
                "words was not fitted", fix="Call fit with the annotations of the task that is scored"
            )
        captions, videos = annotations.caption.tolist(), annotations.video_id.tolist()
        found = out_of_fold(captions, annotations.label, self._units or videos, seed=self._seed)
        if self._units is None:  # nothing but which fold a video is in tells the scores of one text apart
            total = np.bincount(annotations.text, found)
            found = (total / np.bincount(annotations.text))[annotations.text]
        return dict(zip(zip(videos, captions, strict=True), found.tolist(), strict=True))


def fold_units(annotations: "Annotations") -> list[str] | None:
    """[N]: what each row is kept together with when folds are made; the id of a video.

    Videos that share a group or a minimal pair (both videos of a 2×2 group) are one unit: the same text has the one
    label with this video and the other with that, so a model that had seen it there would be wrong here. None where
    that leaves fewer units than folds: in retrieval every text stands with every video. A text then has the mean of its
    scores with all of them, since words cannot tell videos apart.
    """
    units: list[str] = annotations.tied_videos.tolist()
    return None if len(set(units)) < FOLDS else units
