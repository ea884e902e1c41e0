"""From scores to metrics, and result files: `RESULTS/<model>/<task>.json` with the scores of every text in `<task>.parquet` beside it.

Under a control (`video.controls`) they are `<task>@<control>.json` and `.parquet`, which are no results of the task."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..annotations import Annotations, find_form
from ..annotations.forms import Metrics, OfficialJoin
from ..errors import SchemaError, ScoreError, StoreError
from ..files import atomic_path, parse_json, write_atomic
from ..schema import SCHEMA_VERSION
from ..scoring import ScoreKind
from ..tasks import FORMS, Task
from ..versions import versions
from ..video.controls import CONTROLS
from .predictions import item_scores_table


def measure(
    task: Task | None,
    annotations: Annotations,
    scores: npt.NDArray[np.float64],
    kind: ScoreKind,
    *,
    partial: bool = False,
    resamples: int = 1000,
    seed: int = 0,
    official: OfficialJoin | None = None,
) -> Metrics:
    """The metrics of a task, each an estimate in percent with interval, tie bounds and coverage.

    Args:
        task: the benchmark; None where only the annotations are known, which know their form.
        annotations: of the task.
        scores: float64 [N], aligned with the rows of `annotations`; NaN where a score is missing.
        kind: what the scores mean; strict accuracy is left out for similarities.
        partial: allow missing scores; every estimate says k of n.
        resamples, seed: of the bootstrap.
        official: what the official join makes of texts with several scores (`Predictions.official`); a question or
            caption that it leaves out is counted in `n` and not in `k`.

    Returns:
        What the pure function behind the form's metric returns. Retrieval adds `map_official` and
        `map_sklearn`, the two values of one sort order that are in the literature.

    Raises:
        ScoreError: the metric refuses the scores; the message says which row.
    """
    options: Metrics = {"partial": partial, "resamples": resamples, "seed": seed}
    if official is not None and official.left_out.any():
        scores = np.where(official.left_out, np.nan, scores)
        options["partial"] = True
    try:
        found = find_form(annotations).measure(annotations, scores, kind, options, official)
    except ValueError as error:  # the metrics stand alone and know no SynvitaError
        raise ScoreError(
            f"{FORMS[annotations.form].metric} cannot be computed: {str(error).rstrip('.')}",
            fix="On the command line, --partial measures what is there",
        ) from error
    if task is not None and not isinstance(found.get(task.main_score), dict):
        raise SchemaError(
            f"the task's main score is not one of {task.metric}",
            file=task.file,
            found=task.main_score,
            expected=", ".join(name for name, value in found.items() if _is_estimate(value)),
        )
    return found


def _is_estimate(value: Any) -> bool:
    return isinstance(value, dict) and {"value", "k", "n"} <= value.keys()


def check_measurable(task: Task, annotations: Annotations, *, partial: bool = False) -> None:
    """Raise now what `measure` would raise of these annotations whatever the scores: a grid with holes, a
    caption without a positive video, a question without an answer. Costs a second, scoring costs hours.
    """
    measure(task, annotations, np.full(len(annotations), 0.5), "probability", partial=partial, resamples=0)


@dataclass(frozen=True)
class Result:
    """One task of one model, as it stands in the file.

    Attributes:
        model: name on the leaderboard.
        task: name of the task.
        record: everything in the JSON file; `docs/evaluation.md` describes it.
        path: of the file, where it was read from one.
    """

    model: str
    task: str
    record: dict[str, Any]
    path: Path | None = field(default=None, compare=False)

    @property
    def control(self) -> str | None:
        """What was taken away from the videos, one of `video.controls.CONTROLS`; None for a result of the task itself."""
        control: str | None = self.record.get("control")
        return control

    @property
    def stem(self) -> str:
        """Name of its files, without the suffix."""
        return self.task if self.control is None else f"{self.task}@{self.control}"

    @property
    def official(self) -> bool:
        """Every text was scored, on the annotations the paper used."""
        return bool(self.record["official"])

    @property
    def main_score(self) -> Mapping[str, Any]:
        """`name` and the fields of the estimate: value, low, high, worst_ties, best_ties, k, n."""
        score: Mapping[str, Any] = self.record["main_score"]
        return score


def make_result(
    *,
    task: Task,
    annotations: Annotations,
    metrics: Mapping[str, Any],
    model: Mapping[str, Any],
    scores: npt.NDArray[np.float64],
    frames: Mapping[str, Any] | None,
    run: Mapping[str, Any],
    notes: Mapping[str, Any],
    doubts: Sequence[str] = (),
    control: str | None = None,
) -> Result:
    """Put a result together and decide whether it may be called official.

    Args:
        model: name, revision, kind, prompt, settings.
        frames: policy and decoder, None where no video was looked at by this program.
        run: wall time and the like; the only part that differs between two runs of the same thing.
        notes: further entries: counts of the score file, videos that could not be scored, the bootstrap.
        doubts: further reasons why the result may not be called official.
        control: what was taken away from the videos; such a result is never official.
    """
    scored = ~np.isnan(scores)
    pairs = annotations.counts()["pairs"]
    k = len(np.unique(annotations.pair[scored]))
    reasons = [*annotations.report.mismatches, *doubts]
    if k < pairs:
        reasons.insert(0, f"{k:,} of {pairs:,} texts were scored")
    if control is not None:
        reasons.insert(0, f"control: {control}")
    record = {
        "schema_version": SCHEMA_VERSION,
        "task": {
            "name": task.name,
            "annotations": annotations.revision,
            "hub_path": task.hub_path,
            "hub_revision": task.hub_revision,
            "counts": annotations.counts(),
            "reading": annotations.report.to_record(),
            **declared_record(task),
        },
        "checked": annotations.report.checked,
        **({} if control is None else {"control": control}),
        "model": dict(model),
        "frames": None if frames is None else dict(frames),
        "main_score": {"name": task.main_score, **metrics[task.main_score]},
        "metrics": dict(metrics),
        "coverage": {"k": k, "n": pairs},
        "partial": k < pairs,
        "official": not reasons,
        "why_not_official": reasons,
        **notes,
        "versions": versions(),
        "run": dict(run),
    }
    return Result(str(model["name"]), task.name, record)


def declared_record(task: Task) -> dict[str, Any]:
    """What a result says of a task beyond the paper's: its title and column, which a leaderboard shows, and what was
    declared of it."""
    if not task.key_parts:
        return {}
    return {
        "form": task.form,
        "column": task.column,
        "metric": task.metric,
        "main_score": task.main_score,
        "declaration": task.digest,
        "scored_as": task.scored_as,
        "licence": {"annotations": task.licence, "videos": task.video_licence},
        "train": task.train,
    }


def write_result(
    folder: Path,
    result: Result,
    annotations: Annotations,
    scores: npt.NDArray[np.float64],
    kind: ScoreKind,
    frames: Mapping[str, Sequence[int]] | None = None,
    official: OfficialJoin | None = None,
) -> Path:
    """Write both files, scores first; returns the path of the JSON file.

    Args:
        frames: video id -> indices of the frames that were looked at; a column `frame_indices` of the table.
        official: further scores of texts that have several.

    Raises:
        SchemaError: the earlier result there is of another model, or is official and this one is not.
        StoreError: the files cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = folder / safe_name(result.model)
    path = place / f"{result.stem}.json"
    _check_replaced(path, result)
    table = item_scores_table(annotations, scores, kind, official)
    if frames:
        indices = [list(frames[video]) for video in table["video_id"].to_pylist()]
        table = table.append_column("frame_indices", pa.array(indices, pa.list_(pa.int64())))
    if result.control is not None:  # so that `--predictions` does not take them for scores of the task
        table = table.replace_schema_metadata({**table.schema.metadata, b"control": result.control.encode()})
    text = json.dumps(result.record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        with atomic_path(place / f"{result.stem}.parquet") as temporary:
            pq.write_table(table, temporary)
        write_atomic(path, text)
    except OSError as error:
        raise StoreError(
            f"cannot write the result: {error.strerror or error}",
            file=error.filename or path,
            fix="Free space or name another folder, and run again; what is scored is kept",
        ) from error
    return path


def _check_replaced(path: Path, result: Result) -> None:
    """A newer result replaces an older one, but a trial never a whole one, and no model another."""
    if not path.exists():
        return
    try:
        earlier = read_result(path)
    except SchemaError:  # nothing that could be lost
        return
    if earlier.model != result.model:
        raise SchemaError(
            "the place of this result is taken by another model",
            file=path,
            found=earlier.model,
            expected=result.model,
            fix="Name another folder with --out, or the model with --name",
        )
    if earlier.control != result.control:
        raise SchemaError(
            "the place of this result is taken by a result under another control",
            file=path,
            found=earlier.control or "none",
            expected=result.control or "none",
            fix="Name another folder with --out, or give that file its own name back",
        )
    if result.record["partial"] and not (earlier.official or earlier.record["partial"]):
        raise SchemaError(
            "a result of some texts would replace one of all",
            file=path,
            found="{k:,} of {n:,} texts were scored".format_map(result.record["coverage"]),
            expected="all texts, as in the earlier result",
            fix="Name another folder with --out, or remove the earlier result",
        )
    if earlier.official and not result.official:
        raise SchemaError(
            "a result that is not official would replace an official one",
            file=path,
            found="; ".join(result.record["why_not_official"]),
            fix="Name another folder with --out, or remove the official result",
        )


def is_result_file(path: Path) -> bool:
    """Whether a JSON file's name is that of a result: not of a hidden file, of the report of one, or of what a fine-tune was
    trained on (`synvita_data.submissions`)."""
    name = path.name
    return not name.startswith(".") and not name.endswith(".verified.json") and name != "training_run.json"


def read_result(path: Path) -> Result:
    """Read a result file.

    Raises:
        SchemaError: not a result file, or one of another schema version.
    """
    try:
        record = parse_json(path.read_text(encoding="utf-8"), foreign=True, parse_constant=_refuse_constant)
        version, model, task = record["schema_version"], record["model"]["name"], record["task"]["name"]
        if not isinstance(model, str) or not isinstance(task, str):
            raise TypeError("the name of the model or task is not a string")
        if (control := record.get("control")) is not None and control not in CONTROLS:
            raise ValueError(f"control {control!r} is none of {', '.join(CONTROLS)}")
        if lacking := {"main_score", "coverage", "official", "partial"} - record.keys():
            raise KeyError(*sorted(lacking))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SchemaError(
            "this is not a result file",
            file=path,
            found=repr(error),
            expected="the JSON that `synvita evaluate` writes",
        ) from error
    if str(version).split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise SchemaError(
            "the result has another schema version", file=path, found=version, expected=SCHEMA_VERSION
        )
    return Result(model, task, record, path)


def safe_name(model: str) -> str:
    """A model's name as a folder: `LanguageBind/Video-LLaVA-7B-hf` becomes `LanguageBind--Video-LLaVA-7B-hf`.

    A name that would not come back unchanged (other characters, `--`, over 150) gets 8 digits of its
    SHA-256 behind it, so that no two names share a folder.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", model.strip("/").replace("/", "--")).lstrip(".")[:150]
    if name and name.replace("--", "/") == model:
        return name
    return f"{name or 'model'}-{hashlib.sha256(model.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
