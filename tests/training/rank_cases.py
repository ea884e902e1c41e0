"""What two processes are asked, and what one process must answer the same: gradients, logs, measures."""

import json
from pathlib import Path

from safetensors.torch import load_file, save_file
from small_trainer import make_trainer, small_rows, step_gradients, triplets_of

# Name -> (triplets, settings of one process, settings of each of two). The last of 9 triplets is one process's alone.
CASES = {
    "whole": (8, {"per_device_train_batch_size": 8}, {"per_device_train_batch_size": 4}),
    "windows": (
        8,
        {"per_device_train_batch_size": 8, "normalisation": "released", "answer_loss": "token-and-end"},
        {
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 2,
            "normalisation": "released",
            "answer_loss": "token-and-end",
        },
    ),
    "ragged": (7, {"per_device_train_batch_size": 8, "way": "plain"}, {"per_device_train_batch_size": 4}),
    "alone": (
        9,
        {"per_device_train_batch_size": 8},
        {"per_device_train_batch_size": 4, "gradient_checkpointing": True},
    ),
    "alone in a window": (
        9,
        {"per_device_train_batch_size": 8},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "way": "plain"},
    ),
}


def answer(checkpoint: Path, folder: Path, processes: int, rank: int = 0, cases=tuple(CASES)) -> None:
    """Write what this process finds into the folder."""
    for case in cases:
        number, one, two = CASES[case]
        data = small_rows(number)
        settings = one if processes == 1 else two
        trainer = make_trainer(checkpoint, folder / "run", data, **settings)
        steps, _ = step_gradients(trainer)
        held_out = triplets_of(small_rows(5), trainer.module.alignment.model, trainer.processing_class)
        measures = trainer.evaluate(held_out)
        logs = [entry for entry in trainer.state.log_history if "loss" in entry]
        name = f"{case}-{processes}-{rank}"
        save_file(
            {f"{n}/{key}": v for n, step in enumerate(steps) for key, v in step.items()},
            folder / f"{name}.safetensors",
        )
        (folder / f"{name}.json").write_text(
            json.dumps({"logs": logs, "measures": measures, "steps": len(steps)})
        )


def answers(folder: Path, case: str, processes: int, rank: int = 0):
    """(gradients of all steps, logs, measures) that `answer` wrote. What the Trainer calls an epoch's share
    counts batches, and DDP's norm is taken in another order."""
    name = f"{case}-{processes}-{rank}"
    found = json.loads((folder / f"{name}.json").read_text())
    timed = ("runtime", "per_second", "epoch")
    measures = {k: v for k, v in found["measures"].items() if not any(word in k for word in timed)}
    logs = [{k: v for k, v in entry.items() if k not in ("grad_norm", "epoch")} for entry in found["logs"]]
    return load_file(folder / f"{name}.safetensors"), logs, measures
