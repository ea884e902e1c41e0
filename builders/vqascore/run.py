"""`score_videos`: from triplets, synthetic videos and VQA models to a score table.

    find videos → check them → one job a model → write what there is

Each video with its captions is a key of each model in one store below the work folder; a killed run continues where it
stopped.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import exp, fsum, isfinite
from pathlib import Path
from typing import Any

from synvita_data.display import counted, json_text
from synvita_data.errors import ScoreError, SynvitaError, choose, of_type
from synvita_data.files import write_atomic
from synvita_data.jobs import DONE, QUARANTINED, JobProgress, JobReport, Record, RunOptions, Store, run_job
from synvita_data.schema import Triplet, make_row_id
from synvita_data.tables.score_files import ScoreRow, write_scores
from synvita_data.video.rules import takes_other_stream, takes_other_times

from ..sources import FoundVideos, open_source
from ..sources.checks import agreed, check_videos
from ..sources.registry import GENERATORS, Reading, parse_spec
from .job import SCORES, VqaRow, VqaScoreJob, VqaSettings
from .models import WHOLE_VIDEO, VqaModel

# Called with how many more videos are checked, and how many there are.
OnChecked = Callable[[int, int], None]
_SURE = 1e-3  # above any log-probability, which is 0 at most but for rounding
# Faults of a file that may be gone by the next run, when the file was checked again and is as it was.
_MENDED = ("ChangedVideoError", "MissingVideoError")


# -- which rows are scored --------------------------------------------------------------------------------


@dataclass
class PlannedRows:
    """What there is to score.

    Attributes:
        rows: in the order of triplets, then generator and sample.
        without_video: triplets that have no synthetic video.
        quarantined: a record for each row, or file, that cannot be scored, as in `quarantine.jsonl`.
        unmatched: video files that belong to no triplet.
    """

    rows: list[VqaRow] = field(default_factory=list)
    without_video: int = 0
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)


def plan_rows(
    triplets: Sequence[Triplet],
    found: FoundVideos,
    generator: str,
    store: Store,
    *,
    threads: int = 2,
    on_checked: OnChecked | None = None,
    times: Iterable[str] = (),
) -> PlannedRows:
    """Row ids as `synvita build` makes them, with the SHA-256 of each video's bytes.

    Args:
        triplets: with the captions.
        found: their synthetic videos.
        generator: name in row ids of videos that do not say which model made them.
        store: remembers videos that were checked; the build's own `videos` serves.
        threads: that check videos.
        on_checked: called with how many more videos are checked, and how many there are.
        times: ways in which models are told the times of frames, of `video.rules.TIMES`.
    """
    plan = PlannedRows(unmatched=list(found.unmatched))
    plan.quarantined += [{"stage": "videos", **error.to_record()} for error in found.quarantined]
    paths = list(dict.fromkeys(video.path for videos in found.videos.values() for video in videos))
    checked = check_videos(
        paths,
        store,
        threads=threads,
        on_checked=None if on_checked is None else lambda more: on_checked(more, len(paths)),
    )
    seen: set[str] = set()
    for triplet in triplets:
        videos = found.of(triplet)
        plan.without_video += not videos
        for video in videos:
            maker = video.generator or generator
            row_id = make_row_id(triplet.pair_id, maker, video.sample)
            if row_id in seen:  # a pair that the annotations have twice
                continue
            seen.add(row_id)
            state = agreed(video, checked[video.path])
            if isinstance(state, SynvitaError):
                plan.quarantined.append({"stage": "videos", "id": row_id, **state.to_record()})
                continue
            row = VqaRow(
                row_id,
                str(video.path),
                state,
                triplet.caption,
                triplet.neg_caption,
                generator=maker,
                sample=video.sample,
                other_stream=takes_other_stream(video.path),
                other_times=tuple(way for way in times if takes_other_times(video.path, way)),
            )
            plan.rows.append(row)
    return plan


# -- from log-probabilities to scores ---------------------------------------------------------------------


def score_of(log_probs: Sequence[float], score: str) -> float:
    """A score in [0, 1] from the log-probabilities of the answer's tokens, the end token last.

    Args:
        log_probs: natural logarithms, at least two; computed by a log-softmax in fp32.
        score: `reference`: exp of minus the mean cross-entropy over answer and end token, what the released
            code computes. `first-token`: the probability of the answer's first token among the whole
            vocabulary, what newer scorers take.

    Raises:
        ScoreError: not finite.
        SynvitaError: unknown score.
    """
    choose(score, SCORES, "score")
    total = fsum(log_probs)
    if not isfinite(total):
        raise ScoreError(
            "a model's answer has no probability",
            found=list(log_probs),
            expected="finite log-probabilities",
            fix="Score with --dtype bfloat16 or float32: float16 overflows in some models",
        )
    value = log_probs[0] if score == "first-token" else total / len(log_probs)
    return min(1.0, exp(value))  # a log-softmax in fp32 may give 1e-8


def score_rows(job: VqaScoreJob, score: str) -> Iterator[ScoreRow]:
    """One row a frame for each row that has a result, in the order of `job.rows`; whole videos have no frame.

    Raises:
        SchemaError: a result is not one of VQA scores.
        ScoreError: a log-probability that is not one.
    """
    store, method = Store(job.root), job.method(score)
    for row, key in zip(job.rows, job.keys, strict=True):
        record = store.record(key)
        if record is None:
            continue
        for frame, neg_caption, caption in _looks(record, whole=job.model.kind == WHOLE_VIDEO):
            yield ScoreRow(
                id=row.id,
                model=job.model.label,
                neg_caption_score=score_of(neg_caption, score),
                caption_score=score_of(caption, score),
                revision=job.model.revision,
                method=method,
                frame=frame,
                sha256=row.sha256,
                generator=row.generator,
                sample=row.sample,
            )


def _looks(record: Record, *, whole: bool) -> list[tuple[int | None, list[float], list[float]]]:
    """(frame, log-probabilities with the contrast caption, with the caption) of each look."""
    with record.expecting("frames, and log_probs of contrast caption and caption for each"):
        frames = [None] if whole else [of_type(frame, int) for frame in record.fields["frames"]]
        return [
            (frame, _numbers(neg_caption), _numbers(caption))
            for frame, (neg_caption, caption) in zip(frames, record.fields["log_probs"], strict=True)
        ]


def _numbers(log_probs: Any) -> list[float]:
    if len(log_probs) < 2 or any(of_type(each, float, int) > _SURE for each in log_probs):
        raise ValueError(f"log-probabilities {log_probs!r}")
    return list(log_probs)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far one model is.

    Attributes:
        model: its name.
        rows: to be scored.
        scored: with a result.
        failed: in quarantine. The rest is still to do.
    """

    model: str
    rows: int
    scored: int
    failed: int

    @property
    def to_do(self) -> int:
        return self.rows - self.scored - self.failed


