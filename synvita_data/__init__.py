"""Datasets and benchmarks for video-language alignment with synthetic videos (SynViTA, CVPR 2025).

Importing this package is cheap: nothing heavier than the standard library is imported until used.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

# In a checkout the sub-packages builders/, evaluate_metrics/ and training/ are siblings of this folder;
# in a wheel they are inside it. Appending the repository root makes `PYTHONPATH=.` enough in a checkout.
_root = Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file() and (_root / "training").is_dir():
    __path__.append(str(_root))

# Public name -> module that defines it; resolved on first use (PEP 562) to keep `import synvita_data` light.
# docs/interface.md lists them as the stable Python interface.
_EXPORTS = {
    # Datasets: load them, build them, make their videos and scores.
    "load_triplets": "synvita_data.dataset.load",
    "Triplet": "synvita_data.schema",
    "BuildOptions": "synvita_data.builders.dataset",
    "build_dataset": "synvita_data.builders.dataset",
    "generate_videos": "synvita_data.builders.generators",
    "score_videos": "synvita_data.builders.vqascore",
    # Captions and masks.
    "Text": "synvita_data.captions",
    "hidden_spans": "synvita_data.captions",
    "shared_spans": "synvita_data.captions.lcs",
    # Videos.
    "Frames": "synvita_data.video",
    "FramePolicy": "synvita_data.video",
    "decode": "synvita_data.video",
    # Models and scores.
    "AlignmentModel": "synvita_data.models",
    "AlignmentScorer": "synvita_data.scoring.alignment",
    "open_scorer": "synvita_data.scoring.open",
    # Benchmarks.
    "get_task": "synvita_data.tasks",
    "read_annotations": "synvita_data.annotations",
    "evaluate_scorer": "synvita_data.evaluation.run",
    "evaluate_predictions": "synvita_data.evaluation.run",
    "score": "synvita_data.pair_scores.pairs",
    "read_results": "synvita_data.leaderboard.table",
    "make_leaderboard": "synvita_data.leaderboard.table",
    "metric": "synvita_data.metrics",
    # Training.
    "SynViTAConfig": "synvita_data.training",
    "SynViTATrainer": "synvita_data.training",
    "TripletData": "synvita_data.training",
    "SynViTALoss": "synvita_data.training",
    "StockCollator": "synvita_data.training",
    # Errors.
    "SynvitaError": "synvita_data.errors",
}
__all__ = [*_EXPORTS, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        with import_module("synvita_data.extras").explaining():
            return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
