"""A trainer on a tiny model and triplets of noise, in as few lines as a test can use."""

from pathlib import Path

import torch
from stock_pairs import gradients, rows

from synvita_data.models import AlignmentModel
from synvita_data.training import SynViTAConfig, SynViTATrainer, TrainingTriplet


def load(folder: Path):
    """(model, processor) of a tiny checkpoint, fp32."""
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), AutoProcessor.from_pretrained(folder)


def randomise(trainer) -> None:
    """Adapters that are not zero, so that every weight has a gradient."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in sorted(trainer.module.named_parameters()):
            if "lora_B" in name:
                parameter.normal_(std=0.05)


EXPLANATIONS = {1: "It is a guitar, not a piano.", 3: "It moves before, not after.", 5: "It is a guitar."}


def small_rows(number: int = 8) -> list[dict]:
    """`stock_pairs.rows`, some with an explanation."""
    made = rows(number)
    return [
        {**row, "explanation": EXPLANATIONS.get(n) if row["takes_real"] else None}
        for n, row in enumerate(made)
    ]


def triplets_of(data: list[dict], model, processor) -> list[TrainingTriplet]:
    alignment = AlignmentModel(model, processor)
    made = []
    for number, row in enumerate(data):
        real, synthetic = (
            None if row[side] is None else alignment.prepare(row[side]) for side in ("real", "synthetic")
        )
        made.append(
            TrainingTriplet(
                f"row{number}",
                f"pair{number}",
                row["texts"],
                real,
                synthetic,
                row["weight"],
                row["takes_real"],
                row.get("explanation"),
                row.get("zero_weight", False),
            )
        )
    return made


def arguments(folder: Path, **changes) -> SynViTAConfig:
    values = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 8,
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "train_sampling_strategy": "sequential",
        "lora_r": 4,
        "lora_alpha": 4,
        "lora_dropout": 0.0,
    }
    return SynViTAConfig(**{**values, **changes})


def make_trainer(checkpoint: Path, folder: Path, data: list[dict], **changes) -> SynViTATrainer:
    """A trainer around a freshly loaded model, its adapters random."""
    model, processor = load(checkpoint)
    trainer = SynViTATrainer(
        model, processor, arguments(folder, **changes), triplets_of(data, model, processor)
    )
    randomise(trainer)
    return trainer


def step_gradients(trainer) -> tuple[list[dict[str, torch.Tensor]], list[float]]:
    """Gradients of each optimizer step (weights stay as they are), and the logged losses."""
    from transformers import TrainerCallback

    seen = []

    class Keep(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            seen.append(gradients(trainer.module))

    trainer.args.learning_rate = 0.0
    trainer.add_callback(Keep())
    trainer.train()
    return seen, [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
