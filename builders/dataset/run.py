"""`build_dataset`: from annotation file, videos and scores to a dataset folder.

    read triplets → find (or make) videos → check videos → read (or make) scores → join → plan shards →
    write shards → put in place

Every step before the last works in `OUT/.work/`, on stores that survive a kill; the last swaps whole
folders. So a reader of OUT sees the dataset of before or that of after, and a killed build goes on where
it stopped.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from synvita_data.captions.lcs import shared_spans
from synvita_data.captions.text import Span
from synvita_data.errors import ScoreError, SynvitaError
from synvita_data.files import without_root
from synvita_data.jobs import Artefact, Claim, Store, complete
from synvita_data.real_videos.find import RealVideos
from synvita_data.schema import SCHEMA_VERSION, Triplet, make_row_id
from synvita_data.tables.scores import OF_ANOTHER_VIDEO, ScoreTable, read_scores

from ..sources import FoundVideos, SyntheticVideo, open_source
from ..sources.checks import agreed, check_videos
from ..triplets import TripletReader
from .chain import find_models, score_found, table_of
from .finish import check_place, finished_record, put_in_place, renew_record
from .options import BuildOptions
from .report import config_record, prompts_record, scores_record
from .rows import RealFile, make_rows
from .shards import Shard, plan_shards, shard_key_parts, write_shard

# Raise it when equal rows would be written as other bytes.
WRITER_VERSION = 1
# Called with a stage, how many more of its units are done, and how many there are.
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class BuildResult:
    """What a build did.

    Attributes:
        out: the dataset folder. record: the config's entry of `build.json`.
        quarantine: one record for each row left out, as in `quarantine.jsonl`.
        was_up_to_date: nothing had to be written.
    """

    out: Path
    config: str
    record: dict[str, Any]
    quarantine: list[dict[str, Any]]
    was_up_to_date: bool


def build_dataset(options: BuildOptions, on_progress: OnProgress | None = None) -> BuildResult:
    """Build one config of the dataset in `options.out`, continuing where a killed build stopped.

    Raises:
        SynvitaError: a file as a whole is not usable, or no row is left; single bad rows are
            quarantined instead.
    """
    progress = on_progress or (lambda stage, done, total: None)
    check_place(options.out, options.config)
    work = options.out / ".work"
    models = find_models(options.chain, table_of(options.config, work))
    reader = TripletReader(options.triplets, split=options.split, source=options.source)
    triplets = list(reader)
    quarantine = [{"stage": "triplets", **error.to_record()} for error in reader.report.quarantined]

    def set_aside(stage: str, row_id: str | None, error: SynvitaError) -> None:
        quarantine.append({"stage": stage, **({"id": row_id} if row_id else {}), **error.to_record()})

    found = _find_videos(options, triplets, work)
    for error in found.quarantined:
        set_aside("videos", None, error)
    reals, finder = _find_reals(options, triplets)
    videos, reals, kept = _check(options, triplets, found, reals, Store(work / "videos"), progress, set_aside)
    table = options.vqascores
    unscored: dict[str, SynvitaError] = {}
    if models:
        table, unscored = score_found(options.chain, models, triplets, found, options.config, work)
    scores = read_scores(table, triplets) if table else None
    rows = make_rows(
        [triplets[i] for i in kept],
        [videos[i] for i in kept],
        [found.of(triplets[i]) for i in kept],
        [reals[i] for i in kept],
        scores,
        generator=options.config if options.synthetic else None,
        config=options.config,
        weighting=options.weighting,
        spans=_spans(options),
        granularity=options.granularity_name,
        quarantine=partial(set_aside, "scores"),
    )
    for row_id, error in unscored.items():
        set_aside("vqascore", row_id, error)
    rows = [row for row in rows if row.id not in unscored]
    if scores is not None and kept:
        _check_scores(options, scores, reader.report.rows, len(kept), quarantine)
    if not rows:
        raise SynvitaError(
            "no row is left to build a dataset from",
            file=options.triplets,
            found=f"{reader.report.rows} rows read, {len(quarantine)} quarantined",
            fix=f"First reason: {quarantine[0]['problem']}" if quarantine else None,
        )
    others_scored = scores.of_other_videos() if scores else 0
    shards = plan_shards(rows, embed_real=options.embed_real, max_shard_bytes=options.max_shard_bytes)
    key = _plan_key(options, shards, quarantine)
    store = Store(work / "shards" / f"{options.config}-{key[:16]}")
    while (done := finished_record(options.out, options.config, key)) is None:
        files = _write_shards(options, shards, store, progress)
        if files is None:
            continue  # another build of the same inputs has just finished and tidied up
        record = config_record(
            key=key,
            options=options.recorded(),
            triplets={
                "read": reader.report.rows,
                "duplicates": len(reader.report.duplicates),
                "quarantined": len(reader.report.quarantined),
            },
            shards=shards,
            shard_files={name: {"bytes": file.size, "sha256": file.sha256} for name, file in files.items()},
            quarantine=quarantine,
            unmatched=found.unmatched,
            unused_scores=len(scores.unused()) if scores else 0,
            scores=scores_record(rows, others_scored),
            real_problems=_published(finder.problems if finder else (), options),
            real_doubts=_published(finder.doubts if finder else (), options),
            embed_real=options.embed_real,
        )
        paths = {name: file.path for name, file in files.items()}
        published = [_without_root(entry, options) for entry in quarantine]
        placed = put_in_place(options.out, options.config, record, published, paths)
        if placed is not None:
            return BuildResult(options.out, options.config, placed, quarantine, was_up_to_date=False)
    said = {"scores": scores_record(rows, others_scored), "prompts": prompts_record(rows)}
    if any(done.get(name) != value for name, value in said.items()):
        done = renew_record(options.out, options.config, said)
    return BuildResult(options.out, options.config, done, quarantine, was_up_to_date=True)


def _find_videos(options: BuildOptions, triplets: list[Triplet], work: Path) -> FoundVideos:
    if options.synthetic is None:
        return FoundVideos()
    source = open_source(
        options.synthetic,
        generator=options.config,
        work=work / "sources" / options.config,
        making=options.chain.making,
    )
    return source.find(triplets)


def _find_reals(
    options: BuildOptions, triplets: list[Triplet]
) -> tuple[list[RealFile | None], RealVideos | None]:
    """Each triplet's real video where it is found, and who looked for them."""
    if options.real_root is None:
        return [None] * len(triplets), None
    finder = RealVideos(options.real_root, options.real_mapping)
    hits = [finder.find_triplet(triplet) for triplet in triplets]
    reals = [None if hit is None else RealFile(hit.path, hit.reference, hit.times_apply) for hit in hits]
    return reals, finder


