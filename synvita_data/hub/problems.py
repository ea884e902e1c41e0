"""What can go wrong between us and the Hub, as one line that says what to do: the one place that knows.

huggingface_hub, its transport, transformers, diffusers and `datasets` each wrap the same few failures in errors of
their own. `hub_problem` looks through the chain of causes for the one that tells something: the Hub's answer (gated,
renamed, gone, too many requests, down), a connection that broke or gave no answer, offline mode, a file of another size
than announced, a disk without space. `downloading` does so around a download, and compares the SHA-256 of new large
files with what the Hub announced, which huggingface_hub does not: a file of the right size is whole for it.

The table of `docs/hub.md` says what users see. Nothing is imported from huggingface_hub before something fails or is
downloaded: it reads HF_ENDPOINT at import.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import HubError, causes, first_line
from ..files import NO_ROOM, sha256_file
from .reach import bound_waits, offline, passes, transport

FOLDERS = {"model": "", "dataset": "datasets/", "space": "spaces/"}
_RESOLVED = re.compile(r"/resolve/[^/]+/(.+)")
_REPOSITORY = re.compile(r"/(?:api/\w+/|datasets/|spaces/)?([^/]+/[^/]+)")
_DIGEST = re.compile("[0-9a-f]{64}")
_SECRET = re.compile(r"(?<=Bearer )[^\s'\"]+|(?<=://)[^/\s@]+(?=@)")
_SIZE_DIFFERS = "Consistency check failed"  # which is how huggingface_hub says it


class HubUnreachableError(HubError):
    """The Hub cannot be asked now: offline mode, no network, a connection that broke, or a Hub that is down or busy."""


@dataclass(frozen=True)
class HubRequest:
    """What was asked of the Hub, for the message.

    Attributes:
        name: `owner/name` of the repository.
        problem: what cannot be done, as in "the model cannot be read".
        missing: the same where there is no such repository, or it is not cached; None for `problem`.
        expected: what the name should be, said with `missing` and where the Hub cannot be asked for it.
        kind: `model`, `dataset` or `space`.
        revision: that was asked for.
        again: what helps where the same may work later; None for running it again.
        writes: whether the token must be one that may write.
        has_token: whether one was sent; None where huggingface_hub's own is used.
    """

    name: str
    problem: str = "the model cannot be read"
    missing: str | None = None
    expected: str | None = None
    kind: str = "model"
    revision: str | None = None
    again: str | None = None
    writes: bool = False
    has_token: bool | None = None

    @property
    def page(self) -> str:
        """Address of the repository's page."""
        return f"{_endpoint()}/{FOLDERS[self.kind]}{self.name}"

    @property
    def sends_token(self) -> bool:
        from huggingface_hub import get_token

        return bool(get_token()) if self.has_token is None else self.has_token

    def place(self, file: str | None = None) -> str:
        """`owner/name@revision/file` as far as known."""
        at = "" if self.revision is None else f"@{self.revision}"
        return f"{self.name}{at}" + ("" if file is None else f"/{file}")


def telling_cause(error: BaseException) -> BaseException | None:
    """The first error in the chain of causes that says something about Hub, connection or disk; None if none does.

    That an optional file is not in a repository says nothing about what failed while it was looked for.
    """
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    telling = (OfflineModeIsEnabled, HfHubHTTPError, transport().TransportError)
    last: BaseException | None = None
    for link in causes(error):
        if isinstance(link, LocalEntryNotFoundError):
            last = link  # what it was raised from tells more
        elif isinstance(link, EntryNotFoundError):
            if link is error or error.__cause__ is link:
                return link
        elif (
            isinstance(link, telling)
            or _token_is_no_header(link)
            or _is_of_datasets(link)
            or (
                isinstance(link, OSError)
                and (link.errno in NO_ROOM or isinstance(link, PermissionError) or _SIZE_DIFFERS in str(link))
            )
        ):
            return link
    return last


