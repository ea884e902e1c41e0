"""Submit results: verified, put where the results repository wants them, shown, and sent as one pull request."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..errors import HubError, SchemaError, SourceError
from ..evaluation.results import Result
from ..files import parse_json
from ..hub.leaks import refuse_leaks
from ..hub.places import without_places
from ..hub.pulls import Pull, PullRequests
from ..hub.repo import LocalFile
from .changes import MOST_FILES
from .opening import open_submitted
from .report import Report, ResultReport
from .trained import RECORD, read_trained
from .verify import Truth, place_of, result_files, verify_folder

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, eq=False)
class Submission:
    """What would be sent.

    Attributes:
        files: that the repository does not have yet.
        same: paths that it has already, with the same content.
        report: of all results, as they would be sent.
        results: path in the repository -> the result.
        title, description: of the pull request.
        parent: commit of `main` that it starts from; None where the Hub was not asked.
    """

    files: tuple[LocalFile, ...]
    same: tuple[str, ...]
    report: Report
    results: Mapping[str, Result]
    title: str
    description: str
    parent: str | None


def prepare(
    results: Path,
    truth: Truth,
    repo: PullRequests,
    *,
    training_record: Path | None = None,
    on_result: Callable[[ResultReport], None] | None = None,
) -> Submission:
    """Verify results as they would be sent, and compare them with what the repository has.

    Args:
        results: a result file, the folder of a model, or a folder of results.
        truth: annotations; without any, a result is only compared with its own table.
        repo: results repository.
        training_record: `training_run.json` of the fine-tune, for results beside which there is none.
        on_result: called with the report of each.

    Raises:
        SourceError: there is no result; two are of one model, revision and task; the model was trained on what it must not be.
        SchemaError: a result differs from its scores, or cannot be read; the message names field, found and recomputed.
        LeakError: a token or a place on this machine stands in what would be sent.
        HubError: the Hub refuses or is away; the repository has another result in that place.
    """
    with _staged(results, training_record) as (folder, placed):
        report = verify_folder(folder, truth, on_result=on_result)
        _refuse(report, {path: source for path, (source, _) in placed.items()})
        names = sorted(path for path in folder.rglob("*") if path.is_file())
        files = [LocalFile(path.relative_to(folder).as_posix(), path.read_bytes()) for path in names]
    if len(files) > MOST_FILES:
        raise SourceError(
            "these are too many results for one pull request",
            found=f"{len(files):,} files",
            expected=f"at most {MOST_FILES:,}",
            fix="Submit the models one by one",
        )
    refuse_leaks(files)
    main = repo.snapshot("main")
    there = [file for file in files if file.path in main.files]
    same = tuple(file.path for file in there if file.equals(main.files[file.path]))
    if other := [file.path for file in there if file.path not in same]:
        raise HubError(
            "the repository has another result in that place, and a submission changes none",
            file=f"{repo.id}/{other[0]}",
            found=f"{len(other):,} files that differ",
            expected="results of a model, revision and task that are new there",
            fix="Ask its maintainers to remove the old one, or evaluate another revision of the model",
        )
    send = tuple(file for file in files if file.path not in same)
    sent = {file.path for file in send}
    return Submission(
        send,
        same,
        report,
        {path: result for path, (_, result) in placed.items()},
        _title([result for path, (_, result) in placed.items() if path in sent]),
        f"{len(report.results):,} results, checked with `synvita submit` ({report.synvita_data}).",
        main.commit,
    )


def send(submission: Submission, repo: PullRequests) -> Pull:
    """Open the pull request; one that has the same files already is found again.

    Raises:
        HubError: the Hub refuses or is away; nothing can be seen of what was sent, and running it again continues.
        SourceError: there is nothing new in it.
    """
    if not submission.files:
        raise SourceError("the repository has these results already", file=repo.id)
    assert submission.parent is not None
    return repo.open(
        submission.files, title=submission.title, description=submission.description, parent=submission.parent
    )


def without_captions(table: "pa.Table") -> "pa.Table":
    """A score table without what some licences forbid to republish; `text_id` says which text is meant."""
    return table.drop_columns(["caption"]) if "caption" in table.column_names else table


@contextmanager
def _staged(
    results: Path, training_record: Path | None
) -> Iterator[tuple[Path, dict[str, tuple[Path, Result]]]]:
    """A folder with all files as the repository would have them, and path -> (original, result)."""
    import pyarrow.parquet as pq

    if results.is_file():
        found = [results]
    elif results.is_dir():
        found = [results / name for name in result_files(results)]
    else:
        raise SourceError(
            "there are no such results", file=results, expected="a result file, or a folder of them"
        )
    if not found:
        raise SourceError(
            "the folder holds no result",
            file=results,
            expected="<model>/<task>.json, as synvita evaluate writes it",
        )
    placed: dict[str, tuple[Path, Result]] = {}
    with TemporaryDirectory(prefix="synvita-submit-") as name:
        folder = Path(name)
        for path in found:
            result = open_submitted(path).side.result  # sizes and form, before anything is read whole
            place = place_of(result)
            if place in placed:
                raise SourceError(
                    "two results are of one model, revision and task",
                    file=path,
                    found=f"{result.model}, revision {result.record['model'].get('revision')}, {result.stem}",
                    expected=f"one of this and {placed[place][0]}",
                    fix="Submit the one that counts",
                )
            placed[place] = path, result
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
            pq.write_table(
                without_captions(pq.read_table(path.with_suffix(".parquet"))), target.with_suffix(".parquet")
            )
            own = path.with_name(RECORD)
            record = own if own.is_file() else training_record
            if record is not None:
                target.with_name(RECORD).write_text(_public_record(record), encoding="utf-8")
        yield folder, placed


def _public_record(path: Path) -> str:
    """The fine-tune's own record without places on this machine."""
    read_trained(path, None)
    record = without_places(parse_json(path.read_text(encoding="utf-8"), foreign=True))
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def _refuse(report: Report, sources: Mapping[str, Path]) -> None:
    """Raise for the first result that is not as its scores say."""
    bad = [each for each in report.results if not each.good]
    if not bad and not report.problems:
        return
    if not bad:
        raise SourceError(report.problems[0])
    first = bad[0]
    more = f" ({len(bad) - 1:,} more results are refused)" if len(bad) > 1 else ""
    source = sources.get(first.file, first.file)
    if first.problem is not None:
        raise SchemaError(f"a result cannot be submitted{more}: {first.problem.rstrip('.')}", file=source)
    wrong = first.differences[0]
    others = len(first.differences) + first.more_differences - 1
    raise SchemaError(
        f"a result is not what its scores give{more}",
        file=source,
        found=f"{wrong.field} {wrong.found}" + (f", and {others:,} more fields" if others else ""),
        expected=f"{wrong.field} {wrong.recomputed}, as recomputed",
        fix="Evaluate the scores again: synvita evaluate --predictions <task>.parquet",
    )


def _title(results: list[Result]) -> str:
    models = sorted({result.model for result in results})
    names = ", ".join(models[:2]) + (f" and {len(models) - 2:,} more" if len(models) > 2 else "")
    tasks = sorted({result.stem for result in results})
    title = f"Results of {names}: {', '.join(tasks[:3])}" + (
        f" and {len(tasks) - 3:,} more" if len(tasks) > 3 else ""
    )
    return "".join(char if char.isprintable() else " " for char in title)[:200]
