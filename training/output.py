"""The output folder of `synvita train`: what is trained there, on which data, by whom, and the record of what came out.

`recipe.json` is written before the first step. `training_run.json` is written last: with it a run is finished, and the
model card is made from it alone.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from synvita_data.captions import Text
from synvita_data.errors import SchemaError, SynvitaError
from synvita_data.files import parse_json, sha256_file, write_atomic
from synvita_data.hub.places import without_places
from synvita_data.jobs import Store
from synvita_data.schema import SCHEMA_VERSION
from synvita_data.versions import versions

from .data.selection import SelectedRow
from .recipe import Recipe

FILE = "training_run.json"  # the record of a finished run
STARTED = "recipe.json"  # in the output folder before the first step: what is being trained there
QUARANTINE = "quarantine.jsonl"
MERGED = "merged"
LOCK = ".synvita"
_ANOTHER = "Name another folder: output_dir=DIR"
_CAUSES = ("rows", "without", "set_aside")  # counts that other counts follow from
# What may change between a run and its continuation: where and how fast, not what. Where the real videos lie may
# change because the data is compared by itself.
MAY_CHANGE = (
    frozenset({"about", "output_dir", "merge", "push_to", "push_private", "push_home_folders", "run_name"})
    | {"real_root", "real_mapping", "synthetic_root", "check_videos", "feature_cache", "benchmarks"}
    | {"report_to", "logging_steps", "disable_tqdm", "dataloader_num_workers", "save_total_limit"}
)
_FOLDERS = frozenset({"model", "data"})  # keys whose values may be folders
# Of a recipe: places on somebody's machine.
_PLACES = frozenset(
    {
        "real_root",
        "real_mapping",
        "synthetic_root",
        "output_dir",
        "feature_cache",
        "logging_dir",
        "benchmarks",
    }
) | {
    "push_to",
    "push_home_folders",
    "run_name",
}
_TIMES = ("eval_runtime", "eval_samples_per_second", "eval_steps_per_second", "eval_model_preparation_time")


def check_folder(folder: Path, recipe: Recipe) -> None:
    """The output folder is new, or holds an unfinished run of the same recipe; nothing of anybody else.

    Raises:
        SynvitaError: the model's or the data's own folder, a model or checkpoints from elsewhere, a finished run,
            one of another recipe, or one whose `recipe.json` cannot be read.
    """

    def refuse(problem: str, found: str | None, fix: str = _ANOTHER, expected: str | None = None) -> None:
        raise SynvitaError(problem, file=folder, found=found, expected=expected, fix=fix)

    for key in ("model", "data", "real_root"):
        place = getattr(recipe.run, key)
        if place is not None and Path(place).expanduser().resolve() == folder.expanduser().resolve():
            refuse(f"the result would go into the folder of {key}", f"{key}={place}")
    at = next((place for place in (folder, *folder.parents) if place.exists()), None)
    if at is not None and not at.is_dir():
        refuse(
            "the output folder is a file" if at == folder else "the output folder would lie in a file",
            str(at),
        )
    remove = f"{_ANOTHER}, or remove that one"
    if is_finished(folder):
        found = different_keys(folder, recipe) or "the same recipe, with nothing left to do"
        refuse("the output folder holds a finished run", found, remove)
    if (folder / STARTED).is_file():
        if different := different_keys(folder, recipe):
            problem = "the output folder holds an unfinished run of another recipe"
            refuse(problem, different, remove, "the same recipe, to resume it")
        return
    # Without our `recipe.json`, models and checkpoints are somebody else's.
    suffixes, names = {".safetensors", ".bin", ".pt", ".pth"}, {"config.json", "adapter_config.json"}
    strangers = sorted(
        path.name
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.name in names or path.suffix in suffixes or path.name.startswith("checkpoint-")
    )
    if strangers:
        problem = "the output folder holds a model that this run did not make"
        expected = f"a new folder, or an unfinished run with its {STARTED}"
        refuse(problem, ", ".join(strangers[:4]), expected=expected)


def is_finished(folder: Path) -> bool:
    """Whether a run has been trained to its end there; merging and publishing may be left to do."""
    return (folder / FILE).is_file()


def different_keys(folder: Path, recipe: Recipe) -> str:
    """Keys (four at most) that train something else than what was started there; empty where all agree.

    Raises:
        SynvitaError: `recipe.json` cannot be read.
    """
    before, now = read_started(folder)["recipe"], _plain(recipe.to_dict())
    different = sorted(
        key
        for key in {**before, **now}
        if key not in MAY_CHANGE
        and before.get(key) != now.get(key)
        and not (key in _FOLDERS and _same_folder(before.get(key), now.get(key)))
    )
    return ", ".join(f"{key}: {before.get(key)} there, {now.get(key)} here" for key in different[:4])


def _same_folder(one: Any, other: Any) -> bool:
    """Whether two spellings are of one folder here: `./demo`, `demo`, `/home/me/demo`."""
    if not isinstance(one, str) or not isinstance(other, str):
        return False
    places = [Path(each).expanduser() for each in (one, other)]
    return all(place.exists() for place in places) and places[0].resolve() == places[1].resolve()


def read_started(folder: Path) -> dict[str, dict[str, Any]]:
    """What was started in a folder: `recipe`, and `data` as `data_identity` gave it.

    Raises:
        SynvitaError: the file cannot be read, or is something else.
    """
    path = folder / STARTED
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        whole = isinstance(content, dict) and all(
            isinstance(content.get(k), dict) for k in ("recipe", "data")
        )
        found = type(content).__name__
    except (OSError, ValueError) as error:
        whole, found = False, str(error)
    if not whole:
        raise SynvitaError(
            f"{STARTED} is missing or unreadable",
            file=path,
            found=found,
            expected="what `synvita train` writes there: recipe and data",
            fix=_ANOTHER,
        )
    return dict(content)


def write_started(
    folder: Path, recipe: Recipe, data: Mapping[str, Any], model: Mapping[str, Any] | None = None
) -> None:
    """Record what is being trained, unless the folder says it already; before the first checkpoint is written.

    Args:
        folder: output folder.
        recipe: of the run.
        data: of `data_identity`.
        model: its `revision`.
    """
    path = folder / STARTED
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        started = {"recipe": _plain(recipe.to_dict()), "data": data, **({"model": model} if model else {})}
        write_atomic(path, json.dumps(started, indent=2) + "\n")


def data_identity(
    version: Mapping[str, Any],
    triplets: Iterable[SelectedRow],
    counts: Mapping[str, int],
    misalignments: Sequence[str] | None = None,
    only: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What a run trains on, to be compared when it resumes: only then an order of triplets means the same ones.

    Args:
        version: of `dataset_version`.
        triplets: `TripletData.triplets`.
        counts: `TripletData.counts`.
        misalignments: kinds of contrast that the rows were chosen by; None for all rows.
        only: columns that the rows were chosen by; None for all rows.

    Returns:
        `version`; `triplets`, the SHA-256 of what each of them trains, in their order; `counts`; and `misalignments`
        and `only` where rows were chosen by them.
    """
    digest = hashlib.sha256()
    for triplet in triplets:
        own = (
            triplet.number,
            triplet.row_id,
            triplet.pair_id,
            [_identity(text) for text in triplet.texts],
            triplet.weight,
            triplet.takes_real,
            triplet.explanation,
            triplet.real,
            triplet.synthetic,
            triplet.start,
            triplet.end,
        )
        digest.update(json.dumps(own, default=str).encode() + b"\n")
    identity = {"version": _plain(version), "triplets": digest.hexdigest(), "counts": dict(counts)}
    if misalignments is not None:
        identity["misalignments"] = list(misalignments)
    return identity if only is None else {**identity, "only": _plain(only)}


