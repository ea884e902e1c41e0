"""What a Hub holds: users, repositories, commits and files. No HTTP here."""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

# The kinds of repository, by the prefix of their file URLs.
PREFIXES = {"": "model", "datasets/": "dataset", "spaces/": "space"}
# What a new repository's .gitattributes sends to large file storage.
LFS_SUFFIXES = (
    *(".arrow", ".bin", ".mp4", ".npy", ".npz", ".parquet"),
    *(".safetensors", ".tar", ".zip"),
)
GIT_ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES)
LARGEST_REGULAR_FILE = 10 << 20
_serial = itertools.count()


class ApiError(Exception):
    """An answer that is not a success.

    Args:
        status: HTTP status. message: for people, also sent as X-Error-Message.
        code: X-Error-Code, by which huggingface_hub chooses the exception it raises.
    """

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass(frozen=True)
class User:
    """An account. `role` is that of its token: `write` or `read`."""

    name: str
    token: str
    orgs: tuple[str, ...] = ()
    role: str = "write"

    def owns(self, repo_id: str) -> bool:
        return repo_id.split("/")[0] in (self.name, *self.orgs)


@dataclass(frozen=True)
class File:
    """One version of a file; `lfs` says whether git holds its content or a pointer to it."""

    content: bytes
    lfs: bool

    @property
    def size(self) -> int:
        return len(self.content)

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def blob_id(self) -> str:
        """Git's id of what git holds: the content, or for LFS the text of the pointer file."""
        held = self.content
        if self.lfs:
            pointer = (
                f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n"
            )
            held = pointer.encode()
        return hashlib.sha1(b"blob %d\0" % len(held) + held).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.blob_id


Tree = dict[str, File]


@dataclass(frozen=True)
class Commit:
    sha: str
    parent: str | None
    title: str
    date: str
    tree: Tree


@dataclass
class Pull:
    """A pull request: the head of its own branch, and what was said and done in it, as the Hub's events."""

    number: int
    title: str
    description: str
    author: str
    head: str
    created: str
    status: str = "open"
    events: list[dict[str, Any]] = field(default_factory=list)

    def add_comment(self, author: str, text: str) -> dict[str, Any]:
        event = {
            "id": f"{next(_serial):024x}",
            "type": "comment",
            "createdAt": _now(),
            "author": {"name": author},
            "data": {"edited": False, "hidden": False, "latest": {"raw": text}},
        }
        self.events.append(event)
        return event


@dataclass
class Repo:
    """One repository: its history, its references and the LFS objects it was sent.

    `gated` is False, `auto` or `manual`; `accepted` are the accounts that may then read its files.
    """

    id: str
    kind: str
    private: bool = False
    sdk: str | None = None
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    gated: str | bool = False
    accepted: set[str] = field(default_factory=set)
    pulls: dict[int, Pull] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commit({".gitattributes": File(GIT_ATTRIBUTES.encode(), lfs=False)}, "initial commit", "main")

    @property
    def url_path(self) -> str:
        prefix = next(prefix for prefix, kind in PREFIXES.items() if kind == self.kind)
        return f"/{prefix}{self.id}"

    def commit(self, tree: Tree, title: str, branch: str, sha: str | None = None) -> Commit:
        """Add a commit with `tree` to the end of `branch` (started here if it is new), `sha` as its id if given."""
        parent = self.branches.get(branch)
        sha = sha or hashlib.sha1(f"{next(_serial)} {self.id} {parent} {title}".encode()).hexdigest()
        self.commits[sha] = Commit(sha, parent, title, _now(), dict(tree))
        self.branches[branch] = sha
        return self.commits[sha]

    def open_pull(self, tree: Tree, title: str, description: str, author: str, parent: str) -> Pull:
        """A pull request with one commit on `parent`."""
        number = len(self.pulls) + 1
        sha = hashlib.sha1(f"{next(_serial)} {self.id} {parent} {title}".encode()).hexdigest()
        self.commits[sha] = Commit(sha, parent, title, _now(), dict(tree))
        self.pulls[number] = Pull(number, title, description, author, sha, _now())
        return self.pulls[number]

    def merge(self, number: int) -> Commit:
        """Take a pull request's additions into `main`."""
        pull = self.pulls[number]
        own, base = self.commits[pull.head], self.commits[self.commits[pull.head].parent or ""]
        added = {path: file for path, file in own.tree.items() if base.tree.get(path) != file}
        pull.status = "merged"
        return self.commit({**self.resolve("main").tree, **added}, pull.title, "main")

    def resolve(self, revision: str) -> Commit:
        """The commit that a branch, tag, `refs/…` name, full or shortened commit id stands for."""
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        sha = self.branches.get(name) or self.tags.get(name)
        if name.startswith("refs/pr/") and (pull := self.pulls.get(int(name[8:]))) is not None:
            sha = pull.head
        if sha is None and len(name) >= 7:
            sha = next((known for known in self.commits if known.startswith(name)), None)
        if sha is None:
            raise ApiError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[sha]

    def history(self, revision: str) -> list[Commit]:
        """Commits from `revision` back to the first."""
        found: list[Commit] = []
        sha: str | None = self.resolve(revision).sha
        while sha is not None:
            found.append(self.commits[sha])
            sha = found[-1].parent
        return found


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def files_of(folder: Path) -> Tree:
    """The files below a folder, large ones and weights as LFS."""
    tree: Tree = {}
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        content, name = path.read_bytes(), path.relative_to(folder).as_posix()
        tree[name] = File(content, lfs=upload_mode(name, len(content), content[:512]) == "lfs")
    return tree


def parameters(tree: Tree) -> dict[str, int]:
    """Parameters by dtype over the safetensors files at the root of a repository, as the Hub shows them."""
    counts: Counter[str] = Counter()
    for path, file in tree.items():
        if "/" in path or not path.endswith(".safetensors") or file.size < 8:
            continue
        length = int.from_bytes(file.content[:8], "little")
        try:
            header = json.loads(file.content[8 : 8 + length])
        except ValueError:  # a file that is not whole
            continue
        for name, tensor in header.items():
            if name != "__metadata__":
                size = 1
                for side in tensor["shape"]:
                    size *= side
                counts[tensor["dtype"]] += size
    return dict(counts)


def upload_mode(path: str, size: int, sample: bytes) -> str:
    """How the Hub wants a file sent: `lfs` by suffix, size or binary content, else `regular`."""
    large = path.lower().endswith(LFS_SUFFIXES) or size > LARGEST_REGULAR_FILE or b"\0" in sample
    return "lfs" if large else "regular"


def folders(paths: Iterable[str]) -> list[str]:
    """Every folder that holds one of `paths`, sorted."""
    return sorted(
        {"/".join(parts[:depth]) for parts in (p.split("/") for p in paths) for depth in range(1, len(parts))}
    )
