"""Contrast captions by a model behind an OpenAI-compatible server: `api:URL#MODEL`.

Servers differ in what they understand. Answers are asked for as JSON of a schema, with a seed where something is drawn;
what a server refuses is left out from then on, and its answers are read as those of any model.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from os import getpid
from pathlib import Path
from typing import Any

from synvita_data.errors import SynvitaError
from synvita_data.schema import MISALIGNMENTS

from .answers import answer_of, answer_schema
from .base import Answer, ContrastRequest
from .models import check_numbers, how_drawn
from .models.server import GoneError, Server, ServerError, read_address
from .prompts import load_prompts

# Raise it when equal requests would be asked otherwise.
WRITER_VERSION = 1
# What a server may refuse, with the words by which its message tells.
_OPTIONAL = {
    "response_format": ("response_format", "json_schema", "structured", "schema", "guided"),
    "seed": ("seed",),
    "temperature": ("temperature",),
    "max_tokens": ("max_tokens", "max_completion_tokens"),
}
_REFUSES = (400, 404, 415, 422, 501)
# Where the server fails every one of so many requests of a batch, it would the next ones too.
MANY = 16
_JSON = "\nWrite the answers not as lines but as one JSON object with the keys {keys}."


class ApiWriter:
    """A model of a server. There is no connection before `check` or the first `write`.

    The key (`SYNVITA_API_KEY`, else `OPENAI_API_KEY`) is read from the environment then, and is in no record.

    Args:
        url: of the server, up to and with `/v1`; https, or http for this machine and for servers without a key.
        model: as the server calls it.
        prompts: folder with a user's prompts, see `prompts.load_prompts`; None for ours.
        temperature: 0 for the likeliest answer. Of several candidates the first is made so; the others are drawn with a
            temperature of 0.8 then.
        max_tokens: after which an answer is cut off.
        concurrency: requests at a time.
        timeout: seconds for one try of a request.
        tries: of one request, where the server is busy or the connection breaks.
        price_in: of a million tokens of prompts, for the cost in `usage`.
        price_out: of a million tokens of answers.

    Raises:
        SynvitaError: an address that is none or holds a password, prompts or numbers that cannot be used.
    """

    misalignments = MISALIGNMENTS

    def __init__(
        self,
        url: str,
        model: str,
        *,
        prompts: str | Path | None = None,
        temperature: float = 0.0,
        max_tokens: int = 512,
        concurrency: int = 8,
        timeout: float = 120.0,
        tries: int = 6,
        price_in: float | None = None,
        price_out: float | None = None,
    ) -> None:
        check_numbers(temperature=temperature, max_tokens=max_tokens, concurrency=concurrency, tries=tries)
        for name, value in {"timeout": timeout, "price_in": price_in, "price_out": price_out}.items():
            if value is not None and not 0 <= value < float("inf"):
                raise SynvitaError(f"{name} is out of range", found=value, expected="a number from 0")
        self._address = read_address(url)
        if not model or model != model.strip() or not model.isprintable():
            raise SynvitaError(
                "a server's model has no name",
                file=self._address.host,
                found=repr(model),
                expected="api:URL#MODEL",
            )
        self._model, self._prompts = model, load_prompts(prompts)
        self.name = f"api:{self._address.host}#{model}"
        self.batch_size = 4 * concurrency
        self._temperature, self._max_tokens = temperature, max_tokens
        self._concurrency, self._timeout, self._tries = concurrency, timeout, tries
        self._prices = (price_in, price_out)
        self._refused_options: frozenset[str] = frozenset()
        self._used: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server: Server | None = None

    def record(self) -> Mapping[str, Any]:
        """What decides the answers, as far as it is known here: a server may change its model at any time."""
        return {
            "writer": self.name,
            "version": WRITER_VERSION,
            "revision": self._prompts.digest,
            "prompts": self._prompts.digest,
            "temperature": self._temperature,
            "max_tokens": self._max_tokens,
        }

    def check(self) -> None:
        """Raise what would stop a run before its first answer; asks the server for its models and one short question.

        Raises:
            SynvitaError: no server, no such model, no key, or a server that gives no answers.
        """
        server = self._connected()
        listed = server.run(self._models(server))
        body = self._body("Say yes.", None, None, 0.0) | {"max_tokens": 16}
        try:
            server.run(self._ask(server, body, tries=3))
        except (GoneError, ServerError) as error:
            if listed and self._model not in listed and error.status in _REFUSES:
                problem = GoneError(
                    "the server has no such model",
                    file=self._address.host,
                    found=self._model,
                    expected=f"one of {', '.join(listed[:8])}{', …' if len(listed) > 8 else ''}",
                )
            else:
                raise
        else:
            return
        raise problem

    def write(self, requests: Sequence[ContrastRequest]) -> list[Answer]:
        """One answer a request, in order.

        Raises:
            SynvitaError: the server is gone, refuses the key, or fails every one of many requests.
        """
        if not requests:
            return []
        server = self._connected()
        wanted = [
            (number, candidate)
            for number, one in enumerate(requests)
            for candidate in range(max(one.candidates, 1))
        ]
        outcomes = server.run(self._all(server, requests, wanted))
        failed = [outcome for outcome in outcomes if isinstance(outcome, ServerError)]
        if len(failed) == len(outcomes) >= MANY and all(error.passes for error in failed):
            raise GoneError(
                "the server answers none of many requests",
                file=self._address.host,
                found=str(failed[0]),
                fix="Run again when it is well: what was done is kept",
            )
        answers = []
        for number, request in enumerate(requests):
            own = [outcome for (of, _), outcome in zip(wanted, outcomes, strict=True) if of == number]
            written = [outcome for outcome in own if not isinstance(outcome, ServerError)]
            errors = [outcome for outcome in own if isinstance(outcome, ServerError)]
            answers.append(
                answer_of(written, request) if written else Answer(refused=str(errors[0]).rstrip("."))
            )
        with self._lock:
            self._used["requests"] += len(requests)
            self._used["refused"] += sum(answer.refused is not None for answer in answers)
        return answers

    def usage(self) -> dict[str, Any]:
        """What was used so far, JSON-ready.

        `requests` and how many were `refused`, `calls` to the server, `retries`, tokens as the server counted them (of
        `uncounted` calls it did not say), and `cost` where there are prices.
        """
        names = ("requests", "refused", "calls", "retries", "prompt_tokens", "completion_tokens", "uncounted")
        used: dict[str, Any] = {name: self._used[name] for name in names}
        used["retries"] += 0 if self._server is None else self._server.retries
        if any(price is not None for price in self._prices):
            price_in, price_out = (price or 0.0 for price in self._prices)
            used["cost"] = (used["prompt_tokens"] * price_in + used["completion_tokens"] * price_out) / 1e6
        return used

    def close(self) -> None:
        """Give the connections up."""
        if self._server is not None:
            self._server.close()
            self._used["retries"] += self._server.retries
            self._server = None

    def __getstate__(self) -> dict[str, Any]:  # each process has its own connection and reads its own key
        return {name: value for name, value in self.__dict__.items() if name != "_lock"} | {"_server": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def _connected(self) -> Server:
        # Of a forked process the thread of the connection is not here.
        if self._server is None or self._server.process != getpid():
            self._server = Server(
                self._address, concurrency=self._concurrency, timeout=self._timeout, tries=self._tries
            )
        return self._server

    async def _models(self, server: Server) -> list[str]:
        """Names that the server lists; empty where it lists none.

        Raises:
            SynvitaError: it cannot be reached, or refuses the key.
        """
        try:
            reply = await server.ask("GET", "/models", tries=2)
        except ServerError as error:
            if error.status is None:  # no answer, or something else than an answer
                raise
            return []
        except GoneError as error:
            if error.status == 404:  # not every server has a list
                return []
            raise
        models = reply.get("data")
        names = (
            [each.get("id") for each in models if isinstance(each, dict)] if isinstance(models, list) else []
        )
        return [server.key.hidden(name) for name in names if isinstance(name, str)]

    async def _all(
        self, server: Server, requests: Sequence[ContrastRequest], wanted: Sequence[tuple[int, int]]
    ) -> list[tuple[str, bool] | ServerError]:
        """What came back for each (request, candidate): a text and whether it came to its end, or an error.

        Raises:
            GoneError: the server is gone; what was still to be asked is not.
        """
        gone: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._written(server, requests[number], candidate))
                    for number, candidate in wanted
                ]
        except* Exception as errors:
            gone = errors.exceptions[0]
        if gone is not None:
            raise gone.with_traceback(None)
        return [task.result() for task in tasks]

    async def _written(
        self, server: Server, request: ContrastRequest, candidate: int
    ) -> tuple[str, bool] | ServerError:
        seed, temperature = how_drawn(request, candidate, self._temperature)
        prompt = self._prompts.ask(request.caption, request.misalignment)
        try:
            reply = await self._ask(server, self._body(prompt, request.misalignment, seed, temperature))
            return _content(reply, server)
        except ServerError as error:
            return error.with_traceback(None)

    def _body(
        self, prompt: str, misalignment: str | None, seed: int | None, temperature: float
    ) -> dict[str, Any]:
        """What is asked, with everything that a server may refuse."""
        schema = answer_schema(misalignment or MISALIGNMENTS[0])
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": temperature,
            "max_tokens": self._max_tokens,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "contrast_caption", "strict": True, "schema": schema},
            },
        }
        if seed is not None:
            body["seed"] = seed % (1 << 31)
        return body

    async def _ask(self, server: Server, body: dict[str, Any], tries: int | None = None) -> Mapping[str, Any]:
        """The server's answer; what it refuses is left out, now and from then on.

        Raises:
            ServerError, GoneError: as of `Server.ask`.
        """
        refused: frozenset[str] = frozenset()

        def made() -> dict[str, Any]:
            nonlocal refused
            refused = self._refused_options  # of now: others have learnt while this one waited
            with self._lock:
                self._used["calls"] += 1
            return _without(body, refused)

        while True:
            try:
                answer = await server.ask("POST", "/chat/completions", made, tries)
            except (ServerError, GoneError) as error:
                more = _refused_option(error, body, refused)
                if more is None:
                    raise
                self._refused_options |= {more}
                continue
            self._count(answer)
            return answer

    def _count(self, answer: Mapping[str, Any]) -> None:
        said = answer.get("usage")
        usage = said if isinstance(said, dict) else {}
        tokens = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        read, written = (count if type(count) is int and count >= 0 else None for count in tokens)
        with self._lock:
            self._used["prompt_tokens"] += read or 0
            self._used["completion_tokens"] += written or 0
            self._used["uncounted"] += read is None or written is None


def _without(body: Mapping[str, Any], refused: frozenset[str]) -> dict[str, Any]:
    """A request without what the server refuses; the longest answer has a second name, which newer models want."""
    kept = {name: value for name, value in body.items() if name not in refused}
    if "max_tokens" in refused:
        kept["max_completion_tokens"] = body["max_tokens"]
    if "response_format" in kept:
        keys = body["response_format"]["json_schema"]["schema"]["required"]
        (message,) = body["messages"]
        kept["messages"] = [{**message, "content": message["content"] + _JSON.format(keys=", ".join(keys))}]
    return kept


def _refused_option(
    error: ServerError | GoneError, body: Mapping[str, Any], refused: frozenset[str]
) -> str | None:
    """What of a request a server does not understand; None where it is something else that it refuses."""
    if error.status not in _REFUSES:
        return None
    said = (error.found or "").lower()
    left = [name for name in _OPTIONAL if name in body and name not in refused]
    named = [name for name in left if any(word in said for word in _OPTIONAL[name])]
    if named:
        return named[0]
    # A server that only says that it does not like the request: the schema is what most of them do not know.
    return "response_format" if error.status != 404 and "response_format" in left else None


def _content(body: Mapping[str, Any], server: Server) -> tuple[str, bool]:
    """The text of an answer, and whether it came to its end.

    Raises:
        ServerError: there is none, the model refused, or the text holds the key.
    """
    host = server.address.host
    try:
        choice = body["choices"][0]
        message = choice["message"]
        content, reason = message["content"], choice.get("finish_reason")
        refusal = message.get("refusal")
    except (KeyError, IndexError, TypeError, AttributeError):
        found = server.key.hidden(", ".join(map(str, body)))[:200]
        raise ServerError(
            "the server's answer has no message", file=host, found=f"the keys {found}"
        ) from None
    if isinstance(content, list):  # in parts, of which those of text count
        content = "".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    if refusal or reason == "content_filter":
        said = server.key.hidden(str(refusal or reason))
        raise ServerError("the model refused", file=host, found=said)
    if not isinstance(content, str):
        raise ServerError("the server's answer has no text", file=host, found=type(content).__name__)
    if server.key.hidden(content) != content:
        raise ServerError("the answer holds the key", file=host)
    return content, reason != "length"
