"""A small folder of annotations, videos and scores, made once; tests copy or link what they change."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from synvita_data.video import encode_mp4

MODELS = ("model-a", "model-b")


@dataclass(frozen=True)
class Inputs:
    folder: Path
    triplets: Path
    videos: Path
    scores: Path

    def spec(self) -> str:
        return f"folder:{self.videos}"


def write_csv(path: Path, header: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows([header, *rows])


@pytest.fixture
def inputs(tmp_path) -> Inputs:
    """Twelve pairs of two splits; videos for ten of them; scores of two models for all."""
    folder = tmp_path / "inputs"
    videos = folder / "videos"
    videos.mkdir(parents=True)
    rng = np.random.default_rng(5)
    rows, scores = [], []
    kinds = ("action", "attribute", "count", "flip", "hallucination", "object", "relation")
    for i in range(12):
        split = "train" if i % 4 else "test"
        captions = [f"a dog runs {i} times", f"a cat runs {i} times"]
        rows.append([f"video{i}", "msr-vtt", *captions, split, kinds[i % 7]])
        if i < 10:
            pixels = rng.integers(0, 255, (4, 32, 48, 3), dtype=np.uint8)
            encode_mp4(pixels, 8, videos / f"msr-vtt_video{i}_001.mp4")
        for m, model in enumerate(MODELS):
            scores.append([i, f"video{i}", model, (i + m) / 16, (12 - i) / 16])
    write_csv(
        folder / "triplets.csv",
        ["videopath", "source", "caption", "neg_caption", "split", "misalignment"],
        rows,
    )
    write_csv(
        folder / "scores.csv", ["row", "videopath", "model", "neg_caption_score", "caption_score"], scores
    )
    return Inputs(folder, folder / "triplets.csv", videos, folder / "scores.csv")
