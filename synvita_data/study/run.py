"""Run a question: check what an earlier run began, run its cells, write its result file."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..builders.shapes.layout import geometry_of
from ..errors import SchemaError, StoreError, SynvitaError, of_type
from ..evaluation.run import check_writable
from ..files import read_json, sha256_file, write_atomic
from ..jobs import JobProgress, RunOptions, Store, run_job
from ..models.resolve import find_checkpoint
from ..versions import versions
from .job import CELLS, WORK, WORLDS, CellInput, CellJob, Work, cell_inputs, world_parts
from .pretraining.record import check_world
from .questions import CellName, Question, Study
from .results import QuestionResult, check_cell, read_question, result_path, write_question

BEGUN = "begun-{}.json"  # in OUT/.work


def run_question(
    study: Study,
    name: str,
    seeds: Sequence[int],
    out: Path,
    *,
    model: str | None = None,
    options: RunOptions | None = None,
    on_progress: Callable[[JobProgress], None] | None = None,
) -> QuestionResult:
    """All cells of a question that are not done yet, and its result file.

    Args:
        study: of `read_questions`.
        name: of the question.
        seeds: of the cells.
        out: folder of the study; questions that share cells share it.
        model: to start from; None for the study's own.
        options: how the jobs are run: workers and the like.
        on_progress: as of `run_job`.

    Returns:
        What is done, of all seeds that were ever run here.

    Raises:
        SynvitaError: the folder was begun with other seeds and is not finished, or with another model; the model knows
            another version of the world; a cell failed (what is done is kept and written).
    """
    question = study.question(name)
    options = options or RunOptions()
    model = model or study.model
    check_world(model, geometry_of(study.cell.version))
    check_writable(out)
    work = Work(out, model, model_revision(model))
    seeds = sorted(set(seeds))
    _check_begun(study, question, seeds, work)
    job = CellJob.of(work, cell_inputs(study, question, seeds))
    try:
        report = run_job(job, options, on_progress=on_progress)
    finally:  # also of an interrupted run
        result = _collect(study, question, work)
        write_question(out, result)
    if report.failed or report.unfinished:
        raise SynvitaError(
            "cells of the study failed",
            file=out,
            found="; ".join(failure.error["problem"] for failure in report.failures[:3])
            or f"{report.unfinished} unfinished",
            fix="What is done is kept; mend the cause and run again with --retry-failed",
        )
    return result


def model_revision(model: str) -> str:
    """The revision of a model's files, without loading it."""
    from ..models.resolve import ModelFiles

    checkpoint = find_checkpoint(model)
    return ModelFiles(checkpoint.base, checkpoint.revision).exact_revision()


def _check_begun(study: Study, question: Question, seeds: Sequence[int], work: Work) -> None:
    """Note what is begun, and complain where it does not go together with what was.

    Raises:
        SchemaError: another model, or other seeds of a run that is not finished.
    """
    begun = work.out / WORK / BEGUN.format(question.name)
    own: dict[str, Any] = {"seeds": list(seeds), "model": work.revision, "cell": study.cell.record()}
    kept = result_path(work.out, question.name)
    revision = read_question(kept).model["revision"] if kept.is_file() else None
    earlier = read_json(begun, "the note of a study", error=StoreError) if begun.is_file() else None
    found = revision or (earlier and earlier["model"])
    if found not in (None, work.revision):
        raise SchemaError(
            "the study was begun with another version of the model",
            file=kept if revision else begun,
            found=found,
            expected=work.revision,
            fix="Name another folder with --out, or give it the model it was begun with",
        )
    if earlier is not None and earlier["cell"] != own["cell"]:
        raise SchemaError(
            "the study was begun with other sizes",
            file=begun,
            found=", ".join(
                f"{name} {value!r}"
                for name, value in earlier["cell"].items()
                if own["cell"].get(name) != value
            ),
            fix="Name another folder with --out, or give back the sizes it was begun with",
        )
    if earlier is not None and earlier["seeds"] != own["seeds"]:
        cells = cell_inputs(study, question, earlier["seeds"])
        with Store(work.folder(CELLS)) as store:
            open_keys = store.pending([cell.key(work.revision) for cell in cells.values()])
        if open_keys:
            raise SchemaError(
                "the study was begun with other seeds and is not finished",
                file=begun,
                found=f"seeds {_list(earlier['seeds'])}, {len(open_keys)} cells to do",
                expected=f"seeds {_list(own['seeds'])}",
                fix=f"Finish it first (--seeds {len(earlier['seeds'])}), or name another folder with --out",
            )
    if earlier != own:
        import json

        write_atomic(begun, json.dumps(own, indent=1) + "\n")


def _list(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _collect(study: Study, question: Question, work: Work) -> QuestionResult:
    """All done cells of a question in the store, also of seeds that an earlier run had."""
    begun = read_json(work.out / WORK / BEGUN.format(question.name), "the note of a study", error=StoreError)
    kept = result_path(work.out, question.name)
    known = set(begun["seeds"]) | (set(read_question(kept).seeds) if kept.is_file() else set())
    inputs: dict[CellName, CellInput] = cell_inputs(study, question, sorted(known))
    job = CellJob.of(work, inputs)
    cells: list[dict[str, Any]] = []
    seconds: dict[str, list[float]] = {}
    with Store(job.root) as store, Store(work.folder(WORLDS)) as parts:
        for name, own in inputs.items():
            if (record := job.record(store, own)) is not None:
                head = {"arm": name.arm, "setting": name.setting, "seed": name.seed}
                cells.append(head | {"key": own.key(work.revision)} | record.fields)
                with record.expecting("values, seconds and facts of a cell"):
                    check_cell(cells[-1])
        for key, part in world_parts(inputs).items():
            if (record := parts.record(key)) is not None:
                with record.expecting("seconds"):
                    spent = of_type(record.fields["seconds"], float, int)
                seconds.setdefault(part.kind, []).append(spent)
    result = QuestionResult(
        question=question.name,
        declaration=sha256_file(study.file),
        # A folder's place on this machine is nobody's business.
        model={
            "name": Path(work.model).name if Path(work.model).is_dir() else work.model,
            "revision": work.revision,
        },
        seeds=tuple(sorted({own["seed"] for own in cells})),
        cell=study.cell.record(),
        cells=tuple(cells),
        worlds=seconds,
        versions=versions(),
    )
    return replace(result, file=kept)
