"""The `evaluate` module of `ranking.py`. It stands alone: `evaluate.load` copies this file and the siblings it
imports."""

from typing import Any

import datasets
import evaluate

from .inputs import InputError
from .intervals import Estimate
from .ranking import retrieval_map

# `evaluate.load` copies the siblings that this file itself imports, so it imports also those that only they need;
# and it takes a comment behind an import for a download address.
__all__ = ["Estimate", "InputError", "RetrievalMAP"]

_DESCRIPTION = """\
Mean average precision and R@1/5/10 of text-to-video retrieval, exact under ties: the expectation over all
orders of tied videos in closed form, its worst and best value, the chance level, and an interval by bootstrap
over captions.
"""

_KWARGS_DESCRIPTION = """\
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

_CITATION = """\
@inproceedings{bansal2024videocon,
  title = {{VideoCon}: Robust Video-Language Alignment via Contrast Captions},
  author = {Bansal, Hritik and Bitton, Yonatan and Szpektor, Idan and Chang, Kai-Wei and Grover, Aditya},
  booktitle = {CVPR},
  year = {2024}
}
"""


class RetrievalMAP(evaluate.Metric):
    """`ranking.retrieval_map` with `add_batch` and distributed collection."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    # Float64: scores rounded to float32 would tie where they do not.
                    "predictions": datasets.Value("float64"),
                    "references": datasets.Value("int64"),
                    "captions": datasets.Value("string"),
                    "videos": datasets.Value("string"),
                }
            ),
            reference_urls=["https://arxiv.org/abs/2311.10111"],
        )

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
