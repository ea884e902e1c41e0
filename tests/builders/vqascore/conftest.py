"""Tiny real models saved to folders, and a few triplets with videos of 12 frames."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from synvita_data.builders.sources import open_source
from synvita_data.builders.triplets import TripletReader
from synvita_data.builders.vqascore import VqaSettings
from synvita_data.schema import Triplet
from synvita_data.video import encode_mp4

CAPTIONS = [
    ("a dog runs over the field", "a cat runs over the field"),
    ("a man plays a guitar", "a man plays the drums, then sings"),
    ('the "big" car stops', "the {small} car stops"),
    ("two children dance", "three children dance"),
    ("a woman opens the door before she leaves", "a woman leaves before she opens the door"),
]


@dataclass(frozen=True)
class Inputs:
    """`videos[i]` is the synthetic video of `triplets[i]`."""

    folder: Path
    file: Path
    videos: tuple[Path, ...]
    triplets: tuple[Triplet, ...]

    @property
    def spec(self) -> str:
        return f"folder:{self.folder / 'lavie'}"

    def found(self):
        return open_source(self.spec).find(self.triplets)


@pytest.fixture
def inputs(tmp_path) -> Inputs:
    folder = tmp_path / "inputs"
    (folder / "lavie").mkdir(parents=True)
    file = folder / "triplets.csv"
    with file.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["videopath", "source", "caption", "neg_caption"])
        writer.writerows([f"video{i}", "msr-vtt", *pair] for i, pair in enumerate(CAPTIONS))
    videos = []
    for i in range(len(CAPTIONS)):
        pixels = np.random.default_rng(i).integers(0, 255, (12, 32, 48, 3), dtype=np.uint8)
        videos.append(encode_mp4(pixels, 8, folder / "lavie" / f"msr-vtt_video{i}_001.mp4") or i)
    paths = tuple(folder / "lavie" / f"msr-vtt_video{i}_001.mp4" for i in range(len(CAPTIONS)))
    return Inputs(folder, file, paths, tuple(TripletReader(file)))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Family -> the folder of a tiny model, made once."""
    from transformers.utils import logging

    from synvita_data.testing import make_tiny

    logging.disable_progress_bar()
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = make_tiny(family, tmp_path_factory.mktemp("models") / family)
        return made[family]

    return folder


@pytest.fixture
def settings() -> VqaSettings:
    return replace(VqaSettings(), threads=2)
