"""Read `manifest.jsonl`: one JSON object for each synthetic video of a folder."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synvita_data.errors import SchemaError, SourceError
from synvita_data.tables.cells import given_text, unique_names

from .public import public_config

NAME = "manifest.jsonl"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One line. `id` is a row id, a pair id or `<source>_<video_id>`; `path` is relative to the folder."""

    row: int
    id: str
    path: str
    sample: int | None = None
    generator: str | None = None
    revision: str | None = None
    seed: int | None = None
    config: Mapping[str, Any] | None = None
    sha256: str | None = None
    prompt: Mapping[str, Any] | None = None


def read_manifest(path: Path) -> Iterator[ManifestRow | SourceError]:
    """The rows of a manifest, and an error in place of each line that is not a good one.

    Raises:
        SourceError: the file is not UTF-8 text.
    """
    row = -1
    with path.open(encoding="utf-8-sig", newline="\n") as handle:
        try:
            for line in handle:
                if not line.strip():
                    continue
                row += 1
                try:
                    yield _parse(line, row)
                except SourceError as error:
                    error.file, error.row = str(path), row
                    error.args = (str(error),)
                    yield error
        except UnicodeDecodeError as error:
            raise SourceError("the manifest is not UTF-8 text", file=path, row=row + 1) from error


def _parse(line: str, row: int) -> ManifestRow:
    try:
        record = json.loads(line, object_pairs_hook=unique_names)
    except (ValueError, RecursionError) as error:
        raise SourceError("a line of the manifest is not JSON", found=str(error)) from error
    if not isinstance(record, dict):
        raise SourceError("a line of the manifest is not a JSON object", found=line.strip())
    sha256 = _optional(record, "sha256", str)
    if sha256 is not None and not _SHA256.fullmatch(sha256 := sha256.lower()):
        raise SourceError("sha256 is not a digest", found=sha256, expected="64 hex digits")
    sample = _optional(record, "sample", int)
    if sample is not None and sample < 1:
        raise SourceError("samples count from 1", found=f"sample {sample}")
    seed = _optional(record, "seed", int)
    if seed is not None and not -(2**63) <= seed < 2**63:
        raise SourceError("seed does not fit 64 bits", found=seed)
    config = _optional(record, "config", dict)
    return ManifestRow(
        row=row,
        id=_required(record, "id"),
        path=_required(record, "path"),
        sample=sample,
        generator=_optional(record, "generator", str) or None,
        revision=_optional(record, "revision", str) or None,
        seed=seed,
        config=None if config is None else public_config(config),
        sha256=sha256,
        # Manifests of others may call something else so: the caption's text, as a rule.
        prompt=prompt if isinstance(prompt := record.get("prompt"), dict) and "tokens" in prompt else None,
    )


def _required(record: Mapping[str, Any], key: str) -> str:
    value = _optional(record, key, str)
    try:
        nothing = given_text(value, key) is None
    except SchemaError as error:
        raise SourceError(error.problem, found=error.found, expected=error.expected) from error
    if nothing:
        raise SourceError(f"a line of the manifest has no {key}", found=record, expected="id and path")
    return str(value)


def _optional(record: Mapping[str, Any], key: str, kind: type) -> Any:
    value = record.get(key)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        names = {str: "text", int: "a whole number", dict: "a JSON object"}
        raise SourceError(f"{key} is not {names[kind]}", found=value, expected=names[kind])
    return value
