"""A whole shapes world in a folder: triplets, real and synthetic clips, a manifest, scores, and what each clip shows."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from synvita_data.errors import SourceError
from synvita_data.files import sha256_file, write_atomic
from synvita_data.schema import Triplet, make_row_id

from .generator import GENERATOR, revision_of
from .pixels import render
from .spec import ShapesSpec
from .truth import ORACLE, truth_of
from .vqa import VQA_MODELS, score_frames
from .world import csv_text, draw_world, generate_for, triplets_csv

VQA_FRAMES = (4, "segment-midpoints")  # as `synvita vqascore` takes for f̄


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

    @property
    def truth(self) -> Path:
        """What each synthetic clip really shows, JSON Lines: see `Truth`. Version 2 only."""
        return self.root / "truth.jsonl"

    @property
    def oracle(self) -> Path:
        """A score table whose ω (Eq. 4) is 1 for clips that are right in the contrasted fact, and else 0. Version 2."""
        return self.root / "oracle.csv"


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
    if pairs < 1 or seed < 0 or samples < 1:
        raise SourceError(
            "the shapes world cannot be rendered like this",
            found=f"pairs={pairs}, seed={seed}, samples={samples}",
            expected="pairs and samples from 1, seed from 0",
        )
    return make_world(folder, ShapesSpec(pairs=pairs, seed=seed, samples=samples), size=size)


def make_world(folder: str | Path, spec: ShapesSpec, *, size: int = 96) -> ShapesFolder:
    """Render the world of `spec` into `folder`, as `make_shapes`; equal arguments give equal bytes.

    A world of version 2 has two more files, which are not published:

        folder/truth.jsonl    what each synthetic clip shows, its faults, and whether it is right in the contrasted fact
        folder/oracle.csv     scores of one more "model", which knows that: ω is 1 or 0

    Args:
        folder: made if it is not there; files of an earlier run are overwritten.
        spec: the world; `ShapesSpec.parse("version=2,pairs=280,unseen=purple+star+moves up")`.
        size: edge of the frames in pixels, even.

    Raises:
        SourceError: an argument is out of range, an impossible split, or `folder` holds clips of another world.
    """
    from synvita_data.video import FramePolicy, decode, encode_mp4

    if size < 48 or size % 2:
        raise SourceError(
            "the shapes world cannot be rendered like this",
            found=f"samples={spec.samples}, size={size}",
            expected="samples from 1, an even size from 48",
        )
    samples = spec.samples
    made = ShapesFolder(Path(folder), spec.pairs, samples)
    world = list(draw_world(spec, file=made.triplets))
    real = {pair.triplet.pair_id: made.real / str(pair.triplet.videopath) for pair in world}
    synthetic = {
        (pair.triplet.pair_id, sample): made.synthetic / f"{pair.triplet.video_key}_{sample:03d}.mp4"
        for pair in world
        for sample in range(1, samples + 1)
    }
    _refuse_others(made, {*real.values(), *synthetic.values()})
    real_style, synthetic_style = spec.styles(size)
    count, rule = VQA_FRAMES
    manifest: list[str] = []
    truths: list[str] = []
    names = [*(model.name for model in VQA_MODELS), *([ORACLE] if spec.version > 1 else [])]
    scores: dict[str, list[tuple[object, ...]]] = {name: [] for name in names}
    for pair in world:
        triplet = pair.triplet
        clip = render(pair.scene, pair.real_seed, real_style, spec.geometry)
        encode_mp4(clip, real_style.fps, real[triplet.pair_id])
        for sample in range(1, samples + 1):
            path = synthetic[triplet.pair_id, sample]
            generated = generate_for(triplet, spec, sample, size=size)
            encode_mp4(generated.pixels, generated.fps, path)
            line = {
                "id": make_row_id(triplet.pair_id, GENERATOR, sample),
                "path": path.name,
                "sha256": sha256_file(path),
                "seed": generated.seed,
                "generator": GENERATOR,
                "revision": revision_of(spec.geometry),
                "config": spec.generation(synthetic_style),
                # Not published: what the generator got wrong, and what the clip really shows.
                "faults": list(generated.faults),
                "shown": generated.shown,
            }
            manifest.append(json.dumps(line) + "\n")
            # One row a scorer, of the clip's own pixels as they were encoded.
            frames = decode(path, FramePolicy(count=count, rule=rule)).pixels
            means = score_pair(frames, triplet, spec)
            if spec.version > 1:
                truth = truth_of(pair, generated, sample)
                truths.append(json.dumps(asdict(truth)) + "\n")
                means = [*means, (float(truth.right), 0.0)]
            key = triplet.row if samples == 1 else line["id"]
            for (name, rows), both in zip(scores.items(), means, strict=True):
                cells = (f"{score:.9f}" for score in both)
                rows.append((key, triplet.videopath, name, *cells, line["sha256"], sample))
    write_atomic(made.triplets, triplets_csv(world))
    key_column = "row" if samples == 1 else "id"
    columns = (key_column, "videopath", "model", "neg_caption_score", "caption_score", "sha256", "sample")
    if spec.version > 1:
        write_atomic(made.oracle, csv_text(columns, scores.pop(ORACLE)))
        write_atomic(made.truth, "".join(truths))
    # Model by model, as published score tables are.
    write_atomic(made.vqascores, csv_text(columns, (row for rows in scores.values() for row in rows)))
    write_atomic(made.synthetic / "manifest.jsonl", "".join(manifest))
    return made


def score_pair(frames: np.ndarray, triplet: Triplet, spec: ShapesSpec) -> list[tuple[float, float]]:
    """VQAScores of a clip by each scorer, with the contrast caption and with the caption: means over frames.

    Args:
        frames: uint8 [T, H, W, 3], the clip's four segment midpoints.
        triplet: whose clip it is.
        spec: of the world.
    """
    captions = [triplet.neg_caption, triplet.caption]
    found = score_frames(
        frames, captions, geometry=spec.geometry, sight=spec.noise.sight, unnatural=captions[:1]
    )
    return [(float(neg), float(cap)) for neg, cap in found.mean(axis=1)]


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
