"""Weights as others publish them, `.bin` or safetensors, whole or in shards: read without running anything in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

from ...errors import StoreError, SynvitaError, first_line
from ...files import read_json

if TYPE_CHECKING:
    from torch import Tensor

# Files that hold the weights of a whole model, and of an adapter of PEFT; the first that is there is read, as
# transformers' `from_pretrained` does.
WHOLE_MODEL = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
ADAPTER = ("adapter_model.safetensors", "adapter_model.bin")
_POINTER = b"version https://git-lfs"
POINTER = "a pointer of Git LFS in place of the file"
_CODE = re.compile(r"GLOBAL ([\w.]+)")  # in what `weights_only` says of a pickle


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of one file by name, mapped from the file and not read before they are used.

    Raises:
        SynvitaError: a file cut off, or one that holds more than tensors.
    """
    from torch import Tensor

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: object = load_file(path)
        else:
            state = _load_bin(path)
    # SafetensorError, UnpicklingError, RuntimeError, EOFError, ValueError, OSError, …
    except Exception as error:
        raise SynvitaError(
            "a checkpoint's weights cannot be read",
            file=path,
            found=_unreadable(path, error),
            expected="safetensors, or a whole file of torch that holds tensors alone",
            fix="If it was cut off, download it again",
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(each, Tensor) for each in state.values()):
        others = (
            sorted({type(each).__name__ for each in state.values() if not isinstance(each, Tensor)})
            if isinstance(state, Mapping)
            else type(state).__name__
        )
        raise SynvitaError(
            "a checkpoint is not a state dict", file=path, found=others, expected="names with tensors"
        )
    return dict(state)


def is_pointer(path: Path) -> bool:
    """Whether a file is only the pointer that Git LFS leaves where the large file was not fetched."""
    with path.open("rb") as handle:
        return handle.read(len(_POINTER)) == _POINTER


def _unreadable(path: Path, error: Exception) -> str:
    """What is wrong with a file of weights."""
    if isinstance(error, OSError):  # no file, or not to be opened
        return first_line(error)
    if is_pointer(path):
        return POINTER
    if not path.stat().st_size:
        return "an empty file"
    if (code := _CODE.search(str(error))) is not None:  # torch goes on about how to run it
        return f"an object that is no tensor ({code[1]}); nothing of it was run"
    if isinstance(error, UnpicklingError | KeyError):
        return "something else than a file of torch"
    return first_line(error)


def _load_bin(path: Path) -> object:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)  # torch's format before 1.6


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file; tensors are contiguous and share no memory.

    Raises:
        StoreError: it cannot be written, as when the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), path, metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise StoreError(
            "a file of weights cannot be written",
            file=path.parent,
            found=first_line(error),
            expected=f"room for {sum(tensor.nbytes for tensor in tensors.values()):,} bytes",
            fix="Make room, or name another folder, and run again",
        ) from error


def read_shapes(path: Path) -> dict[str, list[int]]:
    """Name -> shape of the tensors of a safetensors file; reads its header only.

    Raises:
        SynvitaError: a file cut off, or none.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise SynvitaError(
            "an adapter's weights cannot be read" if "adapter" in path.name else "weights cannot be read",
            file=path,
            found=str(error),
            expected="a whole safetensors file",
            fix="It may have been cut off: fetch or save it again",
        ) from error


def weight_files(
    find: Callable[[str], Path | None], where: str | Path, names: Sequence[str] = WHOLE_MODEL
) -> list[Path]:
    """The files that hold a model's weights, in order.

    Args:
        find: a file of the model by its name, None where there is no such file.
        where: what to call the model in errors.
        names: files that may hold them, an index of shards among them; the first that is there counts.

    Raises:
        SynvitaError: none of them is there, or a shard that the index names is not.
    """
    first = next((path for name in names if (path := find(name)) is not None), None)
    if first is None:
        raise SynvitaError(
            "the checkpoint holds no weights",
            file=where,
            expected=" or ".join(names),
            fix="Download the whole repository",
        )
    if not first.name.endswith(".index.json"):
        return [first]
    found = []
    for name in sorted({Path(name).name for name in weight_map(first).values()}):  # they lie beside the index
        path = find(name)
        if path is None:
            raise SynvitaError(
                "a checkpoint lacks a file", file=where, expected=name, fix="Download it again"
            )
        found.append(path)
    return found


def weight_map(index: Path) -> dict[str, str]:
    """Weight -> file, as an index of shards says.

    Raises:
        SynvitaError: not such an index.
    """
    names = read_json(index, "an index of weights").get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise SynvitaError(
            "an index of weights cannot be read",
            file=index,
            found=type(names).__name__,
            expected="weight_map",
        )
    return names


def read_state_dict(folder: Path, names: Sequence[str] = WHOLE_MODEL) -> dict[str, Tensor]:
    """All tensors of a folder's weights by name, mapped from their files.

    Args:
        folder: with the files.
        names: see `weight_files`.

    Raises:
        SynvitaError: no such files, one of them missing, cut off or with more than tensors; a weight in two
            shards, or in none.
    """
    state: dict[str, Tensor] = {}
    for path in weight_files(lambda name: _file(folder, name), folder, names):
        tensors = read_tensors(path)
        if twice := state.keys() & tensors.keys():
            raise SynvitaError("a weight is in two files", file=path, found=sorted(twice)[:3])
        state |= tensors
    index = next((folder / name for name in names if (folder / name).is_file()), None)
    if index is not None and index.name.endswith(".index.json"):
        listed = weight_map(index).keys()
        if lost := sorted(listed - state.keys()):
            raise SynvitaError(
                "files of weights lack what their index names",
                file=index,
                found=f"{len(lost):,} missing: {', '.join(lost[:3])}",
                fix="The files are of different downloads: download them again",
            )
    return state


def used_files(folder: Path, names: Sequence[str] = WHOLE_MODEL) -> list[Path]:
    """The files that `read_state_dict` reads.

    Raises:
        SynvitaError: see `weight_files`.
    """
    return weight_files(lambda name: _file(folder, name), folder, names)


def folder_with(folder: Path, names: Iterable[str]) -> Path:
    """The folder itself, or the only `checkpoint-…` below it, where one of these files is.

    A trainer's last checkpoint lies in such a folder, and some upload it so.

    Args:
        folder: to look into.
        names: of files, any of which is enough.

    Raises:
        SynvitaError: in neither, or in several of them.
    """
    wanted = tuple(names)

    def has(place: Path) -> bool:
        return any((place / name).is_file() for name in wanted)

    if has(folder):
        return folder
    below = sorted(place for place in folder.glob("checkpoint-*") if has(place)) if folder.is_dir() else []
    if len(below) == 1:
        return below[0]
    if below:
        raise SynvitaError(
            "a folder holds several checkpoints",
            file=folder,
            found=", ".join(place.name for place in below),
            fix="Name the one to convert",
        )
    there = sorted(path.name for path in folder.iterdir())[:8] if folder.is_dir() else None
    raise SynvitaError(
        "the checkpoint holds no weights",
        file=folder,
        found="no such folder" if there is None else there or "an empty folder",
        expected=f"{' or '.join(wanted)}, there or in a single checkpoint-… below",
        fix="Download the whole repository",
    )


def _file(folder: Path, name: str) -> Path | None:
    path = folder / name
    return path if path.is_file() else None
