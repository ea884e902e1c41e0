"""What lies under the name of a dataset: a built one, in a folder or on the Hub, or what `datasets` saved.

`datasets.load_dataset` copies every video into its cache before the first row can be read; what
only looks at annotations, scores and weights reads the Parquet columns it needs from here. What `datasets` saved
(folders of `save_to_disk`, files of `to_parquet` and `to_json`) has the columns of a built dataset, and neither its card
nor its schema version.
"""

import glob
import posixpath
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import HubError, SchemaError, choose, first_line, located, parsing
from ..files import parse_json
from ..hub.card import data_files, default_of, read_card
from ..hub.problems import HubRequest, hub_errors
from ..hub.reach import REPO_ID, say_if_renamed
from ..real_videos.check import NeededVideo, each_once
from ..schema import check_table
from ..tables.columns import parquet_errors

if TYPE_CHECKING:
    import pyarrow as pa


# --- what `datasets` saved --------------------------------------------------------------------------

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
    """What `datasets` saved under this name; None for a folder that was built, or what is not on this machine.

    Raises:
        SchemaError: a file of a kind that cannot hold videos, masks and scores.
    """
    path = Path(name).expanduser()
    if path.is_file():
        kind = _BUILDERS.get(_suffix(path))
        if kind is None:
            flat = _suffix(path) in _FLAT
            raise SchemaError(
                "triplets cannot be loaded from such a file" if flat else "this is not a file of triplets",
                file=path,
                found=path.suffix or "no suffix",
                expected=f"a folder, or one of {', '.join(_BUILDERS)}",
                fix="CSV and SQL keep neither videos, masks nor scores: save with to_parquet or save_to_disk"
                if flat
                else None,
            )
        return Saved(path, kind, {"train": [str(path)]})
    if not path.is_dir() or any((path / name).is_file() for name in ("README.md", "build.json")):
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


def _suffix(path: Path) -> str:
    name = path.name.lower()
    for packed in (".gz", ".bz2", ".xz", ".zst"):
        name = name.removesuffix(packed)
    return Path(name).suffix


# --- a built dataset --------------------------------------------------------------------------------