def _published(errors: Sequence[SynvitaError], options: BuildOptions) -> list[dict[str, Any]]:
    return [_without_root(error.to_record(), options) for error in errors]


def _without_root(record: dict[str, Any], options: BuildOptions) -> dict[str, Any]:
    """A record that does not say where the real videos lie."""
    if options.real_root is None:
        return record
    bare: dict[str, Any] = without_root(record, options.real_root)
    return bare


def _check(
    options: BuildOptions,
    triplets: list[Triplet],
    found: FoundVideos,
    reals: list[RealFile | None],
    store: Store,
    progress: OnProgress,
    set_aside: Callable[[str, str | None, SynvitaError], None],
) -> tuple[list[list[SyntheticVideo]], list[RealFile | None], list[int]]:
    """Videos and real files with their SHA-256, and the triplets that keep at least one row."""
    paths = [video.path for samples in found.videos.values() for video in samples]
    if options.embed_real:
        paths += [real.path for real in reals if real is not None]
    checked = check_videos(
        paths,
        store,
        threads=options.threads,
        on_checked=lambda more: progress("checking videos", more, len(set(paths))),
    )
    videos: list[list[SyntheticVideo]] = []
    kept = []
    for index, triplet in enumerate(triplets):
        real = reals[index]
        real_state = checked[real.path] if real is not None and options.embed_real else None
        candidates = found.of(triplet)
        good = []
        for video in candidates:
            state = real_state if isinstance(real_state, SynvitaError) else agreed(video, checked[video.path])
            if isinstance(state, SynvitaError):
                row_id = make_row_id(triplet.pair_id, video.generator or options.config, video.sample)
                set_aside("videos", row_id, state)
            else:
                good.append(replace(video, sha256=state))
        if not candidates and isinstance(real_state, SynvitaError):
            set_aside("videos", triplet.pair_id, real_state)
        elif good or not candidates:
            kept.append(index)
        if real is not None and isinstance(real_state, str):
            reals[index] = replace(real, sha256=real_state)
        videos.append(good)
    return videos, reals, kept


