"""What computed a video: versions and hardware, for its record."""

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = ("synvita-data", "torch", "diffusers", "transformers", "av")


def device_name(device: str) -> str:
    """The GPU's name, or the CPU's architecture. Other hardware may give other bits."""
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    return f"{device} {platform.machine()}" if device == "cpu" else device


def library_versions(libraries: Sequence[str] = LIBRARIES) -> dict[str, str]:
    """Versions of what the pixels went through; what is not installed is left out."""
    found = {}
    for name in libraries:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
