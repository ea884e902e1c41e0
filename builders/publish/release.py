"""What a new version of a dataset on the Hub consists of: pure planning, no network.

The rules are in the docstring of `publish.py`.
"""

import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from synvita_data.display import json_text
from synvita_data.errors import HubError, SchemaError
from synvita_data.hub.front_matter import data_files, default_of, read_front_matter, with_default
from synvita_data.hub.repo import LocalFile, Snapshot

from ..dataset.card import ALL_CONFIG, default_config, render_card
from .folder import CARD, QUARANTINE, REPORT, BuiltFolder, check_card


@dataclass(frozen=True)
class Remote:
    """What a revision on the Hub holds, as far as a new version depends on it.

    Attributes:
        default: its default config. foreign: configs that no `build.json` describes, with their files.
    """

    snapshot: Snapshot
    report: dict[str, Any] | None
    quarantine: str
    default: str | None
    foreign: dict[str, tuple[str, ...]]

    @property
    def configs(self) -> tuple[str, ...]:
        return tuple(self.report["configs"]) if self.report else tuple(self.foreign)


@dataclass(frozen=True)
class Release:
    """Everything a version consists of, and what must change on the Hub to get there.

    Attributes:
        files: the files that come from the folder, data first and the card last.
        upload, unchanged: the same files, parted by whether the Hub's head has them already.
        delete: paths to remove. kept, removed: configs that are only on the Hub.
        configs: all configs of the version, as `load_dataset` names them.
    """

    files: tuple[LocalFile, ...]
    upload: tuple[LocalFile, ...]
    unchanged: tuple[LocalFile, ...]
    delete: tuple[str, ...]
    kept: tuple[str, ...]
    removed: tuple[str, ...]
    configs: tuple[str, ...]
    default: str


def plan_release(
    folder: BuiltFolder,
    remote: Remote | None,
    *,
    repo_id: str,
    tag: str,
    delete_missing: bool = False,
    default: str | None = None,
) -> Release:
    """Work out the files of a version and the changes it needs; touches nothing."""
    only_remote = tuple(
        name for name in (remote.configs if remote else ()) if name not in (*folder.configs, ALL_CONFIG)
    )
    kept = () if delete_missing else only_remote
    report, quarantine = folder.report, folder.quarantine
    if kept and remote is not None:
        if remote.report is None:
            raise HubError(
                "the repository holds configs that `synvita push` did not publish",
                file=repo_id,
                found=", ".join(kept),
                fix="Use another repository, or remove them with --delete-missing",
            )
        report = _merged_report(folder.report, remote.report, kept)
        quarantine = _merged_quarantine(folder.quarantine or "", remote.quarantine, kept)
        _check_kept_files(remote.snapshot, remote.report, kept, repo_id)

    names = [*sorted(report["configs"]), *([ALL_CONFIG] if len(report["configs"]) > 1 else [])]
    chosen = _choose_default(folder, report, remote, names, default)
    card = _card(folder, report, repo_id=repo_id, tag=tag, default=chosen, kept=kept)
    check_card(card, report, file=CARD)
    files = [*folder.data.values(), *folder.extras]
    if quarantine is not None:
        files.append(LocalFile(QUARANTINE, quarantine.encode()))
    files.append(LocalFile(REPORT, _dump(report, folder).encode()))
    files.append(LocalFile(CARD, card.encode()))

    there = remote.snapshot.files if remote else {}
    metadata, _ = read_front_matter(card, file=CARD)
    same = {file.path for file in files if file.equals(there.get(file.path))}
    return Release(
        files=tuple(files),
        upload=tuple(file for file in files if file.path not in same),
        unchanged=tuple(file for file in files if file.path in same),
        delete=_obsolete(files, remote, folder.configs, only_remote if delete_missing else (), kept),
        kept=kept,
        removed=only_remote if delete_missing else (),
        configs=tuple(data_files(metadata, file=CARD)),
        default=chosen,
    )


