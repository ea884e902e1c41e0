"""`build_dataset`: from annotation file, videos and scores to a dataset folder.

    read triplets → find (or make) videos → check videos → read (or make) scores → join → plan shards →
    write shards → put in place

Every step before the last works in `OUT/.work/`, on stores that survive a kill; the last swaps whole
folders. So a reader of OUT sees the dataset of before or that of after, and a killed build continues where
it stopped.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synvita_data.captions import Span
from synvita_data.captions.lcs import shared_spans
from synvita_data.errors import HubError, ScoreError, SynvitaError, TokenizerError
from synvita_data.extras import require
from synvita_data.files import json_lines, sweep
from synvita_data.held_out import refuse_file, refuse_sources
from synvita_data.hub.reach import say_if_renamed
from synvita_data.jobs import Artefact, Claim, Store, complete
from synvita_data.models.resolve import locate
from synvita_data.real_videos.find import RealVideo, RealVideos
from synvita_data.schema import SCHEMA_VERSION, Triplet, make_row_id
from synvita_data.synthetic_videos.reference import parse_reference
from synvita_data.tables.scores import OF_ANOTHER_VIDEO, ScoreTable, read_scores

from ..sources import FoundVideos, open_source
from ..sources.checks import agreed, check_videos
from ..sources.registry import Reading
from ..training_csv import TrainingReport, open_triplets
from ..triplets import ReadReport
from .beside import BYTES_WORTH_A_PROCESS, WORTH_A_PROCESS, Beside, text_only_record
from .joined import JoinedRows
from .options import BuildOptions
from .report import (
    check_place,
    clear_leftovers,
    config_record,
    finished_record,
    put_in_place,
    read_report,
    renew_record,
    rows_known,
)
from .rows import Material, ScoresLeft, held_triplets, make_rows, usual_maker
from .shards import Shard, plan_shards, shard_keys, write_shard

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ..vqascore import VqaModel

# Raise it when equal rows would be written as other bytes.
WRITER_VERSION = 1
# Called with a stage, how many more of its units are done, and how many there are.
OnProgress = Callable[[str, int, int], None]
SetAside = Callable[[str, str | None, SynvitaError], None]


@dataclass(frozen=True)
class BuildResult:
    """What a build did.

    Attributes:
        out: the dataset folder.
        config: which config of it.
        record: the config's entry of `build.json`.
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
    with Beside(options.config) as beside:
        return _build(options, beside, on_progress or (lambda stage, done, total: None))


def _build(options: BuildOptions, beside: Beside, progress: OnProgress) -> BuildResult:
    check_place(options.out, options.config)
    sweep(options.work)
    refuse_file(Path(options.triplets))
    models = find_models(options)  # before hours of generating
    is_new = options.config not in read_report(options.out)  # else there may be nothing to do
    if is_new and options.limit is None and _size(Path(options.triplets)) >= BYTES_WORTH_A_PROCESS:
        beside.start()  # it imports while this process reads
    reader = open_triplets(options.triplets, split=options.split, source=options.source)
    triplets = held_triplets(islice(reader, options.limit), options.work)
    refuse_sources((triplet.source for triplet in triplets), options.triplets)
    large = len(triplets) >= WORTH_A_PROCESS
    if large and is_new:
        beside.start()
    beside.expect(triplets)
    quarantine = [{"stage": "triplets", **error.to_record()} for error in reader.report.quarantined]

    def set_aside(stage: str, row_id: str | None, error: SynvitaError) -> None:
        quarantine.append({"stage": stage, **({"id": row_id} if row_id else {}), **error.to_record()})

    # Videos: found or made, then checked.
    found = find_videos(options, triplets, reader.report)
    for error in found.quarantined:
        set_aside("videos", None, error)
    real_videos = RealVideos(options.real_root, options.real_mapping) if options.real_root else None
    materials = _Materials(options, triplets, found, real_videos, progress)
    materials.check(set_aside)

    # Scores: read or made, then joined.
    table = options.vqascores
    unscored: dict[str, dict[str, Any]] = {}
    if models:
        table, unscored = _score(options, models, triplets, found)
    scores = read_scores(table, triplets, folder=options.work) if table else None
    rows = JoinedRows(options.work, embed_real=options.embed_real)
    for row in make_rows(
        materials,
        scores,
        options,
        makers=materials.makers,
        spans=spans_of(options),
        quarantine=partial(set_aside, "scores"),
    ):
        if row.id not in unscored:
            rows.add(row)
    rows.finish()
    quarantine += unscored.values()
    if scores is not None and materials.count:
        check_scores(options, scores, reader.report.rows, materials.count, quarantine)
    if not len(rows):
        raise no_row_left(options, reader.report.rows, quarantine)
    left = ScoresLeft.of(scores)
    del triplets, materials, scores  # what follows needs room of its own

    # Shards: planned, written and put in place, unless they are there.
    shards = plan_shards(rows.totals, max_shard_bytes=options.max_shard_bytes)
    key = _plan_key(options, shards, rows, quarantine)
    store = Store(options.work / "shards" / f"{options.config}-{key[:16]}")
    while (done := finished_record(options.out, options.config, key)) is None:
        if large:
            beside.start()
        beside.give(rows)
        files = _write_shards(options, shards, rows, store, progress)
        if files is None:
            continue  # another build of the same inputs has just finished and tidied up
        record = config_record(
            options,
            key=key,
            read=reader.report,
            totals=rows.totals,
            shards=shards,
            files=files,
            quarantine=quarantine,
            found=found,
            scores=left,
            real_videos=real_videos,
            beside=beside,
        )
        placed = put_in_place(options, record, quarantine, files, beside)
        if placed is not None:
            return BuildResult(options.out, options.config, placed, quarantine, was_up_to_date=False)
    clear_leftovers(options, store.root)
    known = rows_known(rows.totals, left)
    if "text_only" not in done:  # built before it was worked out
        known["text_only"] = text_only_record(rows)
    if any(done.get(name) != value for name, value in known.items()):
        done = renew_record(options, known)
    return BuildResult(options.out, options.config, done, quarantine, was_up_to_date=True)


