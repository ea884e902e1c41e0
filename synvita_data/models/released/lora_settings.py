"""`adapter_config.json` of a released LoRA: rank and alpha, and that it asks for nothing that is not plain LoRA."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, TypeGuard

from ...errors import SynvitaError
from ...files import read_json
from . import ADAPTER_CONFIG

# Modules of the language model that the paper's adapters are on, in every family here: not those of the towers, whose
# layers partly have the same names.
LANGUAGE_MODEL_LINEARS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
# Settings that change what an adapter computes, with the only values that a conversion understands.
_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": (None, "none"),
    "fan_in_fan_out": (None, False),
    "use_rslora": (None, False),
    "use_dora": (None, False),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "layers_to_transform": (None, []),
}


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """What the settings say.

    Attributes:
        rank: r.
        alpha: LoRA's alpha; what is added is alpha / r · B A.
        dropout: of its training.
        targets: last parts of the names of modules; None where it is a pattern or not said.
        base: name of the base that it says it was trained from.
    """

    rank: int
    alpha: float
    dropout: float
    targets: frozenset[str] | None
    base: str | None

    def check_rank(self, rank: int, folder: Path) -> None:
        """Complain about matrices of another rank, whose alpha / r would be wrong.

        Args:
            rank: of the matrices.
            folder: of the adapter.

        Raises:
            SynvitaError: another rank.
        """
        if rank != self.rank:
            raise SynvitaError(
                "an adapter is of another rank than its settings say",
                file=folder / ADAPTER_CONFIG,
                found=f"r = {self.rank}",
                expected=f"{rank}, the rank of its matrices",
                fix="Settings and weights are of different adapters: download both again",
            )


def read_lora_settings(folder: Path) -> LoraSettings | None:
    """The settings in a folder; None where there is no such file.

    Raises:
        SynvitaError: not settings of a plain LoRA.
    """
    path = folder / ADAPTER_CONFIG
    if not path.is_file():
        return None
    raw = read_json(path, "an adapter's settings")
    for name, plain in _PLAIN.items():
        if raw.get(name) not in plain:
            raise SynvitaError(
                "an adapter is not a plain LoRA",
                file=path,
                found=f"{name} = {raw.get(name)!r}",
                expected=" or ".join(map(repr, plain)),
            )
    rank, alpha, dropout = (raw.get(name) for name in ("r", "lora_alpha", "lora_dropout"))
    dropout = 0.0 if dropout is None else dropout
    # A bool is an int to Python, and no rank.
    if type(rank) is not int or rank < 1 or not (_is_number(alpha) and _is_number(dropout)):
        raise SynvitaError(
            "an adapter's settings lack rank, alpha or dropout",
            file=path,
            found=f"r = {rank!r}, lora_alpha = {alpha!r}, lora_dropout = {dropout!r}",
            expected="a whole number r from 1, and numbers lora_alpha and lora_dropout",
        )
    targets = raw.get("target_modules")
    return LoraSettings(
        rank,
        float(alpha),
        float(dropout),
        frozenset(map(str, targets)) if isinstance(targets, list) else None,
        raw.get("base_model_name_or_path"),
    )


def _is_number(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float) and isfinite(value)  # Python's JSON knows infinity
