"""The revision of a model: what must change whenever its scores may change."""

import hashlib
from pathlib import Path
from typing import Any

from ..errors import SynvitaError
from ..files import sha256_file


def model_revision(name: str, model: Any) -> str:
    """The Hub's commit of a model that came from there, else a digest of its folder's files.

    Raises:
        SynvitaError: neither is known.
    """
    folder = Path(name)
    if folder.is_dir():
        digest = hashlib.sha256()
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix in (".safetensors", ".bin", ".json", ".model", ".txt"):
                digest.update(f"{path.relative_to(folder)} {sha256_file(path)}\n".encode())
        return digest.hexdigest()[:16]
    commit = getattr(model.config, "_commit_hash", None)
    if not commit:
        raise SynvitaError("the model's revision is not known", file=name, fix="Pass --revision")
    return str(commit)
