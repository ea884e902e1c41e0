"""From a recipe to a fine-tuned model on disk: what `synvita train` does, as functions."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from synvita_data.errors import SynvitaError
from synvita_data.files import write_atomic

from .card import render_model_card
from .checkpoints import ADAPTER_WEIGHTS, merge_adapter
from .config import SynViTAConfig
from .data import TripletData
from .features import feature_cache_of, fill_feature_cache
from .publish import push_model
from .recipe import Recipe, RecipeError, RunOptions, accumulation_steps, read_recipe
from .run_record import FILE, dataset_version, make_run_record, write_run_record

if TYPE_CHECKING:
    from synvita_data.alignment import AlignmentModel

    from .trainer import SynViTATrainer

STARTED = "recipe.json"  # in the output folder from the first minute: what is being trained there
QUARANTINE = "quarantine.jsonl"
# What may change between a run and its continuation: where and how fast, not what.
_MAY_CHANGE = frozenset(
    {
        "about",
        "merge",
        "push_to",
        "push_private",
        "num_processes",
        "real_root",
        "real_mapping",
        "report_to",
        "run_name",
    }
    | {"dataloader_num_workers", "save_total_limit", "logging_steps", "disable_tqdm", "feature_cache"}
)
Say = Callable[[str], None]


@dataclass
class Run:
    """All that a recipe names, loaded and checked; nothing has been trained.

    Attributes:
        recipe: with the command line's changes. config: the trainer's arguments.
        base: of the model: name, revision, family, prompt, frames.
        data: version of the dataset, config and split.
    """

    recipe: Recipe
    config: SynViTAConfig
    trainer: "SynViTATrainer"
    triplets: TripletData
    base: dict[str, Any]
    data: dict[str, Any]

    @property
    def folder(self) -> Path:
        return Path(str(self.config.output_dir))


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


def prepare(recipe: Recipe, say: Say = print) -> Run:
    """Load and check model and data; everything that can be wrong is found here, before the first step.

    Raises:
        SynvitaError: whatever is wrong with recipe, dataset or model.
    """
    from .trainer import SynViTATrainer

    config = make_config(recipe, int(os.environ.get("WORLD_SIZE", "1")))
    check_folder(Path(str(config.output_dir)), recipe)
    rows, held_out_rows = _load_rows(recipe.run, config)
    alignment, version, family = _load_model(recipe.run, config)
    options = config.data_options(alignment.family)
    cache = None
    if config.feature_cache:
        cache = feature_cache_of(alignment, version, config.feature_cache, frames=options.frames)
    folder = Path(str(config.output_dir))
    data_name = f"{recipe.run.data} ({recipe.run.config or 'default config'}, {recipe.run.split})"
    triplets = TripletData(
        rows, alignment, options, cache=cache, quarantine=folder / QUARANTINE, name=data_name
    )
    held_out = None
    if held_out_rows is not None:
        from .evaluation_pairs import EvaluationPairs

        held_out = EvaluationPairs(
            held_out_rows, triplets.preparer, name=f"{recipe.run.data} ({recipe.run.eval_split})"
        )
    frames = triplets.preparer.frames
    say(f"{len(triplets):,} triplets to train on: " + _counts_line(triplets.counts))
    if cache is not None:
        _fill(triplets, alignment, config, say)
    trainer = SynViTATrainer(alignment.model, alignment.family.processor, config, triplets, held_out)
    trained = sum(p.numel() for p in trainer.module.parameters() if p.requires_grad)
    total = sum(p.numel() for p in trainer.module.parameters())
    say(f"{recipe.run.model} ({family}), {trained:,} of {total:,} weights are trained")
    return Run(
        recipe,
        config,
        trainer,
        triplets,
        base={
            "name": recipe.run.model,
            "revision": version,
            "family": family,
            "prompt": trainer.alignment.prompt.name,
            "frames": _frames_text(frames),
        },
        data={
            **dataset_version(recipe.run.data, recipe.run.data_revision),
            "config": recipe.run.config,
            "split": recipe.run.split,
        },
    )


def train(run: Run, say: Say = print) -> dict[str, Any]:
    """Train, save, and do what the recipe asks for afterwards; a run that was killed goes on at its last checkpoint.

    Returns:
        The run record, which is in the output folder too.
    """
    trainer, folder = run.trainer, run.folder
    if trainer.is_world_process_zero():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / STARTED, json.dumps(run.recipe.to_dict(), indent=2, default=str) + "\n")
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
        counts=run.triplets.counts,
        processes=run.config.world_size,
        summary=output.metrics,
        history=trainer.state.log_history,
    )
    if trainer.is_world_process_zero():
        adapter = (folder / ADAPTER_WEIGHTS).is_file()
        repo = run.recipe.run.push_to
        write_atomic(folder / "README.md", render_model_card(record, repo, adapter=adapter))
        write_run_record(folder, record)  # last: with it the run is finished
        if run.recipe.run.merge and adapter:
            say(f"Merged model in {merge_adapter(folder, folder / 'merged')}")
        if repo:
            commit = push_model(folder, repo, private=run.recipe.run.push_private)
            say(f"Published {repo}, commit {commit[:10]}")
    trainer.accelerator.wait_for_everyone()
    return record


def check_folder(folder: Path, recipe: Recipe) -> None:
    """The output folder is new, or holds an unfinished run of the same recipe.

    Raises:
        SynvitaError: a finished run, or one of another recipe.
    """
    if (folder / FILE).is_file():
        raise SynvitaError(
            "the output folder holds a finished run",
            file=folder,
            fix="Name another: output_dir=DIR, or remove it",
        )
    started = folder / STARTED
    if not started.is_file():
        return
    before = json.loads(started.read_text(encoding="utf-8"))
    now = json.loads(json.dumps(recipe.to_dict(), default=str))
    different = sorted(
        key for key in {**before, **now} if key not in _MAY_CHANGE and before.get(key) != now.get(key)
    )
    if different:
        raise SynvitaError(
            "the output folder holds an unfinished run of another recipe",
            file=folder,
            found=", ".join(f"{key}: {before.get(key)} there, {now.get(key)} here" for key in different[:4]),
            expected="the same recipe, to go on with it",
            fix="Name another folder: output_dir=DIR, or remove that one",
        )


def last_checkpoint(folder: Path) -> Path | None:
    """The newest finished checkpoint in an output folder."""
    numbered = [
        (int(path.name.removeprefix("checkpoint-")), path)
        for path in folder.glob("checkpoint-*")
        if path.name.removeprefix("checkpoint-").isdigit() and (path / "trainer_state.json").is_file()
    ]
    return max(numbered)[1] if numbered else None


def _load_rows(options: RunOptions, config: SynViTAConfig) -> tuple[Any, Any]:
    from synvita_data.dataset import load_triplets

    def load(split: str) -> Any:
        return load_triplets(
            options.data,
            options.config,
            options.data_revision,
            split,
            real_root=options.real_root,
            mapping=options.real_mapping,
        )

    with config.main_process_first(desc="loading the dataset"):
        rows = load(options.split)
        held_out = None if options.eval_split is None else load(options.eval_split)
    return rows, held_out


def _load_model(options: RunOptions, config: SynViTAConfig) -> "tuple[AlignmentModel, str, str]":
    """The model on the CPU (the Trainer moves it), its revision and family; with its adapter trainable if it has one."""
    from synvita_data.alignment import AlignmentModel
    from synvita_data.alignment.loading import find_checkpoint, load_alignment_model

    checkpoint = find_checkpoint(options.model, revision=options.model_revision)
    base = replace(checkpoint, adapter=None, adapter_name=None, adapter_revision=None)
    model, version = load_alignment_model(
        base, prompt=config.prompt, dtype=options.dtype, device="cpu", attention=config.attention
    )
    if checkpoint.adapter is not None:
        from peft import PeftModel

        adapted = PeftModel.from_pretrained(model.model, checkpoint.adapter, is_trainable=True)
        model = AlignmentModel(
            adapted, model.family.processor, prompt=config.prompt, attention=config.attention
        )
        version = f"{version}+{checkpoint.adapter_revision}"
    return model, version, checkpoint.model_type


def _fill(triplets: TripletData, alignment: "AlignmentModel", config: SynViTAConfig, say: Say) -> None:
    """Every process encodes its share of the videos, on its own device."""
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
        f"Feature cache: {report.videos:,} videos, {report.found:,} were there, {report.made:,} added, "
        f"{report.not_kept:,} did not fit, {report.unreadable:,} cannot be read"
    )


def _counts_line(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in counts.items() if value)


def _frames_text(frames: Any) -> str:
    return " ".join(f"{key}={value}" for key, value in frames.to_dict().items() if value is not None)
