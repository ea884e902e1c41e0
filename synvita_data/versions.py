"""The versions that a result or a training run records."""

import platform
from importlib import metadata

from . import __version__

# What can move a score or a metric; those that are installed are recorded.
_RECORDED = ("numpy", "av", "decord", "torchcodec", "torch", "transformers", "peft", "accelerate")


def versions() -> dict[str, str]:
    """Python, this package and what is installed of the packages that can move a score."""
    found = {"python": platform.python_version(), "synvita-data": __version__}
    for name in _RECORDED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
