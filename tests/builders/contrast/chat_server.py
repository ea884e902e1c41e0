"""An OpenAI-compatible server on 127.0.0.1 that behaves as a test tells it: well, slowly, badly or maliciously.

    with ChatServer() as server:
        server.then(Answer(status=429, headers={"Retry-After": "0"}), times=3)  # the next three answers
        ApiWriter(server.url, "tiny").write(requests)
        server.asked  # every body that came, in order

It keeps what it was sent, headers and all, so that a test can search it.
"""

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CAT = {
    "contrast_caption": "a cat runs on the beach",
    "source": "a dog",
    "target": "a cat",
    "explanation": "It is a dog, not a cat.",
}


def completion(
    content: Any = None, *, finish: str = "stop", usage: Any = None, **message: Any
) -> dict[str, Any]:
    """An answer as a good server gives it."""
    text = json.dumps(CAT) if content is None else content
    tokens = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120} if usage is None else usage
    return {
        "id": "1",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "finish_reason": finish,
            }
        ],
        "usage": tokens,
    }


@dataclass
class Answer:
    """One answer.

    Attributes:
        body: an object, which is sent as JSON, or bytes as they are.
        how: `whole`; `cut` (half of it, then the connection breaks); `hang` (nothing until the server closes);
            `drip` (the head, then nothing); `break` (the connection breaks at once).
    """

    body: Any = field(default_factory=completion)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    how: str = "whole"


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class ChatServer:
    """See above.

    Attributes:
        models: that it lists; None where it has no list.
        decide: asked for each chat request's body when no answer is waiting; may give None for a good one.
    """

    def __init__(self, models: list[str] | None = None) -> None:
        self.models = ["tiny"] if models is None else models
        self.lists_models = True
        self.decide: Callable[[Asked], Answer | None] = lambda asked: None
        self.asked: list[Asked] = []
        self.most_at_once = 0
        self._waiting: deque[Answer] = deque()
        self._lock, self._closed, self._now = threading.Lock(), threading.Event(), 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                outer._serve(self, None)

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer._serve(self, json.loads(raw))

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # clients that leave
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> "ChatServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def then(self, answer: Answer, times: int = 1) -> None:
        """The next answers to chat requests, before `decide` is asked."""
        self._waiting.extend([answer] * times)

    @property
    def chats(self) -> list[Asked]:
        """The chat requests that came."""
        return [asked for asked in self.asked if asked.method == "POST"]

    def _serve(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        asked = Asked(
            handler.command,
            handler.path,
            {name.lower(): value for name, value in handler.headers.items()},
            body,
        )
        with self._lock:
            self.asked.append(asked)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            waiting = self._waiting.popleft() if body is not None and self._waiting else None
        answer = waiting or self._answer(asked)
        try:
            self._send(handler, answer)
        finally:
            with self._lock:
                self._now -= 1

    def _answer(self, asked: Asked) -> Answer:
        if asked.path == "/v1/models" and asked.method == "GET":
            if not self.lists_models:
                return Answer({"error": {"message": "Not Found"}}, 404)
            return Answer(
                {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]}
            )
        return self.decide(asked) or Answer()

    def _send(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        if answer.how == "hang":
            self._closed.wait()
        if answer.how in ("hang", "break"):
            handler.close_connection = True
            return
        content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        handler.send_response(answer.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **answer.headers}
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        if answer.how == "drip":
            self._closed.wait()
        if answer.how in ("drip", "cut"):
            handler.wfile.write(content[: len(content) // 2])
            handler.close_connection = True
            return
        handler.wfile.write(content)
