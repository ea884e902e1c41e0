"""What the `evaluate` modules share: columns, and how a metric is described."""

import inspect
from collections.abc import Mapping
from typing import Any

import datasets
import evaluate

TEXT = datasets.Value("string")
# Float64: scores rounded to float32 would tie where they do not.
SCORES_AND_LABELS = {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}

VIDEOCON = """\
@inproceedings{bansal2024videocon,
  title = {{VideoCon}: Robust Video-Language Alignment via Contrast Captions},
  author = {Bansal, Hritik and Bitton, Yonatan and Szpektor, Idan and Chang, Kai-Wei and Grover, Aditya},
  booktitle = {CVPR},
  year = {2024}
}
"""


def describe(
    metric: evaluate.Metric, configs: Mapping[str, Mapping[str, Any]], citation: str, *urls: str
) -> evaluate.MetricInfo:
    """What `evaluate` shows of a metric, of which the docstring of its class says most.

    Args:
        metric: its docstring describes it, and from `Args:` on its inputs.
        configs: columns of each config.
        citation: BibTeX.
        urls: papers of the metric.

    Raises:
        ValueError: the metric was asked for a config that it does not have.
    """
    if metric.config_name not in configs:
        raise ValueError(f"unknown config {metric.config_name!r}; expected one of {', '.join(configs)}")
    description, start, inputs = (inspect.getdoc(metric) or "").partition("Args:\n")
    return evaluate.MetricInfo(
        description=description,
        citation=citation,
        inputs_description=start + inputs,
        features=datasets.Features(configs[metric.config_name]),
        reference_urls=list(urls),
    )