def _check_scores(
    options: BuildOptions, scores: ScoreTable, rows: int, asked: int, quarantine: list[dict[str, Any]]
) -> None:
    """Refuse a score table as a whole when it is of other triplets; single bad rows are set aside."""
    refused = [entry for entry in quarantine if entry["stage"] == "scores"]
    problem = None
    of_others = [entry for entry in refused if entry["problem"].startswith(OF_ANOTHER_VIDEO)]
    if of_others and len(of_others) >= len(scores.bindings):
        raise ScoreError(
            f"{of_others[0]['problem']}, and so are those of {len(of_others) - 1:,} rows more",
            **{key: of_others[0].get(key) for key in ("file", "row", "found", "expected", "fix")},
        )
    if len(scores.unused()) == len(scores):
        problem, found = "no row of the dataset found its scores there", list(scores.unused()[:3])
    elif beyond := [key for key in scores.unused() if isinstance(key, int) and key >= rows]:
        problem, found = f"{options.triplets.name} has {rows} rows", [f"row {key}" for key in beyond[:3]]
    elif 2 * len(refused) > asked:
        reasons = Counter(entry["problem"] for entry in refused).most_common(3)
        problem = f"{len(refused)} of {asked} rows cannot use theirs"
        found = [f"{reason} ({count} rows)" for reason, count in reasons]
    if problem is not None:
        raise ScoreError(
            f"the score table does not belong to these triplets: {problem}",
            file=options.vqascores,
            found="; ".join(map(str, found)) or "no scores",
            expected=f"scores under row ids of the dataset, or row numbers of {options.triplets.name} from 0",
        )


def _spans(options: BuildOptions) -> Callable[[str, str], tuple[list[Span], list[Span]]]:
    tokenizer = None
    if options.tokenizer is not None:
        from .tokenizer_file import load_tokenizer

        tokenizer = load_tokenizer(options.tokenizer)
    return partial(
        shared_spans,
        granularity=options.granularity,
        ignore_case=options.ignore_case,
        tokenizer=tokenizer,
    )


def _plan_key(options: BuildOptions, shards: list[Shard], quarantine: list[dict[str, Any]]) -> str:
    """Digest of everything the published config depends on."""
    digest = hashlib.sha256()
    for part in (
        [SCHEMA_VERSION, WRITER_VERSION, options.recorded(), quarantine],
        *map(shard_key_parts, shards),
    ):
        digest.update(json.dumps(part, sort_keys=True, ensure_ascii=False).encode())
    return digest.hexdigest()


def _write_shards(
    options: BuildOptions, shards: list[Shard], store: Store, progress: OnProgress
) -> dict[str, Artefact] | None:
    """Shard name -> the store's file of it; what an earlier run wrote is not written again.

    None when the store was taken away after the last shard was done.
    """
    by_name = {shard.name: shard for shard in shards}

    def write(claim: Claim) -> None:
        shard = by_name[claim.key]
        write_shard(shard, claim.path(shard.name), embed_real=options.embed_real)
        claim.commit()

    complete(store, by_name, write, on_done=lambda more: progress("writing shards", more, len(by_name)))
    files = {record.key: record.artefacts[record.key] for record in store.records(by_name)}
    return files if len(files) == len(by_name) else None
