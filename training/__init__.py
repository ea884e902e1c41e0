"""Losses, data, trainer and recipes of the SynViTA objective (CVPR 2025, Eqs. 2-7).

    config = SynViTAConfig(output_dir="out", bf16=True)
    rows = load_triplets("dataset", split="train", real_root="videos")
    SynViTATrainer(model, processor, config, rows).train()

Names are imported when they are asked for: reading a recipe needs neither torch nor transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoints import merge_adapter
    from .config import SynViTAConfig
    from .data import TEXTS, VIDEOS, TrainingTriplet
    from .data.dataset import PackedCollator, TripletData
    from .evaluation import EvaluationPairs
    from .module import TripletModule, TripletScores
    from .objective import Objective
    from .recipe import Recipe, RecipeError, read_recipe
    from .stock.collator import StockCollator
    from .stock.loss import SynViTALoss
    from .trainer import SynViTATrainer

# Name -> module of this package.
_HOMES = {
    "EvaluationPairs": "evaluation",
    "Objective": "objective",
    "PackedCollator": "data.dataset",
    "Recipe": "recipe",
    "RecipeError": "recipe",
    "StockCollator": "stock.collator",
    "SynViTAConfig": "config",
    "SynViTALoss": "stock.loss",
    "SynViTATrainer": "trainer",
    "TEXTS": "data",
    "TrainingTriplet": "data",
    "TripletData": "data.dataset",
    "TripletModule": "module",
    "TripletScores": "module",
    "VIDEOS": "data",
    "merge_adapter": "checkpoints",
    "read_recipe": "recipe",
}

__all__ = [
    "TEXTS",
    "VIDEOS",
    "EvaluationPairs",
    "Objective",
    "PackedCollator",
    "Recipe",
    "RecipeError",
    "StockCollator",
    "SynViTAConfig",
    "SynViTALoss",
    "SynViTATrainer",
    "TrainingTriplet",
    "TripletData",
    "TripletModule",
    "TripletScores",
    "merge_adapter",
    "read_recipe",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from synvita_data.extras import explaining

    with explaining():
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
