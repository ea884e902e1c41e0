"""Publish a built dataset folder as a version on the Hugging Face Hub.

A version is a tag on a commit. What the tag names is decided here, by these rules:

- The configs in the folder replace those of the same name on the Hub, shard for shard.
- Configs that are only on the Hub stay, with their part of the card, the report and the quarantine
  list (`delete_missing` removes them instead). Machines can so publish one generator each.
- The config that is default on the Hub stays default, unless another is named.
- A published version never changes. Pushing the same content under its tag again does nothing.
"""

from dataclasses import dataclass
from pathlib import Path

from synvita_data.errors import HubError
from synvita_data.hub.errors import HubUnreachableError
from synvita_data.hub.front_matter import data_files, default_of, read_front_matter
from synvita_data.hub.leaks import refuse_leaks
from synvita_data.hub.repo import HubRepo, RepoState, check_version_tag, tag_exists, version_tags

from .folder import CARD, QUARANTINE, REPORT, BuiltFolder, parse_report, read_built_folder
from .release import Release, Remote, plan_release


@dataclass(frozen=True)
class Push:
    """What a push found, and did unless it was a dry run.

    Attributes:
        created: the repository was (or would be) made. published: the version was there already.
        commit: the tagged commit, None in a dry run. notes: what the user should know.
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
    try:
        if hub.has_token or not dry_run:
            hub.check_token()
        hub.check_online()
        state = hub.state()
        _check_visibility(folder, hub, state, private)
        published = state is not None and tag in state.tags
        remote = read_remote(hub, tag if published else "main") if state else None
    except HubUnreachableError as error:
        if not dry_run:
            raise
        notes.append(f"nothing was compared with the Hub: {error}")
        state, remote, published = None, None, False
    if dry_run and not hub.has_token:
        notes.append("no token: to push, set HF_TOKEN or run `hf auth login`")

    release = plan_release(
        folder, remote, repo_id=repo_id, tag=tag, delete_missing=delete_missing, default=default
    )
    if not published or release.upload:
        refuse_leaks(release.files, allow_home=allow_home_folders)
    if published and remote is not None and state is not None:
        if release.upload or release.delete:
            raise tag_exists(repo_id, tag, remote.snapshot.commit, state.tags)
    elif state and (
        newer := [t for t in version_tags(state.tags) if check_version_tag(t) > check_version_tag(tag)]
    ):
        notes.append(f"{newer[-1]} exists already and is newer than {tag}; `main` will hold {tag}")
    if remote and remote.default not in (None, release.default):
        notes.append(f"the default config changes from {remote.default} to {release.default}")

    commit = remote.snapshot.commit if published and remote else None
    if not dry_run and not published:
        commit = _publish(hub, release, tag, remote, private, allow_home_folders)
    is_private = state.private if state else private
    return Push(repo_id, tag, release, state is None, published, is_private, commit, tuple(notes))


def read_remote(hub: HubRepo, revision: str) -> Remote:
    """Card, report and quarantine list of a revision, and the list of its files."""
    snapshot = hub.snapshot(revision)

    def text(name: str) -> str | None:
        return hub.read_text(name, snapshot.commit) if name in snapshot.files else None

    card, report_text = text(CARD), text(REPORT)
    report, listed, marked = None, {}, None
    if card is not None and card.startswith("---"):
        metadata, _ = read_front_matter(card, file=f"{hub.id}/{CARD}")
        marked = default_of(metadata)
        if metadata.get("configs"):
            listed = data_files(metadata, file=f"{hub.id}/{CARD}")
    if report_text is not None:
        report = parse_report(report_text, file=f"{hub.id}/{REPORT}")
    foreign = {
        config: tuple(path for path in snapshot.files if path.startswith(f"{config}/"))
        for config in listed
        if report is None
    }
    return Remote(snapshot, report, text(QUARANTINE) or "", marked, foreign)


def _publish(
    hub: HubRepo, release: Release, tag: str, remote: Remote | None, private: bool, allow_home: bool
) -> str:
    """Make the repository if needed, change it, verify it, tag it; returns the tagged commit."""
    if remote is None:
        hub.create(private=private)
        before = hub.snapshot("main")
    else:
        before = remote.snapshot
    after = before
    if release.upload or release.delete:
        changes = f"{len(release.upload)} files" + (
            f", {len(release.delete)} removed" if release.delete else ""
        )
        after = hub.commit(
            release.upload,
            release.delete,
            message=f"Publish {tag} ({changes})",
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


def _check_visibility(folder: BuiltFolder, hub: HubRepo, state: RepoState | None, private: bool) -> None:
    if private and state is not None and not state.private:
        raise HubError(
            "the repository is public already",
            file=hub.id,
            expected="a private repository (--private)",
            fix="Make it private in its settings, or push without --private",
        )
    if folder.embeds_real_videos and not (state.private if state else private):
        raise HubError(
            "the folder embeds real videos, whose licences forbid to publish them",
            file=folder.root,
            expected="a private repository, or a dataset built without --embed-real",
            fix="Push with --private, or build again",
        )
