"""The `evaluate` module of `group.py`.

`evaluate.load` copies this file out of its package, so it imports by full names; `export` makes them relative.
"""

from typing import Any

import datasets
import evaluate

from synvita_data.evaluate_metrics._shared.module import TEXT, checked, describe
from synvita_data.evaluate_metrics.group_score.group import group_score

_COLUMNS = {
    "predictions": datasets.Value("float64"),
    "video": datasets.Value("int64"),
    "caption": datasets.Value("int64"),
    "groups": TEXT,
}
_CONFIGS = {"default": _COLUMNS, "categories": {**_COLUMNS, "category": TEXT}}
_CITATION = """\
@inproceedings{thrush2022winoground,
  title = {Winoground: Probing Vision and Language Models for Visio-Linguistic Compositionality},
  author = {Thrush, Tristan and Jiang, Ryan and Bartolo, Max and Singh, Amanpreet and Williams, Adina and
            Kiela, Douwe and Ross, Candace},
  booktitle = {CVPR},
  year = {2022}
}
@article{zhang2024vinoground,
  title = {Vinoground: Scrutinizing {LMMs} over Dense Temporal Reasoning with Short Videos},
  author = {Zhang, Jianrui and Cai, Mu and Lee, Yong Jae},
  journal = {arXiv:2410.02763},
  year = {2024}
}
"""


@checked
class GroupScore(evaluate.Metric):
    """Text, video and group score of groups of two videos and two captions, as of Winoground and Vinoground: the exact
    expectation over orders of tied scores, its bounds, the chance level, a breakdown by category, and an
    interval by bootstrap over groups.

    Args:
        predictions: list of float, the score of a caption with a video of its group.
        video: list of int, 0 for the group's first video and 1 for its second.
        caption: list of int, 0 for the caption of the first video and 1 for that of the second.
        groups: list of str, ids of the groups, of four rows each.
        category: list of str, only with the config "categories" (an empty string means unknown).
        per_group, scored, partial, resamples, level, seed, and in the default config breakdown:
            as in `group.group_score`.

    Returns:
        group_score (a float), and text, video, group, each a dict of percentages value, low, high, worst_ties,
        best_ties with k of n groups used; breakdown, chance, bootstrap.

    Examples:
        >>> import evaluate
        >>> metric = evaluate.load("evaluate_metrics/group_score")
        >>> result = metric.compute(
        ...     predictions=[0.9, 0.1, 0.9, 0.95],
        ...     video=[0, 0, 1, 1],
        ...     caption=[0, 1, 0, 1],
        ...     groups=["g", "g", "g", "g"],
        ...     resamples=0,
        ... )
        >>> result["group_score"], result["text"]["value"], result["video"]["value"]
        (50.0, 100.0, 50.0)
        >>> result["group"]["worst_ties"], result["group"]["best_ties"]
        (0.0, 100.0)
    """

    def _info(self) -> evaluate.MetricInfo:
        return describe(
            self, _CONFIGS, _CITATION, "https://arxiv.org/abs/2204.03162", "https://arxiv.org/abs/2410.02763"
        )

    def _compute(
        self,
        predictions: list[float],
        video: list[int],
        caption: list[int],
        groups: list[str],
        **options: Any,
    ) -> dict[str, Any]:
        if self.config_name == "categories":
            options["breakdown"] = {"category": [value or None for value in options.pop("category")]}
        result = group_score(predictions, video, caption, groups, **options)
        return {"group_score": result["group"]["value"], **result}
