"""The shapes world as data: triplets drawn from a seed, the source `shapes:`, and a whole world in a folder."""

import csv
import io
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from synvita_data.errors import CaptionError, SourceError
from synvita_data.files import sha256_file, write_atomic
from synvita_data.schema import MISALIGNMENTS, Triplet, make_row_id

from ..sources import FoundVideos, SyntheticVideo
from .generator import FAULTS, GENERATOR, REVISION, clip_seed, generate
from .grammar import caption, explanation
from .pixels import REAL, SYNTHETIC, Style, render, seed_of
from .scenes import Scene, contrast, draw_scene
from .vqa import VQA_MODELS, score_frames

SOURCE = "shapes"
# Splits of ten rounds of the seven misalignments, over and over: a small set has all three soon, and a
# pair keeps its split when more pairs are drawn.
_SPLIT_OF_ROUND = ("train", "train", "validation", "train", "test", *["train"] * 5)
# VideoCon's own columns, of the file that carries explanations.
COLUMNS = ("videopath", "source", "caption", "neg_caption", "youtube_key", "split", "misalignment", "nle")
VQA_FRAMES = (4, "segment-midpoints")  # as `synvita vqascore` takes for f̄


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
        video_id = f"s{seed}-{k:05d}"
        triplet = Triplet(
            source=SOURCE,
            video_id=video_id,
            videopath=f"{SOURCE}/{video_id}.mp4",
            caption=caption(scene),
            neg_caption=caption(claimed),
            nle=explanation(scene, claimed, misalignment),
            split=_SPLIT_OF_ROUND[k // len(MISALIGNMENTS) % len(_SPLIT_OF_ROUND)],
            misalignment=misalignment,
            file=None if file is None else str(file),
            row=k,
        )
        yield Pair(triplet, scene, claimed)


def _triplets_csv(pairs: Iterable[Pair]) -> str:
    """The pairs' annotations as VideoCon writes them (`videocon_llm_feedback.csv`)."""
    return _csv(COLUMNS, ([getattr(pair.triplet, column) for column in COLUMNS] for pair in pairs))


def _csv(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A CSV file with a header and LF line ends; None is an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()


# -- the source -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ShapesSpec:
    """The argument of `shapes:pairs=64,seed=0,samples=1`, each option optional, in any order.

    Attributes:
        pairs: how many pairs to draw where the triplets are drawn too (`--triplets shapes:…`); for
            triplets that exist already it says nothing.
        seed: of the world, and of the generator.
        samples: synthetic clips a pair.
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
    path = folder / f"shapes-s{spec.seed}-{spec.pairs}.csv"
    write_atomic(path, _triplets_csv(draw_pairs(spec.pairs, spec.seed)))
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
    return ShapesSource(folder, spec.seed, spec.samples, generator or GENERATOR)


@dataclass(frozen=True, slots=True)
class ShapesSource:
    """Renders the contrast captions of triplets with the shapes world's generator.

    The triplets need not be this package's, only their contrast captions must be of its grammar; a triplet
    whose caption is not is quarantined. A clip that is there from an earlier run is not rendered again:
    files are written whole or not at all, and the folder's name carries the generator's revision and
    seed.

    Attributes:
        folder: of the clips.
        seed: of the generator.
        samples: clips a triplet.
        generator: the name that videos give.
    """

    folder: Path
    seed: int
    samples: int
    generator: str

    def find(self, triplets: Sequence[Triplet]) -> FoundVideos:
        """The clips of `triplets`, rendered where they are missing: `<pair_id>_<NNN>.mp4`."""
        found = FoundVideos()
        for triplet in triplets:
            if triplet.pair_id in found.videos:
                continue
            try:
                clips = [self._clip(triplet, sample) for sample in range(1, self.samples + 1)]
            except CaptionError as error:
                found.quarantined.append(error.at(triplet.file, triplet.row))
                continue
            found.videos[triplet.pair_id] = clips
        return found

    def _clip(self, triplet: Triplet, sample: int) -> SyntheticVideo:
        from synvita_data.video import encode_mp4

        path = self.folder / f"{triplet.pair_id}_{sample:03d}.mp4"
        if not path.is_file():
            clip = generate(triplet.neg_caption, seed=self.seed, pair_id=triplet.pair_id, sample=sample)
            encode_mp4(clip.pixels, clip.fps, path)
        return SyntheticVideo(
            path=path,
            sample=sample,
            generator=self.generator,
            revision=REVISION,
            seed=clip_seed(self.seed, triplet.pair_id, sample),
            config=_generation_config(SYNTHETIC),
            sha256=sha256_file(path),
        )


def _generation_config(style: Style) -> dict[str, Any]:
    """The generator's settings as they are published: JSON-ready, the same for all clips of a run."""
    return {"size": style.size, "frames": style.frames, "fps": style.fps, "faults": dict(FAULTS)}


# -- a world in a folder ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ShapesFolder:
    """A shapes world on disk; the paths are what `synvita build` takes.

    Attributes:
        root: the folder.
        pairs: how many.
        samples: synthetic clips a pair.
    """

    root: Path
    pairs: int
    samples: int

    @property
    def triplets(self) -> Path:
        """In VideoCon's columns."""
        return self.root / "triplets.csv"

    @property
    def real(self) -> Path:
        """Root of the real clips."""
        return self.root / "real"

    @property
    def synthetic(self) -> Path:
        """Folder of the synthetic clips with `manifest.jsonl`."""
        return self.root / "synthetic"

    @property
    def vqascores(self) -> Path:
        """Score table, long CSV: by `row` with one sample a pair, by `id` with more."""
        return self.root / "vqascores.csv"


def make_shapes(
    folder: str | Path, pairs: int = 64, seed: int = 0, samples: int = 1, size: int = 96
) -> ShapesFolder:
    """Render the shapes world of `seed` into `folder`; equal arguments give equal bytes.

        folder/triplets.csv                        captions, contrast captions, explanations
        folder/real/shapes/s0-00000.mp4            16 frames, 8 fps, a few kB
        folder/synthetic/shapes_s0-00000_001.mp4   20 frames, 10 fps
        folder/synthetic/manifest.jsonl            id, path, sha256, seed, config, and what went wrong
        folder/vqascores.csv                       three frame-level scorers on the synthetic clips

    Args:
        folder: made if it is not there; files of an earlier run are overwritten.
        pairs: how many, from 1; see `draw_pairs` for misalignments and splits.
        seed: of the world.
        samples: synthetic clips a pair, from 1.
        size: edge of the frames in pixels, even.

    Raises:
        SourceError: an argument is out of range, or `folder` holds clips that this world does not have.
    """
    from synvita_data.video import FramePolicy, decode, encode_mp4

    if samples < 1 or size < 48 or size % 2:
        raise SourceError(
            "the shapes world cannot be rendered like this",
            found=f"samples={samples}, size={size}",
            expected="samples from 1, an even size from 48",
        )
    made = ShapesFolder(Path(folder), pairs, samples)
    world = list(draw_pairs(pairs, seed, file=made.triplets))
    real = {pair.triplet.pair_id: made.real / str(pair.triplet.videopath) for pair in world}
    synthetic = {
        (pair.triplet.pair_id, sample): made.synthetic / f"{pair.triplet.video_key}_{sample:03d}.mp4"
        for pair in world
        for sample in range(1, samples + 1)
    }
    _refuse_others(made, {*real.values(), *synthetic.values()})
    real_style, synthetic_style = replace(REAL, size=size), replace(SYNTHETIC, size=size)
    count, rule = VQA_FRAMES
    manifest: list[str] = []
    scores: dict[str, list[tuple[object, ...]]] = {model.name: [] for model in VQA_MODELS}
    for pair in world:
        triplet = pair.triplet
        clip = render(pair.scene, pair.real_seed, real_style)
        encode_mp4(clip, real_style.fps, real[triplet.pair_id])
        for sample in range(1, samples + 1):
            path = synthetic[triplet.pair_id, sample]
            generated = generate(
                triplet.neg_caption, seed=seed, pair_id=triplet.pair_id, sample=sample, style=synthetic_style
            )
            encode_mp4(generated.pixels, generated.fps, path)
            line = {
                "id": make_row_id(triplet.pair_id, GENERATOR, sample),
                "path": path.name,
                "sha256": sha256_file(path),
                "seed": generated.seed,
                "generator": GENERATOR,
                "revision": REVISION,
                "config": _generation_config(synthetic_style),
                # Not published: what the generator got wrong, and what the clip really shows.
                "faults": list(generated.faults),
                "shown": generated.shown,
            }
            manifest.append(json.dumps(line) + "\n")
            # One row a scorer, of the clip's own pixels as they were encoded.
            frames = decode(path, FramePolicy(count=count, rule=rule)).pixels
            means = score_frames(frames, [triplet.neg_caption, triplet.caption]).mean(axis=1)
            key = triplet.row if samples == 1 else line["id"]
            for (name, rows), both in zip(scores.items(), means, strict=True):
                cells = (f"{score:.9f}" for score in both)
                rows.append((key, triplet.videopath, name, *cells, line["sha256"], sample))
    write_atomic(made.triplets, _triplets_csv(world))
    key_column = "row" if samples == 1 else "id"
    columns = (key_column, "videopath", "model", "neg_caption_score", "caption_score", "sha256", "sample")
    # Model by model, as published score tables are.
    write_atomic(made.vqascores, _csv(columns, (row for rows in scores.values() for row in rows)))
    write_atomic(made.synthetic / "manifest.jsonl", "".join(manifest))
    return made


def _refuse_others(made: ShapesFolder, own: set[Path]) -> None:
    """Clips of another world in the same folder would be taken for this one's by whoever reads it."""
    for folder in (made.real, made.synthetic):
        other = next((path for path in sorted(folder.rglob("[!.]*.mp4")) if path not in own), None)
        if other is not None:
            raise SourceError(
                "the folder holds clips of another shapes world",
                file=other,
                fix="Name an empty folder, or remove the old one",
            )