def coverage(job: VqaScoreJob) -> Coverage:
    """How many of a job's rows have a result, or failed; rows that share a key count each."""
    states = Store(job.root).scan(dict.fromkeys(job.keys)).states
    scored = sum(states[key] == DONE for key in job.keys)
    failed = sum(states[key] == QUARANTINED for key in job.keys)
    return Coverage(job.model.label, len(job.rows), scored, failed)


# -- a run ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VqaScoreReport:
    """What a run came to.

    Attributes:
        jobs: of each model, in order.
        coverage: of each model's rows, over all shards and runs.
        table: where scores were written: `out`, or beside it `<name>.partial.parquet` while some are to do;
            None if there is not one yet.
        written: rows of the table.
        complete: nothing is still to do; rows in quarantine have no scores.
        plan: the rows, and those that could not become any.
        stale: at `out` lies a table of an earlier run, and this one has no score.
    """

    jobs: tuple[JobReport, ...]
    coverage: tuple[Coverage, ...]
    table: Path | None
    written: int
    complete: bool
    plan: PlannedRows
    stale: bool = False

    @property
    def exit_status(self) -> int:
        """0: every row has its scores, or waits because a limit or shard was asked for. 1: some could not be scored."""
        return 1 if self.plan.quarantined or any(job.exit_status for job in self.jobs) else 0

    def lines(self) -> list[str]:
        """The report for people."""
        lines = [line for job in self.jobs for line in job.lines()]
        if self.plan.quarantined:
            first = self.plan.quarantined[0]
            lines.append(
                f"{counted(len(self.plan.quarantined), 'videos')} cannot be scored, first: {first['reason']}: "
                f"{first['problem']} ({first.get('file', first.get('id', ''))})"
            )
        if self.plan.without_video:
            lines.append(f"{counted(self.plan.without_video, 'triplets have')} no synthetic video")
        if self.plan.unmatched:
            lines.append(f"{counted(len(self.plan.unmatched), 'video files belong')} to no triplet")
        for each in self.coverage:
            if each.scored < each.rows:
                lines.append(
                    f"{each.model}: {each.scored:,} of {each.rows:,} rows have scores, {each.failed:,} failed, "
                    f"{each.to_do:,} still to do"
                )
        if self.stale:
            lines.append("the table that is there is of an earlier run, not of this one")
        where = "no score yet" if self.table is None else f"{counted(self.written, 'scores')} in {self.table}"
        lines.append(where if self.complete else f"not complete: {where}; run again to continue")
        return lines


