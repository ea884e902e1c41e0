"""What may be told of how a video was made: of a `command:` template its program and digest, never its words.

A template holds what somebody typed into a shell: keys, folders, names of machines. It stays in the work folder. Records
that earlier versions wrote with it lose it where they are read.
"""

import hashlib
import re
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

_SCRIPTS = (".py", ".sh", ".bash", ".pl", ".rb", ".js", ".ts", ".jl", ".r", ".lua", ".ps1", ".bat", ".exe")
# A program's name as it is published; whatever looks otherwise is not told.
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}", re.ASCII)


def program_name(template: str) -> str:
    """The program of a template, and the script that it is given: `python sample.py`; no folders, no other argument."""
    try:
        words = shlex.split(template)
    except ValueError:
        words = template.split()
    program = _last(words[0]) if words else ""
    module = words[2] if len(words) > 2 and words[1] == "-m" else ""
    scripts = [_last(word) for word in words[1:] if word.lower().endswith(_SCRIPTS) and "=" not in word]
    told = [program, *([module] if module else scripts[:1])]
    return " ".join(name for name in told if _NAME.fullmatch(name)) or "a program"


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
