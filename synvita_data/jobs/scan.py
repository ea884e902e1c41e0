"""The state of many keys from one listing of at most 256 folders."""
# ruff: noqa: PTH108, PTH116, PTH208
# Plain strings and system calls: 100,000 keys must take seconds.

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from ..errors import StoreError
from .lease import Liveness
from .names import (
    CLAIM,
    DIGEST_DIGITS,
    FAILED,
    PREFIXES,
    RECORD,
    RECORD_WITH_FILES,
    digest_of,
    parse_artefact_suffix,
)
from .records import load, parse, verify

DONE = "done"
CLAIMED = "claimed"
QUARANTINED = "quarantined"
PENDING = "pending"

Check = Literal["names", "sizes", "contents"]


@dataclass(frozen=True, slots=True)
class Scan:
    """What `Store.scan` saw.

    Attributes:
        states: key -> "done", "claimed" (by a live worker), "quarantined" or "pending", in the order the
            keys were given.
        damaged: key -> why its result is no longer good; such a key is pending (or claimed, when somebody
            mends it).
    """

    states: dict[str, str]
    damaged: dict[str, str] = field(default_factory=dict)

    @property
    def pending(self) -> list[str]:
        """The keys to be done, in the order they were given."""
        return [key for key, state in self.states.items() if state == PENDING]

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


def listing(root: str, prefix: str) -> dict[str, Found]:
    """Everything in one of the 256 folders, by digest; empty where the folder does not exist."""
    found: dict[str, Found] = {}
    try:
        entries = os.scandir(f"{root}/{prefix}")
    except FileNotFoundError:
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


def scan(root: str, keys: Iterable[str], check: Check, liveness: Liveness) -> Scan:
    """See `Store.scan`."""
    if check not in ("names", "sizes", "contents"):
        raise StoreError("a scan has no such check", found=check, expected="'names', 'sizes' or 'contents'")
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
                if check != "contents" and looks_whole(root, digest, state, sizes=check == "sizes"):
                    states[key] = DONE
                    continue
                why = damage(root, digest, deep=check == "contents")
                if why is None:
                    states[key] = DONE
                    continue
                damaged[key] = why
            if state.claim and is_held(f"{root}/{prefix}/{digest}.{CLAIM}", liveness):
                states[key] = CLAIMED
            elif state.failed:
                states[key] = QUARANTINED
    return Scan(states, damaged)


def damage(root: str, digest: str, *, deep: bool) -> str | None:
    """What is wrong with a result that has a record, None where nothing is."""
    loaded = load(root, digest)
    try:
        if loaded is None:
            return "its record was removed a moment ago"
        verify(parse(*loaded), deep=deep)
    except StoreError as error:
        return str(error)
    return None


def looks_whole(root: str, digest: str, state: Found, *, sizes: bool) -> bool:
    """Whether names (and sizes) alone show a whole result; False means: read the record to know."""
    if len(state.records) != 1:
        return False
    suffix = state.records[0]
    try:
        if sizes and os.stat(f"{root}/{digest[:2]}/{digest}.{suffix}").st_size == 0:  # after a power cut
            return False
        if suffix == RECORD:
            return True
        places = set()
        for entry in state.artefacts:
            parsed = parse_artefact_suffix(entry.name[DIGEST_DIGITS + 1 :])
            if parsed is None:
                return False
            index, count, size = parsed
            if count != len(state.artefacts) or (sizes and entry.stat(follow_symlinks=False).st_size != size):
                return False
            places.add(index)
    except FileNotFoundError:  # gone since the listing
        return False
    return len(places) == len(state.artefacts) > 0


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


def token_in(claim: str) -> str | None:
    """Name of the token in a claim's folder; None where nobody holds the claim."""
    try:
        tokens = os.listdir(claim)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return next((name for name in tokens if not name.startswith(".")), None)


def is_held(claim: str, liveness: Liveness) -> bool:
    """Whether a live owner holds the claim whose folder this is."""
    token = token_in(claim)
    return token is not None and not liveness.is_dead(token, f"{claim}/{token}")


def every(root: str) -> Iterator[tuple[str, Found]]:
    """All digests of the store with their files, in the order of digests."""
    try:
        prefixes = sorted(set(os.listdir(root)).intersection(PREFIXES))
    except FileNotFoundError:
        return
    for prefix in prefixes:
        yield from sorted(listing(root, prefix).items(), key=lambda item: item[0])
