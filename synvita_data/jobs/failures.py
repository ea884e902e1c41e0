"""Classes of failures: an error may be the key's, the worker's, or the disk's."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StoreError, SynvitaError, causes
from ..files import no_room
from .claim import Claim


@contextmanager
def quarantine_errors(claim: Claim) -> Iterator[Claim]:
    """The usual way for a worker to end a claim: the body commits, what is wrong with the key is quarantined.

        for claim, request in claims:
            with quarantine_errors(claim):
                make_video(request, claim.path("video.mp4"))
                claim.commit({"frames": 49})

    Any `Exception` but the failures of worker and disk (see `is_worker_fault`, `no_room`) quarantines the key with
    its reason and does not leave the `with`. Those failures leave it, and the key is released.
    """
    with claim:
        try:
            yield claim
        except Exception as error:
            if is_worker_fault(error) or no_room(error) or claim.outcome != "open":
                raise
            claim.quarantine(error)


def is_worker_fault(error: BaseException) -> bool:
    """Whether `error` says that the worker itself is broken: no memory, a lost accelerator.

    The next key would fail too, or this one might pass in a fresh worker; so it must not be quarantined at once.
    """
    torch = sys.modules.get("torch")
    kinds: list[type[BaseException]] = [MemoryError]
    for name in ("OutOfMemoryError", "AcceleratorError"):
        kind = getattr(torch, name, None)
        if isinstance(kind, type) and issubclass(kind, BaseException):
            kinds.append(kind)
    return any(
        isinstance(cause, tuple(kinds))
        or (isinstance(cause, RuntimeError) and str(cause).startswith(("CUDA error", "NCCL error")))
        for cause in causes(error)
    )


def disk_error(error: BaseException, root: Path) -> SynvitaError | None:
    """`error` as one that names the file that cannot be written; None where the disk is not the cause."""
    cause = no_room(error)
    if cause is None and isinstance(error, StoreError):
        # Where the store may not be written to, no other worker may either.
        cause = next((each for each in causes(error) if isinstance(each, PermissionError)), None)
    if cause is None:
        return None
    if isinstance(error, SynvitaError) and error.file is not None:
        return error
    return StoreError(
        f"nothing can be written: {cause.strerror or cause}",
        file=cause.filename2 or cause.filename or root,
        fix="Free space or mend the file system, and run again; nothing that was done is lost",
    )


def one_line(error: BaseException) -> str:
    """Class, text and place of an error, for reports."""
    text = " ".join(str(error).split()) or "no message"
    place = ""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None and not isinstance(error, SynvitaError):
        code = trace.tb_frame.f_code
        place = f" ({Path(code.co_filename).name}, line {trace.tb_lineno}, in {code.co_name})"
    return f"{type(error).__name__}: {text[:500]}{place}"
