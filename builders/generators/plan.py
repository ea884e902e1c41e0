"""Which requests a program of many prompts a run is given together: fixed when first planned, for good.

Such a program may seed once a file, so that a video depends on its job. Were jobs cut anew from whatever the
annotation file holds now, a row more would give published videos other content under the same names. So the jobs
of a folder are written down in `OUT/.work/jobs.json`, and only requests that are in none form new ones.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from synvita_data.files import write_atomic
from synvita_data.jobs import Record, Store

from .folder import JOBS, STORE, publishing_turn
from .recipe import Generator, Request

Jobs = tuple[tuple[Request, ...], ...]


def plan_jobs(out: Path, generator: Generator, requests: Sequence[Request]) -> Jobs | None:
    """The jobs that `requests` are in; None where each request is made on its own and needs no plan.

    A job that is made, or that somebody is making, stays as it is, rows that are not asked for now included.
    One that is neither, and has rows that are not asked for (because one of them broke it, say), is given up,
    and the rest of its rows form new jobs.
    """
    size = int(generator.recipe.settings.get("prompts_per_job", 1))
    if size == 1:
        return None
    asked = {request.name: request for request in requests}
    with publishing_turn(out / ".work"):
        with Store(out / STORE) as store:
            made = {record.key: _job_of(record) for record in store.records()}
            written = {key: job for old in _written(out / JOBS) for key, job in generator.inputs(old).items()}
            scan = store.scan(written)
        taken = {request.name for job in made.values() for request in job}
        jobs = list(made.values())
        for key, job in written.items():
            names = {request.name for request in job}
            if key in made:
                continue
            fixed = scan.states[key] in ("done", "claimed") or key in scan.damaged
            partly = bool(names & asked.keys()) and not names <= asked.keys()
            if not fixed and (partly or names & taken):
                store.retry_failed([key])  # its failure is no longer one of this folder
                continue
            taken |= names
            jobs.append(job)
        new = [request for name, request in asked.items() if name not in taken]
        jobs += [tuple(new[start : start + size]) for start in range(0, len(new), size)]
        lines = [[[r.pair_id, r.caption, r.sample] for r in job] for job in jobs]
        write_atomic(out / JOBS, json.dumps(lines, ensure_ascii=False))
    position = {name: place for place, name in enumerate(asked)}
    wanted = [
        # As they were asked for: with file and row, for messages.
        (min(places), tuple(asked.get(request.name, request) for request in job))
        for job in jobs
        if (places := [position[request.name] for request in job if request.name in asked])
    ]
    return tuple(job for _, job in sorted(wanted, key=lambda entry: entry[0]))


def _job_of(record: Record) -> tuple[Request, ...]:
    videos = record.fields["videos"]
    in_order = sorted(videos, key=lambda name: (len(name), name))
    return tuple(
        Request(videos[name]["id"], videos[name]["caption"], int(videos[name]["sample"])) for name in in_order
    )


def _written(path: Path) -> Iterator[tuple[Request, ...]]:
    """The jobs that were planned; of a damaged file none: those that are made are in the store."""
    try:
        document = json.loads(path.read_bytes())
        yield from [
            tuple(Request(pair_id, caption, sample) for pair_id, caption, sample in job) for job in document
        ]
    except FileNotFoundError:
        return
    except (ValueError, TypeError):
        return
