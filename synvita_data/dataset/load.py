"""Load a dataset of triplets, and put the real videos a user has into its rows."""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from ..display import counted, get_logger, warn
from ..errors import OTHER_FORM, HubError, SchemaError, choose, located
from ..hub.problems import not_cached
from ..hub.reach import REPO_ID, offline
from ..real_videos.find import RealVideos
from ..schema import VIDEO_COLUMNS, check_table, features
from ..synthetic_videos.find import SyntheticVideos
from .built import BuiltDataset, Saved, asked_for, find_saved, open_dataset, reading

if TYPE_CHECKING:
    import datasets

logger = get_logger(__name__)


@dataclass(frozen=True)
class RealCoverage:
    """How many rows have a real video that can be read.

    Attributes:
        found, total: rows with `real_available`, and all rows.
        by_source: source -> (found, total).
    """

    found: int
    total: int
    by_source: dict[str, tuple[int, int]]

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {k:,} of {n:,}" for name, (k, n) in self.by_source.items())
        return f"{self.found:,} of {self.total:,} rows have their real video" + (
            f" ({parts})" if parts else ""
        )


@overload
def load_triplets(
    path_or_repo: str | Path,
    config: str | None = None,
    revision: str | None = None,
    split: None = None,
    *,
    real_root: str | Path | None = None,
    mapping: str | Path | Mapping[str, str] | None = None,
    synthetic_root: str | Path | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    streaming: Literal[False] = False,
) -> "datasets.DatasetDict": ...


@overload
def load_triplets(
    path_or_repo: str | Path,
    config: str | None = None,
    revision: str | None = None,
    *,
    split: str,
    real_root: str | Path | None = None,
    mapping: str | Path | Mapping[str, str] | None = None,
    synthetic_root: str | Path | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    streaming: Literal[False] = False,
) -> "datasets.Dataset": ...


@overload
def load_triplets(
    path_or_repo: str | Path,
    config: str | None,
    revision: str | None,
    split: str,
    *,
    real_root: str | Path | None = None,
    mapping: str | Path | Mapping[str, str] | None = None,
    synthetic_root: str | Path | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    streaming: Literal[False] = False,
) -> "datasets.Dataset": ...


@overload
def load_triplets(
    path_or_repo: str | Path,
    config: str | None = None,
    revision: str | None = None,
    split: str | None = None,
    *,
    real_root: str | Path | None = None,
    mapping: str | Path | Mapping[str, str] | None = None,
    synthetic_root: str | Path | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    streaming: Literal[True],
) -> "datasets.IterableDataset | datasets.IterableDatasetDict": ...