def _size(path: Path) -> int:
    """Bytes of a file; none of what is no file."""
    return path.stat().st_size if path.is_file() else 0


def find_videos(options: BuildOptions, triplets: Sequence[Triplet], read: ReadReport) -> FoundVideos:
    """The synthetic videos of triplets, made first where a generator has to make them."""
    if options.synthetic is None:
        return FoundVideos()
    of_csv = read.generator if isinstance(read, TrainingReport) else None
    source = open_source(
        options.synthetic,
        generator=options.config,
        work=options.work / "sources" / options.config,
        making=options.chain.making,
        reading=Reading(
            generator=options.generator,
            order=options.order,
            of_csv=of_csv,
            # Scoring and embedding read the videos themselves.
            fetch=options.embed_synthetic or bool(options.chain.models),
            on_note=options.on_note,
        ),
    )
    return source.find(triplets)


class _Materials:
    """The triplets that keep at least one row, with their videos and, of those that are embedded, the SHA-256.

    Iterating goes over the triplets again, so that they need not fit into memory.

    Args:
        options: of the build.
        triplets: all.
        found: their synthetic videos.
        real_videos: who finds the real ones.
        progress: told how many videos are checked.

    Attributes:
        count: how many there are; this and what follows is known after `check`.
        makers: who made their synthetic videos.
    """

    def __init__(
        self,
        options: BuildOptions,
        triplets: Sequence[Triplet],
        found: FoundVideos,
        real_videos: RealVideos | None,
        progress: OnProgress,
    ) -> None:
        self._options, self._triplets, self._found = options, triplets, found
        self.count = 0
        self.makers: set[str | None] = set()
        self._reals: list[RealVideo | None] = []
        if real_videos is not None:
            self._reals = [real_videos.find_triplet(triplet) for triplet in triplets]
        paths = [video.path for samples in found.videos.values() for video in samples if video.here]
        if options.embed_real:
            paths += [real.path for real in self._reals if real is not None]
        self._checked = check_videos(
            paths,
            Store(options.work / "videos"),
            threads=options.threads,
            on_checked=lambda more: progress("checking videos", more, len(set(paths))),
        )

    def check(self, set_aside: SetAside) -> None:
        """Set aside what cannot be used."""
        if not self._checked and not self._found.videos:  # nothing that could be wrong
            self.count = len(self._triplets)
            return
        usual = usual_maker(self._options)
        for material in self._usable(set_aside):
            self.count += 1
            self.makers.update(video.generator or usual for video in material.made)

    def __iter__(self) -> Iterator[Material]:
        return self._usable(lambda stage, row_id, error: None)

    def _usable(self, set_aside: SetAside) -> Iterator[Material]:
        options = self._options
        for triplet, real in zip(self._triplets, self._reals or repeat(None), strict=False):
            real_state = self._checked[real.path] if real is not None and options.embed_real else None
            made, good = self._found.of(triplet), []
            for video in made:
                # A video that stays in its repository has the SHA-256 that the repository gives.
                own = agreed(video, self._checked[video.path]) if video.here else str(video.sha256)
                if isinstance(own, SynvitaError) and video.reference is not None:
                    # The file may be one of the work folder: what users know is the archive and its member.
                    own = SynvitaError.from_record(
                        own.to_record(), file=parse_reference(video.reference).shown
                    )
                state = real_state if isinstance(real_state, SynvitaError) else own
                if isinstance(state, SynvitaError):
                    row_id = make_row_id(triplet.pair_id, video.generator or options.config, video.sample)
                    set_aside("videos", row_id, state)
                else:
                    reference = video.reference if options.refers else None
                    good.append(replace(video, sha256=state, reference=reference))
            if isinstance(real_state, SynvitaError):
                if not made:
                    set_aside("videos", triplet.pair_id, real_state)
            elif good or not made:
                yield Material(triplet, good, made, real, real_state)


