"""`manifest.jsonl`: one JSON object for each synthetic video of a folder, and what may stand in it.

Of a `command:` template only its program and digest are published, never its words: a template holds what somebody
typed into a shell, such as keys, folders and names of machines. It stays in the work folder. Records that earlier
versions wrote with it lose it where they are read.
"""

import hashlib
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from synvita_data.errors import SchemaError, SourceError, located
from synvita_data.files import parse_json
from synvita_data.tables.cells import given_text, unique_names

from .registry import SyntheticVideo

NAME = "manifest.jsonl"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_JSON_TYPES = {str: "text", int: "a whole number", dict: "a JSON object"}
_SCRIPTS = (".py", ".sh", ".bash", ".pl", ".rb", ".js", ".ts", ".jl", ".r", ".lua", ".ps1", ".bat", ".exe")
# A program's name as it is published; whatever looks otherwise is not published.
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One line.

    Attributes:
        row: its number, counted from 0; empty lines do not count.
        id: a row id, a pair id or `<source>_<video_id>`.
        path: of the video, as it is written: it may lead anywhere.
        sample: None where the line does not say.
        caption: that the video was made from, where the line says.
        video: the same path and sample, and how the video was made.
    """

    row: int
    id: str
    path: str
    sample: int | None
    caption: str | None
    video: SyntheticVideo


def read_manifest(path: Path, on_bad: Callable[[SourceError], None] | None = None) -> Iterator[ManifestRow]:
    """The rows of a manifest.

    Args:
        path: the file.
        on_bad: called with the error of each line that cannot be used; None raises the first.

    Raises:
        SourceError: the file is not UTF-8 text, or a line cannot be used and `on_bad` is None.
    """
    row = -1
    with path.open(encoding="utf-8-sig", newline="\n") as handle:
        try:
            for line in handle:
                if not line.strip():
                    continue
                row += 1
                try:
                    with located(path, row):
                        parsed = _parse(line, row)
                except SourceError as error:
                    if on_bad is None:
                        raise
                    on_bad(error)
                else:
                    yield parsed
        except UnicodeDecodeError as error:
            raise SourceError("the manifest is not UTF-8 text", file=path, row=row + 1) from error


def _parse(line: str, row: int) -> ManifestRow:
    try:
        record = parse_json(line, foreign=True, object_pairs_hook=unique_names)
    except ValueError as error:
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
    # Manifests of others may call something else `prompt`: the caption's text, as a rule.
    prompt, caption = record.get("prompt"), record.get("caption")
    path = _required(record, "path")
    video = SyntheticVideo(
        Path(path),
        sample or 1,
        generator=_optional(record, "generator", str) or None,
        revision=_optional(record, "revision", str) or None,
        seed=seed,
        config=None if config is None else public_config(config),
        sha256=sha256,
        prompt=prompt if isinstance(prompt, dict) and "tokens" in prompt else None,
    )
    return ManifestRow(
        row, _required(record, "id"), path, sample, caption if isinstance(caption, str) else None, video
    )


def _required(record: Mapping[str, Any], key: str) -> str:
    value = _optional(record, key, str)
    try:
        nothing = given_text(value, key) is None
    except SchemaError as error:
        raise error.recast(SourceError) from error
    if nothing:
        raise SourceError(f"a line of the manifest has no {key}", found=record, expected="id and path")
    return str(value)


def _optional(record: Mapping[str, Any], key: str, kind: type) -> Any:
    value = record.get(key)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise SourceError(f"{key} is not {_JSON_TYPES[kind]}", found=value, expected=_JSON_TYPES[kind])
    return value


def program_name(template: str) -> str:
    """The program of a template, and the script that it is given: `python sample.py`; no folders, no other argument."""
    try:
        words = shlex.split(template)
    except ValueError:
        words = template.split()
    program = _last(words[0]) if words else ""
    module = words[2] if len(words) > 2 and words[1] == "-m" else ""
    scripts = [_last(word) for word in words[1:] if word.lower().endswith(_SCRIPTS) and "=" not in word]
    names = [program, *([module] if module else scripts[:1])]
    return " ".join(name for name in names if _NAME.fullmatch(name)) or "a program"


def template_digest(template: str) -> str:
    """16 hex digits that tell templates apart."""
    return hashlib.sha256(template.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def public_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a video with `program` and `template_digest` in the place of a template of ours."""
    template = config.get("template")
    if not isinstance(template, str) or "{prompts}" not in template or "{out}" not in template:
        return dict(config)
    rest = {key: value for key, value in config.items() if key != "template"}
    return {"program": program_name(template), "template_digest": template_digest(template), **rest}


def public_spec(spec: str | None) -> str | None:
    """A SPEC of synthetic videos without folders, and of `command:` the program alone."""
    if spec is None:
        return None
    scheme, _, rest = spec.partition(":")
    if scheme.strip().lower() == "command":
        return f"command:{program_name(rest)}"
    return f"{scheme}:{_last(rest) if '/' in rest or chr(92) in rest else rest}"


def _last(path: str) -> str:
    return PureWindowsPath(path).name if "\\" in path else PurePosixPath(path).name
