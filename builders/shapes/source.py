"""`shapes:`, a source of synthetic videos that renders them on the spot."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synvita_data.errors import CaptionError, SourceError
from synvita_data.files import sha256_file, write_atomic
from synvita_data.schema import Triplet

from ..sources import FoundVideos, SyntheticVideo
from .generator import FAULTS, GENERATOR, REVISION, clip_seed, generate
from .pairs import draw_pairs, triplets_csv
from .pixels import SYNTHETIC, Style


def generation_config(style: Style = SYNTHETIC) -> dict[str, Any]:
    """The generator's settings as they are published: JSON-ready, the same for all clips of a run."""
    return {
        "size": style.size,
        "frames": style.frames,
        "fps": style.fps,
        "faults": dict(FAULTS),
    }


@dataclass(frozen=True, slots=True)
class ShapesSpec:
    """The argument of `shapes:pairs=64,seed=0,samples=1`, each option optional, in any order.

    Attributes:
        pairs: how many pairs to draw where the triplets are drawn too (`--triplets shapes:…`); for
            triplets that exist already it says nothing.
        seed: of the world, and of the generator. samples: synthetic clips a pair.
    """

    pairs: int = 64
    seed: int = 0
    samples: int = 1

    @classmethod
    def parse(cls, argument: str) -> "ShapesSpec":
        """Raises `SourceError` for an unknown option or a value that is not a fitting whole number."""
        values: dict[str, int] = {}
        for part in filter(None, (piece.strip() for piece in argument.split(","))):
            name, _, value = (piece.strip() for piece in part.partition("="))
            least = {"pairs": 1, "seed": 0, "samples": 1}.get(name)
            if least is None or name in values or not value.isdecimal() or int(value) < least:
                raise SourceError(
                    "an option of shapes: cannot be used",
                    found=part,
                    expected="shapes:pairs=64,seed=0,samples=1, each at most once, pairs and samples from 1",
                )
            values[name] = int(value)
        return cls(**values)


def write_triplets(argument: str, folder: Path) -> Path:
    """The annotation file of `shapes:pairs=64,seed=0` (without the scheme), written below `folder`.

    With it `--triplets shapes:…` needs no file; its contrast captions are what `--synthetic shapes:`
    renders. `make_shapes` adds real clips and scores.

    Raises:
        SourceError: an option is not known or out of range.
    """
    spec = ShapesSpec.parse(argument)
    path = folder / f"shapes-s{spec.seed}-{spec.pairs}.csv"
    write_atomic(path, triplets_csv(draw_pairs(spec.pairs, spec.seed)))
    return path


def open_source(argument: str, *, generator: str | None, work: Path | None) -> "ShapesSource":
    """The source `shapes:seed=0,samples=1`; clips are kept in `work/shapes/`, to be found again.

    Raises:
        SourceError: an option is not known, or there is no folder to work in.
    """
    spec = ShapesSpec.parse(argument)
    if work is None:
        raise SourceError("shapes: renders videos and needs a folder to keep them in")
    return ShapesSource(work / "shapes", seed=spec.seed, samples=spec.samples, generator=generator)


class ShapesSource:
    """Renders the contrast captions of triplets with the shapes world's generator.

    The triplets need not be this package's, only their contrast captions must be of its grammar; a triplet
    whose caption is not is quarantined. A clip that is there from an earlier run is not rendered again:
    files are written whole or not at all, and the folder's name carries the generator's revision and
    seed.
    """

    def __init__(
        self, folder: Path, *, seed: int = 0, samples: int = 1, generator: str | None = None
    ) -> None:
        self.folder = folder / f"r{REVISION}-s{seed}"
        self.seed = seed
        self.samples = samples
        self.generator = generator or GENERATOR

    def find(self, triplets: Sequence[Triplet]) -> FoundVideos:
        """The clips of `triplets`, rendered where they are missing: `<pair_id>_<NNN>.mp4`."""
        from synvita_data.video import encode_mp4

        found = FoundVideos()
        for triplet in triplets:
            if triplet.pair_id in found.videos:
                continue
            try:
                clips = [self._clip(triplet, sample, encode_mp4) for sample in range(1, self.samples + 1)]
            except CaptionError as error:
                error.file, error.row = triplet.file, triplet.row
                error.args = (str(error),)
                found.quarantined.append(error)
                continue
            found.videos[triplet.pair_id] = clips
        return found

    def _clip(self, triplet: Triplet, sample: int, encode: Any) -> SyntheticVideo:
        path = self.folder / f"{triplet.pair_id}_{sample:03d}.mp4"
        if not path.is_file():
            clip = generate(triplet.neg_caption, seed=self.seed, pair_id=triplet.pair_id, sample=sample)
            encode(clip.pixels, clip.fps, path)
        seed = clip_seed(self.seed, triplet.pair_id, sample)
        return SyntheticVideo(
            path=path,
            sample=sample,
            generator=self.generator,
            revision=REVISION,
            seed=seed,
            config=generation_config(),
            sha256=sha256_file(path),
        )
