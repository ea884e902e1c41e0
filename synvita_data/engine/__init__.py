"""Engines: who does the work of a long job. This process, local processes, or a Ray cluster."""

from .job import Job, Worker

__all__ = ["Job", "Worker"]
