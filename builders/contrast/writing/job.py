"""Writing and filtering contrast captions, as jobs that any engine can drive.

A request to a model is a key of the store. Requests to a writer that costs nothing share keys: they are cut into chunks at
requests that their own seed marks, so that a caption more or less changes one chunk and not all that follow.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from synvita_data.display import counted
from synvita_data.errors import EngineError, SynvitaError, choose, first_line, of_type
from synvita_data.jobs import Claim, Record, Worker, is_worker_fault, no_room, quarantine_errors, work_key

from ..base import Answer, Contrast, ContrastRequest, ContrastWriter
from ..checks import RULE, check
from .registry import CHEAP, WriterSettings, open_writer, parse_writer, ready

if TYPE_CHECKING:
    from ..filters import Verdict

# Raise it when equal requests would give other records.
JOB_VERSION = 1
# Requests of a chunk, on average, to a writer that costs nothing.
CHUNK = 512
# Rows that a filter is given at once.
FILTER_BATCH = 64


# Field of a `Verdict` -> its types in a record.
_VERDICT: Mapping[str, tuple[type | None, ...]] = {
    "kept": (bool,),
    "score": (float, int, None),
    "model": (str,),
    "revision": (str,),
    "threshold": (float, int),
    "reason": (str, None),
}


class WriterRefusal(SynvitaError):
    """A writer has no contrast caption for a request."""


def _ends_the_run(error: Exception) -> bool:
    """Whether writer or filter cannot go on; what one request cannot bear is no such error."""
    return isinstance(error, SynvitaError) or is_worker_fault(error) or no_room(error) is not None


# -- writing ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Written:
    """What a writer gave for one request, after the mechanical checks.

    Attributes:
        contrasts: that pass, the writer's best first.
        failed: (contrast caption, why it does not pass) of the others.
        refused: why the writer gave none; None where it gave any.
        raw: what a model wrote, where it refused.
    """

    contrasts: tuple[Contrast, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    refused: str | None = None
    raw: str | None = None

    @classmethod
    def of(cls, request: ContrastRequest, answer: Answer) -> "Written":
        """The answer, each of its contrast captions checked; one that stands twice counts once."""
        good: dict[str, Contrast] = {}
        failed: dict[str, str] = {}
        for contrast in answer.contrasts[: request.candidates]:
            text = contrast.neg_caption
            if (reason := check(request.caption, text, request.misalignment)) is None:
                good.setdefault(text, contrast)
            else:
                failed.setdefault(text, reason)
        refused = None if good or failed else answer.refused or "no answer"
        return cls(tuple(good.values()), tuple(failed.items()), refused, answer.raw if refused else None)

    def to_record(self) -> dict[str, Any]:
        """JSON-ready."""
        known = {"refused": self.refused, "raw": self.raw}
        return {
            "contrasts": [[c.neg_caption, c.source_phrase, c.target_phrase, c.nle] for c in self.contrasts],
            "failed": [list(each) for each in self.failed],
            **{name: value for name, value in known.items() if value is not None},
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Written":
        """What `to_record` gave; for anything else an error that `parsing` explains."""
        contrasts = tuple(
            Contrast(of_type(text, str), *(of_type(part, str, None) for part in parts))
            for text, *parts in record["contrasts"]
        )
        failed = tuple((of_type(text, str), of_type(reason, str)) for text, reason in record["failed"])
        refused, raw = (of_type(record.get(name), str, None) for name in ("refused", "raw"))
        if not (contrasts or failed) and refused is None:
            raise ValueError("neither contrast captions nor why there are none")
        return cls(contrasts, failed, refused, raw)


@dataclass(frozen=True)
class WriteJob:
    """Writing contrast captions; plain data, sent to the workers.

    Attributes:
        root: folder of the store; all workers see it under this path.
        spec: of the writer.
        settings: how it is opened.
        record: of the opened writer: what decides its answers.
        requests: what is asked, of different seeds or captions or kinds.
    """

    root: Path
    spec: str
    settings: WriterSettings
    record: Mapping[str, Any]
    requests: tuple[ContrastRequest, ...]

    @property
    def title(self) -> str:
        """For progress and reports."""
        return f"writing contrast captions with {self.record['writer']}"

    @property
    def by_one(self) -> bool:
        """Whether each request is a key of its own."""
        return parse_writer(self.spec)[0] not in CHEAP

    @cached_property
    def keyed(self) -> dict[str, tuple[ContrastRequest, ...]]:
        """Key -> the requests that are done together."""
        common = {"version": JOB_VERSION, "checks": RULE, "writer": dict(self.record)}
        return {
            work_key(**common, requests=[asdict(request) for request in chunk]): chunk
            for chunk in cut(self.requests, 1 if self.by_one else CHUNK)
        }

    def inputs(self) -> dict[str, tuple[ContrastRequest, ...]]:
        """Key -> the requests that are done together."""
        return self.keyed

    def open_worker(self, device: str | None) -> Worker:
        """A worker with its writer, which has looked whether it can work."""
        return _WriteWorker(ready(open_writer(self.spec, self.settings, device=device)), by_one=self.by_one)

    def __getstate__(self) -> dict[str, Any]:  # workers make their keys themselves
        return {name: value for name, value in self.__dict__.items() if name != "keyed"}


def cut(requests: Sequence[ContrastRequest], size: int) -> Iterator[tuple[ContrastRequest, ...]]:
    """Chunks of about `size` requests of one kind, cut behind requests whose seed says so.

    Args:
        requests: in any order; those of a kind stay in theirs.
        size: mean number of a chunk; no chunk has more than four times as many.
    """
    by_kind: dict[str, list[ContrastRequest]] = {}
    for request in requests:
        by_kind.setdefault(request.misalignment, []).append(request)
    for _, own in sorted(by_kind.items()):
        chunk: list[ContrastRequest] = []
        for request in own:
            chunk.append(request)
            if request.seed % size == 0 or len(chunk) == 4 * size:
                yield tuple(chunk)
                chunk = []
        if chunk:
            yield tuple(chunk)


class _WriteWorker:
    """Writes and checks the requests of claims.

    Args:
        writer: open, and ready.
        by_one: a claim is of one request; what a model refuses is quarantined, so that it can be asked again.
    """

    def __init__(self, writer: ContrastWriter, *, by_one: bool) -> None:
        self._writer, self._by_one = writer, by_one
        self._owed: dict[str, float] = {}  # used, and in no result yet

    def run(self, held: Iterator[tuple[Claim, tuple[ContrastRequest, ...]]]) -> None:
        """End every claim: its answers are committed, or it is quarantined."""
        batch: list[tuple[Claim, tuple[ContrastRequest, ...]]] = []
        for each in held:
            batch.append(each)
            if sum(len(requests) for _, requests in batch) >= self._writer.batch_size:
                self._write(batch)
                batch = []
        if batch:
            self._write(batch)

    def close(self) -> None:
        """Give the writer's model and connections back."""
        self._writer.close()

    def _write(self, batch: Sequence[tuple[Claim, tuple[ContrastRequest, ...]]]) -> None:
        flat = [request for _, requests in batch for request in requests]
        before = _usage(self._writer)
        try:
            answers = self._answers(flat)
        except Exception as error:
            if _ends_the_run(error):
                raise  # the writer cannot go on
            if len(batch) > 1:  # find the one at fault
                for each in batch:
                    self._write([each])
                return
            if len(flat) == 1:
                with quarantine_errors(batch[0][0]):
                    raise
                return
            answers = [self._answer_alone(request) for request in flat]
        # What a batch has used stands in its first result that there is: it cannot be told of one request.
        self._owed = _sum(self._owed, _difference(_usage(self._writer), before))
        rest = iter(answers)
        for claim, requests in batch:
            written = [Written.of(request, next(rest)) for request in requests]
            with quarantine_errors(claim):
                if self._by_one and written[0].refused is not None:
                    raise WriterRefusal(written[0].refused, found=written[0].raw)
                fields: dict[str, Any] = {"answers": [each.to_record() for each in written]}
                if self._owed:
                    fields["usage"] = self._owed
                claim.commit(fields)
                self._owed = {}

    def _answers(self, requests: Sequence[ContrastRequest]) -> list[Answer]:
        answers = self._writer.write(requests)
        if len(answers) != len(requests):
            raise EngineError(
                "a writer gave another number of answers than it was asked for",
                found=f"{len(answers)} of {self._writer.name}",
                expected=str(len(requests)),
            )
        return answers

    def _answer_alone(self, request: ContrastRequest) -> Answer:
        """The answer to a request of a chunk in which the writer met one that it cannot bear."""
        try:
            return self._answers([request])[0]
        except Exception as error:
            if _ends_the_run(error):
                raise
            return Answer(refused=f"the writer failed: {type(error).__name__}: {first_line(error)}")


