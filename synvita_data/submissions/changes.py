"""What may be changed in a results repository by others than its maintainers: results are added, and nothing else."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..files import sha256_file
from .opening import LARGEST_RESULT, LARGEST_TABLE
from .report import REPORT_SUFFIX, ResultReport
from .trained import LARGEST_RECORD, RECORD

MOST_FILES = 600
MOST_BYTES = 2 << 30
_NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
_PLACE = re.compile(rf"results/({_NAME})/({_NAME})/({_NAME}(?:@[a-z]+)?)(\.json|\.parquet)", re.ASCII)
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Changes:
    """What one state of a repository has and another has not.

    Attributes:
        added, changed, deleted: paths, sorted.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    deleted: tuple[str, ...]


def changes_between(base: Mapping[str, str], now: Mapping[str, str]) -> Changes:
    """Compare two states.

    Args:
        base: path -> digest of the content before.
        now: the same after.
    """
    return Changes(
        tuple(sorted(now.keys() - base.keys())),
        tuple(sorted(path for path in now.keys() & base.keys() if now[path] != base[path])),
        tuple(sorted(base.keys() - now.keys())),
    )


def digests(folder: Path) -> dict[str, str]:
    """The files of a folder by their paths, without hidden folders; a link is told from what it points at."""
    found = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") for part in parts[:-1]):
            continue
        if path.is_symlink():
            found["/".join(parts)] = f"link to {path.readlink()}"
        elif path.is_file():
            found["/".join(parts)] = sha256_file(path)
    return found


def refused_changes(
    changes: Changes,
    sizes: Mapping[str, int],
    taken: frozenset[str] = frozenset(),
    *,
    most: int = MOST_FILES,
) -> list[str]:
    """Why a pull request may not be merged, whatever its numbers say, a sentence each.

    Args:
        changes: that it makes.
        sizes: of the added files, in bytes.
        taken: paths that came into being since it was made.
        most: how many files it may add.
    """
    problems = [f"changes {path}, which is there already" for path in changes.changed]
    problems += [f"deletes {path}" for path in changes.deleted]
    problems += [f"adds {path}, which came into being meanwhile" for path in changes.added if path in taken]
    for path in changes.added:
        largest = _largest(path)
        if largest is None:
            problems.append(
                f"adds {path}, which is no part of a result: results/<model>/<revision>/<task>.json, .parquet or {RECORD}"
            )
        elif (size := sizes.get(path, 0)) > largest:
            problems.append(f"adds {path} of {size:,} bytes: at most {largest:,} are taken")
    results = {path for path in changes.added if _is_result(path)}
    for path in changes.added:
        if path.endswith(".parquet") and path.removesuffix(".parquet") + ".json" not in results:
            problems.append(f"adds {path} without its result")
    total = sum(sizes.get(path, 0) for path in changes.added)
    if len(changes.added) > most or total > MOST_BYTES:
        problems.append(
            f"adds {len(changes.added):,} files of {total:,} bytes: at most {most:,} and {MOST_BYTES:,}"
        )
    if not results and not problems:
        problems.append("adds no result")
    return problems[:_SHOWN] + [f"and {len(problems) - _SHOWN:,} more"] * (len(problems) > _SHOWN)


def added_results(changes: Changes) -> list[str]:
    """The result files among what is added."""
    return [path for path in changes.added if _is_result(path)]


def misplaced(report: ResultReport, place: str | None, columns: Sequence[str]) -> str | None:
    """Why a result may not stand where it does in a results repository; None if it may.

    Args:
        report: of the result.
        place: where it belongs, as `place_of` says; None where it could not be read.
        columns: of its score table.
    """
    if place is not None and report.file != place:
        return f"{report.file} belongs to {place}, as its model, revision and task say"
    if "caption" in columns:
        return f"the score table of {report.file} holds captions, which some licences forbid: `synvita submit` drops them"
    return None


def _is_result(path: str) -> bool:
    found = _PLACE.fullmatch(path)
    return found is not None and found[4] == ".json" and not path.endswith((REPORT_SUFFIX, f"/{RECORD}"))


def _largest(path: str) -> int | None:
    """The largest size of a file that may be added there; None for what may not."""
    found = _PLACE.fullmatch(path)
    if found is None or path.endswith(REPORT_SUFFIX):
        return None
    if f"{found[3]}{found[4]}" == RECORD:
        return LARGEST_RECORD
    return LARGEST_RESULT if found[4] == ".json" else LARGEST_TABLE
