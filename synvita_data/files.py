"""Files that are never half-written, and paths from data files that never leave their root."""

import errno
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from .errors import StoreError, SynvitaError, UnsafePathError, causes, first_line

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
_DEEPEST_YAML = 200  # about as deep as PyYAML's own loaders go
# A name that leads to no file: nothing, a link to nowhere or to itself, a folder in place of a file or the other way.
NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG})
# `datasets--OWNER--NAME/snapshots/<commit>` in the cache of huggingface_hub; its files are links to `blobs` beside.
_SNAPSHOT = re.compile(r"snapshots/([0-9a-f]{40})(?:/|$)")
# First bytes of files that are often found under the name of another kind, for messages.
_SIGNATURES = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"%PDF", "a PDF"),
    (b"<", "HTML or XML text (a failed download?)"),
    (b"{", "JSON text (a failed download?)"),
    (b"version https://git-lfs", "a Git LFS pointer (run `git lfs pull`)"),
)
_A_DAY = 24 * 3600.0
_swept: set[str] = set()  # folders in which this process has looked for leftovers
_HUB_FOLDERS = ("models--", "datasets--", "spaces--")
_MOST_DIGITS = 308  # of a whole number that a float holds, as most readers need it


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield the path of an empty temporary file beside `final`; on success flush it to disk and rename it to `final`.

    On an exception the temporary file is removed and `final` is left as it was. The temporary name
    keeps the final suffix, because some writers choose a format by it. What killed writers left in the
    folder goes when a process first writes there. A device or pipe (`/dev/stdout`, `>(jq .)`) is no file that
    could be replaced: the finished bytes are written into it.

    Raises:
        OSError: `final` cannot be written, at once if it is a folder.
    """
    if final.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(final))
    if _is_stream(final):
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / final.name
            temporary.touch()
            yield temporary
            try:
                with temporary.open("rb") as finished, final.open("ab") as stream:
                    shutil.copyfileobj(finished, stream)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(final)) from error
        return
    final.parent.mkdir(parents=True, exist_ok=True)
    sweep(final.parent)
    temporary = final.with_name(_part_of(final.name))
    with _named_as(final, temporary):
        lock = _new_locked(temporary)
        try:
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(final)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(lock)


@contextmanager
def _named_as(final: Path, temporary: Path) -> Iterator[None]:
    """What the system says of a temporary file or folder is said of the one that its user knows."""
    try:
        yield
    except OSError as error:
        name = str(error.filename)
        if error.filename is None and error.errno in NO_ROOM:  # of writing, which does not know the name
            error.filename = str(final)
        elif name == str(temporary) or name.startswith(f"{temporary}/"):
            error.filename = f"{final}{name.removeprefix(str(temporary))}"
        raise


def _is_stream(path: Path) -> bool:
    """Whether what is at `path` takes bytes but is not a file of a folder: a device, a pipe, `/dev/fd/3`."""
    if path.exists() and not path.is_file():
        return True
    if not path.is_symlink():  # nearly always
        return False
    # Where standard output goes to a file, /dev/stdout leads to that file, and is still no name of it.
    folder = path.parent.resolve()
    return folder == Path("/dev") or folder.is_relative_to("/proc")


@contextmanager
def no_file_ok() -> Iterator[None]:
    """As `suppress(FileNotFoundError)`, of every name that leads to no file (`NO_FILE`)."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_FILE:
            raise


def _part_of(name: str) -> str:
    """A temporary name, from which `sweep` knows whose machine made it."""
    return f".part-{_host()}{secrets.token_hex(3)}-{name}"


def _new_locked(path: Path) -> int:
    """Make an empty file and lock it; the descriptor that holds the lock. Whoever sweeps may take it before it is locked:
    then it is made again."""
    import fcntl

    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        try:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)  # a sweeper has it for a moment only
            with suppress(FileNotFoundError):
                if os.path.samestat(os.stat(path), os.fstat(descriptor)):  # noqa: PTH116
                    return descriptor
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        os.close(descriptor)


def atomic_link(source: Path, final: Path, folder: Path) -> None:
    """Give a file the second name `final`, in one step, in place of what has it.

    Args:
        source: the file.
        final: on the same file system.
        folder: where the link lies until then. What killed processes left there goes with `sweep`.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: a file system without links, or one that cannot be written.
    """
    import fcntl

    aside = folder / _part_of(final.name)
    descriptor = os.open(source, os.O_RDONLY)
    try:
        # The link is the same file, so that its lock keeps a sweeper away; others may link it at the same time.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.link(source, aside)
        aside.replace(final)
    finally:
        # Also where both were one file already: then a renaming does nothing.
        aside.unlink(missing_ok=True)
        os.close(descriptor)


