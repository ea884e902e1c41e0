"""Filters of rows by models: what the caption entails, and what one frame tells."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a filter says of one row.

    Attributes:
        kept: whether the row stays.
        score: that decided; None where there is none (no video).
        model: name of the filter's model.
        revision: of it.
        threshold: that the score was held against.
        reason: why it is not kept, in words for the quarantine; None where it is.
    """

    kept: bool
    score: float | None
    model: str
    revision: str
    threshold: float
    reason: str | None = None


class NliFilter:
    """Drops contrast captions that the caption entails."""

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        threshold: float = 0.5,
        dtype: str | None = None,
        device: str | None = None,
        batch_size: int = 64,
    ) -> None:
        raise NotImplementedError

    def record(self) -> dict[str, Any]:
        """What decides its verdicts, JSON-ready: part of a work key."""
        raise NotImplementedError

    def check(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """A verdict for each (caption, contrast caption)."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class FrameVqaFilter:
    """Keeps rows whose caption a model of single frames cannot confirm (VideoCon's "temporally challenging")."""

    def __init__(
        self,
        model: str,
        real_root: str | Path,
        *,
        revision: str | None = None,
        threshold: float = 0.5,
        frames: int = 4,
        require_video: bool = False,
        dtype: str | None = None,
        device: str | None = None,
    ) -> None:
        raise NotImplementedError

    def record(self) -> dict[str, Any]:
        raise NotImplementedError

    def check(self, rows: Sequence[Any]) -> list[Verdict]:
        """A verdict for each row: anything with source, video_id, caption and, where known, videopath, start, end."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
