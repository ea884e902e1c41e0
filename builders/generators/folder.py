"""The output folder: finished videos under readable names, and the manifest that says what they are.

    OUT/<pair_id>_<NNN>.mp4     a video (the store's own file under a second name, where links work)
    OUT/manifest.jsonl          one line a video, sorted by path; rebuilt from the store's records
    OUT/quarantine.jsonl        one line a request that failed, with its reason
    OUT/.work/quarantine.jsonl  the same with what programs wrote on standard error; never published
    OUT/.work/generate/         the store: what is done, claimed, failed
    OUT/.work/recipe.json       what this folder holds videos of
    OUT/.work/jobs.json         which videos are made together, where a program makes several a run

The store is the truth: whatever else is missing or broken is put back from it.
"""

import json
import os
import shutil
import stat
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synvita_data.display import json_text
from synvita_data.errors import OTHER_FORM, SourceError, StoreError, SynvitaError, of_type
from synvita_data.files import (
    atomic_link,
    atomic_path,
    json_lines,
    parse_json,
    sha256_file,
    sweep,
    write_atomic,
)
from synvita_data.jobs import Record, Store

from ..sources.manifest import NAME as MANIFEST
from ..sources.manifest import ManifestRow, public_config, read_manifest
from .base import Recipe, Request, public_failure

QUARANTINE = "quarantine.jsonl"
STORE = ".work/generate"
BOUND_TO = ".work/recipe.json"
JOBS = ".work/jobs.json"
OWN_QUARANTINE = ".work/quarantine.jsonl"
_OF_REQUEST = {"id": str, "caption": str, "sample": int}