def _identity(text: Text) -> list[Any]:
    """What a text is; token flags only where there are any, so that runs without them resume as they began."""
    return [text.caption, *text.key_parts()]


def check_data(folder: Path, data: Mapping[str, Any]) -> None:
    """A run resumes with the data it began with.

    Args:
        folder: output folder.
        data: `data_identity` now; or its `version` alone.

    Raises:
        SynvitaError: another version of the dataset, or other triplets: real videos are not found any more, …
    """
    if not (folder / STARTED).is_file():
        return
    before = read_started(folder)["data"]
    versions = (before.get("version") or {}), data["version"]
    # What is not known now (the Hub's commit, offline) cannot differ.
    found = [
        f"{key} {versions[0][key]} there, {versions[1][key]} here"
        for key in ("build", "commit")
        if versions[0].get(key) and versions[1].get(key) and versions[0][key] != versions[1][key]
    ]
    if not found and "triplets" in data:
        kinds = before.get("misalignments"), data.get("misalignments")
        only = before.get("only"), data.get("only")
        if kinds[0] != kinds[1]:
            there, here = ("all rows" if each is None else ", ".join(map(str, each)) for each in kinds)
            found = [f"misalignments: {there} there, {here} here"]
        elif only[0] != only[1]:
            there, here = ("all rows" if each is None else json.dumps(each) for each in only)
            found = [f"only: {there} there, {here} here"]
        elif before.get("triplets") != data["triplets"]:
            counts = (before.get("counts") or {}), data["counts"]
            found = [
                f"{key.replace('_', ' ')} {counts[0].get(key)} there, {counts[1][key]} here"
                for key in sorted(counts[1], key=lambda key: not key.startswith(_CAUSES))
                if counts[0].get(key) != counts[1][key]
            ] or ["as many triplets, but others (ids, texts, weights, times)"]
    if found:
        raise SynvitaError(
            "the output folder holds an unfinished run on other data",
            file=folder,
            found=", ".join(found[:4]),
            expected="the same rows with the same videos, to resume it",
            fix=f"Bring dataset and videos back (real_root=DIR, data_revision=COMMIT), or start again: {_ANOTHER}",
        )


