"""Weights that are made from all rows of a cell together, or from what the world knows. Pure NumPy.

| name          | weight of a clip                                                                   |
|---------------|------------------------------------------------------------------------------------|
| `mean-one`    | ω of Eq. 4 divided by its mean over the rows: Eq. 4 without its smaller scale      |
| `constant`    | the mean of ω for every clip: the scale of Eq. 4 without its choice                |
| `oracle`      | 1 where the contrast caption is true of the clip, as the world knows it, else 0    |
| `top-half`    | 1 for the half of each misalignment's rows with the larger ω, else 0               |
| `bottom-half` | 1 for the other half, else 0                                                       |
| `random-half` | 1 for a random half of each misalignment's rows, else 0                            |

They are arms of the study and no options of the trainer: a recipe names the weights of `synvita_data.weights`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ScoreError, choose
from .questions import OWN_WEIGHTS

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def own_weights(name: str, omega: Floats, right: Bools, kinds: Sequence[str], seed: int) -> Floats:
    """The weights of a cell's rows.

    Args:
        name: one of OWN_WEIGHTS.
        omega: float64 [N], ω of Eq. 4 of each row.
        right: bool [N], whether the contrast caption is true of the row's clip.
        kinds: misalignment of each row.
        seed: of the random half, and of the order of equal ω.

    Returns:
        float64 [N], not negative; those of `mean-one` may be above 1.

    Raises:
        SynvitaError: an unknown name. ScoreError: all ω are 0, which cannot be divided by their mean.
    """
    choose(name, OWN_WEIGHTS, "weights of the study")
    if name == "oracle":
        return right.astype(np.float64)
    if name in ("mean-one", "constant"):
        mean = float(omega.mean())
        if mean == 0:
            raise ScoreError(
                f"weights {name} need a mean", found="ω of every row is 0", fix="Lower the noise of the world"
            )
        return omega / mean if name == "mean-one" else np.full(len(omega), mean)
    return _half(name, omega, np.asarray(kinds), seed)


def _half(name: str, omega: Floats, kinds: npt.NDArray[Any], seed: int) -> Floats:
    """1 for half of each kind's rows (of an odd number the smaller half), else 0."""
    shuffled = np.random.default_rng(seed).permutation(len(omega))
    rank = {
        "top-half": np.lexsort((shuffled, -omega)),
        "bottom-half": np.lexsort((-shuffled, omega)),
        "random-half": np.argsort(shuffled),
    }[name]
    weights = np.zeros(len(omega))
    for kind in np.unique(kinds):
        rows = rank[kinds[rank] == kind]
        weights[rows[: len(rows) // 2]] = 1.0
    return weights
