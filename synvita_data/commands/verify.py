"""`synvita verify`: recompute results from their scores."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DeclarationsOption

if TYPE_CHECKING:
    from ..hub.pulls import PullRequests
    from ..submissions.report import Report, ResultReport
    from ..submissions.verify import Truth

# Exit status of a result that is not what its scores give, or was refused; 2 is a user's mistake, as everywhere.
_NOT_GOOD = 1
_SHOWN = 20


def verify(
    place: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE_OR_REPO]",
            help="A result file, a folder of results, or a results repository OWNER/NAME on the Hub.",
        ),
    ] = None,
    annotations: Annotated[
        str | None,
        typer.Option(
            metavar="PATH_OR_REPO",
            help="Annotation file of the task, a folder of all, or a dataset repository with them; without it nothing is verified.",
        ),
    ] = None,
    task: DeclarationsOption = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Verify only what a results repository's folder adds to this copy of it."
        ),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(metavar="REVISION", help="Verify what this revision adds to main, such as refs/pr/3."),
    ] = None,
    pull_requests: Annotated[
        bool,
        typer.Option("--pull-requests", help="Verify what every open pull request of the repository adds."),
    ] = False,
    comment: Annotated[
        bool,
        typer.Option("--comment", help="Add each report to its pull request, once for each of its commits."),
    ] = False,
    rerun: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Your own result of the same model, whose difference is written into the report.",
        ),
    ] = None,
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="Write <task>.verified.json beside each verified result, for the leaderboard."
        ),
    ] = False,
    json_file: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Write the report as JSON; - prints only that."),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Write the report as Markdown, as in a comment.")
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of results and reports, and nothing else.")
    ] = False,
) -> None:
    """Recompute every metric, interval, bound and breakdown of results from their score tables and the annotations.

    Ends with status 1 where a field differs or a result is refused, each named with what was found and recomputed.
    """
    from ..display import write as write_text
    from ..errors import SynvitaError

    if schema:
        from ..submissions.schema import schemas_json

        write_text(schemas_json())
        return
    if place is None:
        raise SynvitaError("no result is named", expected="a result file, a folder, or OWNER/NAME")
    from ..submissions.verify import Truth

    of_a_repository = {
        "--revision": revision,
        "--pull-requests": pull_requests or None,
        "--comment": comment or None,
    }
    there = Path(place).expanduser()
    given = [name for name, value in of_a_repository.items() if value is not None]
    if there.exists() and given:
        raise SynvitaError("these options are for a repository on the Hub", found=", ".join(given))
    if comment and not pull_requests:
        raise SynvitaError("--comment is for --pull-requests")
    truth = Truth.named(annotations, task or ())
    if there.exists():
        report = _verify_files(there, truth, against, rerun, write=write)
    else:
        from ..hub.repo import REPO_ID

        if REPO_ID.fullmatch(place) is None or against is not None or rerun is not None:
            raise SynvitaError(
                "there is no such result",
                file=place,
                expected="a result file, a folder, or a repository OWNER/NAME",
            )
        from ..hub.pulls import PullRequests

        report = _verify_repository(PullRequests(place), truth, revision, pull_requests, comment, write)
    _show(report, json_file, markdown)
    if not report.good:
        raise typer.Exit(_NOT_GOOD)


def _verify_files(
    there: Path, truth: "Truth", against: Path | None, rerun: Path | None, *, write: bool
) -> "Report":
    """What lies on this machine: a file, a folder, or what a folder adds to another."""
    from ..errors import SynvitaError
    from ..submissions.report import make_report, write_reports
    from ..submissions.verify import verify_file, verify_folder, with_rerun

    if against is not None:
        from ..submissions.review import verify_changes

        report, folder = verify_changes(there, against, truth), there
    elif there.is_dir():
        report, folder = verify_folder(there, truth), there
    else:
        found, folder = verify_file(there, truth), there.parent
        if rerun is not None:
            found = with_rerun(found, verify_file(rerun, truth))
        report = make_report([found])
    if rerun is not None and there.is_dir():
        raise SynvitaError("--rerun is for a single result", found=str(there), expected="a result file")
    if write:
        write_reports(report, folder)
    return report


def _verify_repository(
    repo: "PullRequests",
    truth: "Truth",
    revision: str | None,
    pull_requests: bool,
    comment: bool,
    write: bool,
) -> "Report":
    """What the Hub has: all of `main`, what one revision adds, or what each open pull request adds."""
    from ..display import Terminal
    from ..errors import SynvitaError
    from ..hub.repo import LocalFile
    from ..submissions.report import make_report, report_files
    from ..submissions.review import review, verify_repository, verify_revision

    if revision is not None:
        return verify_revision(repo, revision, truth)
    if not pull_requests:
        report, commit = verify_repository(repo, truth)
        if write:
            there = repo.snapshot(commit).files
            files = [LocalFile(path, text.encode()) for path, text in report_files(report).items()]
            new = [file for file in files if not file.equals(there.get(file.path))]
            if new:
                repo.commit(new, (), message="Reports of synvita verify", parent=commit)
        return report
    if write:
        raise SynvitaError(
            "reports are written of what is merged", fix="Leave --write or --pull-requests out"
        )
    terminal, found = Terminal(), []
    for each in review(repo, truth, comment=comment):
        said = "commented" if each.commented else "not commented"
        terminal.line(
            ("bold", f"pull request {each.pull.number}"),
            f" {each.pull.title} · {each.report.verdict}, {said}",
        )
        found.append(each.report)
    if not found:
        terminal.line("no pull request to look at", style="dim")
        return _nothing()
    results = [result for report in found for result in report.results]
    return make_report(results, [problem for report in found for problem in report.problems])


def _nothing() -> "Report":
    """The report of nothing new, which is no fault."""
    from dataclasses import replace

    from ..submissions.report import make_report

    return replace(make_report((), ()), verdict="consistent")


def _show(report: "Report", json_file: str | None, markdown: Path | None) -> None:
    from ..display import print_error, write
    from ..files import write_atomic
    from ..submissions.review import to_markdown

    if json_file == "-":
        write(report.to_json())
    else:
        _print(report)
    written = []
    if json_file is not None and json_file != "-":
        write_atomic(Path(json_file), report.to_json())
        written.append(json_file)
    if markdown is not None:
        write_atomic(markdown, to_markdown(report))
        written.append(str(markdown))
    for place in written:
        print_error(f"written: {place}", "")


def _print(report: "Report") -> None:
    """A line a result, and below it every field that differs."""
    from ..display import Terminal
    from ..submissions.report import WORDS

    terminal = Terminal()
    for each in report.results:
        style = "green" if each.verdict == "verified" else "yellow" if each.good else "bold red"
        score = "" if each.score is None else f" · {each.score_name} {each.score:.2f}"
        terminal.line((style, WORDS[each.verdict]), f" · {each.file} · {each.model or 'unreadable'}{score}")
        for line in _details(each):
            terminal.line(f"  {line}")
    for problem in report.problems:
        terminal.line(("bold red", "refused"), f" · {problem}")


def _details(each: "ResultReport") -> list[str]:
    lines = [str(difference) for difference in each.differences[:_SHOWN]]
    more = len(each.differences) - len(lines) + each.more_differences
    lines += [f"and {more:,} more fields"] if more > 0 else []
    lines += [each.problem] if each.problem is not None else []
    if each.published is not None:
        near = each.published
        lines.append(f"nearest published: {near.model} {near.value} ({near.difference:+.2f})")
    if each.rerun is not None:
        lines.append(f"run again: {each.rerun.value:.2f} ({each.rerun.difference:+.2f})")
    return lines + list(each.notes)
