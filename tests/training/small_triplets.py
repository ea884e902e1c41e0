"""Rows of the published schema with real little videos, and the datasets and models to read them with."""

import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from synvita_data.schema import arrow_schema, make_pair_id, make_row_id
from synvita_data.video import encode_mp4

CAPTIONS = ("a red dog runs, then rests", "a red cat runs, then rests")
# What the two captions share, counted by hand: all but "dog" and "cat".
SHARED = [[0, 5], [10, 26]]


@cache
def mp4(seed: int, frames: int = 6) -> bytes:
    """A clip of one grey level a frame, 32×48 pixels at 4 frames a second."""
    levels = np.random.default_rng(seed).integers(0, 256, frames, dtype=np.uint8)
    pixels = np.broadcast_to(levels[:, None, None, None], (frames, 32, 48, 3))
    with tempfile.TemporaryDirectory() as folder:
        encode_mp4(np.ascontiguousarray(pixels), 4.0, Path(folder) / "clip.mp4")
        return (Path(folder) / "clip.mp4").read_bytes()


def row(video: int = 0, generator: str = "cogvideox", **changes: Any) -> dict[str, Any]:
    """One row; `video` numbers its pair and chooses its clips."""
    caption, neg_caption = changes.get("caption", CAPTIONS[0]), changes.get("neg_caption", CAPTIONS[1])
    pair = make_pair_id("custom", f"v{video}", caption, neg_caption)
    made = {
        "id": make_row_id(pair, generator, 1),
        "pair_id": pair,
        "source": "custom",
        "video_id": f"v{video}",
        "videopath": None,
        "start": None,
        "end": None,
        "youtube_key": None,
        "video_url": None,
        "caption": caption,
        "neg_caption": neg_caption,
        "nle": "It is a dog, not a cat.",
        "misalignment": 5,
        "hard": None,
        "real_video": {"bytes": mp4(2 * video), "path": f"v{video}.mp4"},
        "synthetic_video": {"bytes": mp4(2 * video + 1), "path": f"custom_v{video}_001.mp4"},
        "real_available": True,
        "generation": None,
        "vqascores": [
            {"model": m, "revision": None, "method": None, "neg_caption_score": a, "caption_score": b}
            for m, a, b in (("one", 0.75, 0.25), ("two", 0.5, 0.5))
        ],
        "weight": 0.125,
        "shared": {"caption": SHARED, "neg_caption": SHARED, "granularity": "word"},
    }
    return made | changes


def dataset(rows: Sequence[Mapping[str, Any]], folder: Path) -> Any:
    """The rows as `load_dataset` gives them from a Parquet file: memory-mapped, videos not decoded."""
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "train.parquet"
    pq.write_table(pa.Table.from_pylist(list(rows), schema=arrow_schema()), path)
    return datasets.load_dataset(
        "parquet", data_files=str(path), split="train", cache_dir=str(folder / "cache")
    )


@cache
def tiny_model(family: str = "video_llava") -> Any:
    """A tiny random `AlignmentModel`, one a process: tests only read it."""
    from transformers import AutoProcessor
    from transformers.utils import logging

    from synvita_data.models import AlignmentModel, get_family
    from synvita_data.testing import make_tiny

    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        make_tiny(family, folder)
        model = get_family(family).network_class().from_pretrained(folder).eval()
        return AlignmentModel(model, AutoProcessor.from_pretrained(folder))


def pixels(video: Any) -> Any:
    """The tower's input of a prepared video."""
    return video.inputs["pixel_values_videos"]


def expected_pixels(data: bytes, start: float | None = None, end: float | None = None) -> Any:
    """The same by decoder and stock processor alone, with Video-LLaVA's eight frames."""
    import torch

    from synvita_data.video import FramePolicy, decode

    frames = decode(data, FramePolicy(count=8, rule="linspace"), start, end).pixels
    processor = tiny_model().family.processor.video_processor
    return processor(videos=[torch.from_numpy(frames).permute(0, 3, 1, 2)], return_tensors="pt")[
        "pixel_values_videos"
    ]
