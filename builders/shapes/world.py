"""Write a whole shapes world to a folder: annotations, real clips, synthetic clips and VQAScores."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from synvita_data.errors import SourceError
from synvita_data.files import sha256_file, write_atomic
from synvita_data.schema import Triplet, make_row_id

from .generator import GENERATOR, REVISION, Generated, generate
from .pairs import Pair, csv_text, draw_pairs, triplets_csv
from .pixels import REAL, SYNTHETIC, Style, render
from .source import generation_config
from .vqa import VQA_MODELS, score_frames

VQA_FRAMES = (4, "segment-midpoints")  # as `synvita vqascore` takes for f̄


@dataclass(frozen=True, slots=True)
class ShapesFolder:
    """A shapes world on disk; the paths are what `synvita build` takes.

    Attributes:
        root: the folder. triplets: `triplets.csv`, in VideoCon's columns.
        real: root of the real clips. synthetic: folder of the synthetic ones with `manifest.jsonl`.
        vqascores: score table, long CSV: by `row` with one sample a pair, by `id` with more.
        pairs: how many. samples: synthetic clips a pair.
    """

    root: Path
    pairs: int
    samples: int

    @property
    def triplets(self) -> Path:
        return self.root / "triplets.csv"

    @property
    def real(self) -> Path:
        return self.root / "real"

    @property
    def synthetic(self) -> Path:
        return self.root / "synthetic"

    @property
    def vqascores(self) -> Path:
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
        samples: synthetic clips a pair, from 1. size: edge of the frames in pixels, even.

    Raises:
        SourceError: an argument is out of range, or `folder` holds clips that this world does not have.
    """
    from synvita_data.video import encode_mp4

    if samples < 1 or size < 48 or size % 2:
        raise SourceError(
            "the shapes world cannot be rendered like this",
            found=f"samples={samples}, size={size}",
            expected="samples from 1, an even size from 48",
        )
    made = ShapesFolder(Path(folder), pairs, samples)
    world = list(draw_pairs(pairs, seed, file=made.triplets))
    _refuse_others(made, world)
    real, synthetic = replace(REAL, size=size), replace(SYNTHETIC, size=size)
    manifest: list[str] = []
    scores: list[tuple[object, ...]] = []
    for pair in world:
        triplet = pair.triplet
        clip = render(pair.scene, pair.real_seed, real)
        encode_mp4(clip, real.fps, made.real / str(triplet.videopath))
        for sample in range(1, samples + 1):
            made_clip = generate(
                triplet.neg_caption, seed=seed, pair_id=triplet.pair_id, sample=sample, style=synthetic
            )
            path = made.synthetic / _synthetic_name(triplet, sample)
            encode_mp4(made_clip.pixels, made_clip.fps, path)
            manifest.append(_manifest_line(triplet, sample, path, made_clip, synthetic))
            scores += _score(triplet, sample, path, by_row=samples == 1)
    write_atomic(made.triplets, triplets_csv(world))
    key = "row" if samples == 1 else "id"
    columns = (key, "videopath", "model", "neg_caption_score", "caption_score", "sha256", "sample")
    # Model by model, as published score tables are.
    order = [model.name for model in VQA_MODELS]
    by_model = sorted(scores, key=lambda row: order.index(str(row[2])))
    write_atomic(made.vqascores, csv_text(columns, by_model))
    write_atomic(made.synthetic / "manifest.jsonl", "".join(manifest))
    return made


def _score(triplet: Triplet, sample: int, path: Path, *, by_row: bool) -> Iterator[tuple[object, ...]]:
    """One row a scorer, of the clip's own pixels as they were encoded."""
    from synvita_data.video import FramePolicy, decode

    count, rule = VQA_FRAMES
    frames = decode(path, FramePolicy(count=count, rule=rule)).pixels
    means = score_frames(frames, [triplet.neg_caption, triplet.caption]).mean(axis=1)
    key = triplet.row if by_row else make_row_id(triplet.pair_id, GENERATOR, sample)
    video = (sha256_file(path), sample)
    for model, (neg_caption_score, caption_score) in zip(VQA_MODELS, means, strict=True):
        scores = (f"{neg_caption_score:.9f}", f"{caption_score:.9f}")
        yield key, triplet.videopath, model.name, *scores, *video


def _synthetic_name(triplet: Triplet, sample: int) -> str:
    return f"{triplet.video_key}_{sample:03d}.mp4"


def _manifest_line(triplet: Triplet, sample: int, path: Path, clip: Generated, style: Style) -> str:
    line = {
        "id": make_row_id(triplet.pair_id, GENERATOR, sample),
        "path": path.name,
        "sha256": sha256_file(path),
        "seed": clip.seed,
        "generator": GENERATOR,
        "revision": REVISION,
        "config": generation_config(style),
        # Not published: what the generator got wrong, and what the clip really shows.
        "faults": list(clip.faults),
        "shown": clip.shown,
    }
    return json.dumps(line) + "\n"


def _refuse_others(made: ShapesFolder, world: list[Pair]) -> None:
    """Clips of another world in the same folder would be taken for this one's by whoever reads it."""
    own = {made.real / str(pair.triplet.videopath) for pair in world}
    own |= {
        made.synthetic / _synthetic_name(pair.triplet, sample)
        for pair in world
        for sample in range(1, made.samples + 1)
    }
    for folder in (made.real, made.synthetic):
        other = next((path for path in sorted(folder.rglob("[!.]*.mp4")) if path not in own), None)
        if other is not None:
            raise SourceError(
                "the folder holds clips of another shapes world",
                file=other,
                fix="Name an empty folder, or remove the old one",
            )
