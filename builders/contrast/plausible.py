"""Adversarial filtering: among several contrast captions the one that words alone give away least."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from synvita_data.captions.text_only import TextOnly


@dataclass(frozen=True, slots=True)
class Choice:
    """Which candidate each row gets.

    Attributes:
        chosen: index of the candidate of each row.
        before: text-only AUC with every row's first candidate.
        after: with the chosen ones.
    """

    chosen: tuple[int, ...]
    before: TextOnly
    after: TextOnly


def choose_plausible(
    rows: Sequence[tuple[str, str, str | None]], candidates: Sequence[Sequence[str]], **_: Any
) -> Choice:
    """Choose for each row (video, caption, misalignment) one of its candidates (contrast captions, at least one)."""
    raise NotImplementedError
