"""A result in its model's own repository: `.eval_results/<task>.yaml`, which the Hub shows on the model's page.

The format is huggingface_hub's (`EvalResultEntry`). A benchmark is known there by the id of its dataset and of a task in
it, as they are registered on the Hub; nothing here can guess them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import HubError, SchemaError, SourceError
from ..evaluation.results import Result
from ..files import parse_yaml
from ..hub.repo import HubRepo, LocalFile
from ..tasks import TASKS

if TYPE_CHECKING:
    from huggingface_hub import EvalResultEntry


def task_ids(given: tuple[str, ...], results: Mapping[str, Result]) -> dict[str, str]:
    """Name of a task -> its id in the benchmark's dataset.

    Args:
        given: `ID` for the only task there is, or `TASK=ID` for each.
        results: what is submitted.

    Raises:
        SourceError: an id without a task where there are several, or of a task that is not there.
    """
    tasks = sorted({result.task for result in results.values() if result.control is None})
    found = {}
    for each in given:
        task, equals, own = each.partition("=")
        if not equals:
            if len(tasks) != 1:
                raise SourceError(
                    "the results are of several tasks",
                    found=", ".join(tasks),
                    expected="--task-id TASK=ID for each",
                )
            task, own = tasks[0], each
        if task not in tasks or not own:
            raise SourceError(
                "there is no result of this task", found=each, expected=f"TASK=ID of {', '.join(tasks)}"
            )
        found[task] = own
    return found


def entry_of(result: Result, *, dataset_id: str, task_id: str, source: str) -> "EvalResultEntry":
    """A result as the Hub's entry.

    Args:
        result: official, and of the task itself.
        dataset_id: the benchmark's dataset, as registered.
        task_id: of the task in it.
        source: address of what the number stands on: the pull request.
    """
    from huggingface_hub import EvalResultEntry

    score, model = result.main_score, result.record["model"]
    low, high = score.get("low"), score.get("high")
    notes = [f"{score['name']} in percent"]
    if low is not None and high is not None:
        notes.append(f"95% interval {low:.2f} to {high:.2f}")
    if model.get("prompt"):
        notes.append(f"prompt {model['prompt']}")
    notes.append(f"annotations {result.record['task']['annotations']}")
    task = TASKS.get(result.task)
    return EvalResultEntry(
        dataset_id=dataset_id,
        task_id=task_id,
        value=round(float(score["value"]), 6),
        dataset_revision=task.hub_revision if task is not None and task.hub_path == dataset_id else None,
        date=(result.record.get("run") or {}).get("finished"),
        source_url=source,
        source_name="synvita results",
        notes=", ".join(notes),
    )


def model_files(
    results: Mapping[str, Result], repo: HubRepo, *, dataset_id: str, ids: Mapping[str, str], source: str
) -> list[LocalFile]:
    """The files that the model's repository would get; an entry of another benchmark in one of them stays.

    Args:
        results: path in the results repository -> result; of one model.
        repo: the model's.
        dataset_id: the benchmark's dataset.
        ids: task -> its id.
        source: address of the pull request.

    Raises:
        SourceError: results of several models, or a task without an official result.
        SchemaError: a file that is there cannot be read.
        HubError: the Hub refuses, or is away.
    """
    import yaml
    from huggingface_hub import eval_result_entries_to_yaml, parse_eval_result_entries

    own = {
        result.task: result for result in results.values() if result.control is None and result.task in ids
    }
    models = {(result.model, result.record["model"].get("revision")) for result in own.values()}
    if len({model for model, _ in models}) > 1:
        raise SourceError(
            "the results are of several models",
            found=", ".join(sorted(model for model, _ in models)),
            expected="those of the model of --model-repo alone",
        )
    here = repo.snapshot("main")
    files = []
    for task, result in sorted(own.items()):
        if not result.official or result.main_score.get("value") is None:
            raise SourceError(
                "a result that is not official is no result of the model's page",
                file=result.path,
                found="; ".join(result.record["why_not_official"]),
            )
        entry = entry_of(result, dataset_id=dataset_id, task_id=ids[task], source=source)
        path = f".eval_results/{task}.yaml"
        kept: list[EvalResultEntry] = []
        if path in here.files:
            try:
                before = parse_eval_result_entries(parse_yaml(repo.read_text(path, here.commit)) or [])
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise SchemaError(
                    "the model's results cannot be read", file=f"{repo.id}/{path}", found=str(error)
                ) from error
            kept = [each for each in before if (each.dataset_id, each.task_id) != (dataset_id, ids[task])]
        text = yaml.safe_dump(
            eval_result_entries_to_yaml([*kept, entry]), sort_keys=False, allow_unicode=True
        )
        file = LocalFile(path, text.encode())
        if not file.equals(here.files.get(path)):
            files.append(file)
    return files


def write_model_files(files: list[LocalFile], repo: HubRepo) -> None:
    """Commit them to the model's repository.

    Raises:
        HubError: the Hub refuses, or is away; nothing is half-written, and running the same again continues.
    """
    if not files:
        return
    state = repo.state()
    if state is None:
        raise HubError("the model's repository does not exist, or the token may not see it", file=repo.id)
    repo.commit(files, (), message="Add evaluation results", parent=state.head)
