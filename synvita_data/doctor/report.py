"""What was found out: checks, each with what to do, and all that a command needs."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..errors import SynvitaError

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
    """What a command needs, and what of it is there.

    Attributes:
        command: its name, such as `evaluate`.
        checks: in the order in which they are shown.
        repositories: models and datasets that it reads.
        memory: of the GPU, None where no model runs.
    """

    command: str
    checks: list[Check] = field(default_factory=list)
    repositories: "list[RepositoryFacts]" = field(default_factory=list)
    memory: "Memory | None" = None

    def ok(self, subject: str, text: str) -> None:
        """Add what is as it should be."""
        self.checks.append(Check("ok", subject, text))

    def warn(self, subject: str, text: str, fix: str | None = None) -> None:
        """Add what the user should know."""
        self.checks.append(Check("warn", subject, text, fix))

    def bad(self, subject: str, text: str, fix: str | None = None) -> None:
        """Add what keeps the command from its work."""
        self.checks.append(Check("bad", subject, text, fix))

    def add(self, checks: Iterable[Check]) -> None:
        """Add checks that were made elsewhere."""
        self.checks.extend(checks)

    def failed(self, subject: str, error: SynvitaError, state: State = "bad") -> None:
        """Add what the command itself would say."""
        self.checks.append(check_of(subject, error, state))

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
        """Of all repositories, as far as sizes are known."""
        return sum(each.bytes_to_fetch for each in self.repositories)

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


def check_of(subject: str, error: SynvitaError, state: State = "bad") -> Check:
    """A check that says what an error says, its advice apart."""
    advice, error_text = error.fix, str(error)
    if advice:
        error_text = error_text.removesuffix(f" {advice.rstrip('.')}.")
    return Check(state, subject, error_text.rstrip("."), advice)


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
