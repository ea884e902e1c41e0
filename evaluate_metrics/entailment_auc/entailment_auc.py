"""The `evaluate` module of `auc.py`. It stands alone: `evaluate.load` copies this file and the siblings it imports."""

from typing import Any

import datasets
import evaluate

from .auc import entailment_auc
from .inputs import InputError
from .intervals import Estimate

# `evaluate.load` copies the siblings that this file itself imports, so it imports also those that only they need;
# and it takes a comment behind an import for a download address.
__all__ = ["EntailmentAUC", "Estimate", "InputError"]

_DESCRIPTION = """\
ROC-AUC of video-text entailment scores with ties as half, its bounds under ties and an interval by bootstrap
over videos; paired accuracy (caption above contrast caption) and strict accuracy (yes > .5 and no < .5).
"""

_KWARGS_DESCRIPTION = """\
Args:
    predictions: list of float, the score of a text with its video.
    references: list of int, 1 for a caption and 0 for a contrast caption.
    videos: list of str, ids of the videos.
    texts, pairs, misalignment: lists of str, only with the config "videocon" (an empty string in
        misalignment means unknown). hard: list of bool (None: unknown), likewise.
    kind: "probability" (default), "log_odds" or "similarity".
    strict, scored, partial, resamples, level, seed, and in the default config texts, pairs, groups:
        as in `auc.entailment_auc`.
Returns:
    entailment_auc (a float), and auc, paired_accuracy, strict_accuracy, each a dict of percentages value, low,
    high, worst_ties, best_ties with k of n units used; groups, chance, videos, repeated_texts,
    contradictory_texts, bootstrap.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("evaluate_metrics/entailment_auc")
    >>> result = metric.compute(
    ...     predictions=[0.9, 0.4, 0.95, 0.9],
    ...     references=[1, 0, 1, 0],
    ...     videos=["a", "a", "b", "b"],
    ...     resamples=0,
    ... )
    >>> result["entailment_auc"], result["auc"]["worst_ties"], result["auc"]["best_ties"]
    (87.5, 75.0, 100.0)
    >>> result["paired_accuracy"]["value"], result["strict_accuracy"]["value"]
    (100.0, 50.0)
"""

_CITATION = """\
@inproceedings{bansal2024videocon,
  title = {{VideoCon}: Robust Video-Language Alignment via Contrast Captions},
  author = {Bansal, Hritik and Bitton, Yonatan and Szpektor, Idan and Chang, Kai-Wei and Grover, Aditya},
  booktitle = {CVPR},
  year = {2024}
}
"""

_TEXT = datasets.Value("string")
# Float64: scores rounded to float32 would tie where they do not.
_COLUMNS = {"predictions": datasets.Value("float64"), "references": datasets.Value("int64"), "videos": _TEXT}
_CONFIGS = {
    "default": _COLUMNS,
    "videocon": {
        **_COLUMNS,
        "texts": _TEXT,
        "pairs": _TEXT,
        "misalignment": _TEXT,
        "hard": datasets.Value("bool"),
    },
}


class EntailmentAUC(evaluate.Metric):
    """`auc.entailment_auc` with `add_batch` and distributed collection."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in _CONFIGS:
            raise ValueError(f"config {self.config_name!r}; expected one of {', '.join(_CONFIGS)}")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(_CONFIGS[self.config_name]),
            reference_urls=["https://arxiv.org/abs/2311.10111"],
        )

    def _compute(
        self, predictions: list[float], references: list[int], videos: list[str], **options: Any
    ) -> dict[str, Any]:
        if self.config_name == "videocon":
            misalignment = [value or None for value in options.pop("misalignment")]
            options["groups"] = {"misalignment": misalignment, "hard": options.pop("hard")}
        result = entailment_auc(predictions, references, videos, **options)
        return {"entailment_auc": result["auc"]["value"], **result}