def bind(out: Path, recipe: Recipe) -> None:
    """Make `out` the folder of this recipe's videos, or refuse.

    A folder in which nothing was made yet takes the new recipe.

    Raises:
        SourceError: it holds videos of another recipe, or a manifest that somebody else wrote.
        SynvitaError: it cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise SynvitaError("--out is not a folder", file=out, fix="Name another --out")
    mark = out / BOUND_TO
    if not mark.exists() and (out / MANIFEST).exists():
        raise SourceError(
            "the folder holds a manifest of videos that were not generated here, and it would be replaced",
            file=out / MANIFEST,
            fix="Name another --out",
        )
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SynvitaError("--out cannot be written", file=out, found=error.strerror) from error
    wanted = json.dumps(recipe.to_json(), ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    expected = json.loads(wanted)
    with publishing_turn(mark.parent):
        if mark.exists():
            try:
                found = parse_json(mark.read_bytes())
            except ValueError as error:
                raise SourceError("the folder's mark cannot be read", file=mark, found=str(error)) from error
            if found == expected:
                return
            if not _holds_nothing(Store(out / STORE)):
                raise SourceError(
                    "the folder holds videos that were made in another way",
                    file=mark,
                    found=_differences(found, expected),
                    fix="Name another --out: videos of two generators, or of two settings, do not mix",
                )
            (out / JOBS).unlink(missing_ok=True)  # of an earlier try, with settings that did not work
        write_atomic(mark, wanted)


def _holds_nothing(store: Store) -> bool:
    """Whether no video was made and nobody is making one; failures of another recipe are then forgotten."""
    if not store.root.is_dir():
        return True
    store.clean_temporary()  # claims of the dead
    if any(store.root.glob("??/*.claim")) or next(store.records(), None) is not None:
        return False
    store.retry_failed()
    return True


def noted_videos(record: Record) -> dict[str, dict[str, Any]]:
    """File of a result -> what is noted of this video.

    Raises:
        SchemaError: it is not a result of generating.
    """
    with record.expecting("videos, each with path, id, caption, sample and config"):
        videos: dict[str, dict[str, Any]] = of_type(record.fields["videos"], dict)
        if videos.keys() != record.artefacts.keys():
            raise ValueError(f"notes of {sorted(videos)}, and files {sorted(record.artefacts)}")
        for fields in videos.values():
            made_for = Request(*(of_type(fields[name], kind) for name, kind in _OF_REQUEST.items()))
            of_type(fields["config"], dict)
            json.dumps(fields, ensure_ascii=False).encode()  # a manifest is UTF-8
            if fields["path"] != made_for.name or Path(made_for.name).name != made_for.name:
                raise ValueError(f"path {fields['path']!r} of {made_for.name}")
        return videos


def place_videos(out: Path, record: Record, paths: Container[str] | None = None) -> None:
    """Give every video of a result, or those of `paths`, its name in `out`; what is there and right is left alone.

    What else lies under that name is replaced: `check_free` has refused files of others before any work, so
    it is an older result that was damaged, or a copy.
    """
    for name, fields in noted_videos(record).items():
        if paths is not None and fields["path"] not in paths:
            continue
        artefact = record.artefacts[name]
        target = out / fields["path"]
        try:
            there = target.lstat()
        except FileNotFoundError:
            _link(out, artefact.path, target)
            continue
        # The same file under a second name, or a copy of the same bytes, stays.
        if os.path.samestat(there, artefact.path.stat()):
            continue
        copied = stat.S_ISREG(there.st_mode) and there.st_size == artefact.size
        if not copied or sha256_file(target) != artefact.sha256:
            _link(out, artefact.path, target)


def check_free(
    out: Path,
    store: Store,
    names: Iterable[str],
    inputs: Callable[[], Mapping[str, Sequence[Request]]],
) -> None:
    """Refuse before any work if a file that is not ours has the name of a video to be made.

    Args:
        out: the folder.
        store: knows what is made.
        names: of the videos to be made.
        inputs: gives key -> requests; called only if a file is in doubt.

    Raises:
        SourceError: such a file, or a folder, is there.
    """
    # Cheap first: most folders hold nothing of these names, or only what their manifest lists.
    entries = {entry.name: entry for entry in os.scandir(out) if entry.name.endswith(".mp4")}
    present = entries.keys() & set(names) if entries else set()
    for name in sorted(present):
        if entries[name].is_dir(follow_symlinks=False):
            raise _folder_there(out / name)
    doubtful = present - _manifest_digests(out).keys() if present else set()
    if not doubtful:
        return
    for key, requests in inputs().items():
        for request in requests:
            target = out / request.name
            if request.name not in doubtful or store.record(key) is not None:
                continue
            # A second link is the store's: a video that was damaged before any manifest was written.
            if target.is_symlink() or not target.is_file() or target.stat().st_nlink == 1:
                raise SourceError(
                    "a file with the name of a video to be made is there, and was not made here",
                    file=target,
                    fix="Move it away, or name another --out",
                )


def publish(
    out: Path,
    store: Store,
    unread: Iterable[SynvitaError] = (),
    prompts: Callable[[str], Mapping[str, Any] | None] = lambda caption: None,
) -> int:
    """Put every finished video in its place and write manifest and quarantine again; how many there are.

    Runs that end at the same moment take turns, so that the last one sees all.

    Args:
        out: the folder.
        store: of its results.
        unread: rows of the annotation file that no request could be made of.
        prompts: caption -> how much of it the generator reads, None where that is not known.
    """
    with publishing_turn(out / ".work"):
        _tidy(out)
        published = _manifest_digests(out)
        lines: dict[str, str] = {}
        deferred: list[Record] = []

        def place(record: Record, late: bool) -> None:
            paths = set()
            for name, fields in noted_videos(record).items():
                path, digest = fields["path"], record.artefacts[name].sha256
                if not late and published.get(path, digest) != digest:
                    deferred.append(record)  # nothing later takes the name of what is published
                elif path not in lines:
                    paths.add(path)
                    row = {**fields, "config": public_config(fields["config"]), "sha256": digest}
                    if (prompt := prompts(fields["caption"])) is not None:
                        row["prompt"] = dict(prompt)
                    lines[path] = json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n"
            place_videos(out, record, paths)

        # Videos that the manifest lists keep their names; results that came in twice are placed after them.
        for record in store.records():
            place(record, late=False)
        for record in deferred:
            place(record, late=True)
        # The tables: quarantine once with everything, for the user, and once as it may be published.
        errors = [*(failure.error for failure in store.quarantined()), *(e.to_record() for e in unread)]
        write_atomic(out / MANIFEST, "".join(lines[path] for path in sorted(lines)))
        for table, records in ((OWN_QUARANTINE, errors), (QUARANTINE, map(public_failure, errors))):
            failures = [json_text(record, sort_keys=True) + "\n" for record in records]
            if failures:
                write_atomic(out / table, "".join(sorted(failures)))
            else:
                (out / table).unlink(missing_ok=True)
    return len(lines)


@contextmanager
def publishing_turn(work: Path) -> Iterator[None]:
    """Whoever has it alone writes the folder's tables."""
    with Store(work / "publish") as store, store.turn("publish"):
        yield


