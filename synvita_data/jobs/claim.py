"""A claim: the right to do one key's work, and the two ways to end it with something to show."""
# ruff: noqa: PTH103, PTH104, PTH108, PTH120, PTH123
# Plain strings and system calls: committing is a hot path.

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from ..files import sha256_file
from .records import (
    FAILED,
    RECORD,
    RECORD_WITH_FILES,
    Artefact,
    artefact_suffix,
    check_artefact_name,
    failure_bytes,
    record_bytes,
    remove_results,
)

if TYPE_CHECKING:
    from .store import Store


class Claim:
    """Work on one key, made by `Store.claim`. Use it in a `with` statement, in the process that made it.

    Leaving the `with` without `commit` or `quarantine` (or by an exception, which is raised further) releases the
    key: it is pending again, and its temporary files are gone.

    Attributes:
        key: the key.
        outcome: "open", then one of "committed", "quarantined", "released", or "lost" when another worker
            took the claim over, because this process had not touched its heartbeat for `stale_after`
            seconds (it was stopped, or one call kept every thread from running). What a lost claim did is
            discarded.
    """

    def __init__(self, store: "Store", key: str, digest: str, token: str, *, replaces: bool) -> None:
        self.key = key
        self.outcome = "open"
        self._store = store
        self._digest = digest
        self._token = token  # path of the claim's token; the last part is unique for ever
        self._replaces = replaces  # a damaged result, or files of a killed worker, may be there
        self._pid = os.getpid()
        self._number = token.rpartition(".")[2]
        self._folder = f"{store._owner.folder}/{self._number}"
        self._names: list[str] = []
        self._placed: dict[str, Artefact] = {}

    def path(self, name: str) -> Path:
        """A temporary path for the result's file `name`, on the store's own file system.

        The folder exists and is this claim's own; what else a program leaves there is removed with it.
        Every name asked for must be a file by the time of `commit`. Asking twice gives the same path.

        Raises:
            StoreError: an unsafe name, a claim that is over, no room on the disk.
        """
        self._need_open("ask for a path")
        check_artefact_name(name)
        if name not in self._names:
            with explained(f"cannot write the result of key {self.key!r}"):
                os.makedirs(self._folder, exist_ok=True)
            self._names.append(name)
        return Path(self._folder, name)

    def is_ours(self) -> bool:
        """Whether no other worker took the claim over; a long job may look now and then."""
        if self.outcome != "open" or self._pid != os.getpid():
            return False
        try:
            os.utime(self._token)  # unlike stat, never answered from an NFS client's cache
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
                return False
            raise
        return True

    def commit(self, fields: Mapping[str, Any] | None = None) -> bool:
        """Make the result visible: its files first, the record last, each by an atomic rename.

        Args:
            fields: what the worker wants to keep beside the files; JSON (tuples become lists).

        Returns:
            True when the record stands. False when the claim was lost: nothing was changed, the work is
            or will be another's (an equal result, since work is deterministic). A second call on a
            committed claim changes nothing and returns True.

        Raises:
            StoreError: `fields` are not JSON; a promised file is missing; no room on the disk. The claim
                stays open: mend the cause and commit again, or leave the `with`.
        """
        if self.outcome == "committed":
            return True
        self._need_open("commit")
        if self._names:
            record_bytes(self.key, fields or {}, ())  # complain before any file moves
        with explained(f"cannot write the result of key {self.key!r}"):
            if not self.is_ours():
                return self._finish("lost")
            files = self._measure()
            self._place_files(files)
            self._place_record(fields or {}, files)
        return self._finish("committed")

    def quarantine(self, error: BaseException | Mapping[str, Any]) -> bool:
        """Set the key aside with its reason; it stays there until `Store.retry_failed`.

        Args:
            error: a `SynvitaError` (kept as its `to_record()`), any other exception (class name and text),
                or a mapping that is JSON.

        Returns:
            True when it is written, False when the claim was lost (nothing is written).
        """
        self._need_open("quarantine")
        content = failure_bytes(self.key, error)
        with explained(f"cannot write the result of key {self.key!r}"):
            if not self.is_ours():
                return self._finish("lost")
            self._write(content, FAILED, sync=self._store.sync == "always")
        return self._finish("quarantined")

    def release(self) -> None:
        """Release the key unfinished; on a claim that is over, this does nothing."""
        if self.outcome == "open" and self._pid == os.getpid():
            self._finish("released")

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"Claim({self.key!r}, {self.outcome})"

    # The steps of a commit. Any two workers' steps may mix in any order: names of files hold their
    # content, so no step overwrites other bytes than equal ones, but for the record, which is replaced whole.

    def _measure(self) -> list[tuple[str, Artefact]]:
        """Where each file of the result lies now, and what it will be, in the order of names."""
        found = []
        for index, name in enumerate(sorted(self._names), start=1):
            source = f"{self._folder}/{name}"
            try:
                status = os.lstat(source)
            except FileNotFoundError:
                if name not in self._placed:
                    raise self._broken_promise(name) from None
                source = str(self._placed[name].path)  # an earlier commit failed after this file
                status = os.lstat(source)
            if not stat.S_ISREG(status.st_mode):
                raise self._broken_promise(name)
            sha256 = sha256_file(Path(source))
            suffix = artefact_suffix(index, len(self._names), status.st_size, sha256, name)
            found.append((source, Artefact(name, Path(f"{self._stem}.{suffix}"), status.st_size, sha256)))
        return found

    def _place_files(self, files: list[tuple[str, Artefact]]) -> None:
        for source, artefact in files:
            if self._store.sync != "never":
                _flush(source)
            os.rename(source, artefact.path)
            self._placed[artefact.name] = artefact

    def _place_record(self, fields: Mapping[str, Any], files: list[tuple[str, Artefact]]) -> None:
        content = record_bytes(self.key, fields, (artefact for _, artefact in files))
        sync = self._store.sync == "always" or (self._store.sync == "artefacts" and bool(files))
        if sync and files:
            _flush(os.path.dirname(self._stem))  # the files' names, before the record that vouches for them
        suffix = RECORD_WITH_FILES if files else RECORD
        self._write(content, suffix, sync=sync)
        if self._replaces:
            kept = {f"{self._digest}.{suffix}", *(artefact.path.name for _, artefact in files)}
            remove_results(self._store._root, self._digest, kept)

    def _broken_promise(self, name: str) -> StoreError:
        return StoreError(
            f"the file {name} of key {self.key!r} was promised by path() and is not there",
            file=f"{self._folder}/{name}",
            expected="a regular file",
        )

    @property
    def _stem(self) -> str:
        return f"{self._store._root}/{self._digest[:2]}/{self._digest}"

    def _write(self, content: bytes, suffix: str, *, sync: bool) -> None:
        temporary = f"{self._folder}.json"
        final = f"{self._stem}.{suffix}"
        try:
            descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o666)
            with open(descriptor, "wb", buffering=0) as handle:
                written = handle.write(content)
                while written < len(content):  # a nearly full disk takes a part before it refuses
                    written += handle.write(content[written:])
                if sync:
                    os.fsync(handle.fileno())
            os.rename(temporary, final)
        except OSError as error:
            error.filename = error.filename or final  # a failing write does not know its file
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        if sync:
            _flush(os.path.dirname(final))

    def _finish(self, outcome: str) -> bool:
        self.outcome = outcome
        self._store._owner.give_back(self._token)
        if self._names:
            shutil.rmtree(self._folder, ignore_errors=True)
        return outcome in ("committed", "quarantined")

    def _need_open(self, what: str) -> None:
        if self._pid != os.getpid():
            raise StoreError(
                f"cannot {what}: the claim on key {self.key!r} belongs to another process",
                found=f"process {os.getpid()}",
                expected=f"process {self._pid}",
                fix="Claim in the process that does the work",
            )
        if self.outcome != "open":
            raise StoreError(f"cannot {what}: the claim on key {self.key!r} is {self.outcome}")


@contextlib.contextmanager
def explained(problem: str) -> Iterator[None]:
    """Turn an error of the operating system into a StoreError that names the file and what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{problem}: {error.strerror or error}",
            file=error.filename2 or error.filename,
            fix="Free space or mend the file system, and run again; the key is still to be done",
        ) from error


def _flush(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)
