"""Publish a built dataset folder as a version on the Hugging Face Hub.

A version is a tag on a commit. What the tag names is decided here, by these rules:

- The configs in the folder replace those of the same name on the Hub, shard for shard.
- Configs that are only on the Hub stay, with their part of the card, the report and the quarantine
  list (`delete_missing` removes them instead). Machines can so publish one generator each.
- The config that is default on the Hub stays default, unless another is named.
- A published version never changes. Pushing the same content under its tag again does nothing.

`plan_release` works out what a version consists of and touches nothing; `push` does it.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synvita_data.errors import OTHER_FORM, HubError, SchemaError, choose
from synvita_data.files import parse_json
from synvita_data.hub.card import data_files, default_of, read_card, with_default
from synvita_data.hub.leaks import refuse_leaks
from synvita_data.hub.repo import (
    HubRepo,
    HubUnreachableError,
    LocalFile,
    RepoState,
    Snapshot,
    check_version_tag,
    tag_exists,
    version_tags,
)

from ..dataset.card import ALL_CONFIG, default_config, render_card
from ..dataset.report import CARD, QUARANTINE, REPORT, dump_json
from .folder import BuiltFolder, check_card, parse_report, read_built_folder


@dataclass(frozen=True)
class Remote:
    """What a revision on the Hub holds, as far as a new version depends on it.

    Attributes:
        snapshot: its files.
        report: its `build.json`.
        quarantine: text of its `quarantine.jsonl`.
        default: its default config.
        foreign: configs that no `build.json` describes, with their files.
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
        delete: paths to remove.
        kept, removed: configs that are only on the Hub.
        configs: all configs of the version, as `load_dataset` names them.
        default: which of them it takes where none is named.
    """

    files: tuple[LocalFile, ...]
    upload: tuple[LocalFile, ...]
    unchanged: tuple[LocalFile, ...]
    delete: tuple[str, ...]
    kept: tuple[str, ...]
    removed: tuple[str, ...]
    configs: tuple[str, ...]
    default: str


@dataclass(frozen=True)
class Push:
    """What a push found, and did unless it was a dry run.

    Attributes:
        repo_id, tag: the version.
        release: what it consists of.
        created: the repository was (or would be) made.
        published: the version was there already.
        private: the repository is (or would be) private.
        commit: the tagged commit, None in a dry run.
        notes: what the user should know.
    """

    repo_id: str
    tag: str
    release: Release
    created: bool
    published: bool
    private: bool
    commit: str | None
    notes: tuple[str, ...]

    def how_to_load(self) -> list[str]:
        """One line of Python for each config, the default first."""
        names = sorted(self.release.configs, key=lambda name: (name != self.release.default, name))
        return [f'load_dataset("{self.repo_id}", "{name}", revision="{self.tag}")' for name in names]


def push(
    root: Path,
    repo_id: str,
    tag: str,
    *,
    private: bool = False,
    dry_run: bool = False,
    delete_missing: bool = False,
    default: str | None = None,
    token: str | None = None,
    allow_home_folders: bool = False,
) -> Push:
    """Publish the dataset folder `root` as version `tag` of `repo_id`.

    The folder is checked before the network is touched, the tag before anything is sent and again
    when everything is there. A push that broke continues when it is called again: files that
    arrived are not sent twice, and a commit that arrived is only tagged.

    Args:
        private: make the repository private if it does not exist; refuse one that is public.
        dry_run: change nothing; without a network the folder is checked and nothing compared.
        delete_missing: remove configs that the Hub has and the folder has not.
        default: the config that `load_dataset(repo_id)` takes from now on.
        allow_home_folders: publish what looks like a home folder; see `leaks`.

    Raises:
        SchemaError: the folder is not a complete built dataset.
        LeakError: something in it looks like a token or a place on somebody's machine.
        HubError: the tag is not `vX.Y.Z` or taken, the token or the network fails, or the
            repository holds what must not be overwritten.
    """
    check_version_tag(tag)
    hub = HubRepo(repo_id, token=token)
    folder = read_built_folder(root)
    notes = list(folder.warnings)
    if folder.left_out:
        notes.append(f"not published: {', '.join(folder.left_out)}")

    # What the Hub holds now.
    state, remote, published = None, None, False
    try:
        if hub.has_token or not dry_run:
            hub.check_token()
        hub.check_online()
        state = hub.state()
        _check_visibility(folder, hub, state, private)
        if state is not None:
            published = tag in state.tags
            remote = _read_remote(hub, tag if published else "main")
    except HubUnreachableError as error:
        if not dry_run:
            raise
        notes.append(f"nothing was compared with the Hub: {error}")
        state, remote, published = None, None, False  # also where the connection broke half-way
    if dry_run and not hub.has_token:
        notes.append("no token: to push, set HF_TOKEN or run `hf auth login`")

    # What the version consists of, and whether it may be published.
    release = plan_release(
        folder, remote, repo_id=repo_id, tag=tag, delete_missing=delete_missing, default=default
    )
    if not published or release.upload:
        refuse_leaks(release.files, allow_home=allow_home_folders)
    tags = state.tags if state else {}
    newer = [each for each in version_tags(tags) if check_version_tag(each) > check_version_tag(tag)]
    if published and remote is not None:
        if release.upload or release.delete:
            raise tag_exists(repo_id, tag, remote.snapshot.commit, tags)
    elif newer:
        notes.append(f"{newer[-1]} exists already and is newer than {tag}; `main` will hold {tag}")
    if remote and remote.default not in (None, release.default):
        notes.append(f"the default config changes from {remote.default} to {release.default}")

    commit = remote.snapshot.commit if published and remote else None
    if not dry_run and not published:
        if remote is None:
            hub.create(private=private)
        before = remote.snapshot if remote else hub.snapshot("main")
        commit = _publish(hub, release, tag, before, allow_home_folders)
    is_private = state.private if state else private
    return Push(repo_id, tag, release, state is None, published, is_private, commit, tuple(notes))


def _check_visibility(folder: BuiltFolder, hub: HubRepo, state: RepoState | None, private: bool) -> None:
    hub.check_visibility(state, private=private)
    if folder.embeds_real_videos and not (state.private if state else private):
        raise HubError(
            "the folder embeds real videos, whose licences forbid to publish them",
            file=folder.root,
            expected="a private repository, or a dataset built without --embed-real",
            fix="Push with --private, or build again",
        )


def _read_remote(hub: HubRepo, revision: str) -> Remote:
    """Card, report and quarantine list of a revision, and the list of its files."""
    snapshot = hub.snapshot(revision)
    card, report_text, quarantine = (
        hub.read_text(name, snapshot.commit) if name in snapshot.files else None
        for name in (CARD, REPORT, QUARANTINE)
    )
    report = None if report_text is None else parse_report(report_text, file=f"{hub.id}/{REPORT}")
    default, foreign = None, {}
    if card is not None and card.startswith("---"):
        metadata = read_card(card, file=f"{hub.id}/{CARD}").data
        default = default_of(metadata)
        listed = data_files(metadata, file=f"{hub.id}/{CARD}") if metadata.get("configs") else {}
        foreign = {
            config: tuple(path for path in snapshot.files if path.startswith(f"{config}/"))
            for config in (listed if report is None else ())
        }
    return Remote(snapshot, report, quarantine or "", default, foreign)


def _publish(hub: HubRepo, release: Release, tag: str, before: Snapshot, allow_home: bool) -> str:
    """Change the repository, verify it, tag it; returns the tagged commit."""
    after = before
    if release.upload or release.delete:
        removed = f", {len(release.delete)} removed" if release.delete else ""
        after = hub.commit(
            release.upload,
            release.delete,
            message=f"Publish {tag} ({len(release.upload)} files{removed})",
            parent=before.commit,
            allow_home=allow_home,
        )
    if wrong := [file.path for file in release.files if not file.equals(after.files.get(file.path))]:
        raise HubError(
            "the Hub does not hold every file of the version; it was not tagged",
            file=hub.id,
            found=", ".join(wrong),
            fix="Push again",
        )
    hub.tag(tag, after.commit)
    return after.commit


# --- the plan --------------------------------------------------------------------------------------


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
    ours = (*folder.configs, ALL_CONFIG)
    only_remote = tuple(name for name in (remote.configs if remote else ()) if name not in ours)
    kept, removed = ((), only_remote) if delete_missing else (only_remote, ())
    report, report_text, quarantine = folder.report, folder.report_text, folder.quarantine
    if kept and remote is not None:
        if remote.report is None:
            raise HubError(
                "the repository holds configs that `synvita push` did not publish",
                file=repo_id,
                found=", ".join(kept),
                fix="Use another repository, or remove them with --delete-missing",
            )
        report = _merged_report(folder.report, remote.report, kept)
        _check_kept_files(remote.snapshot, remote.report, kept, repo_id)
        report_text = dump_json(report)
        lines = [line for line in remote.quarantine.splitlines() if parse_json(line).get("config") in kept]
        quarantine = "".join(f"{line}\n" for line in lines) + (folder.quarantine or "")

    # The default: the named config, else the Hub's, else the card's, else that of `synvita build`.
    place = str(folder.root / CARD)
    metadata = read_card(folder.card, file=place).data
    known = {*report["configs"], *data_files(metadata, file=place)}
    known |= {ALL_CONFIG} if len(report["configs"]) > 1 else set()
    if default is not None:
        choose(default, sorted(known), "config", error=HubError)
    candidates = (default, remote.default if remote else None, default_of(metadata))
    chosen = next((name for name in candidates if name in known), None) or default_config(report["configs"])

    # The card as built is made again for this repository and version; one edited by hand stays as it is.
    if _is_as_built(folder):
        card = render_card(report, repo_id, default=chosen, version=tag)
    elif kept:
        raise HubError(
            "the card was edited by hand, and the Hub has configs that it does not describe",
            file=place,
            found=", ".join(kept),
            fix="Build those configs into the same folder, or remove them from the Hub with --delete-missing",
        )
    else:
        card = with_default(folder.card, chosen, file=place)
    check_card(card, report, file=CARD)

    texts = {QUARANTINE: quarantine, REPORT: report_text, CARD: card}
    files = [*folder.data.values(), *folder.extras]
    files += [LocalFile(name, text.encode()) for name, text in texts.items() if text is not None]
    there = remote.snapshot.files if remote else {}
    same = {file.path for file in files if file.equals(there.get(file.path))}
    gone = set(there) - {file.path for file in files}
    return Release(
        files=tuple(files),
        upload=tuple(file for file in files if file.path not in same),
        unchanged=tuple(file for file in files if file.path in same),
        delete=tuple(path for path in sorted(gone) if _is_obsolete(path, folder.configs, removed, kept)),
        kept=kept,
        removed=removed,
        configs=tuple(data_files(read_card(card, file=CARD).data, file=CARD)),
        default=chosen,
    )


def _is_obsolete(path: str, ours: Sequence[str], removed: Sequence[str], kept: Sequence[str]) -> bool:
    """Whether a file on the Hub would contradict the new version; files of nobody's config are left alone."""
    config = path.partition("/")[0] if "/" in path else None
    if path.startswith("figures/"):
        return not kept
    return (config in ours and path.endswith(".parquet")) or config in removed or path == QUARANTINE


