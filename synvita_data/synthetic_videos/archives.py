"""Videos in archives: tar, tar.gz, zip and Parquet, listed and read one by one.

Nothing is unpacked under a name that an archive gives: whoever reads a member says where it goes. Names that leave
their root, links and devices are refused, and so is what is larger than it should be: a member above `MAX_MEMBER_BYTES`,
one that unpacks to more than `MAX_RATIO` times its bytes or to more than was announced, a header or a row group that
would not fit the memory. An archive that was cut gives the members before the cut, and says so. Members of one name
are one video where they have equal bytes (a Parquet row for each of its captions), else none.
"""

import gzip
import hashlib
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from ..errors import SourceError, SynvitaError, TruncatedVideoError, UnsafePathError, VideoError, first_line
from ..files import atomic_path, check_relative, is_utf8

MAX_MEMBER_BYTES = 1 << 30  # a clip of 49 frames has half a megabyte
MAX_MEMBERS = 2_000_000
MAX_RATIO = 100  # h264 does not compress; what unpacks to a hundredfold is no video
_MAX_READ = 64 << 20  # at once: a header that says more is a trap
_MAX_ROW_GROUP = 2 << 30
_CHUNK = 1 << 20
_SUFFIXES = {".tar": "tar", ".tar.gz": "tar", ".tgz": "tar", ".zip": "zip", ".parquet": "parquet"}
# Columns of a Parquet file that name a video whose own cell does not, best first.
_NAMES = ("path", "file_name", "filename", "video_name", "name", "syn_video", "__key__", "key", "id")
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    OSError,
    NotImplementedError,  # a compression that Python does not know
    RuntimeError,  # a zip that asks for a password
    ValueError,
)


def archive_kind(path: str) -> str | None:
    """`tar`, `zip` or `parquet` by the suffix of a file; None for any other."""
    lower = path.lower()
    return next((kind for suffix, kind in _SUFFIXES.items() if lower.endswith(suffix)), None)


@dataclass
class Listing:
    """What an archive holds.

    Attributes:
        videos: members that may be videos, each name once, in the archive's order.
        others: how many members are something else.
        problems: one error for each member that cannot be used, and for an archive that ends too early.
    """

    videos: list[str] = field(default_factory=list)
    others: int = 0
    problems: list[SynvitaError] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Member:
    size: int
    where: Any  # tar: offset of its bytes; zip: its ZipInfo; Parquet: row group and row in it


# Gives the bytes of members, in whatever order is quick.
_Read = Callable[[BinaryIO, Iterable[tuple[str, _Member]]], Iterator[tuple[str, _Member, Iterator[bytes]]]]


