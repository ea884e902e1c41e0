"""An OpenAI-compatible server: the key, waits and retries, and what may come back instead of an answer.

The key is read from the environment, sent to the server that was named and to nobody else, and taken out of every text
that comes back. It is in no attribute that is shown, saved or pickled.

A request has one time for all of it, an answer one size; of busy servers `Retry-After` is obeyed, by all requests
together. `ServerError` is of one request; `GoneError` says that no other would do better.
"""

import asyncio
import json
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from synvita_data.display import get_logger
from synvita_data.errors import SynvitaError, first_line
from synvita_data.files import parse_json
from synvita_data.hub.reach import transport

KEYS = ("SYNVITA_API_KEY", "OPENAI_API_KEY")  # the first that is set
LARGEST = 1 << 20  # bytes of an answer
LONGEST_WAIT = 300.0  # seconds that a server may ask to wait
FIRST_WAIT, MOST_WAIT = 0.5, 60.0  # seconds before the second try, and before any
# So many tries without any answer, in a row and of all requests, are a server that is gone.
LOST_TRIES = 16
_BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_LOOPBACK = re.compile(r"localhost|127(?:\.\d{1,3}){3}|::1")
# So many characters of a key in a row are taken out too; what is shorter altogether (`EMPTY`, `none`) is no secret.
_PIECE = 8
HIDDEN = "[key]"
Result = TypeVar("Result")


class ServerError(SynvitaError):
    """A request got no usable answer.

    `status`: of HTTP, where there was one. `passes`: the server is at fault, and may do better later.
    """

    status: int | None = None
    passes = False


