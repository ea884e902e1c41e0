"""Checkpoints as mPLUG-Owl, VideoCon and SynViTA publish them: one `pytorch_model.bin`, read without running it."""

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig

from ...errors import SynvitaError, first_line
from ...files import read_json
from .configuration import MODEL_TYPE, MplugOwlConfig, MplugOwlVisionConfig, MplugOwlVisualAbstractorConfig
from .modeling import MplugOwlForConditionalGeneration

# Fixed by the architecture, and rounded to bf16 in old files: computed again, in fp32.
_COMPUTED = re.compile(r"(^|\.)rotary_emb\.inv_freq$")
# The released weights that were trained well; the first upload gave NaN to some.
REVISION = "fe6a4ca"


def read_state_dict(folder: Path) -> dict[str, Tensor]:
    """The tensors of `folder/pytorch_model.bin` by name, mapped from the file and not read before they are used.

    Raises:
        SynvitaError: no such file, a file cut off, or one that holds more than tensors.
    """
    path = folder / "pytorch_model.bin"
    if not path.is_file():
        found = sorted(each.name for each in folder.glob("*.bin")) if folder.is_dir() else "no such folder"
        raise SynvitaError(
            "no checkpoint to convert",
            file=folder,
            found=found or "no .bin file",
            expected="pytorch_model.bin, as the released model has it",
            fix="Download it whole: docs/mplug_owl.md says how",
        )
    try:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            state = torch.load(path, map_location="cpu", weights_only=True)  # torch's format before 1.6
    except Exception as error:  # UnpicklingError, RuntimeError, EOFError, ValueError, …
        raise SynvitaError(
            "a checkpoint cannot be read",
            file=path,
            found=first_line(error),
            expected="a whole file of torch that holds tensors alone",
            fix="Download it again",
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(each, Tensor) for each in state.values()):
        raise SynvitaError(
            "a checkpoint is not a state dict",
            file=path,
            found=type(state).__name__,
            expected="names with tensors",
        )
    return dict(state)


def read_config(folder: Path) -> MplugOwlConfig:
    """The settings in `folder/config.json`; what old transformers wrote beside them is left out.

    Raises:
        SynvitaError: no such file, or of another model.
    """
    path = folder / "config.json"
    raw = read_json(path, "a model's settings")
    if raw.get("model_type") != MODEL_TYPE:
        raise SynvitaError(
            "not a checkpoint of mPLUG-Owl", file=path, found=raw.get("model_type"), expected=MODEL_TYPE
        )
    return MplugOwlConfig(
        vision_config=_own_fields(MplugOwlVisionConfig, raw.get("vision_config")),
        visual_abstractor_config=_own_fields(
            MplugOwlVisualAbstractorConfig, raw.get("visual_abstractor_config")
        ),
        text_config=_own_fields(LlamaConfig, raw.get("text_config")),
        num_query_tokens=int(raw.get("num_query_tokens", 64)),
    )


def without_computed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the buffers that follow from the settings."""
    return {name: tensor for name, tensor in state.items() if not _COMPUTED.search(name)}


def checked(state: Mapping[str, Tensor], config: MplugOwlConfig, folder: Path) -> dict[str, Tensor]:
    """`state` without what is computed, if it is just the weights of the model.

    Raises:
        SynvitaError: a weight is missing, left over or of another shape.
    """
    weights = without_computed(state)
    with torch.device("meta"):
        model = MplugOwlForConditionalGeneration(config)
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    wrong = {
        "missing": sorted(expected.keys() - weights.keys()),
        "left over": sorted(weights.keys() - expected.keys()),
        "other shape": [
            f"{name} {list(weights[name].shape)} for {list(expected[name])}"
            for name in sorted(expected.keys() & weights.keys())
            if weights[name].shape != expected[name]
        ],
    }
    if any(wrong.values()):
        raise SynvitaError(
            "a checkpoint does not hold just the weights of mPLUG-Owl's video model",
            file=folder,
            found="; ".join(
                f"{len(names):,} {what}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
                for what, names in wrong.items()
                if names
            ),
            fix="An adapter's checkpoint is converted by `synvita convert mplug-owl-lora`; else download it again",
        )
    return weights


def _own_fields(kind: type, given: Any) -> dict[str, Any]:
    names = {field.name for field in fields(kind)} - {"dtype", "architectures", "transformers_version"}
    return {key: value for key, value in (given or {}).items() if key in names and value is not None}
