"""What `synvita train` of a recipe needs, and what of it is there; neither torch nor transformers is imported."""

import ast
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from functools import reduce
from importlib import util
from operator import or_
from pathlib import Path
from typing import Any

from synvita_data.display import counted
from synvita_data.doctor.data import FoundData, add_real_videos, add_rows, datasets_cache, find_data
from synvita_data.doctor.inputs import add_output
from synvita_data.doctor.memory import memory_check, training_memory
from synvita_data.doctor.models import add_asked, find_model, is_kind
from synvita_data.doctor.report import Needs
from synvita_data.errors import SynvitaError

from . import output
from .recipe import DEFAULT_PER_DEVICE, Recipe, RecipeError, read_recipe, split_batch

_BASIC = {
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "dict": dict,
    "list": list,
    "None": type(None),
}
# Seconds a triplet on one H100: docs/scale.md.
_SECONDS_A_TRIPLET = 0.56


class _Named(StrEnum):
    """Stands for the enumerations of strategies in transformers, of which YAML reads one as false."""

    no = "no"


def training_needs(recipe: str, changes: Sequence[str] = (), needs: Needs | None = None) -> Needs:
    """What a training run needs. Nothing is loaded, written, printed or raised.

    Args:
        recipe: a file, or the name of a recipe of the package.
        changes: `key=value`, as on the command line.
        needs: takes what is found, and shares its answers with other looks; None makes one.
    """
    needs = needs or Needs("train")
    needs.packages("train")
    try:
        read = read_recipe(recipe, list(changes), training_types=training_types())
        if not read.training.get("output_dir"):
            problem = "a recipe does not say where the result goes"
            raise RecipeError(problem, file=recipe, fix="Add output_dir=DIR to the command")
    except SynvitaError as error:
        needs.failed("recipe", error)
        return needs
    about = f": {read.run.about}" if read.run.about else ""
    changed = f", with {len(read.changed)} changes ({', '.join(read.changed)})" if read.changed else ""
    needs.ok("recipe", f"{read.name}{about}{changed}")
    _output(needs, read)
    _model(needs, read)
    data = _data(needs, read)
    _steps(needs, read, data)
    _publishing(needs, read)
    # What is written.
    written = []
    if data is not None:
        written.append(("for the Arrow copy that datasets makes", datasets_cache(), data.stored))
    if read.run.merge and needs.memory is not None:
        merged = next((part.bytes for part in needs.memory.parts if part.what == "weights"), 0)
        written.append(("for the merged model", Path(str(read.training["output_dir"])), merged))
    needs.disk(*written)
    return needs


def _output(needs: Needs, recipe: Recipe) -> None:
    """Whether the output folder is new, is resumed, or refused; as the run itself decides."""
    folder = Path(str(recipe.training["output_dir"]))
    text = f"the result goes into {folder}, which is new or holds nothing of a run"
    try:
        if output.is_finished(folder) and not output.different_keys(folder, recipe):
            text = f"{folder} holds this recipe, trained to its end: only merging and publishing are left"
            needs.warn("out", text)
            return
        output.check_folder(folder, recipe)
        checkpoint = output.last_checkpoint(folder)
    except SynvitaError as error:
        needs.failed("out", error)
        return
    if (folder / output.STARTED).is_file():
        place = "its beginning, no checkpoint was saved" if checkpoint is None else checkpoint.name
        text = f"{folder} holds an unfinished run of this recipe: it resumes from {place}"
    add_output(needs, folder, text)


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _model(needs: Needs, recipe: Recipe) -> None:
    options, training = recipe.run, recipe.training
    with suppress(RecipeError):  # which `_steps` says
        training = {**training, **split_batch(recipe, _processes())}
    found = find_model(needs, options.model, options.model_revision)
    if found is None:
        return
    is_kind(needs, found)
    # A fine-tune that is trained further is asked as the recipe says, not as it was trained.
    given = {name: training.get(name) for name in ("prompt", "placeholder_space", "preprocess")}
    add_asked(needs, found, given, sampling={"count": training.get("frames")}, trained=False)
    named = [f"{name} {training[name]}" for name in ("granularity", "weighting") if training.get(name)]
    if named:
        needs.ok("masks", ", ".join(named))
    stored = f"stored in {found.base.dtype}, " if found.base.dtype else ""
    precision = next((name for name in ("bf16", "fp16") if training.get(name)), "no autocast")
    needs.ok("dtype", f"frozen weights: {stored}loaded in {options.dtype}; training: {precision}")
    needs.memory = training_memory(
        found.base.parameters,
        options.dtype,
        triplets=int(training.get("per_device_train_batch_size", DEFAULT_PER_DEVICE)),
        checkpointing=bool(training.get("gradient_checkpointing")),
        tune=str(training.get("tune", "lora")),
        rank=int(training.get("lora_r", 32)),
    )
    device = "cpu" if training.get("use_cpu") else None
    needs.checks.append(memory_check(needs.memory, needs.machine, device=device))


