"""`score_videos`: from triplets, synthetic videos and VQA models to a score table.

    find videos → check them → one job a model → write what there is

Each video with its captions is a key of each model in one store below the work folder; a killed run goes on where it
stopped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from synvita_data.display import json_text
from synvita_data.errors import SynvitaError
from synvita_data.files import write_atomic
from synvita_data.jobs import JobProgress, JobReport, RunOptions, Store, run_job
from synvita_data.schema import Triplet
from synvita_data.tables.score_files import write_scores

from ..sources import FoundVideos, open_source
from ..sources.registry import GENERATORS, parse_spec
from .job import VqaScoreJob, VqaSettings
from .models import VqaModel
from .rows import PlannedRows, plan_rows
from .table import Coverage, coverage, score_rows

# Called with a stage, how many more of its units are done, and how many there are.
OnChecked = Callable[[int, int], None]
# Faults of a file that may be gone by the next run, when the file was checked again and is as it was.
_MENDED = ("ChangedVideoError", "MissingVideoError")


@dataclass(frozen=True, slots=True)
class VqaScoreReport:
    """What a run came to.

    Attributes:
        jobs: of each model, in order. coverage: of each model's rows, over all shards and runs.
        table: where scores were written: `out`, or beside it `<name>.partial.parquet` while some are to do;
            None if there is not one yet. written: rows of the table.
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
                f"{len(self.plan.quarantined):,} videos cannot be scored, first: {first['reason']}: "
                f"{first['problem']} ({first.get('file', first.get('id', ''))})"
            )
        if self.plan.without_video:
            lines.append(f"{self.plan.without_video:,} triplets have no synthetic video")
        if self.plan.unmatched:
            lines.append(f"{len(self.plan.unmatched):,} video files belong to no triplet")
        for each in self.coverage:
            if each.scored < each.rows:
                lines.append(
                    f"{each.model}: {each.scored:,} of {each.rows:,} rows have scores, {each.failed:,} failed, "
                    f"{each.to_do:,} still to do"
                )
        if self.stale:
            lines.append("the table that is there is of an earlier run, not of this one")
        where = "no score yet" if self.table is None else f"{self.written:,} scores in {self.table}"
        lines.append(where if self.complete else f"not complete: {where}; run again to go on")
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
        synthetic: a SPEC of synthetic videos, or what its source found.
        models: of different names, from `find_model`; each is loaded once a worker, one model after the other.
        out: the table, `.parquet`; written whole, and only when nothing is still to do.
        work: folder of the store; default `<out without suffix>.work`. A build's `.work` serves: its checks of
            videos are then not made twice.
        score: `reference` or `first-token`; None for what each model's makers use. Another kind of score of
            models that have run costs no model.
        generator: name in row ids of videos that do not name theirs, as `--config` of `synvita build`.
        run: how the jobs are run (engine, workers, shard, …); its `limit` is of each model.
        on_progress: see `run_job`.
        running: options of `run` by name, such as `workers=8`.
        on_checked: called with how many more videos are checked, and how many there are.

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
        source = open_source(synthetic, generator=generator, work=work / "sources")
        found, generator = source.find(triplets), source.generator
    else:
        found = synthetic
    plan = plan_rows(
        triplets,
        found,
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
            found=f"{len(triplets):,} triplets, {plan.without_video:,} without a synthetic video, "
            f"{len(plan.quarantined):,} with one that cannot be used",
            fix=f"First reason: {plan.quarantined[0]['problem']}" if plan.quarantined else None,
        )
    jobs = [VqaScoreJob(work / "vqascore", model, settings, tuple(plan.rows)) for model in models]
    for job in jobs:
        job.method(score or job.model.default_score)  # complain before long work
    _retry_mended(jobs)
    reports = [run_job(job, run, on_progress=on_progress) for job in jobs]
    return _write(jobs, tuple(reports), out, score, plan)


def _write(
    jobs: Sequence[VqaScoreJob],
    reports: tuple[JobReport, ...],
    out: Path,
    score: str | None,
    plan: PlannedRows,
) -> VqaScoreReport:
    covered = tuple(coverage(job) for job in jobs)
    complete = not any(each.to_do for each in covered)
    partial = out.with_suffix(f".partial{out.suffix}")
    written, table = 0, out if complete else partial
    stale = out.exists() and not any(each.scored for each in covered)
    if any(each.scored for each in covered):
        written = write_scores(
            table, (row for job in jobs for row in score_rows(job, score or job.model.default_score))
        )
    if complete:
        partial.unlink(missing_ok=True)
    failures = _failures(jobs, plan)
    write_atomic(
        jobs[0].root.parent / "vqascore-quarantine.jsonl",
        "".join(f"{line}\n" for line in failures),
    )
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
