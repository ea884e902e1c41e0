"""Families of Video LLMs by the `model_type` of their `config.json`; one file each, imported when asked for."""

from importlib import import_module
from typing import TYPE_CHECKING

from ...errors import choose

if TYPE_CHECKING:
    from .family import Family

# model_type -> (module of this package, class).
FAMILIES: dict[str, tuple[str, str]] = {
    "video_llava": ("video_llava", "VideoLlava"),
    "video_llava_original": ("video_llava_original", "VideoLlavaOriginal"),
    "qwen2_5_vl": ("qwen2_5_vl", "Qwen2_5VL"),
    "qwen3_vl": ("qwen3_vl", "Qwen3VL"),
    "llava_onevision": ("llava_onevision", "LlavaOnevision"),
    "mplug-owl": ("mplug_owl", "MplugOwl"),
}


def get_family(model_type: str) -> type["Family"]:
    """The class of a family; imports neither torch nor transformers.

    Raises:
        SynvitaError: an unknown family.
    """
    choose(
        model_type,
        FAMILIES,
        "family of Video LLMs (model_type)",
        fix="docs/alignment.md shows how to add one",
    )
    module, name = FAMILIES[model_type]
    family: type[Family] = getattr(import_module(f"{__name__}.{module}"), name)
    return family
