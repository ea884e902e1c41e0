"""`generate_videos`: from triplets and a SPEC to a folder of videos."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from synvita_data.errors import CaptionError, SourceError, SynvitaError
from synvita_data.jobs import JobProgress, JobReport, RunOptions, Store, run_job
from synvita_data.schema import Triplet

from ..triplets import TripletReader
from .folder import STORE, bind, check_free, known_prompts, publish
from .job import GenerateJob
from .plan import plan_jobs
from .prompt_length import DEFAULT, OnTooLong, PromptLengths, told
from .recipe import Request, make_requests, refuse_long_names
from .registry import open_generator


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
        triplets: annotation file, or triplets that are read already. split, source: for files that do not say.
        spec, overrides, name: see `open_generator`.
        samples: videos a contrast caption.
        prompt_too_long: what to do about captions of which the generator's text encoders would cut the end:
            `warn` makes them and says so, in the manifest too; `quarantine` leaves them out; `error` raises before
            anything is made. What is made, and under which key, does not depend on it.
        on_prompts: called once, before anything is made, with a line about such captions and their number, or
            with why they could not be measured and 0.
        on_bad: called with the error of each row of the file that cannot be used; it is also kept in
            `OUT/quarantine.jsonl`.
        run: how the job is run (engine, workers, shard, …).
        on_progress: see `run_job`.
        running: options of `run` by name, such as `workers=8`.

    Returns:
        What the run came to; requests that failed are in it and in `OUT/quarantine.jsonl`, not raised.

    Raises:
        SourceError: no such generator, a setting it cannot use, or a folder with other things in it.
        CaptionError: captions are too long, and `prompt_too_long` is `error`.
        SynvitaError: the annotation file as a whole cannot be read. What `run_job` raises.
    """
    if samples < 1:
        raise SourceError("a caption needs a sample", found=f"samples={samples}", expected="1 or more")
    run = replace(run or RunOptions(), **running)
    out = Path(out).expanduser()
    unread: list[SynvitaError] = []
    if isinstance(triplets, (str, Path)):
        reader = TripletReader(Path(triplets), split=split, source=source, on_bad=unread.append)
        triplets = list(reader)
    triplets = refuse_long_names(triplets, unread.append)
    if on_bad is not None:
        for error in unread:
            on_bad(error)
    cache = out / ".work" / "weights.json" if out.is_dir() or not out.exists() else None
    generator = open_generator(spec, overrides, name=name, cache=cache)
    bind(out, generator.recipe)
    lengths = PromptLengths(generator.encoders, known_prompts(out))
    requests, refused = _fitting(make_requests(triplets, samples), lengths, prompt_too_long, on_prompts)
    job = GenerateJob(generator, requests, out.resolve(), plan_jobs(out, generator, requests))
    store = Store(job.root)
    check_free(out, store, (request.name for request in job.requests), job.needs)
    try:
        return run_job(job, run, on_progress=on_progress)
    finally:  # also of a run that was stopped
        if unread or refused or (out / STORE).is_dir():
            publish(out, store, [*unread, *refused], lengths.of)


def _fitting(
    requests: list[Request],
    lengths: PromptLengths,
    mode: OnTooLong,
    on_prompts: Callable[[str, int], None] | None,
) -> tuple[tuple[Request, ...], list[SynvitaError]]:
    """The requests to be made, and the errors of those that are set aside because a caption is too long.

    Raises:
        CaptionError: there is one, and `mode` is `error`.
    """
    if mode not in get_args(OnTooLong):
        raise SourceError(
            "captions that are too long cannot be treated so",
            found=mode,
            expected=", ".join(get_args(OnTooLong)),
        )
    too_long = lengths.too_long(requests)
    if too_long and mode == "error":
        first = too_long[0]
        raise CaptionError(
            told(too_long, len(requests), mode),
            file=first.file,
            row=first.row,
            found=first.found,
            expected=first.expected,
            fix=first.fix,
        )
    if on_prompts is not None and too_long:
        on_prompts(told(too_long, len(requests), mode), len(too_long))
    elif on_prompts is not None and lengths.unknown is not None:
        on_prompts(f"prompts: not measured, {lengths.unknown}", 0)
    if mode == "warn":
        return tuple(requests), []
    aside = {error.request.name for error in too_long}
    return tuple(request for request in requests if request.name not in aside), list(too_long)
