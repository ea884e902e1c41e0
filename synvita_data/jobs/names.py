"""Keys, and the names of files: all that a scan needs to know stands in the names.

    ROOT/ab/<digest>.done.json                          record of a result without files
    ROOT/ab/<digest>.files.json                         record of a result with files
    ROOT/ab/<digest>.1of2.<bytes>.<sha256>.<name>       a file of a result (12 digits of its SHA-256)
    ROOT/ab/<digest>.failed.json                        why the key is in quarantine
    ROOT/ab/<digest>.claim/<owner>.<number>             who works on the key
    ROOT/owners/<owner>/                                temporary files; its mtime is the heartbeat
    ROOT/clock                                          touched to read the file system's clock

`ab` are the first two of the digest's 40 hexadecimal digits: 256 folders. That a record has files can be
seen in its name, how many and how large in theirs, so a lost or shortened file shows without opening
anything. Names of files depend on their content: two workers that commit the same key at once with
different bytes leave a record whose files are its own, never a mixture.
"""

import hashlib
import json
import re
from typing import Any

from ..errors import StoreError

RECORD = "done.json"
RECORD_WITH_FILES = "files.json"
FAILED = "failed.json"
CLAIM = "claim"
OWNERS = "owners"
CLOCK = "clock"

PREFIXES = tuple(f"{number:02x}" for number in range(256))
DIGEST_DIGITS = 40
_ARTEFACT = re.compile(r"([1-9]\d*)of([1-9]\d*)\.(\d+)\.([0-9a-f]{12})\.(.+)")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def work_key(**inputs: Any) -> str:
    """A key for a piece of work: SHA-256 (64 hex digits) over the canonical JSON of all its inputs.

    Equal inputs give an equal key for ever, whatever their order; any other caption, model, revision,
    setting or seed gives another key. `1`, `1.0`, `True` and `"1"` differ; a tuple equals a list.

    Raises:
        StoreError: an input that JSON cannot hold exactly (a `Path`, a NumPy scalar, NaN, a mapping
            whose keys are not strings): convert it first, so that the key cannot depend on its `repr`.
    """
    text = json.dumps(_plain(inputs, "inputs"), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def digest_of(key: str) -> str:
    """The key's name in the store: the first 160 bits of its SHA-256 as 40 hex digits."""
    if not isinstance(key, str):
        raise StoreError("a key is not a string", found=key, fix="make one with work_key(...)")
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_DIGITS]


def check_artefact_name(name: str) -> str:
    """`name` if it can stand inside a file name of the store.

    Raises:
        StoreError: a separator, a leading dot, a character outside `[A-Za-z0-9._-]`, over 100 characters.
    """
    if not _SAFE_NAME.fullmatch(name):
        raise StoreError(
            "an artefact has an unusable name",
            found=repr(name),
            expected="1 to 100 letters, digits, dots, dashes and underscores, not starting with a mark",
        )
    return name


def artefact_suffix(index: int, count: int, size: int, sha256: str, name: str) -> str:
    """What follows `<digest>.` in the name of the artefact `index` (from 1) of `count`."""
    return f"{index}of{count}.{size}.{sha256[:12]}.{name}"


def parse_artefact_suffix(suffix: str) -> tuple[int, int, int] | None:
    """`(index, count, size)` of an artefact's suffix, None for any other file."""
    match = _ARTEFACT.fullmatch(suffix)
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))


def _plain(value: Any, place: str) -> Any:
    """`value` made of exactly JSON's types, or a StoreError that names the place."""
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float and value - value == 0:  # finite
        return value
    if kind in (list, tuple):
        return [_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if kind is dict and all(type(name) is str for name in value):
        return {name: _plain(item, f"{place}[{name!r}]") for name, item in value.items()}
    raise StoreError(
        f"an input of a key has no exact JSON form, at {place}",
        found=f"{kind.__name__} {value!r}",
        expected="strings, finite numbers, booleans, None, lists, and mappings with string keys",
    )
