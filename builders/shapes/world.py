"""The shapes world as data: triplets drawn from a seed, and the source `shapes:`."""

import csv
import io
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from synvita_data.errors import CaptionError, SourceError
from synvita_data.files import sha256_file, write_atomic
from synvita_data.schema import MISALIGNMENTS, Triplet

from ..sources import FoundVideos, SyntheticVideo
from .generator import (
    GENERATOR,
    REVISION,
    Decided,
    Generated,
    clip_seed,
    decide,
    film_decided,
    revision_of,
)
from .grammar import caption, explanation
from .pixels import seed_of
from .scenes import Scene, contrast, draw_scene
from .spec import ShapesSpec

SOURCE = "shapes"
# Splits of ten rounds of the seven misalignments, over and over: a small set has all three soon, and a
# pair keeps its split when more pairs are drawn.
_SPLIT_OF_ROUND = ("train", "train", "validation", "train", "test", *["train"] * 5)
# VideoCon's own columns, of the file that carries explanations.
COLUMNS = ("videopath", "source", "caption", "neg_caption", "youtube_key", "split", "misalignment", "nle")


# -- triplets ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """A triplet's annotation, and what its real clip and its contrast caption show."""

    triplet: Triplet
    scene: Scene
    contrast: Scene

    @property
    def real_seed(self) -> int:
        """Seed of the real clip's places and background."""
        return seed_of("real clip", self.triplet.video_id)


def draw_world(spec: ShapesSpec, *, file: Path | None = None) -> Iterator[Pair]:
    """The pairs of a world of either version; a larger `spec.pairs` only adds to them.

    In version 2, training and validation have the unseen concepts in contrast captions only. The test split has, where
    the misalignment can remove one, true captions that name them, and else captions that training does not have.

    Raises:
        SourceError: an impossible split, or so few pairs that an unseen concept is in no contrast caption of training.
    """
    if spec.version == 1:
        yield from draw_pairs(spec.pairs, spec.seed, file=file)
        return
    pairs = [_draw_pair(spec, k, file) for k in range(spec.pairs)]
    if spec.split.unseen and any(pair.triplet.split == "train" for pair in pairs):
        named = {
            each
            for pair in pairs
            if pair.triplet.split == "train"
            for each in spec.split.named(pair.contrast)
        }
        if missing := [concept for concept in spec.split.unseen if concept not in named]:
            raise SourceError(
                "too few pairs: an unseen concept is in neither captions nor contrast captions of training",
                found=f"{', '.join(missing)} in none of {spec.pairs} pairs",
                fix="Draw more pairs, or raise the share",
            )
    yield from pairs


