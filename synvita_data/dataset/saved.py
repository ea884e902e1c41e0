"""Tables of triplets that `datasets` saved: folders of `save_to_disk`, files of `to_parquet` and `to_json`.

They have the columns of a built dataset, and neither its card nor its schema version.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import SchemaError
from ..schema import features

if TYPE_CHECKING:
    import datasets

_BUILDERS = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
}
_FLAT = (".csv", ".tsv", ".db", ".sqlite", ".xlsx")


@dataclass(frozen=True, slots=True)
class Saved:
    """What was found under a name: a folder of `save_to_disk`, or the files of one split or several.

    Attributes:
        kind: `disk`, or the `datasets` builder that reads the files.
        files: split -> files; empty for a folder of `save_to_disk`.
    """

    path: Path
    kind: Literal["disk", "parquet", "arrow", "json"] | str
    files: dict[str, list[str]]


def find_saved(name: str) -> Saved | None:
    """What `datasets` saved under this name; None for a folder with a card, or what is not on this machine.

    Raises:
        SchemaError: a file of a kind that cannot hold videos, masks and scores.
    """
    path = Path(name).expanduser()
    if path.is_file():
        kind = _BUILDERS.get(_suffix(path))
        if kind is None:
            flat = _suffix(path) in _FLAT
            raise SchemaError(
                "triplets cannot be loaded from such a file" if flat else "not a file of triplets",
                file=path,
                found=path.suffix or "no suffix",
                expected=f"a folder, or one of {', '.join(_BUILDERS)}",
                fix="CSV and SQL keep neither videos, masks nor scores: save with to_parquet or save_to_disk"
                if flat
                else None,
            )
        return Saved(path, kind, {"train": [str(path)]})
    if not path.is_dir() or (path / "README.md").is_file():
        return None
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return Saved(path, "disk", {})
    for suffix in (".parquet", ".jsonl", ".json"):
        files: dict[str, list[str]] = {}
        for file in sorted(path.glob(f"*{suffix}")):
            # `train.parquet`, `test-00000-of-00002.parquet`
            match = re.match(r"(train|validation|test)(?![A-Za-z0-9])", file.name)
            files.setdefault(match[1] if match else "train", []).append(str(file))
        if files:
            return Saved(path, _BUILDERS[suffix], files)
    return None


def load_saved(
    saved: Saved, config: str | None, split: str | None, revision: str | None, cache_dir: str | Path | None
) -> "datasets.Dataset | datasets.DatasetDict":
    """The saved dataset in the types of `schema.features()`; a `DatasetDict` where `split` is None.

    Raises:
        SchemaError: a config or revision, which saved datasets have none of, an unknown split, or files that
            cannot be read as triplets.
    """
    import datasets

    for what, value in (("configs", config), ("revisions", revision)):
        if value not in (None, "default") or (what == "revisions" and value):
            raise SchemaError(f"a saved dataset has no {what}", file=saved.path, found=value)
    try:
        if saved.kind == "disk":
            loaded: Any = datasets.load_from_disk(str(saved.path))
            if isinstance(loaded, datasets.Dataset):
                loaded = datasets.DatasetDict({str(loaded.split or "train"): loaded})
            loaded = _chosen(loaded, split, saved.path)
        else:
            _check_names(saved.files, split, saved.path)
            loaded = datasets.load_dataset(
                saved.kind,
                data_files=saved.files,
                split=split,
                cache_dir=None if cache_dir is None else str(cache_dir),
            )
        if isinstance(loaded, datasets.DatasetDict):
            return datasets.DatasetDict({name: _typed(part, saved) for name, part in loaded.items()})
        return _typed(loaded, saved)
    except (datasets.exceptions.DatasetsError, OSError, ValueError, TypeError) as error:
        raise SchemaError(
            f"the saved dataset cannot be loaded ({type(error).__name__})",
            file=saved.path,
            found=str(error),
            expected="what save_to_disk, to_parquet or to_json wrote of a dataset of triplets",
        ) from error


def _suffix(path: Path) -> str:
    name = path.name.lower()
    for packed in (".gz", ".bz2", ".xz", ".zst"):
        name = name.removesuffix(packed)
    return Path(name).suffix


def _check_names(files: Any, split: str | None, path: Path) -> None:
    for name in [] if split is None else re.findall(r"(?:^|\+)\s*(\w+)", split):
        if name not in files:
            raise SchemaError(
                "the saved dataset has no such split",
                file=path,
                found=name,
                expected=f"one of {', '.join(files)}",
            )


def _chosen(loaded: Any, split: str | None, path: Path) -> Any:
    """The splits that `split` names, as `load_dataset` reads it; all for None."""
    import datasets

    if split is None:
        return loaded
    _check_names(loaded, split, path)
    lengths = {name: len(part) for name, part in loaded.items()}
    parts = [
        loaded[each.splitname].select(range(each.from_, each.to))
        for each in datasets.ReadInstruction.from_spec(split).to_absolute(lengths)
    ]
    return parts[0] if len(parts) == 1 else datasets.concatenate_datasets(parts)


def _typed(part: "datasets.Dataset", saved: Saved) -> "datasets.Dataset":
    """Columns with the published types: JSON has lost them."""
    if saved.kind != "json":
        return part
    target = part.features.copy()
    target.update({name: feature for name, feature in features().items() if name in target})
    return part.cast(target)
