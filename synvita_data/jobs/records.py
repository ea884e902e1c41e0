"""What lies in a store: keys, names of files, records of results, and the state of many keys at once.

    ROOT/ab/<digest>.done.json                          record of a result without files
    ROOT/ab/<digest>.files.json                         record of a result with files
    ROOT/ab/<digest>.1of2.<bytes>.<sha256>.<name>       a file of a result (12 digits of its SHA-256)
    ROOT/ab/<digest>.failed.json                        why the key is in quarantine
    ROOT/ab/<digest>.claim/<owner>.<number>             who works on the key
    ROOT/owners/<owner>/                                temporary files; its mtime is the heartbeat
    ROOT/clock                                          touched to read the file system's clock

`ab` are the first two of the digest's 40 hexadecimal digits: 256 folders. That a record has files can be
seen in its name, how many and how large in theirs, so a lost or shortened file shows without opening
anything, and a scan lists at most 256 folders. Names of files depend on their content: two workers that commit
the same key at once with different bytes leave a record whose files are its own, never a mixture.
"""
# ruff: noqa: PTH108, PTH116, PTH123, PTH208
# Plain strings and system calls: reading records is a hot path, and 100,000 keys must be scanned in seconds.

import contextlib
import errno
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import OTHER_FORM, StoreError, SynvitaError, choose, of_type, parsing
from ..files import NO_FILE, no_file_ok, parse_json, sha256_file

VERSION = 1
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

# States of a key.
DONE = "done"
CLAIMED = "claimed"
QUARANTINED = "quarantined"
PENDING = "pending"

Check = Literal["names", "sizes", "contents"]


# Keys and names


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


def digest_of(key: str) -> str:
    """The key's name in the store: the first 160 bits of its SHA-256 as 40 hex digits."""
    if not isinstance(key, str):
        raise StoreError("a key is not a string", found=key, fix="make one with work_key(...)")
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_DIGITS]


def check_artefact_name(name: str) -> None:
    """Refuse a name that cannot stand inside a file name of the store.

    Raises:
        StoreError: a separator, a leading dot, a character outside `[A-Za-z0-9._-]`, over 100 characters.
    """
    if not _SAFE_NAME.fullmatch(name):
        raise StoreError(
            "an artefact has an unusable name",
            found=repr(name),
            expected="1 to 100 letters, digits, dots, dashes and underscores, not starting with a mark",
        )


def artefact_suffix(index: int, count: int, size: int, sha256: str, name: str) -> str:
    """What follows `<digest>.` in the name of the artefact `index` (from 1) of `count`."""
    return f"{index}of{count}.{size}.{sha256[:12]}.{name}"


# Records


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file of a result.

    Attributes:
        name: as the worker called it.
        path: in the store.
        size: bytes.
        sha256: 64 hex digits.
    """

    name: str
    path: Path
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Record:
    """A finished key: the worker's own `fields`, its files by name, and the `file` of the record itself."""

    key: str
    fields: dict[str, Any]
    artefacts: dict[str, Artefact]
    file: str | None = None

    def expecting(self, form: str) -> contextlib.AbstractContextManager[None]:
        """Around whatever reads `fields`: those of another form become a `SchemaError` that says how to get a new result.

        Args:
            form: what they should be.
        """
        return parsing(
            "a finished result is damaged",
            file=self.file,
            expected=form,
            fix="Remove this file and run again: what it is of is then done again",
        )

    def path(self, name: str) -> Path:
        """Where the artefact `name` lies. Raises StoreError if the result has no such file."""
        if name not in self.artefacts:
            raise StoreError(
                f"the result of key {self.key!r} has no such file",
                found=name,
                expected=sorted(self.artefacts) or "none",
            )
        return self.artefacts[name].path


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
        error = error.to_record()
    elif isinstance(error, BaseException):
        error = {"reason": type(error).__name__, "problem": str(error)}
    return _dump({"store": VERSION, "key": key, "error": dict(error)}, key)


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


