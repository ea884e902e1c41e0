"""Results as somebody would submit them: small annotations of three forms, scores, and what `synvita evaluate` makes of them."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from small_annotations import (
    VIDEOCON_HEADER,
    ssv2_pairs,
    write_csv,
    write_options,
    write_questions,
    write_ssv2,
)

from synvita_data.annotations import read_annotations
from synvita_data.evaluation.predictions import item_scores_table
from synvita_data.evaluation.run import evaluate_predictions
from synvita_data.tasks import get_task


def write_annotations(folder: Path) -> Path:
    """A folder with small annotations of a ranking, of pairs with kinds, and of questions."""
    folder.mkdir(parents=True, exist_ok=True)
    write_ssv2(folder / "eval_ssv2_temporal.csv", ssv2_pairs(videos=24, positives=8), prompted=False)
    rows = [
        (
            f"tempo/videos/{video}.mp4",
            "tempo",
            f"she sits then stands {video}",
            f"she stands then sits {video}",
            "",
            "test",
            ("flip", "action", "count")[video % 3],
        )
        for video in range(20)
    ]
    write_csv(folder / "videocon_llm_entailment.csv", rows, VIDEOCON_HEADER)
    write_questions(folder / "nextqa-atphard.csv")
    write_options(folder / "eval-nextqa-atphard.csv")
    return folder


def evaluate(
    annotations: Path, task: str, out: Path, *, name: str = "owner/model", seed: int = 0, **how
) -> Path:
    """The result of random scores; returns the path of its JSON file."""
    rows = read_annotations(get_task(task), annotations)
    # One score a text, not a row.
    scores = np.random.default_rng(seed).random(int(rows.pair.max()) + 1)[rows.pair]
    source = out.parent / f"scores-{task}-{seed}.parquet"
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(item_scores_table(rows, scores, "probability"), source)
    how = {"resamples": 200, **how}
    return evaluate_predictions(source, get_task(task), rows, out, name=name, **how).path


def change(path: Path, change_record=None, change_table=None) -> Path:
    """A result after somebody has changed its record, its table, or both."""
    if change_record is not None:
        record = json.loads(path.read_text())
        change_record(record)
        path.write_text(json.dumps(record))
    if change_table is not None:
        table = path.with_suffix(".parquet")
        pq.write_table(change_table(pq.read_table(table)), table)
    return path


def with_column(table, name, values):
    """A table with another column of the same type."""
    import pyarrow as pa

    place = table.column_names.index(name)
    return table.set_column(place, name, pa.array(values, table.schema.field(name).type))
