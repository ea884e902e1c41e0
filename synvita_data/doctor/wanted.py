"""Which files of a repository a command would fetch: not all that lie in it, but what the libraries' loaders take.

Of a model, `models.download` takes all settings and `model.safetensors`, else its shards, else `pytorch_model.bin`, else its
shards; diffusers takes the components that `model_index.json` names, safetensors only; PEFT takes two files.
"""

import fnmatch
from collections.abc import Callable, Collection, Iterable, Sequence

from ..models.download import NOT_SETTINGS
from ..models.resolve import ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG, TRAINING_ARGUMENTS

# From all paths of a repository to those that are fetched.
Wanted = Callable[[Sequence[str]], Collection[str]]

MODEL_INDEX = "model_index.json"
PROCESSORS = ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
TEMPLATES = ("chat_template.jinja", "chat_template.json")
# All weights of a model or of a component in one file.
SINGLE = frozenset({"model.safetensors", "diffusion_pytorch_model.safetensors", "pytorch_model.bin"})
# Patterns of weights of transformers, best first: the first that is there is taken.
_WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "pytorch_model.bin", "pytorch_model-*-of-*.bin")


def model_files(paths: Sequence[str]) -> set[str]:
    """What is fetched of a model, by what lies in its repository: a pipeline, an adapter, or a whole model."""
    if MODEL_INDEX in paths:
        return pipeline_files(paths)
    if CONFIG not in paths and ADAPTER_CONFIG in paths:
        return adapter_files(paths)
    return transformers_files(paths)


def transformers_files(paths: Sequence[str]) -> set[str]:
    """What `models.download.fetch` takes: everything that is no weights, media or data, and one form of the weights."""
    chosen = {path for path in paths if not any(fnmatch.fnmatchcase(path, each) for each in NOT_SETTINGS)}
    for pattern in _WEIGHTS:
        weights = [path for path in paths if "/" not in path and fnmatch.fnmatchcase(path, pattern)]
        if weights:
            chosen.update(weights)
            break
    return chosen


def lacking_weights(paths: Sequence[str]) -> list[str]:
    """What has settings and no weights among the files that are fetched: a model, or a component of a pipeline.

    Args:
        paths: as `model_files` chose them.
    """
    lacking = []
    for path in paths:
        folder, _, name = path.rpartition("/")
        if folder and MODEL_INDEX not in paths:
            continue  # a folder of a whole model may hold settings of its own
        settings = name == CONFIG or (path == ADAPTER_CONFIG and CONFIG not in paths)
        if settings and not any(_is_weight(other) and other.rpartition("/")[0] == folder for other in paths):
            lacking.append(f"{folder or 'the model'} has settings and no weights that are read ({name})")
    return lacking


def _is_weight(path: str) -> bool:
    return path.endswith((".safetensors", ".bin"))


def adapter_files(paths: Sequence[str]) -> set[str]:
    """What is fetched of an adapter of PEFT."""
    return _present(paths, [ADAPTER_CONFIG, ADAPTER_WEIGHTS, TRAINING_ARGUMENTS])


def pipeline_files(paths: Sequence[str], components: Collection[str] | None = None) -> set[str]:
    """What `DiffusionPipeline.from_pretrained(use_safetensors=True)` fetches.

    Args:
        paths: all of the repository.
        components: names in `model_index.json`; None takes every folder with settings in it.
    """
    folders = {path.partition("/")[0] for path in paths if "/" in path}
    taken = folders if components is None else folders & set(components)
    chosen = _present(paths, [MODEL_INDEX])
    for path in paths:
        folder, slash, name = path.partition("/")
        if not slash or folder not in taken or "/" in name:
            continue
        if name.endswith(".safetensors"):
            # `….fp16.safetensors` is a variant, which is not asked for.
            stem = name.removesuffix(".safetensors").partition("-")[0]
            if "." not in stem:
                chosen.add(path)
        elif name.endswith((".json", ".txt", ".model", ".jinja")):
            chosen.add(path)
    return chosen


def dataset_files(patterns: Iterable[str]) -> Wanted:
    """The files that a dataset's card gives to a config, with the card itself.

    Args:
        patterns: globs relative to the repository, as in the card.
    """
    globs = tuple(patterns)

    def wanted(paths: Sequence[str]) -> set[str]:
        return {
            path
            for path in paths
            if path == "README.md" or any(fnmatch.fnmatchcase(path, pattern) for pattern in globs)
        }

    return wanted


def _present(paths: Sequence[str], names: Iterable[str]) -> set[str]:
    return set(names) & set(paths)
