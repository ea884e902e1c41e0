"""What one video is made from: the request, its key in the store, its seed, and its record.

A key depends on everything that the pixels depend on and on nothing else, so that equal requests are equal
work wherever and whenever they are made.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from synvita_data.errors import SynvitaError
from synvita_data.jobs import Worker, work_key
from synvita_data.schema import Triplet

if TYPE_CHECKING:
    from .prompt_length import PromptEncoder

VIDEO = "video.mp4"
# Raise it when an equal request would be made into another file.
RECIPE_VERSION = 1
# Bytes. File systems take 255, of which sample, suffix and the mark of a temporary file need some.
LONGEST_PAIR_ID = 200


@dataclass(frozen=True, slots=True)
class Request:
    """One sample of one contrast caption.

    Attributes:
        pair_id: of the triplet. caption: the contrast caption, as the annotation file has it.
        sample: counted from 1. file, row: where the triplet was read, for messages.
    """

    pair_id: str
    caption: str
    sample: int
    file: str | None = None
    row: int | None = None

    @property
    def name(self) -> str:
        """The video's file name, which `folder:` finds by pair id: `<pair_id>_<NNN>.mp4`."""
        return f"{self.pair_id}_{self.sample:03d}.mp4"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a generator makes videos; plain data.

    Attributes:
        scheme: of the SPEC. name: recorded as the row's generator. revision: of weights or program.
        settings: JSON; all that the pixels depend on beside caption, seed and weights.
        placement: JSON; how the model is laid out in memory, which changes no pixel.
    """

    scheme: str
    name: str
    revision: str
    settings: Mapping[str, Any]
    placement: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """64 hex digits over everything but `placement`."""
        return work_key(
            version=RECIPE_VERSION,
            scheme=self.scheme,
            generator=self.name,
            revision=self.revision,
            settings=dict(self.settings),
        )

    def to_json(self) -> dict[str, Any]:
        """What an output folder is bound to."""
        return {
            "scheme": self.scheme,
            "generator": self.name,
            "revision": self.revision,
            "settings": dict(self.settings),
        }

    def seed(self, request: Request, bits: int = 63) -> int:
        """Hash of pair id, generator, revision and sample: a row's seed depends on no other row."""
        return hash_seed([request.pair_id, self.name, self.revision, request.sample], bits)


class Generator(Protocol):
    """A recipe that can be carried out; plain data, sent to the workers."""

    @property
    def recipe(self) -> Recipe:
        """What it makes."""

    def inputs(self, requests: Sequence[Request]) -> dict[str, tuple[Request, ...]]:
        """Key -> the requests that are made together (one, unless a program is given many at a time)."""

    def encoders(self) -> "Sequence[PromptEncoder] | None":
        """What reads the captions, without its weights; None where that is not known."""

    def open_worker(self, root: str, out: str, device: str | None) -> Worker:
        """Load model or program. `root` is the store's folder, `out` where finished videos appear."""


def make_requests(triplets: Iterable[Triplet], samples: int) -> list[Request]:
    """`samples` requests a pair, in the order of the triplets; a pair that comes twice is made once."""
    requests: dict[tuple[str, int], Request] = {}
    for triplet in triplets:
        first = Request(triplet.pair_id, triplet.neg_caption, 1, triplet.file, triplet.row)
        for sample in range(1, samples + 1):
            requests.setdefault((first.pair_id, sample), replace(first, sample=sample))
    return list(requests.values())


def refuse_long_names(triplets: Iterable[Triplet], on_bad: Callable[[SynvitaError], None]) -> list[Triplet]:
    """The triplets whose videos can have a file name; the others' errors go to `on_bad`."""
    usable = []
    for triplet in triplets:
        length = len(triplet.pair_id.encode())
        if length <= LONGEST_PAIR_ID:
            usable.append(triplet)
        else:
            on_bad(UnnameableError(triplet, length))
    return usable


class UnnameableError(SynvitaError):
    """A pair of which no file can be named."""

    def __init__(self, triplet: Triplet, length: int) -> None:
        super().__init__(
            "the row's id is too long for a file name",
            file=triplet.file,
            row=triplet.row,
            found=f"{length} bytes: {triplet.pair_id[:40]}…",
            expected=f"at most {LONGEST_PAIR_ID}, source and video id together",
            fix="Give the row a shorter video id",
        )
        self.pair_id = triplet.pair_id

    def to_record(self) -> dict[str, Any]:
        """With the pair's id, by which a build finds it."""
        return {**super().to_record(), "id": self.pair_id, "sample": 1}


def request_key(digest: str, request: Request) -> str:
    """Key of a request under the recipe of this digest."""
    return work_key(recipe=digest, pair=request.pair_id, caption=request.caption, sample=request.sample)


def hash_seed(parts: Any, bits: int) -> int:
    """The first `bits` bits of SHA-256 over the JSON of `parts`."""
    digest = hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - bits)


def video_fields(recipe: Recipe, request: Request, seed: int, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the store keeps of one video; the manifest's line follows from it and the file's SHA-256."""
    return {
        "id": request.pair_id,
        "sample": request.sample,
        "path": request.name,
        "caption": request.caption,
        "generator": recipe.name,
        "revision": recipe.revision,
        "seed": seed,
        "config": dict(config),
    }
