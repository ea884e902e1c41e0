"""Load a dataset of triplets, and put the real videos a user has into its rows."""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from .display import get_logger, warn
from .errors import HubError, SchemaError
from .real_videos import RealVideo, RealVideos
from .schema import check_schema_version, features
from .tables import BuiltDataset, open_dataset

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

logger = get_logger(__name__)

_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_FOUND_COLUMNS = ("real_video", "real_available", "start", "end")


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
    token: str | None = None,
    cache_dir: str | Path | None = None,
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
    token: str | None = None,
    cache_dir: str | Path | None = None,
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
    token: str | None = None,
    cache_dir: str | Path | None = None,
) -> "datasets.Dataset": ...


def load_triplets(
    path_or_repo: str | Path,
    config: str | None = None,
    revision: str | None = None,
    split: str | None = None,
    *,
    real_root: str | Path | None = None,
    mapping: str | Path | Mapping[str, str] | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
) -> "datasets.Dataset | datasets.DatasetDict":
    """A dataset of triplets, as `datasets.load_dataset` gives it, with the real videos that are here.

    Args:
        path_or_repo: a folder written by `synvita build`, or a Hub dataset repository `owner/name`. A
            folder of that name wins, with a warning.
        config: one generator's config; None for the default. revision: tag, branch or commit on the Hub.
        split: as for `load_dataset` (`"train"`, `"train[:100]"`, `"train+test"`); None for all splits.
        real_root: folder that holds real videos; see `real_videos.RealVideos` for how they are found.
        mapping: videos under `real_root` whose names say nothing; see `video_mapping.read_mapping`.
        token: access token for a private repository. cache_dir: where `datasets` keeps its Arrow files.

    Returns:
        A `Dataset`, or a `DatasetDict` when `split` is None, with the columns of `schema.features()`.

        With `real_root`, a row whose video was found has `real_video = {"bytes": None, "path": file}` and
        `real_available` true. `start` and `end` are then the seconds to decode *in that file*: None for
        a clip that is cut already, unchanged for a whole source video. Rows whose video is embedded are
        left as they are, and so are rows whose video was not found (`real_available` false).
        `real_coverage` counts them. Only these four columns are new; the rest, embedded videos too,
        stays memory-mapped in the cache of `datasets`.

    Raises:
        SchemaError: no such folder, config or split (the message lists those there are), a folder
            without a card, another schema version, or files that the card does not describe.
        HubError: the repository or revision cannot be read.
        SourceError, UnsafePathError: `real_root` or `mapping` cannot be used.
    """
    if mapping is not None and real_root is None:
        raise SchemaError("a mapping needs the folder that its paths are in", fix="Give real_root too")
    videos = None if real_root is None else RealVideos(real_root, mapping)
    name = _folder_or_repo(path_or_repo)
    built = _describe(name, revision, token)
    if built is not None:
        config = built.config_or_default(config)
        _check_splits(built, config, split)
    loaded = _load(name, config, split, revision, token, cache_dir)
    if videos is None:
        return loaded
    if split is None:
        loaded = type(loaded)({part: _with_real_videos(loaded[part], videos) for part in loaded})
    else:
        loaded = _with_real_videos(loaded, videos)
    coverage = real_coverage(loaded)
    level = logging.INFO if coverage.found == coverage.total else logging.WARNING
    logger.log(level, "%s under %s", coverage, videos.root)
    if videos.problems:
        logger.warning("%d real videos were refused, first: %s", len(videos.problems), videos.problems[0])
    return loaded


def real_coverage(dataset: "datasets.Dataset | datasets.DatasetDict") -> RealCoverage:
    """Count the rows whose `real_available` is true, over all splits of a `DatasetDict`."""
    counts: dict[str, list[int]] = {}
    for part in dataset.values() if isinstance(dataset, Mapping) else [dataset]:
        for batch in part.select_columns(["source", "real_available"]).with_format(None).iter(1000):
            for source, available in zip(batch["source"], batch["real_available"], strict=True):
                count = counts.setdefault(source, [0, 0])
                count[0] += available is True
                count[1] += 1
    by_source = {source: (k, n) for source, (k, n) in sorted(counts.items())}
    return RealCoverage(
        sum(k for k, _ in by_source.values()), sum(n for _, n in by_source.values()), by_source
    )


