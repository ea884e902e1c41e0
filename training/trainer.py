"""`SynViTATrainer`: a Hugging Face Trainer whose loss is exact whatever the batches, windows and processes.

The Trainer's own averaging counts labels, of which there are none here. So each term is a sum, divided by its own
count over the whole accumulation window and all processes (`get_batch_samples`), and nothing is averaged afterwards.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint, rotate_checkpoints, speed_metrics

from synvita_data.errors import SynvitaError, first_line
from synvita_data.models import AlignmentModel
from synvita_data.models.loading import loaded_revision
from synvita_data.models.resolve import TRAINING_ARGUMENTS
from synvita_data.models.videos import VideoPreparer

from .checkpoints import (
    check_resumable,
    load_model_files,
    reading_checkpoint,
    replace_folder,
    save_model_files,
    writing_checkpoint,
)
from .config import SynViTAConfig
from .data import TrainingTriplet
from .data.dataset import PackedCollator, TripletData
from .data.features import check_frozen_tower, feature_cache_of
from .data.rows import is_frame, is_table
from .data.sampler import CollateRows, Rows, TripletSampler, unfailed
from .evaluation import EvaluationItem, EvaluationPairs, TrainingLogs, choose_measure, evaluate_dataset
from .lora import make_trainable, trains_only_language
from .module import TripletModule, TripletScores
from .objective import Counts, Objective, Terms

UNFINISHED = ".unfinished"  # in OUTPUT_DIR: the checkpoint that is being written


class SynViTATrainer(Trainer):
    """Fine-tune a Video LLM with the SynViTA objective.

    Args:
        model: a stock Video LLM of transformers, of a family in `synvita_data.models.FAMILIES`, changed in place
            (adapters, frozen parts); or a PEFT model of one, whose adapter is trained further.
        processor: of the model.
        args: what and how to train.
        train_dataset: rows of `load_triplets` (a `datasets.Dataset` or a list of dicts), of which it makes the
            `TripletData` that `args` describe; or a `TripletData`, or any sequence of `TrainingTriplet`.
        eval_dataset: held-out rows or `EvaluationPairs` for the entailment AUC, triplets for the loss on them, or a
            dict of several.
        data_collator: of triplets; `PackedCollator` by default.
        callbacks: as in `Trainer`.
        optimizers: as in `Trainer`.

    Raises:
        SynvitaError: arguments, model, prompt or data are wrong; before the first step.

    Example:
        >>> config = SynViTAConfig(output_dir="out", bf16=True)  # doctest: +SKIP
        >>> rows = load_triplets("dataset", split="train", real_root="videos")  # doctest: +SKIP
        >>> SynViTATrainer(model, processor, config, rows).train()  # doctest: +SKIP
    """

    args: SynViTAConfig
    objective: Objective
    train_dataset: Any
    eval_dataset: Any
    data_collator: Any

    def __init__(
        self,
        model: Any,
        processor: Any,
        args: SynViTAConfig,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        *,
        data_collator: Callable[..., dict[str, Any]] | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
    ) -> None:
        if not isinstance(args, SynViTAConfig):
            raise SynvitaError(
                "the trainer has arguments of its own", found=type(args).__name__, expected="SynViTAConfig"
            )
        if args.n_gpu > 1:
            raise SynvitaError(
                "nn.DataParallel would average losses that are sums",
                found=f"{args.n_gpu} GPUs in one process",
                expected="one process a GPU",
                fix="Start with `accelerate launch` or torchrun, or show one GPU (CUDA_VISIBLE_DEVICES=0)",
            )
        # Whatever can be refused without touching the model.
        _check_sequence(train_dataset, "train_dataset")
        for each in eval_dataset.values() if isinstance(eval_dataset, Mapping) else (eval_dataset,):
            _check_sequence(each, "eval_dataset")
        choose_measure(args, eval_dataset)
        # The model with its adapter; all processes start from the same one.
        torch.manual_seed(args.seed)
        alignment = make_trainable(model, processor, args)
        # Samples of rows, as the arguments describe them.
        train_dataset = _training_data(train_dataset, alignment, args)
        self._preparer = getattr(train_dataset, "preparer", None) or VideoPreparer.of(
            alignment, frames=args.data_arguments(alignment.family)["frames"]
        )
        if isinstance(eval_dataset, Mapping):
            eval_dataset = {name: self._evaluation_data(own) for name, own in eval_dataset.items()}
        else:
            eval_dataset = self._evaluation_data(eval_dataset)
        if args.ddp_find_unused_parameters is None and trains_only_language(alignment):
            args.ddp_find_unused_parameters = False
        # The module that DDP and FSDP wrap.
        self.objective = args.objective()
        module = TripletModule(alignment, self.objective, way=args.way, frozen_dropout=args.frozen_dropout)
        before = getattr(module.config, "use_cache", None)
        self._logs = TrainingLogs()
        self._logged_step = 0
        self._staging = False
        super().__init__(
            model=module,
            args=args,
            data_collator=data_collator or PackedCollator(),
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processor,
            callbacks=[*(callbacks or []), _Progress(self)],
            optimizers=optimizers,
        )
        # The Trainer sets it, and it would be saved with the model.
        if before is not None:
            module.config.use_cache = before
        elif hasattr(module.config, "use_cache"):
            del module.config.use_cache
        self.module = module
        # Losses come out of `compute_loss` as parts of a window's, not as means to be averaged.
        self.loss_is_scaled_for_ga = True
        self.model_accepts_loss_kwargs = True

    @property
    def alignment(self) -> Any:
        """The `AlignmentModel` that is trained."""
        return self.module.alignment

    # Data

    def get_train_dataloader(self) -> DataLoader[Any]:
        if self.train_dataset is None:
            raise SynvitaError("there is nothing to train on", expected="a train_dataset")
        return self.loader(
            self.train_dataset,
            self._train_batch_size,
            shuffle=self.args.train_sampling_strategy == "random",
            drop_last=self.args.dataloader_drop_last,
        )

    def loader(
        self, dataset: Any, batch: int, *, shuffle: bool = False, drop_last: bool = False, collate: Any = None
    ) -> DataLoader[Any]:
        """This process's share of a dataset. Not prepared by accelerate: it is dealt out already, and the model moves
        what it needs to its device."""
        args = self.args
        order = TripletSampler(
            len(dataset),
            batch,
            rank=args.process_index,
            processes=args.world_size,
            seed=args.seed if args.data_seed is None else args.data_seed,
            shuffle=shuffle,
            drop_last=drop_last,
        )
        if not len(order):
            raise SynvitaError(
                "fewer triplets than one step of all processes takes",
                found=f"{len(dataset)} triplets",
                expected=f"at least {batch * args.world_size} with dataloader_drop_last",
            )
        return DataLoader(
            Rows(dataset),
            batch_sampler=order,
            collate_fn=CollateRows(collate or self.data_collator),
            num_workers=args.dataloader_num_workers,
            persistent_workers=args.dataloader_persistent_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
        )

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], Any]:
        """The batches of a window, and what its terms are divided by: counts over them and over all processes."""
        batches = [unfailed(batch) for batch in islice(epoch_iterator, num_batches)]
        counts = sum((self.counts(batch) for batch in batches), Counts())
        return batches, Counts.from_tensor(self.summed(counts.tensor(device)))

    def counts(self, batch: Mapping[str, Any]) -> Counts:
        if batch["filler"]:
            return Counts()
        explains = self.objective.explains
        return self.objective.counts(batch["triplets"], self.module.explanation_tokens if explains else None)

    def summed(self, values: Tensor) -> Tensor:
        """The sum over processes of a tensor on this process's device."""
        if self.args.world_size == 1:
            return values
        total: Tensor = self.accelerator.reduce(values, reduction="sum")
        return total

    def summed_on_cpu(self, values: Tensor) -> Tensor:
        """The sum over processes of an fp64 tensor on the CPU. It never becomes fp64 on a device, which may not have it;
        so it travels as numbers, which costs little for a line of logs."""
        if self.args.world_size == 1:
            return values
        return torch.tensor(gather_object([values.tolist()]), dtype=torch.float64).sum(0)

    # Loss

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """As `Trainer.training_step`; a step that does not fit in a GPU's memory says what to set.

        Raises:
            SynvitaError: out of memory.
        """
        try:
            loss: Tensor = super().training_step(*args, **kwargs)
        except torch.OutOfMemoryError as error:
            raise _out_of_memory(self.args, error) from error
        return loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """This batch's part of the window's loss, times the number of processes, whose gradients are averaged.

        Args:
            num_items_in_batch: `Counts` of the window; None for this batch's own, outside of training.
        """
        scores: TripletScores = model(triplets=inputs["triplets"])
        counts = self.counts(inputs) if num_items_in_batch is None else num_items_in_batch
        loss, parts = self.objective.loss(self.terms(scores), counts)
        if inputs["filler"]:
            loss = loss * 0.0
        elif num_items_in_batch is not None:
            self._logs.add(inputs["triplets"], parts, scores.log_odds, scores.scored)
        if num_items_in_batch is not None:
            loss = loss * self.args.world_size
        return (loss, scores) if return_outputs else loss

    def terms(self, scores: TripletScores) -> Terms:
        """The terms of a batch, as sums."""
        return self.objective.terms(
            scores.answer_losses, scores.log_odds, scores.supervision, scores.explanation_loss
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the terms, scores and counts since the last line; all processes come here together."""
        if "loss" in logs:
            steps = max(self.state.global_step - self._logged_step, 1)
            logs.update(self._logs.take(self.summed_on_cpu, steps))
            self._logged_step = self.state.global_step
        super().log(logs, start_time)

    def begin_logs(self, step: int) -> None:
        """Logs count from this optimizer step on."""
        self._logs, self._logged_step = TrainingLogs(), step

    # Evaluation

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Measures of held-out data, logged and returned: see `evaluate_dataset`."""
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(dataset, str):
            dataset = self.eval_dataset[dataset]
        if isinstance(dataset, Mapping):
            found: dict[str, float] = {}
            for name, own in dataset.items():
                found |= self.evaluate(own, ignore_keys, f"{metric_key_prefix}_{name}")
            return found
        if dataset is None:
            raise SynvitaError("there is nothing to evaluate on", expected="an eval_dataset")
        start = time.time()
        _check_sequence(dataset, "eval_dataset")
        dataset = self._evaluation_data(dataset)
        measures = evaluate_dataset(self, dataset)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in measures.items()}
        metrics |= speed_metrics(metric_key_prefix, start, num_samples=len(dataset))
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _evaluation_data(self, dataset: Any) -> Any:
        """Held-out rows become `EvaluationPairs`, whose videos are prepared as those of training."""
        if dataset is None or not _are_rows(dataset):
            return dataset
        return EvaluationPairs(dataset, self._preparer)

    # Checkpoints

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """As `Trainer.train`; a checkpoint that lacks a part, or has a damaged one, is refused."""
        folder = None if isinstance(resume_from_checkpoint, bool) else resume_from_checkpoint
        if resume_from_checkpoint is True:
            folder = get_last_checkpoint(str(self.args.output_dir))
            if folder is None:
                raise SynvitaError("there is no checkpoint to resume from", file=self.args.output_dir)
        if self.args.should_save:  # what a killed run was writing
            shutil.rmtree(Path(str(self.args.output_dir)) / UNFINISHED, ignore_errors=True)
        if folder is not None:
            check_resumable(Path(folder), sharded=self.is_fsdp_enabled or self.is_deepspeed_enabled)
        return super().train(folder, *args, **kwargs)

    def _init_training_state(self, max_steps: int, *args: Any, **kwargs: Any) -> tuple[int, int]:
        """As the `Trainer`'s, which would take one more step from a checkpoint of the last one: within an epoch it looks
        for the end after a step only. Behind the last epoch it takes none."""
        place = super()._init_training_state(max_steps, *args, **kwargs)
        if self.state.global_step < max_steps:
            return place
        if self.args.should_save:  # the run may have been killed just before
            self._rotate(Path(self._get_output_dir(None)))
        return max(place[0], self.state.num_train_epochs), 0

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with reading_checkpoint(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with reading_checkpoint(checkpoint):
            super()._load_rng_state(checkpoint)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        if not self.args.should_save:
            return
        if state_dict is not None:  # gathered from shards, with this module's names
            state_dict = {name.removeprefix("alignment.model."): value for name, value in state_dict.items()}
        folder = Path(output_dir or str(self.args.output_dir))
        noted = json.dumps(self.args.to_dict(), indent=2, sort_keys=True, default=str) + "\n"
        with (
            nullcontext() if self._staging else writing_checkpoint(folder)
        ):  # `_save_checkpoint` names its own
            save_model_files(
                self.module.network,
                self.processing_class,
                folder,
                state=state_dict,
                more={TRAINING_ARGUMENTS: noted},
            )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        load_model_files(self.module.network, Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_best_model()
            return
        load_model_files(self.module.network, Path(str(self.state.best_model_checkpoint)))

    def _get_output_dir(self, trial: Any) -> str:
        folder = super()._get_output_dir(trial)
        return str(Path(folder) / UNFINISHED) if self._staging else folder

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """A checkpoint is written aside and gets its name when it is complete: what a killed run leaves behind is
        never taken for one."""
        folder = Path(self._get_output_dir(trial))
        staging = folder / UNFINISHED
        if self.args.should_save:
            shutil.rmtree(staging, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        name = f"checkpoint-{self.state.global_step}"
        self._staging = True
        try:
            with writing_checkpoint(folder / name, clean=staging):
                super()._save_checkpoint(model, trial)
        finally:
            self._staging = False
        best = self.state.best_model_checkpoint
        if best is not None and Path(best).parent == staging:
            self.state.best_model_checkpoint = str(folder / Path(best).name)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            self.state.save_to_json(str(staging / name / "trainer_state.json"))
            replace_folder(staging / name, folder / name)
            shutil.rmtree(staging, ignore_errors=True)
            self._rotate(folder)
        self.accelerator.wait_for_everyone()

    def _rotate(self, folder: Path) -> None:
        """Remove checkpoints beyond `save_total_limit`."""
        rotate_checkpoints(
            output_dir=str(folder),
            save_total_limit=self.args.save_total_limit,
            best_model_checkpoint=self.state.best_model_checkpoint,
            use_mtime=True,
        )


class _Progress(TrainerCallback):
    """Announces to logs and sampler where training and each epoch begin, a resumed one included."""

    def __init__(self, trainer: SynViTATrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer.begin_logs(state.global_step)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Made for each call of `train`; a resumed epoch's loader skips batches of this very sampler.
        loader: Any = self._trainer.callback_handler.train_dataloader
        loader.batch_sampler.set_epoch(int(state.epoch or 0))


def _check_sequence(dataset: Any, name: str) -> None:
    """Raises `SynvitaError` for data of another kind: a clear word now instead of an odd one in the first step, or in the
    first evaluation. `name` is that of the argument."""
    if dataset is None:
        return
    expected = "rows of load_triplets, or a sequence of TrainingTriplet such as TripletData"
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        found = type(dataset).__name__
        raise SynvitaError(f"{name} has no length or no order", found=found, expected=expected)
    if not len(dataset):
        raise SynvitaError(f"{name} is empty", expected=expected)
    if isinstance(dataset, Mapping) or is_frame(dataset):
        raise SynvitaError(
            f"{name} is of columns or splits, not of rows",
            found=type(dataset).__name__,
            expected=expected,
            fix='Take one split by its name; of a frame of pandas frame.to_dict("records")',
        )
    if isinstance(dataset, list | tuple):
        kinds = (Mapping, TrainingTriplet, *([EvaluationItem] if name == "eval_dataset" else []))
        # Not a mixture: all are of the kind of the first.
        kind = next((each for each in kinds if isinstance(dataset[0], each)), TrainingTriplet)
        strangers = [row for row in dataset if not isinstance(row, kind)]
        if strangers:
            found = type(strangers[0]).__name__
            raise SynvitaError(f"{name} holds something else than triplets", found=found, expected=expected)


def _are_rows(dataset: Any) -> bool:
    """Whether these are rows of a dataset and not samples; a list of dicts is."""
    return is_table(dataset) or (isinstance(dataset, list | tuple) and isinstance(dataset[0], Mapping))


def _training_data(dataset: Any, alignment: AlignmentModel, args: SynViTAConfig) -> Any:
    """Rows become the `TripletData` that `args` describe; one that was made by hand must be what they describe."""
    if dataset is None:
        return None
    arguments = args.data_arguments(alignment.family)
    if _are_rows(dataset):
        cache = None
        if args.feature_cache:
            stock = alignment.family.model
            if not stock.name_or_path:  # which would be taken for the folder that this process works in
                raise SynvitaError(
                    "features of this model could not be told from another's: the model has no name_or_path",
                    found="name_or_path is empty",
                    expected="a model from from_pretrained",
                    fix="Save the model (save_pretrained) and load it from there, or leave feature_cache out",
                )
            revision = loaded_revision(str(stock.name_or_path), stock)
            cache = feature_cache_of(alignment, revision, args.feature_cache, frames=arguments["frames"])
        dataset = TripletData(dataset, alignment, cache=cache, **arguments)
    elif isinstance(dataset, TripletData):
        dataset.check_same(alignment, arguments)
    if getattr(getattr(dataset, "preparer", None), "cache", None) is not None:
        check_frozen_tower(alignment)
    return dataset


def _out_of_memory(args: SynViTAConfig, error: Exception) -> SynvitaError:
    """What to set where a training step does not fit, those things first that change nothing in what is learned."""
    several = args.per_device_train_batch_size > 1
    settings = {
        "per_device_train_batch_size=1 with as much more gradient_accumulation_steps": several,
        "gradient_checkpointing=true": not args.gradient_checkpointing,
        "way=packed": args.way != "packed",
        "bf16=true": not (args.bf16 or args.fp16),
        "fewer frames, or shorter captions and explanations": True,
    }
    return SynvitaError(
        "a training step does not fit in the memory of the GPU",
        found=f"{args.per_device_train_batch_size} triplets at once; {first_line(error, 200)}",
        fix="Set " + "; or ".join(setting for setting, helps in settings.items() if helps),
    )