def _usage(writer: ContrastWriter) -> dict[str, float]:
    """What a writer has used so far, as far as it counts; without the cost, for prices change."""
    usage = getattr(writer, "usage", None)
    found = {} if usage is None else usage()
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and name != "cost"
    }


def _sum(some: Mapping[str, float], more: Mapping[str, float]) -> dict[str, float]:
    return {name: some.get(name, 0) + more.get(name, 0) for name in sorted({*some, *more})}


def _difference(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    return {
        name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)
    }


def read_answers(record: Record, count: int) -> tuple[list[Written], dict[str, float]]:
    """The answers of a result, in the order of its `count` requests, and what they used.

    Raises:
        SchemaError: it is not a result of writing.
    """
    with record.expecting(f"answers to {counted(count, 'requests')}, each with contrasts and failed"):
        answers = [Written.from_record(each) for each in of_type(record.fields["answers"], list)]
        if len(answers) != count:
            raise ValueError(counted(len(answers), "answers"))
        usage = of_type(record.fields.get("usage", {}), dict)
        return answers, {name: of_type(value, int, float) for name, value in usage.items()}


# -- filtering --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FilterRow:
    """What a filter looks at.

    Attributes:
        caption: t^r.
        neg_caption: t^s; None where the filter looks at the caption and its video only.
        source, video_id, videopath, start, end: the video, for a filter that looks at it.
        sha256: of the video's file.
    """

    caption: str
    neg_caption: str | None = None
    source: str | None = None
    video_id: str | None = None
    videopath: str | None = None
    youtube_key: str | None = None
    start: float | None = None
    end: float | None = None
    sha256: str | None = None