class GoneError(SynvitaError):
    """The server answers no request: it is not there, knows no such model, or does not take the key.

    `status`: of HTTP, where there was one.
    """

    status: int | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is.

    Attributes:
        url: up to and with `/v1`, without a slash at the end.
        host: with its port where one is named; what records and errors call the server.
        private: whether nobody can listen: https, or this machine.
    """

    url: str
    host: str
    private: bool

    @property
    def on_this_machine(self) -> bool:
        return bool(_LOOPBACK.fullmatch(urlsplit(self.url).hostname or ""))


def read_address(url: str) -> Address:
    """The address of a server.

    Args:
        url: `https://host/v1`, or `http://…` for servers without a key and for this machine.

    Raises:
        SynvitaError: not such an address, or one with a user, a password, a query or a fragment. What it holds is not
            shown: it may be secret.
    """
    expected = "an address such as https://host/v1"
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if (
        host is None
        or parts.scheme.lower() not in ("http", "https")
        or re.search(r"[\s\x00-\x1f\\]", url.strip())
    ):
        raise SynvitaError("the address of a server cannot be read", expected=expected)
    if "@" in parts.netloc:
        raise SynvitaError(
            "the address of a server holds a user or a password",
            file=host,
            expected=expected,
            fix=f"Leave them out; a key goes into the environment as {KEYS[0]}",
        )
    if parts.query or "?" in url:
        raise SynvitaError(
            "the address of a server holds a query, which may be secret",
            file=host,
            expected=expected,
            fix=f"Leave it out; a key goes into the environment as {KEYS[0]}",
        )
    shown = f"[{host}]" if ":" in host else host
    shown = shown if port is None else f"{shown}:{port}"
    scheme = parts.scheme.lower()
    path = re.sub(r"/(?:chat/completions|completions|models)$", "", parts.path.rstrip("/")).rstrip("/")
    return Address(f"{scheme}://{shown}{path}", shown, scheme == "https" or bool(_LOOPBACK.fullmatch(host)))


class Key:
    """A key that shows itself to nobody.

    Args:
        value: None where there is none.
        name: of the environment's variable.
    """

    __slots__ = ("_value", "name")

    def __init__(self, value: str | None, name: str | None = None) -> None:
        self._value, self.name = value, name

    @classmethod
    def of_environment(cls) -> "Key":
        """The first key that is set.

        Raises:
            SynvitaError: it cannot be sent.
        """
        for name in KEYS:
            key = cls(os.environ.get(name, "").strip() or None, name)
            if key and not key.is_plain:
                raise SynvitaError(
                    "a key cannot be sent", file=name, found="white space or other characters inside of it"
                )
            if key:
                return key
        return cls(None)

    def __bool__(self) -> bool:
        return self._value is not None

    def __repr__(self) -> str:
        return f"Key({HIDDEN if self else None})"

    def __reduce__(self) -> Any:
        raise TypeError("a key is not sent anywhere: each process reads its own environment")

    @property
    def is_plain(self) -> bool:
        """Whether it can stand in a header."""
        return bool(re.fullmatch(r"[!-~]+", self._value or ""))

    def sign(self, request: Any) -> Any:
        """A request of httpx with the key in its header, which httpx does not show."""
        if self:
            request.headers["Authorization"] = f"Bearer {self._value}"
        return request

    def hidden(self, text: str) -> str:
        """The text without the key, and without longer pieces of it, as it is or as in an address."""
        if self._value is None or len(self._value) < _PIECE:
            return text
        for value in {self._value, quote(self._value, safe="")}:
            text = text.replace(value, HIDDEN)
        value = self._value
        places = [place for place in range(len(value) - _PIECE + 1) if value[place : place + _PIECE] in text]
        if places:
            pieces = "|".join(re.escape(value[place : place + _PIECE]) for place in places)
            # Pieces overlap: what any of them covers is taken out as one.
            covered = bytearray(len(text))
            for found in re.finditer(f"(?=({pieces}))", text):
                covered[found.start() : found.start() + _PIECE] = b"\x01" * _PIECE
            shown = "".join("\0" if hide else char for char, hide in zip(text, covered, strict=True))
            text = re.sub("\0+", HIDDEN, shown)
        return text


class _Hidden(logging.Filter):
    """Takes keys out of records: at level DEBUG the HTTP library tells the headers of answers, which may echo one."""

    keys: list[Key] = []  # noqa: RUF012 (of all servers of this process)

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        for key in self.keys:
            text = key.hidden(text)
        record.msg, record.args = text, ()
        return True


_HIDE = _Hidden()


def _hide_in_logs(key: Key, library: str) -> None:
    """Take a key out of what the HTTP library logs in this process, until `_HIDE.keys` has it no more."""
    _HIDE.keys.append(key)
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in (library, "httpcore", "httpcore2"):
            get_logger(name).addFilter(_HIDE)  # once, however often it is added


@cache
def _certificates() -> Any:
    """What https is checked against; read once a process, which takes longer than a request."""
    return transport().create_ssl_context()


class Server:
    """A connection to a server, with its own thread: it works inside of a running event loop too.

    Args:
        address: of the server.
        concurrency: requests at a time.
        timeout: seconds for one try, from sending to the last byte.
        tries: of one request.

    Attributes:
        process: that opened it; others cannot use it.
        retries: tries so far that were not the first.

    Raises:
        SynvitaError: there is a key, and the connection could be listened to.
    """

    def __init__(self, address: Address, *, concurrency: int, timeout: float, tries: int) -> None:
        self.address, self.key, self.process = address, Key.of_environment(), os.getpid()
        if self.key and not address.private:
            raise SynvitaError(
                "a key would be sent where others can read it",
                file=address.host,
                found=f"http, and {self.key.name} in the environment",
                expected="https, or a server of this machine",
                fix=f"Name the server by https://, or unset {self.key.name} for one that needs no key",
            )
        self._concurrency, self._timeout, self._tries = concurrency, timeout, tries
        self._http = transport()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="contrast-api", daemon=True)
        self._thread.start()
        self._not_before = 0.0  # when a busy server may be asked again
        self._without_answer = 0  # tries since the last answer of any kind
        self.retries = 0
        self._client = self.run(self._opened())
        _hide_in_logs(self.key, self._http.__name__)

    async def _opened(self) -> Any:
        self._room = asyncio.Semaphore(self._concurrency)
        return self._http.AsyncClient(
            verify=_certificates(),
            timeout=None,  # `ask` has one for all of a try; these would be of each of its parts
            follow_redirects=True,
            max_redirects=5,
            trust_env=not self.address.on_this_machine,  # proxies; of this machine there are none
            limits=self._http.Limits(
                max_connections=self._concurrency, max_keepalive_connections=self._concurrency
            ),
        )

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of something that waits for this server."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Give up connections and thread."""
        if self._loop.is_closed():
            return
        with suppress(Exception, CancelledError):
            self.run(self._client.aclose())
        _HIDE.keys.remove(self.key)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def ask(
        self,
        method: str,
        path: str,
        body: Callable[[], Mapping[str, Any]] | None = None,
        tries: int | None = None,
    ) -> Mapping[str, Any]:
        """The JSON object that the server answers with, after as many tries as are allowed.

        Args:
            method: GET or POST.
            path: behind the address, such as `/models`.
            body: what is sent as JSON, made when there is room for the request.
            tries: fewer than usual.

        Raises:
            ServerError: no usable answer; its `status` is that of HTTP where there was one.
            GoneError: the server cannot be reached, or refuses key or model.
        """
        jitter = random.Random()  # of waits only, never of an answer
        last, allowed = 0, tries or self._tries
        async with self._room:
            content = None if body is None else json.dumps(body()).encode()
            while True:
                error: SynvitaError
                if (pause := self._not_before - time.monotonic()) > 0:
                    await asyncio.sleep(pause + jitter.random() * min(pause, 1.0))
                wait: float | None = None
                try:
                    return await asyncio.wait_for(self._answered(method, path, content), self._timeout)
                except TimeoutError:
                    error = self._lost(f"the server gave no answer in {self._timeout:g} s")
                except _BusyError as busy:
                    error, wait = busy.error, busy.wait
                except (ServerError, GoneError) as final:
                    error, allowed = final, 0
                except (
                    self._http.UnsupportedProtocol,
                    self._http.InvalidURL,
                    self._http.TooManyRedirects,
                ) as broken:
                    error, allowed = self._error("the server cannot be asked", found=first_line(broken)), 0
                except self._http.HTTPError as broken:
                    error = self._unreached(broken)
                last += 1
                if last >= allowed or self._is_lost or (wait or 0) > LONGEST_WAIT:
                    # Neither in `except` nor with its trace: frames below hold what came back, which may echo the key.
                    raise error.with_traceback(None)
                self.retries += 1
                backoff = min(FIRST_WAIT * 2 ** (last - 1), MOST_WAIT) * (0.5 + jitter.random())
                if wait is not None:  # said by the server, so meant for all
                    self._not_before = max(self._not_before, time.monotonic() + wait)
                await asyncio.sleep(max(backoff, wait or 0.0))

    async def _answered(self, method: str, path: str, content: bytes | None) -> Mapping[str, Any]:
        return self._object(*await self._once(method, path, content))

    async def _once(
        self, method: str, path: str, content: bytes | None
    ) -> tuple[int, Mapping[str, str], str]:
        """Status, headers and text of one answer.

        Raises:
            ServerError: it is too large, or compressed, which was not asked for.
        """
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        # A redirect to another host goes there without the key: httpx takes the header off.
        async with self._client.stream(
            method, f"{self.address.url}{path}", content=content, headers=headers, auth=self.key.sign
        ) as answer:
            if answer.request.method != method:
                raise self._error(
                    "the server sends requests elsewhere",
                    found=f"a redirect to {answer.url.host}",
                    fix="Name that address, if it is the server's",
                )
            if answer.headers.get("Content-Encoding", "identity") != "identity":
                raise self._error("the server's answer is compressed, which was not asked for")
            parts, size = [], 0
            async for part in answer.aiter_raw():
                parts.append(part)
                size += len(part)
                if size > LARGEST:
                    raise self._error(
                        "the server's answer is too large", expected=f"at most {LARGEST:,} bytes"
                    )
            self._without_answer = 0
            return answer.status_code, answer.headers, b"".join(parts).decode("utf-8", "replace")

    def _object(self, status: int, headers: Mapping[str, str], text: str) -> Mapping[str, Any]:
        """The JSON object of an answer.

        Raises:
            _BusyError: another try may help. ServerError, GoneError: none will.
        """
        try:
            body = parse_json(text)
        except ValueError:
            body = None
        said = body.get("error") if isinstance(body, dict) else None
        if said and status < 400:  # an error in an answer that says that all is well
            code = str(said.get("code") if isinstance(said, dict) else "")
            status = int(code) if re.fullmatch(r"[45]\d\d", code) else status
            if status < 400:
                raise self._error("the server answered with an error", found=self._said(said), status=status)
        if status >= 400:
            raise self._of_status(status, headers, said, text)
        if not isinstance(body, dict):
            kind = "HTML" if re.match(r"(?is)\s*<(?:!doctype|html)", text) else "no JSON object"
            raise self._error(
                "the server's answer is not an answer", found=f"{kind}: {self._short(text)}", status=status
            )
        return body

    def _of_status(self, status: int, headers: Mapping[str, str], said: Any, text: str) -> Exception:
        found = f"HTTP {status}: {self._said(said) if said else self._short(text)}"
        code = str(said.get("code") or said.get("type") or "") if isinstance(said, dict) else ""
        if status in (401, 403):
            fix = (
                f"Look whether {self.key.name} is of this server"
                if self.key
                else f"Put the server's key into the environment as {KEYS[0]}"
            )
            problem = "the server does not take the key" if self.key else "the server asks for a key"
            return self._gone(problem, status=status, found=found, fix=fix)
        if status == 402 or "insufficient_quota" in code or "billing" in code:
            return self._gone("the account of this key is used up", status=status, found=found)
        if status == 404:
            return self._gone(
                "the server knows no such address or model",
                status=status,
                found=found,
                expected="an OpenAI-compatible server (its address often ends in /v1), and a model that it lists",
            )
        error = self._error(
            "the server is busy or broken" if status in _BUSY else "the server refused the request",
            found=found,
            status=status,
            passes=status in _BUSY,
        )
        return _BusyError(error, _seconds(headers.get("Retry-After"))) if status in _BUSY else error

    def _unreached(self, broken: Exception) -> SynvitaError:
        never = isinstance(broken, self._http.ConnectError | self._http.ConnectTimeout)
        if never:
            return self._gone(
                "the server cannot be reached",
                found=first_line(broken),
                fix="Look whether it runs, and at the address",
            )
        return self._lost(
            "the connection to the server broke", found=f"{type(broken).__name__}: {first_line(broken)}"
        )

    @property
    def _is_lost(self) -> bool:
        return self._without_answer >= LOST_TRIES + self._concurrency

    def _lost(self, problem: str, **said: Any) -> SynvitaError:
        """The error of a try without any answer; many in a row, of all requests, are the end."""
        self._without_answer += 1
        if not self._is_lost:
            return self._error(problem, passes=True, **said)
        said["found"] = f"{problem}, {self._without_answer} tries in a row"
        return self._gone("the server has stopped answering", fix="Run again when it is well", **said)

    def _error(
        self, problem: str, *, status: int | None = None, passes: bool = False, **said: Any
    ) -> ServerError:
        error = ServerError(problem, file=self.address.host, **self._without_key(said))
        error.status, error.passes = status, passes
        return error

    def _gone(self, problem: str, *, status: int | None = None, **said: Any) -> GoneError:
        error = GoneError(problem, file=self.address.host, **self._without_key(said))
        error.status = status
        return error

    def _without_key(self, said: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self.key.hidden(str(text)) for name, text in said.items()}

    def _said(self, error: Any) -> str:
        message = error.get("message") if isinstance(error, dict) else error
        return self._short(str(message if message is not None else error))

    def _short(self, text: str) -> str:
        """What a server said, on one short line, without the key."""
        shown = self.key.hidden(" ".join(text.split()))
        return shown if len(shown) <= 200 else shown[:199] + "…"


class _BusyError(Exception):
    """An answer after which another try may help; `wait`: seconds that the server asks for."""

    def __init__(self, error: ServerError, wait: float | None) -> None:
        super().__init__(error.problem)
        self.error, self.wait = error, wait


def _seconds(header: str | None) -> float | None:
    """What `Retry-After` says: seconds, or a date."""
    if header is None:
        return None
    try:
        return max(float(header), 0.0) if float(header) < float("inf") else None
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(header)
    except (ValueError, TypeError, IndexError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max((when - datetime.now(UTC)).total_seconds(), 0.0)
