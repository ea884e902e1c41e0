"""What `synvita evaluate` of a checkpoint on benchmarks needs."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..annotations import Annotations
from ..errors import SynvitaError
from ..evaluation.named import named_rows
from ..models.runtime import DTYPES
from ..scoring.clip import MODEL_TYPES, check_control
from ..tasks import TASKS, Task, task_of_file
from ..video.controls import Control
from .inputs import SECONDS, add_annotations, add_file, add_results, add_videos
from .memory import memory_check, scoring_memory
from .models import FoundModel, add_asked, find_model, is_kind
from .report import Needs


@dataclass(frozen=True, slots=True)
class AskedModel:
    """A model to score with, as the options of `synvita evaluate` name it; None for what is not given."""

    name: str
    revision: str | None = None
    adapter: str | None = None
    adapter_revision: str | None = None
    dtype: str | None = None
    frames: int | None = None
    fps: float | None = None
    max_frames: int | None = None
    control: str | None = None
    prompt: str | None = None
    backend: str | None = None
    device: str | None = None
    device_map: str | None = None
    mode: str | None = None
    preprocess: str | None = None
    flips: str | None = None
    readout: str | None = None
    merge: str | None = None
    placeholder_space: str | None = None


ASKED = tuple(field.name for field in fields(AskedModel))[1:]
# What `scoring.released.choose_options` chooses.
_CHOSEN = ("prompt", "dtype", "placeholder_space", "preprocess", "flips", "readout", "merge", "backend")


def evaluation_needs(
    model: str | None,
    tasks: Sequence[str],
    *,
    annotations: str | Path | None = None,
    form: str | None = None,
    skip_bad: bool = False,
    real_root: str | Path | None = None,
    real_mapping: str | Path | None = None,
    out: str | Path = "results",
    predictions: str | Path | None = None,
    partial: bool = False,
    videos: Sequence[str] = (),
    items: Sequence[str] = (),
    needs: Needs | None = None,
    **asked: Any,
) -> Needs:
    """What an evaluation needs, and what of it is there. Nothing is loaded, printed or raised.

    Args:
        model: `chance`, or a Hub id or folder; None with `predictions`.
        tasks: names of benchmarks, or paths of declarations.
        annotations: file or folder; None where none are here, which is then among what is missing.
        form: of annotations without a task.
        skip_bad: whether rows of the annotations may be left out.
        real_root: folder of the benchmark's videos.
        real_mapping: which file is which video.
        out: folder of results.
        predictions: a file of scores to evaluate in place of a model.
        partial: whether missing videos are tolerated.
        videos, items: named samples, if not the whole benchmarks are scored.
        needs: takes what is found, and shares its answers with other looks; None makes one.
        asked: further options of `synvita evaluate` that say how a model is asked, the fields of `AskedModel`.
    """
    needs = needs or Needs("evaluate")
    if (model is None) == (predictions is None):
        needs.bad("command", "give either a MODEL or --predictions", "See synvita evaluate --help")
    place = None if annotations is None else Path(annotations)
    named: list[str | Task] = list(tasks)
    if form is not None and place is not None and not tasks:
        try:
            named = [task_of_file(place, form)]
        except SynvitaError as error:
            needs.failed("task", error)
    elif not tasks:
        needs.bad("command", "no task is named", f"--task {' | '.join(TASKS)}")
    read = add_annotations(needs, named, place, skip_bad=skip_bad)
    if predictions is not None:
        add_file(needs, Path(predictions), "predictions", "scores")
    elif model == "chance" and asked.get("control") is not None:
        needs.bad("options", f"chance looks at no video: control {asked['control']}", "Leave the control out")
    elif model is not None and model != "chance":
        add_model(needs, AskedModel(model, **asked))
        only = _named(needs, read, videos, items)
        for task, rows in read if asked.get("control") != "text" else ():
            if real_root is None:
                needs.bad("videos", f"{task.name}: no folder of videos is named", "--real-root DIR")
            elif rows is not None:
                mapping = None if real_mapping is None else Path(real_mapping)
                share = SECONDS / len(read)  # all tasks within the time of one
                add_videos(
                    needs, rows, task, Path(real_root), mapping, partial=partial, seconds=share, only=only
                )
        if asked.get("control") == "text":
            needs.ok("videos", "the control text looks at none")
    add_results(needs, Path(out))
    return needs


def _named(
    needs: Needs,
    read: Sequence[tuple[Task, Annotations | None]],
    videos: Sequence[str],
    items: Sequence[str],
) -> set[str] | None:
    """Ids of the videos of named samples; None where the whole benchmarks are scored, or the names are not known."""
    known = [(task, rows) for task, rows in read if rows is not None]
    if not known or not (videos or items):
        return None
    try:
        found = named_rows(known, videos, items)
    except SynvitaError as error:
        needs.failed("command", error)
        return None
    return {str(video) for (_, rows), own in zip(known, found, strict=True) for video in rows.video_id[own]}


def add_model(needs: Needs, asked: AskedModel) -> FoundModel | None:
    """Add what scoring with a model needs: packages, repositories, disk, memory, prompt and frames.

    Args:
        asked: the model and its options.

    Returns:
        What was found; None where there is no such model.
    """
    needs.packages("score")
    found = find_model(
        needs,
        asked.name,
        asked.revision,
        adapter=asked.adapter,
        adapter_revision=asked.adapter_revision,
    )
    if found is None:
        return None
    given = {name: getattr(asked, name) for name in _CHOSEN}
    known = is_kind(needs, found, MODEL_TYPES)
    others = [name for name in (*_CHOSEN, "adapter", "mode") if name not in ("dtype", "backend")]
    if known and found.base.model_type in MODEL_TYPES:
        if named := [name for name in others if getattr(asked, name) not in (None, "clean")]:
            needs.bad("options", f"for Video LLMs alone: {', '.join(named)}", "Leave them out")
        if asked.control is not None:
            _add_control(needs, asked.name, asked.control, tower=True)
        given |= dict.fromkeys(others)
    elif asked.control is not None:
        _add_control(needs, asked.name, asked.control)
    sampling = {"count": asked.frames, "fps": asked.fps, "max_frames": asked.max_frames}
    options = add_asked(needs, found, given, mode=asked.mode or "clean", sampling=sampling)
    needs.decoder(options.get("backend"))
    dtype, stored = options["dtype"], found.base.dtype
    if found.family is None and asked.mode == "released" and asked.dtype is None:
        dtype = "bfloat16"  # of every family that has this mode
    if dtype not in DTYPES:
        needs.bad("dtype", f"weights cannot have the dtype {dtype}", f"One of {', '.join(DTYPES)}")
    elif stored is not None and stored != dtype:
        needs.ok("dtype", f"weights are stored in {stored} and loaded in {dtype}")
    else:
        needs.ok("dtype", f"weights are loaded in {dtype}")
    needs.memory = scoring_memory(found.base.parameters, dtype)
    spread = asked.device_map is not None
    needs.checks.append(memory_check(needs.memory, needs.machine, device=asked.device, spread=spread))
    needs.disk()
    return found


def _add_control(needs: Needs, model: str, name: str, *, tower: bool = False) -> None:
    """Add whether a control means something for a model."""
    try:
        Control(name)
        if tower:
            check_control(model, name)
    except SynvitaError as error:
        needs.failed("options", error)
