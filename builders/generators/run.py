"""`generate_videos`: from triplets and a SPEC to a folder of videos; and a generator as a source of a build."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from synvita_data.errors import SourceError, SynvitaError, VideoError
from synvita_data.extras import require
from synvita_data.files import parse_json, resolve_under, write_atomic
from synvita_data.jobs import JobProgress, JobReport, Record, RunOptions, Store, Worker, run_job
from synvita_data.schema import Triplet

from ..sources.manifest import NAME as MANIFEST
from ..sources.manifest import read_manifest
from ..sources.registry import FoundVideos, parse_spec
from ..training_csv import open_triplets
from .base import Generator, Request, make_requests, open_generator, refuse_long_names
from .folder import (
    JOBS,
    STORE,
    bind,
    check_free,
    known_prompts,
    noted_videos,
    publish,
    publishing_turn,
    read_failures,
)
from .prompt_length import DEFAULT, OnTooLong, PromptLengths, select_requests

# A program that is not there, or a model that cannot make one video, fails with every caption.
ALIKE = 5


@dataclass(frozen=True)
class GenerateJob:
    """Making videos, as a job that any engine can drive; plain data, sent to the workers.

    Attributes:
        generator: what makes the videos.
        requests: what to make.
        out: folder for finished videos; all workers must see it under this path.
        planned: requests that are made together, see `plan_jobs`; None leaves it to the generator.
    """

    generator: Generator
    requests: tuple[Request, ...]
    out: Path
    planned: tuple[tuple[Request, ...], ...] | None = None

    @property
    def title(self) -> str:
        """For progress and reports."""
        return f"generating with {self.generator.recipe.name}"

    @property
    def root(self) -> Path:
        """Folder of the store."""
        return self.out / STORE

    @property
    def alike(self) -> int:
        """Requests that fail in one way before the run ends."""
        return ALIKE

    def inputs(self) -> dict[str, Any]:
        """Key -> the requests that are made together."""
        groups = (self.requests,) if self.planned is None else self.planned
        return {key: job for group in groups for key, job in self.generator.inputs(group).items()}

    def open_worker(self, device: str | None) -> Worker:
        """A worker with the model loaded."""
        return self.generator.open_worker(str(self.root), str(self.out), device)

    def check(self, record: Record) -> str | None:
        """Why a finished result is not good; None when its videos decode."""
        from synvita_data.video import check_video

        try:
            for artefact in record.artefacts.values():
                check_video(artefact.path)
        except VideoError as error:
            return error.problem
        return None


def generate_videos(
    triplets: Path | str | Sequence[Triplet],
    spec: str,
    out: Path | str,
    *,
    samples: int = 1,
    overrides: Iterable[str] | Mapping[str, Any] = (),
    name: str | None = None,
    split: str | None = None,
    source: str | None = None,
    prompt_too_long: OnTooLong = DEFAULT,
    run: RunOptions | None = None,
    on_bad: Callable[[SynvitaError], None] | None = None,
    on_progress: Callable[[JobProgress], None] | None = None,
    on_prompts: Callable[[str, int], None] | None = None,
    **running: Any,
) -> JobReport:
    """One mp4 a contrast caption and sample in `out`, with a manifest; continues where a run stopped.

    The folder can be given to `synvita build --synthetic folder:OUT`. It holds videos of one generator with
    one set of settings; more triplets, or more samples, may be added by later runs.

    Args:
        triplets: annotation file, or triplets that are read already.
        spec, overrides, name: see `open_generator`.
        out: the folder.
        samples: videos a contrast caption.
        split, source: for rows of a file that do not say.
        prompt_too_long: what to do about captions of which the generator's text encoders would cut the end:
            `warn` makes them and says so, in the manifest too; `quarantine` leaves them out; `error` raises before
            anything is made. What is made, and under which key, does not depend on it.
        on_bad: called with the error of each row of the file that cannot be used; it is also kept in
            `OUT/quarantine.jsonl`.
        run: how the job is run (engine, workers, shard, …).
        on_progress: see `run_job`.
        on_prompts: called once, before anything is made, with a line about such captions and their number, or
            with why they could not be measured and 0.
        running: options of `run` by name, such as `workers=8`.

    Returns:
        What the run came to; requests that failed are in it and in `OUT/quarantine.jsonl`, not raised.

    Raises:
        SourceError: the generator is unknown, cannot use a setting, or the folder holds other things.
        CaptionError: captions are too long, and `prompt_too_long` is `error`.
        SynvitaError: the annotation file as a whole cannot be read. What `run_job` raises.
    """
    if samples < 1:
        raise SourceError("a caption needs a sample", found=f"samples={samples}", expected="1 or more")
    run = replace(run or RunOptions(), **running)
    out = Path(out).expanduser()

    # What can be asked for.
    unread: list[SynvitaError] = []
    if isinstance(triplets, (str, Path)):
        triplets = list(open_triplets(triplets, split=split, source=source, on_bad=unread.append))
    triplets = refuse_long_names(triplets, unread.append)
    if on_bad is not None:
        for error in unread:
            on_bad(error)

    # Who makes it, and where.
    _check_packages(spec, run)
    cache = out / ".work" / "weights.json" if out.is_dir() or not out.exists() else None
    generator = open_generator(spec, overrides, name=name, cache=cache)
    bind(out, generator.recipe)

    # What is made: captions that are read whole, and those that are cut if the user tolerates it.
    lengths = PromptLengths(generator.encoders, known_prompts(out))
    wanted = make_requests(triplets, samples)
    requests, refused = select_requests(wanted, lengths, prompt_too_long, on_prompts)
    job = GenerateJob(generator, requests, out.resolve(), plan_jobs(out, generator, requests))
    store = Store(job.root)
    check_free(out, store, (request.name for request in requests), job.inputs)
    try:
        return run_job(job, run, on_progress=on_progress)
    finally:  # also of a run that was stopped
        if unread or refused or (out / STORE).is_dir():
            publish(out, store, [*unread, *refused], lengths.of)


# --- which requests are made together --------------------------------------------------------------


def _check_packages(spec: str, run: RunOptions) -> None:
    """Refuse a pipeline that could not be opened here, unless workers elsewhere open it."""
    if run.address is None and parse_spec(spec)[0] != "command":
        require("generate", "torch", "diffusers", "transformers", what=spec)


def plan_jobs(
    out: Path, generator: Generator, requests: Sequence[Request]
) -> tuple[tuple[Request, ...], ...] | None:
    """The jobs that `requests` are in; None where each request is made on its own and needs no plan.

    A program that is given many prompts a run may seed once a file, so that a video depends on its job. Were jobs
    cut again from whatever the annotation file holds now, a row more would give published videos other content
    under the same names. So the jobs of a folder are written down in `OUT/.work/jobs.json` when they are first
    planned, and only requests that are in none form new ones.

    A job that is made, or that somebody is making, stays as it is, rows that are not asked for now included.
    One that is neither, and has rows that are not asked for (because one of them broke it, say), is given up,
    and the rest of its rows form new jobs.
    """
    size = int(generator.recipe.settings.get("prompts_per_job", 1))
    if size == 1:
        return None
    asked = {request.name: request for request in requests}
    with publishing_turn(out / ".work"):
        # What is made, and what was planned before.
        with Store(out / STORE) as store:
            made = {record.key: _made_together(record) for record in store.records()}
            written = {
                key: job for old in _read_plan(out / JOBS) for key, job in generator.inputs(old).items()
            }
            scan = store.scan(written)
        # Jobs that stay as they are.
        taken = {request.name for job in made.values() for request in job}
        jobs = list(made.values())
        for key, job in written.items():
            if key in made:
                continue
            names = {request.name for request in job}
            fixed = scan.states[key] in ("done", "claimed") or key in scan.damaged
            partly = bool(names & asked.keys()) and not names <= asked.keys()
            if not fixed and (partly or names & taken):
                store.retry_failed([key])  # its failure is no longer one of this folder
                continue
            taken |= names
            jobs.append(job)
        # The rest forms new ones.
        new = [request for name, request in asked.items() if name not in taken]
        jobs += [tuple(new[start : start + size]) for start in range(0, len(new), size)]
        lines = [[[r.pair_id, r.caption, r.sample] for r in job] for job in jobs]
        write_atomic(out / JOBS, json.dumps(lines, ensure_ascii=False))
    # In the order of the requests, and as they were asked for: with file and row, for messages.
    position = {name: place for place, name in enumerate(asked)}
    wanted = [
        (min(places), tuple(asked.get(request.name, request) for request in job))
        for job in jobs
        if (places := [position[request.name] for request in job if request.name in asked])
    ]
    return tuple(job for _, job in sorted(wanted, key=lambda entry: entry[0]))


def _made_together(record: Record) -> tuple[Request, ...]:
    videos = noted_videos(record)
    in_order = sorted(videos, key=lambda name: (len(name), name))
    return tuple(
        Request(videos[name]["id"], videos[name]["caption"], videos[name]["sample"]) for name in in_order
    )


def _read_plan(path: Path) -> Iterator[tuple[Request, ...]]:
    """The jobs that were planned; of a damaged file none: those that are made are in the store."""
    try:
        document = parse_json(path.read_bytes())
        yield from [
            tuple(Request(pair_id, caption, sample) for pair_id, caption, sample in job) for job in document
        ]
    except (FileNotFoundError, ValueError, TypeError):
        return


# --- a source of a build ---------------------------------------------------------------------------


class GeneratedSource:
    """Makes what is missing when it is asked, and gives it with its records.

    Args:
        spec: of the generator.
        work: videos are kept below it, in `generated/`.
        making: keyword arguments of `generate_videos`.

    Attributes:
        folder: where the videos are.
        generator: recorded name.

    Raises:
        SourceError: there is no folder to work in, the model does not exist, or a setting cannot be used.
    """

    def __init__(self, spec: str, work: Path | None, making: Mapping[str, Any]) -> None:
        if work is None:
            raise SourceError(f"{spec.partition(':')[0]}: makes videos and needs a folder to keep them in")
        _check_packages(spec, making.get("run") or RunOptions())
        recipe = open_generator(
            spec, making.get("overrides", ()), name=making.get("name"), cache=work / "weights.json"
        ).recipe
        # A build with other settings takes another folder; the videos of this one stay for when it comes back.
        self.folder = work / "generated" / recipe.digest[:16]
        self.generator = recipe.name
        self._spec, self._making = spec, dict(making)

    def find(self, triplets: Sequence[Triplet]) -> FoundVideos:
        """The videos of `triplets`; a request that fails is quarantined with its reason.

        Raises:
            SynvitaError: what `generate_videos` raises, or a run that a limit or lost workers left unfinished:
                a dataset must not silently lack videos.
        """
        report = generate_videos(triplets, self._spec, self.folder, **self._making)
        lines = "; ".join(report.lines())
        if report.held_back or report.unfinished:
            raise SynvitaError(
                "not all videos are made yet",
                file=self.folder,
                found=lines,
                fix="Run again; what is done stays",
            )
        if report.failed and not report.done:
            raise SourceError(
                "no video could be made",
                file=self.folder,
                found=lines,
                fix=f"All reasons are in {self.folder}/quarantine.jsonl; mend the cause, then --retry-failed",
            )
        # The folder may hold more: of other triplets and samples, of an earlier build that took cut captions too.
        samples = range(1, int(self._making.get("samples", 1)) + 1)
        wanted = {(triplet.pair_id, sample) for triplet in triplets for sample in samples}
        whole_only = self._making.get("prompt_too_long") == "quarantine"
        found = FoundVideos()
        for line in read_manifest(self.folder / MANIFEST):
            cut = "cut_at" in (line.video.prompt or {})
            if (line.id, line.video.sample) in wanted and not (whole_only and cut):
                video = replace(line.video, path=resolve_under(self.folder, line.path))
                found.videos.setdefault(line.id, []).append(video)
        for videos in found.videos.values():
            videos.sort(key=lambda video: video.sample)
        found.quarantined = [error for ids, error in read_failures(self.folder) if ids & wanted]
        return found
