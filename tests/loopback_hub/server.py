"""The HTTP side of the loopback Hub: tokens, who may see what, the log of requests, and faults."""

import re
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .routes import ROUTES, Reply, Request, Route
from .store import PREFIXES, ApiError, Commit, Repo, User, files_of

# Routes that change what the Hub holds; the other POST routes only ask.
WRITES = frozenset(
    (
        "create",
        "delete",
        "settings",
        "tag",
        "delete-tag",
        "branch",
        "delete-branch",
        "upload",
        "commit",
        "comment",
    )
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

    Attributes:
        route: name of the route in `ROUTES`; `*` for every one.
        how: what happens:
            `drop`: the connection is cut half-way through the request, which has no effect.
            `drop-answer`: the request is carried out, then the connection is cut.
            `hold`: no answer until the Hub closes; wait for `reached`, then end the client, or let it time out.
            `cut`: the answer ends before the middle of the file, wherever a range starts; so does every repetition.
            `flip`: a byte in the middle of the file is another one; its size is right.
            `short`: the file ends in the middle, and the answer's own length agrees with that.
            A number: the status to answer with.
        nth, times: which requests fail, counted from 1.
        path: pattern of the request's path, as of a shell (`*.safetensors`, `*/config.json`).
        code: X-Error-Code of a status, by which huggingface_hub chooses the exception.
        message: what a status says.
        headers: further ones of a status, such as `Retry-After`.
        seen: requests so far. reached: set at the first that fails.
    """

    route: str
    how: str | int
    nth: int = 1
    times: int = 1
    path: str = "*"
    code: str | None = None
    message: str = "The test asked for this failure"
    headers: dict[str, str] = field(default_factory=dict)
    seen: int = 0
    reached: threading.Event = field(default_factory=threading.Event)

    def strikes(self, route: str, path: str) -> bool:
        """Count a request if it is of this route and path, and say whether it is to fail."""
        if self.route not in (route, "*") or not fnmatchcase(path, self.path):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times

    def on(self, reply: Reply) -> Reply:
        """The reply of a download with this fault in its content; others as they are."""
        if self.how not in ("cut", "flip", "short") or not isinstance(reply.content, bytes):
            return reply
        content, ranged = (
            reply.content,
            re.match(r"bytes (\d+)-\d+/(\d+)", reply.headers.get("Content-Range", "")),
        )
        start, size = (int(ranged[1]), int(ranged[2])) if ranged else (0, len(content))
        middle = max(0, size // 2 - start)  # in what is sent
        if self.how == "flip":
            if middle < len(content):
                content = content[:middle] + bytes([content[middle] ^ 0x55]) + content[middle + 1 :]
            return replace(reply, content=content)
        headers = {"Content-Length": str(len(content))} if self.how == "cut" else {}
        return replace(reply, content=content[:middle], headers=reply.headers | headers)


class LoopbackHub:
    """A Hub that lives as long as its `with` block.

    Attributes:
        url: its address, the clients' HF_ENDPOINT.
        repos: (kind, id) to repository; tests look inside and may change them.
        renamed: (kind, old id) to new id, which requests are sent on to.
        log: every request so far. page_size: entries in a page of a tree.
    """

    def __init__(self, page_size: int = 1000) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.renamed: dict[tuple[str, str], str] = {}
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

    def serve(
        self,
        repo_id: str,
        folder: Path,
        *,
        kind: str = "model",
        sha: str | None = None,
        gated: str | bool = False,
        private: bool = False,
    ) -> Commit:
        """Hold the files of a folder as the head of `main`; a second call adds a commit.

        Args:
            repo_id: `owner/name`.
            folder: whose files are read now; large ones and weights are LFS.
            kind: `model`, `dataset` or `space`.
            sha: the commit's id (40 hex digits); None for one of the Hub's own.
            gated: False, `auto` or `manual`; `accept` lets accounts in.
            private: whether only its owner sees it.
        """
        with self.lock:
            repo = self.repos.setdefault((kind, repo_id), Repo(repo_id, kind))
            repo.gated, repo.private = gated, private
            tree = repo.resolve("main").tree
            return repo.commit(
                {".gitattributes": tree[".gitattributes"]} | files_of(Path(folder)), "serve", "main", sha
            )

    def accept(self, repo_id: str, user: User, kind: str = "model") -> None:
        """Let an account read the files of a gated repository."""
        self.repos[kind, repo_id].accepted.add(user.name)

    def rename(self, old: str, new: str, kind: str = "model") -> None:
        """Give a repository another name; requests for the old one are answered 307 with the new address."""
        with self.lock:
            repo = self.repos.pop((kind, old))
            repo.id = new
            self.repos[kind, new] = repo
            self.renamed[kind, old] = new

    def fail(self, route: str, *, how: str | int = "drop", times: int = 1, **more: Any) -> Fault:
        """Let requests of `route` fail; see `Fault` for all that can be said of them."""
        fault = Fault(route, how, times=times, **more)
        with self.lock:
            self._faults.append(fault)
        return fault

    def reset(self) -> None:
        """Forget repositories, accounts, faults and the log: a Hub as new, at the same address."""
        with self.lock:
            for held in (self.repos, self.renamed, self.users, self.tickets):
                held.clear()
            self.log.clear()
            self._faults.clear()

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

    def check_gate(self, request: Request, repo: Repo) -> None:
        """Refuse the files of a gated repository to who was not let in; what it holds may be asked by all."""
        user = request.user
        if not repo.gated or (user is not None and (user.owns(repo.id) or user.name in repo.accepted)):
            return
        if user is None:
            said = "You must have access to it and be authenticated to access it. Please log in."
            raise ApiError(401, f"Access to {repo.kind} {repo.id} is restricted. {said}", "GatedRepo")
        said = f"Visit {request.base}{repo.url_path} to ask for access."
        raise ApiError(
            403,
            f"Access to {repo.kind} {repo.id} is restricted and you are not in the authorized list. {said}",
            "GatedRepo",
        )

    def user_of(self, authorization: str | None) -> User | None:
        if not authorization:
            return None
        user = self.users.get(authorization.removeprefix("Bearer "))
        if user is None:
            raise ApiError(401, "Invalid credentials in Authorization header")
        return user

    def fault_of(self, route: str, path: str) -> Fault | None:
        with self.lock:
            return next((fault for fault in self._faults if fault.strikes(route, path)), None)

    def moved(self, request: Request, kind: str, repo_id: str) -> str | None:
        """The path of a request with the repository's new name, if it was renamed."""
        new = self.renamed.get((kind, repo_id))
        return None if new is None else request.target.replace(repo_id, new, 1)

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
        fault = self.hub.fault_of(name, unquote(url.path))
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
                raise ApiError(fault.how, fault.message, fault.code)
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
                self.path,
            )
            groups = {key: unquote(value) for key, value in match.groupdict().items() if value is not None}
            with self.hub.lock:
                reply = self._redirect(request, groups) or route.answer(self.hub, request, **groups)
        except ApiError as error:
            headers = {"X-Error-Message": error.message}
            if error.code:
                headers["X-Error-Code"] = error.code
            if fault:
                headers |= fault.headers
            reply = Reply({"error": error.message}, error.status, headers)
        if fault:
            reply = fault.on(reply)
        if fault and fault.how == "drop-answer":
            return self._cut(name, len(body))
        self._log(name, len(body), reply.status, user)
        self._send(reply)

    def _redirect(self, request: Request, groups: dict[str, str]) -> Reply | None:
        """As the real Hub: a relative address, so that a client keeps its token."""
        kind = groups.get("kind") or PREFIXES.get(groups.get("prefix", ""), "model")
        moved = self.hub.moved(request, kind, groups.get("repo", ""))
        return None if moved is None else Reply(status=307, headers={"Location": moved})

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
        if self.command == "HEAD":
            return
        self.wfile.write(body)
        if len(body) != int(reply.headers.get("Content-Length", len(body))):  # an answer that is cut
            self.close_connection = True
            with suppress(OSError):
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)

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