def score_videos(
    triplets: Sequence[Triplet],
    synthetic: str | FoundVideos,
    models: Sequence[VqaModel],
    out: Path,
    *,
    work: Path | None = None,
    settings: VqaSettings = VqaSettings(),  # noqa: B008 (frozen)
    score: str | None = None,
    generator: str | None = None,
    run: RunOptions | None = None,
    on_checked: OnChecked | None = None,
    on_progress: Callable[[JobProgress], None] | None = None,
    **running: Any,
) -> VqaScoreReport:
    """Score every synthetic video of the triplets with both captions, frame by frame, with each model.

    Args:
        triplets: with the captions.
        synthetic: a SPEC of synthetic videos, or what its source found.
        models: of different names, from `find_model`; each is loaded once a worker, one model after the other.
        out: the table, `.parquet`; written whole, and only when nothing is still to do.
        work: folder of the store; default `<out without suffix>.work`. A build's `.work` serves: its checks of
            videos are then not made twice.
        settings: how models look at videos.
        score: `reference` or `first-token`; None for what each model's makers use. Another kind of score of
            models that have run costs no model.
        generator: name in row ids of videos that do not name theirs, as `--config` of `synvita build`.
        run: how the jobs are run (engine, workers, shard, …); its `limit` is of each model.
        on_checked: called with how many more videos are checked, and how many there are.
        on_progress: see `run_job`.
        running: options of `run` by name, such as `workers=8`.

    Raises:
        SynvitaError: arguments that cannot be used; a model that cannot be loaded; no video at all.
    """
    run = replace(run or RunOptions(), **running)
    check_models(models, out)
    work = out.with_suffix(".work") if work is None else work
    if isinstance(synthetic, str):
        if parse_spec(synthetic)[0] in GENERATORS:
            raise SynvitaError(
                "these videos have to be made before they can be scored",
                found=synthetic,
                expected="folder:DIR",
                fix="Run `synvita generate` first, or `synvita build` with --vqa-model, which does both",
            )
        reading = Reading(generator=generator)
        source = open_source(synthetic, generator=generator, work=work / "sources", reading=reading)
        synthetic, generator = source.find(triplets), source.generator
    plan = plan_rows(
        triplets,
        synthetic,
        generator or "synthetic",
        Store(work / "videos"),
        threads=settings.threads,
        on_checked=on_checked,
        times=sorted({model.reads_times for model in models if model.reads_times is not None}),
    )
    if not plan.rows:
        raise SynvitaError(
            "there is no video to score",
            file=out,
            found=f"{counted(len(triplets), 'triplets')}, {plan.without_video:,} without a synthetic video, "
            f"{len(plan.quarantined):,} with one that cannot be used",
            fix=f"First reason: {plan.quarantined[0]['problem']}" if plan.quarantined else None,
        )
    jobs = [VqaScoreJob(work / "vqascore", model, settings, tuple(plan.rows)) for model in models]
    scores = [score or model.default_score for model in models]
    for job, each in zip(jobs, scores, strict=True):
        job.method(each)  # complain before long work
    _retry_mended(jobs)
    reports = tuple(run_job(job, run, on_progress=on_progress) for job in jobs)
    # Write what there is, over all shards and runs: beside the table while something is still to do.
    covered = tuple(coverage(job) for job in jobs)
    complete, any_score = not any(each.to_do for each in covered), any(each.scored for each in covered)
    partial = out.with_suffix(f".partial{out.suffix}")
    table, written = out if complete else partial, 0
    stale = out.exists() and not any_score
    if any_score:
        rows = (row for job, each in zip(jobs, scores, strict=True) for row in score_rows(job, each))
        written = write_scores(table, rows)
    if complete:
        partial.unlink(missing_ok=True)
    write_atomic(work / "vqascore-quarantine.jsonl", "".join(f"{line}\n" for line in _failures(jobs, plan)))
    return VqaScoreReport(reports, covered, table if written else None, written, complete, plan, stale)


def _failures(jobs: Sequence[VqaScoreJob], plan: PlannedRows) -> list[str]:
    """JSON lines: rows that cannot be scored, and those that a model could not score, by row id."""
    records: list[dict[str, Any]] = list(plan.quarantined)
    errors = {failure.key: failure.error for failure in Store(jobs[0].root).quarantined()}
    for job in jobs:
        for row, key in zip(job.rows, job.keys, strict=True):
            if key in errors:
                records.append({"stage": "vqascore", "id": row.id, "model": job.model.label, **errors[key]})
    return [json_text(record, sort_keys=True) for record in records]


def _retry_mended(jobs: Sequence[VqaScoreJob]) -> None:
    """Take out of quarantine what a changed or missing video put there: it has just been checked, and is as it was."""
    store = Store(jobs[0].root)
    ours = {key for job in jobs for key in job.keys}
    mended = [
        failure.key
        for failure in store.quarantined()
        if failure.key in ours and failure.error.get("reason") in _MENDED
    ]
    store.retry_failed(mended)


def check_models(models: Sequence[VqaModel], out: Path) -> None:
    """Complain about models, or the name of a table, before long work.

    Raises:
        SynvitaError: no model, two of one name, a table that is not Parquet.
    """
    labels = [model.label for model in models]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if not models or twice:
        raise SynvitaError(
            "a score table needs models of different names",
            file=out,
            found=", ".join(twice) or "none",
            fix="Rename one of the folders" if twice else "Name one with --model",
        )
    if out.suffix.lower() not in (".parquet", ".pq"):
        raise SynvitaError("a score table is written as Parquet", file=out, expected="a name in .parquet")
