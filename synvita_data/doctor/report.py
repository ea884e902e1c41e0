"""What was found out: checks, each with what to do, and all that a command needs."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import SynvitaError
from ..extras import DISTRIBUTION, install_line, missing_packages
from ..versions import installed
from .hub import HubQuestions, cache_folder
from .machine import Machine, disk_of, free_bytes, look_at_machine

if TYPE_CHECKING:
    from .memory import Memory
    from .repository import RepositoryFacts

State = Literal["ok", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        state: `ok`; `warn`, which the user should know; `bad`, with which the command cannot do its work.
        subject: what was looked at, in a word or two: `model`, `disk`, `videos`.
        text: what was found, one sentence without a final full stop.
        fix: what to do about it.
    """

    state: State
    subject: str
    text: str
    fix: str | None = None


@dataclass
class Needs:
    """What a command needs, and what of it is there: every look of `doctor` takes one of these and adds to it.

    Attributes:
        command: its name, such as `evaluate`.
        hub: asks; all looks share its answers.
        machine: this one.
        checks: in the order in which they are shown.
        repositories: models and datasets that it reads.
        memory: of the GPU, None where no model runs.
        other_bytes: to fetch from the Hub beside those of the repositories.
    """

    command: str
    hub: HubQuestions = field(default_factory=HubQuestions)
    machine: Machine = field(default_factory=look_at_machine)
    checks: list[Check] = field(default_factory=list)
    repositories: "list[RepositoryFacts]" = field(default_factory=list)
    memory: "Memory | None" = None
    other_bytes: int = 0

    def ok(self, subject: str, text: str) -> None:
        """Add what is as it should be."""
        self.checks.append(Check("ok", subject, text))

    def warn(self, subject: str, text: str, fix: str | None = None) -> None:
        """Add what the user should know."""
        self.checks.append(Check("warn", subject, text, fix))

    def bad(self, subject: str, text: str, fix: str | None = None) -> None:
        """Add what keeps the command from its work."""
        self.checks.append(Check("bad", subject, text, fix))

    def failed(self, subject: str, error: SynvitaError, state: State = "bad", fix: str | None = None) -> None:
        """Add what the command itself would say, its advice (or else `fix`) apart."""
        text, advice = str(error), error.fix
        if advice:
            text = text.removesuffix(f" {advice.rstrip('.')}.")
        self.checks.append(Check(state, subject, text.rstrip("."), advice or fix))

    def packages(self, extra: str, state: State = "bad", without: str = "") -> None:
        """Add whether everything of an extra of this package is installed.

        Args:
            extra: `score`, `train`, ….
            state: of what is missing.
            without: what becomes of the command then.
        """
        missing = missing_packages(extra)
        if missing is None:
            text = f"{DISTRIBUTION} is not installed, so its extra {extra} cannot be checked"
            self.warn("packages", text, f"Install it: {install_line(extra)}")
        elif missing:
            text = f"not installed: {', '.join(missing)}{without}"
            self.checks.append(Check(state, "packages", text, install_line(extra)))
        else:
            self.ok("packages", f"all of the extra {extra} is installed")

    def decoder(self, backend: str | None) -> None:
        """Add whether a decoder is installed; PyAV always is."""
        if backend in (None, "pyav"):
            return
        if (version := installed([backend]).get(backend)) is not None:
            self.ok("decoder", f"{backend} {version}")
        else:
            fix = f"{install_line('decoders')}, or take another --backend"
            self.bad("decoder", f"{backend} is not installed", fix)

    def disk(self, *written: tuple[str, Path, int]) -> None:
        """Add whether what is fetched and written fits; what goes onto one disk is added up.

        Args:
            written: what it is, the folder it goes into, and its bytes, beside what is fetched from the Hub.
        """
        on_disks: dict[int, list[tuple[str, Path, int]]] = {}
        for part in (("to fetch from the Hub", cache_folder(), self.bytes_to_fetch), *written):
            if part[2] > 0:
                on_disks.setdefault(disk_of(part[1]), []).append(part)
        for parts in on_disks.values():
            total, free = sum(part[2] for part in parts), free_bytes(parts[0][1])
            named, place = ", ".join(f"{size(count)} {what}" for what, _, count in parts), parts[0][1]
            if free is None:
                self.warn("disk", f"{named}: how much is free at {place} is not known")
            elif free < total:
                text = f"{named}: needs {size(total)}, {size(free)} are free at {place}"
                self.bad("disk", text, "Make room, or set HF_HOME to a folder on another disk")
            else:
                self.ok("disk", f"{named}; {size(free)} are free at {place}")

    @property
    def missing(self) -> list[str]:
        """What keeps the command from running, one text each."""
        return [f"{check.subject}: {check.text}" for check in self.checks if check.state == "bad"]

    @property
    def runs(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing

    @property
    def bytes_to_fetch(self) -> int:
        """Of all repositories, as far as sizes are known; what is named twice is fetched once."""
        once = {(each.kind, each.name, each.revision, each.paths): each for each in self.repositories}
        return self.other_bytes + sum(each.bytes_to_fetch for each in once.values())

    def to_record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "command": self.command,
            "runs": self.runs,
            "bytes_to_fetch": self.bytes_to_fetch,
            "checks": [asdict(check) for check in self.checks],
            "repositories": [each.to_record() for each in self.repositories],
            "memory": None if self.memory is None else self.memory.to_record(),
        }


def some(texts: Iterable[str], shown: int = 3) -> str:
    """The first of several texts, and that there are more.

    Example:
        >>> some("abcd")
        'a, b, c, …'
    """
    listed = list(texts)
    return ", ".join(listed[:shown]) + (", …" if len(listed) > shown else "")


def size(count: float) -> str:
    """Bytes for people, in decimal units as the Hub shows them.

    Example:
        >>> size(14_100_000_000)
        '14.1 GB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
