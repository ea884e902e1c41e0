"""Recipes: one YAML file holds a whole training run, `key=value` on the command line changes it.

A recipe is a flat mapping. Its keys are those of `RunOptions` (which model, which data, where the result goes) and the
fields of `SynViTAConfig` (how it is trained). `extends: other.yaml` takes another recipe's values first. Reading a
recipe imports neither torch nor transformers, so that a wrong key is found at once.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from synvita_data.errors import SynvitaError, located
from synvita_data.files import parse_yaml

DEFAULT_PER_DEVICE = 8  # of transformers' TrainingArguments
RECIPES = Path(__file__).parent / "recipes"
_NO_EVALUATION = {"eval_strategy": "no", "eval_on_start": False, "load_best_model_at_end": False}
_DEEPEST = 8  # recipes that extend one another


class RecipeError(SynvitaError):
    """A recipe cannot be used as it is."""


def option(default: Any, text: str, choices: Iterable[str] = ()) -> Any:
    """A dataclass field with a help text, and the names it may take; `HfArgumentParser` and `synvita train --keys`
    show both.

    Args:
        default: its value where none is given; `MISSING` where one must be.
        text: what it is.
        choices: the names that it may take, beside a default of None.
    """
    named = tuple(choices)
    return field(default=default, metadata={"help": text, **({"choices": named} if named else {})})


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a recipe says beside the fields of `SynViTAConfig`.

    Attributes are documented by their `help`, which `synvita train --keys` prints.
    """

    about: str | None = option(None, "One line that says what the recipe is.")
    model: str = option(
        MISSING, "Video LLM to fine-tune: Hub id, folder, or an adapter that is trained further."
    )
    model_revision: str | None = option(None, "Its commit, tag or branch on the Hub.")
    dtype: str = option("bfloat16", "Type of the frozen weights: float32, bfloat16 or float16.")
    data: str = option(MISSING, "Dataset of triplets: Hub id, or a folder that `synvita build` wrote.")
    config: str | None = option(
        None, "Config of the dataset, one a generator; `all` is every one. Default: its own default."
    )
    data_revision: str | None = option(
        None, "Version of the dataset on the Hub: a tag such as v0.1.0, or a commit."
    )
    split: str = option("train", "Rows to train on, as load_dataset names them.")
    eval_split: str | None = option(
        None, "Held-out rows for the AUC during training; by default none are evaluated."
    )
    real_root: str | None = option(None, "Folder of your real videos.")
    real_mapping: str | None = option(None, "CSV that says which file is which real video (docs/dataset.md).")
    synthetic_root: str | None = option(
        None, "Folder of the synthetic videos that the dataset refers to; what is not there is fetched."
    )
    benchmarks: str | None = option(
        None,
        "Annotations of benchmarks that must not be trained on, a file or folder: rows that are theirs are refused.",
    )
    batch: int | None = option(
        None,
        "Triplets an optimizer step, over all processes; sets gradient_accumulation_steps from it and "
        "per_device_train_batch_size. Default: what those two say.",
    )
    check_videos: bool = option(
        True,
        "Look into every video before the first step (a feature cache being filled does it too), and set "
        "aside what cannot be read.",
    )
    merge: bool = option(False, "Also save the model with its adapter merged, in OUTPUT_DIR/merged.")
    push_to: str | None = option(
        None, "Repository on the Hub to publish adapter and model card in, when training ends."
    )
    push_private: bool = option(False, "Make that repository a private one.")
    push_home_folders: bool = option(
        False, "Publish even what looks like somebody's home folder (a token is never published)."
    )


@dataclass(frozen=True)
class Recipe:
    """A recipe that has been read and checked.

    Attributes:
        name: of its file, without ending; with its family's folder for a recipe of the package.
        run: model, data and result.
        training: arguments of `SynViTAConfig`, of the right types.
        changed: keys that the command line gave other values.
    """

    name: str
    run: RunOptions
    training: dict[str, Any]
    changed: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All that the recipe says, as it goes into the model card; defaults are left out."""
        defaults = {f.name: f.default for f in fields(RunOptions)}
        run = {k: v for k, v in vars(self.run).items() if defaults[k] is MISSING or v != defaults[k]}
        return {**run, **self.training}


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe: a path, or the name of one that comes with the package (`video-llava/synvita`).

    Raises:
        RecipeError: unknown recipe; the message names the nearest of the package.
    """
    path = Path(name)
    if path.is_file():
        return path
    # A name never leaves the package's folder.
    known = own_recipes()
    wanted = str(name).removesuffix(".yaml").removesuffix(".yml")
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, n=2, cutoff=0.3) or list(known)[:2]
        raise RecipeError(
            "unknown recipe",
            found=str(name),
            expected=f"a YAML file, or a recipe of the package such as {' or '.join(near)}",
            fix=f"`synvita train --list` shows all {len(known)}",
        )
    return known[wanted]


