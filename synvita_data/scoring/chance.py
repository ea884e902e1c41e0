"""A scorer that has not seen the video: the floor every model must beat, and a quick test of a pipeline."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .protocol import ItemScores, ScoreKind, ScoringItem


class ChanceScorer:
    """Uniform numbers in [0, 1), fixed by seed, video and text; no video is opened.

    The same pair gets the same number in any order, process or batch.
    """

    name = "chance"
    kind: ScoreKind = "probability"
    frames = None
    prompt = None

    def __init__(self, seed: int = 0) -> None:
        self.revision = f"1-seed{seed}"
        self.settings: dict[str, Any] = {"seed": seed}
        self._seed = seed

    def score(self, items: Iterable[ScoringItem]) -> Iterator[ItemScores]:
        for item in items:
            scores = [self._uniform(item.video_id, text.caption, text.hidden) for text in item.texts]
            yield ItemScores(item.item_id, np.asarray(scores, dtype=np.float64))

    def _uniform(self, *what: Any) -> float:
        digest = hashlib.sha256(json.dumps([self._seed, *what], ensure_ascii=False).encode()).digest()
        return int.from_bytes(digest[:7], "big") / 2**56