def _folder_there(target: Path) -> SourceError:
    return SourceError(
        "a folder lies where a finished video belongs",
        file=target,
        fix="Move it away and run again, or name another --out",
    )


def _link(out: Path, source: Path, target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        raise _folder_there(target)
    try:
        atomic_link(source, target, out / ".work")
    except FileNotFoundError as error:
        raise StoreError("a finished video has gone", file=source, fix="Run again") from error
    except OSError:  # a file system without links
        with atomic_path(target) as copy:
            shutil.copyfile(source, copy)


def _tidy(out: Path) -> None:
    """Remove what killed runs left: second names that never got to their place, and halves of our tables."""
    for table in (MANIFEST, QUARANTINE):  # only who has the turn writes these
        for leftover in out.glob(f".part-*-{table}"):
            leftover.unlink(missing_ok=True)
    for folder in (out, out / ".work"):
        sweep(folder, again=True)


def known_prompts(out: Path) -> dict[str, dict[str, Any]]:
    """Caption -> how much of it the generator reads, as an earlier run noted it in the manifest."""
    rows = _manifest_rows(out)
    return {row.caption: dict(row.video.prompt) for row in rows if row.caption and row.video.prompt}


def _manifest_digests(out: Path) -> dict[str, str | None]:
    """Path -> SHA-256 in a manifest of our own writing (`bind` has refused any other)."""
    return {row.path: row.video.sha256 for row in _manifest_rows(out)}


def _manifest_rows(out: Path) -> Iterable[ManifestRow]:
    """What can be read: the manifest is about to be written again."""
    return read_manifest(out / MANIFEST, lambda error: None) if (out / MANIFEST).exists() else ()


def _differences(found: Any, expected: Mapping[str, Any]) -> str:
    if not isinstance(found, dict):
        return "not a recipe"
    settings = [recipe.get("settings") for recipe in (found, expected)]
    old, new = (
        {**recipe, **(own if isinstance(own, dict) else {})}
        for recipe, own in zip((found, expected), settings, strict=True)
    )
    keys = [key for key in sorted({*old, *new} - {"settings"}) if old.get(key) != new.get(key)]
    return "; ".join(f"{key} {old.get(key)!r}, now {new.get(key)!r}" for key in keys)


def read_failures(out: Path) -> Iterator[tuple[set[tuple[str, int]], SynvitaError]]:
    """(pair id, sample) of the videos, and the error, of each line of the quarantine file."""
    try:
        text = (out / QUARANTINE).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise SourceError(
            "the list of videos that could not be made cannot be read",
            file=out / QUARANTINE,
            found=error.strerror,
            fix="Remove what lies there, and run again",
        ) from error
    for record in json_lines(text):
        try:
            if "videos" in record:
                parts = (name.removesuffix(".mp4").rpartition("_") for name in record["videos"])
                ids = {(pair, int(sample)) for pair, _, sample in parts}
            else:
                ids = {(str(record.get("id")), int(record.get("sample", 1)))}
        except OTHER_FORM:
            continue  # not a line of ours
        yield ids, SynvitaError.from_record(record)
