"""The machine-readable report of a build (`build.json`) and the list of rows left out.

The report holds no clock times and no absolute paths, so that equal inputs give equal bytes.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from synvita_data import __version__
from synvita_data.dataset.built import local_config
from synvita_data.dataset.inspection import scores_by_pair, shared_scores
from synvita_data.display import json_text
from synvita_data.errors import SchemaError
from synvita_data.hub.places import without_own_places
from synvita_data.schema import SCHEMA_VERSION
from synvita_data.tables.scores import Binding

from .card import VIEWER_ROW_BYTES
from .rows import Row
from .shards import ROW_OVERHEAD_BYTES, Shard, video_bytes

REPORT_NAME = "build.json"
QUARANTINE_NAME = "quarantine.jsonl"
UNMATCHED_SHOWN = 100


def config_record(
    *,
    key: str,
    options: Mapping[str, Any],
    triplets: Mapping[str, int],
    shards: Sequence[Shard],
    shard_files: Mapping[str, Mapping[str, Any]],
    quarantine: Sequence[Mapping[str, Any]],
    unmatched: Sequence[str],
    unused_scores: int,
    scores: Mapping[str, Any],
    real_problems: Sequence[Mapping[str, Any]],
    real_doubts: Sequence[Mapping[str, Any]] = (),
    embed_real: bool,
) -> dict[str, Any]:
    """Everything the card, `inspect` and `push` need to know of one config.

    Args:
        key: digest of all inputs; a build with the same key has nothing to do.
        shard_files: shard name -> `{"bytes", "sha256"}` of the file as written.
        quarantine: the rows left out; unmatched: files of synthetic videos that belong to no triplet.
        unused_scores: entries of the score table that belong to no row. scores: of `scores_record`.
        real_problems: why files of real videos were refused; their rows stay, without them.
        real_doubts: what does not fit the names of files that were taken.
    """
    rows = [row for shard in shards for row in shard.rows]
    weights = [row.weight for row in rows if row.weight is not None]
    sizes = [ROW_OVERHEAD_BYTES + video_bytes(row, embed_real=embed_real) for row in rows]
    found = sum(row.real is not None for row in rows)
    return {
        "key": key,
        "options": dict(options),
        "triplets": dict(triplets),
        "rows": len(rows),
        "quarantined": len(quarantine),
        "quarantine_reasons": dict(sorted(Counter(record["reason"] for record in quarantine).items())),
        "splits": {
            split: _split_record([shard for shard in shards if shard.split == split], shard_files)
            for split in sorted({shard.split for shard in shards})
        },
        "coverage": {
            "synthetic_video": [sum(row.synthetic is not None for row in rows), len(rows)],
            "vqascores": [sum(bool(row.scores) for row in rows), len(rows)],
            "weight_above_zero": [sum(weight > 0 for weight in weights), len(rows)],
            "real_video_found": [found, len(rows)],
            "real_video_embedded": [found if embed_real else 0, len(rows)],
            "nle": [sum(row.triplet.nle is not None for row in rows), len(rows)],
        },
        "mean_weight": sum(weights) / len(weights) if weights else None,
        "sources": dict(sorted(Counter(row.triplet.source for row in rows).items())),
        "generators": _generators(rows),
        "prompts": prompts_record(rows),
        "scorers": _scorers(rows),
        "scores": dict(scores),
        **_granularities(rows),
        "unused_scores": unused_scores,
        "unmatched_videos": len(unmatched),
        "unmatched_videos_first": sorted(unmatched)[:UNMATCHED_SHOWN],
        "real_videos_refused": len(real_problems),
        "real_videos_refused_first": [
            without_own_places(record) for record in real_problems[:UNMATCHED_SHOWN]
        ],
        # Only where there are any, so that other reports stay as they were.
        **(
            {
                "real_videos_doubted": len(real_doubts),
                "real_videos_doubted_first": [
                    without_own_places(record) for record in real_doubts[:UNMATCHED_SHOWN]
                ],
            }
            if real_doubts
            else {}
        ),
        "largest_row_bytes": max(sizes, default=0),
        "rows_over_viewer_limit": sum(size > VIEWER_ROW_BYTES for size in sizes),
    }


def _granularities(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """How many rows were cut into words by which libraries; nothing where the plain rule served all of them."""
    found = dict(sorted(Counter(row.granularity for row in rows).items()))
    return {"granularities": found} if any("+" in name for name in found) else {}


def merge_report(
    previous: Mapping[str, Any] | None, config: str, record: Mapping[str, Any]
) -> dict[str, Any]:
    """`build.json` with one config added or replaced."""
    configs = dict((previous or {}).get("configs", {}))
    configs[config] = dict(record)
    return {
        "schema_version": SCHEMA_VERSION,
        "synvita_data": __version__,
        "configs": dict(sorted(configs.items())),
    }


def compare_scores(out: Path, report: Mapping[str, Any]) -> dict[str, Any]:
    """The report with `equal_scores` of each config: other config -> rows that have that one's scores too.

    One video has one score, so scores that two generators share are those of another one's videos.
    """
    configs: dict[str, Any] = dict(report["configs"])
    layout = {
        config: local_config(out, config, sorted(record["splits"])) for config, record in configs.items()
    }
    known = {}
    for config, dataset in layout.items():
        try:
            known[config] = scores_by_pair(dataset, config)
        except (SchemaError, OSError):
            continue  # another config, of another version or damaged: not this build's business
    for config, own in known.items():
        shared = {other: shared_scores(own, theirs) for other, theirs in known.items() if other != config}
        configs[config] = {**configs[config], "equal_scores": {name: n for name, n in shared.items() if n}}
    return {**report, "configs": configs}


def read_report(out: Path) -> dict[str, Any] | None:
    """`OUT/build.json`, None where there is none yet."""
    path = out / REPORT_NAME
    if not path.is_file():
        return None
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(report["configs"], dict):
            raise TypeError("configs is no object")
    except (ValueError, KeyError, TypeError) as error:
        raise SchemaError(
            "not a build report",
            file=path,
            found=repr(error),
            expected="the build.json that `synvita build` writes",
            fix="Name another --out, or remove the file to build all configs again",
        ) from error
    return report


def dump_json(value: Any) -> str:
    return json_text(value, indent=1, sort_keys=True) + "\n"


def merge_quarantine(out: Path, config: str, records: Iterable[Mapping[str, Any]]) -> str:
    """`OUT/quarantine.jsonl` with the lines of one config replaced."""
    path = out / QUARANTINE_NAME
    kept = []
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if json.loads(line)["config"] != config]
    added = [json_text({"config": config, **without_own_places(record)}) for record in records]
    return "".join(line + "\n" for line in sorted(kept) + added)


def _split_record(shards: Sequence[Shard], files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    rows = [row for shard in shards for row in shard.rows]
    return {
        "rows": len(rows),
        "bytes": sum(files[shard.name]["bytes"] for shard in shards),
        "misalignment": dict(sorted(Counter(row.triplet.misalignment or "unknown" for row in rows).items())),
        "shards": [{"file": s.name, "rows": len(s.rows), **files[s.name]} for s in shards],
    }


def _generators(rows: Sequence[Row]) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row.synthetic is None:
            continue
        name = row.synthetic.generator or row.generator or "unknown"
        entry = found.setdefault(name, {"videos": 0, "revisions": set(), "configs": set()})
        entry["videos"] += 1
        if row.synthetic.revision:
            entry["revisions"].add(row.synthetic.revision)
        if row.synthetic.config and len(entry["configs"]) < 5:
            entry["configs"].add(json.dumps(row.synthetic.config, sort_keys=True, ensure_ascii=False))
    return {
        name: {key: sorted(value) if isinstance(value, set) else value for key, value in entry.items()}
        for name, entry in sorted(found.items())
    }


def prompts_record(rows: Sequence[Row]) -> dict[str, int]:
    """Of how many synthetic videos it is known how much of the caption the generator read, and where it was cut."""
    known = [row.synthetic.prompt for row in rows if row.synthetic and row.synthetic.prompt]
    return {"measured": len(known), "cut": sum("cut_at" in prompt for prompt in known)}


def scores_record(rows: Sequence[Row], of_other_videos: int) -> dict[str, Any]:
    """Whose scores they are: of videos that the rows have, and how the table says so, or of others.

    Args:
        of_other_videos: videos made from these rows' captions that the table has scores of, and no row has.
    """
    here = [row for row in rows if row.scores and row.synthetic is not None]
    bound = Counter(row.binding for row in here)
    return {
        "with_video": len(here),
        "without_video": sum(bool(row.scores) for row in rows) - len(here),
        "video_named_by": {name: bound[name] for name in get_args(Binding)},
        "of_other_videos": of_other_videos,
    }


def _scorers(rows: Sequence[Row]) -> list[dict[str, Any]]:
    counts = Counter((s.model, s.revision, s.method) for row in rows for s in row.scores)
    return [
        {"model": model, "revision": revision, "method": method, "rows": count}
        for (model, revision, method), count in sorted(
            counts.items(), key=lambda item: tuple(map(str, item[0]))
        )
    ]
