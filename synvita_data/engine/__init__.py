"""Engines: who does the work of a long job. This process, local processes, or a Ray cluster.

    report = run_job(job, workers=8, on_progress=progress.follow)
    print(*report.lines(), sep="\\n")

Nothing heavy is imported before a worker is opened, and Ray only for engine="ray".
"""

from .faults import is_worker_fault, no_room, settling
from .job import CheckedJob, Job, Worker
from .report import Death, JobReport, Standing
from .run import Engine, results, run_job
from .shard import Shard

__all__ = [
    "CheckedJob",
    "Death",
    "Engine",
    "Job",
    "JobReport",
    "Shard",
    "Standing",
    "Worker",
    "is_worker_fault",
    "no_room",
    "results",
    "run_job",
    "settling",
]