def hub_problem(error: BaseException, request: HubRequest) -> HubError | None:
    """What a failure means and what to do about it; None for one that has nothing to do with Hub, network or disk.

    Args:
        error: whatever was raised while the Hub was used, by whichever library.
        request: what was asked.
    """
    if isinstance(error, HubError):
        return error
    problem = _explained(error, request)
    if problem is not None and problem.found is not None:
        problem.found = _without_secrets(problem.found)
        problem.args = (str(problem),)
    return problem


def _explained(error: BaseException, request: HubRequest) -> HubError | None:
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    cause = telling_cause(error)
    again = request.again or "Run the same again"
    if cause is None:
        return None
    if _token_is_no_header(cause):
        return HubError(
            f"{request.problem}: the token holds characters that none has",
            file=request.place(),
            expected="letters, digits and '_' behind 'hf_'",
            fix=f"Copy it again from {_endpoint()}/settings/tokens, and set HF_TOKEN or run `hf auth login`",
        )
    match cause:
        case HfHubHTTPError():
            return _answer(error, cause, request)
        case OfflineModeIsEnabled() | LocalEntryNotFoundError():
            return not_cached(error, request)
        case ConnectionError() if _is_of_datasets(cause) and offline():
            return not_cached(error, request)
        case OSError() if cause.errno in (*NO_ROOM, errno.EACCES, errno.EPERM):
            return _disk(cause, request)
        case OSError() if _SIZE_DIFFERS in str(cause):
            return HubError(
                f"{request.problem}: a file came in another size than the Hub announces",
                file=request.place(),
                found=(first_line(cause).partition(": ")[2] or first_line(cause)).rstrip("."),
                fix=f"{again}; if it stays so, download it again by another way or tell the repository's owner",
            )
    if isinstance(cause, transport().TimeoutException):
        return HubUnreachableError(
            f"{request.problem}: no answer from the Hub in time",
            file=request.place(file_of(cause)),
            found=f"{type(cause).__name__}: {first_line(cause)}",
            expected=request.expected,
            fix=f"{again}; HF_HUB_DOWNLOAD_TIMEOUT=60 and HF_HUB_ETAG_TIMEOUT=60 wait longer",
        )
    refused = isinstance(cause, transport().ConnectError) or _is_of_datasets(cause)
    what = "cannot reach the Hub at {}" if refused else "the connection to the Hub at {} broke"
    return HubUnreachableError(
        f"{request.problem}: {what.format(_endpoint())}",
        file=request.place(file_of(cause)),
        found=_around(error, cause),
        expected=request.expected,
        fix=request.again or "Check the network (and HF_ENDPOINT, if it is set), and run the same again",
    )


def _token_is_no_header(error: BaseException) -> bool:
    """Whether a request was not sent for what stands in its token, which these errors would show."""
    if isinstance(error, UnicodeEncodeError):
        return error.object.startswith("Bearer ")
    return isinstance(error, transport().LocalProtocolError) and "Bearer " in str(error)


def _is_of_datasets(error: BaseException) -> bool:
    """Whether `datasets` says that it could not ask the Hub; it hides what its request raised."""
    return type(error) is ConnectionError and error.errno is None and "Couldn't reach" in str(error)


def _endpoint() -> str:
    from huggingface_hub import constants

    return _without_secrets(constants.ENDPOINT)


def _without_secrets(text: str) -> str:
    """The text without the token, which libraries show where it is no valid header, and without names in addresses."""
    from huggingface_hub import get_token

    if token := get_token():
        text = text.replace(token, "…")
    return _SECRET.sub("…", text)


def _disk(cause: OSError, request: HubRequest) -> HubError | None:
    """The error for a file that cannot be written; None for one that may not be read and is not of the cache."""
    from huggingface_hub import constants

    cached = str(cause.filename or "").startswith((constants.HF_HOME, constants.HF_HUB_CACHE))
    place = ", or set HF_HOME to a folder {}" if cached or not cause.filename else ""
    if cause.errno in NO_ROOM:
        return HubError(
            f"{request.problem}: no space left on the disk, or a limit of it is reached",
            file=cause.filename or request.place(),
            found=cause.strerror,
            fix="Free some space" + place.format("on a larger disk"),
        )
    if not cached:
        return None
    return HubError(
        f"{request.problem}: {cause.strerror}",
        file=cause.filename,
        fix="Mend the rights of the cache" + place.format("that you may write"),
    )


