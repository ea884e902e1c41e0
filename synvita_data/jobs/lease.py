"""Who holds claims: an identity, a heartbeat, and how others tell whether it still lives.

An owner is one `Store` object in one process. Its folder `ROOT/owners/<identity>/` holds its temporary
files, and one thread touches that folder: however many claims an owner holds, one heartbeat keeps them.
"""
# ruff: noqa: PTH103, PTH104, PTH106, PTH108, PTH110, PTH112, PTH115, PTH116, PTH120, PTH123, PTH208
# Plain strings and system calls: claiming is a hot path.

import contextlib
import hashlib
import itertools
import os
import re
import secrets
import shutil
import socket
import threading
import time
import weakref
from dataclasses import dataclass
from functools import cache

from ..files import no_file_ok
from .records import CLOCK, OWNERS

BEATS = 6  # heartbeats in `stale_after`: five may be lost, or 60 s of NFS attribute caching go by


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything needed to judge an owner, in the name of its folder and of each of its claims."""

    label: str
    machine: str  # digest of boot id and PID namespace; "0" where there is no /proc
    pid: int
    started: int  # clock ticks after boot, so that a reused PID is not taken for the owner
    stale_after: float  # seconds without a heartbeat after which the owner agrees to be given up
    nonce: str

    @classmethod
    def of_this_process(cls, label: str | None, stale_after: float) -> "Identity":
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", label or socket.gethostname())[:40] or "owner"
        pid = os.getpid()
        return cls(name, machine_id(), pid, _process(pid)[1], stale_after, secrets.token_hex(6))

    @classmethod
    def parse(cls, name: str) -> "Identity | None":
        """The identity in an owner's folder name or a claim's token; None if it is no such name."""
        try:
            label, machine, pid, started, stale_ms, nonce = name.split(".")[:6]
            return cls(label, machine, int(pid), int(started), int(stale_ms) / 1000, nonce)
        except ValueError:
            return None

    def __str__(self) -> str:
        stale_ms = round(self.stale_after * 1000)
        return f"{self.label}.{self.machine}.{self.pid}.{self.started}.{stale_ms}.{self.nonce}"

    def process_is_gone(self) -> bool:
        """True only where it is certain: same boot, same PID namespace, and no such process any more."""
        if self.machine == "0" or self.machine != machine_id():
            return False
        state, started = _process(self.pid)
        if state is not None:
            return state in "ZX" or started != self.started
        try:  # /proc may hide the processes of other users
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass
        return False


class Owner:
    """This process's own identity and heartbeat; both begin with the first claim.

    A forked child gets an identity and a folder of its own on its first claim: it inherits none of its
    parent's claims, and its exit does not end them.
    """

    def __init__(self, root: str, label: str | None, stale_after: float) -> None:
        self.root = root
        self.label = label
        self.stale_after = stale_after
        self._begin()
        _OWNERS.add(self)

    def _begin(self) -> None:
        self.identity = Identity.of_this_process(self.label, self.stale_after)
        self.name = str(self.identity)
        self.folder = f"{self.root}/{OWNERS}/{self.name}"
        self.numbers = itertools.count(1)  # next() is atomic: threads get distinct numbers
        self.held: set[str] = set()  # paths of the tokens of open claims, and of those that are being taken
        self._slots: list[tuple[str, str]] = []  # folders of ended claims for use again, their tokens
        self._lock = threading.Lock()
        self._started = False
        self._stop = threading.Event()
        self._end: weakref.finalize | None = None

    def start(self) -> None:
        """Make the folder and start the heartbeat, once.

        A signal handler may raise between any two lines here and wherever claims are taken and given back: what
        undoes a step is noted before the step, so that `close` leaves nothing behind.
        """
        if self._started:
            return
        with self._lock:
            if self._end is None:
                # Runs on close(), when the store is dropped, and when the interpreter ends.
                self._end = weakref.finalize(self, _end, self.folder, self._stop, self.held)
            if not self._started:
                os.makedirs(self.folder, exist_ok=True)
                interval = self.stale_after / BEATS
                beat = (self.folder, interval, self._stop)
                threading.Thread(target=_beat, args=beat, name="store-heartbeat", daemon=True).start()
                self._started = True

    def close(self) -> None:
        """Release every open claim, stop the heartbeat, remove the folder. A later claim starts them again."""
        if self._end is not None:
            self._end()
            self._begin()

    def take_slot(self, name: str) -> str:
        """A folder with nothing in it but the token `name`, to be renamed to a claim.

        Folders are used again and again: making one and removing it for each claim would cost more than
        all else that small work does (ext4 is slow to reuse inodes, and metadata servers are not quicker).
        """
        while True:
            try:
                slot, earlier = self._slots.pop()
            except IndexError:  # none, or another thread took the last one
                break
            with contextlib.suppress(FileNotFoundError):  # cleaned away while we were silent
                os.rename(f"{slot}/{earlier}", f"{slot}/{name}")
                return slot
        slot = f"{self.folder}/slot-{name.rpartition('.')[2]}"
        os.makedirs(slot, exist_ok=True)
        os.close(os.open(f"{slot}/{name}", os.O_CREAT | os.O_WRONLY, 0o666))
        return slot

    def keep_slot(self, slot: str, name: str) -> None:
        """Take back a slot that became no claim."""
        self._slots.append((slot, name))

    def give_back(self, token: str) -> None:
        """End the claim with this token, if it is still ours, and keep its folder."""
        claim, _, name = token.rpartition("/")
        slot = f"{self.folder}/slot-{name.rpartition('.')[2]}"
        try:
            os.utime(token)
            os.rename(claim, slot)
        except OSError:  # taken over; or our own folder was cleaned away
            release(token)
            self.held.discard(token)
            return
        self.held.discard(token)
        if os.path.exists(f"{slot}/{name}"):
            self._slots.append((slot, name))
        else:  # taken over between the two calls above, after `stale_after` seconds of silence: theirs
            with contextlib.suppress(OSError):
                os.rename(slot, claim)


class Liveness:
    """Judges owners by one reading of the file system's clock; each owner is judged once."""

    def __init__(self, root: str, stale_after: float, myself: str) -> None:
        self.root = root
        self.stale_after = stale_after
        self.made = time.monotonic()
        self._now: float | None = None
        self._dead = {myself: False}

    def is_dead(self, token_or_owner: str, touched: str) -> bool:
        """Whether the owner is gone: no process of that PID, or no heartbeat for `stale_after` seconds.

        The longer of the owner's own `stale_after` and the judge's counts. `touched` is a file whose
        mtime serves when the owner's folder is gone. A name of another form is judged by `touched` alone.
        """
        identity = Identity.parse(token_or_owner)
        if identity is None:
            return self._age(touched) >= self.stale_after
        owner = str(identity)
        if owner not in self._dead:
            patience = max(self.stale_after, identity.stale_after)
            folder = f"{self.root}/{OWNERS}/{owner}"
            if identity.process_is_gone():
                self._dead[owner] = True
            else:
                beaten = folder if os.path.isdir(folder) else touched
                self._dead[owner] = self._age(beaten) >= patience
        return self._dead[owner]

    def is_held(self, claim: str) -> bool:
        """Whether a live owner holds the claim whose folder this is."""
        token = token_in(claim)
        return token is not None and not self.is_dead(token, f"{claim}/{token}")

    def _age(self, path: str) -> float:
        try:
            descriptor = os.open(path, os.O_RDONLY)  # opening makes NFS ask the server; stat may not
        except OSError:
            return 0.0  # gone a moment ago: released or taken over, so not for us to judge
        try:
            touched = os.fstat(descriptor).st_mtime
        finally:
            os.close(descriptor)
        if self._now is None:
            self._now = file_system_time(self.root)
        return self._now - touched


