"""A dataset folder as `synvita build` leaves it, checked before anybody sees it.

`read_built_folder` compares what the folder promises (the card's configs and row counts, the shards
and checksums of `build.json`) with what lies in it, and says which files belong to the dataset. It
uses no network.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synvita_data.display import counted
from synvita_data.errors import SchemaError, of_type, parsing
from synvita_data.files import parse_json, resolve_under
from synvita_data.hub.card import data_files, declared_rows, matches, read_card
from synvita_data.hub.repo import LocalFile
from synvita_data.schema import check_schema_version

from ..dataset.card import VIEWER_ROW_BYTES
from ..dataset.report import CARD, QUARANTINE, REPORT

# Beside the data, the card and the report, these may be published; everything else stays here.
_EXTRAS = re.compile(r"(?:LICENSE|NOTICE)(?:\.\w+)?|CITATION\.cff|eval\.yaml|figures/[\w.-]+\.(?:png|svg)")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
# Where the Hub's viewer gives up: bytes read to show a page of rows.
VIEWER_SCAN_BYTES = 300_000_000


@dataclass(frozen=True)
class BuiltFolder:
    """A folder that passed every check.

    Attributes:
        root: the folder.
        card: text of README.md.
        report: `build.json`.
        report_text: its text.
        quarantine: text of `quarantine.jsonl`, if any.
        data: shard path -> file, all configs.
        extras: other files to publish (licence, figures).
        left_out: what lies in the folder and is not published (work in progress, hidden files).
        warnings: what the Hub's viewer, or a reader of the card, will not see.
    """

    root: Path
    card: str
    report: dict[str, Any]
    report_text: str
    quarantine: str | None
    data: dict[str, LocalFile]
    extras: tuple[LocalFile, ...]
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def configs(self) -> tuple[str, ...]:
        return tuple(self.report["configs"])

    @property
    def embeds_real_videos(self) -> bool:
        """Built with `--embed-real`: the sources' licences forbid to redistribute what it holds."""
        return any(record["options"]["embed_real"] for record in self.report["configs"].values())


def read_built_folder(root: Path) -> BuiltFolder:
    """Check a built dataset and list what belongs to it.

    Every shard is read once, for its checksum; videos are not decoded.

    Raises:
        SchemaError: no card or report; a shard that is missing, incomplete, damaged, of another
            schema version or named by no config; row counts that disagree.
        UnsafePathError: a name in the report, or a symlink, leads out of the folder.
    """
    if not root.is_dir():
        raise SchemaError(
            "the folder does not exist", file=root, fix="Build the dataset with `synvita build`"
        )
    card, report_text = _read(root, CARD), _read(root, REPORT)
    report = parse_report(report_text, file=str(root / REPORT))
    _refuse_templates(report, root)
    names = _files_below(root)
    warnings: list[str] = []

    # Every shard that the report names.
    data: dict[str, LocalFile] = {}
    for config, record in report["configs"].items():
        for split, part in record["splits"].items():
            _check_complete(root, config, split, [shard["file"] for shard in part["shards"]])
            for shard in part["shards"]:
                path = f"{config}/{shard['file']}"
                data[path] = _check_shard(root, path, shard, warnings)
            _equal(sum(s["rows"] for s in part["shards"]), part["rows"], f"rows of {config}/{split}", root)
        if over := record["rows_over_viewer_limit"]:
            warnings.append(
                f"config {config!r}: {counted(over, 'rows are')} over {VIEWER_ROW_BYTES / 1e6:.0f} MB (the largest "
                f"{record['largest_row_bytes'] / 1e6:.1f} MB): the Hub's viewer may not show them"
            )
        warnings += _of_authors(config, record.get("authors_videos") or {})

    # Whatever else lies there.
    visible = [name for name in names if not any(part.startswith(".") for part in name.split("/"))]
    if stray := [name for name in visible if name.endswith(".parquet") and name not in data]:
        raise SchemaError(
            "a Parquet file belongs to no config of build.json",
            file=root / stray[0],
            found=f"{len(stray)} such files",
            fix="It is left over from another build: move it away",
        )
    check_card(card, report, file=str(root / CARD))
    extras = [name for name in visible if _EXTRAS.fullmatch(name)]
    published = {CARD, REPORT, QUARANTINE, *data, *extras}
    warnings += [
        f"the card shows {image}, which is not in the folder (`synvita inspect` draws the figures)"
        for image in re.findall(r"!\[[^\]]*\]\(((?!\w+:)[^)\s]+)\)", card)
        if image not in published
    ]
    return BuiltFolder(
        root=root,
        card=card,
        report=report,
        report_text=report_text,
        quarantine=_read(root, QUARANTINE) if QUARANTINE in names else None,
        data=data,
        extras=tuple(LocalFile(name, root / name) for name in extras),
        left_out=_summary(name for name in names if name not in published),
        warnings=tuple(warnings),
    )


