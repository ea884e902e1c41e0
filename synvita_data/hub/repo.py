"""One repository of the Hugging Face Hub: look at it, change it in one commit, tag a version.

This is the layer under `synvita push` (datasets) and under everything else that publishes (results,
models, Spaces). It adds three things to `huggingface_hub`: errors that a user can act on, uploads
that continue where they broke, and versions that never move.

How an upload continues: large files are sent first, in batches, and the Hub knows them by content
(SHA-256 with LFS, chunks with Xet), so what arrived is not sent again; the commit that makes them
visible is atomic. A version is a tag set on a commit after its files were compared with the local ones.

Importing this module imports `huggingface_hub`, which reads HF_ENDPOINT at that moment.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    constants,
    get_token,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from ..errors import HubError, parsing
from ..files import sha256_file
from .leaks import refuse_leaks
from .problems import HubRequest, HubUnreachableError, hub_problem, telling_cause
from .reach import REPO_ID, bound_waits, note_renamed, offline, transport

# What huggingface_hub and its transport raise.
_FAILURES = (
    OfflineModeIsEnabled,
    HFValidationError,
    transport().HTTPError,  # the base of HfHubHTTPError too
    OSError,  # Xet's errors; a local file that vanished
    RuntimeError,  # huggingface_hub wraps the failure of a single file
    ValueError,  # metadata of the card that the Hub refuses
)

# Files changed by one commit. The Hub's advice is fewer than 100; huggingface_hub's own uploader
# starts at 250. More files than this become several commits, of which only the last is tagged.
COMMIT_FILES = 250
# Large files sent before the Hub is told that they are complete: a broken upload loses one batch at most.
BATCH_FILES = 50
BATCH_BYTES = 5 << 30

_VERSION = re.compile(r"v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_DIGEST = re.compile("[0-9a-f]{64}")


def check_version_tag(tag: str) -> tuple[int, int, int]:
    """The numbers of a version tag `vX.Y.Z`; `HubError` for any other form."""
    match = _VERSION.fullmatch(tag)
    if match is None:
        raise HubError(
            "a version tag does not have the form of a semantic version",
            found=tag,
            expected="vX.Y.Z without leading zeros, such as v0.1.0",
        )
    return int(match[1]), int(match[2]), int(match[3])


def version_tags(tags: Iterable[str]) -> list[str]:
    """Those of `tags` that are versions, oldest first by number (not by date)."""
    return sorted((tag for tag in tags if _VERSION.fullmatch(tag)), key=check_version_tag)


@dataclass(frozen=True)
class RemoteFile:
    """A file in a commit. `sha256` is known for files in large file storage, None for the others."""

    size: int
    blob_id: str
    sha256: str | None


@dataclass(frozen=True)
class Snapshot:
    """A commit and all its files by path."""

    commit: str
    files: dict[str, RemoteFile]


@dataclass(frozen=True)
class RepoState:
    """What a repository is at one moment: visibility, head of `main`, and tag name to commit."""

    private: bool
    head: str
    tags: dict[str, str]


@dataclass(frozen=True)
class LocalFile:
    """A file to publish as `path`: a file on disk, or bytes made on the way."""

    path: str
    source: Path | bytes

    @cached_property
    def size(self) -> int:
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    @cached_property
    def sha256(self) -> str:
        """Read once and kept: comparing, uploading and verifying all need it."""
        if isinstance(self.source, bytes):
            return hashlib.sha256(self.source).hexdigest()
        return sha256_file(self.source)

    @cached_property
    def blob_id(self) -> str:
        """Git's id of the content, by which the Hub lists files outside large file storage."""
        content = self.source if isinstance(self.source, bytes) else self.source.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()

    def equals(self, remote: RemoteFile | None) -> bool:
        """Whether the Hub's file has this content; reads the local file only when the sizes agree."""
        if remote is None or remote.size != self.size:
            return False
        return remote.blob_id == self.blob_id if remote.sha256 is None else remote.sha256 == self.sha256


