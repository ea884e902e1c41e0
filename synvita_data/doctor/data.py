"""A dataset of triplets: which config and splits, bytes to fetch and to copy, scores and videos in its rows."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..dataset.built import BuiltDataset, find_saved, open_dataset
from ..errors import SchemaError, SynvitaError, choose, located
from ..hub.card import data_files, default_of, read_card
from ..real_videos.find import RealVideos
from ..schema import check_schema_version
from .hub import HubQuestions
from .inputs import SECONDS
from .models import repository_checks
from .report import Check, Needs, check_of
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
        splits: that were asked for.
        stored: bytes of its Parquet files.
    """

    facts: RepositoryFacts
    config: str | None
    rows: dict[str, int]
    opened: BuiltDataset | None
    splits: tuple[str, ...]
    stored: int


def find_data(
    needs: Needs,
    name: str,
    *,
    config: str | None = None,
    revision: str | None = None,
    splits: Sequence[str] = (),
    hub: HubQuestions,
) -> FoundData | None:
    """Look at a dataset that a user names, and add what was found to `needs`; None where there is none.

    Args:
        needs: takes checks and repositories.
        name: folder, file or Hub id.
        config: a config of it; None for its default.
        revision: on the Hub.
        splits: as `load_dataset` names them; empty for all.
        hub: asks.
    """
    try:
        if find_saved(name) is not None:
            needs.ok("data", f"{name}, saved by datasets: it is loaded as it is")
            facts = look_at(name, kind="dataset", hub=hub)
            return FoundData(facts, None, {}, None, tuple(splits), facts.bytes)
        if Path(name).expanduser().is_dir():
            return _in_folder(needs, name, config, splits, hub)
        return _on_hub(needs, name, config, revision, splits, hub)
    except SynvitaError as error:
        needs.failed("data", error)
        return None


def _in_folder(
    needs: Needs, name: str, config: str | None, splits: Sequence[str], hub: HubQuestions
) -> FoundData:
    opened = open_dataset(str(Path(name).expanduser()))
    chosen = opened.config_or_default(config)
    rows, patterns = _rows_of(opened, chosen, splits)
    facts = look_at(name, kind="dataset", hub=hub, wanted=dataset_files(patterns))
    needs.repositories.append(facts)
    stored = sum(file.size or 0 for file in facts.files)
    counted = ", ".join(f"{count:,} rows in {split}" for split, count in rows.items())
    needs.ok("data", f"{name}, config {chosen}: {counted}")
    return FoundData(facts, chosen, rows, opened, tuple(splits), stored)


