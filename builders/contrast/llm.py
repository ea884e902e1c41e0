"""Contrast captions by a chat model of transformers on this machine: `llm:MODEL`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .base import Answer, ContrastRequest


class LlmWriter:
    """A chat model of transformers. Made without reading weights; these are read by `check` or the first `write`."""

    name: str
    misalignments: tuple[str, ...]
    batch_size: int

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        adapter: str | None = None,
        adapter_revision: str | None = None,
        prompts: str | Path | None = None,
        dtype: str | None = None,
        device: str | None = None,
        device_map: str | None = None,
        temperature: float = 0.0,
        max_new_tokens: int = 512,
        batch_size: int = 16,
    ) -> None:
        raise NotImplementedError

    def check(self) -> None:
        """Raise what would stop a run before its first answer (no such model, no chat template)."""
        raise NotImplementedError

    def record(self) -> Mapping[str, Any]:
        raise NotImplementedError

    def write(self, requests: Sequence[ContrastRequest]) -> list[Answer]:
        raise NotImplementedError

    def usage(self) -> dict[str, Any]:
        """Requests and tokens so far, JSON-ready."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
