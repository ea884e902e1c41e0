"""All asked cells of a table, one after the other: what can be done is done, and no cell ends another."""

import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import SynvitaError, first_line
from ..evaluation.run import check_writable
from ..scoring import Scorer
from .cells import (
    Measured,
    cell_key,
    evaluate_cell,
    measure_cell,
    noise_settings,
    open_row,
    read_cell,
    write_cell,
)
from .checkpoints import Checkpoints, Prepared
from .expected import Expected
from .inputs import Asked, Manifest

State = Literal["done", "kept", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a cell.

    Attributes:
        row, task, mode: its place.
        state: `done` in this run, `kept` from an earlier one, `skipped` because something is missing, or `failed`.
        reason: why it was skipped or failed, one line.
        measured: None where it was skipped or failed.
    """

    row: str
    task: str
    mode: str
    state: State
    reason: str = ""
    measured: Measured | None = None


def run_table(
    expected: Expected,
    asked: Asked,
    manifest: Manifest,
    *,
    device: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Outcome]:
    """Run what can be run: fetch, convert, evaluate, measure. What an earlier run did is kept.

    Args:
        expected: what there is.
        asked: what of it is wanted.
        manifest: what of its inputs is there, of `inputs.look`.
        device: of the models; None for this process's GPU, or the CPU.
        say: takes lines on the progress.

    Returns:
        One outcome for each asked row, task and mode, in the order of the table.

    Raises:
        StoreError: the output folder cannot be written.
    """
    check_writable(asked.out)
    checkpoints = Checkpoints(expected, asked.out, say)
    outcomes: dict[tuple[str, str, str], Outcome] = {}
    for row in asked.rows:
        for outcome in _run_row(expected, asked, manifest, checkpoints, row, device, say):
            outcomes[outcome.row, outcome.task, outcome.mode] = outcome
            if outcome.state == "failed":
                say(f"{row}, {outcome.task}, {outcome.mode}: failed: {outcome.reason}")
    return [outcomes[row, task, mode] for row in asked.rows for task in asked.tasks for mode in asked.modes]


def _run_row(
    expected: Expected,
    asked: Asked,
    manifest: Manifest,
    checkpoints: Checkpoints,
    row: str,
    device: str | None,
    say: Callable[[str], None],
) -> Iterator[Outcome]:
    # What an earlier run did needs neither checkpoint nor videos; what lacks an input is skipped.
    known = checkpoints.commits(row)
    left: list[tuple[str, str]] = []
    for mode in asked.modes:
        for task in asked.tasks:
            missing = manifest.cell(row, task).missing
            kept = None if known is None else _kept(expected, asked, manifest, row, task, mode, known)
            if kept is not None:
                yield Outcome(row, task, mode, "kept", measured=kept)
            elif missing:
                yield Outcome(row, task, mode, "skipped", "; ".join(missing))
            else:
                left.append((task, mode))
    if not left:
        return
    # The checkpoint, once for all of the row's cells.
    try:
        prepared = checkpoints.prepare(row)
    except Exception as error:  # whatever it is, it is this row's alone
        yield from (_failed(row, task, mode, error) for task, mode in left)
        return
    for mode in asked.modes:
        if tasks := [task for task, own in left if own == mode]:
            yield from _run_mode(expected, asked, manifest, prepared, row, tasks, mode, device, say)


def _run_mode(
    expected: Expected,
    asked: Asked,
    manifest: Manifest,
    prepared: Prepared,
    row: str,
    tasks: list[str],
    mode: str,
    device: str | None,
    say: Callable[[str], None],
) -> Iterator[Outcome]:
    say(f"{row}, {mode}: loading the model for {', '.join(tasks)}")
    scorer: Scorer | None = None
    try:
        scorer = open_row(expected, row, prepared, mode, device)
    except Exception as error:
        yield from (_failed(row, task, mode, error) for task in tasks)
        return
    for task in tasks:
        given = manifest.tasks[task]
        try:
            assert given.annotations is not None
            key = cell_key(expected, prepared.commits, asked, given, row, mode)
            measured = evaluate_cell(scorer, expected, asked, given, row, mode, key)
        except Exception as error:
            yield _failed(row, task, mode, error)
        else:
            yield Outcome(row, task, mode, "done", measured=measured)
    del scorer
    _free_memory()


def _kept(
    expected: Expected,
    asked: Asked,
    manifest: Manifest,
    row: str,
    task: str,
    mode: str,
    commits: Mapping[str, str],
) -> Measured | None:
    """What an earlier run measured; its scores are measured again where the noise is another."""
    given = manifest.tasks[task]
    if given.annotations is None:
        return None
    key = cell_key(expected, commits, asked, given, row, mode)
    kept = read_cell(asked.out, row, task, mode)
    if kept is None or kept.key != key or not (asked.out / kept.result).is_file():
        return None
    if kept.noise == noise_settings(expected):
        return kept
    try:
        again = measure_cell(expected, asked.out, given.annotations, row, mode, key)
    except SynvitaError:  # scores that are gone are made again
        return None
    write_cell(asked.out, again)
    return again


def _failed(row: str, task: str, mode: str, error: Exception) -> Outcome:
    text = first_line(error)
    return Outcome(
        row,
        task,
        mode,
        "failed",
        text if isinstance(error, SynvitaError) else f"{type(error).__name__}: {text}",
    )


def _free_memory() -> None:
    """A model that is not needed any more leaves the GPU before the next one comes."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def machine() -> dict[str, Any]:
    """The device that models run on by default, for the report: name and memory, no host, no user."""
    import torch

    if not torch.cuda.is_available():
        return {"device": "CPU"}
    known = torch.cuda.get_device_properties(0)
    return {
        "device": known.name,
        "memory_gib": round(known.total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
    }