def sweep(folder: Path, *, again: bool = False) -> None:
    """Remove the temporary files of killed writers.

    Who lives holds a lock on its file. Locks of another machine may not be seen: its files stay for a day.

    Args:
        folder: where they lie, not below it.
        again: also where this process has looked before: another may have been killed since.
    """
    import fcntl

    if (place := os.path.realpath(folder)) in _swept and not again:
        return
    _swept.add(place)
    for leftover in folder.glob(".part-*"):
        with suppress(OSError):
            own = leftover.name.startswith(f".part-{_host()}")
            if leftover.is_symlink() or not leftover.is_file():
                continue
            found = leftover.stat()
            # A link has the time of its file, but was made when the file changed last.
            made = found.st_mtime if found.st_nlink == 1 else found.st_ctime
            if not own and time.time() - made < _A_DAY:
                continue
            descriptor = os.open(leftover, os.O_RDWR)  # NFS locks nothing that is open for reading only
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()
            finally:
                os.close(descriptor)


@cache
def _host() -> str:
    """Four hex digits that tell machines apart."""
    return hashlib.sha256(os.uname().nodename.encode()).hexdigest()[:4]


class SpillFile:
    """Bytes in a file of a folder that has no name: it is gone when nobody holds it any more, or its process is killed.

    A kill between its making and the removal of its name leaves an empty file, which goes with the next `sweep`.

    Args:
        folder: where; it is made.

    Raises:
        StoreError: no file can be made there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._size = folder, 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            sweep(folder)
            path = folder / _part_of("spill")
            self._descriptor = _new_locked(path)
            path.unlink(missing_ok=True)
        except OSError as error:
            raise self._no_room(error) from error
        weakref.finalize(self, os.close, self._descriptor)

    def append(self, data: bytes | memoryview) -> int:
        """Write `data` behind what there is; where it begins.

        Raises:
            StoreError: it cannot be written.
        """
        start, rest = self._size, memoryview(data)
        try:
            while rest:
                rest = rest[os.pwrite(self._descriptor, rest, self._size + len(data) - len(rest)) :]
        except OSError as error:
            raise self._no_room(error) from error
        self._size += len(data)
        return start

    def read(self, start: int, size: int) -> bytes:
        """`size` bytes from `start` on; from several threads at once, if need be."""
        data = os.pread(self._descriptor, size, start)
        while len(data) < size:
            if not (more := os.pread(self._descriptor, size - len(data), start + len(data))):
                raise StoreError("a temporary file has been cut off", file=self._folder)
            data += more
        return data

    def _no_room(self, error: OSError) -> StoreError:
        return StoreError(
            f"what does not fit into memory cannot be written beside it: {error.strerror}",
            file=self._folder,
            fix="Free space and run again",
        )


def remove_temporaries(folder: Path) -> None:
    """Remove what killed writers left in `folder` (not below it); nobody may be writing there now."""
    for leftover in folder.glob(".part-*"):
        leftover.unlink(missing_ok=True)


def write_atomic(final: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) so that a reader sees the old file or the new one, never a part."""
    data = content.encode() if isinstance(content, str) else content
    with atomic_path(final) as temporary:
        temporary.write_bytes(data)


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `final`; on success flush its files to disk and rename it to `final`.

    What a killed process that made `final` has left is removed first. A live one holds a lock on its folder; where the
    file system has no such locks, leftovers stay.

    Raises:
        SynvitaError: there is something at `final` already, before or by then, or another process is making it.
    """
    _refuse_existing(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".part-{secrets.token_hex(4)}-{final.name}")
    with _named_as(final, temporary), _made(temporary, final):
        yield temporary


@contextmanager
def _made(temporary: Path, final: Path) -> Iterator[None]:
    """`temporary` is made and locked, and has the name `final` afterwards."""
    temporary.mkdir()
    lock = None
    try:
        lock = _locked(temporary, final)
        for other in final.parent.glob(f".part-????????-{glob.escape(final.name)}"):
            if other != temporary and (own := _locked(other, final)) is not None:
                shutil.rmtree(other, ignore_errors=True)
                os.close(own)
        yield
        for path in temporary.rglob("*"):
            if path.is_file():
                with path.open("rb") as handle:
                    os.fsync(handle.fileno())
        _refuse_existing(final)
        temporary.rename(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def exchange_folder(new: Path, final: Path) -> None:
    """Give the finished folder `new` the name `final`; what had that name is at `new` afterwards.

    In one step where the system can (Linux, macOS), so that a reader of `final` finds one of the two at any time; else
    there is a moment without it.
    """
    if not final.exists():
        new.rename(final)
    elif not _exchange(new, final):
        aside = new.with_name(f"{new.name}-{secrets.token_hex(4)}")
        final.rename(aside)
        new.rename(final)
        aside.rename(new)


def _exchange(one: Path, other: Path) -> bool:
    """Whether the system could let two folders change names in one step."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    paths = os.fsencode(one.absolute()), os.fsencode(other.absolute())
    if (rename := getattr(library, "renameat2", None)) is not None:  # Linux; RENAME_EXCHANGE
        here = -100  # AT_FDCWD
        return rename(here, paths[0], here, paths[1], ctypes.c_uint(2)) == 0
    if (rename := getattr(library, "renamex_np", None)) is not None:  # macOS; RENAME_SWAP
        return rename(*paths, ctypes.c_uint(2)) == 0
    return False