@dataclass(frozen=True)
class BuiltDataset:
    """Where a dataset lies and which Parquet files its card gives to each config and split.

    Attributes:
        name: the folder or repository as the user named it.
        configs: config -> split -> glob patterns relative to the root, as in the card's YAML.
        default: the config that `load_dataset(name)` picks.
    """

    name: str
    root: str
    filesystem: Any
    configs: dict[str, dict[str, list[str]]]
    default: str

    def config_or_default(self, config: str | None) -> str:
        """`config` if the dataset has it, the default for None; otherwise an error listing all."""
        with located(self.name):
            return choose(config or self.default, sorted(self.configs), "config", error=SchemaError)

    def files(self, config: str, split: str) -> list[str]:
        """The Parquet files of one split, sorted; an error when the card promises files that are absent."""
        splits = self.configs[config]
        with located(self.name):
            choose(split, sorted(splits), f"split of config {config!r}", error=SchemaError)
        found: list[str] = []
        for pattern in splits[split]:
            # Brackets of a folder's name are no pattern.
            with reading(self.name):
                hits = sorted(self.filesystem.glob(posixpath.join(glob.escape(self.root), pattern)))
                if not hits and self.root:
                    self.filesystem.ls(self.root)  # glob takes what the Hub did not answer for absent
            if not hits:
                raise SchemaError(
                    "the card names Parquet files that are not there",
                    file=self.name,
                    expected=pattern,
                    fix="Build the dataset again, or fetch it whole",
                )
            found += hits
        return found

    def record(self, config: str) -> dict[str, Any]:
        """What `build.json` says of a config; {} where there is none, or none that can be read."""
        try:
            with reading(self.name):
                text = self._text("build.json")
            found = None if text is None else parse_json(text)["configs"][config]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return dict(found) if isinstance(found, dict) else {}

    def _text(self, file: str) -> bytes | None:
        try:
            content: bytes = self.filesystem.cat_file(posixpath.join(self.root, file))
        except FileNotFoundError:
            return None
        return content

    def schema(self, path: str) -> "pa.Schema":
        """The schema of one of its Parquet files."""
        import pyarrow.parquet as pq

        with reading(self.name), parquet_errors(path), self.filesystem.open(path, "rb") as handle:
            return pq.read_schema(handle)

    def read(self, config: str, split: str, columns: Sequence[str]) -> "pa.Table":
        """`columns` of one split as an Arrow table; nested columns may be named `a.b`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        tables = []
        for path in self.files(config, split):
            with (
                reading(self.name),
                parquet_errors(path),
                self.filesystem.open(path, "rb") as handle,
            ):
                file = pq.ParquetFile(handle)
                check_table(file.schema_arrow, file=path)
                table = file.read(columns=list(columns))
                table.validate(full=True)  # also that its texts are UTF-8
                tables.append(table.replace_schema_metadata(None))
        return pa.concat_tables(tables)

    def needed_videos(self, config: str, splits: Sequence[str]) -> list[NeededVideo]:
        """The real videos that rows of these splits name, for `check_real_videos`; not those that rows hold."""
        columns = ("source", "video_id", "videopath", "youtube_key", "video_url", "start", "end")
        return each_once(
            NeededVideo(**row)
            for split in splits
            for row in self.read(config, split, (*columns, "real_available")).to_pylist()
            if not row.pop("real_available")
        )


def open_dataset(path_or_repo: str, *, revision: str | None = None, token: str | None = None) -> BuiltDataset:
    """Read the card of a built dataset.

    Args:
        path_or_repo: a folder written by `synvita build`, a Hub dataset repository `owner/name`, or Parquet
            files that `datasets` wrote of one.
        revision: tag, branch or commit on the Hub; refused for a folder.

    Raises:
        SchemaError: no card, or a card without `configs`.
        HubError: the repository or the revision cannot be read.
    """
    folder = Path(path_or_repo)
    if (saved := find_saved(path_or_repo)) is not None:
        return _open_saved(path_or_repo, saved)
    if folder.is_dir():
        import fsspec

        if revision is not None:
            raise SchemaError("a local folder has no revisions", file=path_or_repo, found=revision)
        root, filesystem = str(folder), fsspec.filesystem("file")
        card = folder / "README.md"
        if not card.is_file():
            raise SchemaError(
                "this is not a dataset folder",
                file=path_or_repo,
                expected="a README.md written by `synvita build`",
            )
        with parsing("the dataset's card cannot be read", file=card, expected="text in UTF-8"):
            text = card.read_text(encoding="utf-8")
    elif not REPO_ID.fullmatch(path_or_repo):
        raise SchemaError(
            "the dataset folder does not exist",
            file=path_or_repo,
            expected="a folder written by `synvita build`, or a Hub repository owner/name",
        )
    else:
        text, root, filesystem = _open_hub(path_or_repo, revision, token)
    return _parse_card(path_or_repo, text, root, filesystem)


def local_config(folder: Path, config: str, splits: Sequence[str]) -> BuiltDataset:
    """One config of a folder that has no card yet: the layout of `synvita build`, by its file names."""
    import fsspec

    patterns = {split: [f"{config}/{split}-*.parquet"] for split in splits}
    return BuiltDataset(str(folder), str(folder), fsspec.filesystem("file"), {config: patterns}, config)


def _open_saved(name: str, saved: Saved) -> BuiltDataset:
    """Parquet files that `datasets` wrote, which have no card."""
    import fsspec

    if saved.kind != "parquet":
        raise SchemaError(
            "a saved dataset that is not Parquet can be loaded and trained on, but not looked at here",
            file=name,
            expected="Parquet files, or a folder written by `synvita build`",
            fix="Save it with to_parquet, or load it with load_triplets",
        )
    return BuiltDataset(name, "", fsspec.filesystem("file"), {"default": saved.files}, "default")


def _open_hub(repo: str, revision: str | None, token: str | None) -> tuple[str, str, Any]:
    from huggingface_hub import HfFileSystem

    root = f"datasets/{repo}" + (f"@{revision}" if revision else "")
    filesystem = HfFileSystem(token=token)
    try:
        with reading(repo, revision, token):
            text = filesystem.read_text(f"{root}/README.md", encoding="utf-8")
    except (OSError, ValueError) as error:  # HfFileSystem says so of a name or file that is not there
        raise HubError(
            f"cannot read the dataset's card ({type(error).__name__})",
            file=repo if revision is None else f"{repo}@{revision}",
            found=first_line(error),
            expected="a folder on this machine, or a Hub dataset repository you may read",
        ) from error
    say_if_renamed(repo, "dataset", token)
    return text, root, filesystem


def reading(name: str, revision: str | None = None, token: str | None = None) -> AbstractContextManager[None]:
    """Around whatever reads a dataset that may be on the Hub: what fails there becomes a `HubError` that names it."""
    return hub_errors(asked_for(name, revision, token))


def asked_for(name: str, revision: str | None = None, token: str | None = None) -> HubRequest:
    """What is asked of the Hub when a dataset is read, for errors."""
    return HubRequest(
        name,
        "the dataset cannot be read",
        missing="the dataset cannot be found",
        expected="a folder on this machine, or a Hub dataset repository you may read",
        kind="dataset",
        revision=revision,
        has_token=True if token else None,
    )


def _parse_card(name: str, text: str, root: str, filesystem: Any) -> BuiltDataset:
    file = f"{name}/README.md"
    metadata = read_card(text, file=file).data
    configs = data_files(metadata, file=file)
    if not configs:
        raise SchemaError("the card lists no config", file=file, fix="Build the dataset with `synvita build`")
    return BuiltDataset(name, root, filesystem, configs, default_of(metadata) or next(iter(configs)))
