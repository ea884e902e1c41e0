"""Folders of weights: what a Hub id resolves to, which revision it is, and what its JSON files say.

Nothing here needs torch: a run reads settings and keys before anything heavy is imported.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from synvita_data.errors import SourceError
from synvita_data.files import sha256_file, write_atomic

_DIGEST = re.compile("[0-9a-f]{64}")


def local_or_hub(argument: str) -> tuple[Path | None, str, str | None]:
    """`(folder, None…)` or `(None, repo id, revision)` of `DIR`, `owner/name` or `owner/name@revision`.

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
            "no such folder, and not a Hub id", found=argument, expected="a folder, or owner/name[@revision]"
        )
    return None, repo, revision or None


def fetch_settings(repo: str, revision: str | None) -> tuple[Path, str]:
    """A local folder with the JSON files of a Hub repository, and the commit it is.

    Raises:
        SourceError: the Hub does not know it, or cannot be reached and nothing is cached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                repo,
                revision=revision,
                allow_patterns=["model_index.json", "*/config.json", "*/scheduler_config.json"],
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise SourceError(
            "the model cannot be found on the Hub",
            found=f"{repo}{'' if revision is None else '@' + revision} ({str(error).splitlines()[0]})",
            fix="Check the id, log in with `hf auth login` if it is gated, or give a local folder",
        ) from error
    return folder, folder.name


def fetch_tokenizers(repo: str, commit: str) -> Path:
    """A local folder with the tokenizers of a Hub repository, which are small.

    Raises:
        SourceError: the Hub cannot be reached and they are not cached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        patterns = ["model_index.json", "tokenizer*/*", "processor*/*"]
        return Path(snapshot_download(repo, revision=commit, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise SourceError(
            "the model's tokenizers cannot be fetched",
            file=f"{repo}@{commit}",
            found=str(error).splitlines()[0],
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


def component_configs(folder: Path, index: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The configurations that tell models of one pipeline class apart, and the index itself."""
    configs = {
        name: read_json(folder / name / "config.json") or {} for name in ("transformer", "unet", "vae")
    }
    return {"model_index": dict(index), **configs}


def folder_revision(files: Iterable[Path], root: Path, cache: Path | None) -> str:
    """16 hex digits over the names and contents of `files`; the commit, for a snapshot in the Hub's cache.

    Args:
        files: below `root`, in any order.
        cache: JSON file that remembers digests by size and modification time, so that a second run does
            not read gigabytes again; None remembers nothing.
    """
    resolved = root.resolve()
    if resolved.parent.name == "snapshots" and resolved.parent.parent.name.startswith("models--"):
        return resolved.name
    known = {} if cache is None else _read_digests(cache)
    total = hashlib.sha256()
    seen: dict[str, list[Any]] = {}
    for path in sorted(set(files)):
        status = path.stat()
        entry = known.get(str(path.resolve()), [])
        fresh = entry[:2] == [status.st_size, status.st_mtime_ns]
        digest = entry[2] if fresh else sha256_file(path)
        seen[str(path.resolve())] = [status.st_size, status.st_mtime_ns, digest]
        total.update(f"{path.relative_to(root).as_posix()} {digest}\n".encode())
    if cache is not None and seen != known:
        write_atomic(cache, json.dumps(seen, indent=1, sort_keys=True))
    return total.hexdigest()[:16]


def _read_digests(cache: Path) -> dict[str, list[Any]]:
    """The entries of a cache of ours that can be used; a damaged one is made anew."""
    try:
        known = read_json(cache) or {}
    except SourceError:
        return {}
    return {
        path: entry
        for path, entry in known.items()
        if isinstance(entry, list)
        and len(entry) == 3
        and isinstance(entry[2], str)
        and _DIGEST.fullmatch(entry[2])
    }


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
