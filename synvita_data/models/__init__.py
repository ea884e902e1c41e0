"""Alignment of videos and texts by any Video LLM: one interface for training, evaluation and demos.

    model = AlignmentModel(AutoModelForImageTextToText.from_pretrained(name), AutoProcessor.from_pretrained(name))
    model([frames], [[Text("a dog runs"), Text("a cat runs")]]).log_odds  # fp32 [2]

Importing this package imports torch and transformers, and nothing that decodes videos or reads datasets.
docs/alignment.md explains the ways, the families and how to write one.
"""

from .alignment import AlignmentModel, AlignmentOutput, choose_way
from .families import FAMILIES, get_family
from .families.family import Family, Features, PreparedVideo, PromptFrame
from .prompting import ContextError, Description, Explanation
from .strategies import WAYS, EncodedVideo

__all__ = [
    "FAMILIES",
    "WAYS",
    "AlignmentModel",
    "AlignmentOutput",
    "ContextError",
    "Description",
    "EncodedVideo",
    "Explanation",
    "Family",
    "Features",
    "PreparedVideo",
    "PromptFrame",
    "choose_way",
    "get_family",
]