class Archive:
    """One archive.

    Args:
        place: what messages call it; its suffix says what it is.
        open_file: opens it for reading, from the start, seekable: a file of this machine, or of the Hub.

    Raises:
        SourceError: the suffix is that of no archive.
    """

    def __init__(self, place: str, open_file: Callable[[], BinaryIO]) -> None:
        kind = archive_kind(place)
        if kind is None:
            raise SourceError("this is not an archive of videos", file=place, expected=", ".join(_SUFFIXES))
        self.place, self.kind = place, kind
        self._open = open_file
        self._packed = place.lower().endswith(("gz",))
        self._members: dict[str, _Member] = {}
        self._again: dict[str, list[_Member]] = {}  # more members of a name
        self._count = 0
        self._columns: tuple[str, str | None] = ("", None)
        self._listing: Listing | None = None

    @classmethod
    def of(cls, path: Path, place: str | None = None) -> "Archive":
        """The archive in a file of this machine."""
        return cls(place or str(path), lambda: path.open("rb"))

    def listing(self) -> Listing:
        """What is in it; looked at once. An archive that cannot be read at all has one problem and no videos."""
        if self._listing is None:
            listing = self._listing = Listing()
            look = {"tar": self._list_tar, "zip": self._list_zip, "parquet": self._list_parquet}[self.kind]
            try:
                look(listing)
            except SynvitaError as error:
                listing.problems.append(error.at(self.place))
            except _BROKEN as error:
                if _of_the_machine(error):
                    raise
                listing.problems.append(
                    SourceError(
                        "an archive cannot be read to its end: it is damaged, or was cut",
                        file=self.place,
                        found=f"{first_line(error)}; {len(listing.videos):,} videos before that",
                        fix="Fetch it again",
                    )
                )
        return self._listing

    def together(self, name: str) -> list[str]:
        """Members that are read best in one go with this one: all of a tar.gz, a row group of Parquet."""
        self.listing()
        if self._packed:
            return list(self._members)
        if self.kind == "parquet" and name in self._members:
            group = self._members[name].where[0]
            return [other for other, member in self._members.items() if member.where[0] == group]
        return [name]

    def size(self, name: str) -> int:
        """Bytes of a member, as the archive announces them; 0 where it does not."""
        self.listing()
        return self._members[name].size if name in self._members else 0

    def extract(
        self, targets: Mapping[str, Path], on_bad: Callable[[str, SynvitaError], None] | None = None
    ) -> None:
        """Write members to files, each of which appears whole or not at all.

        Args:
            targets: member -> file to write.
            on_bad: called with a member and the error for each that cannot be read; None raises the first.

        Raises:
            VideoError: a member is missing, damaged or too large, and `on_bad` is None.
        """
        self.listing()

        def bad(name: str, error: SynvitaError) -> None:
            if on_bad is None:
                raise error
            on_bad(name, error)

        # Where the archive itself is damaged, that is why a member is not there.
        cut = next((error for error in self.listing().problems if error.file == self.place), None)
        for name in targets.keys() - self._members.keys():
            missing = VideoError("an archive does not hold the video", file=self.place, found=name)
            if cut is not None:
                missing = VideoError(f"{cut.problem}; {name} was not reached", file=self.place, fix=cut.fix)
            bad(name, missing)
        wanted = [(name, member) for name, member in self._members.items() if name in targets]
        if not wanted:
            return
        read = {"tar": self._read_tar, "zip": self._read_zip, "parquet": self._read_parquet}[self.kind]
        with self._open() as handle:
            refused = self._contradicted(read, handle, targets)
            for name in refused:
                problem = "an archive holds two videos of one name"
                bad(name, SourceError(problem, file=self.place, found=name, expected="one, or equal bytes"))
            for name, member, blocks in read(handle, [each for each in wanted if each[0] not in refused]):
                try:
                    with atomic_path(targets[name]) as temporary, temporary.open("wb") as sink:
                        written = 0
                        for block in blocks:
                            written += len(block)
                            _check_size(written, member.size)
                            sink.write(block)
                        if written != member.size:
                            raise TruncatedVideoError(
                                "a video in an archive was cut",
                                found=f"{written:,} bytes",
                                expected=f"{member.size:,}",
                            )
                except SynvitaError as error:
                    bad(name, error.at(f"{self.place}/{name}"))
                except _BROKEN as error:
                    if _of_the_machine(error):
                        raise
                    bad(
                        name,
                        VideoError(
                            "a video in an archive is damaged",
                            file=f"{self.place}/{name}",
                            found=first_line(error),
                            fix="Fetch the archive again",
                        ),
                    )

    def _contradicted(self, read: _Read, handle: BinaryIO, names: Iterable[str]) -> list[str]:
        """Those of `names` of which there are several members that do not have equal bytes."""
        digests: dict[str, set[str]] = {name: set() for name in names if name in self._again}
        members = [(name, each) for name in digests for each in (self._members[name], *self._again[name])]
        if not members:
            return []
        for name, _, blocks in read(handle, members):
            digest = hashlib.sha256()
            try:
                for block in blocks:
                    digest.update(block)
                digests[name].add(digest.hexdigest())
            except (SynvitaError, *_BROKEN) as error:
                if _of_the_machine(error):
                    raise
                digests[name] |= {"damaged", ""}
        handle.seek(0)
        return [name for name, found in digests.items() if len(found) != 1]

    def _add(self, listing: Listing, name: str, member: _Member, *, packed: int | None = None) -> None:
        """Note a member that may be a video, or why it is none."""
        self._count += 1
        if self._count + listing.others > MAX_MEMBERS:
            raise SourceError("an archive has too many members", expected=f"at most {MAX_MEMBERS:,}")
        try:
            check_relative(name, expected="a path that stays in the archive")
            if "::" in name or not is_utf8(name):
                raise UnsafePathError(
                    "a path cannot be referred to", found=repr(name), expected="UTF-8, and no '::' in it"
                )
            _check_size(member.size, MAX_MEMBER_BYTES)
            if packed is not None and member.size > max(packed, 1) * MAX_RATIO:
                raise SourceError(
                    "a member of an archive unpacks to too much",
                    found=f"{member.size:,} bytes from {packed:,}",
                    expected=f"at most {MAX_RATIO} times as many",
                )
        except SynvitaError as error:
            listing.problems.append(error.at(f"{self.place}/{name}"))
            return
        if name in self._members:
            self._again.setdefault(name, []).append(member)
            return
        self._members[name] = member
        listing.videos.append(name)

    # --- tar -----------------------------------------------------------------------------------------

    @contextmanager
    def _unpacked(self, handle: BinaryIO) -> Iterator["_Careful"]:
        """The bytes of a tar, without its gzip, read a bounded piece at a time."""
        if not self._packed:
            yield _Careful(handle)
            return
        with gzip.GzipFile(fileobj=handle) as unpacked:
            yield _Careful(cast(BinaryIO, unpacked))

    def _list_tar(self, listing: Listing) -> None:
        with self._open() as handle, self._unpacked(handle) as raw:
            allowed = _MAX_READ + MAX_RATIO * _length(self._open) if self._packed else None
            with tarfile.open(fileobj=raw, mode="r:") as archive:  # type: ignore[call-overload]
                while (info := archive.next()) is not None:
                    archive.members = []  # tarfile keeps every header otherwise
                    if allowed is not None and archive.offset > allowed:
                        raise SourceError(
                            "an archive unpacks to too much",
                            found=f"{archive.offset:,} bytes and more",
                            expected=f"at most {allowed:,}",
                        )
                    if info.isdir():
                        continue
                    if not _may_be_video(info.name):
                        listing.others += 1
                    elif not info.isreg() or info.issparse():
                        kind = "a link" if info.issym() or info.islnk() else "no plain file"
                        listing.problems.append(_refused(f"{self.place}/{info.name}", kind))
                    else:
                        self._add(listing, info.name, _Member(info.size, info.offset_data))
                end = archive.offset
            # tarfile takes a header that it cannot read for the end.
            raw.seek(end)
            if raw.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("no end mark where the archive ends")

    def _read_tar(
        self, handle: BinaryIO, wanted: Iterable[tuple[str, _Member]]
    ) -> Iterator[tuple[str, _Member, Iterator[bytes]]]:
        with self._unpacked(handle) as raw:
            for name, member in sorted(wanted, key=lambda item: item[1].where):
                yield name, member, _blocks(raw, member)

    # --- zip -----------------------------------------------------------------------------------------

    def _list_zip(self, listing: Listing) -> None:
        with self._open() as handle, zipfile.ZipFile(handle) as archive:
            for info in archive.infolist():
                if info.is_dir():
                    continue
                mode = info.external_attr >> 16
                if not _may_be_video(info.filename):
                    listing.others += 1
                elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                    kind = "a link" if stat.S_ISLNK(mode) else "no plain file"
                    listing.problems.append(_refused(f"{self.place}/{info.filename}", kind))
                else:
                    member = _Member(info.file_size, info)
                    self._add(listing, info.filename, member, packed=info.compress_size)

    def _read_zip(
        self, handle: BinaryIO, wanted: Iterable[tuple[str, _Member]]
    ) -> Iterator[tuple[str, _Member, Iterator[bytes]]]:
        with zipfile.ZipFile(handle) as archive:
            for name, member in wanted:
                yield name, member, _zip_blocks(archive, member.where)

    # --- Parquet -------------------------------------------------------------------------------------

    def _list_parquet(self, listing: Listing) -> None:
        import pyarrow.parquet as pq

        with self._open() as handle:
            file = pq.ParquetFile(handle)
            video, name_column = self._columns = _video_columns(file.schema_arrow)
            names = f"{video}.path" if name_column is None else name_column
            for group in range(file.num_row_groups):
                cells = file.read_row_group(group, columns=[names]).column(0).to_pylist()
                for row, cell in enumerate(cells):
                    name = cell.get("path") if isinstance(cell, dict) else cell
                    if not isinstance(name, str) or not name:
                        listing.others += 1
                        continue
                    # What a row holds is known when it is read.
                    self._add(listing, name, _Member(0, (group, row)))

    def _read_parquet(
        self, handle: BinaryIO, wanted: Iterable[tuple[str, _Member]]
    ) -> Iterator[tuple[str, _Member, Iterator[bytes]]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        file, (video, _) = pq.ParquetFile(handle), self._columns
        column = f"{video}.bytes" if pa.types.is_struct(file.schema_arrow.field(video).type) else video
        groups: dict[int, list[tuple[int, str]]] = {}
        for name, member in wanted:
            groups.setdefault(member.where[0], []).append((member.where[1], name))
        for group, rows in groups.items():
            cells: Any = None
            error: Exception | None = None
            try:
                if (size := file.metadata.row_group(group).total_byte_size) > _MAX_ROW_GROUP:
                    raise SourceError("a row group is too large", found=f"{size:,} bytes")
                cells = file.read_row_group(group, columns=[column]).column(0)
            except (SynvitaError, *_BROKEN) as problem:  # Arrow's errors are among them
                error = problem
            for row, name in rows:
                cell = None if cells is None else cells[row].as_py()
                data = cell.get("bytes") if isinstance(cell, dict) else cell
                if error is None and not isinstance(data, bytes):
                    error_here: Exception | None = VideoError("a row of an archive holds no video")
                else:
                    error_here = error
                size = len(data) if isinstance(data, bytes) else 0
                yield name, _Member(size, None), _given(data, error_here)


class _Careful:
    """A file that refuses to read a very large piece at once, as a header made for it would ask."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self.seek, self.tell = handle.seek, handle.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_READ:
            raise SourceError("a header of an archive is too large", found=f"{size:,} bytes")
        return self._handle.read(size)


def _of_the_machine(error: Exception) -> bool:
    """Whether an error is of the disk or the network, and says nothing of the archive."""
    network = hasattr(error, "response") or isinstance(error, ConnectionError | TimeoutError)
    return network or (isinstance(error, OSError) and error.errno is not None)


def _length(open_file: Callable[[], BinaryIO]) -> int:
    with open_file() as handle:
        return handle.seek(0, 2)


def _blocks(raw: "_Careful", member: _Member) -> Iterator[bytes]:
    raw.seek(member.where)
    left = member.size
    while left and (block := raw.read(min(left, _CHUNK))):
        left -= len(block)
        yield block


def _zip_blocks(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(info) as source:  # its end compares the CRC
        while block := source.read(_CHUNK):
            yield block


def _given(data: bytes | None, error: Exception | None) -> Iterator[bytes]:
    if error is not None:
        raise error
    if data:
        yield data


def _video_columns(schema: Any) -> tuple[str, str | None]:
    """The column of a Parquet file that holds videos, and the one that names them (None: its own `path`).

    Raises:
        SourceError: there are none.
    """
    import pyarrow as pa

    def binary(kind: Any) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    fields = {name: schema.field(name).type for name in schema.names}
    for name, kind in fields.items():
        if pa.types.is_struct(kind) and {"bytes", "path"} <= {each.name for each in kind}:
            return name, None
    names = [name for name in _NAMES if name in fields and pa.types.is_string(fields[name])]
    videos = [name for name, kind in fields.items() if binary(kind)]
    if len(videos) != 1 or not names:
        raise SourceError(
            "a Parquet file has no column of videos that have names",
            found=", ".join(f"{name}: {kind}" for name, kind in fields.items()),
            expected=f"a struct of bytes and path, or one binary column beside one of {', '.join(_NAMES)}",
        )
    return videos[0], names[0]


def _may_be_video(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.suffix.lower() == ".mp4" and not path.name.startswith(".")


def _check_size(size: int, allowed: int) -> None:
    if size > allowed:
        raise SourceError(
            "a video in an archive is too large", found=f"{size:,} bytes", expected=f"at most {allowed:,}"
        )


def _refused(place: str, kind: str) -> SynvitaError:
    return UnsafePathError(
        "a member of an archive is not a plain file, and is not followed",
        file=place,
        found=kind,
        expected="a file",
    )