def load_triplets(
    path_or_repo: str | Path,
    config: str | None = None,
    revision: str | None = None,
    split: str | None = None,
    *,
    real_root: str | Path | None = None,
    mapping: str | Path | Mapping[str, str] | None = None,
    synthetic_root: str | Path | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    streaming: bool = False,
) -> "datasets.Dataset | datasets.DatasetDict | datasets.IterableDataset | datasets.IterableDatasetDict":
    """A dataset of triplets, as `datasets.load_dataset` gives it, with the real videos that are here.

    Args:
        path_or_repo: a folder written by `synvita build`, a Hub dataset repository `owner/name`, or what
            `datasets` saved of one: a folder of `save_to_disk`, a file of `to_parquet` or `to_json`, a
            repository of `push_to_hub`. A folder wins over a repository of its name, with a
            warning where it is not one of `synvita build`.
        config: one generator's config; None for the default.
        revision: tag, branch or commit on the Hub.
        split: as for `load_dataset` (`"train"`, `"train[:100]"`, `"train+test"`); None for all splits.
        real_root: folder that holds real videos; see `real_videos.find.RealVideos` for how they are found.
        mapping: videos under `real_root` whose names say nothing; see `real_videos.files.read_mapping`.
        synthetic_root: folder of the synthetic videos that rows refer to, laid out as the references say; one that is
            not there is fetched from its repository when its row is read.
        token: access token for a private repository.
        cache_dir: where `datasets` keeps its Arrow files; those of a folder lie below it by what the folder holds.
        streaming: read rows as they are asked for, in the order of the files, and keep nothing on disk. Names of splits
            only, no parts of them (`stream.take(100)`), and the coverage of real videos is not counted.

    Returns:
        A `Dataset`, or a `DatasetDict` when `split` is None, with the columns of `schema.features()`; with `streaming`
        an `IterableDataset` or `IterableDatasetDict` with the same features, whose rows are the same.

        With `real_root`, real videos are found when rows are read: in a row whose video is here,
        `real_video` is `{"bytes": None, "path": LocalVideo}` and `real_available` is true. `start` and
        `end` are then the seconds to decode *in that file*: None for a clip that is cut already, those of
        the row for a whole source video. Other rows are as they were published. `real_coverage` counts.

        Where rows refer to synthetic videos that the dataset does not hold, `synthetic_video` is `{"bytes": None,
        "path": LocalVideo}`, looked for or fetched when it is read. `HF_HUB_OFFLINE=1` uses what is on this machine.

        The table under the rows stays as published: `push_to_hub`, `save_to_disk`, `to_parquet` and the
        like write neither bytes nor paths of real videos. `filter`, `map`, `select`, `shuffle`,
        `train_test_split`, pickling, and concatenation with datasets of the same root keep finding them;
        another format (`with_format("torch")`, `with_transform`) shows the published table.

    Raises:
        SchemaError: no such folder, config or split (the message lists those there are), a folder
            without a card, another schema version, or files that the card does not describe.
        HubError: the repository or revision cannot be read.
        SourceError, UnsafePathError: `real_root`, `mapping` or `synthetic_root` cannot be used.
    """
    if mapping is not None and real_root is None:
        raise SchemaError("a mapping needs the folder that its paths are in", fix="Give real_root too")
    if real_root == "":
        raise SchemaError("real_root is empty", fix="Give a folder ('.' is the current one), or leave it out")
    videos = None if real_root is None else RealVideos(real_root, mapping)
    synthetic = SyntheticVideos(synthetic_root, token=token)
    if isinstance(split, list | tuple):
        raise SchemaError(
            "several splits are asked for in a list",
            found=repr(split),
            expected="one text",
            fix=f'Write "{"+".join(map(str, split))}" for one dataset, or leave split out for a dictionary of all',
        )
    split = None if split is None else str(split)  # also datasets' own Split.TRAIN

    # The published table.
    name = _folder_or_repo(path_or_repo)
    saved, refers = find_saved(name), None
    if streaming and split is not None and not re.fullmatch(r"\s*\w+(\s*\+\s*\w+)*\s*", split):
        raise SchemaError(
            "a stream has whole splits", found=f"split {split!r}", fix="Take rows of it: stream.take(100)"
        )
    if saved is not None:
        loaded = _load_saved(saved, config, split, revision, cache_dir, streaming=streaming)
    else:
        built = _describe(name, revision, token)
        if built is not None:
            config = built.config_or_default(config)
            _check_splits(built, config, split)
            if streaming and (record := built.record(config)):
                refers = bool((record.get("authors_videos") or {}).get("referred"))
        loaded = _load(name, config, split, revision, token, cache_dir, streaming=streaming)
    if streaming:
        from .streaming import as_triplets

        return _each(
            loaded,
            lambda part: as_triplets(part, name, videos=videos, synthetic=synthetic, refers=refers),
        )
    loaded = _each(loaded, lambda part: _checked(part, name))

    from .local_videos import refers_to_synthetic, with_local_videos

    # The videos that rows name, and a word about real ones that are not here.
    def found(part: "datasets.Dataset") -> "datasets.Dataset":
        referred = synthetic if refers_to_synthetic(part) else None
        return part if videos is None and referred is None else with_local_videos(part, videos, referred)

    loaded = _each(loaded, found)
    if videos is None:
        return loaded
    coverage = real_coverage(loaded)
    level = logging.INFO if coverage.found == coverage.total else logging.WARNING
    logger.log(level, "%s under %s", coverage, videos.root)
    if videos.problems:
        refused = counted(len(videos.problems), "real videos were refused")
        logger.warning("%s, first: %s", refused, videos.problems[0])
    if videos.doubts:
        other_length = counted(len(videos.doubts), "real videos have another length than their name says")
        logger.warning("%s, first: %s", other_length, videos.doubts[0])
    return loaded


