"""Folders of weights: what a Hub id resolves to, which revision it is, what its JSON files and state dicts hold.

Nothing is imported that needs torch before a state dict is read: a run reads settings and keys before that.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synvita_data.errors import SourceError, first_line
from synvita_data.files import sha256_file, write_atomic

if TYPE_CHECKING:
    from torch import Tensor

_DIGEST = re.compile("[0-9a-f]{64}")
SETTINGS = ("model_index.json", "*/config.json", "*/scheduler_config.json")
TOKENIZERS = ("model_index.json", "tokenizer*/*", "processor*/*")
SHOWN = 3


def local_or_hub(argument: str) -> tuple[Path | None, str, str | None]:
    """`(folder, its path, None)` or `(None, repo id, revision)` of `DIR`, `owner/name` or `owner/name@revision`.

    Raises:
        SourceError: neither a folder nor a Hub id.
    """
    if not argument:
        raise SourceError("a generator needs a checkpoint", expected="a folder or a Hub id owner/name")
    folder = Path(argument).expanduser()
    if folder.is_dir():
        return folder, str(folder), None
    repo, _, revision = argument.partition("@")
    parts = repo.split("/")
    if len(parts) != 2 or not all(parts) or repo.startswith((".", "~", "/")) or "\\" in repo:
        raise SourceError(
            "neither an existing folder nor a Hub id",
            found=argument,
            expected="a folder, or owner/name[@revision]",
        )
    return None, repo, revision or None


def fetch(repo: str, revision: str | None, files: Sequence[str]) -> Path:
    """A local folder, named by its commit, with some small files of a Hub repository.

    Args:
        repo: `owner/name`.
        revision: a commit, branch or tag; None for the newest.
        files: patterns, `SETTINGS` or `TOKENIZERS`.

    Raises:
        SourceError: the Hub does not know it, or cannot be reached and nothing is cached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(files)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise SourceError(
            "the model cannot be found on the Hub",
            found=f"{repo}{'' if revision is None else '@' + revision} ({first_line(error)})",
            fix="Check the id, log in with `hf auth login` if it is gated, or give a local folder",
        ) from error


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, None where there is no file. Raises SourceError for anything else."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise SourceError("a file of the model is not JSON", file=path, found=str(error)) from error
    if not isinstance(document, dict):
        raise SourceError("a file of the model is not a JSON object", file=path)
    return document


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
            known = read_json(cache) or {}
    total = hashlib.sha256()
    seen: dict[str, list[Any]] = {}
    for path in sorted(set(files)):
        status = path.stat()
        match known.get(str(path.resolve())):
            case [status.st_size, status.st_mtime_ns, str(digest)] if _DIGEST.fullmatch(digest):
                pass
            case _:
                digest = sha256_file(path)
        seen[str(path.resolve())] = [status.st_size, status.st_mtime_ns, digest]
        total.update(f"{path.relative_to(root).as_posix()} {digest}\n".encode())
    if cache is not None and seen != known:
        write_atomic(cache, json.dumps(seen, indent=1, sort_keys=True))
    return total.hexdigest()[:16]


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
