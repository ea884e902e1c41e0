"""The text by which a row of a dataset refers to a synthetic video that it does not hold.

    hf://datasets/OWNER/NAME@COMMIT/cogvideox/msr-vtt_video6323_001.mp4             a file of a repository
    zip://cogvideox/msr-vtt_video6323_001.mp4::hf://datasets/OWNER/NAME@COMMIT/x.zip  a member of an archive in it
    tar://msr-vtt_video6323_001.mp4::lavie.tar.gz                                     the same below a folder

These are the chained addresses of fsspec, which `datasets` reads too. The schemes of archives are `tar`, `zip` and
`parquet` (whose members are named by the cells of its column of names).
"""

import re
from dataclasses import dataclass

from ..errors import SchemaError
from ..files import check_relative, is_utf8

ARCHIVE_KINDS = ("tar", "zip", "parquet")
_HUB = re.compile(
    r"hf://datasets/(?P<repo>[A-Za-z0-9][\w.-]*/[\w.-]+)@(?P<commit>[0-9a-f]{40})/(?P<path>.+)", re.ASCII
)
_MEMBER = re.compile(r"(?P<kind>tar|zip|parquet)://(?P<member>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class VideoReference:
    """Where a synthetic video lies.

    Attributes:
        path: of the file, or of the archive that holds it: in the repository, or below a folder.
        repo: dataset repository `owner/name`; None for a folder.
        commit: full commit of the repository; None for a folder.
        kind: one of `ARCHIVE_KINDS`; None for a file that is no archive.
        member: name in the archive.
    """

    path: str
    repo: str | None = None
    commit: str | None = None
    kind: str | None = None
    member: str | None = None

    def __str__(self) -> str:
        place = self.path if self.repo is None else f"hf://datasets/{self.repo}@{self.commit}/{self.path}"
        return place if self.kind is None else f"{self.kind}://{self.member}::{place}"

    @property
    def shown(self) -> str:
        """Path and member for people."""
        return self.path if self.member is None else f"{self.path}/{self.member}"


def parse_reference(text: str) -> VideoReference:
    """The reference that `str` of one wrote.

    Raises:
        UnsafePathError: a path or member that leaves its root.
        SchemaError: anything else that is not a reference.
    """
    first, chained, place = text.rpartition("::")
    kind = member = repo = commit = None
    if chained:
        match = _MEMBER.fullmatch(first)
        if match is None:
            raise _refused(text)
        kind, member = match["kind"], match["member"]
        check_relative(member)
    path = place
    if place.startswith("hf://"):
        hub = _HUB.fullmatch(place)
        if hub is None or ".." in hub["repo"]:
            raise _refused(text)
        repo, commit, path = hub["repo"], hub["commit"], hub["path"]
    elif "://" in place:
        raise _refused(text)
    check_relative(path)
    return VideoReference(path, repo, commit, kind, member)


def writable(path: str, member: str | None = None) -> bool:
    """Whether a reference to this path and member can be read again: both are UTF-8, and neither holds what separates
    the two."""
    both = f"{path}\n{member or ''}"
    return "::" not in both and "://" not in path and is_utf8(both)


def _refused(text: str) -> SchemaError:
    return SchemaError(
        "this does not refer to a synthetic video",
        found=repr(text),
        expected="hf://datasets/OWNER/NAME@COMMIT/PATH or a relative path, before it maybe zip://MEMBER::",
        fix="Build the dataset again",
    )
