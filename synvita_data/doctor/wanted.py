"""Which files of a repository a command would fetch, and whether those of a folder are whole; no weights are read.

Of a model they are what `models.download` takes; diffusers takes the components that `model_index.json` names,
safetensors only; PEFT takes two files.
"""

import fnmatch
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import SynvitaError
from ..models.download import check_whole, files_to_fetch
from ..models.resolve import ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG, TRAINING_ARGUMENTS

# From all paths of a repository to those that are fetched.
Wanted = Callable[[Sequence[str]], Collection[str]]

MODEL_INDEX = "model_index.json"
WEIGHTS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".ckpt"})
# Names of dtypes in safetensors' headers, and on the Hub -> of torch.
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "BF16": "bfloat16",
    "F16": "float16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I8": "int8",
    "U8": "uint8",
}
BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
BYTES |= dict.fromkeys(("float8_e4m3fn", "float8_e5m2", "int8", "uint8"), 1)
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})(?P<suffix>\.[a-z]+)")


def model_files(paths: Sequence[str]) -> set[str]:
    """What is fetched of a model, by what lies in its repository: a pipeline, an adapter, or a whole model."""
    if MODEL_INDEX in paths:
        return pipeline_files(paths)
    if CONFIG not in paths and ADAPTER_CONFIG in paths:
        return {ADAPTER_CONFIG, ADAPTER_WEIGHTS, TRAINING_ARGUMENTS} & set(paths)
    return files_to_fetch(paths)


def pipeline_files(paths: Sequence[str], components: Collection[str] | None = None) -> set[str]:
    """What `DiffusionPipeline.from_pretrained(use_safetensors=True)` fetches.

    Args:
        paths: all of the repository.
        components: names in `model_index.json`; None takes every folder with settings in it.
    """
    chosen = {MODEL_INDEX} & set(paths)
    for path in paths:
        folder, slash, name = path.partition("/")
        if not slash or "/" in name or (components is not None and folder not in components):
            continue
        if name.endswith(".safetensors"):
            # `….fp16.safetensors` is a variant, which is not asked for.
            if "." not in name.removesuffix(".safetensors").partition("-")[0]:
                chosen.add(path)
        elif name.endswith((".json", ".txt", ".model", ".jinja")):
            chosen.add(path)
    return chosen


def dataset_files(patterns: Iterable[str]) -> Wanted:
    """The files that a dataset's card gives to a config, with the card itself.

    Args:
        patterns: globs relative to the repository, as in the card.
    """
    globs = ("README.md", *patterns)
    return lambda paths: {
        path for path in paths if any(fnmatch.fnmatchcase(path, pattern) for pattern in globs)
    }


def lacking_weights(paths: Sequence[str]) -> list[str]:
    """What has settings and no weights among the files that are fetched: a model, or a component of a pipeline.

    Args:
        paths: as `model_files` chose them.
    """
    lacking = []
    held = {path.rpartition("/")[0] for path in paths if path.endswith((".safetensors", ".bin"))}
    for path in paths:
        folder, _, name = path.rpartition("/")
        if folder and MODEL_INDEX not in paths:
            continue  # a folder of a whole model may hold settings of its own
        settings = name == CONFIG or (path == ADAPTER_CONFIG and CONFIG not in paths)
        if settings and folder not in held:
            lacking.append(f"{folder or 'the model'} has settings and no weights that are read ({name})")
    return lacking


def missing_shards(paths: Iterable[str]) -> list[str]:
    """Shards that the others' names promise and that are not there.

    Example:
        >>> missing_shards(["model-00001-of-00002.safetensors"])
        ['model-00002-of-00002.safetensors']
    """
    there = set(paths)
    promised = set()
    for path in there:
        match = _SHARD.fullmatch(path)
        if match is not None and match["suffix"] in WEIGHTS:
            numbers = range(1, int(match["total"]) + 1)
            promised |= {f"{match['stem']}-{n:05d}-of-{match['total']}{match['suffix']}" for n in numbers}
    return sorted(promised - there)


@dataclass
class WeightFacts:
    """What the weight files of a folder say.

    Attributes:
        parameters: numbers in all safetensors files; None where there are none.
        dtype: the one that most of them have.
        faults: what is wrong with a file, one text each.
    """

    parameters: int | None = None
    dtype: str | None = None
    faults: list[str] = field(default_factory=list)


def read_weight_files(files: Iterable[Path]) -> WeightFacts:
    """Read the headers of safetensors files, and see whether each file is as long as its header says.

    Args:
        files: any files; those that hold no weights are passed over.
    """
    from safetensors import safe_open

    facts, counts = WeightFacts(), Counter[str]()
    for path in files:
        if path.suffix not in WEIGHTS:
            continue
        try:
            check_whole(path)
            if path.suffix == ".safetensors":
                with safe_open(path, framework="numpy") as file:
                    for name in file.keys():  # noqa: SIM118
                        part = file.get_slice(name)
                        counts[part.get_dtype()] += math.prod(part.get_shape())
        except SynvitaError as error:
            facts.faults.append(f"{path.name} is not whole: {error.found}")
        except OSError as error:
            facts.faults.append(f"{path.name} cannot be read: {error.strerror or error}")
    if counts:
        facts.parameters, facts.dtype = sum(counts.values()), main_dtype(counts)
    return facts


def main_dtype(counts: Mapping[str, int]) -> str | None:
    """The dtype of most parameters, by torch's name.

    Args:
        counts: safetensors' name of a dtype -> number of parameters.
    """
    name = max(counts, key=lambda each: counts[each], default=None)
    return None if name is None else DTYPES.get(name, name.lower())
