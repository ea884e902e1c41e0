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
_EXPORTS = {
    "Frames": "synvita_data.video",
    "FramePolicy": "synvita_data.video",
    "Text": "synvita_data.captions",
    "Triplet": "synvita_data.schema",
    "load_triplets": "synvita_data.dataset.load",
    "metric": "synvita_data.metrics",
    "shared_spans": "synvita_data.captions.lcs",
}
__all__ = [*_EXPORTS, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