def token_in(claim: str) -> str | None:
    """Name of the token in a claim's folder; None where nobody holds the claim."""
    tokens: list[str] = []
    with no_file_ok():
        tokens = os.listdir(claim)
    return next((name for name in tokens if not name.startswith(".")), None)


def file_system_time(root: str) -> float:
    """Now, by the clock that stamps mtimes under `root`: clocks of machines may differ by minutes."""
    probe = f"{root}/{CLOCK}"
    try:
        try:
            os.utime(probe)
        except FileNotFoundError:
            os.close(os.open(probe, os.O_CREAT | os.O_WRONLY, 0o666))
            os.utime(probe)
        return os.stat(probe).st_mtime
    except OSError:  # a store one may only read
        return time.time()


@cache
def machine_id() -> str:
    """Equal for two processes exactly when their PIDs can be compared; "0" where that is not known."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as handle:
            boot = handle.read().strip()
        namespace = os.readlink("/proc/self/ns/pid").encode()
    except OSError:
        return "0"
    return hashlib.sha256(boot + b" " + namespace).hexdigest()[:12]


def _process(pid: int) -> tuple[str | None, int]:
    """State letter and start time (clock ticks after boot) of a process; `(None, 0)` if /proc has none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as handle:
            # The second field, the program's name, may hold spaces and parentheses.
            fields = handle.read().rpartition(b")")[2].split()
        return fields[0].decode(), int(fields[19])
    except (OSError, IndexError, ValueError):
        return None, 0


def _beat(folder: str, interval: float, stop: threading.Event) -> None:
    while not stop.wait(interval):
        with contextlib.suppress(OSError):  # a full or absent file system must not end the heartbeat
            try:
                os.utime(folder)
            except FileNotFoundError:
                os.makedirs(folder, exist_ok=True)


def _end(folder: str, stop: threading.Event, held: set[str]) -> None:
    stop.set()
    for token in list(held):
        release(token)
    shutil.rmtree(folder, ignore_errors=True)


def release(token: str) -> bool:
    """Remove the claim whose token this path is, whoever asks; False if it changed hands meanwhile."""
    try:
        os.unlink(token)
    except OSError:
        return False
    with contextlib.suppress(OSError):  # not empty: claimed again between the two lines
        os.rmdir(os.path.dirname(token))
    return True


def _forget_parent() -> None:
    machine_id.cache_clear()  # the child may be the first process of a new PID namespace
    for owner in list(_OWNERS):
        if owner._end is not None:
            owner._end.detach()  # else the child's exit would end its parent's claims
        owner._begin()


_OWNERS: weakref.WeakSet[Owner] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
