"""What `SynViTATrainer` refuses before the first step: data that was made for other arguments, or a measure to choose
the best model by that no evaluation will give."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from transformers.trainer_utils import IntervalStrategy

from synvita_data.errors import SynvitaError
from synvita_data.models import AlignmentModel

from .config import SynViTAConfig
from .evaluation import measures_of
from .plan import DataOptions
from .triplet import TrainingTriplet


def check_rows(dataset: Any, name: str) -> None:
    """Raises `SynvitaError` for data of another kind: a clear word now instead of an odd one in the first step."""
    if dataset is None:
        return
    if hasattr(dataset, "column_names"):
        raise SynvitaError(
            f"{name} is a table of rows, not of triplets",
            found=type(dataset).__name__,
            expected="TripletData(rows, model, config.data_options(…))",
        )
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise SynvitaError(
            f"{name} has no length or no order",
            found=type(dataset).__name__,
            expected="a sequence of TrainingTriplet, such as TripletData",
        )
    if isinstance(dataset, list | tuple) and not all(isinstance(row, TrainingTriplet) for row in dataset):
        raise SynvitaError(f"{name} holds something else than triplets", expected="TrainingTriplet")
    if not len(dataset):
        raise SynvitaError(f"{name} is empty")


def check_made_for(data: Any, config: SynViTAConfig, alignment: AlignmentModel) -> None:
    """Raises `SynvitaError` where a `TripletData` was made with other options, frames or wording than are trained with.

    Options that make no difference are not compared: the seed of a choice among all, masks where there are none.
    """
    made, preparer = getattr(data, "options", None), getattr(data, "preparer", None)
    if not isinstance(made, DataOptions) or preparer is None:
        return
    wanted = config.data_options(alignment.family)
    idle = {"frames"}  # the preparer has them, with the family's own in the place of None
    if not wanted.use_synthetic:
        idle |= {"weighting"}
    if not (wanted.use_synthetic and wanted.use_scr):
        idle |= {"granularity", "masked_text"}
    if wanted.nle_share in (0.0, 1.0):
        idle |= {"seed"}
    pairs = {
        each.name: (getattr(made, each.name), getattr(wanted, each.name))
        for each in fields(DataOptions)
        if each.name not in idle
    }
    pairs["frames"] = (preparer.frames, wanted.frames or alignment.family.default_frames())
    pairs["prompt"] = (preparer.prompt.name, alignment.prompt.name)
    pairs["placeholder_space"] = (preparer.family.placeholder_space, alignment.family.placeholder_space)
    if differing := {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}:
        raise SynvitaError(
            "the training data was made with other options than those of the trainer",
            found=", ".join(f"{name} {there!r}" for name, (there, _) in differing.items()),
            expected=", ".join(f"{name} {here!r}" for name, (_, here) in differing.items()),
            fix="TripletData(rows, AlignmentModel(model, processor, prompt=config.prompt, "
            "placeholder_space=config.placeholder_space), config.data_options(family))",
        )


def check_evaluation(config: SynViTAConfig, dataset: Any) -> None:
    """Settle which measure the best model is chosen by: `auc`, the higher the better, where evaluations give no loss
    and `config` names none; it is changed in place.

    Raises:
        SynvitaError: evaluations without data, a measure that they will not give.
    """
    if config.eval_strategy == "no":
        return
    if dataset is None:
        raise SynvitaError(
            "there is nothing to evaluate on",
            found=f"eval_strategy={IntervalStrategy(config.eval_strategy).value} without held-out data",
            fix="Give an eval_dataset (eval_split in a recipe), or set eval_strategy=no",
        )
    chooses = config.load_best_model_at_end or config.save_strategy == "best"
    if config.metric_for_best_model is None and not chooses:
        return
    known = _measures(dataset)
    if not config.metric_is_given:
        loss = next((name for name in known if name.rpartition("_")[2] == "loss"), None)
        auc = next((name for name in known if name.rpartition("_")[2] == "auc"), None)
        config.metric_for_best_model = loss or auc
        if not config.better_is_given:
            config.greater_is_better = loss is None
        if loss is None and config.lr_scheduler_type in ("reduce_lr_on_plateau", "greedy"):
            given = config.lr_scheduler_kwargs
            config.lr_scheduler_kwargs = {"mode": "max", **(given if isinstance(given, dict) else {})}
    metric = str(config.metric_for_best_model)
    if metric.removeprefix("eval_") not in known:
        raise SynvitaError(
            "evaluations will not give metric_for_best_model",
            found=metric,
            expected=f"one of {', '.join(known)}",
        )


def _measures(dataset: Any) -> list[str]:
    """Names of all measures of an evaluation, as they are logged behind `eval_`."""
    if isinstance(dataset, Mapping):
        return [f"{name}_{measure}" for name, own in dataset.items() for measure in _measures(own)]
    return sorted(measures_of(dataset))


def out_of_memory(args: SynViTAConfig, error: Exception) -> SynvitaError:
    """What to set where a training step does not fit, those things first that change nothing in what is learned."""
    ways = []
    if args.per_device_train_batch_size > 1:
        ways.append("per_device_train_batch_size=1 with as much more gradient_accumulation_steps")
    if not args.gradient_checkpointing:
        ways.append("gradient_checkpointing=true")
    if args.way != "packed":
        ways.append("way=packed")
    if not (args.bf16 or args.fp16):
        ways.append("bf16=true")
    ways.append("fewer frames, or shorter captions and explanations")
    return SynvitaError(
        "a training step does not fit in the memory of the GPU",
        found=f"{args.per_device_train_batch_size} triplets at once; {str(error).splitlines()[0][:200]}"
        if str(error)
        else f"{args.per_device_train_batch_size} triplets at once",
        fix="Set " + "; or ".join(ways),
    )
