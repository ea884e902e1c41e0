"""The `evaluate` module of `minimal_pair.py`.

`evaluate.load` copies this file out of its package, so it imports by full names; `export` makes them relative.
"""

from typing import Any

import evaluate

from synvita_data.evaluate_metrics._shared.module import SCORES_AND_LABELS, TEXT, checked, describe
from synvita_data.evaluate_metrics.minimal_pair_accuracy.minimal_pair import minimal_pair_accuracy

_COLUMNS = {**SCORES_AND_LABELS, "questions": TEXT}
_CONFIGS = {"default": _COLUMNS, "pairs": {**_COLUMNS, "pairs": TEXT}}
_CITATION = """\
@article{krojer2025minimal,
  title = {A Shortcut-aware Video-{QA} Benchmark for Physical Understanding via Minimal Video Pairs},
  author = {Krojer, Benno and Komeili, Mojtaba and Ross, Candace and Garrido, Quentin and Sinha, Koustuv and
            Ballas, Nicolas and Assran, Mahmoud},
  journal = {arXiv:2506.09987},
  year = {2025}
}
"""


@checked
class MinimalPairAccuracy(evaluate.Metric):
    """Share of questions that are answered right, by their best-scored option or by yes and no at a threshold, and of
    pairs of questions that both are; exact under ties, with worst and best value, the chance level, and an
    interval by bootstrap over pairs or clusters.

    Args:
        predictions: list of float, the score of an option, or of yes for a question of one row.
        references: list of int, 1 for the right option of its question, else 0; for a question of one row 1
            where the answer is yes and 0 where it is no.
        questions: list of str, ids of the questions.
        pairs: list of str, ids of the pairs, only with the config "pairs" (an empty string means none).
        kind: "probability" (default), "log_odds" or "similarity".
        options, clusters, breakdown, per_question, scored, partial, resamples, level, seed, and in the default config
            pairs: as in `minimal_pair.minimal_pair_accuracy`.

    Returns:
        minimal_pair_accuracy (a float: that of the pairs where there are any, else that of the questions), and accuracy
        and pair_accuracy, each a dict of percentages value, low, high, worst_ties, best_ties with k of n
        questions or pairs used; breakdown, chance, options, bootstrap.

    Examples:
        >>> import evaluate
        >>> metric = evaluate.load("evaluate_metrics/minimal_pair_accuracy", "pairs")
        >>> result = metric.compute(
        ...     predictions=[2.0, -1.0, 0.5, 0.0],
        ...     references=[1, 0, 1, 0],
        ...     questions=["a1", "a2", "b1", "b2"],
        ...     pairs=["a", "a", "b", "b"],
        ...     kind="log_odds",
        ...     resamples=0,
        ... )
        >>> result["minimal_pair_accuracy"], result["accuracy"]["value"]
        (75.0, 87.5)
        >>> result["pair_accuracy"]["worst_ties"], result["pair_accuracy"]["best_ties"]
        (50.0, 100.0)
    """

    def _info(self) -> evaluate.MetricInfo:
        return describe(
            self, _CONFIGS, _CITATION, "https://arxiv.org/abs/2506.09987", "https://arxiv.org/abs/2403.00476"
        )

    def _compute(
        self, predictions: list[float], references: list[int], questions: list[str], **options: Any
    ) -> dict[str, Any]:
        if self.config_name == "pairs":
            options["pairs"] = [value or None for value in options["pairs"]]
        result = minimal_pair_accuracy(predictions, references, questions, **options)
        return {"minimal_pair_accuracy": (result["pair_accuracy"] or result["accuracy"])["value"], **result}
