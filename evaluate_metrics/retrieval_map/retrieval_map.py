"""The `evaluate` module of `ranking.py`.

`evaluate.load` copies this file out of its package, so it imports by full names; `export` makes them relative.
"""

from typing import Any

import evaluate

from synvita_data.evaluate_metrics._shared.module import SCORES_AND_LABELS, TEXT, VIDEOCON, checked, describe
from synvita_data.evaluate_metrics.retrieval_map.ranking import retrieval_map

_CONFIGS = {"default": {**SCORES_AND_LABELS, "captions": TEXT, "videos": TEXT}}


@checked
class RetrievalMAP(evaluate.Metric):
    """Mean average precision and R@1/5/10 of text-to-video retrieval, exact under ties: the expectation over all
    orders of tied videos in closed form, its worst and best value, the chance level, and an interval by bootstrap
    over captions.

    Args:
        predictions: list of float, the score of a caption with a video.
        references: list of int, 1 where the video is positive for the caption, else 0.
        captions: list of str, the captions or their ids.
        videos: list of str, the videos' paths or ids.
        ties: "expected" (default), "official" or "sklearn".
        candidates: "shared" (default) or "own".
        ks, per_caption, scored, partial, resamples, level, seed: as in `ranking.retrieval_map`.

    Returns:
        retrieval_map (a float), and map, r_at_1, r_at_5, r_at_10, each a dict of percentages value, low, high,
        worst_ties, best_ties with k of n pairs used; chance, candidates, positives, captions_ranked, ties, bootstrap.

    Examples:
        >>> import evaluate
        >>> metric = evaluate.load("evaluate_metrics/retrieval_map")
        >>> result = metric.compute(
        ...     predictions=[0.9, 0.9, 0.1],
        ...     references=[1, 0, 0],
        ...     captions=["pouring [something]"] * 3,
        ...     videos=["1.webm", "2.webm", "3.webm"],
        ... )
        >>> result["retrieval_map"], result["map"]["worst_ties"], result["map"]["best_ties"]
        (75.0, 50.0, 100.0)
        >>> result["r_at_1"]["value"]
        50.0
    """

    def _info(self) -> evaluate.MetricInfo:
        return describe(self, _CONFIGS, VIDEOCON, "https://arxiv.org/abs/2311.10111")

    def _compute(
        self,
        predictions: list[float],
        references: list[int],
        captions: list[str],
        videos: list[str],
        **options: Any,
    ) -> dict[str, Any]:
        result = retrieval_map(predictions, references, captions, videos, **options)
        return {"retrieval_map": result["map"]["value"], **result}