class HubRepo:
    """A repository on the Hub that HF_ENDPOINT names (huggingface.co unless set).

    Args:
        repo_id: `owner/name`.
        repo_type: `dataset`, `model` or `space`.
        token: an access token; None for HF_TOKEN or the one that `hf auth login` stored.

    Every method raises `HubError`, and nothing else, when the Hub or the way to it fails. `commit` looks for leaks first.
    """

    def __init__(self, repo_id: str, *, repo_type: str = "dataset", token: str | None = None) -> None:
        if not REPO_ID.fullmatch(repo_id) or ".." in repo_id or "--" in repo_id:
            raise HubError(
                "not the name of a repository",
                found=repo_id,
                expected="OWNER/NAME in letters, digits, '-', '_' and '.', such as synvita/videocon-syn",
            )
        bound_waits()
        self.id, self.type = repo_id, repo_type
        self.endpoint = constants.ENDPOINT
        self.has_token = bool(token or get_token())
        self._api = HfApi(endpoint=self.endpoint, token=token or None, library_name="synvita-data")

    def check_token(self) -> str:
        """The name of the account the token belongs to; an error without a valid token that may write.

        A token with the role `read` is refused here. Whether a fine-grained token may write to this
        repository is known only when it is tried.
        """
        self.check_online()
        if not self.has_token:
            raise HubError("no token for the Hub", expected="a token with write access", fix=self._new_token)
        with self._errors("ask whose token this is"):
            account = self._api.whoami()
        role = account.get("auth", {}).get("accessToken", {}).get("role")
        if role == "read":
            raise HubError(
                "the token may only read",
                found=f"a token of {account['name']} with the role 'read'",
                expected=f"a token with write access to {self.id}",
                fix=self._new_token,
            )
        return str(account["name"])

    def check_online(self) -> None:
        """Raise when HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) forbids to use the network."""
        if offline():
            raise _offline()

    def state(self) -> RepoState | None:
        """The repository now; None when it does not exist or the token may not see it."""
        try:
            with self._errors("look at the repository", writes=False):
                info = self._api.repo_info(self.id, repo_type=self.type)
                refs = self._api.list_repo_refs(self.id, repo_type=self.type)
        except HubError as error:
            if isinstance(error.__cause__, RepositoryNotFoundError):
                return None
            raise
        note_renamed(self.id, str(info.id), self.type)
        tags = {tag.name: tag.target_commit for tag in refs.tags}
        return RepoState(bool(info.private), str(info.sha), tags)

    def check_visibility(self, state: RepoState | None, *, private: bool, option: str = "--private") -> None:
        """Refuse a public repository where a private one is asked for.

        Args:
            state: of this repository.
            private: whether a private one is asked for.
            option: by which it is asked for, for the message.
        """
        if private and state is not None and not state.private:
            raise HubError(
                "the repository is public already",
                file=self.id,
                expected=f"a private repository ({option})",
                fix=f"Make it private in its settings on the Hub, or leave {option} out",
            )

    def resolve(self, revision: str) -> str:
        """The commit of a tag, branch or commit id; the error for an unknown one lists the versions."""
        try:
            looking = "look at the repository" if revision == "main" else f"look up revision {revision}"
            with self._errors(looking, writes=False):
                info = self._api.repo_info(self.id, repo_type=self.type, revision=revision)
            note_renamed(self.id, str(info.id), self.type)
            return str(info.sha)
        except HubError as error:
            if not isinstance(error.__cause__, RevisionNotFoundError):
                raise
            versions = ", ".join(version_tags(self._tags()))
            expected = f"one of {versions}" if versions else "a repository with versions; this one has none"
            raise HubError(f"{self.id} has no version {revision}", expected=expected) from error

    def snapshot(self, revision: str) -> Snapshot:
        """The files of a revision, all of one commit even if a branch moves meanwhile."""
        commit = self.resolve(revision)
        with self._errors(f"list the files of {revision}", writes=False):
            entries = self._api.list_repo_tree(
                self.id, recursive=True, revision=commit, repo_type=self.type, expand=False
            )
            files = {
                entry.path: RemoteFile(entry.size, entry.blob_id, entry.lfs.sha256 if entry.lfs else None)
                for entry in entries
                if isinstance(entry, RepoFile)
            }
        return Snapshot(commit, files)

    def read_text(self, path: str, commit: str) -> str:
        """A text file of a commit, as UTF-8."""
        with self._errors(f"read {path}", writes=False):
            cached = self._api.hf_hub_download(self.id, path, revision=commit, repo_type=self.type)
        with parsing("a file of the repository is not text", file=f"{self.id}/{path}", expected="UTF-8"):
            return Path(cached).read_text(encoding="utf-8")

    def fetch(
        self, path: str, commit: str, *, what: str = "a file", instead: str = "fetch it before"
    ) -> Path:
        """A file of a commit in the cache of huggingface_hub, fetched unless it is there; a broken download resumes.

        Args:
            path: in the repository.
            commit: full commit.
            what: the file is, for messages.
            instead: what else the user can do where the Hub may not be asked.

        Raises:
            HubError: also where a large file has not the SHA-256 that the Hub announced; it is not kept.
        """
        cached = try_to_load_from_cache(self.id, path, revision=commit, repo_type=self.type)
        if isinstance(cached, str):
            return Path(cached)
        if offline():
            raise HubUnreachableError(
                f"{what} is not in the cache, and the Hub cannot be used in offline mode",
                file=f"{self.id}@{commit[:10]}/{path}",
                found="HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set",
                fix=f"Unset it, or {instead}",
            )
        with self._errors(f"fetch {path}", resumable=True, writes=False):
            fetched = Path(self._api.hf_hub_download(self.id, path, revision=commit, repo_type=self.type))
        # Large files are kept under their digest, which huggingface_hub does not compare.
        blob = fetched.resolve()
        if _DIGEST.fullmatch(blob.name) and (found := sha256_file(blob)) != blob.name:
            for broken in (fetched, blob):
                broken.unlink(missing_ok=True)
            raise HubError(
                f"{what} came with other bytes than the Hub announces",
                file=f"{self.id}@{commit[:10]}/{path}",
                found=f"sha256 {found}",
                expected=f"sha256 {blob.name}",
                fix="Run the same again",
            )
        return fetched

    def create(self, *, private: bool = False, space_sdk: str | None = None) -> None:
        """Create the repository; it must not exist."""
        with self._errors("create the repository"):
            self._api.create_repo(
                self.id, repo_type=self.type, private=private or None, exist_ok=False, space_sdk=space_sdk
            )

    def commit(
        self,
        upload: Sequence[LocalFile],
        delete: Sequence[str],
        *,
        message: str,
        parent: str,
        allow_home: bool = False,
    ) -> Snapshot:
        """Upload and delete files on `main`, whose head must be `parent`; return the verified result.

        Nothing is sent before all of it was looked through for tokens and, unless `allow_home`, home folders.

        One atomic commit for up to `COMMIT_FILES` changes. More become several, in the order given
        and deletions last, so that `main` is between two versions until the last one.

        Raises:
            LeakError: see `leaks`.
            HubError: also when somebody else committed meanwhile, or when the Hub's files are not
                the local ones afterwards. What was sent stays there: call it again to continue.
        """
        refuse_leaks(upload, allow_home=allow_home)
        additions = [self._addition(file) for file in upload]
        for batch in _batches(additions):
            with self._errors("upload files", resumable=True):
                self._api.preupload_lfs_files(self.id, batch, repo_type=self.type, free_memory=False)
        operations: list[CommitOperationAdd | CommitOperationDelete] = [*additions]
        operations += [CommitOperationDelete(path, is_folder=False) for path in delete]
        head = parent
        for start in range(0, len(operations), COMMIT_FILES):
            part = f" (part {start // COMMIT_FILES + 1})" if len(operations) > COMMIT_FILES else ""
            try:
                with self._errors("commit", resumable=True):
                    head = self._api.create_commit(
                        self.id,
                        operations[start : start + COMMIT_FILES],
                        commit_message=message + part,
                        repo_type=self.type,
                        parent_commit=head,
                    ).oid
            except HubError as error:
                head = self._landed(error, upload, delete, last=start + COMMIT_FILES >= len(operations))
        result = self.snapshot(head)
        if wrong := _differences(upload, delete, result):
            raise HubError(
                "the Hub does not hold what was sent; no version was tagged",
                file=self.id,
                found=", ".join(wrong),
                fix="Push again",
            )
        return result

    def tag(self, tag: str, commit: str) -> None:
        """Name `commit` by a version tag, which must not name another commit yet.

        A tag that already names `commit` (an answer got lost) is fine. No tag is ever moved.
        """
        check_version_tag(tag)
        tags = self._tags()
        if tag not in tags:
            try:
                with self._errors(f"set the tag {tag}", resumable=True):
                    self._api.create_tag(self.id, tag=tag, revision=commit, repo_type=self.type)
                return
            except HubError:  # the answer may have got lost
                tags = self._tags()
                if tag not in tags:
                    raise
        if tags[tag] != commit:
            raise tag_exists(self.id, tag, tags[tag], tags)

    def _tags(self) -> dict[str, str]:
        state = self.state()
        return state.tags if state else {}

    def _addition(self, file: LocalFile) -> CommitOperationAdd:
        source = file.source if isinstance(file.source, bytes) else str(file.source)
        addition = CommitOperationAdd(path_in_repo=file.path, path_or_fileobj=source)
        if "sha256" in file.__dict__:  # computed for a comparison: large files are not read twice for it
            addition.upload_info.sha256 = bytes.fromhex(file.sha256)
        return addition

    def _landed(
        self, error: HubError, upload: Sequence[LocalFile], delete: Sequence[str], *, last: bool
    ) -> str:
        """The head of `main` if a commit whose answer got lost was carried out; else raise `error`."""
        if not last or not isinstance(telling_cause(error.__cause__ or error), transport().TransportError):
            raise error
        try:
            head = self.snapshot("main")
        except HubError:
            raise error from None
        if _differences(upload, delete, head):
            raise error
        return head.commit

    @property
    def _new_token(self) -> str:
        return f"Make one at {self.endpoint}/settings/tokens and set HF_TOKEN, or run `hf auth login`"

    @contextmanager
    def _errors(self, action: str, *, resumable: bool = False, writes: bool = True) -> Iterator[None]:
        """Turn what huggingface_hub and its transport raise into `HubError`s that say what to do; the cause is kept.

        Args:
            action: what is tried, as in "cannot <action>".
            resumable: whether running the same again continues; said in the message.
            writes: whether it needs a token that may write.
        """
        try:
            yield
        except _FAILURES as error:
            raise self._explained(error, f"cannot {action}", resumable, writes) from error

    def _explained(self, error: Exception, problem: str, resumable: bool, writes: bool) -> HubError:
        if isinstance(telling_cause(error), OfflineModeIsEnabled):
            return _offline()
        again = "Run the same again: it continues where it stopped" if resumable else None
        asked = HubRequest(
            self.id, problem, kind=self.type, again=again, writes=writes, has_token=self.has_token
        )
        return hub_problem(error, asked) or HubError(problem, file=self.id, found=str(error), fix=again)


