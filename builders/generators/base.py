"""What a generator is: what it is asked for, how its settings are read, which key and seed a video has, what is kept.

A key depends on everything that the pixels depend on and on nothing else, so that equal requests are equal
work wherever and whenever they are made.
"""

import hashlib
import json
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from synvita_data.errors import EngineError, SourceError, SynvitaError, choose
from synvita_data.files import parse_json
from synvita_data.hub.places import without_own_places
from synvita_data.jobs import Claim, Worker, is_worker_fault, no_room, work_key
from synvita_data.schema import Triplet

from ..sources.registry import GENERATORS, SCHEMES, parse_spec

if TYPE_CHECKING:
    from .prompt_length import PromptEncoder

VIDEO = "video.mp4"
# Raise it when an equal request would be made into another file.
RECIPE_VERSION = 1
# Bytes. File systems take 255, of which sample, suffix and the mark of a temporary file need some.
LONGEST_PAIR_ID = 200
# Characters of messages and of a program's output that are kept of a failure.
LONGEST = 2000
LIBRARIES = ("synvita-data", "torch", "diffusers", "transformers", "av")
PROGRAM_FAILED = "the program failed"


# --- requests and recipes --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """One sample of one contrast caption.

    Attributes:
        pair_id: of the triplet.
        caption: the contrast caption, as the annotation file has it.
        sample: counted from 1.
        file: where the triplet was read, for messages.
        row: its row in that file.
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
        scheme: of the SPEC.
        name: recorded as the row's generator.
        revision: of the weights or of the program.
        settings: all that the pixels depend on beside caption, seed and weights; JSON-ready.
        placement: how the model is laid out in memory, which changes no pixel; JSON-ready.
    """

    scheme: str
    name: str
    revision: str
    settings: Mapping[str, Any]
    placement: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """What an output folder is bound to: everything but `placement`."""
        return {
            "scheme": self.scheme,
            "generator": self.name,
            "revision": self.revision,
            "settings": dict(self.settings),
        }

    @property
    def digest(self) -> str:
        """64 hex digits over everything but `placement`."""
        return work_key(version=RECIPE_VERSION, **self.to_json())

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
        """Load the model or check the program.

        Args:
            root: folder of the store.
            out: folder where finished videos appear.
            device: of the worker; None leaves the choice to it.
        """


def open_generator(
    spec: str,
    overrides: Iterable[str] | Mapping[str, Any] = (),
    *,
    name: str | None = None,
    cache: Path | None = None,
) -> Generator:
    """The generator of a SPEC, before anything heavy is imported or loaded.

    Args:
        spec: `diffusers:REPO_OR_DIR`, `lavie:DIR`, `videocrafter2:DIR` or `command:TEMPLATE`.
        overrides: `key=value` strings or a mapping; they replace the preset's settings.
        name: recorded as the videos' generator; default the model's own name.
        cache: JSON file that remembers digests of local weights; None remembers nothing.

    Raises:
        SourceError: the SPEC is not of a generator, the model does not exist, or a setting cannot be used.
    """
    scheme, argument = parse_spec(spec)
    if not SCHEMES[scheme].generates:
        raise SourceError(
            f"{scheme}: does not generate",
            found=spec,
            expected=f"one of {', '.join(GENERATORS)}",
            fix=f"Its videos need no generating: give it to `synvita build --synthetic {spec}`",
        )
    module = import_module(SCHEMES[scheme].module)
    generator: Generator = module.open_generator(argument, parse_overrides(overrides), name, cache)
    return generator


def make_requests(triplets: Iterable[Triplet], samples: int) -> list[Request]:
    """`samples` requests a pair, in the order of the triplets; a pair that comes twice is made once."""
    requests: dict[tuple[str, int], Request] = {}
    for triplet in triplets:
        first = Request(triplet.pair_id, triplet.neg_caption, 1, triplet.file, triplet.row)
        for sample in range(1, samples + 1):
            requests.setdefault((first.pair_id, sample), replace(first, sample=sample))
    return list(requests.values())


def request_key(digest: str, request: Request) -> str:
    """Key of a request under the recipe of this digest."""
    return work_key(recipe=digest, pair=request.pair_id, caption=request.caption, sample=request.sample)


def hash_seed(parts: Any, bits: int) -> int:
    """The first `bits` bits of SHA-256 over the JSON of `parts`."""
    digest = hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - bits)


class UnnameableError(SynvitaError):
    """A pair of which no file can be named."""

    def __init__(self, triplet: Triplet) -> None:
        super().__init__(
            "the row's id is too long for a file name",
            file=triplet.file,
            row=triplet.row,
            found=f"{len(triplet.pair_id.encode())} bytes: {triplet.pair_id[:40]}…",
            expected=f"at most {LONGEST_PAIR_ID}, source and video id together",
            fix="Give the row a shorter video id",
        )
        self.pair_id = triplet.pair_id

    def to_record(self) -> dict[str, Any]:
        """With the pair's id, by which a build finds it."""
        return {**super().to_record(), "id": self.pair_id, "sample": 1}


def refuse_long_names(triplets: Iterable[Triplet], on_bad: Callable[[SynvitaError], None]) -> list[Triplet]:
    """The triplets whose videos can have a file name; the others' errors go to `on_bad`."""
    usable = []
    for triplet in triplets:
        if len(triplet.pair_id.encode()) <= LONGEST_PAIR_ID:
            usable.append(triplet)
        else:
            on_bad(UnnameableError(triplet))
    return usable


