"""`GenerateJob`: making videos as a job that any engine can drive."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synvita_data.errors import VideoError
from synvita_data.jobs import Record, Worker

from .folder import STORE
from .recipe import Generator, Request


@dataclass(frozen=True)
class GenerateJob:
    """Plain data: it is sent to the workers.

    Attributes:
        generator: what makes the videos. requests: what to make. out: folder for finished videos; all
            workers must see it under this path. planned: requests that are made together, see `plan_jobs`; None
        leaves it to the generator.
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

    def inputs(self) -> dict[str, Any]:
        """Key -> the requests that are made together."""
        groups = (self.requests,) if self.planned is None else self.planned
        return {key: job for group in groups for key, job in self.generator.inputs(group).items()}

    def open_worker(self, device: str | None) -> Worker:
        """A worker with the model loaded."""
        return self.generator.open_worker(str(self.root), str(self.out), device)

    def check(self, record: Record) -> str | None:
        """Why a finished result is no good; None when its videos decode."""
        from synvita_data.video import check_video

        try:
            for artefact in record.artefacts.values():
                check_video(artefact.path)
        except VideoError as error:
            return error.problem
        return None
