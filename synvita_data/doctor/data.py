"""A dataset of triplets: which config and splits, bytes to fetch and to copy, scores and videos in its rows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..dataset.built import BuiltDataset, find_saved, open_dataset
from ..display import counted
from ..errors import SchemaError, SynvitaError, choose, located
from ..hub.card import data_files, default_of, read_card
from ..real_videos.find import RealVideos
from ..schema import check_schema_version
from .inputs import SECONDS, count_videos
from .models import add_repository
from .report import Needs
from .repository import RepositoryFacts, look_at
from .wanted import dataset_files

_NAMES = ("source", "video_id", "videopath", "youtube_key", "start", "end")


@dataclass(frozen=True, slots=True)
class FoundData:
    """A dataset that was found.

    Attributes:
        facts: of its repository or folder.
        config: that is loaded.
        rows: of each split; empty where that is not known before it is fetched.
        opened: for a folder with a card.
        stored: bytes of its Parquet files.
    """

    facts: RepositoryFacts
    config: str | None
    rows: dict[str, int]
    opened: BuiltDataset | None
    stored: int


def find_data(
    needs: Needs,
    name: str,
    *,
    config: str | None = None,
    revision: str | None = None,
    splits: Sequence[str] = (),
) -> FoundData | None:
    """Look at a dataset that a user names, and add what was found to `needs`; None where there is none.

    Args:
        name: folder, file or Hub id.
        config: a config of it; None for its default.
        revision: on the Hub.
        splits: as `load_dataset` names them; empty for all.
    """
    try:
        if find_saved(name) is not None:
            needs.ok("data", f"{name}, saved by datasets: it is loaded as it is")
            facts = look_at(name, kind="dataset", hub=needs.hub)
            return FoundData(facts, None, {}, None, facts.bytes)
        if Path(name).expanduser().is_dir():
            return _in_folder(needs, name, config, splits)
        return _on_hub(needs, name, config, revision, splits)
    except SynvitaError as error:
        needs.failed("data", error)
        return None


def _in_folder(needs: Needs, name: str, config: str | None, splits: Sequence[str]) -> FoundData:
    opened = open_dataset(str(Path(name).expanduser()))
    chosen = opened.config_or_default(config)
    rows, patterns = _rows_of(opened, chosen, splits)
    facts = look_at(name, kind="dataset", hub=needs.hub, wanted=dataset_files(patterns))
    needs.repositories.append(facts)
    stored = sum(file.size or 0 for file in facts.files)
    in_splits = ", ".join(f"{counted(count, 'rows')} in {split}" for split, count in rows.items())
    needs.ok("data", f"{name}, config {chosen}: {in_splits}")
    return FoundData(facts, chosen, rows, opened, stored)


def _rows_of(opened: BuiltDataset, config: str, splits: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """Rows of the splits that are asked for, by the footers of their files, and the patterns of all files that are loaded."""
    import pyarrow.parquet as pq

    from ..tables.columns import parquet_errors

    rows: dict[str, int] = {}
    for split in dict.fromkeys(split_names(splits) or opened.configs[config]):
        for path in opened.files(config, split):
            with parquet_errors(path), opened.filesystem.open(path, "rb") as handle:
                footer = pq.ParquetFile(handle)
                metadata = footer.schema_arrow.metadata
                if b"schema_version" in (metadata or {}):
                    check_schema_version(metadata, file=path)
                rows[split] = rows.get(split, 0) + footer.metadata.num_rows
    return rows, [pattern for each in opened.configs[config].values() for pattern in each]


def _on_hub(
    needs: Needs, name: str, config: str | None, revision: str | None, splits: Sequence[str]
) -> FoundData | None:
    facts = look_at(name, revision, "dataset", hub=needs.hub)
    if facts.problem is not None:
        add_repository(needs, facts, "data")
        return None
    # The card says which files belong to which config.
    card = needs.hub.read_text(name, "README.md", facts.commit or revision, "dataset")
    configs: dict[str, dict[str, list[str]]] = {}
    chosen = config
    if card is not None:
        file = f"{name}/README.md"
        metadata = read_card(card, file=file).data
        configs = data_files(metadata, file=file)
    if configs:
        with located(name):
            default = default_of(metadata) or next(iter(configs))
            chosen = choose(config or default, sorted(configs), "config", error=SchemaError)
            for split in split_names(splits):
                choose(split, sorted(configs[chosen]), f"split of config {chosen!r}", error=SchemaError)
        # load_dataset prepares all splits of a config, whichever is asked for.
        patterns = [pattern for each in configs[chosen].values() for pattern in each]
        facts = look_at(name, revision, "dataset", hub=needs.hub, wanted=dataset_files(patterns))
    add_repository(needs, facts, "data")
    if not configs:
        what = "it has no card here" if card is None else "its card names no files of configs"
        needs.warn("data", f"{name}: {what}, so all its files are counted")
    return FoundData(facts, chosen, {}, None, facts.bytes)


def split_names(splits: Sequence[str]) -> list[str]:
    """The names in texts such as `train[:100]+test`, each once.

    Example:
        >>> split_names(["train[:100]+test", "train"])
        ['train', 'test']
    """
    return list(dict.fromkeys(name for each in splits for name in re.findall(r"(?:^|\+)\s*(\w+)", each)))


def add_rows(needs: Needs, found: FoundData, *, weighted: bool) -> None:
    """Add what the rows of a folder hold: synthetic videos, scores, weights.

    Args:
        found: the dataset.
        weighted: whether training computes weights from scores.
    """
    if found.opened is None or found.config is None:
        return
    for split in found.rows:
        try:
            columns = ["vqascores", "weight", "generation.sha256"]
            table = found.opened.read(found.config, split, columns)
        except (SynvitaError, KeyError, OSError) as error:
            needs.warn("rows", f"{split}: its columns cannot be read ({error})")
            continue
        videos = sum(bool(each and each["sha256"]) for each in table.column("generation").to_pylist())
        scored = sum(bool(each) for each in table.column("vqascores").to_pylist())
        weights = table.num_rows - table.column("weight").null_count
        text = (
            f"{split}: {videos:,} of {table.num_rows:,} rows have a synthetic video, {scored:,} have scores, "
            f"{weights:,} a weight"
        )
        if not videos:
            fix = "Without them L_syn and L_scr train nothing: synvita build --synthetic"
            needs.warn("rows", text, fix)
        elif not (scored if weighted else weights):
            needs.bad("rows", text, "synvita vqascore, then synvita build --vqascores")
        else:
            needs.ok("rows", text)


def add_real_videos(needs: Needs, found: FoundData, root: str | None, mapping: str | None) -> None:
    """Add how many rows of the splits find their real video, as far as the rows are on this machine.

    Args:
        found: the dataset.
        root: folder of real videos; None where none is named.
        mapping: which file is which video.
    """
    if root is None:
        needs.warn("videos", "no real_root is named: L_real trains nothing", "real_root=DIR")
        return
    try:
        videos = RealVideos(root, mapping)
    except SynvitaError as error:
        needs.failed("videos", error)
        return
    if found.opened is None or found.config is None:
        text = f"{counted(len(videos), 'video files')} under {root}; rows are matched when the data is here"
        needs.ok("videos", text)
        return
    for split in found.rows:
        rows = found.opened.read(found.config, split, list(_NAMES)).to_pylist()
        count_videos(
            needs,
            rows,
            lambda row: videos.find(str(row.pop("source")), str(row.pop("video_id")), **row),
            f"rows of {split}",
            root,
            SECONDS / len(found.rows),
        )


def datasets_cache() -> Path:
    """Where `datasets` writes its Arrow copy of what it loads; without importing it."""
    import os

    from huggingface_hub import constants

    named = os.environ.get("HF_DATASETS_CACHE")
    return Path(named) if named else Path(constants.HF_HOME) / "datasets"
