"""The HTTP side of the loopback Hub: tokens, who may see what, the log of requests, and faults."""

import re
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .routes import ROUTES, Reply, Request, Route
from .store import ApiError, Repo, User

# Routes that change what the Hub holds; the other POST routes only ask.
WRITES = frozenset(
    ("create", "delete", "settings", "tag", "delete-tag", "branch", "delete-branch", "upload", "commit")
)


@dataclass(frozen=True)
class Logged:
    """One request as it arrived. `status` is None when the connection was cut instead of answered."""

    route: str
    method: str
    path: str
    user: str | None
    size: int
    status: int | None


@dataclass
class Fault:
    """A failure to come: of the route's `nth` request from now on, and of the following `times - 1`.

    `how` is `drop` (the connection is cut half-way through the request, which has no effect),
    `drop-answer` (the request is carried out, then the connection is cut), `hold` (no answer until
    the Hub closes; wait for `reached`, then end the client), or a status to answer with.
    """

    route: str
    how: str | int
    nth: int = 1
    times: int = 1
    seen: int = 0
    reached: threading.Event = field(default_factory=threading.Event)

    def strikes(self) -> bool:
        """Count a request of this route and say whether it is to fail."""
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


class LoopbackHub:
    """A Hub that lives as long as its `with` block.

    Attributes:
        url: its address, the clients' HF_ENDPOINT.
        repos: (kind, id) to repository; tests look inside and may change them.
        log: every request so far. page_size: entries in a page of a tree.
    """

    def __init__(self, page_size: int = 1000) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.users: dict[str, User] = {}
        self.tickets: dict[str, tuple[Repo, str]] = {}
        self.log: list[Logged] = []
        self.page_size = page_size
        self.lock = threading.RLock()
        self._faults: list[Fault] = []
        self._closing = threading.Event()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "LoopbackHub":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def add_user(self, name: str, *, orgs: tuple[str, ...] = (), role: str = "write") -> User:
        """Make an account, or another token of one; `role` is `write` or `read`."""
        user = User(name, f"hf_{name}_{role}", orgs, role)
        self.users[user.token] = user
        return user

    def fail(self, route: str, *, how: str | int = "drop", nth: int = 1, times: int = 1) -> Fault:
        """Let requests of `route` fail; see `Fault`."""
        fault = Fault(route, how, nth, times)
        with self.lock:
            self._faults.append(fault)
        return fault

    def repair(self) -> None:
        """Forget all faults."""
        with self.lock:
            self._faults.clear()

    def requests(self, *routes: str) -> list[Logged]:
        """The logged requests of these routes."""
        return [logged for logged in self.log if logged.route in routes]

    def writes(self) -> list[Logged]:
        """The logged requests that change something."""
        return self.requests(*WRITES)

    # For routes ----------------------------------------------------------------------------------

    def require_user(self, request: Request) -> User:
        if request.user is None:
            raise ApiError(401, "Invalid username or password.")
        return request.user

    def may_read(self, request: Request, repo: Repo) -> bool:
        return not repo.private or (request.user is not None and request.user.owns(repo.id))

    def repo(self, request: Request, kind: str, repo_id: str, *, write: bool = False) -> Repo:
        """The repository, if the request's token may read (or write) it.

        Like the real Hub it does not tell a private repository from an absent one, and answers 401
        for both when no token was sent.
        """
        repo = self.repos.get((kind, repo_id))
        if repo is None or not self.may_read(request, repo):
            raise ApiError(404 if request.user else 401, "Repository not found", "RepoNotFound")
        if write:
            user = self.require_user(request)
            if user.role != "write" or not user.owns(repo_id):
                raise ApiError(403, f"You don't have write access to {repo_id}", "Forbidden")
        return repo

    def user_of(self, authorization: str | None) -> User | None:
        if not authorization:
            return None
        user = self.users.get(authorization.removeprefix("Bearer "))
        if user is None:
            raise ApiError(401, "Invalid credentials in Authorization header")
        return user

    def fault_of(self, route: str) -> Fault | None:
        with self.lock:
            return next((fault for fault in self._faults if fault.route == route and fault.strikes()), None)

    def wait_for_the_end(self) -> None:
        self._closing.wait()


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass  # `hub.log` is the log

    def _handle(self) -> None:
        url = urlsplit(self.path)
        route, match = _find(self.command, url.path)
        name = route.name if route else "unknown"
        fault = self.hub.fault_of(name)
        if fault:
            fault.reached.set()
            if fault.how == "drop":
                self._read(half=True)
                return self._cut(name)
        body = self._read()
        if fault and fault.how == "hold":
            self.hub.wait_for_the_end()
            return self._cut(name)
        user: User | None = None
        try:
            user = self.hub.user_of(self.headers.get("Authorization"))
            if fault and isinstance(fault.how, int):
                raise ApiError(fault.how, "The test asked for this failure")
            if route is None or match is None:
                raise ApiError(404, f"No such route: {self.command} {url.path}")
            request = Request(
                self.command,
                url.path,
                dict(parse_qsl(url.query)),
                self.headers,
                body,
                user,
                f"http://{self.headers['Host']}",
            )
            groups = {key: unquote(value) for key, value in match.groupdict().items() if value is not None}
            with self.hub.lock:
                reply = route.answer(self.hub, request, **groups)
        except ApiError as error:
            headers = {"X-Error-Message": error.message}
            if error.code:
                headers["X-Error-Code"] = error.code
            reply = Reply({"error": error.message}, error.status, headers)
        if fault and fault.how == "drop-answer":
            return self._cut(name, len(body))
        self._log(name, len(body), reply.status, user)
        self._send(reply)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle

    def _read(self, *, half: bool = False) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
                if half:
                    return body
            self.rfile.readline()
            return body
        size = int(self.headers.get("Content-Length") or 0)
        return self.rfile.read(size // 2 if half else size)

    def _send(self, reply: Reply) -> None:
        body = reply.body()
        self.send_response(reply.status)
        for key, value in {"Content-Type": reply.type, "Content-Length": len(body), **reply.headers}.items():
            self.send_header(key, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _cut(self, route: str, size: int = 0) -> None:
        self._log(route, size, None, None)
        self.close_connection = True
        with suppress(OSError):  # the client was faster
            self.connection.shutdown(socket.SHUT_RDWR)

    def _log(self, route: str, size: int, status: int | None, user: User | None) -> None:
        path = urlsplit(self.path).path
        self.hub.log.append(Logged(route, self.command, path, user.name if user else None, size, status))


def _find(method: str, path: str) -> tuple[Route | None, re.Match[str] | None]:
    wanted = "GET" if method == "HEAD" else method
    for route in ROUTES:
        if route.method == wanted and (match := route.pattern.fullmatch(path)):
            return route, match
    return None, None