def own_recipes() -> dict[str, Path]:
    """Name -> file of the recipes that come with the package."""
    files = [path for path in RECIPES.rglob("*.yaml") if path.parent.name != "accelerate"]
    return {path.relative_to(RECIPES).with_suffix("").as_posix(): path for path in sorted(files)}


def recipe_values(name: str | Path) -> dict[str, Any]:
    """What a recipe and those that it extends say, unchecked: enough to price it without importing a Trainer.

    Raises:
        RecipeError: unknown recipe.
    """
    return _read(find_recipe(name))


def read_recipe(
    path: str | Path, overrides: Sequence[str] = (), *, training_types: Mapping[str, Any]
) -> Recipe:
    """Read a recipe, change it, check every key and type.

    Args:
        path: file, or name of a recipe of the package.
        overrides: `key=value`, as on the command line; values are YAML.
        training_types: field name -> type of the training configuration (`typing.get_type_hints`).

    Raises:
        RecipeError: an unknown key (with the nearest known one), a value of another type, no model or data.
    """
    file = find_recipe(path)
    with located(file):
        values = _read(file)
        before, given = dict(values), {}
        for override in overrides:
            key, equals, value = override.partition("=")
            if not equals or not key.strip():
                expected = "key=value, for example margin=0.1"
                raise RecipeError(
                    "not an override", file="the command line", found=override, expected=expected
                )
            given[key.strip()] = _yaml(value, _place(key.strip()))
        values = _changed(values, given)
        run_types = get_type_hints(RunOptions)
        known = {**training_types, **run_types}
        _check_keys(values, known, given)
        typed = {}
        for key, value in values.items():
            with located(_place(key) if key in given else file):
                typed[key] = _typed(key, value, known[key])
    run = RunOptions(**{key: value for key, value in typed.items() if key in run_types})
    training = {key: value for key, value in typed.items() if key not in run_types}
    _check_evaluation(file, values, training, given)
    if run.eval_split is None:  # nothing to evaluate on, although a recipe that this one extends may have had
        training.update({key: value for key, value in _NO_EVALUATION.items() if key in training})
    changed = tuple(key for key in given if key not in before or before[key] != given[key])
    own = RECIPES in file.parents
    name = file.relative_to(RECIPES).with_suffix("").as_posix() if own else file.stem
    return Recipe(name, run, training, changed)


def _place(key: str) -> str:
    """Where a value stands that the user typed, for errors: the recipe's file is not at fault."""
    return f"{key}=… on the command line"


def _check_keys(values: Mapping[str, Any], known: Mapping[str, Any], given: Collection[str]) -> None:
    """Refuse keys that nobody knows, and a recipe without model or data. `given`: the keys of the command line."""
    for key in values:
        if key == "hub_token":
            raise RecipeError(
                "an access token does not belong in a recipe, which is kept and published",
                file=_place(key) if key in given else None,
                fix="Set HF_TOKEN, or run `hf auth login`",
            )
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.6)
            raise RecipeError(
                "this is not a key of recipes" if key in given else "a recipe has an unknown key",
                file=_place(key) if key in given else None,
                found=key,
                expected=f"a key of a recipe; `synvita train --keys` lists all {len(known)}",
                fix=f"Did you mean {near[0]}?" if near else None,
            )
    for each in fields(RunOptions):
        if each.default is MISSING and not values.get(each.name):
            raise RecipeError(
                f"a recipe does not say its {each.name}",
                expected=f"{each.name}: {each.metadata['help']}",
                fix=f"Add {each.name}=… to the command, or a line to the file",
            )


def _check_evaluation(
    file: Path, values: Mapping[str, Any], training: Mapping[str, Any], given: Collection[str]
) -> None:
    """Refuse an evaluation that would not take place: held-out rows that nobody named, steps that nothing goes by.

    `eval_split=null` switches off all that the recipe says of it, but not what is typed beside it.
    """
    asked = [
        key
        for key, off in _NO_EVALUATION.items()
        if training.get(key, off) != off and (key in given or "eval_split" not in values)
    ]
    if values.get("eval_split") is None and asked:
        raise RecipeError(
            "there are no held-out rows to evaluate on",
            file=_place(asked[0]) if asked[0] in given else file,
            found=f"{asked[0]}: {training[asked[0]]} without eval_split",
            fix=f"Name them, such as eval_split=validation, or leave {asked[0]} out",
        )
    strategy = training.get("eval_strategy", "no")
    if "eval_steps" in given and training["eval_steps"] is not None and strategy != "steps":
        raise RecipeError(
            "eval_steps is for eval_strategy=steps",
            file=_place("eval_steps"),
            found=f"eval_strategy={strategy}",
            fix="Add eval_strategy=steps, or leave eval_steps out",
        )


