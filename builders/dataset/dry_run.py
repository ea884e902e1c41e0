"""`synvita build --dry-run`: what a build would read, join, miss and write. It writes nothing, and makes and fetches nothing.

Tables are read as a build reads them, so what is wrong with them shows. Videos of folders are found by their names and
not opened; those that would be made, rendered, or listed on the Hub are counted as wanted.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from synvita_data.dataset.inspection import figure_name
from synvita_data.display import counted
from synvita_data.errors import SynvitaError
from synvita_data.held_out import refuse_file, refuse_sources
from synvita_data.real_videos.find import RealVideos
from synvita_data.schema import Triplet
from synvita_data.tables.scores import ScoreTable, read_scores

from ..sources import FoundVideos, parse_spec
from ..sources.manifest import public_spec
from ..training_csv import open_triplets
from .beside import SUFFIXES
from .joined import row_bytes
from .options import BuildOptions
from .report import CARD, QUARANTINE, REPORT, check_place, read_report
from .rows import Material, make_rows, usual_maker
from .run import check_scores, find_models, find_videos, no_row_left, spans_of
from .shards import plan_shards
from .totals import Totals

# Sources whose videos are there, and are found by looking into a folder.
_FOUND = ("folder",)
_FIRST = 5


@dataclass(frozen=True)
class DryRun:
    """What a build would do.

    Attributes:
        record: JSON-ready; `docs/building.md` describes it.
    """

    record: dict[str, Any]

    def lines(self) -> Iterator[str]:
        """The same in sentences."""
        record = self.record
        reads, missing, rows = record["reads"], record["missing"], record["rows"]
        triplets = reads["triplets"]
        yield (
            f"reads {triplets['file']}: {counted(triplets['rows'], 'rows')}, {counted(triplets['triplets'], 'triplets')}, "
            f"{counted(triplets['duplicates'], 'exact duplicates')}, {triplets['quarantined']:,} quarantined"
        )
        if (videos := reads["synthetic"]) is not None:
            if videos["found"] is None:
                yield f"synthetic videos: {videos['wanted']:,} by {videos['from']}, made or fetched by a build; none now"
            else:
                yield (
                    f"synthetic videos: {videos['found']:,} found by name in {videos['from']}, not opened; "
                    f"{counted(videos['unmatched'], 'files belong')} to no triplet"
                )
        if (scores := reads["vqascores"]) is not None:
            yield f"scores: {scores['file']}, {scores['models']}, {counted(scores['unused'], 'entries')} of no row"
        if record["scores_made_by"]:
            yield f"scores: made by {', '.join(record['scores_made_by'])}"
        if (real := reads["real_videos"]) is not None:
            yield f"real videos: {real['found']:,} found by name"
        yield f"joins {counted(rows, 'rows')}, {record['quarantined']:,} quarantined"
        for entry in record["quarantine_first"]:
            yield f"quarantined: {SynvitaError.from_record(entry)}"
        lacking = {name.replace("_", " "): count for name, count in missing.items() if count}
        yield "missing: " + (
            ", ".join(f"{counted(count, 'rows have')} no {name}" for name, count in lacking.items())
            or "nothing"
        )
        for split, part in record["splits"].items():
            files = counted(part["files"], "files")
            yield f"{split}: {counted(part['rows'], 'rows')} in {files}, about {part['bytes'] / 1e6:,.1f} MB"
        replaced = record["replaces_rows"]
        yield f"would write into {record['out']}: {', '.join(record['writes'])}" + (
            ""
            if replaced is None
            else f" (config {record['config']} is there with {counted(replaced, 'rows')})"
        )


def dry_run(options: BuildOptions) -> DryRun:
    """What `build_dataset` would do with these options.

    Raises:
        SynvitaError: as of `build_dataset`, for what can be known before videos are made, fetched or opened.
    """
    out = Path(options.out)
    check_place(out, options.config, make=False)
    refuse_file(Path(options.triplets))
    find_models(options)  # which refuses unknown names
    reader = open_triplets(options.triplets, split=options.split, source=options.source)
    triplets = list(islice(reader, options.limit))
    refuse_sources((triplet.source for triplet in triplets), options.triplets)
    quarantine = [{"stage": "triplets", **error.to_record()} for error in reader.report.quarantined]

    # Videos: those of a folder by their names.
    scheme = None if options.synthetic is None else parse_spec(options.synthetic)[0]
    found = find_videos(options, triplets, reader.report) if scheme in _FOUND else FoundVideos()
    quarantine += [{"stage": "videos", **error.to_record()} for error in found.quarantined]
    real_videos = RealVideos(options.real_root, options.real_mapping) if options.real_root else None
    materials = [
        Material(
            triplet,
            videos := found.of(triplet),
            videos,
            real_videos.find_triplet(triplet) if real_videos else None,
            None,
        )
        for triplet in triplets
    ]

    # Scores, joined as a build joins them.
    def set_aside(row_id: str, error: SynvitaError) -> None:
        quarantine.append({"stage": "scores", "id": row_id, **error.to_record()})

    scores = read_scores(options.vqascores, triplets) if options.vqascores else None
    makers = {video.generator or usual_maker(options) for each in materials for video in each.made}
    rows = Totals()
    for row in make_rows(
        materials, scores, options, makers=makers, spans=spans_of(options), quarantine=set_aside
    ):
        rows.add(row, row_bytes(row, embed_real=options.embed_real))
    if scores is not None and materials:
        check_scores(options, scores, reader.report.rows, len(materials), quarantine)
    if not len(rows):
        raise no_row_left(options, reader.report.rows, quarantine)
    read = reader.report
    return DryRun(
        {
            "dry_run": True,
            "out": str(options.out),
            "config": options.config,
            "reads": {
                "triplets": {
                    "file": str(options.triplets),
                    "rows": read.rows,
                    "triplets": len(triplets),
                    "duplicates": len(read.duplicates),
                    "quarantined": len(read.quarantined),
                },
                "synthetic": None if scheme is None else _videos(options, scheme, triplets, found),
                "vqascores": None if scores is None else _scores(scores),
                "real_videos": None
                if real_videos is None
                else {"root": str(options.real_root), "found": rows.sum("real")},
            },
            "scores_made_by": list(options.chain.models),
            "rows": len(rows),
            "quarantined": len(quarantine),
            "quarantine_first": quarantine[:_FIRST],
            "missing": {
                "synthetic_video": len(rows) - rows.sum("synthetic"),
                "vqascores": len(rows) - rows.sum("scored"),
                **({} if real_videos is None else {"real_video": len(rows) - rows.sum("real")}),
            },
            **_written(options, rows),
        }
    )


def _videos(
    options: BuildOptions, scheme: str, triplets: Sequence[Triplet], found: FoundVideos
) -> dict[str, Any]:
    """Synthetic videos: how many there are, or how many are wanted where a build makes or fetches them."""
    known = scheme in _FOUND
    return {
        "from": public_spec(options.synthetic),
        "wanted": len({triplet.pair_id for triplet in triplets}) * options.chain.samples,
        "found": sum(map(len, found.videos.values())) if known else None,
        "unmatched": len(found.unmatched) if known else None,
        "unmatched_first": sorted(found.unmatched)[:_FIRST],
    }


def _scores(table: ScoreTable) -> dict[str, Any]:
    return {
        "file": str(table.file),
        "rows": table.rows,
        "models": ", ".join(table.models),
        "unused": len(table.unused()),
    }


def _written(options: BuildOptions, rows: Totals) -> dict[str, Any]:
    """Files and their sizes, and what they take the place of."""
    shards = plan_shards(rows, max_shard_bytes=options.max_shard_bytes)
    files = Counter(shard.split for shard in shards)
    splits = {
        name: {"rows": len(split), "files": files[name], "bytes": sum(split.sizes)}
        for name, split in rows.in_order()
    }
    there = read_report(options.out).get(options.config)
    scored = options.chain.models or rows.sum("scored") > 0
    return {
        "splits": splits,
        "writes": [
            *(f"{options.config}/{shard.name}" for shard in shards),
            *(f"figures/{figure_name(options.config)}{suffix}" for suffix in SUFFIXES if scored),
            *(CARD, REPORT, QUARANTINE),
        ],
        "replaces_rows": None if there is None else there["rows"],
    }
