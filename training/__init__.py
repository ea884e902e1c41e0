"""Losses, data, trainer and recipes of the SynViTA objective (CVPR 2025, Eqs. 2-7).

    config = SynViTAConfig(output_dir="out", bf16=True)
    alignment = AlignmentModel(model, processor, prompt=config.prompt)
    data = TripletData(rows, alignment, config.data_options(alignment.family))
    SynViTATrainer(model, processor, config, data).train()

Names are imported when they are asked for: reading a recipe needs neither torch nor transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoints import merge_adapter
    from .collator import PackedCollator
    from .config import SynViTAConfig
    from .data import TripletData
    from .module import TripletModule, TripletScores
    from .plan import DataOptions
    from .recipe import Recipe, RecipeError, read_recipe
    from .stock.collator import StockCollator
    from .stock.loss import SynViTALoss
    from .trainer import SynViTATrainer
    from .triplet import TEXTS, VIDEOS, TrainingTriplet

# Name -> module of this package.
_HOMES = {
    "DataOptions": "plan",
    "PackedCollator": "collator",
    "Recipe": "recipe",
    "RecipeError": "recipe",
    "StockCollator": "stock.collator",
    "SynViTAConfig": "config",
    "SynViTALoss": "stock.loss",
    "SynViTATrainer": "trainer",
    "TEXTS": "triplet",
    "TrainingTriplet": "triplet",
    "TripletData": "data",
    "TripletModule": "module",
    "TripletScores": "module",
    "VIDEOS": "triplet",
    "merge_adapter": "checkpoints",
    "read_recipe": "recipe",
}

__all__ = [
    "TEXTS",
    "VIDEOS",
    "DataOptions",
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
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
