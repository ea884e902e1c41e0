"""Questions to the Hub that end within seconds, and what its cache on this machine holds."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import HubError, first_line
from ..files import parse_json
from ..hub.problems import HubRequest, HubUnreachableError, hub_problem
from ..hub.reach import offline, transport

# A JSON file of settings is smaller than this; an index of shards too.
_LARGEST_JSON = 5_000_000
_COMMIT_DIGITS = 40


class HubQuestions:
    """Asks the Hub of HF_ENDPOINT; all questions of one look share it.

    When the Hub cannot be reached once, it is not asked again: a command line with four repositories must not wait
    four times.

    Args:
        token: an access token; None for HF_TOKEN or the one that `hf auth login` stored.
        timeout: seconds of one request (to connect, and to the next byte).
        deadline: seconds from now after which nothing more is asked.

    Attributes:
        out_of_reach: why nothing more is asked; None while it can be.
    """

    def __init__(self, *, token: str | None = None, timeout: float = 4.0, deadline: float = 12.0) -> None:
        from huggingface_hub import constants

        self._token = token or None
        self._timeout, self._end = timeout, time.monotonic() + deadline
        self._answers: dict[tuple[str, str, str | None], Any] = {}
        self.endpoint: str = constants.ENDPOINT
        self.out_of_reach: str | None = None
        if offline():
            self.out_of_reach = "HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set"

    @property
    def has_token(self) -> bool:
        """Whether a token is sent; it is never shown."""
        from huggingface_hub import get_token

        return bool(self._token or get_token())

    @property
    def _may_ask(self) -> bool:
        if self.out_of_reach is None and time.monotonic() > self._end:
            self.out_of_reach = "earlier answers took too long"
        return self.out_of_reach is None

    def info(self, name: str, revision: str | None, kind: str) -> Any | None:
        """`ModelInfo` or `DatasetInfo` with the sizes of files, in one request.

        Args:
            name: Hub id.
            revision: commit, tag or branch; None for the default branch.
            kind: `model` or `dataset`.

        Returns:
            The Hub's answer; None where it cannot be asked (see `out_of_reach`).

        Raises:
            HubError: the Hub answers, and refuses: unknown name or revision, gated, a broken token.
        """
        key = (kind, name, revision)
        if key in self._answers:
            return self._answers[key]
        if not self._may_ask:
            return None
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self.endpoint, token=self._token, library_name="synvita-data")
        ask = api.model_info if kind == "model" else api.dataset_info
        answer = self._asked(
            name,
            revision,
            kind,
            lambda: ask(name, revision=revision, files_metadata=True, timeout=self._timeout),
        )
        if answer is not None:
            self._answers[key] = answer
        return answer

    def read_json(self, name: str, file: str, revision: str | None, kind: str) -> dict[str, Any] | None:
        """A small JSON file of a repository: of the cache, or else of the Hub, which keeps no copy here.

        Returns:
            None where there is no such file, or where it cannot be asked for.

        Raises:
            HubError: access to the repository is refused.
        """
        text = self.read_text(name, file, revision, kind)
        return None if text is None else as_object(text)

    def read_text(self, name: str, file: str, revision: str | None, kind: str) -> str | None:
        """A small text file; see `read_json`."""
        cached = cached_file(name, file, revision, kind)
        if cached is not None:
            try:
                return cached.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                return None
        if not self._may_ask:
            return None
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        url = hf_hub_url(name, file, repo_type=kind, revision=revision, endpoint=self.endpoint)

        def fetch() -> str | None:
            headers = build_hf_headers(token=self._token, library_name="synvita-data")
            answer = get_session().get(url, headers=headers, timeout=self._timeout)
            hf_raise_for_status(answer)
            return answer.text if len(answer.content) <= _LARGEST_JSON else None

        answer = self._asked(name, revision, kind, fetch)
        return None if answer is None else str(answer)

    def _asked(self, name: str, revision: str | None, kind: str, question: Callable[[], Any]) -> Any | None:
        """The answer to a question; None for a file that is not there, and where nobody answers.

        Raises:
            HubError: a refusal, with what to do.
        """
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        request = HubRequest(
            name, "the repository cannot be read", kind=kind, revision=revision, has_token=self.has_token
        )
        try:
            return question()
        except (OSError, ValueError, transport().HTTPError) as error:
            if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
                return None
            problem = hub_problem(error, request)
            if problem is None:
                raise HubError(request.problem, file=name, found=first_line(error)) from error
            if not isinstance(problem, HubUnreachableError):
                raise problem from error
            self.out_of_reach = problem.problem.removeprefix(f"{request.problem}: ")
            return None


def as_object(text: str) -> dict[str, Any] | None:
    """The JSON object of a text; None where it is none."""
    try:
        content = parse_json(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def cached_file(name: str, file: str, revision: str | None, kind: str) -> Path | None:
    """A file of a repository in this machine's cache; None where it is not there whole."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, file, revision=revision, repo_type=kind)
    except (HFValidationError, ValueError):
        return None
    return Path(found) if isinstance(found, str) and Path(found).is_file() else None


def cached_snapshot(name: str, revision: str | None, kind: str) -> tuple[str, Path] | None:
    """The commit and the folder in which this machine's cache keeps a revision; None without any file of it."""
    from huggingface_hub import constants

    if not is_repository_name(name):
        return None
    home = Path(constants.HF_HUB_CACHE) / f"{kind}s--{name.replace('/', '--')}"
    commit = revision or "main"
    reference = home / "refs" / commit
    if reference.is_file():
        commit = reference.read_text(encoding="utf-8").strip()
    snapshot = home / "snapshots" / commit
    return (commit, snapshot) if len(commit) == _COMMIT_DIGITS and snapshot.is_dir() else None


def cache_folder() -> Path:
    """Where this machine keeps what was fetched from the Hub."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def is_repository_name(name: str) -> bool:
    """Whether the Hub could have a repository of this name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True
