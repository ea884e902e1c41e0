"""Alignment of videos and texts by any Video LLM: one interface for training, evaluation and demos.

    model = AlignmentModel(AutoModelForImageTextToText.from_pretrained(name), AutoProcessor.from_pretrained(name))
    model([frames], [[Text("a dog runs"), Text("a cat runs")]]).log_odds  # fp32 [2]

The names here import torch and transformers when they are first used; `resolve` and `runtime` need neither.
docs/alignment.md explains the strategies, the families and how to write one.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .alignment import AlignmentModel, AlignmentOutput, choose_strategy  # noqa: F401
    from .families import FAMILIES, get_family  # noqa: F401
    from .families.family import Family, Features, PreparedVideo, PromptFrame  # noqa: F401
    from .prompting import ContextError, Description, Explanation  # noqa: F401
    from .strategies import STRATEGIES, EncodedVideo  # noqa: F401

# Name -> the module here that defines it.
_EXPORTS = {
    **dict.fromkeys(("AlignmentModel", "AlignmentOutput", "choose_strategy"), "alignment"),
    **dict.fromkeys(("FAMILIES", "get_family"), "families"),
    **dict.fromkeys(("Family", "Features", "PreparedVideo", "PromptFrame"), "families.family"),
    **dict.fromkeys(("ContextError", "Description", "Explanation"), "prompting"),
    **dict.fromkeys(("STRATEGIES", "EncodedVideo"), "strategies"),
}
__all__ = [*_EXPORTS]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
