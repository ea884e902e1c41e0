"""What a writer of contrast captions is asked, and what it answers.

A writer changes one thing in a caption, of the kind that the request names (VideoCon's seven misalignments), so that the
video no longer shows it. Whether a caption can be asked for a kind at all, and whether an answer is one, is decided
outside of the writers, the same for all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class ContrastRequest:
    """One caption and the kind of contrast caption that is wanted.

    Attributes:
        caption: t^r, describes the video.
        misalignment: one of `schema.MISALIGNMENTS`.
        seed: of every random choice for this request; equal requests with equal seeds get equal answers, in whatever
            batch they stand.
        candidates: how many different contrast captions are wanted, from 1.
    """

    caption: str
    misalignment: str
    seed: int = 0
    candidates: int = 1


@dataclass(frozen=True, slots=True)
class Contrast:
    """One contrast caption and what was changed.

    Attributes:
        neg_caption: t^s, the contrast caption.
        source_phrase: the words of the caption that were changed; None where the kind has none (flip) or none was given.
        target_phrase: what stands in their place.
        nle: explanation of the misalignment in one sentence; None where none was given.
    """

    neg_caption: str
    source_phrase: str | None = None
    target_phrase: str | None = None
    nle: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request.

    Attributes:
        contrasts: candidates, the writer's best first; fewer than asked for where it has no more.
        refused: why there is none, in words for the quarantine; None where `contrasts` is not empty.
        raw: what a model wrote, cut to a few lines, for the quarantine; None of a writer that is no model.
    """

    contrasts: tuple[Contrast, ...] = ()
    refused: str | None = None
    raw: str | None = None


@runtime_checkable
class ContrastWriter(Protocol):
    """Writes contrast captions. Opened once a worker; `write` is called with batches of any size.

    Attributes:
        name: as users name it and as rows record it, without secrets (`rules`, `llm:org/model`, `api:host#model`).
        misalignments: kinds that it can be asked for.
        batch_size: how many requests it likes to be given at once.
    """

    name: str
    misalignments: tuple[str, ...]
    batch_size: int

    def record(self) -> Mapping[str, Any]:
        """What decides its answers: JSON-ready, published, part of the work's key. No paths, no secrets.

        At least `writer` (its name) and `revision` (of tables, model or prompts: a digest or a commit).
        """

    def write(self, requests: Sequence[ContrastRequest]) -> list[Answer]:
        """One answer a request, in order. Faults of one request are its answer; only faults of the whole writer raise.

        Raises:
            SynvitaError: the writer cannot go on (server gone, model out of memory).
        """

    def close(self) -> None:
        """Give model and connections back."""
