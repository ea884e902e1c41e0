"""The weight ω of each row's synthetic video: the dataset's own, or one of Table 4's from its VQAScores."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from synvita_data.errors import ScoreError, SynvitaError
from synvita_data.weights import WEIGHTINGS, ModelScore, weight

from .rows import Row, is_number

_FIX = "Build the dataset with --vqascores FILE, or train with weighting='fixed' or use_synthetic=False"


def weights_of(rows: Sequence[Row], weighting: str | None, name: str) -> list[float]:
    """ω in [0, 1] of each row; 0 where there is no synthetic video.

    Args:
        weighting: None for the column `weight`; a name in `WEIGHTINGS` to find it anew from `vqascores`.
            `fixed` is 1 and needs no scores (Eq. 3).

    Raises:
        ScoreError: a row with a synthetic video has no weight (no scores), NaN, or one outside [0, 1], or scores
            of other models than the first such row.
        SynvitaError: no such weighting.
    """
    if weighting is not None and weighting not in WEIGHTINGS:
        raise SynvitaError("no such weighting", found=weighting, expected=f"one of {', '.join(WEIGHTINGS)}")
    if weighting is None:
        return [_published(row, name) if row.has_synthetic else 0.0 for row in rows]
    if weighting == "fixed":
        return [float(row.has_synthetic) for row in rows]
    weights, models = [], None
    for row in rows:
        if not row.has_synthetic:
            weights.append(0.0)
            continue
        scores = _scores(row, name)
        try:
            weights.append(weight(scores, weighting, models=models))
        except ScoreError as error:
            raise ScoreError(
                error.problem,
                file=name,
                row=row.number,
                found=error.found,
                expected=error.expected,
                fix=error.fix,
            ) from error
        models = models or [score.model for score in scores]
    return weights


def _published(row: Row, name: str) -> float:
    value = row.weight
    if value is None or (is_number(value) and math.isnan(value)):
        raise ScoreError(
            "a synthetic video has no weight",
            file=name,
            row=row.number,
            found=f"weight {value} of {row.row_id}",
            expected="a number in [0, 1]",
            fix=_FIX,
        )
    if not is_number(value) or not 0.0 <= value <= 1.0:
        raise ScoreError(
            "a weight is outside [0, 1]" if is_number(value) else "a weight is no number",
            file=name,
            row=row.number,
            found=f"{value!r} of {row.row_id}",
            expected="a number in [0, 1]",
            fix="Build the dataset again",
        )
    return float(value)


def _scores(row: Row, name: str) -> list[ModelScore]:
    found: Any = row.vqascores
    if not found:
        raise ScoreError(
            "a synthetic video has no VQAScores to weigh it by",
            file=name,
            row=row.number,
            found=f"vqascores {found!r} of {row.row_id}",
            expected="one entry a VQA model",
            fix=_FIX,
        )
    scores = []
    for entry in found:
        values = [entry.get(key) for key in _KEYS] if isinstance(entry, Mapping) else [None]
        if not isinstance(values[0], str) or not all(v is None or is_number(v) for v in values[1:]):
            raise ScoreError(
                "vqascores are not what they should be",
                file=name,
                row=row.number,
                found=repr(entry),
                expected=f"an entry with {', '.join(_KEYS)}",
                fix="Build the dataset again",
            )
        scores.append(ModelScore(*values))
    return scores


_KEYS = ("model", "neg_caption_score", "caption_score")