def find_models(options: BuildOptions) -> "list[VqaModel]":
    """The chain's VQA models.

    Raises:
        SynvitaError: an unknown model, or two of one name.
    """
    if not options.chain.models:
        return []
    from ..vqascore import find_model
    from ..vqascore.run import check_models

    models = [find_model(name) for name in options.chain.models]
    check_models(models, _scores_made(options))
    return models


def _scores_made(options: BuildOptions) -> Path:
    return options.work / f"vqascores-{options.config}.parquet"


def _score(
    options: BuildOptions, models: "Sequence[VqaModel]", triplets: Sequence[Triplet], found: FoundVideos
) -> tuple[Path, dict[str, dict[str, Any]]]:
    """Score the videos of a build with the chain's models.

    Returns:
        The score table, and the quarantine records of rows that not every model could score, by row id: a mean over
        fewer models than the other rows' would be another weight.

    Raises:
        SynvitaError: nothing to score, or a run that lost workers left it unfinished.
    """
    from ..vqascore import VqaSettings, default_dtype, score_videos

    chain = options.chain
    report = score_videos(
        triplets,
        found,
        models,
        _scores_made(options),
        work=options.work,
        settings=chain.settings or VqaSettings(dtype=default_dtype(chain.run.devices, chain.run.address)),
        score=chain.score,
        generator=options.config,
        run=chain.run,
        on_progress=chain.on_progress,
    )
    if not report.complete or report.table is None:
        raise SynvitaError(
            "not all videos are scored yet",
            file=options.work,
            found="; ".join(report.lines()),
            fix="Run again; what is done stays",
        )
    failed: dict[str, list[Mapping[str, Any]]] = {}
    for record in json_lines((options.work / "vqascore-quarantine.jsonl").read_text(encoding="utf-8")):
        if record.get("stage") == "vqascore":
            failed.setdefault(str(record["id"]), []).append(record)
    unscored = {}
    for row_id, records in failed.items():
        first, by = records[0], ", ".join(str(record["model"]) for record in records)
        unscored[row_id] = {
            "stage": "vqascore",
            "id": row_id,
            "reason": str(first.get("reason", "SynvitaError")),
            "problem": f"{by} could not score the row: {first.get('problem', 'no reason kept')}",
            **{name: first[name] for name in ("file", "found", "expected") if first.get(name) is not None},
            "fix": first.get("fix") or "Run again with --retry-failed",
        }
    return report.table, unscored


def no_row_left(options: BuildOptions, rows: int, quarantine: list[dict[str, Any]]) -> SynvitaError:
    """The error of a build of nothing: how many rows were read and set aside, and why the first was."""
    return SynvitaError(
        "no row is left to build a dataset from",
        file=options.triplets,
        found=f"{rows} rows read, {len(quarantine)} quarantined",
        fix=f"First reason: {quarantine[0]['problem']}" if quarantine else None,
    )


