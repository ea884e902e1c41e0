"""Both states of a pre-training as folders that `from_pretrained` loads."""

import json
from pathlib import Path
from typing import Any

from synvita_data.files import new_folder, write_atomic
from synvita_data.shipped import SHIPPED
from synvita_data.versions import installed

from .clips import WORLD
from .record import RECORD
from .settings import HELD_OUT, Settings
from .training import Pretrained

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
