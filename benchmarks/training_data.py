"""Checks before training: all rows of a dataset at once (`TripletData`) against a look into each row, in one run.

    python benchmarks/training_data.py [--small]

Inputs: the 16,856 real pairs of ../shared/data/videocon-16k (made here where they are absent) with synthetic
videos of 8 KiB that nobody may open, as `load_dataset` gives them; with --small, 300 rows. The plain way asks
for each row, checks weight and spans, and tokenises its four prompts one by one. Times are processor seconds of
this process, because other work on the machine does not enter them.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from lcs import REAL, made_pairs, real_pairs

from synvita_data.captions.lcs import shared_spans
from synvita_data.captions.text import Text, hidden_spans
from synvita_data.models import AlignmentModel
from synvita_data.schema import arrow_schema, make_pair_id, make_row_id
from synvita_data.testing import make_tiny
from synvita_data.training import TripletData
from synvita_data.training.data.videos import smallest_video

GOAL_SECONDS, GOAL_RATIO = 10.0, 3.0


def rows(pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    made = []
    for number, (caption, neg_caption) in enumerate(pairs):
        pair = make_pair_id("made", str(number), caption, neg_caption)
        shared = shared_spans(caption, neg_caption)
        made.append(
            {
                "id": make_row_id(pair, "made", 1),
                "pair_id": pair,
                "source": "made",
                "video_id": str(number),
                "caption": caption,
                "neg_caption": neg_caption,
                "nle": f"The video does not show this: {neg_caption}",
                "synthetic_video": {"bytes": number.to_bytes(8) * 1024, "path": f"{number}.mp4"},
                "real_video": {"bytes": None, "path": f"/nowhere/{number}.mp4"},
                "real_available": True,
                "vqascores": [
                    {"model": model, "neg_caption_score": 0.7, "caption_score": 0.2} for model in "abc"
                ],
                "weight": 0.5,
                "shared": {"caption": shared[0], "neg_caption": shared[1], "granularity": "word"},
            }
        )
    return made


def one_by_one(dataset: Any, model: AlignmentModel, data: TripletData) -> int:
    """The same checks as plain code would make them."""
    video = smallest_video(data.preparer)
    fine = 0
    for row in dataset:
        assert 0 <= row["weight"] <= 1
        for column in ("caption", "neg_caption"):
            shown = Text(row[column])
            masked = Text(row[column], hidden_spans(row[column], row["shared"][column]))
            for text in (shown, masked):
                model.prompter.tokens(text, True, video)
        fine += row["synthetic_video"]["bytes"] is not None
    return fine


def seconds(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def main() -> None:
    import datasets
    from transformers import AutoModelForImageTextToText, AutoProcessor

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="300 rows: does it run at all")
    small = parser.parse_args().small
    datasets.disable_progress_bars()
    pairs = real_pairs() if REAL.is_file() else made_pairs()
    pairs = pairs[:300] if small else pairs
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.parquet"
        pq.write_table(pa.Table.from_pylist(rows(pairs), schema=arrow_schema()), path)
        dataset = datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=folder)
        tiny = make_tiny("video_llava", Path(folder) / "model")
        model = AlignmentModel(
            AutoModelForImageTextToText.from_pretrained(tiny), AutoProcessor.from_pretrained(tiny)
        )
        data = TripletData(dataset.select(range(8)), model)  # whatever is made once is made now
        at_once = seconds(lambda: TripletData(dataset, model))
        plain = seconds(lambda: one_by_one(dataset, model, data))
        anew = seconds(lambda: TripletData(dataset, model, weighting="product", granularity="token"))
    print(f"rows: {len(pairs)} ({'real' if REAL.is_file() else 'made here'})")
    verdict = "ok" if at_once <= GOAL_SECONDS else "short"
    print(f"all rows checked at once: {at_once:.2f} s (goal <= {GOAL_SECONDS:g}) {verdict}")
    print(f"row by row: {plain:.2f} s")
    verdict = "ok" if plain / at_once >= GOAL_RATIO else "short"
    print(f"row by row / at once: {plain / at_once:.2f}x (goal >= {GOAL_RATIO:g}) {verdict}")
    print(f"at once, weights and token-level masks found anew: {anew:.2f} s")


if __name__ == "__main__":
    main()
