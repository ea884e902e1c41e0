"""The `evaluate` modules of this package, loaded from the installed copy, without a network.

The pure functions behind them need NumPy only; import those from
`synvita_data.evaluate_metrics.entailment_auc.auc`, `….retrieval_map.ranking`,
`….multiple_choice_accuracy.choice`, `….group_score.group` and `….minimal_pair_accuracy.minimal_pair`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import SynvitaError, choose
from .evaluate_metrics import METRICS as METRICS
from .evaluate_metrics import __path__ as _folders

if TYPE_CHECKING:
    import evaluate


def metric_folder(name: str) -> Path:
    """The folder of a metric, which `evaluate.load` takes.

    `python -m synvita_data.evaluate_metrics.export` writes one that stands alone, to be published.

    Raises:
        SynvitaError: no metric has this name.
    """
    return Path(_folders[0]) / choose(name, METRICS, "metric")


def metric(name: str, config_name: str | None = None, **options: Any) -> "evaluate.EvaluationModule":
    """`evaluate.load` of a metric of this package (imports `evaluate`, some 16 s).

    Args:
        name: `entailment_auc`, `retrieval_map`, `multiple_choice_accuracy`, `group_score` or
            `minimal_pair_accuracy`.
        config_name: `videocon` for entailment_auc with its breakdown columns, `types` for
            multiple_choice_accuracy with question types, `categories` for group_score with a category of
            each group, `pairs` for minimal_pair_accuracy with pairs; None for the plain columns.
        options: passed to `evaluate.load`, such as `num_process`, `process_id`, `experiment_id`.

    Raises:
        SynvitaError: no metric has this name, or `evaluate` is not installed.
    """
    folder = metric_folder(name)
    try:
        import evaluate
    except ImportError as error:
        raise SynvitaError(
            "the `evaluate` library is not installed",
            fix="Install synvita-data[metrics], or call the pure function (docs/metrics.md), which does not need it",
        ) from error
    return evaluate.load(str(folder), config_name, **options)
