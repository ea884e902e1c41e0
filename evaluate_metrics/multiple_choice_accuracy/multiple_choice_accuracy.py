"""The `evaluate` module of `choice.py`.

`evaluate.load` copies this file out of its package, so it imports by full names; `export` makes them relative.
"""

from typing import Any

import datasets
import evaluate

from synvita_data.evaluate_metrics._shared.module import SCORES_AND_LABELS, TEXT, checked, describe
from synvita_data.evaluate_metrics.multiple_choice_accuracy.choice import multiple_choice_accuracy

_COLUMNS = {**SCORES_AND_LABELS, "questions": TEXT, "options": datasets.Value("int64")}
_CONFIGS = {"default": _COLUMNS, "types": {**_COLUMNS, "types": TEXT}}
_CITATION = """\
@inproceedings{buch2022revisiting,
  title = {Revisiting the {``Video''} in Video-Language Understanding},
  author = {Buch, Shyamal and Eyzaguirre, Crist{\\'o}bal and Gaidon, Adrien and Wu, Jiajun and Fei-Fei, Li and
            Niebles, Juan Carlos},
  booktitle = {CVPR},
  year = {2022}
}
@inproceedings{xiao2021nextqa,
  title = {{NExT-QA}: Next Phase of Question-Answering to Explaining Temporal Actions},
  author = {Xiao, Junbin and Shang, Xindi and Yao, Angela and Chua, Tat-Seng},
  booktitle = {CVPR},
  year = {2021}
}
"""


@checked
class MultipleChoiceAccuracy(evaluate.Metric):
    """Accuracy of choosing the best-scored option of a question, exact under ties: the expectation over random choices
    among tied options, its worst and best value, the chance level, a breakdown by question type, and an interval
    by bootstrap over questions or clusters.

    Args:
        predictions: list of float, the score of an option.
        references: list of int, 1 for the right option of its question, else 0.
        questions: list of str, ids of the questions.
        options: list of int, the number of the option in its question, from 0.
        types: list of str, type of the question, only with the config "types" (an empty string means unknown).
        clusters, options_per_question, per_question, scored, partial, resamples, level, seed:
            as in `choice.multiple_choice_accuracy`.

    Returns:
        multiple_choice_accuracy (a float), and accuracy, a dict of percentages value, low, high, worst_ties,
        best_ties with k of n questions used; types (the same of each type), chance, options, bootstrap.

    Examples:
        >>> import evaluate
        >>> metric = evaluate.load("evaluate_metrics/multiple_choice_accuracy")
        >>> result = metric.compute(
        ...     predictions=[0.9, 0.2, 0.1, 0.4, 0.4, 0.3],
        ...     references=[1, 0, 0, 0, 1, 0],
        ...     questions=["q1", "q1", "q1", "q2", "q2", "q2"],
        ...     options=[0, 1, 2, 0, 1, 2],
        ...     resamples=0,
        ... )
        >>> result["multiple_choice_accuracy"], result["accuracy"]["worst_ties"], result["accuracy"]["best_ties"]
        (75.0, 50.0, 100.0)
    """

    def _info(self) -> evaluate.MetricInfo:
        return describe(
            self, _CONFIGS, _CITATION, "https://arxiv.org/abs/2206.01720", "https://arxiv.org/abs/2105.08276"
        )

    def _compute(
        self, predictions: list[float], references: list[int], questions: list[str], **options: Any
    ) -> dict[str, Any]:
        if self.config_name == "types":
            options["types"] = [value or None for value in options["types"]]
        result = multiple_choice_accuracy(predictions, references, questions, **options)
        return {"multiple_choice_accuracy": result["accuracy"]["value"], **result}
