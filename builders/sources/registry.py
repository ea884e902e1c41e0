"""Sources of synthetic videos: what one is, what it gives, and which there are (`--synthetic SPEC`, `--generator SPEC`).

A SPEC is `scheme:argument`. A new source, or a new generator, is a module and one line in `SCHEMES`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from synvita_data.errors import SourceError, SynvitaError
from synvita_data.schema import Triplet

_BUILDERS = "synvita_data.builders"


class Scheme(NamedTuple):
    """A kind of SPEC.

    Attributes:
        written: how a user writes it.
        module: imported when its scheme is asked for. That of a source has
            `open_source(argument, *, generator, work) -> SyntheticSource`, that of a generator
            `open_generator(argument, overrides, name, cache) -> Generator`, that of the authors' videos
            `open_source(scheme, argument, *, work, reading) -> SyntheticSource`.
        generates: whether a model has to make the videos first.
        released: whether the videos are named as SynViTA's authors name theirs, and rows may refer to them.
    """

    written: str
    module: str
    generates: bool = False
    released: bool = False


SCHEMES: dict[str, Scheme] = {
    "folder": Scheme("folder:DIR", f"{_BUILDERS}.sources.folder"),
    "hf": Scheme("hf:OWNER/NAME[@REVISION]", f"{_BUILDERS}.sources.released", released=True),
    "root": Scheme("root:DIR", f"{_BUILDERS}.sources.released", released=True),
    "shapes": Scheme("shapes:", f"{_BUILDERS}.shapes.world"),
    "diffusers": Scheme("diffusers:REPO_OR_DIR", f"{_BUILDERS}.generators.diffusers.open", generates=True),
    "lavie": Scheme("lavie:DIR", f"{_BUILDERS}.generators.lavie.open", generates=True),
    "videocrafter2": Scheme(
        "videocrafter2:DIR", f"{_BUILDERS}.generators.videocrafter2.open", generates=True
    ),
    "command": Scheme("command:TEMPLATE", f"{_BUILDERS}.generators.command", generates=True),
}
GENERATORS = tuple(name for name, scheme in SCHEMES.items() if scheme.generates)
RELEASED = tuple(name for name, scheme in SCHEMES.items() if scheme.released)
ORDERS = ("annotations",)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the authors' videos are read.

    Attributes:
        generator: name of the model where no path says it; where paths do, its videos alone are taken.
        order: `annotations` lets the number at the end of a name count the contrast captions of its video, in the
            order of the triplets; None takes no name that needs it.
        of_csv: generator that a training CSV is of, None where there is none or it does not say.
        fetch: whether every video must be a file of this machine; else those of a repository whose SHA-256 is known
            stay there.
        on_note: called with lines for the user, before anything is fetched.
    """

    generator: str | None = None
    order: str | None = None
    of_csv: str | None = None
    fetch: bool = True
    on_note: Callable[[str], None] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class SyntheticVideo:
    """A file made from the contrast caption of a triplet, and how it was made.

    Attributes:
        path: the mp4 file on this machine.
        sample: which of several videos made from one caption, counted from 1.
        generator: name of the model that made it; this and what follows is None where nothing names it.
        revision: of the model's weights.
        seed: of its noise.
        config: its settings, JSON-ready.
        sha256: of the file's bytes, 64 lower-case hex digits, as whoever made the file noted it. It is
            not checked here: whoever reads the bytes hashes them anyway.
        prompt: how much of the contrast caption the generator read: `tokens`, `limits` and, where its end was
            cut, `cut_at`, each by text encoder.
        reference: text by which a row can refer to the video instead of holding it (`synthetic_videos.reference`).
        here: whether `path` is a file; else the video is where `reference` says, and has `sha256`.
    """

    path: Path
    sample: int = 1
    generator: str | None = None
    revision: str | None = None
    seed: int | None = None
    config: Mapping[str, Any] | None = None
    sha256: str | None = None
    prompt: Mapping[str, Any] | None = None
    reference: str | None = None
    here: bool = True


@dataclass
class FoundVideos:
    """The videos a source has for some triplets.

    Attributes:
        videos: pair id -> its videos, ordered by generator and sample; a pair without any is absent.
        unmatched: video files that belong to none of the triplets, as paths relative to the source.
        quarantined: one error for each file, or row of a manifest, that cannot be used.
        ambiguous: video files of which nothing says whose contrast caption they show, as `unmatched`.
        origin: where the authors' videos come from and what was found there, JSON-ready, without places of this
            machine; empty for other sources.
    """

    videos: dict[str, list[SyntheticVideo]] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)
    quarantined: list[SynvitaError] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)
    origin: dict[str, Any] = field(default_factory=dict)

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


def parse_spec(spec: str) -> tuple[str, str]:
    """Scheme and argument of a SPEC; the argument may be empty.

    Raises:
        SourceError: the SPEC has no scheme, or an unknown one; the message lists the known ones.
    """
    scheme, colon, argument = spec.strip().partition(":")
    if not colon or scheme.lower() not in SCHEMES:
        looks_like_folder = Path(spec).expanduser().is_dir()
        raise SourceError(
            f"unknown source of synthetic videos {scheme!r}" if colon else "a source needs a scheme",
            found=spec,
            expected=f"one of {', '.join(known.written for known in SCHEMES.values())}",
            fix=f"Write folder:{spec}" if looks_like_folder else None,
        )
    return scheme.lower(), argument.strip()


def open_source(
    spec: str,
    *,
    generator: str | None = None,
    work: Path | None = None,
    making: Mapping[str, Any] | None = None,
    reading: Reading | None = None,
) -> SyntheticSource:
    """The source that a SPEC names.

    Args:
        spec: `folder:DIR` (files made before), `hf:OWNER/NAME` and `root:DIR` (as SynViTA's authors published theirs),
            `shapes:` (rendered on the spot), or a generator, which makes them when they are asked for
            (`diffusers:REPO_OR_DIR`, …).
        generator: name to record for the model that made the videos, where they do not say themselves. A
            generator has a name of its own (`making["name"]` sets another): the same videos must not depend on
            which config they go into.
        work: folder where a source that makes videos keeps them; one that only finds them needs none.
        reading: how the authors' videos are read (`hf:`, `root:`); the others ignore it.
        making: keyword arguments of `generators.generate_videos` (samples, overrides, engine, workers, …), for
            the generators; the others ignore it.

    Raises:
        SourceError: the scheme is unknown, or cannot use the argument.
    """
    scheme, argument = parse_spec(spec)
    if SCHEMES[scheme].generates:
        run = import_module(f"{_BUILDERS}.generators.run")
        source: SyntheticSource = run.GeneratedSource(f"{scheme}:{argument}", work, making or {})
        return source
    module = import_module(SCHEMES[scheme].module)
    if SCHEMES[scheme].released:
        source = module.open_source(scheme, argument, work=work, reading=reading or Reading())
    else:
        source = module.open_source(argument, generator=generator, work=work)
    return source
