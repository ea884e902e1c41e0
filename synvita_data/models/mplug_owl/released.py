"""The released checkpoint of mPLUG-Owl: its settings, and that it holds just the weights of the model."""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from transformers import LlamaConfig

from ...errors import SynvitaError
from ...files import read_json
from ..released.conversion import check_weights, own_fields, usable
from .configuration import MODEL_TYPE, MplugOwlConfig, MplugOwlVisionConfig, MplugOwlVisualAbstractorConfig
from .modeling import MplugOwlForConditionalGeneration

# Fixed by the architecture, and rounded to bf16 in old files: computed again, in fp32.
_COMPUTED = re.compile(r"(^|\.)rotary_emb\.inv_freq$")


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
    with usable(path):
        return MplugOwlConfig(
            vision_config=own_fields(MplugOwlVisionConfig, raw.get("vision_config")),
            visual_abstractor_config=own_fields(
                MplugOwlVisualAbstractorConfig, raw.get("visual_abstractor_config")
            ),
            text_config=own_fields(LlamaConfig, raw.get("text_config")),
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
    check_weights(
        weights,
        lambda: MplugOwlForConditionalGeneration(config),
        "mPLUG-Owl's video model",
        folder,
        fix="An adapter's checkpoint is converted by `synvita convert mplug-owl-lora`; else download it again",
    )
    return weights