def _answer(error: BaseException, cause: Any, request: HubRequest) -> HubError:
    """The error for an answer of the Hub that is not a success."""
    from huggingface_hub.errors import (
        DisabledRepoError,
        GatedRepoError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    status, file = cause.response.status_code, file_of(cause)
    found = " ".join((cause.server_message or first_line(cause)).split()).rstrip(".")
    if request.writes and error is not cause:  # huggingface_hub says there which file it was
        found = f"{first_line(error)} {found}"
    log_in = "log in with `hf auth login` or set HF_TOKEN"
    tokens = f"{_endpoint()}/settings/tokens"
    new_token = f"Make one at {tokens} and set HF_TOKEN, or run `hf auth login`"
    problem, expected, fix = request.problem, None, None
    if isinstance(cause, GatedRepoError):
        why = "the repository is gated"
        if request.sends_token:
            why += ", and the account of your token was not let in"
        fix = f"Accept the conditions at {request.page}" + ("" if request.sends_token else f", and {log_in}")
    elif isinstance(cause, RepositoryNotFoundError):
        problem = request.missing or problem
        why, expected = "it does not exist, or the token may not see it", request.expected
        fix = "Check its name" + ("" if request.sends_token else f"; for a private one {log_in}")
    elif isinstance(cause, RevisionNotFoundError):
        why = "there is no such revision"
        fix = f"Choose one of {request.page}/commits/main, a tag, or none"
    elif isinstance(cause, RemoteEntryNotFoundError):
        why = "the repository has no such file"
        fix = f"Look at its files: {request.page}/tree/{request.revision or 'main'}"
    elif isinstance(cause, DisabledRepoError):
        why, fix = "the Hub has disabled the repository", f"Read why at {request.page}"
    elif status == 401:
        why, fix = "the Hub does not accept the token", new_token
        expected = "a valid token" + (" with write access" if request.writes else "")
    elif status == 403 and request.writes:
        why, expected = (
            "the token has no right to do this",
            f"a token with write access to {request.name.split('/')[0]}",
        )
        fix = f"Use a repository of your own, or change the token's rights at {tokens}"
    elif status == 403:
        why = "the Hub refuses it"
        fix = f"Look at {request.page} with the account of your token, and at the token's rights at {tokens}"
    elif status == 412:
        why, fix = (
            "somebody else changed the repository meanwhile",
            "Look at what changed, then run the same again",
        )
    elif status == 429:
        wait = cause.response.headers.get("Retry-After", "")
        why = (
            f"the Hub asks to wait {wait} s"
            if wait.isdecimal()
            else "the Hub asks to wait: too many requests"
        )
        fix = f"Wait{f' {wait} s' if wait.isdecimal() else ' a few minutes'}. {request.again or 'Run the same again'}"
        if not request.sends_token:
            fix += f"; who has an account may ask more often: {log_in}"
    else:
        why = f"the Hub answered {status}"
        fix = (request.again or "Wait a little and try again") if passes(cause) else None
    kind = HubUnreachableError if passes(cause) else HubError
    return kind(f"{problem}: {why}", file=request.place(file), found=found, expected=expected, fix=fix)


def not_cached(error: BaseException, request: HubRequest) -> HubError:
    """The error of offline mode: nothing may be asked, and not all that is needed is in the cache."""
    if not offline():  # an answer without what every answer of the Hub has, as of a proxy
        return HubUnreachableError(
            f"{request.problem}: this is no answer of the Hub",
            file=request.place(),
            found=first_line(error),
            fix="Check the network: a proxy may have answered (and HF_ENDPOINT, if it is set)",
        )
    from huggingface_hub.errors import LocalEntryNotFoundError

    at = "" if request.revision is None else f" --revision {request.revision}"
    kind = "" if request.kind == "model" else f" --repo-type {request.kind}"
    # IncompleteSnapshotError, which older versions do not have, knows where the part is.
    partly = any(
        isinstance(link, LocalEntryNotFoundError) and hasattr(link, "snapshot_path") for link in causes(error)
    )
    return HubUnreachableError(
        f"{request.missing or request.problem}: "
        f"{'only a part of it is' if partly else 'it is not'} in the cache, and the Hub cannot be used in offline mode",
        file=request.place(),
        found="HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set",
        expected=request.expected,
        fix=f"Unset it, or run `hf download {request.name}{kind}{at}` where there is a network",
    )


def file_of(cause: BaseException) -> str | None:
    """The file that a request was about, by its address; None where it was about none."""
    found = _RESOLVED.search(_path_of(cause))
    return None if found is None else unquote(found[1])


def repository_of(error: BaseException) -> str:
    """`owner/name` of the repository that a failed request was about; "the Hub" where that is not known."""
    paths = (_REPOSITORY.match(_path_of(cause)) for cause in causes(error))
    return next((found[1] for found in paths if found), "the Hub")


def _path_of(cause: Any) -> str:
    """The path of the address that a request was sent to; "" for what is no error of a request."""
    try:
        request = cause.response.request if hasattr(cause, "response") else cause.request
        return urlsplit(str(request.url)).path
    except (AttributeError, RuntimeError):  # no error of a request, or of one that was never made
        return ""


def _around(error: BaseException, cause: BaseException) -> str:
    """What a connection error says, with what was wrapped around it, which may name a file."""
    said = f"{type(cause).__name__}: {first_line(cause)}" if not str(cause).strip() else first_line(cause)
    outer = first_line(error)
    return (said if error is cause or outer == said else f"{outer} {said}").rstrip(".")


# Downloads ---------------------------------------------------------------------------------------


@contextmanager
def hub_errors(request: HubRequest) -> Iterator[None]:
    """Around whatever uses the Hub: its failures become a `HubError`; other errors go through as they are.

    Raises:
        HubError: see `hub_problem`.
    """
    bound_waits()
    try:
        yield
    except Exception as error:
        problem = hub_problem(error, request)
        if problem is None or problem is error:
            raise
        raise problem from error


@contextmanager
def downloading(request: HubRequest) -> Iterator[None]:
    """`hub_errors` around a download into the cache, which also looks whether new large files are what the Hub announced.

    Raises:
        HubError: see `hub_problem`; or a new file has another SHA-256, and was removed from the cache.
    """
    before = _large_blobs(request)
    with hub_errors(request):
        try:
            yield
        except Exception:
            _check_new(request, before)  # a file that is not whole may be why
            raise
        _check_new(request, before)


def _large_blobs(request: HubRequest) -> set[Path]:
    """Files of a repository in the cache that are called by their SHA-256, as those of large file storage are."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    if Path(request.name).is_dir() or offline():
        return set()
    try:
        name = repo_folder_name(repo_id=request.name, repo_type=request.kind)
    except ValueError:  # not a name of the Hub, which the download itself says
        return set()
    folder = Path(constants.HF_HUB_CACHE).resolve() / name
    blobs = folder / "blobs"
    return {path for path in blobs.glob("*") if _DIGEST.fullmatch(path.name)}


def _check_new(request: HubRequest, before: set[Path]) -> None:
    """Compare the large files that came since `before` with their names, and take away all that are not whole."""
    broken = {
        path: found for path in _large_blobs(request) - before if (found := sha256_file(path)) != path.name
    }
    if not broken:
        return
    # A snapshot points at its files by symlinks.
    snapshots = next(iter(broken)).parent.parent / "snapshots"
    links = [link for link in snapshots.glob("**/*") if link.is_symlink() and link.resolve() in broken]
    links.sort()
    first = links[0].resolve() if links else min(broken)
    name = "/".join(links[0].relative_to(snapshots).parts[1:]) if links else None
    for path in (*links, *broken):
        path.unlink(missing_ok=True)
    raise HubError(
        f"{request.problem}: {'a file is' if len(broken) == 1 else f'{len(broken)} files are'} not what the Hub announces",
        file=request.place(name),
        found=f"sha256 {broken[first]}",
        expected=first.name,
        fix="It was taken out of the cache: run the same again to download it again",
    )