def check_scores(
    options: BuildOptions, scores: ScoreTable, rows: int, asked: int, quarantine: list[dict[str, Any]]
) -> None:
    """Refuse a score table as a whole when it is of other triplets; single bad rows are set aside.

    It may have more rows than the triplets, as for a trial with the first ones, if it has theirs.
    """
    refused = [entry for entry in quarantine if entry["stage"] == "scores"]
    of_others = [entry for entry in refused if entry["problem"].startswith(OF_ANOTHER_VIDEO)]
    if of_others and len(of_others) >= scores.matched:
        raise ScoreError(
            f"{of_others[0]['problem']}, and so are those of {len(of_others) - 1:,} rows more",
            **{key: of_others[0].get(key) for key in ("file", "row", "found", "expected", "fix")},
        )
    unused = scores.unused()
    if len(unused) == len(scores):
        problem, found = "no row of the dataset found its scores there", [str(key) for key in unused[:3]]
    elif options.limit is None and (beyond := scores.numbers_shifted(rows)):
        problem = f"{options.triplets.name} has {rows:,} rows, and not all of them have scores"
        found = [f"row {key}" for key in beyond[:3]]
    elif 2 * len(refused) > asked:
        reasons = Counter(entry["problem"] for entry in refused).most_common(3)
        problem = f"{len(refused)} of {asked} rows cannot use theirs"
        found = [f"{reason} ({count} rows)" for reason, count in reasons]
    else:
        return
    raise ScoreError(
        f"the score table does not belong to these triplets: {problem}",
        file=options.vqascores,
        found="; ".join(found) or "no scores",
        expected=f"scores under row ids of the dataset, or row numbers of {options.triplets.name} from 0",
    )


def spans_of(options: BuildOptions) -> Callable[[str, str], tuple[list[Span], list[Span]]]:
    """What gives the shared spans of a caption and its contrast caption."""
    return partial(
        shared_spans,
        granularity=options.granularity,
        ignore_case=options.ignore_case,
        tokenizer=None if options.tokenizer is None else _load_tokenizer(options.tokenizer),
    )


def _load_tokenizer(name: str) -> "Tokenizer":
    """A fast tokenizer without transformers: all a mask needs is `tokenizer.json`.

    Args:
        name: a `tokenizer.json`, a model folder that holds one, or a Hub id.

    Raises:
        TokenizerError: there is no such file, or one that is not a fast tokenizer.
    """
    require("score", "tokenizers", what="--tokenizer")
    from tokenizers import Tokenizer

    path, problem = Path(name), "cannot load a fast tokenizer"
    expected = "a tokenizer.json, a folder that holds one, or the Hub id of a model that has one"
    files = locate(name)
    if not path.is_file():
        try:
            found = files.find("tokenizer.json")
        except HubError as error:
            raise TokenizerError(
                f"{problem}: {error.problem}",
                file=error.file,
                found=error.found,
                expected=expected,
                fix=error.fix,
            ) from error
        if found is None:
            raise TokenizerError(problem, file=name, found="no tokenizer.json", expected=expected)
        say_if_renamed(files.location)
        path = found
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust library raises plain Exception for a malformed file
        raise TokenizerError("not a fast tokenizer", file=path, found=str(error)) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _plan_key(
    options: BuildOptions, shards: list[Shard], rows: JoinedRows, quarantine: list[dict[str, Any]]
) -> str:
    """Digest of everything the published config depends on."""
    digest = hashlib.sha256()
    head = [SCHEMA_VERSION, WRITER_VERSION, options.recorded(), quarantine]
    head_text = json.dumps(head, sort_keys=True, ensure_ascii=False)
    for piece in chain([head_text.encode("utf-8", "surrogatepass")], shard_keys(shards, rows)):
        digest.update(piece)
    return digest.hexdigest()


def _write_shards(
    options: BuildOptions, shards: list[Shard], rows: JoinedRows, store: Store, progress: OnProgress
) -> dict[str, Artefact] | None:
    """Shard name -> the store's file of it; what an earlier run wrote is not written again.

    None when the store was taken away after the last shard was done, or a result in it is damaged.
    """
    by_name = {shard.name: shard for shard in shards}

    def write(claim: Claim) -> None:
        shard = by_name[claim.key]
        write_shard(shard, rows, claim.path(shard.name), embed_real=options.embed_real)
        claim.commit()

    complete(store, by_name, write, on_done=lambda more: progress("writing shards", more, len(by_name)))
    files = {}
    for record in store.records(by_name):
        with record.expecting("the Parquet file of a shard"):
            files[record.key] = record.artefacts[record.key]
    for name in by_name.keys() - files.keys():
        store.discard(name)  # damaged in a way that only reading shows, or taken away
    return files if len(files) == len(by_name) else None
