"""Contrast captions by a model behind an OpenAI-compatible server: `api:URL#MODEL`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .base import Answer, ContrastRequest


class ApiWriter:
    """A model of a server. Made without a connection; the key is read from the environment when one is made.

    The key (`SYNVITA_API_KEY`, else `OPENAI_API_KEY`) is no argument and is in no record.
    """

    name: str
    misalignments: tuple[str, ...]
    batch_size: int

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
        raise NotImplementedError

    def check(self) -> None:
        """Raise what would stop a run before its first answer: no server, no such model, no key."""
        raise NotImplementedError

    def record(self) -> Mapping[str, Any]:
        raise NotImplementedError

    def write(self, requests: Sequence[ContrastRequest]) -> list[Answer]:
        raise NotImplementedError

    def usage(self) -> dict[str, Any]:
        """Requests, retries, tokens and, with prices, cost so far, JSON-ready."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
