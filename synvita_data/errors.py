"""Errors that say where, what was found, what was expected and what to do.

Every error a user can cause is a `SynvitaError`; the command line prints it without a traceback and
exits with status 2, and long jobs write it into `quarantine.jsonl` and go on.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

# What values of another form raise where they are read: a key that is missing, a list in place of a text.
OTHER_FORM = (ValueError, LookupError, TypeError, AttributeError, OverflowError)
AnyError = TypeVar("AnyError", bound="SynvitaError")


class SynvitaError(Exception):
    """A problem the user can mend.

    Args:
        problem: one sentence, without a final full stop.
        file: the file at fault.
        row: the row of that file, counted from 0 as in `triplets.csv` (the header is not a row).
        found: what was there.
        expected: what should have been there.
        fix: what the user can do about it.
    """

    reason: str | None = None  # the class that a record of an earlier run names

    def __init__(
        self,
        problem: str,
        *,
        file: str | Path | None = None,
        row: int | str | None = None,
        found: Any = None,
        expected: Any = None,
        fix: str | None = None,
    ) -> None:
        self.problem = problem
        self.file = None if file is None else str(file)
        self.row = row
        self.found = None if found is None else _short(found)
        self.expected = None if expected is None else _short(expected)
        self.fix = fix
        super().__init__(str(self))

    def __str__(self) -> str:
        row = str(self.row) if str(self.row).startswith("line ") else f"row {self.row}"
        places = (self.file, None if self.row is None else row)
        place = ", ".join(part for part in places if part is not None)
        problem = _sentence(self.problem)
        text = f"{place}: {problem}" if place else problem
        if self.found is not None:
            text += f" Found: {_sentence(self.found)}"
        if self.expected is not None:
            text += f" Expected: {_sentence(self.expected)}"
        if self.fix:
            text += f" {_sentence(self.fix)}"
        return text

    def at(self, file: str | Path | None, row: int | str | None = None) -> Self:
        """This error, said of a file and its row; what it already names stays.

        Args:
            file: the file at fault.
            row: the row of that file, counted from 0.
        """
        self.file = self.file if self.file is not None or file is None else str(file)
        self.row = row if self.row is None else self.row
        self.args = (str(self),)
        return self

    @classmethod
    def from_record(cls, record: Mapping[str, Any], **known: Any) -> Self:
        """The error that a quarantine file keeps; its own record has the reason of then.

        Args:
            record: what `to_record` gave.
            known: what replaces the record's, such as another `file`.
        """
        facts = {key: record.get(key) for key in ("file", "row", "found", "expected", "fix")} | known
        facts["fix"] = None if facts["fix"] is None else str(facts["fix"])
        error = cls(str(record.get("problem", "the reason was not kept")), **facts)
        error.reason = str(record.get("reason", "Error"))
        return error

    def recast(self, kind: "type[AnyError]", **changed: Any) -> "AnyError":
        """The same error as one of another class.

        Args:
            kind: the class.
            changed: what else it says: `expected`, `fix`, ….
        """
        said = {name: getattr(self, name) for name in ("file", "row", "found", "expected", "fix")}
        return kind(self.problem, **(said | changed))

    def __reduce__(self) -> Any:  # survives the trip back from a worker process
        return _rebuild, (type(self), self.__dict__)

    def to_record(self) -> dict[str, Any]:
        """JSON-ready form for quarantine files: `reason` (class name), `problem` and what is known."""
        record = {"reason": self.reason or type(self).__name__, "problem": self.problem}
        for key in ("file", "row", "found", "expected", "fix"):
            value = getattr(self, key)
            if value is not None:
                record[key] = value
        return record


class SchemaError(SynvitaError):
    """A table lacks a column, or a cell does not have the form the schema asks for."""


class CaptionError(SynvitaError):
    """A caption is empty, or its character spans do not fit it."""


class TokenizerError(SynvitaError):
    """A tokenizer has no character offsets, or cuts what it is given."""


class ContextError(SynvitaError):
    """A prompt has more tokens than the model's context."""


class ScoreError(SynvitaError):
    """A score is missing, not a number, out of range, or belongs to another caption."""


class UnsafePathError(SynvitaError):
    """A path from a data file would leave the folder it must stay in."""


class VideoError(SynvitaError):
    """A video file cannot be used; the subclasses below say why."""