def check_model(folder: Path, revision: str) -> None:
    """A run resumes with the model it began with: its adapters and optimizer fit no other.

    Args:
        folder: output folder.
        revision: of the model now: a commit, or a digest of its files.

    Raises:
        SynvitaError: another one: the folder of the model was written anew, a branch of the Hub has moved, …
    """
    if not (folder / STARTED).is_file():
        return
    model = read_started(folder).get("model")  # None in folders of before it was recorded
    before = model.get("revision") if isinstance(model, dict) else None
    if before is not None and before != revision:
        raise SynvitaError(
            "the output folder holds an unfinished run of another model",
            file=folder,
            found=f"revision {before} there, {revision} here",
            expected="the model as it was when the run began, to resume it",
            fix=f"Bring it back (of the Hub: model_revision={before}), or start again: {_ANOTHER}",
        )


def check_trained_data(folder: Path, recipe: Recipe) -> None:
    """The dataset of a finished run, where it lies here, is still what was trained on: else the run is not this one.

    Raises:
        SynvitaError: it was built or written anew since.
    """
    if not Path(recipe.run.data).expanduser().exists():
        return
    before, now = read_run_record(folder).get("data") or {}, dataset_version(recipe.run.data)
    found = [
        f"{key} {before[key]} there, {now[key]} here"
        for key in ("build", "sha256")
        if before.get(key) and now.get(key) and before[key] != now[key]
    ]
    if found:
        raise SynvitaError(
            "the output folder holds a finished run on other data",
            file=folder,
            found=", ".join(found),
            expected="the dataset as it was trained on",
            fix=f"{_ANOTHER}, or remove that one",
        )


def last_checkpoint(folder: Path) -> Path | None:
    """The newest finished checkpoint in an output folder."""
    numbered = [
        (int(path.name.removeprefix("checkpoint-")), path)
        for path in folder.glob("checkpoint-*")
        if path.name.removeprefix("checkpoint-").isdigit() and (path / "trainer_state.json").is_file()
    ]
    return max(numbered)[1] if numbered else None


class RunLock:
    """The right to train into a folder, which one run has at a time; until `release`, or the end of the process.

    A heartbeat in OUTPUT_DIR/.synvita shows other machines that this run lives (see `synvita_data.jobs`). The
    lock of a run that was killed on this machine is taken over at once, that of another after two minutes.

    Raises:
        SynvitaError: another run has it; the message names its process.
    """

    def __init__(self, folder: Path) -> None:
        self._store = Store(folder / LOCK)
        self._claim = self._store.claim("run")
        if self._claim is None:
            holder = self._store.holder("run")
            self._store.close()
            raise SynvitaError(
                "another run is training into the output folder",
                file=folder,
                found="a live run" if holder is None else f"process {holder.pid} on {holder.label}",
                fix=f"Wait for it or end it. {_ANOTHER}",
            )
        self._store.tidy()

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give it back; twice is once."""
        if self._claim is not None:
            self._claim.release()
            self._claim = None
            self._store.close()


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed run was still writing into the folder; for who has its lock."""
    for leftover in (*folder.glob(".part-*"), *folder.glob("checkpoint-*/.part-*")):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def missing_folders(folder: Path) -> list[Path]:
    """The folder and those above it that are not there, the innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def remove_traces(folder: Path, missing: Iterable[Path]) -> None:
    """Remove what a run that came to nothing made: an empty lock, and folders that were not there and are empty."""
    lock = folder / LOCK
    inside = (path for path in lock.rglob("*") if path.is_dir()) if lock.is_dir() else ()
    for path in (*sorted(inside, reverse=True), lock, *missing):
        with contextlib.suppress(OSError):
            path.rmdir()


def _plain(values: Any) -> Any:
    """As it comes back from JSON."""
    return json.loads(json.dumps(values, default=str))


# The record of a finished run


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
        recipe: of the run.
        model: `name`, `revision`, `family`, `prompt`, `frames` (of the base).
        data: `dataset_version`, with config and split.
        counts: rows and what they lack (`TripletData.counts`).
        processes: how many trained.
        summary: what `Trainer.train` returned as metrics.
        history: `TrainerState.log_history`.
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
        # Since the last resumption only, so it would mislead.
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
        record = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SchemaError(
            "not the output of a finished `synvita train`", file=path, found=str(error), expected=FILE
        ) from error
    if not isinstance(record, dict) or "recipe" not in record:
        raise SchemaError("not a record of a training run", file=path, expected="a recipe in it")
    return record