def parse_report(text: str, *, file: str) -> dict[str, Any]:
    """`build.json` as a dictionary that has what publishing reads of it; `SchemaError` otherwise."""
    with parsing(
        "the report of the build cannot be read",
        file=file,
        expected="build.json as `synvita build` of this version writes it",
        fix="Build the dataset again",
    ):
        report: dict[str, Any] = parse_json(text)
        version = str(report["schema_version"])
        for config, record in report["configs"].items():
            _check_names(config, record["splits"])
            _ = record["options"]["embed_real"], record["rows_over_viewer_limit"], record["largest_row_bytes"]
            _ = list(_settings(record))
            for split in record["splits"].values():
                _ = split["rows"]
                _ = [(s["file"], int(s["rows"]), int(s["bytes"]), s["sha256"]) for s in split["shards"]]
    check_schema_version({b"schema_version": version.encode()}, file=file)
    if not report["configs"]:
        raise SchemaError("the report of the build lists no config", file=file)
    return report


def _of_authors(config: str, videos: Mapping[str, Any]) -> list[str]:
    """What to think of before synthetic videos of others are published, or rows that refer to them."""
    notes = []
    if videos.get("referred") and "repository" not in videos:
        notes.append(
            f"{counted(videos['referred'], 'rows')} of config {config!r} refer to videos in a folder of yours, "
            f"{videos['folder']}: readers need a copy of it (synthetic_root=DIR)"
        )
    if videos.get("embedded"):
        notes.append(
            f"config {config!r} holds {counted(videos['embedded'], 'videos')} of others; the licence found with them: "
            f"{videos['licence'] or 'none stated'}"
        )
    return notes


def _refuse_templates(report: Mapping[str, Any], root: Path) -> None:
    """Earlier versions wrote the words of a `command:` template, keys and folders included, into what is published."""
    for config, record in report["configs"].items():
        spec = str(record["options"].get("synthetic"))
        in_settings = any('"template"' in text and "{prompts}" in text for text in _settings(record))
        if in_settings or (spec.startswith("command:") and "{" in spec):
            raise SchemaError(
                f"config {config!r} was built by a version that published the template of a program, with all its words",
                file=root / REPORT,
                expected="the program's name and a digest",
                fix="Run the same `synvita build` again: no video is made twice",
            )


def _settings(record: Mapping[str, Any]) -> Iterator[str]:
    """The settings of a config's generators, as JSON."""
    for used in record.get("generators", {}).values():
        for text in used.get("configs", ()):
            yield of_type(text, str)


def _check_names(config: str, splits: Mapping[str, Any]) -> None:
    """Raise ValueError for names that are no folder, file or YAML key of ours: the Hub's report is anybody's."""
    for name in (config, *splits, *(shard["file"] for part in splits.values() for shard in part["shards"])):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name of a config, split or shard")


