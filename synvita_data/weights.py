"""How much a synthetic video counts in training: ω of Eq. 4 and the alternatives of Table 4.

f̄ is the mean over VQA models of the VQAScore of the synthetic video V^s with a text: with the
contrast caption t^s it was made from (`neg_caption_score`) and with the real caption t^r
(`caption_score`).

| name         | ω                               | source                                |
|--------------|---------------------------------|---------------------------------------|
| `difference` | max(0, f̄(V^s,t^s) − f̄(V^s,t^r)) | Eq. 4, the default                    |
| `fixed`      | 1                               | Table 4                               |
| `match`      | f̄(V^s,t^s)                      | Table 4                               |
| `product`    | f̄(V^s,t^s) (1 − f̄(V^s,t^r))     | Table 4, the choice for Video-LLaVA   |
| `indicator`  | 1 if f̄(V^s,t^s) > f̄(V^s,t^r)    | Table 4; 0 where the two are equal    |
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ScoreError, choose

Means = NDArray[np.float64]
DEFAULT_WEIGHTING = "difference"


@dataclass(frozen=True, slots=True)
class ModelScore:
    """VQAScores of one synthetic video by one model, each a probability in [0, 1].

    Attributes:
        model: name of the VQA model.
        neg_caption_score: f(V^s, t^s), with the contrast caption.
        caption_score: f(V^s, t^r), with the real caption.
        revision: of the model; None where the score table does not say.
        method: how frames were scored; None where the score table does not say.
    """

    model: str
    neg_caption_score: float
    caption_score: float
    revision: str | None = None
    method: str | None = None


# Each maps (f̄(V^s,t^s), f̄(V^s,t^r)) to ω, all float64 arrays of one shape, ω in [0, 1].
WEIGHTINGS: dict[str, Callable[[Means, Means], Means]] = {
    "difference": lambda neg, cap: np.maximum(0.0, neg - cap),
    "fixed": lambda neg, cap: np.ones(np.broadcast_shapes(neg.shape, cap.shape)),
    "match": lambda neg, cap: np.broadcast_arrays(neg, cap)[0].copy(),
    "product": lambda neg, cap: neg * (1.0 - cap),
    "indicator": lambda neg, cap: (neg > cap).astype(np.float64),
}


def weigh(neg_mean: ArrayLike, cap_mean: ArrayLike, weighting: str = DEFAULT_WEIGHTING) -> Means:
    """ω of many rows at once.

    Args:
        neg_mean: f̄(V^s,t^s), any shape.
        cap_mean: f̄(V^s,t^r), a shape that broadcasts with it.
        weighting: a name in `WEIGHTINGS`.

    Returns:
        float64 in [0, 1], of the broadcast shape.

    Raises:
        ScoreError: a mean is missing (NaN) or outside [0, 1]; `row` is its flat position.
        SynvitaError: an unknown weighting.
    """
    strategy = WEIGHTINGS[choose(weighting, WEIGHTINGS, "weighting")]
    neg, cap = np.asarray(neg_mean, dtype=np.float64), np.asarray(cap_mean, dtype=np.float64)
    for name, values in (("neg_caption_score", neg), ("caption_score", cap)):
        bad = ~((values >= 0.0) & (values <= 1.0))  # NaN compares false
        if bad.any():
            position = int(np.flatnonzero(bad)[0])
            check_probability(float(values.flat[position]), f"mean {name}", row=position)
    return strategy(neg, cap)


def weight(
    scores: Sequence[ModelScore],
    weighting: str = DEFAULT_WEIGHTING,
    *,
    models: Collection[str] | None = None,
) -> float:
    """ω of one synthetic video from the scores of its models.

    Args:
        scores: one entry a model.
        weighting: a name in `WEIGHTINGS`. `fixed` looks at the scores' validity only.
        models: names that must be there, all of them and no other; None takes those that are.

    Raises:
        ScoreError: no scores, a model missing, unexpected or twice, a score NaN or outside [0, 1].
        SynvitaError: an unknown weighting.
    """
    strategy = WEIGHTINGS[choose(weighting, WEIGHTINGS, "weighting")]
    neg_mean, cap_mean = mean_scores(scores, models=models)
    return float(strategy(np.asarray(neg_mean), np.asarray(cap_mean)))


def mean_scores(
    scores: Sequence[ModelScore], *, models: Collection[str] | None = None
) -> tuple[float, float]:
    """(f̄(V^s,t^s), f̄(V^s,t^r)): means over models, independent of their order to the last bit.

    Raises:
        ScoreError: as `weight`.
    """
    check_models([score.model for score in scores], models)
    for score in scores:
        check_probability(score.neg_caption_score, f"the neg_caption_score of model {score.model}")
        check_probability(score.caption_score, f"the caption_score of model {score.model}")
    count = len(scores)
    return (
        math.fsum(score.neg_caption_score for score in scores) / count,
        math.fsum(score.caption_score for score in scores) / count,
    )


def check_models(
    found: Sequence[str],
    expected: Collection[str] | None,
    *,
    file: str | None = None,
    row: int | str | None = None,
) -> None:
    """Raise `ScoreError` unless `found` has each expected model once, no other, and at least one."""
    if not found:
        raise ScoreError(
            "a row has no scores",
            file=file,
            row=row,
            expected="one entry a VQA model" if expected is None else ", ".join(sorted(expected)),
            fix="Score its synthetic video, or leave its weight null",
        )
    if len(set(found)) < len(found):
        twice = sorted({model for model in found if found.count(model) > 1})
        raise ScoreError(f"a row has two scores of {', '.join(twice)}", file=file, row=row)
    if expected is not None and set(found) != set(expected):
        missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
        problems = [f"the score of {model} is missing" for model in missing]
        problems += [f"the score of {model} was not expected" for model in extra]
        raise ScoreError(
            "; ".join(problems),
            file=file,
            row=row,
            found=", ".join(sorted(found)),
            expected=", ".join(sorted(expected)),
            fix="The mean over models means the same for every row only if all have the same models",
        )


def check_probability(
    value: float | None, name: str, *, file: str | None = None, row: int | str | None = None
) -> None:
    """Raise `ScoreError` unless `value` is a number in [0, 1]; `name` says what it is."""
    if value is None or math.isnan(value):
        problem = f"{name} is missing"
    elif not 0.0 <= value <= 1.0:
        problem = f"{name} is outside [0, 1]"
    else:
        return
    raise ScoreError(
        problem,
        file=file,
        row=row,
        found="nothing" if value is None else repr(float(value)),
        expected="a probability: sigmoid of the log-odds of Yes over No",
        fix="Score this video again",
    )
