"""The last step of a build: whole folders change places, then card, report and figures follow.

A reader of OUT sees a config as it was before or as it is after. Builds of several configs may finish
at the same moment: a claim on `OUT/.work/finish` makes them take turns.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

from synvita_data.dataset.built import local_config
from synvita_data.dataset.inspection import difference_figure, figure_name, inspect_dataset, save_figure
from synvita_data.errors import SynvitaError
from synvita_data.files import remove_temporaries, sha256_file, write_atomic
from synvita_data.jobs import Store

from .card import CARD_MARK, render_card
from .report import (
    QUARANTINE_NAME,
    REPORT_NAME,
    compare_scores,
    dump_json,
    merge_quarantine,
    merge_report,
    read_report,
)

_SHARD_NAME = re.compile(r"[a-z]+-\d{5}-of-\d{5}\.parquet")
# Shards of other inputs may belong to a build that is running now; after a day without a sign they do not.
ABANDONED_AFTER = 24 * 3600.0


def finished_record(out: Path, config: str, key: str) -> dict[str, Any] | None:
    """The config's entry in `build.json` if it was built from the same inputs and its files are whole."""
    record: dict[str, Any] = ((read_report(out) or {}).get("configs") or {}).get(config) or {}
    if record.get("key") != key or not (out / "README.md").is_file():
        return None
    written = (out / REPORT_NAME).stat().st_mtime_ns
    for split in record["splits"].values():
        for shard in split["shards"]:
            path = out / config / shard["file"]
            if not path.is_file() or path.stat().st_size != shard["bytes"]:
                return None
            # Reading gigabytes to learn that nothing happened is for files that somebody touched since.
            if path.stat().st_mtime_ns > written and sha256_file(path) != shard["sha256"]:
                return None
    return record


def check_place(out: Path, config: str) -> None:
    """Refuse an `out` whose files are not a dataset's: what a build puts in place replaces whole folders.

    Raises:
        SynvitaError: `out` is no folder or cannot be written; `out/config` holds anything but shards; the
            card or the report is somebody else's.
    """
    if out.exists() and not out.is_dir():
        raise SynvitaError("--out is not a folder", file=out, fix="Name another --out")
    try:
        (out / ".work").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SynvitaError("--out cannot be written", file=out, found=error.strerror) from error
    place = out / config
    foreign = [] if not place.exists() else [place] if not place.is_dir() else sorted(place.iterdir())
    foreign = [path for path in foreign if path.is_dir() or not _SHARD_NAME.fullmatch(path.name)]
    if foreign:
        raise SynvitaError(
            "the folder of the config holds files that are not shards, and would be replaced",
            file=place,
            found=", ".join(path.name for path in foreign[:3]) + (", …" if len(foreign) > 3 else ""),
            expected="no such folder, or one that `synvita build` wrote",
            fix="Name another --out or another --config",
        )
    card = out / "README.md"
    if read_report(out) is None and card.is_file() and CARD_MARK not in card.read_text(errors="replace"):
        raise SynvitaError(
            "the folder holds a README.md that is not a dataset card, and would be replaced",
            file=card,
            fix="Name another --out, or move the file",
        )


def put_in_place(
    out: Path,
    config: str,
    record: Mapping[str, Any],
    quarantine: Sequence[Mapping[str, Any]],
    files: Mapping[str, Path],
) -> dict[str, Any] | None:
    """Make `files` the Parquet files of `OUT/config`, and renew card, report, quarantine and figure.

    The config's entry as it was written; None when `files` are no longer there, because another build of equal
    inputs has put them in place and tidied up.

    Args:
        record: the config's entry of `build.json`.
        files: shard name -> finished file somewhere in `OUT/.work`; it is linked, or copied where
            the file system has no hard links.
    """
    work = out / ".work"
    with _turn(work):
        check_place(out, config)
        if not all(path.is_file() for path in files.values()):
            return None
        fresh = work / f"fresh-{token_hex(4)}"
        fresh.mkdir()
        for name, path in files.items():
            _link(path, fresh / name)
        # build.json names the files that count, so it goes last: a build killed before that finds its
        # key missing, and puts everything in place again from the store.
        _swap(fresh, out / config, work)
        _draw(out, config, sorted(record["splits"]))
        report = compare_scores(out, merge_report(read_report(out), config, record))
        write_atomic(out / "README.md", render_card(report))
        write_atomic(out / QUARANTINE_NAME, merge_quarantine(out, config, quarantine))
        write_atomic(out / REPORT_NAME, dump_json(report))
        _tidy(work, done=next(iter(files.values())))
    written: dict[str, Any] = report["configs"][config]
    return written


def renew_record(out: Path, config: str, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Say in report and card of a config that is up to date what is known by now of scores and prompts.

    Rows are the same whether a score table names the videos or not, so their files stay.
    """
    with _turn(out / ".work"):
        report = read_report(out) or {"configs": {}}
        record = {**report["configs"][config], **entries}
        report = compare_scores(out, {**report, "configs": {**report["configs"], config: record}})
        write_atomic(out / "README.md", render_card(report))
        write_atomic(out / REPORT_NAME, dump_json(report))
    written: dict[str, Any] = report["configs"][config]
    return written


def _tidy(work: Path, done: Path) -> None:
    """Remove what this build no longer needs, and what builds that never came back left behind."""
    yesterday = time.time() - ABANDONED_AFTER
    for folder in (work / "shards").iterdir():
        if done.is_relative_to(folder) or folder.stat().st_mtime < yesterday:
            shutil.rmtree(folder, ignore_errors=True)
    # Only who has the turn makes these.
    for leftover in (*work.glob("fresh-*"), *work.glob("old-*")):
        shutil.rmtree(leftover, ignore_errors=True)
    for folder in (work.parent, work.parent / "figures"):
        remove_temporaries(folder)


@contextmanager
def _turn(work: Path) -> Iterator[None]:
    """Wait for this process's turn; a finisher that died is passed over."""
    store = Store(work / "finish")
    while (claim := store.claim("finish")) is None:
        time.sleep(0.2)
    with claim:  # never committed: leaving gives the turn to the next
        yield


def _swap(fresh: Path, final: Path, work: Path) -> None:
    old = work / f"old-{token_hex(4)}"
    if final.exists():
        final.rename(old)
    fresh.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _draw(out: Path, config: str, splits: Sequence[str]) -> None:
    stem = out / "figures" / figure_name(config)
    figure = difference_figure(inspect_dataset(local_config(out, config, splits), config))
    if figure is not None:
        save_figure(figure, stem)
    else:
        for suffix in (".png", ".svg"):
            stem.with_suffix(suffix).unlink(missing_ok=True)
