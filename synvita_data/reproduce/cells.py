"""One cell of a table: evaluated, measured again under noise, and kept in OUT/cells."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from .. import __version__
from ..annotations import Annotations
from ..errors import SchemaError, StoreError, SynvitaError
from ..evaluation.predictions import read_predictions
from ..evaluation.results import read_result, safe_name
from ..evaluation.run import evaluate_scorer
from ..evaluation.scoring import score_task
from ..files import atomic_path, read_json, write_atomic
from ..jobs import work_key
from ..progress import Progress
from ..scoring import Scorer
from ..tables.columns import Floats
from ..tasks import PublishedResult, get_task
from .checkpoints import Prepared
from .compare import Band, reach, verdict
from .expected import Expected, Tolerance
from .inputs import Asked, TaskInput
from .noise import OneSide, flip_band, jitter_band, main_estimate

CELLS, RESULTS = "cells", "results"
# Said outright: what a checkpoint notes of its training must not make a clean run another.
CLEAN = {"preprocess": "processor", "flips": "none", "readout": "float32", "merge": "none"}


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured in a cell. All numbers are percent.

    Attributes:
        row, task, mode: its place.
        key: of all that the scores depend on; another key is other work.
        value: of the main score, over the units that the paper counts.
        ties: from the worst to the best order of tied scores.
        jitter: the band of noise on log-odds.
        flips: the band of other mirrorings; None where there is none.
        k, n: units (texts, captions, questions) that were scored, and that there are.
        all_value: over all questions, where the paper leaves some out; None elsewhere.
        left_out: how many those are.
        result: of its file, relative to OUT.
        official: as the result says; `why_not` says why it is not.
        noise: settings of the bands.
        seconds: that scoring and measuring took in the run that did it.
    """

    row: str
    task: str
    mode: str
    key: str
    value: float
    ties: Band
    jitter: Band
    flips: Band | None
    k: int
    n: int
    all_value: float | None
    left_out: int
    result: str
    official: bool
    why_not: tuple[str, ...]
    noise: dict[str, Any]
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether everything was scored."""
        return self.k == self.n

    def reach(self, tolerance: Tolerance) -> Band:
        """The interval in which the paper's value is taken for the same."""
        bands = {"ties": self.ties, "jitter": self.jitter, "flips": self.flips}
        return reach(self.value, tolerance.points, bands)

    def verdict(self, paper: PublishedResult | None, tolerance: Tolerance, order_kept: bool | None) -> str:
        """See `compare.verdict`."""
        value, digits = (None, 0) if paper is None else (paper.value, paper.digits)
        return verdict(value, digits, self.reach(tolerance), order_kept=order_kept)


def cell_key(
    expected: Expected, commits: Mapping[str, str], asked: Asked, given: TaskInput, row: str, mode: str
) -> str:
    """Digest of what a cell's scores depend on, so that a run that goes on finds what is done without a model.

    Args:
        expected: with the row's prompt and the settings of the evaluation.
        commits: repository -> commit.
        asked: whether a part of the videos is enough.
        given: annotations and videos of the task.
        row, mode: of the cell.
    """
    assert given.annotations is not None
    return work_key(
        package=__version__,
        commits=dict(commits),
        prompt=expected.rows[row].prompt,
        evaluate=asdict(expected.evaluate),
        mode=mode,
        task=given.task,
        annotations=given.annotations.revision,
        partial=asked.partial,
        found=given.found if asked.partial else None,
    )


def cell_path(out: Path, row: str, task: str, mode: str) -> Path:
    """Where a cell is kept."""
    return out / CELLS / row / f"{task}.{mode}.json"


def read_cell(out: Path, row: str, task: str, mode: str) -> Measured | None:
    """What is kept of a cell; None where nothing usable is."""
    path = cell_path(out, row, task, mode)
    if not path.is_file():
        return None
    try:
        record = read_json(path, "a cell")
        bands = {name: record[name] and Band(**record[name]) for name in ("ties", "jitter", "flips")}
        return Measured(**{**record, **bands, "why_not": tuple(record["why_not"])})
    except (SynvitaError, TypeError, KeyError):
        return None


