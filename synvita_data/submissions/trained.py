"""What a fine-tune was trained on, by its own record: `training_run.json`, which `synvita train` writes and publishes.

The record is its author's word. It names a dataset, and names are all that is compared here; a record that names a
benchmark which must not be trained on refuses the result, and one that is silent leaves the question open.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import SchemaError, SourceError, parsing
from ..files import parse_json
from ..tasks import TASKS, Task
from .report import Trained

# Beside the results of a model, as beside its weights.
RECORD = "training_run.json"
LARGEST_RECORD = 4 << 20


def read_trained(path: Path, task: Task | None) -> Trained:
    """What a record says, seen from a task.

    Args:
        path: of the record.
        task: that the model was evaluated on; None where it is not known.

    Raises:
        SchemaError: it is too large, or not such a record.
    """
    if path.stat().st_size > LARGEST_RECORD:
        raise SchemaError(
            "the record of a training run is too large",
            file=path,
            found=f"{path.stat().st_size:,} bytes",
            expected=f"at most {LARGEST_RECORD:,}",
        )
    with parsing("this is not the record of a training run", file=path, expected="what synvita train writes"):
        return trained_of(parse_json(path.read_text(encoding="utf-8"), foreign=True), task)


def trained_of(record: Mapping[str, Any], task: Task | None) -> Trained:
    """The same of a record that was read.

    Raises:
        KeyError, TypeError, AttributeError: it is no such record.
    """
    recipe, data = record["recipe"], record["data"]
    name, base = data.get("path") or recipe.get("data"), record["model"]["name"]
    if not isinstance(name, str | None) or not isinstance(base, str | None):
        raise TypeError("the name of the model or data is not a string")
    names = {_letters(str(each)) for each in (name, recipe.get("data")) if each}
    if not names:
        return Trained(base, None, None, None, never=False)
    own = task is not None and any(part in each for part in _parts(task) for each in names)
    return Trained(
        base,
        name,
        any("videocon" in each for each in names),
        None if task is None else not own,
        never=_is_never_trained_on(names, data.get("sha256")),
    )


def refuse_never(path: Path, trained: Trained) -> None:
    """Refuse a model that was trained on a benchmark that forbids it.

    Raises:
        SourceError: it was.
    """
    if trained.never:
        raise SourceError(
            "the model was trained on a benchmark that must not be trained on",
            file=path,
            found=trained.data,
            expected="other training data: the benchmark's declaration says `train: never` (docs/tasks.md)",
        )


def _is_never_trained_on(names: set[str], digest: object) -> bool:
    """A record names such a benchmark, or a file that is its annotations; the published names of files count too."""
    for task in TASKS.values():
        if task.train != "never":
            continue
        if any(digest == each.sha256 for each in task.checked):
            return True
        if any(part in each for part in _parts(task) for each in names):
            return True
    return False


def _parts(task: Task) -> set[str]:
    """The names by which training data of a task is known: its family's (`videocon` of `videocon-human`), its videos'
    where nobody else's data is made of them, and its repository's."""
    found = {task.name.partition("-")[0], (task.hub_path or "").rpartition("/")[2]}
    if task.name.startswith("ssv2"):
        found.add("something-something")
    return {part for part in map(_letters, found) if len(part) > 3}


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.lower())