def _choose_default(
    folder: BuiltFolder,
    report: dict[str, Any],
    remote: Remote | None,
    names: Sequence[str],
    wanted: str | None,
) -> str:
    """The named config, else the Hub's default, else the card's, else that of `synvita build`."""
    metadata, _ = read_front_matter(folder.card, file=str(folder.root / CARD))
    known = {*names, *data_files(metadata, file=str(folder.root / CARD))}
    if wanted is not None:
        if wanted not in known:
            raise HubError(
                "no such config to be the default",
                found=wanted,
                expected=f"one of {', '.join(sorted(known))}",
            )
        return wanted
    candidates = (remote.default if remote else None, default_of(metadata))
    return next((name for name in candidates if name in known), None) or default_config(report["configs"])


def _card(
    folder: BuiltFolder,
    report: dict[str, Any],
    *,
    repo_id: str,
    tag: str,
    default: str,
    kept: Sequence[str],
) -> str:
    """The card as built, made again for this repository and version; one edited by hand as it is."""
    if _is_as_built(folder):
        return render_card(report, repo_id, default=default, version=tag)
    if kept:
        raise HubError(
            "the card was edited by hand, and the Hub has configs that it does not describe",
            file=folder.root / CARD,
            found=", ".join(kept),
            fix="Build those configs into the same folder, or remove them from the Hub with --delete-missing",
        )
    return with_default(folder.card, default, file=str(folder.root / CARD))


def _is_as_built(folder: BuiltFolder) -> bool:
    try:
        return _bare(folder.card) == _bare(render_card(folder.report))
    except (KeyError, TypeError):  # a report of another version of this package: its card stays as it is
        return False


def _bare(card: str) -> str:
    """A card without what only keeps text from being taken for markup: earlier versions escaped less."""
    return re.sub(r"[\s\\`]|-{3}", "", html.unescape(card))


def _merged_report(local: dict[str, Any], remote: dict[str, Any], kept: Sequence[str]) -> dict[str, Any]:
    if local["schema_version"] != remote["schema_version"]:
        raise SchemaError(
            "the Hub's other configs are of another schema version",
            file=REPORT,
            found=f"{remote['schema_version']} ({', '.join(kept)})",
            expected=str(local["schema_version"]),
            fix="Build them again too, or remove them with --delete-missing",
        )
    configs = {**{name: remote["configs"][name] for name in kept}, **local["configs"]}
    return {**local, "configs": dict(sorted(configs.items()))}


def _merged_quarantine(local: str, remote: str, kept: Sequence[str]) -> str:
    lines = [line for line in remote.splitlines() if json.loads(line).get("config") in kept]
    return "".join(f"{line}\n" for line in lines) + local


def _dump(report: dict[str, Any], folder: BuiltFolder) -> str:
    """The report as text: the folder's own bytes unless other configs joined it."""
    if report is folder.report:
        return (folder.root / REPORT).read_text(encoding="utf-8")
    return json_text(report, indent=1, sort_keys=True) + "\n"


def _check_kept_files(snapshot: Snapshot, report: dict[str, Any], kept: Sequence[str], repo_id: str) -> None:
    """Kept configs must be whole on the Hub: a version is never tagged with holes."""
    for config in kept:
        for split in report["configs"][config]["splits"].values():
            for shard in split["shards"]:
                path = f"{config}/{shard['file']}"
                there = snapshot.files.get(path)
                if there is None or there.sha256 not in (None, shard["sha256"]):
                    raise HubError(
                        f"config {config!r} is damaged on the Hub",
                        file=f"{repo_id}/{path}",
                        found="no such file" if there is None else f"sha256 {there.sha256}",
                        expected=f"sha256 {shard['sha256']}",
                        fix="Push that config again, or remove it with --delete-missing",
                    )


def _obsolete(
    files: Sequence[LocalFile],
    remote: Remote | None,
    local: Sequence[str],
    removed: Sequence[str],
    kept: Sequence[str],
) -> tuple[str, ...]:
    """Files on the Hub that would contradict the new version; files of nobody's config are left alone."""
    if remote is None:
        return ()
    new = {file.path for file in files}
    folders = tuple(f"{config}/" for config in local)
    gone = tuple(f"{config}/" for config in removed)
    return tuple(
        path
        for path in sorted(remote.snapshot.files)
        if path not in new
        and (
            (path.startswith(folders) and path.endswith(".parquet"))
            or (gone and path.startswith(gone))
            or (path.startswith("figures/") and not kept)
            or (path == QUARANTINE)
        )
    )