# --- settings: `--set key=value` -------------------------------------------------------------------


def parse_overrides(pairs: Iterable[str] | Mapping[str, Any]) -> dict[str, Any]:
    """`["steps=25", "scheduler.flow_shift=5"]` as a mapping; a mapping is taken as it is.

    Values are JSON where they can be read as such (numbers, true, false, null, lists), else text.

    Raises:
        SourceError: a pair has no `=`, or a key is given twice.
    """
    if isinstance(pairs, Mapping):
        return dict(pairs)
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key, value = key.strip(), value.strip()
        if not equals or not key:
            raise SourceError("a setting cannot be read", found=pair, expected="--set key=value")
        if key in found:
            raise SourceError("a setting is given twice", found=key)
        try:
            found[key] = parse_json(value, parse_constant=str)  # NaN stays text
        except ValueError:
            found[key] = {"True": True, "False": False, "none": None, "None": None}.get(value, value)
    return found


def refuse_unknown(overrides: Iterable[str], known: Iterable[str], prefixes: Sequence[str] = ()) -> None:
    """Raise `SourceError` for the first key that is neither known nor begins with one of `prefixes`."""
    names = [*sorted(known), *(f"{prefix}NAME" for prefix in prefixes)]
    for key in overrides:
        if not any(key.startswith(prefix) and key != prefix for prefix in prefixes):
            choose(key, names, "setting", error=SourceError)


def read_whole(key: str, value: Any) -> int:
    """`value` as a whole number of at least 1. Raises SourceError."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _unusable(key, value, "a whole number from 1")
    return value


def read_number(key: str, value: Any, *, above: float | None = None) -> float:
    """`value` as a finite float, above `above` if that is given. Raises SourceError."""
    bad = isinstance(value, bool) or not isinstance(value, (int, float)) or value - value != 0
    if bad or (above is not None and value <= above):
        raise _unusable(key, value, "a number" if above is None else f"a number above {above:g}")
    return float(value)


def read_flag(key: str, value: Any) -> bool:
    """`value` if it is true or false. Raises SourceError."""
    if not isinstance(value, bool):
        raise _unusable(key, value, "true or false")
    return value


def read_text(key: str, value: Any) -> str:
    """`value` as text; a number that was meant as text becomes it again. Raises SourceError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise _unusable(key, value, "text")
    return value


def read_size(value: Any) -> tuple[int, int]:
    """`"480x720"` (height × width) as two numbers. Raises SourceError."""
    match = re.fullmatch(r"(\d+)[x×](\d+)", str(value))
    if match is None:
        raise _unusable("size", value, "HEIGHTxWIDTH, such as 480x720")
    return int(match[1]), int(match[2])


def _unusable(key: str, value: Any, expected: str) -> SourceError:
    return SourceError(f"the setting {key} cannot be used", found=value, expected=expected)


# --- what is kept of a video, or of a failure ------------------------------------------------------


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


def device_name(device: str) -> str:
    """The GPU's name, or the CPU's architecture. Other hardware may give other bits."""
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    return f"{device} {platform.machine()}" if device == "cpu" else device


@contextmanager
def quarantining(claim: Claim, requests: Sequence[Request]) -> Iterator[None]:
    """Quarantine the claim, with its rows, for what goes wrong inside the `with`.

    Faults of the worker (any EngineError, memory, a lost GPU) and of the disk leave the `with`, and the claim
    goes back.
    """
    with claim:
        try:
            yield
        except Exception as error:
            if blames_worker(error) or claim.outcome != "open":
                raise
            claim.quarantine(_failure(requests, error))


def blames_worker(error: Exception) -> bool:
    """Whether the worker or the disk is at fault, so that no request may be blamed."""
    return isinstance(error, EngineError) or is_worker_fault(error) or no_room(error) is not None


def _failure(requests: Sequence[Request], error: Exception) -> dict[str, Any]:
    """JSON-ready: the error, and the rows it is about."""
    first = requests[0]
    if isinstance(error, SynvitaError):
        record = error.to_record()
    else:
        text = " ".join(str(error).split())[:LONGEST] or "no message"
        record = {"reason": type(error).__name__, "problem": text}
    record |= getattr(error, "details", None) or {}
    if len(requests) == 1:
        record |= {"id": first.pair_id, "sample": first.sample}
    else:
        record |= {"videos": [request.name for request in requests]}
    if first.file is not None:
        record.setdefault("file", first.file)
    if first.row is not None:
        record.setdefault("row", first.row)
    return record


def public_failure(record: Mapping[str, Any]) -> dict[str, Any]:
    """A failure as it stands beside the videos, for whoever gets them: without what a program wrote, nor places here."""
    shown = {key: value for key, value in record.items() if key != "stderr"}
    if "stderr" in record:
        if record.get("problem") == PROGRAM_FAILED and "found" in shown:
            # Earlier versions kept the last line of standard error here.
            shown["found"] = str(shown["found"]).partition(": ")[0]
        shown.setdefault("fix", "What it wrote is kept in the work folder, which is not published")
    return without_own_places(shown)