def check_card(card: str, report: Mapping[str, Any], *, file: str) -> None:
    """Raise unless the card gives every config the shards that the report gives it, and counts their rows.

    A config of the card that the report does not have (`all`) may gather shards of the others.
    """
    metadata = read_card(card, file=file).data
    listed, counts = data_files(metadata, file=file), declared_rows(metadata, file=file)
    # Path -> rows, for all shards and for those of a config's split.
    rows: dict[str, int] = {}
    own: dict[tuple[str, str], dict[str, int]] = {}
    for config, record in report["configs"].items():
        for split, part in record["splits"].items():
            own[config, split] = {f"{config}/{shard['file']}": shard["rows"] for shard in part["shards"]}
            rows |= own[config, split]
        _equal(
            sorted(listed.get(config, {})),
            sorted(record["splits"]),
            f"splits of config {config!r} in the card",
            file,
        )
    for config, splits in listed.items():
        for split, patterns in splits.items():
            covered = sorted(path for path in rows if any(matches(pattern, path) for pattern in patterns))
            if not covered:
                raise SchemaError(
                    f"the card's config {config!r} names files that are not there",
                    file=file,
                    expected=f"{split}: {', '.join(patterns)}",
                )
            if config in report["configs"]:
                _equal(covered, sorted(own[config, split]), f"files of {config}/{split} in the card", file)
            total, declared = sum(rows[path] for path in covered), counts.get(config, {}).get(split)
            _equal(declared, total, f"dataset_info's num_examples of {config}/{split}", file)


def _read(root: Path, name: str) -> str:
    path = root / name
    if not path.is_file():
        raise SchemaError(
            f"not a finished dataset: {name} is missing",
            file=root,
            fix="Run `synvita build` to its end (the same command continues a broken build)",
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SchemaError("not UTF-8 text", file=path, found=str(error)) from error


def _files_below(root: Path) -> list[str]:
    """Every file, relative to `root` with '/' between folders; links out of it are refused."""
    names = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if not path.is_dir()]
    for name in names:
        if not name.startswith("."):  # what lies in .work/ is never opened
            resolve_under(root, name)
    return names


def _check_complete(root: Path, config: str, split: str, shards: list[str]) -> None:
    count = len(shards)
    expected = [f"{split}-{index:05d}-of-{count:05d}.parquet" for index in range(count)]
    if sorted(shards) != expected:
        wrong = next((name for name in shards if name not in expected), f"{count} shards")
        raise SchemaError(
            f"the shards of {config}/{split} are not one complete set",
            file=root / REPORT,
            found=wrong,
            expected=f"{expected[0]} … {expected[-1]}" if expected else "at least one shard",
        )


def _check_shard(root: Path, path: str, shard: Mapping[str, Any], warnings: list[str]) -> LocalFile:
    """The shard as a file to publish, with its checksum and Parquet footer compared to the report."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    local = resolve_under(root, path, file=root / REPORT)
    if not local.is_file():
        raise SchemaError("a shard is missing", file=local, fix="Run the same `synvita build` again")
    file = LocalFile(path, local)
    _equal(file.size, shard["bytes"], "bytes of a shard", local)
    try:
        footer = pq.read_metadata(local)
    except (pa.ArrowException, OSError) as error:
        raise SchemaError("not a readable Parquet file", file=local, found=str(error)) from error
    check_schema_version(footer.metadata, file=str(local))
    _equal(footer.num_rows, shard["rows"], "rows of a shard", local)
    _equal(file.sha256, shard["sha256"], "SHA-256 of a shard", local)
    for index in range(footer.num_row_groups):
        group = footer.row_group(index)
        size = sum(group.column(c).total_compressed_size for c in range(group.num_columns))
        if size > VIEWER_SCAN_BYTES:
            warnings.append(
                f"row group {index} of {path} has {size / 2**20:.0f} MiB: the Hub's viewer stops at "
                f"{VIEWER_SCAN_BYTES / 2**20:.0f} MiB"
            )
    return file


def _equal(found: Any, expected: Any, what: str, file: Path | str) -> None:
    if found != expected:
        raise SchemaError(
            f"{what}: not what build.json says",
            file=file,
            found=str(found),
            expected=str(expected),
            fix="Something changed after the build: run the same `synvita build` again",
        )


def _summary(names: Iterable[str]) -> tuple[str, ...]:
    """Files and hidden folders, one line each: `.work/ (12 files)`."""
    tops = Counter(f"{n.split('/')[0]}/" if n.startswith(".") and "/" in n else n for n in names)
    return tuple(
        f"{top} ({n} files)" if n > 1 or top.endswith("/") else top for top, n in sorted(tops.items())
    )