class _Filter(Protocol):
    def record(self) -> Mapping[str, Any]: ...

    def check(self, rows: Any) -> "list[Verdict]": ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class FilterJob:
    """Asking a filter's model about rows; plain data, sent to the workers.

    Attributes:
        root: folder of the store.
        name: `nli` or `frame-vqa`.
        model: Hub id or folder.
        record: of the opened filter: what decides its verdicts.
        rows: what it looks at, of different contents.
        real_root: folder of real videos, for `frame-vqa`.
        dtype: of the weights; None leaves it to the filter.
    """

    root: Path
    name: str
    model: str
    record: Mapping[str, Any]
    rows: tuple[FilterRow, ...] = field(repr=False)
    real_root: Path | None = None
    dtype: str | None = None

    @property
    def title(self) -> str:
        """For progress and reports."""
        return f"filtering by {self.name}"

    @cached_property
    def keyed(self) -> dict[str, FilterRow]:
        """Key -> row."""
        common = {"version": JOB_VERSION, "filter": self.name, "record": dict(self.record)}
        return {work_key(**common, row=asdict(row)): row for row in self.rows}

    def inputs(self) -> dict[str, FilterRow]:
        """Key -> row."""
        return self.keyed

    def open_worker(self, device: str | None) -> Worker:
        """A worker with the filter's model."""
        opened = open_filter(self.name, self.model, real_root=self.real_root, dtype=self.dtype, device=device)
        if self.name == "nli":
            opened.check([("a dog", "a cat")])  # a model that cannot be loaded is one error, before the rows
        return _FilterWorker(self.name, opened)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "keyed"}


def read_verdict(record: Record) -> dict[str, Any]:
    """What a filter said of a row: the fields of a `Verdict`.

    Raises:
        SchemaError: it is not a result of filtering.
    """
    with record.expecting(f"a verdict with {', '.join(_VERDICT)}"):
        verdict = record.fields["verdict"]
        return {name: of_type(verdict[name], *kinds) for name, kinds in _VERDICT.items()}


def open_filter(
    name: str,
    model: str,
    *,
    real_root: Path | None = None,
    dtype: str | None = None,
    device: str | None = None,
) -> _Filter:
    """A filter by its name: `nli`, or `frame-vqa` with the folder of real videos.

    Raises:
        SynvitaError: an unknown filter, no folder of videos, a model that is not of its kind.
    """
    from ..filters import FrameVqaFilter, NliFilter

    choose(name, ("nli", "frame-vqa"), "filter")
    if name == "nli":
        return NliFilter(model, dtype=dtype, device=device)
    if real_root is None:
        raise SynvitaError("--frame-vqa looks at real videos", fix="Say where they lie with --real-root DIR")
    return FrameVqaFilter(model, real_root, dtype=dtype, device=device)


class _FilterWorker:
    """Asks a filter about the rows of claims.

    Args:
        name: of the filter.
        opened: the filter.
    """

    def __init__(self, name: str, opened: _Filter) -> None:
        self._name, self._filter = name, opened

    def run(self, held: Iterator[tuple[Claim, FilterRow]]) -> None:
        """End every claim with the filter's verdict."""
        batch: list[tuple[Claim, FilterRow]] = []
        for each in held:
            batch.append(each)
            if len(batch) == FILTER_BATCH:
                self._check(batch)
                batch = []
        if batch:
            self._check(batch)

    def close(self) -> None:
        """Give the model back."""
        self._filter.close()

    def _check(self, batch: Sequence[tuple[Claim, FilterRow]]) -> None:
        rows = [row for _, row in batch]
        asked = [(row.caption, row.neg_caption) for row in rows] if self._name == "nli" else rows
        try:
            verdicts: list[Verdict] = self._filter.check(asked)
        except Exception as error:
            if _ends_the_run(error):
                raise  # what one row cannot bear is its verdict
            if len(batch) > 1:  # find the one at fault
                for each in batch:
                    self._check([each])
                return
            with quarantine_errors(batch[0][0]):
                raise
            return
        for (claim, _), verdict in zip(batch, verdicts, strict=True):
            with quarantine_errors(claim):
                claim.commit({"verdict": asdict(verdict)})
