"""This machine: free disk, memory, GPUs, installed packages. Imports nothing heavy and takes no GPU."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..versions import installed

# What nvidia-smi may take; it waits for the driver.
_SECONDS = 5.0
# Shown with a report: what can move a score or refuse a checkpoint.
_SHOWN = ("torch", "transformers", "peft", "diffusers", "accelerate", "datasets", "huggingface_hub", "av")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU: its number, name, and memory in bytes, all of it and what is free now."""

    index: int
    name: str
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What a model could use here.

    Attributes:
        gpus: those that this process would see.
        no_gpus: why there are none, where there are none.
        ram: bytes of main memory; None where the system does not say.
        versions: of the packages that matter.
    """

    gpus: tuple[Gpu, ...]
    no_gpus: str | None
    ram: int | None
    versions: dict[str, str]

    def to_record(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def look_at_machine() -> Machine:
    """GPUs as `nvidia-smi` lists them, within CUDA_VISIBLE_DEVICES; memory; versions."""
    gpus, why = find_gpus()
    return Machine(gpus, why, _ram(), installed(_SHOWN))


def find_gpus() -> tuple[tuple[Gpu, ...], str | None]:
    """The GPUs, or why there are none. AMD's and Apple's are not asked for."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return (), "no nvidia-smi"
    query = "--query-gpu=index,uuid,name,memory.total,memory.free"
    command = [program, query, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)
    except subprocess.TimeoutExpired:
        return (), f"nvidia-smi did not answer within {_SECONDS:.0f} s"
    except (OSError, subprocess.CalledProcessError):
        return (), "nvidia-smi fails"
    gpus = {}
    for line in done.stdout.splitlines():
        with suppress(ValueError):  # "[N/A]" of cards that share their memory
            index, uuid, name, total, free = (part.strip() for part in line.split(","))
            gpus[uuid] = Gpu(int(index), name, int(total) << 20, int(free) << 20)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        asked = [part.strip() for part in visible.split(",")]
        gpus = {uuid: gpu for uuid, gpu in gpus.items() if _is_asked(uuid, gpu, asked)}
        if not gpus:
            return (), f"CUDA_VISIBLE_DEVICES={visible}"
    return tuple(gpus.values()), None if gpus else "nvidia-smi lists none"


def _is_asked(uuid: str, gpu: Gpu, asked: Iterable[str]) -> bool:
    return any(
        each == str(gpu.index) or (each.startswith("GPU-") and uuid.startswith(each)) for each in asked
    )


def _ram() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


# -- disk --------------------------------------------------------------------------------------------------


def free_bytes(folder: Path) -> int | None:
    """Free bytes of the disk on which a folder lies, or would lie; None where the system does not say."""
    try:
        return shutil.disk_usage(nearest(folder)).free
    except OSError:
        return None


def disk_of(folder: Path) -> int:
    """Number of the disk on which a folder lies, or would lie."""
    try:
        return nearest(folder).stat().st_dev
    except OSError:
        return -1


def nearest(folder: Path) -> Path:
    """The folder, or the next one above it that is there."""
    here = folder.expanduser().absolute()
    while not here.exists() and here != here.parent:
        here = here.parent
    return here