def split_batch(recipe: Recipe, processes: int) -> dict[str, int]:
    """How the recipe's `batch` is taken: `per_device_train_batch_size` and `gradient_accumulation_steps`.

    Empty where it says no batch. Where it does not say how many triplets a process takes at once, it is the largest
    number up to transformers' own default with which the batch comes out.

    Raises:
        RecipeError: it says both batch and accumulation; or see `accumulation_steps`.
    """
    batch, values = recipe.run.batch, recipe.training
    if batch is None:
        return {}
    if "gradient_accumulation_steps" in values:
        raise RecipeError(
            "batch and gradient_accumulation_steps both say how many triplets a step sees",
            found=f"batch={batch}, gradient_accumulation_steps={values['gradient_accumulation_steps']}",
            fix="Leave one of them out",
        )
    per_device = values.get("per_device_train_batch_size")
    if per_device is None:
        fitting = (each for each in range(DEFAULT_PER_DEVICE, 0, -1) if batch % (each * processes) == 0)
        per_device = next(fitting, 1)
    return {
        "per_device_train_batch_size": per_device,
        "gradient_accumulation_steps": accumulation_steps(batch, per_device, processes),
    }


def accumulation_steps(batch: int, per_device: int, processes: int) -> int:
    """Batches between two optimizer steps, so that a step sees `batch` triplets in all.

    Raises:
        RecipeError: `batch` is not a multiple of what all processes take at once.
    """
    at_once = per_device * processes
    if batch < 1 or per_device < 1 or batch % at_once:
        raise RecipeError(
            "the batch cannot be divided over the processes",
            found=f"batch={batch}, per_device_train_batch_size={per_device}, processes={processes}",
            expected=f"a multiple of {at_once}" if at_once > 0 else "at least one triplet for each process",
            fix="Change batch, per_device_train_batch_size or the number of processes",
        )
    return batch // at_once


def _read(file: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    if file.resolve() in seen or len(seen) > _DEEPEST:
        raise RecipeError("recipes extend each other in a circle", file=file)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError("a recipe cannot be read", file=file, found=str(error)) from error
    content = _yaml(text, str(file))
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise RecipeError(
            "a recipe is not a mapping",
            file=file,
            found=type(content).__name__,
            expected="lines of key: value",
        )
    base = content.pop("extends", None)
    if base is None:
        return content
    other = file.parent / str(base)
    try:
        if not other.is_file():
            other = find_recipe(str(base))
    except OSError as error:  # no name of a file, such as a longer one than there can be
        raise RecipeError("a recipe that is extended cannot be read", file=file, found=str(error)) from error
    merged = _read(other, (*seen, file.resolve()))
    merged.pop("about", None)
    return _changed(merged, content)


def _changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Values with some replaced. A revision is that of one repository: with another model or dataset it goes."""
    kept = dict(values)
    for name in ("model", "data"):
        if name in changes:
            kept.pop(f"{name}_revision", None)
    return {**kept, **changes}


class _UniqueKeys(yaml.SafeLoader):
    """A key that comes twice is a mistake, not a choice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{', '.join(map(str, twice))} comes twice")
        return super().construct_mapping(node, deep)


def _yaml(text: str, where: str) -> Any:
    try:
        return parse_yaml(text, _UniqueKeys)
    except ValueError as error:
        raise RecipeError("not YAML", file=where, found=str(error)) from error


_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def _typed(key: str, value: Any, wanted: Any) -> Any:
    """The value as its field wants it; YAML 1.1 reads `5e-5` as text, which a number field means as a number."""
    allowed = _plain_types(wanted)
    if value is None and type(None) in allowed:
        return None
    if isinstance(value, bool):
        if bool in allowed:
            return value
        # YAML 1.1 reads `no` as false; of the strategies it is a name.
        if value is False and any(issubclass(kind, Enum) and "no" in set(kind) for kind in allowed):
            return "no"
    elif isinstance(value, int | float):
        if int in allowed and isinstance(value, int):
            return value
        if float in allowed:
            return float(value)
        if int in allowed and float(value).is_integer():
            return int(value)
    elif isinstance(value, str):
        if float in allowed and _NUMBER.fullmatch(value):
            return float(value)
        if str in allowed or not allowed & {bool, int, float, dict, list}:
            return value
    elif (isinstance(value, dict) and dict in allowed) or (isinstance(value, list) and list in allowed):
        return value
    # Only text was asked for, and YAML read a number or a date out of it ("1", "2026-01-01").
    if str in allowed and not isinstance(value, dict | list | bool):
        return str(value)
    names = sorted(kind.__name__ for kind in allowed if kind is not type(None))
    raise RecipeError(
        f"{key} is of another type",
        found=f"{value!r} ({type(value).__name__})",
        expected=" or ".join(names) or str(wanted),
    )


def _plain_types(wanted: Any) -> set[type]:
    """The types inside a union, containers without what they hold."""
    if get_origin(wanted) in (Union, UnionType):
        return set().union(*(_plain_types(part) for part in get_args(wanted)))
    origin = get_origin(wanted) or wanted
    if origin in (Mapping, dict):
        return {dict}
    if origin in (list, tuple, Sequence, Iterable):
        return {list}
    return {origin} if isinstance(origin, type) else {str}