def real_coverage(dataset: "datasets.Dataset | datasets.DatasetDict") -> RealCoverage:
    """Count the rows whose `real_available` is true, over all splits of a `DatasetDict`."""
    from .local_videos import real_parts

    counts: dict[str, list[int]] = {}
    for part in dataset.values() if isinstance(dataset, Mapping) else [dataset]:
        found = real_parts(part)
        plain = part.select_columns(["source", "real_available"]).with_format("arrow")
        sources: list[str] = []
        published: list[bool | None] = []
        for batch in plain.iter(1000):
            sources += batch.column("source").to_pylist()
            published += batch.column("real_available").to_pylist()
        available = published if found is None else [each.available for each in found]
        for source, there in zip(sources, available, strict=True):
            count = counts.setdefault(source, [0, 0])
            count[0] += there is True
            count[1] += 1
    by_source = {source: (k, n) for source, (k, n) in sorted(counts.items())}
    return RealCoverage(
        sum(k for k, _ in by_source.values()), sum(n for _, n in by_source.values()), by_source
    )


def config_there(path_or_repo: str, config: str | None, revision: str | None = None) -> str | None:
    """`config`; None, with a warning, for what `datasets` saved, which has one subset and no names for it.

    For who has the name of a config from elsewhere, as recipes do.
    """
    name = _folder_or_repo(path_or_repo)
    if config is None:
        return None
    if find_saved(name) is None:
        built = _describe(name, revision, None)
        if built is None or config in built.configs or list(built.configs) != ["default"]:
            return config
    elif config == "default":
        return None
    logger.warning("%s was saved by datasets and has no configs: all of it is taken for %r", name, config)
    return None


def _folder_or_repo(path_or_repo: str | Path) -> str:
    """The name for `load_dataset`: an existing folder or file, or else the id of a repository."""
    text = str(path_or_repo)
    folder = Path(text).expanduser()
    if folder.is_file():
        return str(folder)
    if folder.is_dir():
        ours = (folder / "build.json").is_file()  # what `synvita build` wrote is meant
        if isinstance(path_or_repo, str) and REPO_ID.fullmatch(text) and not ours:
            warn(
                f"{text!r} is a folder here and is read; it would hide a Hub repository of that name. Write ./{text} "
                "to mean the folder, or move to another folder to load from the Hub",
                stacklevel=3,
            )
        return str(folder)
    if isinstance(path_or_repo, Path) or not REPO_ID.fullmatch(text):
        raise SchemaError(
            "the dataset folder does not exist",
            file=text,
            expected="a folder written by `synvita build`, or a Hub repository owner/name",
        )
    return text


def _describe(name: str, revision: str | None, token: str | None) -> BuiltDataset | None:
    """What the card promises, checked against the first file; None when the Hub may not be asked."""
    from huggingface_hub import constants

    local = Path(name).is_dir()
    if not local:
        if constants.is_offline_mode():
            return None  # `datasets` may still have it in its cache
        from ..hub.repo import HubRepo

        HubRepo(name, token=token).resolve(revision or "main")
    return open_dataset(name, revision=revision, token=token)


def _check_splits(built: BuiltDataset, config: str, split: str | None) -> None:
    """Known split names, and Parquet files of a schema version that this code reads."""
    for name in _split_names(split, built.configs[config]):
        path = built.files(config, name)[0]
        check_table(built.schema(path), file=path)


def _split_names(split: str | None, every: Iterable[str]) -> list[str]:
    """The names in `"train[:100]+test"`; all for None."""
    return list(every) if split is None else re.findall(r"(?:^|\+)\s*(\w+)", split)


def _load(
    name: str,
    config: str | None,
    split: str | None,
    revision: str | None,
    token: str | None,
    cache_dir: str | Path | None,
    *,
    streaming: bool = False,
) -> Any:
    import datasets

    cache = own = None if cache_dir is None else str(cache_dir)
    if Path(name).is_dir():
        cache = str(_own_cache(Path(name), Path(own or datasets.config.HF_DATASETS_CACHE)))
    try:
        with reading(name, revision, token):
            return datasets.load_dataset(
                name,
                config,
                split=split,
                revision=revision,
                token=token,
                cache_dir=cache,
                streaming=streaming,
            )
    except (datasets.exceptions.DatasetsError, OSError, *OTHER_FORM) as error:  # it trusts the card's form
        if offline() and isinstance(
            error, ConnectionError
        ):  # which is how `datasets` says that it has nothing cached
            raise not_cached(error, asked_for(name, revision, token)) from error
        if Path(name).is_dir() and cache != str(
            _own_cache(Path(name), Path(own or datasets.config.HF_DATASETS_CACHE))
        ):
            # A build has replaced the files between the card and the rows.
            return _load(name, config, split, revision, token, cache_dir)
        kind = SchemaError if Path(name).is_dir() else HubError
        damaged = kind is SchemaError and not isinstance(error, ValueError)
        raise kind(
            f"the dataset cannot be loaded ({type(error).__name__})",
            file=name if revision is None else f"{name}@{revision}",
            found=str(error),
            fix="Build the dataset again, or fetch it whole" if damaged else None,
        ) from error


