"""`training_run.json`: what a fine-tune was made from, how, and what came out; the model card is made from it alone."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synvita_data.errors import SchemaError
from synvita_data.evaluation.results import versions
from synvita_data.files import sha256_file, write_atomic
from synvita_data.hub.places import without_places
from synvita_data.schema import SCHEMA_VERSION

from .recipe import Recipe

FILE = "training_run.json"
_TIMES = ("eval_runtime", "eval_samples_per_second", "eval_steps_per_second", "eval_model_preparation_time")
# Of a recipe: places on somebody's machine.
_PLACES = (
    "push_home_folders",
    "real_root",
    "real_mapping",
    "output_dir",
    "feature_cache",
    "logging_dir",
    "push_to",
    "run_name",
)


def dataset_version(name: str, revision: str | None = None) -> dict[str, Any]:
    """Which version of a dataset was trained on.

    Returns:
        `path`; for a folder `build`, the SHA-256 of its `build.json` (which holds those of all Parquet files); for a
        file `sha256`; for the Hub `revision` as asked for and the `commit` it stands for (None offline: what `datasets` has cached).
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        report = folder / "build.json"
        return {"path": folder.name, "build": sha256_file(report) if report.is_file() else None}
    if folder.is_file():
        return {"path": folder.name, "sha256": sha256_file(folder)}
    from huggingface_hub import constants

    from synvita_data.hub.repo import HubRepo

    commit = None if constants.is_offline_mode() else HubRepo(name).resolve(revision or "main")
    return {"path": name, "revision": revision, "commit": commit}


def make_run_record(
    recipe: Recipe,
    *,
    model: Mapping[str, Any],
    data: Mapping[str, Any],
    counts: Mapping[str, int],
    processes: int,
    summary: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The record of one run, JSON-ready.

    Args:
        model: `name`, `revision`, `family`, `prompt`, `frames` (of the base).
        data: `dataset_version`, with config and split. counts: rows and what they lack (`TripletData.counts`).
        summary: what `Trainer.train` returned as metrics. history: `TrainerState.log_history`.
    """
    evaluations: list[dict[str, Any]] = []
    for entry in history:
        measures = {
            key: value for key, value in entry.items() if key.startswith("eval_") and key not in _TIMES
        }
        if measures:
            measures["step"] = entry.get("step")
            if not evaluations or measures != evaluations[-1]:  # the last one is often made twice
                evaluations.append(measures)
    return {
        "schema_version": SCHEMA_VERSION,
        "recipe": {"name": recipe.name, "changed": list(recipe.changed), **recipe.to_dict()},
        "model": dict(model),
        "data": {**data, "counts": dict(counts)},
        "processes": processes,
        # Of the last leg only, where a run went on: not what it seems.
        "summary": {key: value for key, value in summary.items() if key != "train_loss"},
        "evaluations": evaluations,
        "versions": versions(),
    }


def write_run_record(folder: Path, record: Mapping[str, Any]) -> Path:
    """Put the record into the output folder, whole or not at all."""
    path = folder / FILE
    write_atomic(path, as_json(record))
    return path


def as_json(record: Mapping[str, Any]) -> str:
    """The text of a record."""
    return json.dumps(record, indent=2, ensure_ascii=False, sort_keys=True, default=str) + "\n"


def public_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without what only its author's machine knows: places, and the folders that a model or data lay in."""
    recipe = {key: value for key, value in record["recipe"].items() if key not in _PLACES}
    for key in ("model", "data"):
        if key in recipe:
            recipe[key] = without_folders(str(recipe[key]))
    model = {**record["model"], "name": without_folders(str(record["model"]["name"]))}
    public: dict[str, Any] = without_places({**record, "recipe": recipe, "model": model})
    return public


def without_folders(name: str) -> str:
    """The last part of a folder's path; a Hub id stays."""
    is_place = name.startswith(("/", ".", "~")) or name.count("/") > 1 or Path(name).expanduser().exists()
    return Path(name).name if is_place else name


def read_run_record(folder: Path) -> dict[str, Any]:
    """The record of a finished run.

    Raises:
        SchemaError: there is none, or it cannot be read.
    """
    path = folder / FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SchemaError(
            "not the output of a finished `synvita train`", file=path, found=str(error), expected=FILE
        ) from error
    if not isinstance(record, dict) or "recipe" not in record:
        raise SchemaError("not a record of a training run", file=path, expected="a recipe in it")
    return record
