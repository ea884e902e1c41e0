"""What the `evaluate` modules share: columns, and how a metric is described."""

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

import datasets
import evaluate

from .inputs import InputError

AnyMetric = TypeVar("AnyMetric", bound=type[evaluate.Metric])

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


def checked(metric: AnyMetric) -> AnyMetric:
    """A metric whose columns are looked at before `evaluate` makes them fit: a label 0.5 would become 0, a gap of pandas
    (NaN) the video "nan", or true.

    A decorator and no base class, because `evaluate.load` takes the first metric that it finds in a file.
    """
    kept = metric.add_batch

    def add_batch(self: Any, **columns: Any) -> None:
        """Keep inputs for `compute`, with which it shares its arguments."""
        kept(
            self, **{name: _plain(name, column, self.features.get(name)) for name, column in columns.items()}
        )

    metric.add_batch = add_batch
    return metric


def _plain(name: str, column: Any, feature: Any) -> Any:
    """A column as a list, with None where pandas has a gap.

    Raises:
        InputError: a number with a fraction where a whole one belongs.
    """
    # A Series of pandas is asked for its values: `evaluate` would look for a row of the name 0.
    values = column.tolist() if hasattr(column, "tolist") else column
    kind = getattr(feature, "dtype", None)
    if values is None or kind == "float64":
        return values
    values = [None if isinstance(value, float) and value != value else value for value in values]
    for position, value in enumerate(values):
        if kind == "int64" and isinstance(value, float) and not value.is_integer():
            raise InputError(f"`{name}` is {value!r} here; expected a whole number", position)
    return values