def _folder_or_repo(path_or_repo: str | Path) -> str:
    """The name for `load_dataset`: an existing folder, or else the id of a repository."""
    text = str(path_or_repo)
    folder = Path(text).expanduser()
    if folder.is_dir():
        if isinstance(path_or_repo, str) and _REPO_ID.fullmatch(text):
            warn(
                f"{text!r} is a folder here, and hides a Hub repository of that name; write ./{text} to "
                "mean the folder, or move to another folder to load from the Hub",
                stacklevel=3,
            )
        return str(folder)
    if isinstance(path_or_repo, Path) or not _REPO_ID.fullmatch(text):
        raise SchemaError(
            "no such dataset folder",
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
        from .hub import HubRepo

        HubRepo(name, token=token).resolve(revision or "main")
    built = open_dataset(name, revision=revision, token=token)
    return built


def _check_splits(built: BuiltDataset, config: str, split: str | None) -> None:
    """Known split names, and Parquet files of a schema version that this code reads."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(built.configs[config]) if split is None else re.findall(r"(?:^|\+)\s*(\w+)", split)
    for name in names:
        path = built.files(config, name)[0]
        with built.filesystem.open(path, "rb") as handle:
            try:
                metadata = pq.read_schema(handle).metadata
            except pa.ArrowInvalid as error:
                raise SchemaError("not a readable Parquet file", file=path, found=str(error)) from error
        check_schema_version(metadata, file=path)


def _load(
    name: str,
    config: str | None,
    split: str | None,
    revision: str | None,
    token: str | None,
    cache_dir: str | Path | None,
) -> Any:
    import datasets

    cache = None if cache_dir is None else str(cache_dir)
    try:
        loaded = datasets.load_dataset(
            name, config, split=split, revision=revision, token=token, cache_dir=cache
        )
    except (datasets.exceptions.DatasetsError, ConnectionError, ValueError) as error:
        kind = SchemaError if Path(name).is_dir() else HubError
        damaged = kind is SchemaError and isinstance(error, datasets.exceptions.DatasetsError)
        raise kind(
            f"the dataset cannot be loaded ({type(error).__name__})",
            file=name if revision is None else f"{name}@{revision}",
            found=str(error),
            fix="Build the dataset again, or fetch it whole" if damaged else None,
        ) from error
    expected = features()
    for part in loaded.values() if split is None else [loaded]:
        if missing := [column for column in expected if column not in part.features]:
            raise SchemaError(
                "the dataset lacks columns of a table of triplets",
                file=name,
                found=f"columns {part.column_names}",
                expected=f"also {missing}",
            )
    return loaded


def _with_real_videos(dataset: "datasets.Dataset", videos: RealVideos) -> "datasets.Dataset":
    """`dataset` with four columns replaced; the others, and embedded videos, are not copied."""
    import datasets
    from datasets.fingerprint import Hasher
    from datasets.table import InMemoryTable

    found: list[RealVideo | None] = []
    columns = ["source", "video_id", "videopath", "youtube_key", "start", "end"]
    for batch in dataset.select_columns(columns).with_format(None).iter(1000):
        for source, video_id, videopath, key, start, end in zip(*map(batch.get, columns), strict=True):
            found.append(
                videos.find(source, video_id, videopath=videopath, youtube_key=key, start=start, end=end)
            )
    table, summary = _replacements(dataset.data, found)
    kept = {name: dataset.features[name] for name in _FOUND_COLUMNS}
    replaced = datasets.Dataset(
        InMemoryTable(table),
        info=datasets.DatasetInfo(features=datasets.Features(kept)),
        # By content, so that `map` finds its cache again for equal files and misses it for others; and
        # without `datasets` hashing the table itself, which may refer to embedded videos.
        fingerprint=Hasher.hash(json.dumps(summary)),
    )
    rest = dataset.remove_columns(list(_FOUND_COLUMNS))
    joined = datasets.concatenate_datasets([rest, replaced], axis=1, info=dataset.info, split=dataset.split)
    return joined.select_columns(dataset.column_names)


def _replacements(data: Any, found: list[RealVideo | None]) -> tuple["pa.Table", list[Any]]:
    """The four columns, and what distinguishes them from those before."""
    import pyarrow as pa
    import pyarrow.compute as pc

    old = data.column("real_video")
    fields = [old.type.field(index).name for index in range(old.type.num_fields)]
    children = dict(zip(fields, old.flatten(), strict=True))  # views: no bytes are copied
    embedded = pc.is_valid(children["bytes"])
    videos = [None if inside else video for video, inside in zip(found, embedded.to_pylist(), strict=True)]
    is_new = pa.array([video is not None for video in videos], pa.bool_())
    new_paths = pa.array([video and str(video.path) for video in videos], pa.string())
    children["path"] = pc.if_else(is_new, new_paths, children["path"].combine_chunks())
    if not pc.any(embedded).as_py():
        children["bytes"] = pa.chunked_array([pa.nulls(len(videos), children["bytes"].type)])
    absent = pc.invert(pc.or_(is_new, pc.is_valid(old).combine_chunks()))
    pieces, offset = [], 0
    for chunk in children["bytes"].chunks:
        part = {"bytes": chunk, "path": children["path"].slice(offset, len(chunk))}
        mask = absent.slice(offset, len(chunk))
        offset += len(chunk)
        pieces.append(pa.StructArray.from_arrays([part[name] for name in fields], names=fields, mask=mask))
    cut = pa.array([video is not None and not video.times_apply for video in videos], pa.bool_())
    columns = {
        "real_video": pa.chunked_array(pieces, old.type),
        "real_available": pc.or_(is_new, embedded.combine_chunks()),
    }
    for name in ("start", "end"):
        times = data.column(name).combine_chunks()
        columns[name] = pc.if_else(cut, pa.nulls(len(videos), times.type), times)
    summary = [video and (str(video.path), video.times_apply) for video in videos]
    return pa.table({name: columns[name] for name in _FOUND_COLUMNS}), summary