def _locked(folder: Path, final: Path) -> int | None:
    """A descriptor of the folder that holds its lock; None where there are no locks on folders (NFS).

    Raises:
        SynvitaError: another process holds it.
    """
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if not isinstance(error, BlockingIOError):
            return None
        raise SynvitaError(
            "another process is making this folder",
            file=final,
            found=f"{folder.name}, in use",
            fix="Wait for it, or name another folder",
        ) from error
    return descriptor


def _refuse_existing(final: Path) -> None:
    if final.exists() or final.is_symlink():
        raise SynvitaError(
            "there is something already where the result should go",
            file=final,
            expected="a folder that does not exist",
            fix="Name another folder, or remove this one",
        )


def parse_json(text: str | bytes, *, foreign: bool = False, **options: Any) -> Any:
    """`json.loads` for files that a kill, a user or an attacker may have written.

    Args:
        text: of the file.
        foreign: refuse half of a surrogate pair (`"\\ud800"`), which no file of text can hold. Our own records may hold
            some: the names of files that are no UTF-8.
        options: of `json.loads`.

    Raises:
        ValueError: not JSON, nested too deeply, a whole number that no float holds, or such a half.
    """
    try:
        value = json.loads(text, **{"parse_int": _whole_number, **options})
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if foreign and (b"\\u" if isinstance(text, bytes) else "\\u") in text:  # type: ignore[operator]
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"half of a surrogate pair, {error.object[error.start]!a}") from error
    return value


def _whole_number(text: str) -> int:
    if len(text.lstrip("-")) > _MOST_DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits")
    return int(text)


def json_lines(text: str) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines; what a kill or a full disk left half-written is passed over."""
    for line in text.splitlines():
        with suppress(ValueError):
            if isinstance(record := parse_json(line), dict):
                yield record


def parse_yaml(text: str, loader: Any = None) -> Any:
    """Plain values of YAML, never objects.

    Args:
        text: of a file or an argument.
        loader: subclass of PyYAML's safe or base loader; None for the safe one.

    Raises:
        ValueError: not YAML, nested too deeply, or a value that its constructors refuse (the date 2026-13-45, a whole
            number that no float holds).
    """
    import yaml

    wanted = loader or yaml.SafeLoader
    with yaml_errors():
        if not issubclass(wanted, yaml.parser.Parser):  # libyaml's composer overflows the stack of C
            depth = 0
            for event in yaml.parse(text, wanted):
                depth += isinstance(event, yaml.CollectionStartEvent)
                depth -= isinstance(event, yaml.CollectionEndEvent)
                if depth > _DEEPEST_YAML:
                    raise ValueError("nested too deeply")
        return yaml.load(text, Loader=bounded_loader(wanted))


@cache
def bounded_loader(loader: Any) -> Any:
    """The loader, if it reads numbers at all, with whole ones that a float holds."""
    import yaml

    if not issubclass(loader, yaml.constructor.SafeConstructor):
        return loader

    def whole(self: Any, node: Any) -> int:
        value: int = self.construct_yaml_int(node)
        if abs(value) >= 10**_MOST_DIGITS:  # not as text: Python refuses to write a very long one
            raise yaml.constructor.ConstructorError(
                None, None, f"a whole number of more than {_MOST_DIGITS} digits", node.start_mark
            )
        return value

    bounded: Any = type(loader.__name__, (loader,), {})
    bounded.add_constructor("tag:yaml.org,2002:int", whole)
    return bounded


@contextmanager
def yaml_errors() -> Iterator[None]:
    """What PyYAML raises within, of its own or by mistake (`!!bool x`, `!!int ''`), as a `ValueError` of one line."""
    import yaml

    try:
        yield
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def read_json(path: Path, what: str, *, error: type[SynvitaError] = SynvitaError) -> dict[str, Any]:
    """The JSON object of a file.

    Args:
        path: of the file.
        what: what it holds, for the message: "a model's settings".
        error: class to raise.

    Raises:
        SynvitaError: of the class `error`: the file cannot be read, or is not a JSON object.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise error(f"{what} cannot be read", file=path, found=first_line(problem)) from problem
    if not isinstance(content, dict):
        raise error(
            f"{what} cannot be read", file=path, found=type(content).__name__, expected="a JSON object"
        )
    return content


