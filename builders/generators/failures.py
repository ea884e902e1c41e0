"""What the store keeps of requests that failed: the reason, and which rows they are of."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from synvita_data.errors import EngineError, SynvitaError
from synvita_data.hub.places import without_own_places
from synvita_data.jobs import Claim, is_worker_fault, no_room

from .recipe import Request

LONGEST = 2000
PROGRAM_FAILED = "the program failed"


@contextmanager
def settling_requests(claim: Claim, requests: Sequence[Request]) -> Iterator[None]:
    """Quarantine the claim, with its rows, for what goes wrong inside the `with`.

    Faults of the worker (any EngineError, memory, a lost GPU) and of the disk leave the `with`, and the claim
    goes back.
    """
    with claim:
        try:
            yield
        except Exception as error:
            if is_the_workers(error) or claim.outcome != "open":
                raise
            claim.quarantine(failure(requests, error))


def is_the_workers(error: Exception) -> bool:
    """Whether worker or disk are at fault, so that no request may be blamed."""
    return isinstance(error, EngineError) or is_worker_fault(error) or no_room(error) is not None


def failure(requests: Sequence[Request], error: BaseException) -> dict[str, Any]:
    """JSON-ready: the error, and the rows it is about."""
    first = requests[0]
    if isinstance(error, SynvitaError):
        record = error.to_record()
    else:
        text = " ".join(str(error).split())[:LONGEST] or "no message"
        record = {"reason": type(error).__name__, "problem": text}
    record |= dict(getattr(error, "details", {}))
    if len(requests) == 1:
        record |= {"id": first.pair_id, "sample": first.sample}
    else:
        record |= {"videos": [request.name for request in requests]}
    if first.file is not None:
        record.setdefault("file", first.file)
    if first.row is not None:
        record.setdefault("row", first.row)
    return record


def public_failure(record: Mapping[str, Any]) -> dict[str, Any]:
    """A failure as it stands beside the videos, for whoever gets them: without what a program wrote, nor places here."""
    shown = {key: value for key, value in record.items() if key != "stderr"}
    if "stderr" in record:
        if record.get("problem") == PROGRAM_FAILED and "found" in shown:
            # Earlier versions kept the last line of standard error here.
            shown["found"] = str(shown["found"]).partition(": ")[0]
        shown.setdefault("fix", "What it wrote is kept in the work folder, which is not published")
    return without_own_places(shown)


class ProgramError(SynvitaError):
    """An external program failed; `details` are kept beside the reason."""

    def __init__(self, problem: str, *, details: Mapping[str, Any], **known: Any) -> None:
        super().__init__(problem, **known)
        self.details = dict(details)
