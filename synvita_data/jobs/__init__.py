"""Long jobs: a store of results that any number of workers share, and the engines that run them.

A job says which keys it has and opens workers; an engine has them done by this process, local processes or Ray:

    report = run_job(job, workers=8, on_progress=progress.follow)
    print(*report.lines(), sep="\\n")

Below it is the store. A worker asks for keys, claims one at a time, and commits the result:

    store = Store(out / ".work" / "vqascore")
    for claim in store.claims(keys):  # yields only what is neither done nor held by a live worker
        with claim:
            path = claim.path("video.mp4")  # a temporary place on the same file system
            ...  # write the file
            claim.commit({"frames": 49})  # files first, then the record: the record is the proof

Any number of threads, processes and machines may run this loop on one folder, be killed at any moment,
and be started again in other numbers. `docs/store.md` states what is promised and why it holds.

Standard library only: a scan of 100,000 keys comes before any heavy import; Ray is imported for engine="ray".
"""

from .claim import Claim
from .failures import is_worker_fault, no_room, quarantine_errors
from .job import Job, RunOptions, Shard, Worker
from .records import CLAIMED, DONE, PENDING, QUARANTINED, Artefact, Failure, Record, work_key
from .report import Crash, JobProgress, JobReport
from .run import complete, results, run_here, run_job
from .store import Store

__all__ = [
    "CLAIMED",
    "DONE",
    "PENDING",
    "QUARANTINED",
    "Artefact",
    "Claim",
    "Crash",
    "Failure",
    "Job",
    "JobProgress",
    "JobReport",
    "Record",
    "RunOptions",
    "Shard",
    "Store",
    "Worker",
    "complete",
    "is_worker_fault",
    "no_room",
    "quarantine_errors",
    "results",
    "run_here",
    "run_job",
    "work_key",
]
