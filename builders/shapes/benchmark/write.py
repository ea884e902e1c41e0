"""The tests of version 2 of the world in a folder: clips, annotation files, and the declarations of six tasks."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from synvita_data.files import sha256_file, write_atomic

from ..layout import VERSION_2
from ..pixels import look, render
from ..splits import UNSEEN, Split
from ..world import SOURCE, csv_text
from .draw import Clip, Ranking, draw_choices, draw_events, draw_temporal, draw_tests

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
        SourceError: too few pairs, clips or questions, or an impossible split.
    """
    root = Path(folder)
    split = Split(UNSEEN) if split is None else split
    films: dict[str, Clip] = {}
    written: dict[str, Path] = {}

    def declare(name: str, file: str, content: dict[str, Any]) -> None:
        written[name] = root / f"{name}.yaml"
        own = {"name": name, **content, "files": [file], "source": SOURCE, "train": "never"}
        own["licence"] = {"annotations": "Apache-2.0", "videos": "Apache-2.0, rendered by this package"}
        own["checked_against"] = {"file": file, "sha256": sha256_file(root / file)}
        write_atomic(written[name], yaml.safe_dump(own, sort_keys=False))

    # Captions and contrast captions, in two wordings of the same clips.
    if {"shapes-llm", "shapes-human", "shapes-human-hard"} & set(tasks):
        drawn = draw_tests(split, seed, pairs)
        films |= {
            each.pair.triplet.video_id: Clip(each.pair.triplet.video_id, each.pair.scene) for each in drawn
        }
        tail = [
            (each.pair.triplet.misalignment, each.set, each.concept, "true" if each.hard else "false")
            for each in drawn
        ]
        llm = [(each.pair.triplet.caption, each.pair.triplet.neg_caption) for each in drawn]
        paths = [each.pair.triplet.videopath for each in drawn]
        for name, texts in (("shapes-llm", llm), ("shapes-human", [each.human for each in drawn])):
            rows = ((path, *both, *rest) for path, both, rest in zip(paths, texts, tail, strict=True))
            _write(root / f"{name}.csv", _PAIR_COLUMNS, rows)
        for name, title, file in _ENTAILMENT:
            hard = name == "shapes-human-hard"
            count = sum(each.hard for each in drawn) if hard else len(drawn)
            content = {"title": title, "form": "entailment", "columns": dict(_PAIR_FIELDS)}
            content |= {"breakdown": ["set", "concept"], "expected": {"groups": count, "videos": count}}
            if hard:
                content["only_hard"] = True
            if name in tasks:
                declare(name, file, content)

    # Retrieval: every caption ranks all clips.
    for name, title, draw in _RANKINGS:
        if name in tasks:
            ranking: Ranking = draw(split, seed, clips)
            films |= {clip.video_id: clip for clip in ranking.clips}
            grid = (
                (_path(clip), text, int(ranking.match(text, clip)))
                for text in ranking.captions
                for clip in ranking.clips
            )
            _write(root / f"{name}.csv", _RANK_COLUMNS, grid)
            content = {"title": title, "form": "retrieval"}
            content["columns"] = {"video": "videopath", "caption": "caption", "label": "match"}
            content["expected"] = {"groups": len(ranking.captions), "videos": len(ranking.clips)}
            declare(name, f"{name}.csv", content)

    # Multiple choice: the beginning of a caption and its possible ends.
    if "shapes-choice" in tasks:
        choices = draw_choices(split, seed, questions)
        films |= {choice.clip.video_id: choice.clip for choice in choices}
        rows_of = (
            (
                _path(choice.clip),
                choice.question,
                *choice.options,
                *[""] * (5 - len(choice.options)),
                "ABCDE"[choice.answer],
                choice.kind,
                choice.concept,
            )
            for choice in choices
        )
        _write(root / "shapes-choice.csv", _CHOICE_COLUMNS, rows_of)
        content = {"title": "Shapes: choice", "form": "choice", "scored_as": "statement"}
        content["columns"] = {
            "video": "videopath",
            "question": "question",
            "options": list("abcde"),
            "answer": "answer",
        }
        content |= {"breakdown": ["kind", "concept"], "expected": {"groups": len(choices)}}
        declare("shapes-choice", "shapes-choice.csv", content)

    _render(root / CLIPS, films.values(), size)
    return {name: written[name] for name in TASKS if name in written}


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


def _write(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    write_atomic(path, csv_text(columns, rows))


def _render(folder: Path, clips: Iterable[Clip], size: int) -> None:
    from synvita_data.video import encode_mp4

    style = look(0.0, size)
    for clip in clips:
        encode_mp4(render(clip.scene, clip.seed, style, VERSION_2), style.fps, folder / _path(clip))
