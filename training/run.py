"""From a recipe to a fine-tuned model on disk: what `synvita train` does, as functions."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from synvita_data.captions.placeholders import describe
from synvita_data.display import say as print_line
from synvita_data.files import write_atomic

from .after_training import check_afterwards, finish, is_main_process
from .checkpoints import ADAPTER_WEIGHTS
from .config import SynViTAConfig
from .data import TripletData
from .features import feature_cache_of
from .output import (
    QUARANTINE,
    RunLock,
    check_data,
    check_folder,
    data_identity,
    last_checkpoint,
    missing_folders,
    remove_traces,
    write_started,
)
from .publish import render_model_card
from .recipe import Recipe, RecipeError, RunOptions, accumulation_steps, read_recipe
from .run_counts import counts_of_run
from .run_data import check_all_the_same, check_held_out, counts_line, fill_cache, load_rows, look_into_videos
from .run_record import dataset_version, make_run_record, public_record, write_run_record

if TYPE_CHECKING:
    from synvita_data.models import AlignmentModel

    from .trainer import SynViTATrainer

Say = Callable[[str], None]


@dataclass
class Run:
    """All that a recipe names, loaded and checked; nothing has been trained.

    Attributes:
        recipe: with the command line's changes. config: the trainer's arguments.
        base: of the model: name, revision, family, prompt, frames.
        data: version of the dataset, config and split.
        identity: of the data, which a run that goes on must find again.
        lock: of the output folder; on the first process, and not for a dry run.
    """

    recipe: Recipe
    config: SynViTAConfig
    trainer: "SynViTATrainer"
    triplets: TripletData
    base: dict[str, Any]
    data: dict[str, Any]
    identity: dict[str, Any]
    lock: RunLock | None = None

    @property
    def folder(self) -> Path:
        return Path(str(self.config.output_dir))

    @property
    def steps(self) -> int:
        """Optimizer steps from the first to the last."""
        if self.config.max_steps > 0:
            return self.config.max_steps
        batches = len(self.trainer.get_train_dataloader())
        an_epoch = max(-(-batches // self.config.gradient_accumulation_steps), 1)
        return math.ceil(an_epoch * self.config.num_train_epochs)


def open_recipe(path: str | Path, overrides: list[str]) -> Recipe:
    """The recipe with every key checked against `SynViTAConfig`.

    Raises:
        RecipeError: see `read_recipe`; or a recipe without an output folder.
    """
    recipe = read_recipe(path, overrides, training_types=get_type_hints(SynViTAConfig))
    if not recipe.training.get("output_dir"):
        raise RecipeError(
            "a recipe does not say where the result goes", file=path, fix="Add output_dir=DIR to the command"
        )
    return recipe


def make_config(recipe: Recipe, processes: int) -> SynViTAConfig:
    """The trainer's arguments, for this many processes.

    Raises:
        SynvitaError: values that do not fit together.
    """
    values = dict(recipe.training)
    if recipe.run.batch is not None:
        if "gradient_accumulation_steps" in values:
            raise RecipeError(
                "batch and gradient_accumulation_steps both say how many triplets a step sees",
                found=f"batch={recipe.run.batch}, "
                f"gradient_accumulation_steps={values['gradient_accumulation_steps']}",
                fix="Leave one of them out",
            )
        values["gradient_accumulation_steps"] = accumulation_steps(
            recipe.run.batch, values.get("per_device_train_batch_size", 8), processes
        )
    values.setdefault("report_to", "none")
    try:
        return SynViTAConfig(**values)
    except (
        ValueError,
        ImportError,
    ) as error:  # of TrainingArguments: no such scheduler, bf16 without hardware, …
        raise RecipeError(
            "the training arguments do not fit together or this machine", found=" ".join(str(error).split())
        ) from error


def prepare(recipe: Recipe, say: Say = print_line, *, dry_run: bool = False) -> Run:
    """Load and check model and data; everything that can be wrong is found here, before the first step.

    Args:
        dry_run: encode nothing and leave no trace; the result is not to be trained.

    Raises:
        SynvitaError: whatever is wrong with recipe, output folder, dataset or model; another run has the folder.
    """
    config = make_config(recipe, int(os.environ.get("WORLD_SIZE", "1")))
    _check_arguments(recipe.run, config)
    folder = Path(str(config.output_dir))
    check_folder(folder, recipe)
    check_afterwards(recipe)
    missing = missing_folders(folder)  # the Trainer makes them
    lock = None if dry_run or not is_main_process() else RunLock(folder)
    try:
        if lock is not None:
            check_folder(folder, recipe)  # whoever had the lock may have finished meanwhile
        run = _load(recipe, config, say, dry_run)
    except BaseException:
        if lock is not None:
            lock.release()
        remove_traces(folder, missing)
        raise
    if dry_run:
        remove_traces(folder, missing)
    run.lock = lock
    return run


def train(run: Run, say: Say = print_line) -> dict[str, Any]:
    """Train, save, and do what the recipe asks for afterwards; a run that was killed goes on at its last checkpoint.

    Returns:
        The run record, which is in the output folder too.

    Raises:
        SynvitaError: merging or publishing failed. The run is finished then: `afterwards.finish` does the rest.
    """
    try:
        return _train(run, say)
    finally:
        if run.lock is not None:
            run.lock.release()


def _train(run: Run, say: Say) -> dict[str, Any]:
    trainer, folder = run.trainer, run.folder
    if trainer.is_world_process_zero():
        write_started(folder, run.recipe, run.identity)
    checkpoint = last_checkpoint(folder)
    if checkpoint is not None:
        say(f"Going on from {checkpoint.name}")
    output = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if trainer.eval_dataset is not None:
        trainer.evaluate()
    trainer.save_model()
    record = make_run_record(
        run.recipe,
        model=run.base,
        data=run.data,
        counts=counts_of_run(run.triplets.counts, run.triplets.triplets, folder / QUARANTINE),
        processes=run.config.world_size,
        summary=output.metrics,
        history=trainer.state.log_history,
    )
    if trainer.is_world_process_zero():
        adapter = (folder / ADAPTER_WEIGHTS).is_file()
        write_atomic(
            folder / "README.md",
            render_model_card(public_record(record), run.recipe.run.push_to, adapter=adapter),
        )
        write_run_record(folder, record)  # last: with it the run is trained to its end
    trainer.accelerator.wait_for_everyone()  # before what may take longer than processes wait for one another
    if trainer.is_world_process_zero():
        finish(run.recipe, say)
    return record


def _load(recipe: Recipe, config: SynViTAConfig, say: Say, dry_run: bool) -> Run:
    from .trainer import SynViTATrainer

    options, folder = recipe.run, Path(str(config.output_dir))
    rows, held_out_rows = load_rows(options, config)
    version = dataset_version(options.data, options.data_revision)
    check_data(folder, {"version": version})  # before what takes long
    alignment, revision, family = _load_model(options, config)
    data_options = config.data_options(alignment.family)
    cache = None
    if config.feature_cache:
        cache = feature_cache_of(alignment, revision, config.feature_cache, frames=data_options.frames)
    name = f"{options.data} ({options.config or 'default config'}, {options.split})"
    triplets = TripletData(
        rows, alignment, data_options, cache=cache, quarantine=folder / QUARANTINE, name=name
    )
    held_out = None
    if held_out_rows is not None:
        from .evaluation_pairs import EvaluationPairs

        held_out = EvaluationPairs(
            held_out_rows, triplets.preparer, name=f"{options.data} ({options.eval_split})"
        )
    say(f"{len(triplets):,} triplets to train on: " + counts_line(triplets.counts))
    if not triplets.counts["takes_real"]:
        say("No real video is there, so L_real trains nothing: real_root=DIR says where they lie")
    unreadable = 0
    if cache is not None and not dry_run:
        unreadable = fill_cache(triplets, alignment, config, say)
    if options.check_videos and (cache is None or dry_run or unreadable):
        look_into_videos(triplets, config, say)
    if held_out is not None:
        check_held_out(held_out)
    chosen = data_options.misalignments
    identity = data_identity(version, triplets.triplets, triplets.counts, chosen)
    check_all_the_same(identity)
    check_data(folder, identity)
    trainer = SynViTATrainer(alignment.model, alignment.family.processor, config, triplets, held_out)
    trained = sum(p.numel() for p in trainer.module.parameters() if p.requires_grad)
    total = sum(p.numel() for p in trainer.module.parameters())
    say(f"{options.model} ({family}), {trained:,} of {total:,} weights are trained")
    placeholder = trainer.alignment.prompter.behind_video
    say(describe(**placeholder))
    return Run(
        recipe,
        config,
        trainer,
        triplets,
        base={
            "name": options.model,
            "revision": revision,
            "family": family,
            "prompt": trainer.alignment.prompt.name,
            "frames": _frames_text(triplets.preparer.frames),
            "placeholder": placeholder,
        },
        data={
            **version,
            "config": options.config,
            "split": options.split,
            **({} if chosen is None else {"misalignments": list(chosen)}),
        },
        identity=identity,
    )


def _check_arguments(options: RunOptions, config: SynViTAConfig) -> None:
    """Arguments that would be ignored in silence.

    Raises:
        RecipeError: one of them.
    """
    if config.resume_from_checkpoint:
        raise RecipeError(
            "a run goes on at the last checkpoint of its own output folder",
            found=f"resume_from_checkpoint={config.resume_from_checkpoint}",
            fix="Leave it out: the same command goes on. To go on with another adapter: model=FOLDER",
        )
    if options.model_revision is not None and Path(options.model).expanduser().is_dir():
        raise RecipeError(
            "a folder has no revisions",
            found=f"model_revision={options.model_revision} of {options.model}",
            fix="Leave model_revision out, or name the model by its Hub id",
        )


def _load_model(options: RunOptions, config: SynViTAConfig) -> "tuple[AlignmentModel, str, str]":
    """The model on the CPU (the Trainer moves it), its revision and family; with its adapter trainable if it has one."""
    from synvita_data.models import AlignmentModel
    from synvita_data.models.loading import load_alignment_model
    from synvita_data.models.resolve import find_checkpoint

    checkpoint = find_checkpoint(options.model, revision=options.model_revision)
    base = replace(checkpoint, adapter=None, adapter_name=None, adapter_revision=None)
    asked: dict[str, Any] = {
        "prompt": config.prompt,
        "attention": config.attention,
        "placeholder_space": config.placeholder_space,
    }
    model, version = load_alignment_model(base, dtype=options.dtype, device="cpu", **asked)
    if checkpoint.adapter is not None:
        from peft import PeftModel

        adapted = PeftModel.from_pretrained(model.model, checkpoint.adapter, is_trainable=True)
        model = AlignmentModel(adapted, model.family.processor, **asked)
        version = f"{version}+{checkpoint.adapter_revision}"
    return model, version, checkpoint.model_type


def _frames_text(frames: Any) -> str:
    return " ".join(f"{key}={value}" for key, value in frames.to_dict().items() if value is not None)