class MissingVideoError(VideoError):
    """The file does not exist or cannot be read, or a dataset row holds neither bytes nor path."""


class NotAVideoError(VideoError):
    """The content is not a video container this package reads: empty, another kind of file, or headers destroyed."""


class TruncatedVideoError(VideoError):
    """The file ends before the data that its own headers announce."""


class CorruptVideoError(VideoError):
    """The container is whole but its packets do not decode without errors."""


class NoVideoStreamError(VideoError):
    """A media file without a video stream (audio only; cover art is not a video)."""


class NoFramesError(VideoError):
    """No frame to give: a stream without frames, a window [start, end) without frames, an index out of range."""


class VideoTooLargeError(VideoError):
    """The video, or what was asked of it, exceeds `Limits`."""


class MissingBackendError(VideoError):
    """The decoder asked for is not installed or finds no FFmpeg."""


class BackendError(VideoError):
    """An optional backend fails on a file that the default one opens, or counts its frames differently."""


class FramePolicyError(VideoError):
    """A `FramePolicy` that asks for something impossible or contradictory."""


class EncodeError(VideoError):
    """Pixels, frame rate or size that cannot be encoded."""


class StoreError(SynvitaError):
    """The store of a long job is damaged or used in a way it cannot honour."""


class EngineError(SynvitaError):
    """The workers of a long job cannot be started as asked, or one of them broke."""


class SourceError(SynvitaError):
    """A SPEC of synthetic videos, or what it points to, is not usable."""


class HubError(SynvitaError):
    """The Hugging Face Hub refused, or holds something that must not be overwritten."""


def _sentence(text: str) -> str:
    """`text` with one mark at its end; messages of libraries often bring their own."""
    text = text.rstrip()
    return text if text.endswith(("?", "!", "…")) else f"{text.rstrip('.')}."


@contextlib.contextmanager
def located(file: str | Path | None, row: int | str | None = None) -> Iterator[None]:
    """Errors raised within name this file and row, unless they name their own."""
    try:
        yield
    except SynvitaError as error:
        error.at(file, row)
        raise


@contextlib.contextmanager
def parsing(
    problem: str, *, file: str | Path | None = None, expected: str | None = None, fix: str | None = None
) -> Iterator[None]:
    """What values of another form raise within (see `OTHER_FORM`) as a `SchemaError`.

    Args:
        problem: one sentence, as of any `SynvitaError`.
        file: where the values come from.
        expected: the form they should have.
        fix: what the user can do.
    """
    try:
        yield
    except OTHER_FORM as error:
        found = f"{type(error).__name__}: {error}"
        raise SchemaError(problem, file=file, found=found, expected=expected, fix=fix) from error


def of_type(value: Any, *kinds: type | None) -> Any:
    """`value`, if its type is one of these and no other (so `True` is no `int`); for what is read within `parsing`.

    Raises:
        TypeError: another type.
    """
    if type(value) not in [type(None) if kind is None else kind for kind in kinds]:
        names = " or ".join("null" if kind is None else kind.__name__ for kind in kinds)
        raise TypeError(f"{_short(value, 80)} is not of type {names}")
    return value


def choose(
    value: str,
    allowed: Collection[str],
    what: str,
    *,
    error: type[SynvitaError] = SynvitaError,
    fix: str | None = None,
) -> str:
    """`value`, which must be one of the `allowed` names.

    Args:
        what: what the names are, for the message: "weighting", "task".
        error: class to raise.
        fix: what else the user can do.

    Raises:
        SynvitaError: of the class `error`; the message lists all names.
    """
    if value not in allowed:
        raise error(
            f"unknown {what}", found=repr(value), expected=f"one of {', '.join(map(str, allowed))}", fix=fix
        )
    return value


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it was raised from, or else what was being handled when it was raised, and so on."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def first_line(error: BaseException, limit: int = 300) -> str:
    """The first line of what an exception says, or its class where it says nothing."""
    text = str(error).strip() or type(error).__name__
    return _short(text.splitlines()[0], limit)


def _short(value: Any, limit: int = 300) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _rebuild(cls: type[SynvitaError], state: dict[str, Any]) -> SynvitaError:
    error = cls.__new__(cls)
    error.__dict__.update(state)
    error.args = (str(error),)
    return error
