"""Whether the Hub can be asked now, how long that may take, and what it calls a repository today.

Nothing is imported from huggingface_hub before it is used: it reads HF_ENDPOINT at import.
"""

import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from ..display import get_logger
from ..shipped import SHIPPED

REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)  # owner/name
_log = get_logger(__name__)
_WRITE_TIMEOUT = 600.0  # seconds: a commit of many files is answered late


@cache
def transport() -> Any:
    """What this huggingface_hub sends its requests with, by the base of its errors: httpx2, or httpx before version 2."""
    from huggingface_hub.errors import HfHubHTTPError

    return importlib.import_module(HfHubHTTPError.__mro__[1].__module__.partition(".")[0])


def offline() -> bool:
    """Whether HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) forbids to use the network."""
    from huggingface_hub import constants

    return bool(constants.is_offline_mode())


def passes(error: Any) -> bool:
    """Whether an answer of the Hub says that it is down or busy, and not that something is wrong."""
    status: int = error.response.status_code
    return status in (408, 429) or status >= 500


@cache
def bound_waits() -> None:
    """Let no request of this process wait for ever, as huggingface_hub's do where it sets no time itself."""
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils import _http

    # Its client, or one that somebody has set, which may know a proxy; there is no public way to ask for either.
    make = getattr(_http, "_GLOBAL_CLIENT_FACTORY", None)
    if make is None:
        return

    def client() -> Any:
        made = make()
        made.event_hooks["request"].append(_bound)
        return made

    set_client_factory(client)


def _bound(request: Any) -> None:
    """Give a request that may wait for ever a time: of HF_HUB_DOWNLOAD_TIMEOUT, or ten minutes where it writes."""
    from huggingface_hub import constants

    wait = constants.HF_HUB_DOWNLOAD_TIMEOUT if request.method in ("GET", "HEAD") else _WRITE_TIMEOUT
    times = request.extensions.get("timeout", {})
    request.extensions["timeout"] = {
        key: wait if times.get(key) is None else times[key] for key in ("connect", "read", "write", "pool")
    }


def say_if_renamed(name: str, kind: str = "model", token: str | None = None) -> str:
    """The name that a repository has now; a warning, once a process, where it is another one.

    The Hub sends requests for an old name on, so both work. It is not asked in offline mode, and if it does not answer
    here: whoever needs something of it says so.

    Args:
        name: `owner/name`, or a folder, which has no other name.
        kind: `model`, `dataset` or `space`.
        token: None for huggingface_hub's own.
    """
    if Path(name).expanduser().is_dir() or name in SHIPPED or offline():
        return name
    now = _name_on_the_hub(name, kind, token)
    if isinstance(now, Exception):
        return name
    note_renamed(name, now, kind)
    return now


def out_of_reach(name: str) -> Exception | None:
    """Why the Hub cannot be asked for a model now; None if it answers, whatever, or is not to be asked.

    huggingface_hub has its patience anew for each file, also for one that is cached: minutes for the twenty of a model.
    """
    if offline():
        return None
    error = _name_on_the_hub(name, "model", None)
    broken = isinstance(error, transport().TransportError) or (hasattr(error, "response") and passes(error))
    return error if isinstance(error, Exception) and broken else None


@cache
def _name_on_the_hub(name: str, kind: str, token: str | None) -> str | Exception:
    """The name that the Hub gives a repository now, or why it does not; asked once a process, with patience."""
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff, validate_repo_id

    bound_waits()
    try:
        validate_repo_id(name)
        answer = http_backoff(
            "GET",
            f"{constants.ENDPOINT}/api/{kind}s/{name}",
            headers=build_hf_headers(token=token),
            timeout=constants.HF_HUB_ETAG_TIMEOUT,
            follow_redirects=True,
            # Not where nobody is there: of a connection that broke more can be hoped for.
            retry_on_exceptions=(transport().ReadError, transport().RemoteProtocolError),
        )
        hf_raise_for_status(answer)
        return str(answer.json()["id"])
    except (OSError, ValueError, LookupError, TypeError, transport().HTTPError) as error:
        return error.with_traceback(None)


@cache
def note_renamed(name: str, now: str, kind: str = "model") -> None:
    """A warning, once a process, where the Hub calls a repository by another name than was asked for."""
    if now != name:
        _log.warning("The %s %s was renamed to %s: use the new name", kind, name, now)


@cache
def note_from_cache(name: str) -> None:
    """A warning, once a process, that the Hub is out of reach and a model was found in the cache."""
    _log.warning("The Hub is out of reach: %s is taken from the cache", name)
