"""From a recipe to a fine-tuned model on disk, merged and published: what `synvita train` does, as functions."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import torch
from accelerate.utils import gather_object

from synvita_data.captions.prompts import describe
from synvita_data.display import counted
from synvita_data.display import say as print_line
from synvita_data.errors import SynvitaError, VideoError
from synvita_data.files import write_atomic
from synvita_data.models import AlignmentModel
from synvita_data.models.loading import load_alignment_model, with_adapter
from synvita_data.models.resolve import find_checkpoint

from . import output
from .checkpoints import ADAPTER_WEIGHTS, merge_adapter
from .config import SynViTAConfig
from .data.dataset import TripletData, counts_of_run
from .data.features import feature_cache_of, fill_feature_cache
from .evaluation import EvaluationPairs
from .publish import push_model, render_model_card
from .recipe import Recipe, RecipeError, RunOptions, read_recipe, split_batch

if TYPE_CHECKING:
    from .trainer import SynViTATrainer

Say = Callable[[str], None]


@dataclass
class Run:
    """All that a recipe names, loaded and checked; nothing has been trained.

    Attributes:
        recipe: with the command line's changes.
        config: the trainer's arguments.
        trainer: ready to train.
        triplets: the training data.
        base: name, revision, family, prompt, frames and placeholder of the model.
        data: version of the dataset, config and split.
        identity: of the data, which a run that resumes must find again.
        lock: of the output folder; on the first process, and not for a dry run.
    """

    recipe: Recipe
    config: SynViTAConfig
    trainer: "SynViTATrainer"
    triplets: TripletData
    base: dict[str, Any]
    data: dict[str, Any]
    identity: dict[str, Any]
    lock: output.RunLock | None = None

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


def make_config(recipe: Recipe, processes: int, *, dry_run: bool = False) -> SynViTAConfig:
    """The trainer's arguments, for this many processes.

    Args:
        recipe: of `open_recipe`.
        processes: that train.
        dry_run: nothing is trained, so that a machine without a GPU will do.

    Raises:
        SynvitaError: values that do not fit together, or that would be ignored silently.
    """
    values = {**recipe.training, **split_batch(recipe, processes)}
    values.setdefault("report_to", "none")
    if dry_run and "use_cpu" not in values and not torch.accelerator.is_available():
        values |= {"use_cpu": True, "fp16": False}  # of a GPU, which this machine need not have
    try:
        config = SynViTAConfig(**values)
    # Of TrainingArguments: unknown scheduler, bf16 without hardware, …
    except (ValueError, ImportError) as error:
        raise RecipeError(
            "the training arguments do not fit together or this machine", found=" ".join(str(error).split())
        ) from error
    if config.resume_from_checkpoint:
        raise RecipeError(
            "a run resumes from the last checkpoint of its own output folder",
            found=f"resume_from_checkpoint={config.resume_from_checkpoint}",
            fix="Leave it out: the same command resumes. To train another adapter further: model=FOLDER",
        )
    options = recipe.run
    if options.model_revision is not None and Path(options.model).expanduser().is_dir():
        raise RecipeError(
            "a folder has no revisions",
            found=f"model_revision={options.model_revision} of {options.model}",
            fix="Leave model_revision out, or name the model by its Hub id",
        )
    return config


def prepare(recipe: Recipe, say: Say = print_line, *, dry_run: bool = False) -> Run:
    """Load and check model and data; everything that can be wrong is found here, before the first step.

    Args:
        recipe: of `open_recipe`.
        say: takes lines for the user.
        dry_run: encode nothing and leave no trace; the result is not to be trained.

    Raises:
        SynvitaError: recipe, output folder, dataset or model are wrong, or another run has the folder.
    """
    _check_demo(recipe.run)
    config = make_config(recipe, int(os.environ.get("WORLD_SIZE", "1")), dry_run=dry_run)
    folder = Path(str(config.output_dir))
    output.check_folder(folder, recipe)
    check_after_training(recipe)
    missing = output.missing_folders(folder)  # the Trainer makes them
    lock = None if dry_run or not is_main_process() else output.RunLock(folder)
    try:
        if lock is not None:
            output.check_folder(folder, recipe)  # whoever had the lock may have finished meanwhile
            output.remove_leftovers(folder)
        run = _load(recipe, config, say, dry_run)
    except BaseException:
        if lock is not None:
            lock.release()
        output.remove_traces(folder, missing)
        raise
    if dry_run:
        output.remove_traces(folder, missing)
    run.lock = lock
    return run


def _check_demo(options: RunOptions) -> None:
    """What the recipe of a look at everything trains on is made by hand, here.

    Raises:
        RecipeError: it is not there.
    """
    named = {"model": options.model, "data": options.data, "real_root": options.real_root}
    lacking = {
        key: value
        for key, value in named.items()
        if value is not None and Path(value).parts[:1] == ("demo",) and not Path(value).exists()
    }
    if not lacking:
        return
    make = {
        "model": """make_tiny("video_llava", "demo/model") of synvita_data.testing makes the model""",
        "data": "`synvita demo` makes dataset and videos here",
        "real_root": "`synvita demo` makes dataset and videos here",
    }
    raise RecipeError(
        "the recipe uses what is not made yet in this folder",
        found=", ".join(f"{key}={value}" for key, value in lacking.items()),
        fix="; ".join(dict.fromkeys(make[key] for key in lacking))
        + "; or name others: "
        + " ".join(f"{key}=…" for key in lacking),
    )


def train(run: Run, say: Say = print_line) -> dict[str, Any]:
    """Train, save, merge and publish as the recipe asks; a run that was killed resumes from its last checkpoint.

    Returns:
        The run record, which is in the output folder too.

    Raises:
        SynvitaError: merging or publishing failed. The run is finished then: `finish` does the rest.
    """
    try:
        return _train(run, say)
    finally:
        if run.lock is not None:
            run.lock.release()


def _train(run: Run, say: Say) -> dict[str, Any]:
    trainer, folder = run.trainer, run.folder
    if trainer.is_world_process_zero():
        output.write_started(folder, run.recipe, run.identity, {"revision": run.base["revision"]})
    checkpoint = output.last_checkpoint(folder)
    if checkpoint is not None:
        say(f"Resuming from {checkpoint.name}")
    trained = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if trainer.eval_dataset is not None:
        trainer.evaluate()
    trainer.save_model()
    record = output.make_run_record(
        run.recipe,
        model=run.base,
        data=run.data,
        counts=counts_of_run(run.triplets.counts, run.triplets.triplets, folder / output.QUARANTINE),
        processes=run.config.world_size,
        summary=trained.metrics,
        history=trainer.state.log_history,
    )
    if trainer.is_world_process_zero():
        adapter = (folder / ADAPTER_WEIGHTS).is_file()
        write_atomic(
            folder / "README.md",
            render_model_card(output.public_record(record), run.recipe.run.push_to, adapter=adapter),
        )
        output.write_run_record(folder, record)  # last: with it the run is trained to its end
    trainer.accelerator.wait_for_everyone()  # before what may take longer than processes wait for one another
    if trainer.is_world_process_zero():
        finish(run.recipe, say)
    return record


def _load(recipe: Recipe, config: SynViTAConfig, say: Say, dry_run: bool) -> Run:
    from .trainer import SynViTATrainer  # imports `datasets`, which an error of the recipe need not wait for

    options, folder = recipe.run, Path(str(config.output_dir))
    # Rows and their version: what is wrong with them shows before the model is loaded.
    rows, held_out_rows = _load_rows(options, config)
    version = output.dataset_version(options.data, options.data_revision)
    output.check_data(folder, {"version": version})  # before what takes long
    # The model, and the samples that it is trained and evaluated on.
    alignment, revision, family = _load_model(options, config)
    output.check_model(folder, revision)
    arguments = config.data_arguments(alignment.family)
    cache = None
    if config.feature_cache:
        cache = feature_cache_of(alignment, revision, config.feature_cache, frames=arguments["frames"])
    name = f"{options.data} ({options.config or 'default config'}, {options.split})"
    triplets = TripletData(
        rows, alignment, cache=cache, quarantine=folder / output.QUARANTINE, name=name, **arguments
    )
    held_out = None
    if held_out_rows is not None:
        held_out_name = f"{options.data} ({options.eval_split})"
        held_out = EvaluationPairs(held_out_rows, triplets.preparer, name=held_out_name)
    say(f"{counted(len(triplets), 'triplets')} to train on: " + _counts_line(triplets.counts))
    if not triplets.counts["takes_real"]:
        say("No real video is there, so L_real trains nothing: real_root=DIR says where they lie")
    # Every video once: through the tower into the cache, or looked into.
    unreadable = 0
    if cache is not None and not dry_run:
        unreadable = _fill_cache(triplets, alignment, config, say)
    if options.check_videos and (cache is None or dry_run or unreadable):
        _look_into_videos(triplets, config, say)
    if held_out is not None:
        _check_held_out(held_out)
    # All processes, and a run that resumes, must see the same triplets.
    chosen = arguments["misalignments"]
    only = arguments["only"]
    identity = output.data_identity(version, triplets.triplets, triplets.counts, chosen, only)
    _check_all_the_same(identity)
    output.check_data(folder, identity)
    # The trainer changes the model in place: adapters, frozen parts.
    trainer = SynViTATrainer(alignment.model, alignment.family.processor, config, triplets, held_out)
    trained = sum(p.numel() for p in trainer.module.parameters() if p.requires_grad)
    total = sum(p.numel() for p in trainer.module.parameters())
    say(f"{options.model} ({family}), {trained:,} of {total:,} weights are trained")
    placeholder = trainer.alignment.prompter.behind_video
    frames = triplets.preparer.frames.to_dict()
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
            "frames": " ".join(f"{key}={value}" for key, value in frames.items() if value is not None),
            "placeholder": placeholder,
        },
        data={
            **version,
            "config": options.config,
            "split": options.split,
            **({} if chosen is None else {"misalignments": list(chosen)}),
            **({} if only is None else {"only": only}),
        },
        identity=identity,
    )


def _load_model(options: RunOptions, config: SynViTAConfig) -> tuple[AlignmentModel, str, str]:
    """The model on the CPU (the Trainer moves it), its revision and family; with its adapter trainable if it has one."""
    checkpoint = find_checkpoint(options.model, revision=options.model_revision)
    base = replace(checkpoint, adapter=None, adapter_name=None, adapter_revision=None)
    arguments = config.model_arguments()
    model, version = load_alignment_model(base, dtype=options.dtype, device="cpu", **arguments)
    if checkpoint.adapter is not None:
        adapted = with_adapter(model.model, checkpoint, trainable=True)
        model = AlignmentModel(adapted, model.family.processor, **arguments)
        version = f"{version}+{checkpoint.adapter_revision}"
    return model, version, checkpoint.model_type


# Data


def _load_rows(options: RunOptions, config: SynViTAConfig) -> tuple[Any, Any]:
    """Rows to train on, and held-out rows or None.

    Raises:
        SourceError: rows to train on are of a benchmark that must not be trained on.
    """
    from synvita_data.dataset.load import config_there, load_triplets
    from synvita_data.held_out import read_held_out, refuse_pairs, refuse_sources

    def load(split: str) -> Any:
        return load_triplets(
            options.data,
            chosen,
            options.data_revision,
            split,
            real_root=options.real_root,
            mapping=options.real_mapping,
            synthetic_root=options.synthetic_root,
        )

    with config.main_process_first(desc="loading the dataset"):
        chosen = config_there(options.data, options.config, options.data_revision)
        rows = load(options.split)
        held_out = None if options.eval_split is None else load(options.eval_split)
    if "source" in rows.column_names:
        refuse_sources(rows["source"], options.data)
    if options.benchmarks is not None:
        pairs = zip(rows["caption"], rows["neg_caption"], strict=True)
        refuse_pairs(pairs, read_held_out(options.benchmarks), options.data)
    return rows, held_out


def _fill_cache(triplets: TripletData, alignment: AlignmentModel, config: SynViTAConfig, say: Say) -> int:
    """Every process encodes its share of the videos, on its own device; returns how many cannot be read, over all of them."""
    home = next(alignment.parameters()).device
    alignment.to(config.device)
    report = fill_feature_cache(
        triplets,
        alignment,
        workers=max(config.dataloader_num_workers, 2),
        shard=(config.process_index, config.world_size),
    )
    alignment.to(home)
    say(
        f"Feature cache: {counted(report.videos, 'videos')}, {report.found:,} were there, {report.made:,} added, "
        f"{report.not_kept:,} did not fit, {report.unreadable:,} cannot be read"
    )
    return sum(gather_object([report.unreadable]))


def _look_into_videos(triplets: TripletData, config: SynViTAConfig, say: Say) -> None:
    """Set aside what cannot be read, on every process alike.

    Raises:
        VideoError: more than `max_unreadable` of the videos.
    """
    from synvita_data.progress import Progress

    before = triplets.counts["videos"]
    shown = is_main_process() and not config.disable_tqdm
    with Progress("checking videos", enabled=shown) as progress:
        bad = triplets.check_videos(workers=max(config.dataloader_num_workers, 4), on_progress=progress.at)
    say(f"{counted(before, 'videos were')} looked into, {len(bad):,} cannot be read")
    if triplets.too_many(len(bad), before):
        raise VideoError(
            f"{len(bad):,} of {before:,} videos cannot be read",
            file=triplets.name,
            found=f"first {bad[0].kind} video of row {bad[0].rows[0]}: {bad[0].error}",
            expected=f"at most {config.max_unreadable:.0%} of them",
            fix="A folder may have gone away; the warnings before name each one",
        )
    if bad:
        say(f"{counted(len(triplets), 'triplets are')} left: " + _counts_line(triplets.counts))


def _check_held_out(held_out: EvaluationPairs) -> None:
    """One video of the held-out rows can be read: else the first evaluation would end the run."""
    if not any(held_out[index].video is not None for index in range(len(held_out))):
        raise VideoError(
            "no video of the held-out rows can be read",
            file=held_out.name,
            found=f"{counted(len(held_out), 'videos')} that cannot; the warnings before say why",
            fix="Look at real_root=DIR, or leave eval_split out",
        )


def _check_all_the_same(identity: Mapping[str, Any]) -> None:
    """Processes deal out triplets by number: all must have the same ones.

    Raises:
        SynvitaError: another machine sees other data.
    """
    for process, other in enumerate(gather_object([dict(identity)])):
        if other["triplets"] != identity["triplets"]:
            raise SynvitaError(
                "the processes do not have the same data",
                found=f"process {process}: {_counts_line(other['counts'])}; here: {_counts_line(identity['counts'])}",
                fix="Every machine needs the same dataset and the same videos (real_root=DIR)",
            )


def _counts_line(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in counts.items() if value)


# After training


def is_main_process() -> bool:
    """Of all that a launcher started, before torch.distributed knows."""
    return os.environ.get("RANK", "0") == "0"


def check_after_training(recipe: Recipe) -> None:
    """What would fail after hours of training fails before it: a name, a token, the way to the Hub.

    Raises:
        SynvitaError: nothing to merge.
        HubError: push_to is not a name, no token that may write, no network, or a public repository where a private
            one was asked for.
    """
    options = recipe.run
    tune = recipe.training.get("tune", "lora")
    if options.merge and tune != "lora":
        raise SynvitaError(
            "without an adapter there is nothing to merge",
            found=f"merge=true with tune={tune}",
            fix="Leave merge out: the output folder holds the whole model",
        )
    if options.push_to and is_main_process():
        from synvita_data.hub.leaks import refuse_leaks
        from synvita_data.hub.repo import HubRepo, LocalFile

        hub = HubRepo(options.push_to, repo_type="model")
        hub.check_token()
        state = hub.state()
        # What the record will hold of the recipe, before hours of training.
        public = output.public_record({"recipe": recipe.to_dict(), "model": {"name": options.model}})
        refuse_leaks(
            [LocalFile(output.FILE, output.as_json(public).encode())], allow_home=options.push_home_folders
        )
        hub.check_visibility(state, private=options.push_private, option="push_private")


def is_finished(recipe: Recipe) -> bool:
    """Whether the output folder holds this recipe trained to its end.

    Raises:
        SynvitaError: on data that has changed since.
    """
    folder = Path(str(recipe.training["output_dir"]))
    if not output.is_finished(folder) or output.different_keys(folder, recipe):
        return False
    output.check_trained_data(folder, recipe)
    return True


def is_left_to_do(recipe: Recipe) -> bool:
    """Whether the output folder holds this recipe trained to its end, and merging or publishing is asked for.

    A finished run can be published again: what is there already is not sent twice.
    """
    folder = Path(str(recipe.training["output_dir"]))
    if not is_finished(recipe):
        return False
    # Other processes leave it to the first, which may have merged before they look.
    return not is_main_process() or _to_merge(folder, recipe) or bool(recipe.run.push_to)


def finish(recipe: Recipe, say: Callable[[str], None] = print_line) -> dict[str, Any]:
    """Merge and publish a finished run, as the recipe asks; on one process.

    Returns:
        The run record.

    Raises:
        SynvitaError: merging or publishing failed. The run stays finished: the same command does the rest.
    """
    folder = Path(str(recipe.training["output_dir"]))
    record = output.read_run_record(folder)
    if _to_merge(folder, recipe):
        say(f"Merged model in {merge_adapter(folder, folder / output.MERGED)}")
    if repo := recipe.run.push_to:
        commit = push_model(
            folder, repo, private=recipe.run.push_private, allow_home_folders=recipe.run.push_home_folders
        )
        say(f"Published {repo}, commit {commit[:10]}")
    return record


def _to_merge(folder: Path, recipe: Recipe) -> bool:
    return recipe.run.merge and (folder / ADAPTER_WEIGHTS).is_file() and not (folder / output.MERGED).exists()
