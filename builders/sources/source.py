"""What a source of synthetic videos is, and what it gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from synvita_data.errors import SynvitaError
from synvita_data.schema import Triplet


@dataclass(frozen=True, slots=True)
class SyntheticVideo:
    """A file made from the contrast caption of a triplet, and how it was made.

    Attributes:
        path: the mp4 file on this machine.
        sample: which of several videos made from one caption, counted from 1.
        generator: name of the model that made it. revision: of its weights.
        seed: of its noise. config: its settings, JSON-ready.
        sha256: of the file's bytes, 64 lower-case hex digits, as whoever made the file noted it. It is
            not checked here: whoever reads the bytes hashes them anyway.
        prompt: how much of the contrast caption the generator read: `tokens`, `limits` and, where its end was
            cut, `cut_at`, each by text encoder.
        A value that nothing names is None.
    """

    path: Path
    sample: int = 1
    generator: str | None = None
    revision: str | None = None
    seed: int | None = None
    config: Mapping[str, Any] | None = None
    sha256: str | None = None
    prompt: Mapping[str, Any] | None = None


@dataclass
class FoundVideos:
    """The videos a source has for some triplets.

    Attributes:
        videos: pair id -> its videos, ordered by generator and sample; a pair without any is absent.
        unmatched: video files that belong to none of the triplets, as paths relative to the source.
        quarantined: one error for each file, or row of a manifest, that cannot be used.
    """

    videos: dict[str, list[SyntheticVideo]] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)
    quarantined: list[SynvitaError] = field(default_factory=list)

    def of(self, triplet: Triplet) -> list[SyntheticVideo]:
        """The videos made from this triplet's contrast caption, in order; may be empty."""
        if not self.videos:  # a pair id costs a digest
            return []
        return self.videos.get(triplet.pair_id, [])


class SyntheticSource(Protocol):
    """Finds, or makes, the synthetic videos of triplets. `open_source` gives one for a SPEC."""

    @property
    def generator(self) -> str:
        """Name recorded for videos that do not say which model made them."""

    def find(self, triplets: Sequence[Triplet]) -> FoundVideos:
        """The videos of `triplets`: equal files and triplets give an equal answer in an equal order."""
