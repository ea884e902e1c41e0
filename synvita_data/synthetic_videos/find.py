"""The files of synthetic videos that rows refer to: below a folder, or of the Hub, fetched when they are asked for."""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..errors import HubError, MissingVideoError, SourceError, SynvitaError, VideoError
from ..files import resolve_under, sha256_file
from .archives import Archive
from .reference import VideoReference, parse_reference

_NAME_A_ROOT = "say in which folder the videos lie: synthetic_root=DIR, of load_triplets and of synvita train"


class SyntheticVideos:
    """Finds the videos that a dataset refers to. Nothing is opened or fetched before a video is asked for.

    A video of a repository is fetched alone, into the cache of huggingface_hub: a loose file, or a member of a zip or
    a row group of Parquet by its place in the file; a tar has to be fetched whole. Members of archives are then kept
    as files below `cache`. Pickles to workers.

    Args:
        root: folder that holds the videos as the references say (a copy of the repository); what is not there is
            fetched, where it is of a repository.
        token: access token for a private or gated repository.
        cache: folder for members of archives; None for `synvita/synthetic-videos` below HF_HOME.

    Raises:
        SourceError: `root` is not a folder.
    """

    def __init__(
        self, root: str | Path | None = None, *, token: str | None = None, cache: str | Path | None = None
    ) -> None:
        self.root = None if root is None else Path(root).expanduser()
        if self.root is not None and not self.root.is_dir():
            raise SourceError("the folder of synthetic videos does not exist", file=self.root)
        self._token, self._cache = token, None if cache is None else Path(cache)
        self._archives: dict[str, Archive] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_archives": {}}

    @cached_property
    def identity(self) -> str:
        """Digest of where videos are looked for."""
        return hashlib.sha256(json.dumps([str(self.root), str(self._cache)]).encode()).hexdigest()[:16]

    def find(self, reference: str, sha256: str | None = None) -> Path:
        """The file of a synthetic video on this machine.

        Args:
            reference: as the row has it.
            sha256: of the video's bytes, as the row has it, compared where it is known.

        Raises:
            SchemaError, UnsafePathError: this is not a reference, or leaves its root.
            VideoError: the video is not there, or has other bytes.
            HubError: it cannot be fetched.
        """
        parsed = parse_reference(reference)
        path = self._file(parsed) if parsed.kind is None else self._member(parsed)
        if sha256 is not None and (found := sha256_file(path)) != sha256:
            raise VideoError(
                "a synthetic video is not the one that the dataset refers to",
                file=path,
                found=f"sha256 {found}",
                expected=f"sha256 {sha256}, of {reference}",
                fix="Name the folder of the videos that the dataset was built from, or leave synthetic_root out",
            )
        return path

    def _local(self, reference: VideoReference) -> Path | None:
        """The file or archive below the root."""
        if self.root is None:
            return None
        path = resolve_under(self.root, reference.path)
        return path if path.is_file() else None

    def _file(self, reference: VideoReference) -> Path:
        """The file or archive on this machine, fetched if need be."""
        if (path := self._local(reference)) is not None:
            return path
        if reference.repo is None:
            raise MissingVideoError(
                "a synthetic video that the dataset refers to is not here",
                file=None if self.root is None else self.root / reference.path,
                found=str(reference),
                fix=f"To read it, {_NAME_A_ROOT}" if self.root is None else None,
            )
        if (path := self._cached(reference)) is not None:
            return path
        fetched: Path = self._repo(reference).fetch(
            reference.path,
            str(reference.commit),
            what="a synthetic video",
            instead=_NAME_A_ROOT,
        )
        return fetched

    def _cached(self, reference: VideoReference) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(
            str(reference.repo), reference.path, revision=reference.commit, repo_type="dataset"
        )
        return Path(found) if isinstance(found, str) else None

    def _repo(self, reference: VideoReference) -> Any:
        from ..hub.repo import HubRepo

        return HubRepo(str(reference.repo), token=self._token)

    def _member(self, reference: VideoReference) -> Path:
        """The file of a member, kept below the cache."""
        place = str(VideoReference(reference.path, reference.repo, reference.commit))
        local = self._local(reference)
        version: list[object] = [place]
        if local is not None:
            status = local.stat()
            version = [str(local.resolve()), status.st_size, status.st_mtime_ns]
        folder = self._folder / hashlib.sha256(json.dumps(version).encode()).hexdigest()[:16]
        member = str(reference.member)
        if not (path := member_file(folder, member)).is_file():
            archive = self._archives.get(folder.name) or self._open(reference, local)
            self._archives[folder.name] = archive
            names = {member, *archive.together(member)}
            targets = {name: file for name in names if not (file := member_file(folder, name)).is_file()}
            bad: dict[str, SynvitaError] = {}
            # What else has to be read on the way is kept too; its faults are for whoever asks for it.
            archive.extract(targets, bad.__setitem__)
            if member in bad:
                raise bad[member]
        return path

    def _open(self, reference: VideoReference, local: Path | None) -> Archive:
        from huggingface_hub import constants

        in_parts = reference.repo is not None and reference.kind in ("zip", "parquet")
        if in_parts and local is None and self._cached(reference) is None and not constants.is_offline_mode():
            return Archive(reference.path, lambda: _remote(reference, self._token))
        return Archive.of(self._file(reference), reference.path)

    @property
    def _folder(self) -> Path:
        if self._cache is not None:
            return self._cache
        from huggingface_hub import constants

        return Path(constants.HF_HOME) / "synvita" / "synthetic-videos"


def member_file(folder: Path, member: str) -> Path:
    """Where a member of an archive is kept: under a digest, since an archive may call its members anything."""
    return folder / f"{hashlib.sha256(member.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}.mp4"


def _remote(reference: VideoReference, token: str | None) -> BinaryIO:
    """A file of the Hub whose parts are fetched as they are read."""
    from huggingface_hub import HfFileSystem

    place = f"datasets/{reference.repo}@{reference.commit}/{reference.path}"
    try:
        return cast(BinaryIO, HfFileSystem(token=token).open(place, "rb"))
    except OSError as error:
        raise HubError(
            "an archive of synthetic videos cannot be opened", file=place, found=str(error)
        ) from error
