"""`synvita submit`: results as a pull request to a results repository."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DeclarationsOption

if TYPE_CHECKING:
    from ..hub.pulls import PullRequests
    from ..submissions.send import Submission

_FILES_SHOWN = 40


def submit(
    results: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS",
            help="Folder of results, of one model, or a result file, as synvita evaluate wrote it.",
        ),
    ],
    repo: Annotated[
        str, typer.Argument(metavar="REPO", help="Results repository, a dataset OWNER/NAME on the Hub.")
    ],
    annotations: Annotated[
        str | None,
        typer.Option(
            metavar="PATH_OR_REPO",
            help="Annotations to verify with before anything is sent; without, only contradictions are found.",
        ),
    ] = None,
    task: DeclarationsOption = None,
    training_record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The fine-tune's training_run.json, which says what the model was trained on.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Verify and show what would be sent; send nothing.")
    ] = False,
    model_repo: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="The model's repository, where .eval_results/<task>.yaml is written as well."
        ),
    ] = None,
    dataset_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="The benchmark's dataset as registered on the Hub, for --model-repo."
        ),
    ] = None,
    task_id: Annotated[
        list[str] | None,
        typer.Option(
            "--task-id",
            metavar="[TASK=]ID",
            help="The task's id in that dataset as registered, for --model-repo (repeat for several tasks).",
        ),
    ] = None,
    workflow: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="For maintainers: write the workflow that verifies REPO's pull requests below DIR, and send nothing.",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="HF_TOKEN",
            show_envvar=True,
            help="Access token that may write. Default: that of `hf auth login`.",
        ),
    ] = None,
) -> None:
    """Verify results, show what will be sent, and open a pull request. Running it again continues a broken one."""
    from ..display import Terminal, print_error
    from ..errors import SynvitaError
    from ..hub.pulls import PullRequests
    from ..submissions.model_page import task_ids
    from ..submissions.send import prepare, send
    from ..submissions.verify import Truth

    if workflow is not None:
        from ..submissions.workflow import write_workflow

        if annotations is None:
            raise SynvitaError(
                "no annotations are given", expected="--annotations OWNER/NAME, for --workflow"
            )
        print_error(f"written: {write_workflow(workflow, repo, annotations)}", "")
        return
    if model_repo is None and (dataset_id or task_id):
        raise SynvitaError("--dataset-id and --task-id are for --model-repo")
    if model_repo is not None and (dataset_id is None or not task_id):
        raise SynvitaError(
            "nothing says which benchmark of the Hub the results are of",
            expected="--dataset-id ID and --task-id ID, as the benchmark is registered there",
        )
    target = PullRequests(repo, token=token or None)
    truth = Truth.named(annotations, task or ())
    submission = prepare(results, truth, target, training_record=training_record)
    ids = task_ids(tuple(task_id or ()), submission.results) if model_repo is not None else {}
    for line in _shown(submission, dry_run=dry_run):
        Terminal().line(line)
    if model_repo is not None and dataset_id is not None:
        _check_model_page(submission, model_repo, dataset_id, ids, token, target)
    if dry_run:
        return
    if submission.files:
        pull = send(submission, target)
        Terminal().line(("bold", f"pull request {pull.number}"), f" {pull.url}")
        page = pull.url
    elif model_repo is None:
        raise SynvitaError("the repository has these results already", file=repo)
    else:
        page = _page(target)
    if model_repo is not None and dataset_id is not None:
        _write_model_page(submission, model_repo, dataset_id, ids, token, page)


def _page(target: "PullRequests") -> str:
    return f"{target.endpoint}/datasets/{target.id}"


def _check_model_page(
    submission: "Submission",
    model_repo: str,
    dataset_id: str,
    ids: dict[str, str],
    token: str | None,
    target: "PullRequests",
) -> None:
    """What would be written to the model's repository, before anything is sent anywhere."""
    from ..display import Terminal
    from ..hub.repo import HubRepo
    from ..submissions.model_page import model_files

    found = model_files(
        submission.results,
        HubRepo(model_repo, repo_type="model", token=token or None),
        dataset_id=dataset_id,
        ids=ids,
        source=_page(target),
    )
    for file in found:
        Terminal().line(f"  model   {model_repo}/{file.path}  {_size(file.size)}")


def _write_model_page(
    submission: "Submission",
    model_repo: str,
    dataset_id: str,
    ids: dict[str, str],
    token: str | None,
    page: str,
) -> None:
    from ..display import Terminal
    from ..hub.repo import HubRepo
    from ..submissions.model_page import model_files, write_model_files

    repo = HubRepo(model_repo, repo_type="model", token=token or None)
    files = model_files(submission.results, repo, dataset_id=dataset_id, ids=ids, source=page)
    write_model_files(files, repo)
    for file in files:
        Terminal().line(("bold", "written"), f" {model_repo}/{file.path}")


def _shown(submission: "Submission", *, dry_run: bool) -> list[str]:
    """What will be sent, by name and size, and what was found of each result."""
    from ..display import counted
    from ..submissions.report import WORDS

    size = _size(sum(file.size for file in submission.files))
    verb = "would be sent" if dry_run else "to send"
    files, same = counted(len(submission.files), "files"), len(submission.same)
    lines = [f"{files} {verb} ({size}), {same:,} {'is' if same == 1 else 'are'} there already"]
    few = submission.files[:_FILES_SHOWN]
    lines += [f"  send    {file.path}  {_size(file.size)}" for file in few]
    lines += [f"  … and {len(submission.files) - len(few)} more"] if len(few) < len(submission.files) else []
    for each in submission.report.results:
        score = "" if each.score is None else f" · {each.score_name} {each.score:.2f}"
        lines.append(f"  {WORDS[each.verdict]} · {each.model} · {each.task}{score}")
        lines += [f"    {note}" for note in each.notes]
    lines.append(f"  as: {submission.title}")
    return lines


def _size(count: int) -> str:
    return f"{count:,} B" if count < 10_000 else f"{count / 1000:,.0f} kB"
