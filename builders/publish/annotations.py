"""Pack the tasks' annotations as a Hub dataset: ids and captions, never videos.

    OUT/README.md                                   card: configs, counts, licences, citations
    OUT/eval.yaml                                   the Hub's leaderboards: one task, one value
    OUT/annotations.json                            what was read, left out and counted
    OUT/<task>/test-00000-of-00001.parquet          one config a task

`synvita_data.annotations.read_annotations(task, OUT)` reads it back to the same annotations.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from synvita_data.annotations import Annotations, read_annotations
from synvita_data.annotations.packed import FILE_NAME, write_packed
from synvita_data.display import json_text
from synvita_data.errors import SchemaError
from synvita_data.files import atomic_path, sha256_file, write_atomic
from synvita_data.hub.card import citation, code, config_entry, make_card, markdown, table
from synvita_data.hub.leaks import refuse_leaks
from synvita_data.hub.places import without_own_places
from synvita_data.hub.repo import LocalFile
from synvita_data.tasks import COLUMNS, TASKS, Task, get_task

# The Hub shows a leaderboard for frameworks it knows; this one is to be registered there first.
EVALUATION_FRAMEWORK = "synvita-data"


def build_annotations(
    sources: Mapping[str, str | Path], out: str | Path, *, allow_home_folders: bool = False
) -> dict[str, Any]:
    """Write the dataset folder; equal annotations give equal bytes.

    Args:
        sources: task name (or path of its declaration) -> its published annotation file, or a folder that holds it.
        out: folder, made where it is missing. Files of tasks that are not in `sources` are left alone, and
            are not in the card.
        allow_home_folders: pass over what looks like a home folder: this folder is made to be published.

    Returns:
        The record that is written as `annotations.json`: for each task its counts, revision, report and the
        SHA-256 of the files that were read.

    Raises:
        SchemaError: no task, an unknown one, or annotations that cannot be read.
        LeakError: a token or a home folder; see `leaks`. The file that it is in is not written.
    """
    if not sources:
        raise SchemaError("no task to pack", expected=f"one or more of {', '.join(TASKS)}")
    out = Path(out)
    named = {name: get_task(name) for name in dict.fromkeys((*TASKS, *sources)) if name in sources}
    tasks = list(named.values())
    if len({task.name for task in tasks}) < len(tasks):
        raise SchemaError("two tasks have one name", found=", ".join(task.name for task in tasks))
    record: dict[str, Any] = {}
    for given, task in named.items():
        annotations = read_annotations(task, sources[given])
        with atomic_path(out / task.name / FILE_NAME) as whole:
            write_packed(annotations, whole)
            refuse_leaks([LocalFile(f"{task.name}/{FILE_NAME}", whole)], allow_home=allow_home_folders)
        record[task.name] = _record(annotations)
    texts = {
        "annotations.json": json_text(record, indent=2) + "\n",
        "eval.yaml": _eval_yaml(tasks),
        "README.md": _card(tasks, record),
    }
    refuse_leaks(
        (LocalFile(name, text.encode()) for name, text in texts.items()), allow_home=allow_home_folders
    )
    for name, text in texts.items():
        write_atomic(out / name, text)
    return record


def _record(annotations: Annotations) -> dict[str, Any]:
    # Paths of this machine are nobody else's business; the digests say which files they were.
    digests = {Path(file).name: sha256_file(Path(file)) for file in annotations.report.files}
    read = {"sha256": digests, **annotations.report.to_record()}
    del read["files"]
    read["left_out"] = [without_own_places(error) for error in read["left_out"]]
    return {"revision": annotations.revision, "counts": annotations.counts(), "read": read}


def _eval_yaml(tasks: list[Task]) -> str:
    content = {
        "name": "Video-language alignment",
        "description": "Entailment, retrieval and question answering of VideoCon and SynViTA, exact under ties.",
        "evaluation_framework": EVALUATION_FRAMEWORK,
        "tasks": [{"id": task.name, "config": task.name, "split": "test"} for task in tasks],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)


def _title(tasks: list[Task]) -> str:
    if len(tasks) == 1:
        return f"Annotations of {tasks[0].title}"
    ours = {task.name for task in tasks} == set(COLUMNS)
    return f"Annotations of {'six ' if ours else ''}video-language alignment benchmarks"


def _card(tasks: list[Task], record: Mapping[str, Any]) -> str:
    metadata = {
        "language": ["en"],
        "license": "other",
        "license_name": "see-the-licences-below",
        "task_categories": ["video-classification", "visual-question-answering"],
        "tags": ["video", "vision-language", "alignment", "benchmark", "evaluation"],
        "pretty_name": _title(tasks),
        "configs": [
            config_entry(task.name, {"test": f"{task.name}/test-*.parquet"}, default=task is tasks[0])
            for task in tasks
        ],
    }
    counted = ("rows", "texts", "videos", "groups")
    counts = [
        [
            f"`{name}`",
            *(f"{record[name]['counts'][key]:,}" for key in counted),
            f"`{record[name]['revision']}`",
        ]
        for name in (task.name for task in tasks)
    ]
    licences = [[f"`{task.name}`", task.licence, task.video_licence] for task in tasks]
    return make_card(
        metadata,
        [
            f"# {_title(tasks)}",
            "Ids and captions of the benchmarks that `synvita evaluate` runs. **No videos**: they belong to others, and "
            "`--real-root` says where yours lie. Every row is a text of a video with its label; `video_id` and "
            "`text_id` join it with item scores.",
            table(["config", *counted, "revision"], counts),
            *(part for task in tasks for part in _task_section(task, record[task.name])),
            "## Columns",
            "`video_id`, `source`, `video_name`, `videopath`, `video_url`, `youtube_key`, `start`, `end`: the video. "
            "`text_id` (a digest), `caption`: the text, without a prompt. `label`: 1 if it describes the video. "
            "`group`: the pair, the caption that is searched for, or the question. `option`: its place in the "
            "question. `misalignment`, `hard`, `type`: where the benchmark has them. `row`: of the original file.",
            "## Licences",
            table(["config", "annotations", "videos (not in here)"], licences),
            citation(*(entry for task in tasks for entry in task.citation.split("\n\n"))),
        ],
    )


def _task_section(task: Task, record: Mapping[str, Any]) -> list[str]:
    read, contradictory = record["read"], record["counts"]["contradictory_texts"]
    notes = [
        f"{read['rows']:,} rows were read from {', '.join(map(code, read['sha256']))}",
        f"{read['duplicates']:,} repeated ones dropped",
        f"{len(read['left_out']):,} unusable ones left out",
        *([f"{contradictory:,} texts have both labels"] if contradictory else []),
        *([f"{read['untyped']:,} questions have no known type"] if read["untyped"] else []),
    ]
    text = "; ".join(notes) + "."
    if differ := "; ".join(map(markdown, read["mismatches"])):
        text += f" **Counts that differ from the published ones**: {differ}."
    return [
        f"## `{task.name}`: {task.title}",
        f"{task.description} Metric: `{task.metric}`, `{task.main_score}`.",
        text,
    ]
