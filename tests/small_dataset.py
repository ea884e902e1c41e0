"""Small dataset folders in the form `synvita build` leaves them, made without it.

`write_small_dataset(folder)` writes two configs of two splits with invented rows: the published
schema, tiny byte strings in place of mp4 files, complete `build.json`, card and quarantine list. Equal
arguments give equal bytes. `content` changes the videos, as a second version would.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synvita_data.builders.dataset.card import render_card
from synvita_data.schema import MISALIGNMENTS, SCHEMA_VERSION, arrow_schema, make_pair_id, make_row_id

CONFIGS = ("cogvideox", "lavie")
# Rows of each shard, by split: train has two shards, test has one.
SHARDS = {"train": (3, 2), "test": (2,)}


def fake_mp4(config: str, split: str, index: int, content: str = "") -> bytes:
    """Bytes that begin as an mp4 file does, different for every row."""
    seed = hashlib.sha256(f"{config} {split} {index} {content}".encode()).digest()
    return b"\x00\x00\x00\x18ftypmp42" + seed * 20


def small_rows(config: str, split: str, first: int, count: int, content: str = "") -> list[dict[str, Any]]:
    """`count` rows of the published schema, the rows `first`, `first + 1`, … of their split."""
    rows = []
    for index in range(first, first + count):
        caption, contrast = f"a dog runs {index}", f"a cat runs {index}"
        pair = make_pair_id("msr-vtt", f"{split}{index}", caption, contrast)
        video = fake_mp4(config, split, index, content)
        rows.append(
            {
                "id": make_row_id(pair, config, 1),
                "pair_id": pair,
                "source": "msr-vtt",
                "video_id": f"{split}{index}",
                "caption": caption,
                "neg_caption": contrast,
                "misalignment": MISALIGNMENTS.index("object"),
                "synthetic_video": {"bytes": video, "path": f"msr-vtt_{split}{index}_001.mp4"},
                "real_available": False,
                "generation": {
                    "generator": config,
                    "sample": 1,
                    "seed": index,
                    "sha256": hashlib.sha256(video).hexdigest(),
                },
                "vqascores": [
                    {"model": "scorer", "neg_caption_score": 0.75, "caption_score": 0.25},
                ],
                "weight": 0.5,
                "shared": {
                    "caption": [[0, 1], [6, len(caption)]],
                    "neg_caption": [[0, 1], [6, len(contrast)]],
                    "granularity": "word",
                },
            }
        )
    return rows


def write_shard(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=arrow_schema()), path)


def write_small_dataset(
    folder: Path,
    *,
    configs: tuple[str, ...] = CONFIGS,
    shards: Mapping[str, tuple[int, ...]] = SHARDS,
    content: str = "",
) -> Path:
    """Write a whole dataset folder and return it."""
    records: dict[str, Any] = {}
    quarantine = ""
    for config in configs:
        splits = {}
        for split, counts in shards.items():
            files, first = [], 0
            for index, count in enumerate(counts):
                path = folder / config / f"{split}-{index:05d}-of-{len(counts):05d}.parquet"
                write_shard(path, small_rows(config, split, first, count, content))
                data = path.read_bytes()
                digest = hashlib.sha256(data).hexdigest()
                files.append({"file": path.name, "rows": count, "bytes": len(data), "sha256": digest})
                first += count
            splits[split] = {
                "rows": first,
                "bytes": sum(file["bytes"] for file in files),
                "misalignment": {"object": first},
                "shards": files,
            }
        records[config] = _record(config, splits)
        quarantine += json.dumps({"config": config, "row": 7, "reason": "CaptionError"}) + "\n"
    report = {"schema_version": SCHEMA_VERSION, "synvita_data": "0.1.0", "configs": records}
    (folder / "build.json").write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
    (folder / "quarantine.jsonl").write_text(quarantine)
    (folder / "README.md").write_text(render_card(report))
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    for config in configs:
        (figures / f"vqascore-difference-{config}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + config.encode())
    return folder


def read_report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "build.json").read_text())


def write_report(folder: Path, report: dict[str, Any], *, card: bool = True) -> None:
    """Replace `build.json`, and the card to match unless told otherwise."""
    (folder / "build.json").write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
    if card:
        (folder / "README.md").write_text(render_card(report))


def _record(config: str, splits: dict[str, Any]) -> dict[str, Any]:
    rows = sum(part["rows"] for part in splits.values())
    return {
        "key": hashlib.sha256(config.encode()).hexdigest(),
        "options": {"weighting": "difference", "granularity": "word", "embed_real": False},
        "triplets": {"read": rows + 1, "duplicates": 0},
        "rows": rows,
        "quarantined": 1,
        "quarantine_reasons": {"CaptionError": 1},
        "splits": splits,
        "coverage": {
            "synthetic_video": [rows, rows],
            "vqascores": [rows, rows],
            "weight_above_zero": [rows, rows],
            "real_video_found": [0, rows],
            "real_video_embedded": [0, rows],
            "nle": [0, rows],
        },
        "mean_weight": 0.5,
        "sources": {"msr-vtt": rows},
        "generators": {config: {"videos": rows, "revisions": [], "configs": []}},
        "scorers": [{"model": "scorer", "revision": None, "method": None, "rows": rows}],
        "unused_scores": 0,
        "unmatched_videos": 0,
        "unmatched_videos_first": [],
        "largest_row_bytes": 3000,
        "rows_over_viewer_limit": 0,
    }