def _is_as_built(folder: BuiltFolder) -> bool:
    try:
        return _bare(folder.card) == _bare(render_card(folder.report))
    except OTHER_FORM:  # a report of another version of this package: its card stays as it is
        return False


def _bare(card: str) -> str:
    """A card without what only keeps text from being taken for markup: earlier versions escaped less."""
    return re.sub(r"[\s\\`]|-{3}", "", html.unescape(card))


def _merged_report(local: dict[str, Any], remote: dict[str, Any], kept: Sequence[str]) -> dict[str, Any]:
    here, there = (str(report["schema_version"]) for report in (local, remote))
    if here.split(".")[0] != there.split(".")[0]:
        raise SchemaError(
            "the Hub's other configs are of another schema version",
            file=REPORT,
            found=f"{there} ({', '.join(kept)})",
            expected=here,
            fix="Build them again too, or remove them with --delete-missing",
        )
    configs = {**{name: remote["configs"][name] for name in kept}, **local["configs"]}
    # Of 1.0 and 1.1 the later: a config without the later one's columns has null in them.
    version = max(here, there, key=lambda text: [int(part) for part in text.split(".")])
    return {**local, "schema_version": version, "configs": dict(sorted(configs.items()))}


def _check_kept_files(snapshot: Snapshot, report: dict[str, Any], kept: Sequence[str], repo_id: str) -> None:
    """Kept configs must be whole on the Hub: a version is never tagged with holes."""
    shards = (
        (config, shard)
        for config in kept
        for split in report["configs"][config]["splits"].values()
        for shard in split["shards"]
    )
    for config, shard in shards:
        path = f"{config}/{shard['file']}"
        there = snapshot.files.get(path)
        if there is None or there.sha256 not in (None, shard["sha256"]):
            raise HubError(
                f"config {config!r} is damaged on the Hub",
                file=f"{repo_id}/{path}",
                found="the file is missing" if there is None else f"sha256 {there.sha256}",
                expected=f"sha256 {shard['sha256']}",
                fix="Push that config again, or remove it with --delete-missing",
            )