def sha256_file(path: Path, chunk: int = 1 << 20) -> str:
    """SHA-256 of a file's bytes as 64 hex digits, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(chunk):
            digest.update(block)
    return digest.hexdigest()


def kind_of(head: bytes) -> str | None:
    """What a file that begins with these bytes (32 are enough) seems to be, in words; None for all that is not known."""
    return next((words for signature, words in _SIGNATURES if head.lstrip().startswith(signature)), None)


def no_room(error: BaseException) -> OSError | None:
    """The error of the operating system behind `error` that says that nothing can be written.

    No room, a quota, a limit on file sizes, a read-only file system; None for any other error. What it was
    raised from counts, as for the `StoreError` of a failed commit.
    """
    return next(
        (cause for cause in causes(error) if isinstance(cause, OSError) and cause.errno in NO_ROOM), None
    )


def resolve_under(
    root: Path, relative: str, *, file: str | Path | None = None, row: int | str | None = None
) -> Path:
    """The path `root/relative`, after following symlinks, if it stays under `root`.

    The file need not exist. `file` and `row` say where `relative` was read, for the error. A link of a snapshot in the
    Hub's cache to its repository's blobs keeps its own name: a blob has none.

    Raises:
        UnsafePathError: empty, a NUL or control character, absolute (POSIX or Windows), a `..`
            part, or a symlink that leads out of `root`.
    """

    expected = f"a path inside {root}"
    check_relative(relative, expected=expected, file=file, row=row)

    def refuse(problem: str) -> UnsafePathError:
        return UnsafePathError(problem, file=file, row=row, found=repr(relative), expected=expected)

    try:
        resolved = (root / relative).resolve()
        _check_length(resolved)
    except (OSError, RuntimeError, ValueError) as error:  # a symlink loop, a name too long
        raise refuse(f"a path cannot be resolved ({error})") from error
    real_root = root.resolve()
    if resolved.is_relative_to(real_root):
        return resolved
    if stays_inside(resolved, real_root):
        return real_root / relative
    raise refuse("a path leaves its root through a symlink")


def _check_length(path: Path) -> None:
    """Raise the system's error for a name that it cannot hold; a file that is missing is no error."""
    try:
        path.lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise


def hub_repository(folder: Path) -> Path | None:
    """The folder of a repository in the Hub's cache (`datasets--OWNER--NAME`) that a folder is a snapshot of, or is in
    one; None for any other. Both are resolved."""
    for parent in (folder, *folder.parents):
        if parent.name == "snapshots" and parent.parent.name.startswith(_HUB_FOLDERS):
            return parent.parent
    return None


def snapshot_commit(path: Path) -> str | None:
    """The commit of the snapshot in the Hub's cache that a path is, or is in, by its name; None for any other."""
    found = _SNAPSHOT.search(path.as_posix())
    return None if found is None else found[1]


def folder_name(folder: Path) -> str:
    """What a folder is called: the name of its repository where it is a snapshot in the Hub's cache."""
    real = folder.resolve()
    repository = hub_repository(real) if real.parent.name == "snapshots" else None
    return folder.name if repository is None else repository.name.rpartition("--")[2]


def stays_inside(target: Path, root: Path) -> bool:
    """Whether what a link points to may be read as a file of `root`. Both are resolved.

    It is below `root`, or, where `root` is in a snapshot of the Hub's cache, one of its repository's blobs.
    """
    if target.is_relative_to(root):
        return True
    repository = hub_repository(root)
    return repository is not None and target.parent == repository / "blobs"


def is_utf8(name: str) -> bool:
    """Whether a name can be written as UTF-8; that of a file or of an archive's member may be other bytes."""
    return not any("\ud800" <= char <= "\udfff" for char in name)


def check_relative(
    relative: str,
    *,
    expected: str = "a path relative to the folder it is looked up in",
    file: str | Path | None = None,
    row: int | str | None = None,
) -> None:
    """What `resolve_under` refuses without touching the disk, for paths that are read long before they
    are opened. `file` and `row` say where `relative` was read, for the error.

    Raises:
        UnsafePathError: empty, a NUL or control character, absolute (POSIX or Windows), or a `..` part.
    """
    problem = None
    if not relative or relative != relative.strip():
        problem = "a path is empty or has white space around it"
    elif any(ord(char) < 32 for char in relative):
        problem = "a path holds a NUL or control character"
    elif PurePosixPath(relative).is_absolute() or PureWindowsPath(relative).anchor:
        problem = "a path is absolute"
    elif ".." in PurePosixPath(relative).parts or ".." in PureWindowsPath(relative).parts:
        problem = "a path climbs out with '..'"
    if problem:
        raise UnsafePathError(problem, file=file, row=row, found=repr(relative), expected=expected)
