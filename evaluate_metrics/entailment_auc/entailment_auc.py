"""The `evaluate` module of `auc.py`.

`evaluate.load` copies this file out of its package, so it imports by full names; `export` makes them relative.
"""

from typing import Any

import datasets
import evaluate

from synvita_data.evaluate_metrics._shared.module import SCORES_AND_LABELS, TEXT, VIDEOCON, checked, describe
from synvita_data.evaluate_metrics.entailment_auc.auc import entailment_auc

_COLUMNS = {**SCORES_AND_LABELS, "videos": TEXT}
_BREAKDOWN = {"texts": TEXT, "pairs": TEXT, "misalignment": TEXT, "hard": datasets.Value("bool")}
_CONFIGS = {"default": _COLUMNS, "videocon": {**_COLUMNS, **_BREAKDOWN}}


@checked
class EntailmentAUC(evaluate.Metric):
    """ROC-AUC of video-text entailment scores with ties as half, its bounds under ties and an interval by bootstrap
    over videos; paired accuracy (caption above contrast caption) and strict accuracy (yes > .5 and no < .5).

    Args:
        predictions: list of float, the score of a text with its video.
        references: list of int, 1 for a caption and 0 for a contrast caption.
        videos: list of str, ids of the videos. May be left out: intervals are then by bootstrap over pairs, or over
            rows where there are no pairs either.
        texts: list of str, only with the config "videocon", as the next three.
        pairs: list of str.
        misalignment: list of str; an empty string means unknown.
        hard: list of bool; None means unknown.
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

    def _info(self) -> evaluate.MetricInfo:
        return describe(self, _CONFIGS, VIDEOCON, "https://arxiv.org/abs/2311.10111")

    # `evaluate` asks for every column, so videos that are left out are empty names.

    def compute(self, *, predictions: Any = None, references: Any = None, **given: Any) -> Any:
        """The metric of all inputs, those of `add` and `add_batch` before among them; videos may be left out."""
        if predictions is not None and given.get("videos") is None:
            given["videos"] = [""] * len(predictions)
        return super().compute(predictions=predictions, references=references, **given)

    def add_batch(self, *, predictions: Any = None, references: Any = None, **given: Any) -> None:
        """Keep inputs for `compute`; videos may be left out."""
        if given.get("videos") is None:
            given["videos"] = [""] * len(predictions)
        super().add_batch(predictions=predictions, references=references, **given)

    def add(self, *, prediction: Any = None, reference: Any = None, **given: Any) -> None:
        """Keep one input for `compute`; its video may be left out."""
        super().add(prediction=prediction, reference=reference, **{"videos": "", **given})

    def _compute(
        self,
        predictions: list[float],
        references: list[int],
        videos: list[str] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        if not any(videos or ()):
            videos = None
        if self.config_name == "videocon":
            misalignment = [value or None for value in options.pop("misalignment")]
            options["groups"] = {"misalignment": misalignment, "hard": options.pop("hard")}
        result = entailment_auc(predictions, references, videos, **options)
        return {"entailment_auc": result["auc"]["value"], **result}