def _draw_pair(spec: ShapesSpec, k: int, file: Path | None) -> Pair:
    """Pair k of a world of version 2; misalignment and split go by k as in version 1."""
    misalignment = MISALIGNMENTS[k % len(MISALIGNMENTS)]
    split = spec.only or _SPLIT_OF_ROUND[k // len(MISALIGNMENTS) % len(_SPLIT_OF_ROUND)]
    rng = random.Random(seed_of("pair", spec.version, spec.seed, split, k))
    if split != "test":
        scene, claimed = spec.split.draw_train(misalignment, rng)
    elif misalignment in spec.split.removers:
        scene, claimed = spec.split.draw_unseen(misalignment, rng)
    else:
        scene, claimed = spec.split.draw_free(misalignment, rng)
    return make_pair(spec.name, k, misalignment, scene, claimed, split=split, file=file)


def make_pair(
    name: str,
    k: int,
    misalignment: str,
    scene: Scene,
    claimed: Scene,
    *,
    split: str,
    file: Path | None = None,
) -> Pair:
    """Pair `k` of the world called `name`."""
    video_id = f"{name}-{k:05d}"
    triplet = Triplet(
        source=SOURCE,
        video_id=video_id,
        videopath=f"{SOURCE}/{video_id}.mp4",
        caption=caption(scene),
        neg_caption=caption(claimed),
        nle=explanation(scene, claimed, misalignment),
        split=split,
        misalignment=misalignment,
        file=None if file is None else str(file),
        row=k,
    )
    return Pair(triplet, scene, claimed)


def draw_pairs(count: int, seed: int = 0, *, file: Path | None = None) -> Iterator[Pair]:
    """The first `count` pairs of the world of `seed`; a larger count only adds to them.

    Pair k has misalignment k modulo seven; of every ten rounds of seven, the third is validation and the
    fifth test.

    Args:
        count: how many pairs.
        seed: of the world.
        file: noted in the triplets, for messages.

    Raises:
        SourceError: a count below 1, or a negative seed.
    """
    if count < 1 or seed < 0:
        raise SourceError(
            "the shapes world needs pairs",
            found=f"pairs={count}, seed={seed}",
            expected="pairs >= 1, seed >= 0",
        )
    for k in range(count):
        misalignment = MISALIGNMENTS[k % len(MISALIGNMENTS)]
        rng = random.Random(seed_of("pair", seed, k))
        scene = draw_scene(misalignment, rng)
        claimed = contrast(scene, misalignment, rng)
        split = _SPLIT_OF_ROUND[k // len(MISALIGNMENTS) % len(_SPLIT_OF_ROUND)]
        yield make_pair(f"s{seed}", k, misalignment, scene, claimed, split=split, file=file)


def triplets_csv(pairs: Iterable[Pair]) -> str:
    """The pairs' annotations as VideoCon writes them (`videocon_llm_feedback.csv`)."""
    return csv_text(COLUMNS, ([getattr(pair.triplet, column) for column in COLUMNS] for pair in pairs))


def csv_text(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A CSV file with a header and LF line ends; None is an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()


# -- the source -------------------------------------------------------------------------------------------


def write_triplets(argument: str, folder: Path) -> Path:
    """The annotation file of `shapes:pairs=64,seed=0`, written below `folder`.

    With it `--triplets shapes:…` needs no file; its contrast captions are what `--synthetic shapes:`
    renders. `make_shapes` adds real clips and scores.

    Args:
        argument: without the scheme.
        folder: where the file goes.

    Raises:
        SourceError: an option is not known or out of range.
    """
    spec = ShapesSpec.parse(argument)
    path = folder / f"shapes-{spec.name}-{spec.pairs}.csv"
    write_atomic(path, triplets_csv(draw_world(spec)))
    return path


def open_source(argument: str, *, generator: str | None, work: Path | None) -> "ShapesSource":
    """The source `shapes:seed=0,samples=1`; clips are kept in `work/shapes/`, to be found again.

    Raises:
        SourceError: an option is not known, or there is no folder to work in.
    """
    spec = ShapesSpec.parse(argument)
    if work is None:
        raise SourceError("shapes: renders videos and needs a folder to keep them in")
    folder = work / "shapes" / f"r{REVISION}-s{spec.seed}"
    if spec.version > 1:  # all that a clip is made from
        made = json.dumps([spec.noise.record(), spec.shift, spec.clip_seed], sort_keys=True)
        folder = work / "shapes" / f"r{revision_of(spec.geometry)}-{seed_of(made):016x}"
    return ShapesSource(folder, spec, generator or GENERATOR)


@dataclass(frozen=True, slots=True)
class ShapesSource:
    """Renders the contrast captions of triplets with the shapes world's generator.

    The triplets need not be this package's, only their contrast captions must be of its grammar; a triplet
    whose caption is not is quarantined. A clip that is there from an earlier run is not rendered again:
    files are written whole or not at all, and the folder's name carries the generator's revision and
    seed.

    Attributes:
        folder: of the clips.
        spec: what they are made with.
        generator: the name that videos give.
    """

    folder: Path
    spec: ShapesSpec
    generator: str

    def find(self, triplets: Sequence[Triplet]) -> FoundVideos:
        """The clips of `triplets`, rendered where they are missing: `<pair_id>_<NNN>.mp4`."""
        found = FoundVideos()
        for triplet in triplets:
            if triplet.pair_id in found.videos:
                continue
            try:
                clips = [self._clip(triplet, sample) for sample in range(1, self.spec.samples + 1)]
            except CaptionError as error:
                found.quarantined.append(error.at(triplet.file, triplet.row))
                continue
            found.videos[triplet.pair_id] = clips
        return found

    def _clip(self, triplet: Triplet, sample: int) -> SyntheticVideo:
        from synvita_data.video import encode_mp4

        path = self.folder / f"{triplet.pair_id}_{sample:03d}.mp4"
        if not path.is_file():
            clip = generate_for(triplet, self.spec, sample)
            encode_mp4(clip.pixels, clip.fps, path)
        return SyntheticVideo(
            path=path,
            sample=sample,
            generator=self.generator,
            revision=revision_of(self.spec.geometry),
            seed=clip_seed(self.spec.clip_seed, triplet.pair_id, sample, self.spec.geometry),
            config=self.spec.generation(self.spec.styles()[1]),
            sha256=sha256_file(path),
        )


def decide_for(triplet: Triplet, spec: ShapesSpec, sample: int = 1) -> Decided:
    """What the generator of a world makes of a triplet's contrast caption, before it is filmed.

    Raises:
        CaptionError: the contrast caption, or the caption where the clip shows it, is not of the grammar.
    """
    return decide(
        triplet.neg_caption,
        clip_seed(spec.clip_seed, triplet.pair_id, sample, spec.geometry),
        spec.noise.random,
        real=triplet.caption,
        misalignment=triplet.misalignment,
        reverted=spec.noise.reverted,
    )


def generate_for(triplet: Triplet, spec: ShapesSpec, sample: int = 1, *, size: int = 96) -> Generated:
    """The clip that the generator of a world makes of a triplet's contrast caption.

    Raises:
        CaptionError: as `decide_for`.
    """
    return film_decided(decide_for(triplet, spec, sample), spec.styles(size)[1], spec.geometry)
