"""The output folder of `synvita train`: what is being trained there, on which data, by whom, and where it goes on."""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from synvita_data.captions.text import Text
from synvita_data.errors import SynvitaError
from synvita_data.files import write_atomic
from synvita_data.jobs import Store

from .plan import PlannedTriplet
from .recipe import Recipe
from .run_record import FILE

STARTED = "recipe.json"  # in the output folder before the first step: what is being trained there
QUARANTINE = "quarantine.jsonl"
MERGED = "merged"
LOCK = ".synvita"
_ANOTHER = "Name another folder: output_dir=DIR"
_CAUSES = ("rows", "without", "set_aside")  # counts that other counts follow from
# What may change between a run and its continuation: where and how fast, not what. Where the real videos lie may
# change because the data is compared by itself.
MAY_CHANGE = frozenset(
    {
        "about",
        "output_dir",
        "merge",
        "push_to",
        "push_private",
        "push_home_folders",
        "real_root",
        "real_mapping",
        "check_videos",
    }
    | {"report_to", "run_name", "logging_steps", "disable_tqdm"}
    | {"dataloader_num_workers", "save_total_limit", "feature_cache"}
)


def check_folder(folder: Path, recipe: Recipe) -> None:
    """The output folder is new, or holds an unfinished run of the same recipe; nothing of anybody else.

    Raises:
        SynvitaError: the model's or the data's own folder, a model or checkpoints from elsewhere, a finished run,
            one of another recipe, or one whose `recipe.json` cannot be read.
    """
    for key in ("model", "data", "real_root"):
        place = getattr(recipe.run, key)
        if place is not None and Path(place).expanduser().resolve() == folder.expanduser().resolve():
            raise SynvitaError(
                f"the result would go into the folder of {key}",
                file=folder,
                found=f"{key}={place}",
                fix=_ANOTHER,
            )
    if folder.exists() and not folder.is_dir():
        raise SynvitaError("the output folder is a file", file=folder, fix=_ANOTHER)
    if is_finished(folder):
        raise SynvitaError(
            "the output folder holds a finished run",
            file=folder,
            found=different_keys(folder, recipe) or "the same recipe, with nothing left to do",
            fix=f"{_ANOTHER}, or remove that one",
        )
    if not (folder / STARTED).is_file():
        _refuse_strangers(folder)
        return
    if different := different_keys(folder, recipe):
        raise SynvitaError(
            "the output folder holds an unfinished run of another recipe",
            file=folder,
            found=different,
            expected="the same recipe, to go on with it",
            fix=f"{_ANOTHER}, or remove that one",
        )


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
        key for key in {**before, **now} if key not in MAY_CHANGE and before.get(key) != now.get(key)
    )
    return ", ".join(f"{key}: {before.get(key)} there, {now.get(key)} here" for key in different[:4])


def read_started(folder: Path) -> dict[str, dict[str, Any]]:
    """What was started in a folder: `recipe`, and `data` as `data_identity` gave it.

    Raises:
        SynvitaError: the file cannot be read, or is something else.
    """
    path = folder / STARTED
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _no_start(path, str(error)) from error
    if not isinstance(content, dict) or not all(isinstance(content.get(k), dict) for k in ("recipe", "data")):
        raise _no_start(path, type(content).__name__)
    return content


def write_started(folder: Path, recipe: Recipe, data: Mapping[str, Any]) -> None:
    """Say what is being trained, unless the folder says it already; before the first checkpoint is written."""
    path = folder / STARTED
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps({"recipe": _plain(recipe.to_dict()), "data": data}, indent=2) + "\n")


def data_identity(
    version: Mapping[str, Any],
    triplets: Iterable[PlannedTriplet],
    counts: Mapping[str, int],
    misalignments: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What a run trains on, to be compared when it goes on: an order of triplets means the same ones only then.

    Args:
        version: of `dataset_version`.
        triplets: as planned.
        counts: of their rows.
        misalignments: kinds of contrast that the rows were chosen by; None for all rows.

    Returns:
        `version`; `triplets`, the SHA-256 of what each of them trains, in their order; `counts`; and `misalignments`
        where rows were chosen by them.
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
    return identity if misalignments is None else {**identity, "misalignments": list(misalignments)}


def _identity(text: Text) -> list[Any]:
    """What a text is; token flags only where there are any, so that runs without them go on as they began."""
    flags = [] if text.tokens is None else [text.tokens.ids, text.tokens.hidden]
    return [text.caption, text.hidden, *flags]


def check_data(folder: Path, data: Mapping[str, Any]) -> None:
    """A run goes on with the data it began with.

    Args:
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
    if not found and "triplets" in data and before.get("misalignments") != data.get("misalignments"):
        kinds = [
            "all rows" if each is None else ", ".join(map(str, each))
            for each in (before.get("misalignments"), data.get("misalignments"))
        ]
        found = [f"misalignments: {kinds[0]} there, {kinds[1]} here"]
    if not found and "triplets" in data and before.get("triplets") != data["triplets"]:
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
            expected="the same rows with the same videos, to go on with it",
            fix=f"Bring dataset and videos back (real_root=DIR, data_revision=COMMIT), or begin anew: {_ANOTHER}",
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

    A heartbeat in OUTPUT_DIR/.synvita tells other machines that this run lives (see `synvita_data.jobs`). The
    lock of a run that was killed on this machine is taken over at once, that of another after two minutes.

    Raises:
        SynvitaError: another run has it; who.
    """

    def __init__(self, folder: Path) -> None:
        self._store = Store(folder / LOCK)
        self._claim = self._store.claim("run")
        if self._claim is None:
            holder = self._holder()
            self._store.close()
            raise SynvitaError(
                "another run is training into the output folder",
                file=folder,
                found=holder,
                fix=f"Wait for it or end it. {_ANOTHER}",
            )

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

    def _holder(self) -> str:
        identity = self._store.holder("run")
        return "a live run" if identity is None else f"process {identity.pid} on {identity.label}"


def missing_folders(folder: Path) -> list[Path]:
    """The folder and those above it that are not there, the innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def remove_traces(folder: Path, missing: Iterable[Path]) -> None:
    """Remove what a run that came to nothing made: an empty lock, and folders that were not there and are empty."""
    lock = folder / LOCK
    inside = (
        sorted((path for path in lock.rglob("*") if path.is_dir()), reverse=True) if lock.is_dir() else []
    )
    for path in (*inside, lock, *missing):
        with contextlib.suppress(OSError):
            path.rmdir()


def _refuse_strangers(folder: Path) -> None:
    """Without our `recipe.json`, models and checkpoints are somebody else's."""
    suffixes, names = {".safetensors", ".bin", ".pt", ".pth"}, {"config.json", "adapter_config.json"}
    strangers = sorted(
        path.name
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.name in names or path.suffix in suffixes or path.name.startswith("checkpoint-")
    )
    if strangers:
        raise SynvitaError(
            "the output folder holds a model that this run did not make",
            file=folder,
            found=", ".join(strangers[:4]),
            expected=f"a new folder, or an unfinished run with its {STARTED}",
            fix=_ANOTHER,
        )


def _no_start(path: Path, found: str) -> SynvitaError:
    return SynvitaError(
        "nobody knows what was being trained in the output folder",
        file=path,
        found=found,
        expected="what `synvita train` writes there: recipe and data",
        fix=_ANOTHER,
    )


def _plain(values: Any) -> Any:
    """As it comes back from JSON."""
    return json.loads(json.dumps(values, default=str))