def _data(needs: Needs, recipe: Recipe) -> FoundData | None:
    options, training = recipe.run, recipe.training
    splits = [split for split in (options.split, options.eval_split) if split is not None]
    found = find_data(
        needs, options.data, config=options.config, revision=options.data_revision, splits=splits
    )
    if found is None:
        return None
    if training.get("use_synthetic", True):
        add_rows(needs, found, weighted=training.get("weighting") is not None)
    add_real_videos(needs, found, options.real_root, options.real_mapping)
    return found


def _steps(needs: Needs, recipe: Recipe, data: FoundData | None) -> None:
    """How many triplets a step sees, and what the run costs at most."""
    training, processes = recipe.training, _processes()
    try:
        training = {**training, **split_batch(recipe, processes)}
    except RecipeError as error:
        needs.failed("batch", error)
        return
    steps = int(training.get("gradient_accumulation_steps", 1))
    per_device = int(training.get("per_device_train_batch_size", DEFAULT_PER_DEVICE))
    a_step = steps * per_device * processes
    at_once = f"{per_device} at once × {steps} accumulated" + (
        f" × {processes} processes" if processes > 1 else ""
    )
    text = f"{a_step} triplets a step ({at_once})"
    rows = None if data is None else data.rows.get(recipe.run.split)
    if rows:
        epochs = float(training.get("num_train_epochs", 1))
        steps_in_all = int(training.get("max_steps") or 0)
        if steps_in_all <= 0:
            steps_in_all = max(int(-(-rows // a_step) * epochs), 1)
        hours = steps_in_all * a_step * _SECONDS_A_TRIPLET / 3600 / processes
        text += f", at most {counted(steps_in_all, 'steps')}"
        if hours >= 0.1:
            text += f"; at 7B about {hours:,.1f} hours on {processes} H100 (docs/scale.md)"
    needs.ok("batch", text)


def _publishing(needs: Needs, recipe: Recipe) -> None:
    options = recipe.run
    if options.merge and recipe.training.get("tune", "lora") != "lora":
        needs.bad("merge", "without an adapter there is nothing to merge", "Leave merge out")
    if options.push_to is None:
        return
    if needs.hub.has_token:
        needs.ok("token", f"a token is set, with which {options.push_to} would be written")
    else:
        needs.bad(
            "token", f"no token is set, and push_to={options.push_to}", "Set HF_TOKEN, or run `hf auth login`"
        )


# -- the keys of a recipe ----------------------------------------------------------------------------------


def training_types() -> dict[str, Any]:
    """Field -> type of `SynViTAConfig`, read in its source and in that of `TrainingArguments`: importing them takes torch.

    A type that is neither basic nor made of basic ones may hold any value.
    """
    here = Path(__file__).with_name("config.py")
    fields = _fields_of(here, "SynViTAConfig")
    transformers = util.find_spec("transformers")
    for place in (transformers.submodule_search_locations or ()) if transformers is not None else ():
        fields = _fields_of(Path(place) / "training_args.py", "TrainingArguments") | fields
    return fields


def _fields_of(file: Path, name: str) -> dict[str, Any]:
    """The fields of a dataclass by its source; none where there is no such file."""
    body = ast.parse(file.read_text(encoding="utf-8")).body if file.is_file() else ()
    own = next((each for each in body if isinstance(each, ast.ClassDef) and each.name == name), None)
    fields = [each for each in own.body if isinstance(each, ast.AnnAssign)] if own is not None else ()
    types = {ast.unparse(each.target): ast.unparse(each.annotation) for each in fields}
    return {field: _type_of(text) for field, text in types.items() if "ClassVar" not in text}


def _type_of(annotation: str) -> Any:
    """A union of basic types, by the names outside of brackets; anything, where one is of another kind."""
    anything = reduce(or_, _BASIC.values())
    names = re.findall(r"\w+", re.sub(r"\[.*\]", "", annotation))
    kinds = [
        _Named if name.endswith(("Strategy", "Type", "Names")) else _BASIC.get(name, anything)
        for name in names
    ]
    return reduce(or_, kinds)
