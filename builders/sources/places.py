"""Where the authors' videos lie: a dataset repository at a commit, or a folder. What is there is listed before it is read."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from synvita_data.errors import HubError, SchemaError, SourceError, SynvitaError, UnsafePathError
from synvita_data.files import folder_name, stays_inside
from synvita_data.hub.card import read_card
from synvita_data.synthetic_videos.reference import VideoReference

_LICENCE_FILE = re.compile(r"(?:LICEN[CS]E|COPYING)(?:\.\w+)?", re.IGNORECASE)
_CARD = "README.md"
# Where `hf download` keeps a dataset repository at a commit.
_SNAPSHOT = re.compile(
    r"datasets--(?P<owner>[\w.-]+)--(?P<name>[\w.-]+)/snapshots/(?P<commit>[0-9a-f]{40})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that is there.

    Attributes:
        path: below the place, with `/`.
        size: in bytes.
        sha256: of its bytes, where the place says so.
    """

    path: str
    size: int
    sha256: str | None = None


class Place(Protocol):
    """A repository or a folder."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Names around its files that may name a generator."""

    def entries(self, problems: list[SynvitaError]) -> list[Entry]:
        """All files, by path; what cannot be looked at goes to `problems`."""

    def file(self, path: str) -> Path:
        """One of them as a file of this machine, fetched if need be."""

    def reference(self, path: str, kind: str | None = None, member: str | None = None) -> VideoReference:
        """How a row refers to a file, or to a member of an archive."""

    def version(self, entry: Entry) -> list[Any]:
        """What is different where an archive is another one, JSON-ready."""

    def origin(self) -> dict[str, Any]:
        """What a card says of it; no place of this machine."""

    def licence(self) -> str | None:
        """What it says of its licence; None where it says nothing."""


class HubPlace:
    """A dataset repository. Nothing but its list of files and its card is asked for before a file is.

    Args:
        argument: `OWNER/NAME` or `OWNER/NAME@REVISION`.

    Raises:
        HubError: it cannot be read, or there is no such revision.
    """

    def __init__(self, argument: str) -> None:
        from synvita_data.hub.repo import HubRepo

        repo, _, revision = argument.partition("@")
        self._hub = HubRepo(repo)
        try:
            self._hub.check_online()
        except HubError as error:
            # What a repository holds is asked of the Hub, whatever the cache has of it.
            raise error.recast(
                HubError, fix="Unset it, or name a copy of the repository: --synthetic-root DIR"
            ) from None
        self._snapshot = self._hub.snapshot(revision or "main")
        self.commit = self._snapshot.commit

    @property
    def name(self) -> str:
        return f"{self._hub.id}@{self.commit[:10]}"

    @property
    def parts(self) -> tuple[str, ...]:
        return (self._hub.id.partition("/")[2],)

    def entries(self, problems: list[SynvitaError]) -> list[Entry]:
        files = sorted(self._snapshot.files.items())
        return [Entry(path, file.size, file.sha256) for path, file in files]

    def file(self, path: str) -> Path:
        return self._hub.fetch(path, self.commit, what="a file of the authors' videos")

    def reference(self, path: str, kind: str | None = None, member: str | None = None) -> VideoReference:
        return VideoReference(path, self._hub.id, self.commit, kind, member)

    def version(self, entry: Entry) -> list[Any]:
        return [self._hub.id, self.commit, entry.path]

    def origin(self) -> dict[str, Any]:
        return {"repository": self._hub.id, "commit": self.commit}

    def licence(self) -> str | None:
        files = self._snapshot.files
        text = self._hub.read_text(_CARD, self.commit) if _CARD in files else ""
        return _licence(text, files)


class FolderPlace:
    """A folder of this machine, such as a copy of the repository.

    Of a snapshot in the Hub's cache it is known which repository it is, at which commit: its files are referred to there.

    Args:
        root: the folder.

    Raises:
        SourceError: it does not exist.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise SourceError(
                "the folder of synthetic videos does not exist", file=root, expected="--synthetic-root DIR"
            )
        self.root = root
        found = _SNAPSHOT.fullmatch("/".join(root.resolve().parts[-3:]))
        self._repo = None if found is None else f"{found['owner']}/{found['name']}"
        self._commit = None if found is None else found["commit"]

    @property
    def name(self) -> str:
        return str(self.root)

    @property
    def parts(self) -> tuple[str, ...]:
        return (folder_name(self.root.resolve()),)

    def entries(self, problems: list[SynvitaError]) -> list[Entry]:
        return [
            Entry(path.relative_to(self.root).as_posix(), path.stat().st_size)
            for path in _files(self.root, self.root.resolve(), problems)
        ]

    def file(self, path: str) -> Path:
        return self.root / path

    def reference(self, path: str, kind: str | None = None, member: str | None = None) -> VideoReference:
        return VideoReference(path, self._repo, self._commit, kind, member)

    def version(self, entry: Entry) -> list[Any]:
        status = (self.root / entry.path).stat()
        return [str((self.root / entry.path).resolve()), status.st_size, status.st_mtime_ns]

    def origin(self) -> dict[str, Any]:
        if self._repo is not None:
            return {"repository": self._repo, "commit": self._commit}
        return {"folder": self.root.resolve().name}

    def licence(self) -> str | None:
        card = self.root / _CARD
        text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
        return _licence(text, [path.name for path in self.root.iterdir()])


def _files(folder: Path, root: Path, problems: list[SynvitaError]) -> Iterator[Path]:
    """Files below a folder by name; hidden ones are passed over, links out of the root and to folders not followed."""
    try:
        with os.scandir(folder) as handle:
            entries = sorted((each for each in handle if each.name[0] != "."), key=lambda each: each.name)
    except OSError as error:
        problems.append(SourceError("a folder cannot be read", file=folder, found=error.strerror))
        return
    for entry in entries:
        path = Path(folder, entry.name)
        try:
            is_folder = entry.is_dir()
        except OSError as error:  # a link that leads to itself
            problems.append(SourceError("a link leads nowhere", file=path, found=error.strerror))
            continue
        if entry.is_symlink() and (is_folder or not stays_inside(path.resolve(), root)):
            problems.append(
                UnsafePathError(
                    "a symlink leads to a folder or out of its folder, and was not followed",
                    file=path,
                    expected=f"a file inside {root}",
                    fix="Name the folder it points to, or copy the files in",
                )
            )
        elif is_folder:
            yield from _files(path, root, problems)
        elif path.is_file():
            yield path


def _licence(card: str, names: Any) -> str | None:
    """What a card's YAML says, else the name of a licence file."""
    data: Any = {}
    if card.startswith("---"):
        with suppress(SchemaError):
            data = read_card(card, file=_CARD).data
    said: list[Any] = []
    for key in ("license", "license_name", "license_link"):
        value = data.get(key)
        said += value if isinstance(value, list) else [value]
    if text := ", ".join(str(each) for each in said if each):
        return text
    files = sorted(name for name in names if _LICENCE_FILE.fullmatch(name))
    return f"see its file {files[0]}" if files else None
