"""What a pull request adds to a results repository: looked at, fetched within limits, recomputed, and told in a comment."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import HubError, SynvitaError
from ..hub.card import code, markdown
from ..hub.pulls import Pull, PullRequests
from ..hub.repo import Snapshot
from .changes import added_results, changes_between, digests, misplaced, refused_changes
from .opening import open_submitted
from .report import WORDS, Report, ResultReport, make_report
from .verify import MOST_RESULTS, Truth, place_of, result_files, verify_folder

_MARK = "<!-- synvita verify {} -->"
_MOST_ROWS = 100


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A pull request and what was found of it. `commented`: a comment was added now."""

    pull: Pull
    report: Report
    commented: bool


def verify_changes(folder: Path, base: Path, truth: Truth) -> Report:
    """Verify what one copy of a results repository adds to another.

    Args:
        folder: with the additions.
        base: without.
        truth: annotations.
    """
    now = digests(folder)
    changes = changes_between(digests(base), now)
    sizes = {
        path: (folder / path).stat().st_size for path in changes.added if not (folder / path).is_symlink()
    }
    problems = refused_changes(changes, sizes)
    return _verified(folder, added_results(changes), problems, truth)


def verify_revision(repo: PullRequests, revision: str, truth: Truth) -> Report:
    """Verify what a revision of a results repository (`refs/pr/3`) adds to `main`.

    Raises:
        HubError: the Hub refuses, or is away.
    """
    here, main = repo.snapshot(revision), repo.snapshot("main")
    base = repo.snapshot(repo.base_of(revision))
    changes = changes_between(_contents(base), _contents(here))
    taken = frozenset(path for path in changes.added if path in main.files)
    sizes = {path: here.files[path].size for path in changes.added}
    problems = refused_changes(changes, sizes, taken)
    if problems:  # nothing of it is fetched
        return make_report((), problems)
    with _fetched(repo, here.commit, changes.added) as folder:
        return _verified(folder, added_results(changes), [], truth)


def verify_repository(repo: PullRequests, truth: Truth) -> tuple[Report, str]:
    """Verify all results of a repository's `main`; returns the report and the commit.

    Raises:
        HubError: the Hub refuses, or is away; there is too much to fetch.
    """
    here = repo.snapshot("main")
    wanted = [
        path for path in here.files if path.startswith("results/") and not path.endswith(".verified.json")
    ]
    changes = changes_between({}, dict.fromkeys(wanted, ""))
    sizes = {path: here.files[path].size for path in wanted}
    problems = refused_changes(changes, sizes, most=3 * MOST_RESULTS)
    if problems:
        return make_report((), problems), here.commit
    with _fetched(repo, here.commit, wanted) as folder:
        return _verified(folder, added_results(changes), [], truth), here.commit


def review(repo: PullRequests, truth: Truth, *, comment: bool) -> Iterator[Reviewed]:
    """Verify every open pull request whose newest commit this account has not commented on yet.

    Args:
        repo: results repository.
        truth: annotations.
        comment: add the report as a comment; else only say it.
    """
    account = repo.check_token() if comment else None
    for pull in repo.opened():
        head = repo.resolve(pull.revision)
        mark = _MARK.format(head)
        if account is not None and any(
            author == account and mark in text for author, text in repo.comments(pull.number)
        ):
            continue
        report = verify_revision(repo, head, truth)
        if account is not None:
            repo.comment(pull.number, f"{mark}\n{to_markdown(report)}")
        yield Reviewed(pull, report, comment)


def to_markdown(report: Report) -> str:
    """A report as a comment: a table, and below it every field that differs."""
    lines = [f"**{WORDS[report.verdict].capitalize()}** (synvita-data {markdown(report.synvita_data)})", ""]
    lines += [f"- {markdown(problem)}" for problem in report.problems]
    if report.results:
        lines += ["", "| result | verdict | score | nearest published | official |", "|---|---|---|---|---|"]
        lines += [_row(each) for each in report.results[:_MOST_ROWS]]
    if len(report.results) > _MOST_ROWS:
        lines.append(f"\nand {len(report.results) - _MOST_ROWS:,} more results")
    for each in report.results[:_MOST_ROWS]:
        details = [*map(str, each.differences), *([each.problem] if each.problem else []), *each.notes]
        if each.more_differences:
            details.insert(len(each.differences), f"and {each.more_differences:,} more fields")
        if details:
            lines += ["", f"{code(each.file)}:", *(f"- {markdown(detail)}" for detail in details)]
    return "\n".join(lines) + "\n"


def _row(each: ResultReport) -> str:
    score = "–" if each.score is None else f"{markdown(each.score_name)} {each.score:.2f}"
    near = each.published
    published = "–"
    if near is not None:
        inside = {True: ", inside the interval", False: ", outside the interval", None: ""}[near.inside]
        published = f"{markdown(near.model)} {near.value} ({near.difference:+.2f}{inside})"
    cells = (code(each.file), WORDS[each.verdict], score, published, "yes" if each.official else "no")
    return f"| {' | '.join(cells)} |"


def _verified(folder: Path, results: list[str], problems: list[str], truth: Truth) -> Report:
    """The report of results in a copy of a repository, each in its place."""
    if not results:
        return make_report((), problems)
    there = set(result_files(folder))
    problems = problems + [f"{path} is a link" for path in results if path not in there]
    results = [path for path in results if path in there]
    if not results:
        return make_report((), problems)
    report = verify_folder(folder, truth, only=results)
    for each in report.results:
        try:
            submitted = open_submitted(folder / each.file)
            place = place_of(submitted.side.result)
        except (SynvitaError, AttributeError, KeyError, TypeError):  # the report of the result says it
            continue
        if (problem := misplaced(each, place, submitted.columns)) is not None:
            problems.append(problem)
    return replace(make_report(report.results, [*problems, *report.problems]), checked=report.checked)


def _contents(snapshot: Snapshot) -> dict[str, str]:
    return {path: file.sha256 or file.blob_id for path, file in snapshot.files.items()}


@contextmanager
def _fetched(repo: PullRequests, commit: str, paths: tuple[str, ...] | list[str]) -> Iterator[Path]:
    """A folder with these files of a commit, all of whose sizes are known to be in bounds."""
    with tempfile.TemporaryDirectory(prefix="synvita-review-") as name:
        folder = Path(name)
        for path in paths:
            target = folder / path
            if not target.resolve().is_relative_to(folder.resolve()):
                raise HubError("a path of the repository leaves it", file=repo.id, found=path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(repo.fetch(path, commit, what="a submitted file"), target)
        yield folder
