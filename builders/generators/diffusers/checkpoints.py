"""Folders of weights: which revision they are, and what their JSON files and state dicts hold.

Nothing is imported that needs torch before a state dict is read: a run reads settings and keys before that.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synvita_data.errors import SourceError
from synvita_data.files import read_json, sha256_file, write_atomic
from synvita_data.models.resolve import files_digest

if TYPE_CHECKING:
    from torch import Tensor

_DIGEST = re.compile("[0-9a-f]{64}")
SHOWN = 3


def read_settings(path: Path) -> dict[str, Any] | None:
    """A JSON file of a model, None where there is none. Raises SourceError if it is not a JSON object."""
    return read_json(path, "a file of the model", error=SourceError) if path.exists() else None


def folder_revision(files: Iterable[Path], root: Path, cache: Path | None) -> str:
    """16 hex digits over the names and contents of `files`; the commit, for a snapshot in the Hub's cache.

    Args:
        files: below `root`, in any order.
        root: the model's folder.
        cache: JSON file that remembers digests by size and modification time, so that a second run does
            not read gigabytes again; None remembers nothing.
    """
    resolved = root.resolve()
    if resolved.parent.name == "snapshots" and resolved.parent.parent.name.startswith("models--"):
        return resolved.name
    known: dict[str, Any] = {}
    if cache is not None:
        with suppress(SourceError):  # a damaged cache is forgotten
            known = read_settings(cache) or {}
    seen: dict[str, list[Any]] = {}

    def digest_of(path: Path) -> str:
        status, place = path.stat(), str(path.resolve())
        match known.get(place):
            case [status.st_size, status.st_mtime_ns, str(digest)] if _DIGEST.fullmatch(digest):
                pass
            case _:
                digest = sha256_file(path)
        seen[place] = [status.st_size, status.st_mtime_ns, digest]
        return digest

    revision = files_digest(root, files, digest_of)
    if cache is not None and seen != known:
        write_atomic(cache, json.dumps(seen, indent=1, sort_keys=True))
    return revision


def weight_files(root: Path) -> list[Path]:
    """All files below `root` that can change what a model computes: not hidden ones, pictures, texts."""
    skipped = {".md", ".png", ".jpg", ".jpeg", ".gif", ".mp4", ".webp", ".pdf"}
    return [
        path
        for path in root.rglob("*")
        if path.is_file()
        and path.suffix.lower() not in skipped
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]


def read_checkpoint(path: Path, wrappers: Sequence[str] = ("state_dict",)) -> "dict[str, Tensor]":
    """The state dict of a `.pt`, `.ckpt` or `.safetensors` file, in main memory.

    Args:
        path: the file.
        wrappers: keys under which it may lie.

    Raises:
        SourceError: the file is missing, damaged, holds anything but tensors, or no state dict.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            document: Any = load_file(path)
        else:
            # weights_only: a checkpoint is a pickle, and must not be able to run anything.
            document = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # OSError, BadZipFile, UnpicklingError, RuntimeError, SafetensorError, …
        raise SourceError(
            "the checkpoint cannot be read",
            file=path,
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            fix="Download it again; a file that holds more than weights is refused",
        ) from error
    for wrapper in wrappers:
        if isinstance(document, dict) and isinstance(document.get(wrapper), Mapping):
            document = document[wrapper]
            break
    names = document.items() if isinstance(document, Mapping) else ()
    state = {
        str(key).removeprefix("module."): value for key, value in names if isinstance(value, torch.Tensor)
    }
    if not state:
        held = [str(key) for key, _ in names][:SHOWN] or type(document).__name__
        raise SourceError("the checkpoint holds no weights by name", file=path, found=held)
    return state


def load_exactly(module: Any, state: "Mapping[str, Tensor]", path: Path) -> None:
    """Load `state` into a module, whose names and shapes it must have, and no other.

    Raises:
        SourceError: names are missing, over, or of another shape; the message says which.
    """
    own = module.state_dict()
    wrong = {
        "missing": sorted(set(own) - set(state)),
        "not of this model": sorted(set(state) - set(own)),
        "of another shape": sorted(
            key for key in set(own) & set(state) if own[key].shape != state[key].shape
        ),
    }
    wrong_keys = [f"{len(keys)} {what} ({', '.join(keys[:SHOWN])})" for what, keys in wrong.items() if keys]
    if wrong_keys:
        raise SourceError(
            f"the checkpoint does not hold the weights of {type(module).__name__}",
            file=path,
            found="; ".join(wrong_keys),
            fix="Give the released file of this model",
        )
    module.load_state_dict(dict(state))
