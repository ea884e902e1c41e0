"""Families of Video LLMs by the `model_type` of their `config.json`; one file each, imported when asked for."""

from importlib import import_module
from typing import TYPE_CHECKING

from ...errors import SynvitaError

if TYPE_CHECKING:
    from .family import Family

# model_type -> (module of this package, class).
FAMILIES: dict[str, tuple[str, str]] = {
    "video_llava": ("video_llava", "VideoLlava"),
    "qwen2_5_vl": ("qwen2_5_vl", "Qwen2_5VL"),
    "qwen3_vl": ("qwen3_vl", "Qwen3VL"),
    "llava_onevision": ("llava_onevision", "LlavaOnevision"),
    "mplug-owl": ("mplug_owl", "MplugOwl"),
}
# Those that are told when the frames stand in the file: by the frames' `indices` and the file's rate, or by their
# `timestamps`; see `video.rules`.
READS_TIMES = {"qwen2_5_vl": "timestamps", "qwen3_vl": "indices"}


def get_family(model_type: str) -> type["Family"]:
    """The class of a family; imports torch and transformers.

    Raises:
        SynvitaError: no such family.
    """
    if model_type not in FAMILIES:
        raise SynvitaError(
            "there is no adapter for this family of Video LLMs",
            found=f"model_type {model_type!r}",
            expected=f"one of {', '.join(FAMILIES)}",
            fix="docs/alignment.md shows how to write one",
        )
    module, name = FAMILIES[model_type]
    family: type[Family] = getattr(import_module(f"{__name__}.{module}"), name)
    return family
