"""What the store keeps of a finished or a failed key: small JSON files, the same bytes for the same result."""
# ruff: noqa: PTH116, PTH123
# Plain strings and system calls: reading records is a hot path.

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import StoreError, SynvitaError
from ..files import sha256_file
from .names import RECORD, RECORD_WITH_FILES, artefact_suffix, digest_of

VERSION = 1


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file of a result: `name` as the worker called it, `path` in the store, bytes, SHA-256 (64 hex)."""

    name: str
    path: Path
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Record:
    """A finished key: the worker's own `fields` and its files by name."""

    key: str
    fields: dict[str, Any]
    artefacts: dict[str, Artefact]

    def path(self, name: str) -> Path:
        """Where the artefact `name` lies. Raises StoreError if the result has no such file."""
        try:
            return self.artefacts[name].path
        except KeyError:
            raise StoreError(
                f"the result of key {self.key!r} has no such file",
                found=name,
                expected=sorted(self.artefacts) or "none",
            ) from None


@dataclass(frozen=True, slots=True)
class Failure:
    """A key in quarantine; `error` is `SynvitaError.to_record()`, or `reason` and `problem` of any other."""

    key: str
    error: dict[str, Any]


def record_bytes(key: str, fields: Mapping[str, Any], artefacts: Iterable[Artefact]) -> bytes:
    """The record's JSON, one line. No time, no owner: whoever does the work, the bytes are the same."""
    files = {artefact.name: {"size": artefact.size, "sha256": artefact.sha256} for artefact in artefacts}
    return _dump({"store": VERSION, "key": key, "fields": dict(fields), "artefacts": files}, key)


def failure_bytes(key: str, error: BaseException | Mapping[str, Any]) -> bytes:
    """The quarantine file's JSON, one line."""
    if isinstance(error, SynvitaError):
        reason: Mapping[str, Any] = error.to_record()
    elif isinstance(error, BaseException):
        reason = {"reason": type(error).__name__, "problem": str(error)}
    else:
        reason = error
    return _dump({"store": VERSION, "key": key, "error": dict(reason)}, key)


def load(root: str, digest: str) -> tuple[str, bytes] | None:
    """File name and content of a digest's record, None where there is none."""
    for suffix in (RECORD_WITH_FILES, RECORD):
        file = f"{root}/{digest[:2]}/{digest}.{suffix}"
        try:
            with open(file, "rb") as handle:
                return file, handle.read()
        except FileNotFoundError:
            continue
    return None


def parse(file: str, content: bytes) -> Record:
    """The record in a file's content; whether its files are there is not looked at.

    Raises:
        StoreError: not a record, of another layout, or of a key that this file is not named after.
    """
    try:
        document = json.loads(content)
        version, key, fields = document["store"], document["key"], dict(document["fields"])
        listed = sorted(document["artefacts"].items())
        sizes = [(name, int(entry["size"]), str(entry["sha256"])) for name, entry in listed]
        digest = digest_of(key)
    except (ValueError, KeyError, TypeError, AttributeError, StoreError) as error:
        raise StoreError(
            "a record is damaged", file=file, found=content[:80], expected="one JSON object"
        ) from error
    if version != VERSION:
        raise StoreError("a record has another layout", file=file, found=version, expected=VERSION)
    folder, _, name = file.rpartition("/")
    if not name.startswith(digest):
        raise StoreError("a record belongs to another key", file=file, found=key)
    artefacts = {}
    for index, (name, size, sha256) in enumerate(sizes, start=1):
        path = Path(f"{folder}/{digest}.{artefact_suffix(index, len(sizes), size, sha256, name)}")
        artefacts[name] = Artefact(name, path, size, sha256)
    return Record(key, fields, artefacts)


def verify(record: Record, *, deep: bool = False) -> Record:
    """`record` when its files are there in full size (and, if `deep`, with the right SHA-256).

    Raises:
        StoreError: what is wrong with which file, found and expected.
    """
    for name, artefact in record.artefacts.items():
        try:
            size = os.stat(artefact.path).st_size
        except FileNotFoundError:
            raise StoreError(f"the file {name} of a result is missing", file=artefact.path) from None
        if size != artefact.size:
            raise StoreError(
                f"the file {name} of a result has changed its size",
                file=artefact.path,
                found=f"{size} bytes",
                expected=f"{artefact.size} bytes",
            )
        if deep and (digest := sha256_file(artefact.path)) != artefact.sha256:
            raise StoreError(
                f"the file {name} of a result has other bytes than were committed",
                file=artefact.path,
                found=f"SHA-256 {digest}",
                expected=artefact.sha256,
            )
    return record


def read_failure(path: str) -> Failure:
    """The content of a quarantine file; an unreadable one (a power cut) is reported as such, not raised."""
    with open(path, "rb") as handle:
        content = handle.read()
    try:
        document = json.loads(content)
        return Failure(document["key"], dict(document["error"]))
    except (ValueError, KeyError, TypeError):
        return Failure(
            "", {"reason": "StoreError", "problem": "the quarantine file is damaged", "file": path}
        )


def _dump(document: dict[str, Any], key: str) -> bytes:
    try:
        text = json.dumps(document, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"what is to be kept of key {key!r} is not JSON ({error})",
            found=document.get("fields", document.get("error")),
            fix="Convert arrays to lists and paths to strings; NaN and infinity are not JSON",
        ) from error
    return text.encode("ascii") + b"\n"
