"""All files of a model on this machine, and whole, before any of them is read.

Libraries fetch files one by one while they load: what is wrong with the fifth shard shows after an hour, an optional
file that the Hub did not answer for counts as absent, and a branch may move in between. Here all of a model is fetched
at one commit, large files are compared with their digests (`hub.problems.downloading`), and the weights must be as long
as their headers say.
"""

import zipfile
from collections.abc import Callable, Collection
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from ..errors import SynvitaError, first_line
from ..hub.reach import offline
from .released.weights import POINTER, WHOLE_MODEL, is_pointer, weight_map
from .resolve import ModelFiles

# What is not fetched with settings, tokenizers and templates: weights of any kind, media, data.
NOT_SETTINGS = tuple(
    f"*.{suffix}"
    for suffix in [
        "safetensors",
        "bin",
        "pt",
        "pth",
        "ckpt",
        "h5",
        "msgpack",
        "onnx",
        "onnx_data",
        "gguf",
        "ot",
        "tflite",
        "mp4",
        "gif",
        "png",
        "jpg",
        "jpeg",
        "webp",
        "pdf",
        "zip",
        "tar",
        "gz",
        "parquet",
        "arrow",
        "npz",
        "md",
    ]
)


def fetch(files: ModelFiles) -> ModelFiles:
    """The same model at its commit, with all that `from_pretrained` reads on this machine, its weights whole.

    Args:
        files: of a whole model, in a folder or on the Hub. A model that is cached is taken from there in offline mode,
            and where the Hub cannot be reached.

    Raises:
        HubError: the Hub refuses or does not answer, and not everything is cached; a file is not what it announces.
        SynvitaError: weights are missing, or a file of them is cut off.
    """
    files = fetch_settings(files)
    fetch_weights(files)
    return files


def fetch_settings(files: ModelFiles) -> ModelFiles:
    """The same model at its commit, with everything but its weights on this machine; see `fetch`."""
    if files.folder is not None or offline():
        return files
    return replace(files, revision=files.snapshot(ignored=NOT_SETTINGS).name)


def fetch_weights(files: ModelFiles) -> None:
    """The weights of a model on this machine, and whole; see `fetch`."""
    if files.folder is None and not offline():
        # A cache does not know which of the names a repository lacks; where it has none of them, `find` says why.
        names = weight_names(files.find_if_there) or weight_names(files.find)
        if names:
            files.snapshot(names)
    check_weights(files)


def check_weights(files: ModelFiles) -> None:
    """Look whether all files of weights that a model names are on this machine and whole; reads headers only.

    Args:
        files: in a folder or the cache. A model without any file of the usual names is left to who loads it.

    Raises:
        SynvitaError: a file is missing, cut off, or only a pointer of Git LFS.
    """
    names = weight_names(files.cached)
    if missing := [name for name in names if files.cached(name) is None]:
        at = "" if files.revision is None else f" --revision {files.revision}"
        again = (
            "Download it again"
            if files.folder
            else f"Run `hf download {files.location}{at}` where there is a network"
        )
        raise SynvitaError(
            "a checkpoint lacks a file",
            file=files.location,
            found=f"{len(names) - len(missing)} of {len(names)} files of weights",
            expected=f"also {', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}",
            fix=again,
        )
    for name in names:
        path = files.cached(name)
        if path is not None:
            check_whole(path)


def check_whole(path: Path) -> None:
    """Look whether a file of weights is as long as it says itself.

    Args:
        path: `.safetensors`, or what `torch.save` wrote; others are taken as they are.

    Raises:
        SynvitaError: it is cut off, or only a pointer of Git LFS.
    """
    if (found := _not_whole(path)) is not None:
        raise SynvitaError(
            "a file of weights is not whole",
            file=path,
            found=found,
            expected="a file as long as its own header says",
            fix="Remove it and download it again; it may have been cut off",
        )


def _not_whole(path: Path) -> str | None:
    """What is there in place of a whole file."""
    try:
        with path.open("rb") as handle:
            start = handle.read(2)
    except OSError as error:
        return error.strerror
    if is_pointer(path):
        return POINTER
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy"):
                return None
        except SafetensorError as error:
            return f"{path.stat().st_size:,} bytes, {first_line(error)}"
    if not start:
        return "an empty file"
    if start == b"PK" and not zipfile.is_zipfile(path):
        return f"{path.stat().st_size:,} bytes, without the end of a ZIP file"
    return None


def files_to_fetch(paths: Collection[str]) -> set[str]:
    """What `fetch` takes of a repository, by the names of its files; shards are those that are called like their index.

    Args:
        paths: of all files of the repository.
    """
    taken = {path for path in paths if not any(fnmatchcase(path, pattern) for pattern in NOT_SETTINGS)}
    first = next((name for name in WHOLE_MODEL if name in paths), "")
    stem, _, suffix = first.removesuffix(".index.json").rpartition(".")
    shards = f"{stem}-*-of-*.{suffix}" if first.endswith(".index.json") else first
    return taken | {path for path in paths if fnmatchcase(path, shards) and "/" not in path}


def weight_names(find: Callable[[str], Path | None]) -> list[str]:
    """The files of weights that a model is loaded from, all that its index names; empty where there are none.

    Args:
        find: a file of the model by its name, None where there is no such file.
    """
    for name in WHOLE_MODEL:
        path = find(name)
        if path is None:
            continue
        if not name.endswith(".index.json"):
            return [name]
        return sorted({Path(file).name for file in weight_map(path).values()})  # they lie beside the index
    return []