def _offline() -> HubError:
    return HubUnreachableError(
        "the Hub cannot be used in offline mode",
        found="HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set",
        fix="Unset it",
    )


def tag_exists(repo_id: str, tag: str, commit: str, tags: Iterable[str]) -> HubError:
    """The error for a version that is already published with other content."""
    newest = version_tags(tags)[-1:] or [tag]
    major, minor, patch = check_version_tag(newest[0])
    return HubError(
        f"{repo_id} already has a version {tag} with other content, and a published version never moves",
        found=f"{tag} at commit {commit[:10]}",
        expected="a new version",
        fix=f"Push with the next one, for example --tag v{major}.{minor}.{patch + 1}",
    )


def _batches(additions: Sequence[CommitOperationAdd]) -> Iterator[list[CommitOperationAdd]]:
    batch: list[CommitOperationAdd] = []
    size = 0
    for addition in additions:
        if batch and (len(batch) == BATCH_FILES or size + addition.upload_info.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(addition)
        size += addition.upload_info.size
    if batch:
        yield batch


def _differences(upload: Sequence[LocalFile], delete: Sequence[str], found: Snapshot) -> list[str]:
    missing = [file.path for file in upload if not file.equals(found.files.get(file.path))]
    return missing + [f"{path} (should be gone)" for path in delete if path in found.files]
