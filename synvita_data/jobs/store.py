"""`Store`: one folder that says what is done, claimed, failed and still to do."""
# ruff: noqa: PTH100, PTH103, PTH104, PTH106, PTH108, PTH110, PTH119, PTH208
# Plain strings and system calls: claiming is a hot path.

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import StoreError, choose
from ..files import no_file_ok
from .claim import Claim, explained
from .lease import Identity, Liveness, Owner, release, token_in
from .records import (
    CLAIM,
    FAILED,
    OWNERS,
    Check,
    Failure,
    Record,
    Scan,
    damage,
    digest_of,
    every,
    load,
    looks_whole,
    parse,
    read_failure,
    read_result,
    remove_results,
    scan,
)

Sync = Literal["never", "artefacts", "always"]


class Store:
    """The results of one kind of work under one folder, shared by any number of workers.

    Nothing is created before the first claim. Two kinds of work take two folders (`ROOT/generate`,
    `ROOT/vqascore`). Threads may share a store; a forked child has its own identity in it; a store that is
    sent to another process (multiprocessing, Ray) arrives as a new store on the same folder.

    Args:
        root: the folder; on a POSIX file system with atomic rename (local disks, NFS, Lustre, GPFS, CephFS;
            not an object store mounted as a folder).
        stale_after: seconds without a heartbeat after which another worker may take a claim over; at
            least 0.1. A worker of this machine whose process is gone is taken over at once.
        owner: a label for this worker in names of claims, for people; the host's name by default.
        sync: what is flushed to the disk before a commit returns. A killed process never loses a commit,
            whatever this says; it matters when the machine itself stops. "artefacts" (default): results
            with files are flushed, JSON-only records are not (thousands a second; a lost one is seen by
            `scan` and done again). "always": those too. "never": nothing.
    """

    def __init__(
        self,
        root: str | Path,
        stale_after: float = 120.0,
        owner: str | None = None,
        *,
        sync: Sync = "artefacts",
    ) -> None:
        if not 0.1 <= stale_after <= 1e7:
            raise StoreError("stale_after is out of range", found=stale_after, expected="0.1 to 1e7 seconds")
        choose(sync, get_args(Sync), "sync", error=StoreError)
        self._root = os.path.abspath(root)  # a worker may change its folder
        self.root = Path(self._root)
        self.stale_after = float(stale_after)
        self.sync: Sync = sync
        self._owner = Owner(self._root, owner, self.stale_after)
        self._judge = self._new_judge()

    # Work

    def claim(self, key: str) -> Claim | None:
        """The right to do `key`; None when it is done, in quarantine, or held by a live worker.

        A key whose result is damaged (a file deleted, shortened; an unreadable record) is claimed again.

        Raises:
            StoreError: the folder cannot be written.
        """
        digest = digest_of(key)
        with explained(f"cannot claim key {key!r}"):
            if self._look(digest) == "ended" or (taken := self._acquire(digest)) is None:
                return None
            token, from_the_gone = taken
            # Another worker may have finished between the look and the claim. This look is the one that
            # counts: no live worker can finish the key from here on, and on NFS the claim has made this
            # machine forget what it thought it knew of the folder.
            seen = self._look(digest)
            if seen == "ended":
                self._owner.give_back(token)
                return None
            return Claim(self, key, digest, token, replaces=seen == "damaged" or from_the_gone)

    def claims(self, keys: Iterable[str]) -> Iterator[Claim]:
        """Claim the pending ones of `keys` one after the other; a worker's main loop.

        Each key comes at most once. Passes over the keys are repeated until one yields nothing, so that
        what another worker gave up meanwhile is taken too; what live workers hold at the end is left to
        them.
        """
        keys = list(keys)
        given: set[str] = set()
        while True:
            before = len(given)
            for key in self.pending(keys):
                if key not in given and (claim := self.claim(key)) is not None:
                    given.add(key)
                    yield claim
            if len(given) == before:
                return

    @contextlib.contextmanager
    def turn(self, key: str, every: float = 0.1) -> Iterator[None]:
        """Wait for the right to `key`, have it while the `with` lasts, and give it to the next: it is never done.

        The turn of a worker that was killed in its own is over.

        Args:
            key: which turn.
            every: seconds between attempts.
        """
        while (claim := self.claim(key)) is None:
            time.sleep(every)
        with claim:
            yield
            self.tidy()

    # Looking

    def scan(self, keys: Iterable[str], check: Check = "sizes") -> Scan:
        """The state of each of `keys`; creates nothing but a clock file, and that only beside claims.

        Args:
            keys: any number; 100,000 take about a second.
            check: how a result proves itself. "names": record and files are there. "sizes": the
                record is also written to its end, and the files have the right sizes (one `stat` each).
                "contents": the files also have the right SHA-256 (reads them all).
        """
        return scan(self._root, keys, check, self._new_judge().is_held)

    def pending(self, keys: Iterable[str]) -> list[str]:
        """The keys that are neither done, nor in quarantine, nor held by a live worker."""
        return self.scan(keys).pending

    def validate(self, key: str, deep: bool = False) -> Record:
        """The record of `key` if its files have the right sizes (and, if `deep`, the right SHA-256).

        Raises:
            StoreError: no result, or what is wrong with it: file, found, expected.
        """
        digest = digest_of(key)
        record = read_result(self._root, digest, deep=deep)
        if record is None:
            raise StoreError(f"key {key!r} has no result", file=f"{self._path(digest)}.*")
        return record

    def record(self, key: str) -> Record | None:
        """The result of `key`, None if there is none or it is damaged (`validate` says how)."""
        try:
            return self.validate(key)
        except StoreError:
            return None

    def records(self, keys: Iterable[str] | None = None) -> Iterator[Record]:
        """Results in the order of `keys` (without: all, in the order of digests); what is not done is left out."""
        digests: Iterable[str]
        if keys is None:
            digests = (digest for digest, found in every(self._root) if found.records)
        else:
            digests = map(digest_of, keys)
        for digest in digests:
            with contextlib.suppress(StoreError):
                if (record := read_result(self._root, digest)) is not None:
                    yield record

    def failure(self, key: str) -> Failure | None:
        """Why `key` is in quarantine, None if it is not."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return read_failure(f"{self._path(digest_of(key))}.{FAILED}")
        return None

    def quarantined(self) -> Iterator[Failure]:
        """Every key in quarantine with its reason, in the order of digests."""
        for digest, found in every(self._root):
            if found.failed and not (found.records and damage(self._root, digest, deep=False) is None):
                with contextlib.suppress(FileNotFoundError):  # retried meanwhile
                    yield read_failure(f"{self._path(digest)}.{FAILED}")

    def holder(self, key: str) -> Identity | None:
        """Who has claimed `key`; None where nobody has."""
        token = token_in(f"{self._path(digest_of(key))}.{CLAIM}")
        return None if token is None else Identity.parse(token)

    # Mending

    def retry_failed(self, keys: Iterable[str] | None = None) -> int:
        """Take `keys` (without: every key) out of quarantine, so that they are pending; how many there were."""
        digests: Iterable[str]
        if keys is None:
            digests = (digest for digest, found in every(self._root) if found.failed)
        else:
            digests = map(digest_of, keys)
        count = 0
        for digest in digests:
            with (
                explained("a key cannot be taken out of quarantine"),
                contextlib.suppress(FileNotFoundError),
            ):
                os.unlink(f"{self._path(digest)}.{FAILED}")
                count += 1
        return count

    def discard(self, key: str) -> bool:
        """Remove the result of `key`, so that it is pending; False when a live worker holds the key.

        For a result that was looked into and found not usable. The record goes first, so that no
        reader ever sees a part of the result as done.
        """
        digest = digest_of(key)
        with explained(f"cannot discard the result of key {key!r}"):
            taken = self._acquire(digest)
            if taken is None:
                return False
            try:
                remove_results(self._root, digest, set())
            finally:
                self._owner.give_back(taken[0])
        return True

    def clean_temporary(self) -> int:
        """Remove what dead workers left: their claims and temporary files, and files of no result.

        What live workers hold is left alone, so it may run beside them. Returns how many things were removed.
        """
        judge = self._new_judge()
        removed = 0
        with explained("cannot clean"):
            # First: who is dead by now claims nothing more, so no claim of theirs is overlooked below.
            dead = self._dead_owners(judge)
            for digest, found in every(self._root):
                if found.claim:
                    removed += self._clean_claim(f"{self._path(digest)}.{CLAIM}", judge)
                # Files come before their record, so files without one may be those of a commit under way:
                # only who holds the claim may take them.
                whole = not found.artefacts or looks_whole(self._root, digest, found, sizes=False)
                if not whole and (taken := self._acquire(digest)) is not None:
                    try:
                        removed += self._clean_files(digest)
                    finally:
                        self._owner.give_back(taken[0])
            # Last: a dead owner's folder tells how long it has been silent, which its claims are judged by, and that
            # there is something to clean.
            for folder in dead:
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
        return removed

    def has_leftovers(self) -> bool:
        """Whether a worker was killed here since the last `clean_temporary`; reads one folder."""
        return bool(self._dead_owners(self._new_judge()))

    def tidy(self) -> None:
        """`clean_temporary` where a worker was killed: also its claim on a key that it had just finished, which nobody
        claims again. Leftovers that cannot be removed stay."""
        if self.has_leftovers():
            with contextlib.suppress(StoreError):
                self.clean_temporary()

    def _dead_owners(self, judge: Liveness) -> list[str]:
        """Folders of owners that are dead."""
        owners = f"{self._root}/{OWNERS}"
        folders: list[str] = []
        with no_file_ok():
            folders = [f"{owners}/{name}" for name in os.listdir(owners)]
        return [folder for folder in folders if judge.is_dead(os.path.basename(folder), folder)]

    def _clean_claim(self, claim: str, judge: Liveness) -> int:
        token = token_in(claim)
        if token is None:  # its owner was killed between the two steps of a release
            with contextlib.suppress(OSError):
                os.rmdir(claim)
                return 1
        elif judge.is_dead(token, f"{claim}/{token}"):
            return int(release(f"{claim}/{token}"))
        return 0

    def _clean_files(self, digest: str) -> int:
        kept: set[str] = set()
        with contextlib.suppress(StoreError):
            if (loaded := load(self._root, digest)) is not None:
                # Even a damaged record says why its key is to be done again.
                kept.add(os.path.basename(loaded[0]))
                kept |= {artefact.path.name for artefact in parse(*loaded).artefacts.values()}
        return remove_results(self._root, digest, kept)

    def close(self) -> None:
        """Release all open claims and stop the heartbeat; the store can be used again."""
        self._owner.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Any:  # to another process: the same folder, an identity of its own
        return _reopen, (self._root, self.stale_after, self._owner.label, self.sync)

    def __repr__(self) -> str:
        return f"Store({self._root!r})"

    def _path(self, digest: str) -> str:
        """Where the digest's files lie, without what follows the digest in their names."""
        return f"{self._root}/{digest[:2]}/{digest}"

    def _look(self, digest: str) -> Literal["free", "damaged", "ended"]:
        """Whether the key is to be done; "ended" is done or in quarantine."""
        seen: Literal["free", "damaged"] = "free"
        try:
            if read_result(self._root, digest) is not None:
                return "ended"
        except StoreError:
            seen = "damaged"
        return "ended" if os.path.exists(f"{self._path(digest)}.{FAILED}") else seen

    def _acquire(self, digest: str) -> tuple[str, bool] | None:
        """Path of a new token in the digest's claim, None when a live worker holds it.

        The second value says that the claim was taken from a process that is certainly gone, which may
        have left files of a commit it did not finish.

        A claim is a folder with one token in it, and changes hands by renames that fail for all but one:

        - free: a folder with the token inside, made aside, is renamed to the claim's name, which succeeds
          only where there is none (or an empty one, just being released);
        - held by the dead: *their token* is renamed to ours. Its name is unique for ever, so this
          compares and swaps in one step: whoever comes second, or judged a claim that changed since,
          finds no such file.
        """
        owner = self._owner
        owner.start()
        name = f"{owner.name}.{next(owner.numbers)}"
        claim = f"{self._path(digest)}.{CLAIM}"
        token = f"{claim}/{name}"
        owner.held.add(token)  # before it is: whatever ends this process in good order releases it
        for _ in range(1000):  # each turn but the last, somebody else got on
            slot = None
            holder = token_in(claim)
            try:
                if holder is None:
                    slot = owner.take_slot(name)
                    os.rename(slot, claim)
                elif self._liveness().is_dead(holder, f"{claim}/{holder}"):
                    os.rename(f"{claim}/{holder}", token)
                    os.utime(token)
                else:
                    owner.held.discard(token)
                    return None
            except FileNotFoundError:  # the first key of this folder, or another was quicker: look again
                if slot is not None:
                    owner.keep_slot(slot, name)
                os.makedirs(f"{self._root}/{digest[:2]}", exist_ok=True)
                os.makedirs(owner.folder, exist_ok=True)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    owner.held.discard(token)
                    raise
                if slot is not None:  # another was quicker
                    owner.keep_slot(slot, name)
            else:
                before = None if holder is None else Identity.parse(holder)
                return token, before is not None and before.process_is_gone()
        owner.held.discard(token)
        raise StoreError("a claim can be neither read nor taken", file=claim, fix="Remove what lies in it")

    def _liveness(self) -> Liveness:
        """A judge of the last fifth of a second: many held keys in a row ask after few owners."""
        if time.monotonic() - self._judge.made > 0.2:
            self._judge = self._new_judge()
        return self._judge

    def _new_judge(self) -> Liveness:
        return Liveness(self._root, self.stale_after, self._owner.name)


def _reopen(root: str, stale_after: float, owner: str | None, sync: Sync) -> Store:
    return Store(root, stale_after, owner, sync=sync)
