"""The study as a job on the engine: a cell a key, each done once; what cells share of a world is made once, too."""

import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..jobs import Claim, Record, Store, complete, quarantine_errors, work_key
from .questions import CellName, Question, Recipe, Study
from .worlds import TestSets, TrainingWorld, WorldPart, make

if TYPE_CHECKING:
    from .cells import Base

WORK = ".work"  # in OUT
CELLS, WORLDS, FEATURES = "cells", "worlds", "features"
REVISION = 1  # of what a cell computes: raise it when the same recipe would give other numbers


@dataclass(frozen=True, slots=True)
class CellInput:
    """What a worker needs to do a cell.

    Attributes:
        recipe: of the cell.
        seed: of everything in it.
    """

    recipe: Recipe
    seed: int

    def key(self, revision: str) -> str:
        """By all that its numbers depend on.

        Args:
            revision: of the model's files.
        """
        return work_key(study=REVISION, model=revision, seed=self.seed, **self.recipe.essence())

    @property
    def parts(self) -> dict[str, WorldPart]:
        """The parts of the world that it needs: `training` where something is trained, and `tests`."""
        parts = {}
        if self.recipe.steps:
            parts["training"] = TrainingWorld.part(self.recipe, self.seed)
        return parts | {"tests": TestSets.part(self.recipe, self.seed)}


@dataclass(frozen=True, slots=True)
class Work:
    """Where a study's work lies, and the model that its cells start from; plain data.

    Attributes:
        out: folder of the study.
        model: name or folder.
        revision: of its files.
    """

    out: Path
    model: str
    revision: str

    def folder(self, name: str) -> Path:
        """One of CELLS, WORLDS, FEATURES."""
        return self.out.resolve() / WORK / name

    def base(self) -> "Base":
        """The model, loaded."""
        from .cells import Base

        return Base.load(self.model, self.folder(FEATURES))


def cell_inputs(study: Study, question: Question, seeds: Sequence[int]) -> dict[CellName, CellInput]:
    """Every cell of a question with what it needs, in the order of work: seed by seed."""
    return {cell: CellInput(study.recipe(question, cell), cell.seed) for cell in question.cells(seeds)}


def world_parts(cells: Mapping[CellName, CellInput]) -> dict[str, WorldPart]:
    """The parts of worlds that cells need, by key."""
    return {part.key: part for cell in cells.values() for part in cell.parts.values()}


@dataclass(frozen=True)
class CellJob:
    """Cells, one a key; each makes what is not there of its world, or waits for the worker that does.

    Attributes:
        work: of the study.
        cells: by key.
    """

    work: Work
    cells: dict[str, CellInput]

    @classmethod
    def of(cls, work: Work, cells: Mapping[CellName, CellInput]) -> "CellJob":
        """The cells, each once: arms that come to the same are one."""
        return cls(work, {cell.key(work.revision): cell for cell in cells.values()})

    @property
    def title(self) -> str:
        return "running cells"

    @property
    def root(self) -> Path:
        return self.work.folder(CELLS)

    def inputs(self) -> dict[str, Any]:
        return self.cells

    def open_worker(self, device: str | None) -> "_CellWorker":
        _prepare_process()
        return _CellWorker(self.work, self.work.base())

    def record(self, store: Store, cell: CellInput) -> Record | None:
        """What a cell gave; None where it is not done."""
        return store.record(cell.key(self.work.revision))


@dataclass
class _CellWorker:
    work: Work
    base: "Base"

    def run(self, claims: Iterator[tuple[Claim, CellInput]]) -> None:
        from .cells import run_cell

        for claim, cell in claims:
            with quarantine_errors(claim):
                folders = {kind: self._made(part) for kind, part in cell.parts.items()}
                training = folders.get("training")
                result = run_cell(
                    cell.recipe,
                    cell.seed,
                    None if training is None else TrainingWorld(training),
                    TestSets(folders["tests"]),
                    self.base,
                )
                claim.commit(result.record())

    def _made(self, part: WorldPart) -> Path:
        """The folder of a part of a world, made by this worker or by another."""
        root = self.work.folder(WORLDS)
        folder = part.folder(root)

        def work(claim: Claim) -> None:
            with claim, _processor_time() as spent:
                make(part, root)
                claim.commit({"folder": folder.name, "seconds": spent()})

        with Store(root) as store:
            if not folder.is_dir():  # also where its record is there
                store.discard(part.key)
            complete(store, [part.key], work)
        return folder

    def close(self) -> None:
        self.base.cache.close()


def _prepare_process() -> None:
    """One thread a worker: cells repeat to the bit, and workers do not wait for each other's. No bars of libraries."""
    import datasets
    import torch
    import transformers

    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    transformers.logging.disable_progress_bar()


@contextmanager
def _processor_time() -> Iterator[Any]:
    """A function that gives the processor seconds of this process and its ended children since the beginning."""

    def now() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in used)

    began = now()
    yield lambda: round(now() - began, 2)
