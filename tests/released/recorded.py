"""What was recorded of the repositories on the Hub that we name, and folders made of it.

`records/` holds one JSON file a repository: facts from stored copies of public pages, with their addresses and the day.
Nothing of it was fetched live, and where the repository's own file was not stored, the text of a copy is given as such.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).parent / "records"
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}


@cache
def records() -> dict[str, dict[str, Any]]:
    """Repository -> its record."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RECORDS.glob("*.json"))]
    return {record["repo"]: record for record in found}


def facts(name: str) -> dict[str, Any]:
    """Of a repository; a test that asks for one without a record fails."""
    return records()[name]["facts"]


def file_list(name: str) -> dict[str, int]:
    """File -> bytes, as far as the Hub shows them (three digits), of the newest recorded whole file list."""
    known = facts(name)
    key = next(
        key
        for key in ("files_main", "files_aecae02", "files_90cea65", "files_68a664f", "files_e35e892")
        + ("files_05ae243", "files_refs_pr_1", "files")
        if key in known
    )
    sizes: dict[str, int] = {}
    for file, size in known[key].items():
        each = size if isinstance(size, list) else [size]
        for number, text in enumerate(each, start=1):
            if match := re.match(r"([\d.]+) ([kMG]?B)\b", text):
                shown = re.sub(r"\{1\.\.\d\}", str(number), file)
                sizes[shown] = round(float(match[1]) * _UNITS[match[2]])
    return sizes


def weights(name: str, suffix: str = ".safetensors") -> int:
    """Bytes of the recorded weight files with this suffix."""
    return sum(size for file, size in file_list(name).items() if file.endswith(suffix))


def write_json(folder: Path, file: str, content: dict[str, Any], *, windows: bool = False) -> None:
    """As the Hub's writers do: two spaces, sorted; with CRLF where the released file has it."""
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    (folder / file).write_bytes(text.replace("\n", "\r\n").encode() if windows else text.encode())


def plain(config: dict[str, Any]) -> dict[str, Any]:
    """Without the notes of whoever recorded it."""
    return {
        key: plain(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if not key.startswith("_") or key in ("_name_or_path", "_class_name", "_diffusers_version")
    }
