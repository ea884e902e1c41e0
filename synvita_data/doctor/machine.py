"""This machine: free disk, memory, GPUs, installed packages. Imports nothing heavy and takes no GPU."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ..versions import installed
from .report import Check, size

DISTRIBUTION = "synvita-data"
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
    here = folder.expanduser().absolute()
    while not here.exists() and here != here.parent:
        here = here.parent
    try:
        return shutil.disk_usage(here).free
    except OSError:
        return None


def disk_checks(needed: Iterable[tuple[str, Path, int]]) -> list[Check]:
    """Whether what will be written fits; what goes onto one disk is added up.

    Args:
        needed: what it is, the folder it goes into, and its bytes.
    """
    on_disks: dict[int, list[tuple[str, Path, int]]] = {}
    for what, folder, count in needed:
        if count > 0:
            on_disks.setdefault(_disk_of(folder), []).append((what, folder, count))
    checks = []
    for parts in on_disks.values():
        total, free = sum(count for _, _, count in parts), free_bytes(parts[0][1])
        named = ", ".join(f"{size(count)} {what}" for what, _, count in parts)
        if free is None:
            checks.append(Check("warn", "disk", f"{named}: how much is free at {parts[0][1]} is not known"))
        elif free < total:
            text = f"{named}: needs {size(total)}, {size(free)} are free at {parts[0][1]}"
            checks.append(Check("bad", "disk", text, "Make room, or set HF_HOME to a folder on another disk"))
        else:
            checks.append(Check("ok", "disk", f"{named}; {size(free)} are free at {parts[0][1]}"))
    return checks


def _disk_of(folder: Path) -> int:
    here = folder.expanduser().absolute()
    while not here.exists() and here != here.parent:
        here = here.parent
    try:
        return here.stat().st_dev
    except OSError:
        return -1


# -- packages ----------------------------------------------------------------------------------------------


def missing_packages(extra: str) -> list[str] | None:
    """What an extra of this package asks for and is not installed, or is too old; None where that is not known.

    Args:
        extra: `score`, `train`, `generate`, …, of pyproject.toml.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        stated = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return None
    missing = []
    for line in stated:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        if marker is None or not marker.evaluate({"extra": extra}) or marker.evaluate({"extra": ""}):
            continue
        there = installed([requirement.name]).get(requirement.name)
        if there is None:
            missing.append(f"{requirement.name}{requirement.specifier}")
        elif not requirement.specifier.contains(there, prereleases=True):
            missing.append(f"{requirement.name}{requirement.specifier} (there is {there})")
    return missing


def extra_check(extra: str) -> Check:
    """Whether everything of an extra is installed."""
    missing = missing_packages(extra)
    if missing is None:
        text = f"{DISTRIBUTION} is not installed, so its extra {extra} cannot be checked"
        return Check("warn", "packages", text, "Install it: pip install -e .")
    if missing:
        fix = f'pip install "{DISTRIBUTION}[{extra}]"'
        return Check("bad", "packages", f"not installed: {', '.join(missing)}", fix)
    return Check("ok", "packages", f"all of the extra {extra} is installed")


def decoder_check(backend: str | None) -> Check | None:
    """Whether the decoder of `--backend` is installed; None for the default, which always is."""
    if backend in (None, "pyav"):
        return None
    version = installed([str(backend)]).get(str(backend))
    if version is not None:
        return Check("ok", "decoder", f"{backend} {version}")
    fix = f'pip install "{DISTRIBUTION}[decoders]", or leave --backend out'
    return Check("bad", "decoder", f"{backend} is not installed", fix)
