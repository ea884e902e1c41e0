"""What `huggingface_hub` and its transport raise, as `HubError`s that say what to do."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub import constants
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..errors import HubError

# What this huggingface_hub sends its requests with, by the base of its errors: httpx2, or httpx before version 2.
http_library: Any = importlib.import_module(HfHubHTTPError.__mro__[1].__module__.partition(".")[0])


class HubUnreachableError(HubError):
    """There is no way to the Hub now: offline mode, no network, or a connection that broke."""


@contextmanager
def hub_errors(
    action: str, repo_id: str, *, has_token: bool = True, resumable: bool = False
) -> Iterator[None]:
    """Turn what `huggingface_hub` and its transport raise into `HubError`s; the cause is kept.

    Args:
        action: what was tried, as in "cannot <action>".
        repo_id: whose repository, for the message.
        has_token: whether a token was sent, which changes the advice.
        resumable: whether running the same again continues; said in the message.
    """
    try:
        yield
    except (
        OfflineModeIsEnabled,
        HFValidationError,
        http_library.HTTPError,  # the base of HfHubHTTPError too
        OSError,  # Xet's errors; a local file that vanished
        RuntimeError,  # huggingface_hub wraps the failure of a single file
        ValueError,  # metadata of the card that the Hub refuses
    ) as error:
        raise _translate(error, action, repo_id, has_token, resumable) from error


def _translate(error: Exception, action: str, repo_id: str, has_token: bool, resumable: bool) -> HubError:
    cause = root_cause(error)
    problem, again = f"cannot {action}", "Run the same again: it continues where it stopped"
    settings = f"{constants.ENDPOINT}/settings/tokens"
    # What huggingface_hub wrapped around the cause names the file at fault.
    context = "" if error is cause else f"{str(error).strip().splitlines()[0]} " if str(error).strip() else ""
    if isinstance(cause, OfflineModeIsEnabled):
        return offline()
    if isinstance(cause, http_library.TransportError):
        return HubUnreachableError(
            f"{problem}: no connection to {constants.ENDPOINT}, or it broke",
            file=repo_id,
            found=context + (str(cause) or type(cause).__name__),
            fix=again if resumable else "Check the network (and HF_ENDPOINT, if it is set)",
        )
    if isinstance(cause, RevisionNotFoundError):
        return HubError(f"{problem}: no such revision", file=repo_id, found=_said(cause))
    if isinstance(cause, RepositoryNotFoundError):
        return HubError(
            f"{problem}: it does not exist, or the token may not see it",
            file=repo_id,
            fix="Check its name" + ("" if has_token else "; for a private one set HF_TOKEN"),
        )
    if not isinstance(cause, HfHubHTTPError):
        return HubError(problem, file=repo_id, found=str(error), fix=again if resumable else None)
    status = cause.response.status_code
    if status == 401:
        return HubError(
            f"{problem}: the Hub does not accept the token",
            file=repo_id,
            found=_said(cause),
            expected="a valid token with write access",
            fix=f"Make one at {settings} and set HF_TOKEN, or run `hf auth login`",
        )
    if status == 403:
        return HubError(
            f"{problem}: the token has no right to do this",
            file=repo_id,
            found=_said(cause),
            expected=f"a token with write access to {repo_id.split('/')[0]}",
            fix=f"Use a repository of your own, or change the token's rights at {settings}",
        )
    if status == 412:
        return HubError(
            f"{problem}: somebody else changed the repository meanwhile",
            file=repo_id,
            fix="Look at what changed, then run the same again",
        )
    passing = status in (408, 429) or status >= 500
    advice = (again if resumable else "Wait a little and try again") if passing else None
    return HubError(
        f"{problem}: the Hub answered {status}", file=repo_id, found=context + _said(cause), fix=advice
    )


def root_cause(error: BaseException | None) -> BaseException | None:
    """The first error in the chain of causes that says something about the connection or the answer."""
    known = (OfflineModeIsEnabled, HfHubHTTPError, http_library.TransportError)
    link = error
    while link is not None and not isinstance(link, known):
        link = link.__cause__ or link.__context__
    return link or error


def _said(error: HfHubHTTPError) -> str:
    return error.server_message or str(error).strip().splitlines()[0]


def offline() -> HubError:
    return HubUnreachableError(
        "the Hub cannot be used in offline mode",
        found="HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set",
        fix="Unset it",
    )