def _own_cache(folder: Path, cache: Path) -> Path:
    """Where the Arrow files of what the folder holds now are kept.

    `datasets` (5.2) knows a local folder by its last name, its card and the patterns of its files: it would give the rows of
    another folder of that name, or those of before a build was made again.
    """
    state = []
    for path in sorted(folder.rglob("*.parquet")):
        with suppress(OSError):  # a link that leads nowhere is missed when its config is read
            found = path.stat()
            state.append([path.relative_to(folder).as_posix(), found.st_size, found.st_mtime_ns])
    told = json.dumps([str(folder.resolve()), state])
    return cache / f"synvita-{hashlib.sha256(told.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def _load_saved(
    saved: Saved,
    config: str | None,
    split: str | None,
    revision: str | None,
    cache_dir: str | Path | None,
    *,
    streaming: bool = False,
) -> Any:
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
            if streaming:  # it lies there as Arrow already
                return _each(loaded, lambda part: part.to_iterable_dataset())
        else:
            _check_names(saved.files, split, saved.path)
            loaded = datasets.load_dataset(
                saved.kind,
                data_files=saved.files,
                split=split,
                cache_dir=None if cache_dir is None else str(cache_dir),
                streaming=streaming,
            )
        return loaded if streaming else _each(loaded, lambda part: _typed(part, saved))
    except (datasets.exceptions.DatasetsError, OSError, StopIteration, *OTHER_FORM) as error:
        raise SchemaError(
            f"the saved dataset cannot be loaded ({type(error).__name__})",
            file=saved.path,
            found="no rows" if isinstance(error, StopIteration) else str(error),
            expected="what save_to_disk, to_parquet or to_json wrote of a dataset of triplets",
        ) from error


def _check_names(files: Any, split: str | None, path: Path) -> None:
    with located(path):
        for name in _split_names(split, ()):
            choose(name, files, "split", error=SchemaError)


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
    target.update({name: feature for name, feature in features(contrast=True).items() if name in target})
    return part.cast(target)


def _each(loaded: Any, change: Callable[[Any], Any]) -> Any:
    """A dataset, or each split of a `DatasetDict`, changed."""
    import datasets

    if isinstance(loaded, datasets.DatasetDict | datasets.IterableDatasetDict):
        changed = {part: change(loaded[part]) for part in loaded}
        streams = any(isinstance(each, datasets.IterableDataset) for each in changed.values())
        return (datasets.IterableDatasetDict if streams else datasets.DatasetDict)(changed)
    return change(loaded)


def _checked(part: "datasets.Dataset", name: str) -> "datasets.Dataset":
    """One split with the columns of triplets, and nothing in its table that `datasets` would take for a file here."""
    from .local_videos import plain_references

    for column in VIDEO_COLUMNS:
        if column not in part.features:
            part = part.add_column(column, [None] * len(part), feature=features()[column])
    if missing := [column for column in features() if column not in part.features]:
        raise SchemaError(
            "the dataset lacks columns of a table of triplets",
            file=name,
            found=f"columns {part.column_names}",
            expected=f"also {missing}",
        )
    return plain_references(_published_types(part, name))


def _published_types(part: "datasets.Dataset", name: str) -> "datasets.Dataset":
    """The published types where rows went through Python: a column or a field of nothing but None has lost its own."""
    import datasets
    import pyarrow as pa

    schema, target = part.data.schema, part.features.copy()
    for column, feature in features(contrast=True).items():
        if column not in target:  # a table from before there was such a column
            continue
        if isinstance(feature, datasets.Video):
            found = schema.field(column).type
            if found != feature.pa_type and not pa.types.is_null(found):
                target[column] = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
        elif part.features[column] != feature:
            target[column] = feature
    if target == part.features:
        return part
    try:
        return part.cast(target)
    except (datasets.exceptions.DatasetsError, TypeError, ValueError) as error:
        changed = [column for column in target if target[column] != part.features[column]]
        raise SchemaError(
            "columns of the dataset have other types than published, and cannot be read as those",
            file=name,
            found={column: str(part.features[column]) for column in changed},
            expected={column: str(target[column]) for column in changed},
        ) from error
