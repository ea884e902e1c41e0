"""Both states of a pre-training as folders that `from_pretrained` loads, and whether a model knows the world it is shown."""

import json
from pathlib import Path
from typing import Any

from synvita_data.builders.shapes import Geometry
from synvita_data.errors import SynvitaError
from synvita_data.files import new_folder, read_json, write_atomic
from synvita_data.models.resolve import ModelFiles, find_checkpoint
from synvita_data.shipped import SHIPPED
from synvita_data.versions import installed

from .clips import WORLD
from .settings import HELD_OUT, Settings
from .training import Pretrained

RECORD = "pretraining.json"
LOG = "training_log.jsonl"
FINAL, EARLY = SHIPPED


def save(made: Pretrained, settings: Settings, out: Path) -> dict[str, Path]:
    """Write both states below `out`, in fp16, with the record of how they were made and the log.

    Args:
        made: of `training.pretrain`; its model is fp16 afterwards.
        settings: that it was made with.
        out: a folder that is not there yet; it appears when it is complete.

    Returns:
        The folder of each state, by its name.

    Raises:
        SynvitaError: `out` is there already.
    """
    states = {
        EARLY: (settings.early, made.early),
        FINAL: (settings.steps + settings.more, made.model.state_dict()),
    }
    states = {
        name: (step, {key: own.clone() for key, own in state.items()})
        for name, (step, state) in states.items()
    }
    with new_folder(out) as folder:
        for name, (step, state) in states.items():
            made.model.load_state_dict(state)
            made.model.half().save_pretrained(folder / name)
            made.processor.save_pretrained(folder / name)
            log = [line for line in made.log if line["stage"] != "statements" or line["step"] <= step]
            write_atomic(folder / name / RECORD, json.dumps(_record(settings, step), indent=2) + "\n")
            write_atomic(folder / name / LOG, "".join(json.dumps(line) + "\n" for line in log))
            made.model.float()
            for path in (folder / name).iterdir():  # safetensors writes for its owner alone
                path.chmod(0o644)
    return {name: out / name for name in states}


def _record(settings: Settings, step: int) -> dict[str, Any]:
    """How a state was made; JSON-ready, the same for the same settings on one machine."""
    return {
        "world": WORLD.version,
        "step": step,
        "settings": settings.to_dict(),
        "held_out": sorted(" ".join(each) for each in HELD_OUT),
        "versions": installed(("torch", "transformers", "numpy")),
    }


def check_world(model: str, geometry: Geometry) -> None:
    """Complain about a model that was pre-trained on another version of the shapes world.

    Args:
        model: the name of a model or an adapter. One that was not made here is taken as it is.
        geometry: of the clips that it shall look at.

    Raises:
        SynvitaError: another version. Whatever `find_checkpoint` finds.
    """
    files = ModelFiles(find_checkpoint(model).base)
    if files.folder is None or (path := files.find(RECORD)) is None:
        return
    version = read_json(path, "the record of a pre-training").get("world")
    if version != geometry.version:
        raise SynvitaError(
            "a model was pre-trained on another version of the shapes world",
            file=model,
            found=f"version {version}",
            expected=f"version {geometry.version}, as the clips are",
            fix="Render clips of its version, or make it again: python -m synvita_data.study.pretraining --out DIR",
        )
