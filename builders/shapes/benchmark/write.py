"""The tests of version 2 of the world in a folder: clips, annotation files, and the declarations of six tasks."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from synvita_data.errors import SourceError, choose
from synvita_data.files import write_atomic

from ..layout import VERSION_2
from ..pixels import look, render
from ..splits import UNSEEN, Split
from ..world import SOURCE, csv_text
from .draw import Choice, Clip, Ranking, TestPair, draw_choices, draw_events, draw_temporal, draw_tests

TASKS = (
    "shapes-llm",
    "shapes-human",
    "shapes-human-hard",
    "shapes-temporal",
    "shapes-events",
    "shapes-choice",
)
CLIPS = "clips"  # folder of the clips, the tasks' --real-root
_PAIR_COLUMNS = ("videopath", "caption", "contrast", "misalignment", "set", "concept", "hard")
_RANK_COLUMNS = ("videopath", "caption", "match")
_CHOICE_COLUMNS = ("videopath", "question", "a", "b", "c", "d", "e", "answer", "kind", "concept")


def write_benchmark(
    folder: str | Path,
    *,
    split: Split | None = None,
    seed: int = 0,
    pairs: int = 140,
    clips: int = 6,
    questions: int = 100,
    size: int = 96,
    tasks: Sequence[str] = TASKS,
) -> dict[str, Path]:
    """Render the tests of a world of version 2 and declare them as tasks; equal arguments give equal bytes.

        folder/shapes-llm.yaml, .csv …   a declaration a task, and its annotations
        folder/clips/shapes/w2-….mp4     the clips, as the world's real ones

        synvita evaluate MODEL --task folder/shapes-llm.yaml --annotations folder --real-root folder/clips

    Args:
        folder: made if it is not there.
        split: of the training world; default: `UNSEEN` with half of the contrast captions.
        seed: of the tests, which needs not be training's.
        pairs: of each of the four sets of `shapes-llm` and `shapes-human`.
        clips: of each caption of `shapes-temporal` and `shapes-events`.
        questions: of `shapes-choice`.
        size: edge of the frames in pixels, even.
        tasks: which to write, of TASKS.

    Returns:
        Task -> its declaration.

    Raises:
        SourceError: too few pairs, clips or questions, an impossible split, or an unknown task; nothing is written.
    """
    root = Path(folder)
    split = Split(UNSEEN) if split is None else split
    for name in tasks:
        choose(name, TASKS, "task of the shapes world", error=SourceError)
    # All is drawn before anything is written.
    parts = []
    if {"shapes-llm", "shapes-human", "shapes-human-hard"} & set(tasks):
        parts.append(_pairs(draw_tests(split, seed, pairs)))
    for name, title, draw in _RANKINGS:
        if name in tasks:
            parts.append(_ranked(name, title, draw(split, seed, clips)))
    if "shapes-choice" in tasks:
        parts.append(_choices(draw_choices(split, seed, questions)))

    _render(root / CLIPS, [clip for part in parts for clip in part.clips], size)
    for part in parts:
        for file, text in part.files.items():
            write_atomic(root / file, text)
        for name, content in part.tasks.items():
            if name in tasks:
                write_atomic(
                    root / f"{name}.yaml", yaml.safe_dump(_declared(name, content, part), sort_keys=False)
                )
    return {name: root / f"{name}.yaml" for name in TASKS if name in tasks}


@dataclass(frozen=True)
class _Part:
    """Annotation files, the tasks that read them, and the clips they are about.

    Attributes:
        files: name -> content.
        tasks: name -> what its declaration says.
        clips: all of them.
    """

    files: dict[str, str]
    tasks: dict[str, dict[str, Any]]
    clips: list[Clip]


def _declared(name: str, content: dict[str, Any], part: _Part) -> dict[str, Any]:
    """The whole declaration of a task."""
    (file,) = content["files"]
    return {
        "name": name,
        **content,
        "source": SOURCE,
        "train": "never",
        "licence": {"annotations": "Apache-2.0", "videos": "Apache-2.0, rendered by this package"},
        "checked_against": {"file": file, "sha256": hashlib.sha256(part.files[file].encode()).hexdigest()},
    }


def _pairs(drawn: Sequence[TestPair]) -> _Part:
    """Captions and contrast captions, in two wordings of the same clips."""
    files, tasks = {}, {}
    for name in ("shapes-llm", "shapes-human"):
        rows = []
        for each in drawn:
            triplet = each.pair.triplet
            texts = each.human if name == "shapes-human" else (triplet.caption, triplet.neg_caption)
            hard = "true" if each.hard else "false"
            rows.append((triplet.videopath, *texts, triplet.misalignment, each.set, each.concept, hard))
        files[f"{name}.csv"] = csv_text(_PAIR_COLUMNS, rows)
    for name, title, file in _ENTAILMENT:
        only_hard = {"only_hard": True} if name == "shapes-human-hard" else {}
        count = sum(each.hard for each in drawn) if only_hard else len(drawn)
        tasks[name] = {
            "title": title,
            "form": "entailment",
            "files": [file],
            "columns": dict(_PAIR_FIELDS),
            "breakdown": ["set", "concept"],
            **only_hard,
            "expected": {"groups": count, "videos": count},
        }
    return _Part(files, tasks, [Clip(each.pair.triplet.video_id, each.pair.scene) for each in drawn])


def _ranked(name: str, title: str, ranking: Ranking) -> _Part:
    """Retrieval: every caption ranks all clips."""
    rows = [
        (_path(clip), text, int(ranking.match(text, clip)))
        for text in ranking.captions
        for clip in ranking.clips
    ]
    content = {
        "title": title,
        "form": "retrieval",
        "files": [f"{name}.csv"],
        "columns": {"video": "videopath", "caption": "caption", "label": "match"},
        "expected": {"groups": len(ranking.captions), "videos": len(ranking.clips)},
    }
    return _Part({f"{name}.csv": csv_text(_RANK_COLUMNS, rows)}, {name: content}, list(ranking.clips))


def _choices(drawn: Sequence[Choice]) -> _Part:
    """Multiple choice: the beginning of a caption and its possible ends."""
    rows = []
    for each in drawn:
        options = [*each.options, *[""] * (5 - len(each.options))]
        answer = "ABCDE"[each.answer]
        rows.append((_path(each.clip), each.question, *options, answer, each.kind, each.concept))
    content = {
        "title": "Shapes: choice",
        "form": "choice",
        "files": ["shapes-choice.csv"],
        "columns": {
            "video": "videopath",
            "question": "question",
            "options": list("abcde"),
            "answer": "answer",
        },
        "breakdown": ["kind", "concept"],
        "scored_as": "statement",
        "expected": {"groups": len(drawn)},
    }
    files = {"shapes-choice.csv": csv_text(_CHOICE_COLUMNS, rows)}
    return _Part(files, {"shapes-choice": content}, [each.clip for each in drawn])


_ENTAILMENT = (
    ("shapes-llm", "Shapes: the grammar's contrast captions", "shapes-llm.csv"),
    ("shapes-human", "Shapes: other words", "shapes-human.csv"),
    ("shapes-human-hard", "Shapes: other words, what one frame cannot tell", "shapes-human.csv"),
)
_PAIR_FIELDS = {
    "video": "videopath",
    "caption": "caption",
    "contrast": "contrast",
    "misalignment": "misalignment",
    "hard": "hard",
}
_RANKINGS = (
    ("shapes-temporal", "Shapes: find the action", draw_temporal),
    ("shapes-events", "Shapes: find the order of two events", draw_events),
)


def _path(clip: Clip) -> str:
    return f"{SOURCE}/{clip.video_id}.mp4"


def _render(folder: Path, clips: Iterable[Clip], size: int) -> None:
    from synvita_data.video import encode_mp4

    style = look(0.0, size)
    for clip in clips:
        encode_mp4(render(clip.scene, clip.seed, style, VERSION_2), style.fps, folder / _path(clip))
