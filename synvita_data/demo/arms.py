"""Fine-tuning and evaluating the demo's arms: cells of the study on the demo's own dataset, as a job on the engine.

An arm's results are those of `synvita evaluate`, a file a task, so that leaderboard and comparison read them.
"""

import contextlib
import io
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..annotations import read_annotations
from ..builders.shapes.layout import geometry_of
from ..errors import SynvitaError, of_type
from ..jobs import Claim, JobProgress, Record, RunOptions, Store, quarantine_errors, run_job, work_key
from ..study.pretraining.record import check_world
from ..study.questions import CellName, Recipe, Study
from ..study.worlds import TrainingWorld
from ..tasks.catalogue import get_task

if TYPE_CHECKING:
    from ..study.cells import Base

# In the order of work: what takes longest goes first, so that two workers end together.
ARMS = ("synvita", "weight-1", "none", "before")
QUESTION = "main"  # of the study, whose arms these are
REVISION = 1  # of what an arm leaves: raise it when equal settings would give other numbers
WORK, ADAPTERS = ".work", "fine-tuned"  # in the demo's folder


@dataclass(frozen=True, slots=True)
class ArmInput:
    """What a worker needs for an arm.

    Attributes:
        name: as of the study's arms.
        title: name of the model in results.
        recipe: of the study's cell.
        seed: of adapter, batches and dropout.
    """

    name: str
    title: str
    recipe: Recipe
    seed: int


@dataclass(frozen=True)
class ArmJob:
    """The arms, one a key; dataset and benchmark are made.

    Attributes:
        out: folder of the demo.
        model: name or folder of the model to start from.
        revision: of its files.
        arms: by key.
        tasks: declarations of the tasks to evaluate on, by name.
        results: folder of results, below `out`.
        resamples: of the bootstrap.
    """

    out: Path
    model: str
    revision: str
    arms: Mapping[str, ArmInput]
    tasks: Mapping[str, Path]
    results: str
    resamples: int = 1000

    @property
    def title(self) -> str:
        return "fine-tuning arms"

    @property
    def root(self) -> Path:
        return self.out / WORK / "arms"

    def inputs(self) -> dict[str, Any]:
        return dict(self.arms)

    def open_worker(self, device: str | None) -> "_ArmWorker":
        import torch

        from ..study.cells import Base

        # One thread a worker: arms repeat to the bit, and do not wait for each other's threads.
        torch.set_num_threads(1)
        with quiet():
            return _ArmWorker(self, Base.load(self.model, self.out / WORK / "features"))


def make_job(
    study: Study, out: Path, *, model: str, seed: int, tasks: Mapping[str, Path], results: str
) -> ArmJob:
    """The job of a demo in `out`.

    Args:
        study: whose arms these are, with the demo's sizes.
        out: folder of the demo, absolute.
        model: name or folder of the model to start from.
        seed: of the demo.
        tasks, results: as of `ArmJob`.

    Raises:
        SynvitaError: there is no such model, or it knows another version of the world.
    """
    from ..study.run import model_revision

    check_world(model, geometry_of(study.cell.version))
    revision = model_revision(model)
    question = study.question(QUESTION)
    arms = {}
    for name in ARMS:
        recipe = study.recipe(question, CellName(name, "default", seed))
        key = work_key(demo=REVISION, arm=name, model=revision, seed=seed, **recipe.record())
        arms[key] = ArmInput(name, study.arms[name].title, recipe, seed)
    return ArmJob(out, model, revision, arms, dict(tasks), results)


def run_arms(job: ArmJob, workers: int, on_progress: Callable[[JobProgress], None]) -> dict[str, Any]:
    """Do what is not done yet.

    Args:
        job: of `make_job`.
        workers: processes; 1 is this one.
        on_progress: as of `run_job`.

    Returns:
        Arm -> what its worker said of it: `seconds` by part, `loss`, `triplets`.

    Raises:
        SynvitaError: an arm failed; the others are kept.
    """
    report = run_job(job, RunOptions(workers=workers, retry_failed=True), on_progress=on_progress)
    if report.failures or report.unfinished:
        found = "; ".join(str(failure.error.get("problem")) for failure in report.failures[:2])
        raise SynvitaError(
            "an arm of the demo failed",
            file=job.root,
            found=found or f"{report.unfinished} not finished",
            fix="What is done is kept; run the same command again",
        )
    with Store(job.root) as store:
        records = {arm.name: store.record(key) for key, arm in job.arms.items()}
    return {name: _facts_of(record) for name, record in records.items() if record is not None}


def _facts_of(record: Record) -> dict[str, Any]:
    with record.expecting("seconds, triplets, loss and weight of an arm"):
        _ = (
            of_type(record.fields["seconds"]["train"], float, int),
            of_type(record.fields["triplets"], int, None),
        )
        _ = [of_type(record.fields.get(name), float, int, None) for name in ("loss", "weight")]
    return record.fields


@dataclass
class _ArmWorker:
    job: ArmJob
    base: "Base"

    def run(self, claims: Iterator[tuple[Claim, ArmInput]]) -> None:
        for claim, arm in claims:
            with quarantine_errors(claim), quiet():
                claim.commit(self._do(arm))

    def close(self) -> None:
        self.base.cache.close()

    def _do(self, arm: ArmInput) -> dict[str, Any]:
        """Fine-tune and evaluate one arm; its results are on disk before it is committed."""
        from ..study.cells import train

        began, model = time.perf_counter(), self.base.model
        facts: dict[str, Any] = {}
        if arm.recipe.steps:
            folder = self.job.out / WORK / "training" / arm.name
            model, facts = train(arm.recipe, arm.seed, TrainingWorld(self.job.out), self.base, folder)
            adapter = self.job.out / ADAPTERS / arm.name
            model.family.model.save_pretrained(adapter)
            model.family.processor.save_pretrained(adapter)
        trained = time.perf_counter()
        self._evaluate(arm, model)
        seconds = {"train": trained - began, "evaluate": time.perf_counter() - trained}
        return {
            "seconds": {name: round(value, 1) for name, value in seconds.items()},
            "triplets": facts.get("triplets"),
            "loss": facts.get("loss"),
            "weight": facts.get("weight"),
        }

    def _evaluate(self, arm: ArmInput, model: Any) -> None:
        import torch

        from ..evaluation.run import evaluate_scorer
        from ..scoring.alignment import AlignmentScorer

        # Scores of another fine-tune of the same model are not this one's.
        settings = {"arm": arm.name, "seed": arm.seed, **arm.recipe.record()}
        scorer = AlignmentScorer(
            model, arm.title, self.job.revision, workers=1, cache=self.base.cache, settings=settings
        )
        with torch.inference_mode():
            for declared in self.job.tasks.values():
                task = get_task(str(declared))
                evaluate_scorer(
                    scorer,
                    task,
                    read_annotations(task, declared.parent),
                    declared.parent / "clips",
                    self.job.out / self.job.results,
                    name=arm.title,
                    resamples=self.job.resamples,
                )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars, log lines and warnings of the libraries: the demo says what matters itself."""
    import transformers

    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers.logging.set_verbosity(before)
        transformers.logging.enable_progress_bar()