def _rows_of(opened: BuiltDataset, config: str, splits: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """Rows of the splits that are asked for, by the footers of their files, and the patterns of all files that are loaded."""
    import pyarrow.parquet as pq

    from ..tables.columns import parquet_errors

    rows: dict[str, int] = {}
    for split in dict.fromkeys(split_names(splits) or opened.configs[config]):
        for path in opened.files(config, split):
            with opened.filesystem.open(path, "rb") as handle, parquet_errors(path):
                footer = pq.ParquetFile(handle)
                metadata = footer.schema_arrow.metadata
                if b"schema_version" in (metadata or {}):
                    check_schema_version(metadata, file=path)
                rows[split] = rows.get(split, 0) + footer.metadata.num_rows
    return rows, [pattern for each in opened.configs[config].values() for pattern in each]


def _on_hub(
    needs: Needs,
    name: str,
    config: str | None,
    revision: str | None,
    splits: Sequence[str],
    hub: HubQuestions,
) -> FoundData | None:
    facts = look_at(name, revision, "dataset", hub=hub)
    if facts.problem is not None:
        needs.repositories.append(facts)
        needs.add(repository_checks(facts, "data"))
        return None
    # The card says which files belong to which config.
    card = hub.read_text(name, "README.md", facts.commit or revision, "dataset")
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
        facts = look_at(name, revision, "dataset", hub=hub, wanted=dataset_files(patterns))
    needs.repositories.append(facts)
    needs.add(repository_checks(facts, "data"))
    if not configs:
        what = "it has no card here" if card is None else "its card names no files of configs"
        needs.warn("data", f"{name}: {what}, so all its files are counted")
    return FoundData(facts, chosen, {}, None, tuple(splits), facts.bytes)


def split_names(splits: Sequence[str]) -> list[str]:
    """The names in texts such as `train[:100]+test`, each once.

    Example:
        >>> split_names(["train[:100]+test", "train"])
        ['train', 'test']
    """
    return list(dict.fromkeys(name for each in splits for name in re.findall(r"(?:^|\+)\s*(\w+)", each)))


def row_checks(found: FoundData, *, weighted: bool, synthetic: bool) -> Iterator[Check]:
    """What the rows of a folder hold: synthetic videos, scores, weights.

    Args:
        found: the dataset.
        weighted: whether training computes weights from scores.
        synthetic: whether it trains on synthetic videos.
    """
    if found.opened is None or found.config is None or not synthetic:
        return
    for split in found.rows:
        try:
            columns = ["vqascores", "weight", "generation.sha256"]
            table = found.opened.read(found.config, split, columns)
        except (SynvitaError, KeyError, OSError) as error:
            yield Check("warn", "rows", f"{split}: its columns cannot be read ({error})")
            continue
        total = table.num_rows
        videos = sum(bool(each and each["sha256"]) for each in table.column("generation").to_pylist())
        scored = sum(bool(each) for each in table.column("vqascores").to_pylist())
        weights = total - table.column("weight").null_count
        text = f"{split}: {videos:,} of {total:,} rows have a synthetic video, {scored:,} have scores, {weights:,} a weight"
        if not videos:
            yield Check(
                "warn", "rows", text, "Without them L_syn and L_scr train nothing: synvita build --synthetic"
            )
        elif not (scored if weighted else weights):
            fix = "synvita vqascore, then synvita build --vqascores"
            yield Check("bad", "rows", text, fix)
        else:
            yield Check("ok", "rows", text)


def real_video_checks(found: FoundData, root: str | None, mapping: str | None) -> Iterator[Check]:
    """How many rows of the splits find their real video, as far as the rows are on this machine.

    Args:
        found: the dataset.
        root: folder of real videos; None where none is named.
        mapping: which file is which video.
    """
    if root is None:
        yield Check("warn", "videos", "no real_root is named: L_real trains nothing", "real_root=DIR")
        return
    try:
        videos = RealVideos(root, mapping)
    except SynvitaError as error:
        yield check_of("videos", error)
        return
    if found.opened is None or found.config is None:
        yield Check(
            "ok",
            "videos",
            f"{len(videos):,} video files under {root}; rows are matched when the data is here",
        )
        return
    for split in found.rows:
        table = found.opened.read(found.config, split, list(_NAMES))
        yield rows_with_videos(videos, table.to_pylist(), split, root, SECONDS / len(found.rows))


def rows_with_videos(
    videos: RealVideos, rows: Sequence[dict[str, Any]], what: str, root: str | Path, seconds: float = SECONDS
) -> Check:
    """How many of rows find their real video.

    Args:
        videos: to look in.
        rows: with the columns that name a video.
        what: they are, for the text.
        root: as the user named it.
        seconds: after which no more rows are looked at.
    """
    found, looked, end = 0, 0, time.monotonic() + seconds
    for row in rows:
        looked += 1
        names = {key: row.get(key) for key in ("videopath", "youtube_key", "start", "end")}
        found += videos.find(str(row["source"]), str(row["video_id"]), **names) is not None
        if time.monotonic() > end:
            break
    of = f"{looked:,} rows looked at ({len(rows):,} in all)" if looked < len(rows) else f"{len(rows):,} rows"
    text = f"{what}: {found:,} of {of} find their real video under {root}"
    if not found:
        fix = "Look at the folder; a mapping names files that are called otherwise (docs/dataset.md)"
        return Check("bad", "videos", text, fix)
    if found < looked:
        return Check("warn", "videos", text, "Rows without one train on their synthetic video alone")
    return Check("ok", "videos", text)


def datasets_cache() -> Path:
    """Where `datasets` writes its Arrow copy of what it loads; without importing it."""
    import os

    from huggingface_hub import constants

    named = os.environ.get("HF_DATASETS_CACHE")
    return Path(named) if named else Path(constants.HF_HOME) / "datasets"