def write_cell(out: Path, cell: Measured) -> None:
    """Keep a cell."""
    text = json.dumps(asdict(cell), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(cell_path(out, cell.row, cell.task, cell.mode), text + "\n")


def open_row(expected: Expected, row: str, prepared: Prepared, mode: str, device: str | None) -> Scorer:
    """The scorer of a row, with names that mean something elsewhere in place of folders.

    Args:
        expected: prompt, dtype and decoder.
        row: its name.
        prepared: its checkpoint.
        mode: `clean` or `released`.
        device: None for this process's GPU, or the CPU.

    Raises:
        SynvitaError: the checkpoint cannot be opened.
    """
    from ..scoring.open import open_scorer

    video_llm: dict[str, Any] = {"prompt": expected.rows[row].prompt, "mode": mode}
    video_llm |= CLEAN if mode == "clean" else {}
    if prepared.adapter is not None:
        video_llm["adapter"] = str(prepared.adapter)
    scorer = open_scorer(
        str(prepared.model),
        device=device,
        dtype=expected.evaluate.dtype,
        frames={"backend": expected.evaluate.backend},
        video_llm={name: value for name, value in video_llm.items() if value is not None},
    )
    # Results and keys of stored scores name repositories and commits, not folders of this machine.
    named = [f"{repository}@{commit}" for repository, commit in prepared.commits.items()]
    scorer.name = result_name(row, mode)
    scorer.settings = {**scorer.settings, "made_from": named}
    for part in ("base", "adapter"):
        scorer.settings.pop(part, None)
    return scorer


def result_name(row: str, mode: str) -> str:
    """The model's name in results."""
    return f"{row}-{mode}"


def evaluate_cell(
    scorer: Scorer, expected: Expected, asked: Asked, given: TaskInput, row: str, mode: str, key: str
) -> Measured:
    """Score a task, write its result, measure it under noise, and keep the cell.

    Args:
        scorer: of `open_row`.
        expected: settings of the noise.
        asked: where results go, and whether a part is enough.
        given: annotations and videos of the task.
        row, mode: of the cell.
        key: of `cell_key`.

    Raises:
        SynvitaError: as of `evaluate_scorer`.
    """
    assert given.annotations is not None
    started, task, folder = time.monotonic(), get_task(given.task), asked.out / RESULTS / mode
    with Progress(f"{scorer.name} on {task.name}") as progress:
        done = evaluate_scorer(
            scorer,
            task,
            given.annotations,
            given.videos,
            folder,
            partial=asked.partial,
            on_progress=progress.follow,
        )
    if done is None:
        raise SynvitaError("only the first process of several measures", fix="Start it without a launcher")
    # Both sides of every row, from which other mirrorings follow without a model.
    sides = _sides_path(asked.out, row, task.name, mode)
    sides.unlink(missing_ok=True)
    if getattr(scorer, "flips", "none") != "none":
        scores = [_one_side(scorer, given, folder, mirrored) for mirrored in (False, True)]
        with atomic_path(sides) as temporary:
            np.save(temporary, np.stack(scores), allow_pickle=False)
    cell = measure_cell(expected, asked.out, given.annotations, row, mode, key)
    cell = replace(cell, seconds=round(time.monotonic() - started, 3))
    write_cell(asked.out, cell)
    return cell


def _one_side(scorer: Scorer, given: TaskInput, folder: Path, mirrored: bool) -> Floats:
    """float64 [N], every row against its video, or against the mirror image; kept in the store as all scores are."""
    assert given.annotations is not None
    side = OneSide(scorer, mirrored)
    with Progress(f"{side.name} on {given.task}") as progress:
        found = score_task(
            side,
            get_task(given.task),
            given.annotations,
            given.videos,
            folder / ".work",
            on_progress=progress.follow,
        )
    assert found is not None
    return found.scores


def _sides_path(out: Path, row: str, task: str, mode: str) -> Path:
    return out / CELLS / row / f"{task}.{mode}.sides.npy"


def measure_cell(
    expected: Expected, out: Path, annotations: Annotations, row: str, mode: str, key: str
) -> Measured:
    """A cell by the scores that lie in OUT.

    Raises:
        SynvitaError: result or scores are not there, or do not fit the annotations.
    """
    task = get_task(annotations.task)
    place = out / RESULTS / mode / safe_name(result_name(row, mode)) / f"{task.name}.json"
    result = read_result(place)
    if result.control is not None:
        raise SchemaError(
            "a result under a control stands in the place of the task's own",
            file=place,
            found=f"control {result.control}",
            fix="Remove it and run again",
        )
    record = result.record
    join = "official" if "flips" in record else "strict"
    found = read_predictions(place.with_suffix(".parquet"), annotations, task, allow_missing=True, join=join)
    # The released script loses questions that a video asks twice in the same words.
    lost = np.isin(annotations.group, annotations.report.asked_twice)
    groups = len(np.unique(annotations.group_code[lost]))
    counted = replace(found, scores=np.where(lost, np.nan, found.scores))
    if counted.official is not None:
        further = ~lost[counted.official.rows]
        official = replace(
            counted.official, rows=counted.official.rows[further], scores=counted.official.scores[further]
        )
        counted = replace(counted, official=official)

    main = main_estimate(annotations, counted.scores, counted.kind, counted.official)
    sides = _sides_path(out, row, task.name, mode)
    whole = record["main_score"]
    return Measured(
        row=row,
        task=task.name,
        mode=mode,
        key=key,
        value=float(main["value"]),
        ties=Band(float(main["worst_ties"]), float(main["best_ties"])),
        jitter=jitter_band(annotations, counted, expected.jitter),
        flips=flip_band(annotations, _read_sides(sides), lost, found.kind, expected.flips)
        if sides.is_file()
        else None,
        k=int(whole["k"]),
        n=int(whole["n"]),
        all_value=float(whole["value"]) if groups else None,
        left_out=groups,
        result=place.relative_to(out).as_posix(),
        official=bool(record["official"]),
        why_not=tuple(record["why_not_official"]),
        noise=noise_settings(expected),
        seconds=0.0,
    )


def _read_sides(path: Path) -> Floats:
    """float64 [2, N]."""
    try:
        return cast(Floats, np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise StoreError("scores of both sides cannot be read", file=path, found=str(error)) from error


def noise_settings(expected: Expected) -> dict[str, Any]:
    """What the bands of a cell depend on beside its scores."""
    parts = {"jitter": asdict(expected.jitter), "flips": asdict(expected.flips)}
    return {part: {name: value for name, value in of.items() if name != "why"} for part, of in parts.items()}
