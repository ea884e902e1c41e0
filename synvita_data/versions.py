"""The versions that a result, a training run or a generated video records."""

import platform
from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata

from . import __version__

# What can move a score or a metric; those that are installed are recorded.
_RECORDED = ("numpy", "av", "decord", "torchcodec", "torch", "transformers", "peft", "accelerate")


def versions() -> dict[str, str]:
    """Python, this package and what is installed of the packages that can move a score."""
    return {"python": platform.python_version(), "synvita-data": __version__} | installed(_RECORDED)


def installed(names: Iterable[str]) -> dict[str, str]:
    """Versions of packages; what is not installed is left out."""
    found = {}
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