@contextlib.contextmanager
def _no_file_is(problem: str, file: str | Path) -> Iterator[None]:
    """Errors within of a name that leads to no file, as a `StoreError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_FILE:
            raise
        raise StoreError(problem, file=file, found=error.strerror, expected="a file") from None
    except ValueError as error:  # half a surrogate pair, or a NUL: no file can be called so
        raise StoreError(problem, file=repr(str(file)), found=str(error), expected="a file") from None


def load(root: str, digest: str) -> tuple[str, bytes] | None:
    """File name and content of a digest's record, None where there is none.

    Raises:
        StoreError: a folder, or a link to itself, in its place.
    """
    for suffix in (RECORD_WITH_FILES, RECORD):
        file = f"{root}/{digest[:2]}/{digest}.{suffix}"
        with (
            _no_file_is("a record is damaged", file),
            contextlib.suppress(FileNotFoundError),
            open(file, "rb") as handle,
        ):
            return file, handle.read()
    return None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def parse(file: str, content: bytes) -> Record:
    """The record in a file's content; whether its files are there is not looked at.

    Raises:
        StoreError: not a record, of another layout, or of a key that this file is not named after.
    """
    try:
        document = parse_json(content, parse_constant=_refuse_constant)
        version, key, fields = document["store"], document["key"], of_type(document["fields"], dict)
        listed = sorted(document["artefacts"].items())
        sizes = [(name, of_type(entry["size"], int), of_type(entry["sha256"], str)) for name, entry in listed]
        digest = digest_of(key)
        for name, _ in listed:
            check_artefact_name(name)
    except (*OTHER_FORM, StoreError) as error:
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
    return Record(key, fields, artefacts, file)


def read_result(root: str, digest: str, *, deep: bool = False) -> Record | None:
    """The record of a digest whose files are there in full size; None where there is no record.

    Args:
        root: the store's folder.
        digest: of the key.
        deep: also compare the SHA-256 of each file.

    Raises:
        StoreError: what is wrong with the record or with which file, found and expected.
    """
    loaded = load(root, digest)
    if loaded is None:
        return None
    record = parse(*loaded)
    for name, artefact in record.artefacts.items():
        with _no_file_is(f"the file {name} of a result is missing", artefact.path):
            size = os.stat(artefact.path).st_size
        if size != artefact.size:
            raise StoreError(
                f"the file {name} of a result has changed its size",
                file=artefact.path,
                found=f"{size} bytes",
                expected=f"{artefact.size} bytes",
            )
        if deep:
            with _no_file_is(f"the file {name} of a result is missing", artefact.path):
                sha256 = sha256_file(artefact.path)
            if sha256 != artefact.sha256:
                raise StoreError(
                    f"the file {name} of a result has other bytes than were committed",
                    file=artefact.path,
                    found=f"SHA-256 {sha256}",
                    expected=artefact.sha256,
                )
    return record


def read_failure(path: str) -> Failure:
    """The content of a quarantine file; an unreadable one (a power cut) is reported as such, not raised."""
    try:
        with open(path, "rb") as handle:
            document = parse_json(handle.read())
        return Failure(of_type(document["key"], str), of_type(document["error"], dict))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR) or error.errno not in NO_FILE:
            raise
    except OTHER_FORM:
        pass
    return Failure("", {"reason": "StoreError", "problem": "the quarantine file is damaged", "file": path})


# The state of many keys


@dataclass(frozen=True, slots=True)
class Scan:
    """What `Store.scan` saw.

    Attributes:
        states: key -> "done", "claimed" (by a live worker), "quarantined" or "pending", in the order the
            keys were given.
        damaged: key -> why its result is no longer usable; such a key is pending (or claimed, when another worker
            makes it again).
    """

    states: dict[str, str]
    damaged: dict[str, str] = field(default_factory=dict)

    def keys(self, state: str) -> list[str]:
        """The keys in this state, in the order they were given."""
        return [key for key, each in self.states.items() if each == state]

    @property
    def pending(self) -> list[str]:
        """The keys to be done, in the order they were given."""
        return self.keys(PENDING)

    @property
    def counts(self) -> Counter[str]:
        """How many keys are in each state."""
        return Counter(self.states.values())


@dataclass(slots=True)
class Found:
    """The files of one digest: suffixes of its records, file entries of its artefacts."""

    records: list[str] = field(default_factory=list)
    artefacts: list[os.DirEntry[str]] = field(default_factory=list)
    failed: bool = False
    claim: bool = False


def scan(root: str, keys: Iterable[str], check: Check, is_held: Callable[[str], bool]) -> Scan:
    """See `Store.scan`.

    Args:
        root: the store's folder.
        keys: which keys.
        check: how a result proves itself.
        is_held: whether a live worker holds the claim whose folder this is.
    """
    choose(check, get_args(Check), "check of a scan", error=StoreError)
    states = dict.fromkeys(keys, PENDING)
    damaged: dict[str, str] = {}
    by_prefix: dict[str, list[tuple[str, str]]] = {}
    for key in states:
        digest = digest_of(key)
        by_prefix.setdefault(digest[:2], []).append((digest, key))
    nothing = Found()
    for prefix, wanted in by_prefix.items():
        found = listing(root, prefix)
        for digest, key in wanted:
            state = found.get(digest, nothing)
            if state.records:
                # Names and sizes usually tell; else the record is read to know, and to say why.
                whole = check != "contents" and looks_whole(root, digest, state, sizes=check == "sizes")
                why = None if whole else damage(root, digest, deep=check == "contents")
                if why is None:
                    states[key] = DONE
                    continue
                damaged[key] = why
            if state.claim and is_held(f"{root}/{prefix}/{digest}.{CLAIM}"):
                states[key] = CLAIMED
            elif state.failed:
                states[key] = QUARANTINED
    return Scan(states, damaged)


def listing(root: str, prefix: str) -> dict[str, Found]:
    """Everything in one of the 256 folders, by digest; empty where the folder does not exist."""
    found: dict[str, Found] = {}
    try:
        entries = os.scandir(f"{root}/{prefix}")
    except OSError as error:
        if error.errno not in NO_FILE:
            raise
        return found
    with entries:
        for entry in entries:
            digest, _, suffix = entry.name.partition(".")
            if len(digest) != DIGEST_DIGITS:
                continue
            state = found.get(digest)
            if state is None:
                state = found[digest] = Found()
            if suffix in (RECORD, RECORD_WITH_FILES):
                state.records.append(suffix)
            elif suffix == CLAIM:
                state.claim = True
            elif suffix == FAILED:
                state.failed = True
            else:
                state.artefacts.append(entry)
    return found


def every(root: str) -> Iterator[tuple[str, Found]]:
    """All digests of the store with their files, in the order of digests."""
    prefixes: list[str] = []
    with no_file_ok():
        prefixes = sorted(set(os.listdir(root)).intersection(PREFIXES))
    for prefix in prefixes:
        yield from sorted(listing(root, prefix).items(), key=lambda item: item[0])


def damage(root: str, digest: str, *, deep: bool) -> str | None:
    """What is wrong with a result that has a record, None where nothing is."""
    try:
        record = read_result(root, digest, deep=deep)
    except StoreError as error:
        return str(error)
    return "its record was removed a moment ago" if record is None else None


def looks_whole(root: str, digest: str, state: Found, *, sizes: bool) -> bool:
    """Whether names (and sizes) alone show a whole result; False means: read the record to know."""
    if len(state.records) != 1:
        return False
    suffix = state.records[0]
    try:
        if sizes and not _is_written(f"{root}/{digest[:2]}/{digest}.{suffix}"):
            return False
        if suffix == RECORD:
            return True
        places = set()
        for entry in state.artefacts:
            match = _ARTEFACT.fullmatch(entry.name[DIGEST_DIGITS + 1 :])
            if match is None or int(match[2]) != len(state.artefacts):
                return False
            if sizes and entry.stat(follow_symlinks=False).st_size != int(match[3]):
                return False
            places.add(int(match[1]))
    except OSError as error:  # gone since the listing, or a link to itself
        if error.errno not in NO_FILE:
            raise
        return False
    return len(places) == len(state.artefacts) > 0


def _is_written(record: str) -> bool:
    """Whether a record's bytes reached the disk: after a power cut a file may be empty, cut, or hold zeros in places."""
    handle = os.open(record, os.O_RDONLY)
    try:
        content = os.read(handle, os.fstat(handle).st_size)
    finally:
        os.close(handle)
    return content.startswith(b"{") and content.endswith(b"}\n") and b"\0" not in content


def remove_results(root: str, digest: str, kept: set[str]) -> int:
    """Remove records and artefacts of a digest whose names are not among `kept`; how many there were.

    They mislead a scan by names: a file of an earlier try can stand in for a missing one of the last.
    """
    removed = 0
    found = listing(root, digest[:2]).get(digest, Found())
    names = [f"{digest}.{suffix}" for suffix in found.records] + [entry.name for entry in found.artefacts]
    for name in names:
        if name not in kept:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{root}/{digest[:2]}/{name}")
                removed += 1
    return removed
