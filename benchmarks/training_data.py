"""Checks before training: all rows of a dataset at once (`TripletData`) against a look into each row, in one run.

    python benchmarks/training_data.py [--small]

Inputs: the 16,856 real pairs of VideoCon (made here where they are absent; `measure.py` says where) with synthetic
videos of 8 KiB that nobody may open, as `load_dataset` gives them; with --small, 300 rows. The plain way asks
for each row, checks weight and spans, and tokenises its four prompts one by one. Times are processor seconds of
this process, because other work on the machine does not enter them.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from measure import argument_parser, figure, in_turns, pairs

from synvita_data.captions import Text, hidden_spans
from synvita_data.captions.lcs import shared_spans
from synvita_data.models import AlignmentModel
from synvita_data.schema import arrow_schema, make_pair_id, make_row_id
from synvita_data.testing import make_tiny
from synvita_data.training import TripletData

GOAL_SECONDS, GOAL_RATIO = 10.0, 3.0


def rows(found: list[tuple[str, str]]) -> list[dict[str, Any]]:
    made = []
    for number, (caption, neg_caption) in enumerate(found):
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
    video = data.preparer.smallest()
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


def main() -> None:
    import datasets
    from transformers import AutoModelForImageTextToText, AutoProcessor

    small = argument_parser(__doc__).parse_args().small
    datasets.disable_progress_bars()
    captions = pairs(300 if small else None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.parquet"
        pq.write_table(pa.Table.from_pylist(rows(captions), schema=arrow_schema()), path)
        dataset = datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=folder)
        tiny = make_tiny("video_llava", Path(folder) / "model")
        model = AlignmentModel(
            AutoModelForImageTextToText.from_pretrained(tiny), AutoProcessor.from_pretrained(tiny)
        )
        data = TripletData(dataset.select(range(8)), model)  # whatever is made once is made now
        spent = in_turns(
            1,
            time.process_time,
            at_once=lambda: TripletData(dataset, model),
            plain=lambda: one_by_one(dataset, model, data),
            anew=lambda: TripletData(dataset, model, weighting="product", granularity="token"),
        )
    figure("all rows checked at once", spent["at_once"], "s", GOAL_SECONDS, at_most=True)
    figure("row by row", spent["plain"], "s")
    figure("row by row / at once", spent["plain"] / spent["at_once"], "x", GOAL_RATIO)
    figure("at once, weights and token-level masks found again", spent["anew"], "s")


if __name__ == "__main__":
    main()
