"""What `synvita evaluate` of a checkpoint on benchmarks needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..annotations import Annotations
from ..errors import SynvitaError
from ..models.runtime import DTYPES
from ..scoring.clip import MODEL_TYPES
from ..tasks import TASKS, Task, get_task
from .hub import HubQuestions, cache_folder
from .inputs import SECONDS, annotation_checks, file_check, results_check, video_checks
from .machine import Machine, decoder_check, disk_checks, extra_check, look_at_machine
from .memory import memory_check, scoring_memory
from .models import FoundModel, asked_checks, find_model, kind_check
from .report import Needs


def evaluation_needs(
    model: str | None,
    tasks: Sequence[str],
    *,
    annotations: str | Path | None = None,
    real_root: str | Path | None = None,
    real_mapping: str | Path | None = None,
    out: str | Path = "results",
    predictions: str | Path | None = None,
    revision: str | None = None,
    adapter: str | None = None,
    adapter_revision: str | None = None,
    dtype: str = "float32",
    frames: int | None = None,
    prompt: str | None = None,
    backend: str | None = None,
    device: str | None = None,
    device_map: str | None = None,
    partial: bool = False,
    settings: Mapping[str, Any] | None = None,
    hub: HubQuestions | None = None,
    machine: Machine | None = None,
) -> Needs:
    """What an evaluation needs, and what of it is there. Nothing is loaded, printed or raised.

    Args:
        model: `chance`, or a Hub id or folder; None with `predictions`.
        tasks: names of benchmarks.
        annotations: file or folder; None where none are here, which is then among what is missing.
        real_root: folder of the benchmark's videos.
        real_mapping: which file is which video.
        out: folder of results.
        predictions: a file of scores to evaluate in place of a model.
        revision: of the model on the Hub.
        adapter: of PEFT, for `model`.
        adapter_revision: of it.
        dtype: of the weights.
        frames: number of frames; None for the model's own.
        prompt: by name; None for the model's own.
        backend: decoder; None for PyAV.
        device: of the model; None for a GPU, if there is one.
        device_map: spreads one model over several GPUs.
        partial: whether missing videos are tolerated.
        settings: further options that change what the model sees (`preprocess`, `flips`, …), to be named.
        hub: to share answers with other looks.
        machine: of `look_at_machine`, to ask once.
    """
    needs = Needs("evaluate")
    if (model is None) == (predictions is None):
        needs.bad("command", "give either a MODEL or --predictions", "See synvita evaluate --help")
    read = _benchmarks(needs, tasks, None if annotations is None else Path(annotations))
    # Who gives the scores.
    if predictions is not None:
        needs.add([file_check(Path(predictions), "predictions", "scores")])
    elif model is not None and model != "chance":
        asked = AskedModel(
            model,
            revision,
            adapter,
            adapter_revision,
            dtype,
            frames,
            prompt,
            backend,
            device,
            device_map,
            settings,
        )
        model_needs(needs, asked, hub or HubQuestions(), machine or look_at_machine())
        # What it looks at.
        for task, rows in read:
            if real_root is None:
                needs.bad("videos", f"{task.name}: no folder of videos is named", "--real-root DIR")
            elif rows is not None:
                mapping = None if real_mapping is None else Path(real_mapping)
                share = SECONDS / len(read)  # all tasks within the time of one
                needs.add(video_checks(rows, task, Path(real_root), mapping, partial=partial, seconds=share))
    needs.checks.append(results_check(Path(out)))
    return needs


def _benchmarks(
    needs: Needs, tasks: Sequence[str], annotations: Path | None
) -> list[tuple[Task, Annotations | None]]:
    """Each task that is known, with its annotations, or None where they cannot be read."""
    if not tasks:
        needs.bad("command", "no task is named", f"--task {' | '.join(TASKS)}")
    found = []
    for name in dict.fromkeys(tasks):
        try:
            task = get_task(name)
        except SynvitaError as error:
            needs.failed("task", error)
            continue
        found.append((task, annotation_checks(task, annotations, needs.checks)))
    return found


@dataclass(frozen=True, slots=True)
class AskedModel:
    """A model to score with, as the options of a command name it; see `evaluation_needs`."""

    name: str
    revision: str | None = None
    adapter: str | None = None
    adapter_revision: str | None = None
    dtype: str = "float32"
    frames: int | None = None
    prompt: str | None = None
    backend: str | None = None
    device: str | None = None
    device_map: str | None = None
    settings: Mapping[str, Any] | None = None


def model_needs(needs: Needs, asked: AskedModel, hub: HubQuestions, machine: Machine) -> FoundModel | None:
    """Add what scoring with a model needs: packages, repositories, disk, memory, prompt and frames.

    Args:
        needs: takes it.
        asked: the model and its options.
        hub: asks.
        machine: this one.

    Returns:
        What was found; None where there is no such model.
    """
    needs.checks.append(extra_check("score"))
    if (decoder := decoder_check(asked.backend)) is not None:
        needs.checks.append(decoder)
    if asked.dtype not in DTYPES:
        needs.bad("dtype", f"weights cannot have the dtype {asked.dtype}", f"One of {', '.join(DTYPES)}")
    found = find_model(
        needs,
        asked.name,
        asked.revision,
        adapter=asked.adapter,
        adapter_revision=asked.adapter_revision,
        hub=hub,
    )
    if found is None:
        return None
    if (wrong := kind_check(found, MODEL_TYPES)) is not None:
        needs.checks.append(wrong)
    needs.add(asked_checks(found, hub, prompt=asked.prompt, frames=asked.frames, settings=asked.settings))
    stored = found.base.dtype
    if stored is not None and asked.dtype in DTYPES and stored != asked.dtype:
        needs.ok("dtype", f"weights are stored in {stored} and loaded in {asked.dtype}")
    elif asked.dtype in DTYPES:
        needs.ok("dtype", f"weights are loaded in {asked.dtype}")
    needs.memory = scoring_memory(found.base.parameters, asked.dtype)
    needs.checks.append(
        memory_check(needs.memory, machine, device=asked.device, spread=asked.device_map is not None)
    )
    needs.add(disk_checks([("to fetch from the Hub", cache_folder(), needs.bytes_to_fetch)]))
    return found
