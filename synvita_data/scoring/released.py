"""How the released code evaluates a Video LLM, as options: mirrored rows, the answer read in the model's own dtype, and
the mode that sets all of it. The default is none of it (`docs/evaluation.md`)."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import SynvitaError, choose

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from ..models.families.family import Family

FLIPS = ("none", "seed0")
READOUTS = ("float32", "released")
MODES = ("clean", "released")
DEFAULTS = {
    "dtype": "float32",
    "placeholder_space": "processor",
    "preprocess": "processor",
    "flips": "none",
    "readout": "float32",
    "merge": "none",
}


def draw_flips(name: str, rows: int) -> "npt.NDArray[np.bool_]":
    """Which rows of a file the released code mirrors when it evaluates.

    LanguageBind's video transform ends with a random mirroring (p = 0.5), and the released code evaluates with it: one
    draw of Python's `random` a decoded row, after `random.seed(0)`, so the rows are a function of their order.

    Args:
        name: one of FLIPS.
        rows: how many are decoded, from the file's first on.

    Returns:
        bool [rows], true where the video is mirrored.

    Raises:
        SynvitaError: an unknown name.
    """
    import numpy as np

    if choose(name, FLIPS, "flips") == "none":
        return np.zeros(rows, bool)
    return draw_mirrored(0, rows)


def draw_mirrored(seed: int, rows: int) -> "npt.NDArray[np.bool_]":
    """bool [rows], which rows are mirrored after `random.seed(seed)`; the release has seed 0."""
    import numpy as np

    draws = random.Random(seed)
    return np.array([draws.random() < 0.5 for _ in range(rows)], bool)


def released_probability(logits: "Tensor", yes: int, no: int) -> "Tensor":
    """P(Yes) / (P(Yes) + P(No)) as the released code reads it: softmax and ratio in the dtype of the logits.

    In bfloat16 the values between 0.5 and 1 are 1/256 apart, so very many scores tie.

    Args:
        logits: [..., V] of the whole vocabulary, in the model's dtype.
        yes, no: the tokens of both answers.

    Returns:
        [...] in the same dtype.
    """
    odds = logits.softmax(dim=-1)
    return odds[..., yes] / (odds[..., yes] + odds[..., no])


@dataclass(frozen=True, slots=True)
class Chosen:
    """The options that a scorer is opened with.

    Attributes:
        options: by name, each of `DEFAULTS` with a value, `prompt` and `backend` where one is asked for.
        set_by_mode: those that the mode has set.
        mode: one of MODES.
    """

    options: dict[str, str]
    set_by_mode: dict[str, str]
    mode: str

    def unusual(self) -> dict[str, str]:
        """The mode, and how scores are made, where it is not as by default: earlier scores keep their keys."""
        own = {name: self.options[name] for name in ("flips", "readout", "merge")} | {"mode": self.mode}
        return {name: value for name, value in own.items() if value != (DEFAULTS | {"mode": "clean"})[name]}


def choose_options(
    mode: str,
    family: "type[Family]",
    model: str,
    given: Mapping[str, str | None],
    trained: Mapping[str, str | None],
) -> Chosen:
    """What is given, or else what the mode sets, or else what a fine-tune was trained with, or else the default.

    Args:
        mode: one of MODES.
        family: of the model.
        model: its name, for errors.
        given: options by name, None where the user gave none.
        trained: in the same way.

    Raises:
        SynvitaError: an unknown mode, flips or readout; mode `released` for a family that the release does not
            evaluate; flips of a family whose videos cannot be mirrored.
    """
    set_by_mode: dict[str, str] = {}
    if choose(mode, MODES, "mode") == "released":
        if not family.released:
            raise SynvitaError(
                "the released code does not evaluate this kind of model",
                file=model,
                found=f"model_type {family.model_type!r} with mode {mode!r}",
                expected="a Video-LLaVA or an mPLUG-Owl",
                fix="Leave the mode out",
            )
        set_by_mode = {name: value for name, value in family.released.items() if not given.get(name)}
    options = dict(DEFAULTS)
    for asked in (trained, set_by_mode, given):
        options |= {name: value for name, value in asked.items() if value}
    choose(options["readout"], READOUTS, "readout")
    if choose(options["flips"], FLIPS, "flips") != "none":
        family.check_mirrored()
    return Chosen(options, set_by_mode, mode)
