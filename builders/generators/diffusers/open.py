"""`diffusers:REPO_OR_DIR`: any text-to-video pipeline of diffusers, from a folder or the Hub."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synvita_data.errors import HubError, SourceError
from synvita_data.hub.known import known
from synvita_data.hub.problems import HubRequest, downloading
from synvita_data.hub.reach import say_if_renamed
from synvita_data.jobs import Worker
from synvita_data.models.resolve import ModelFiles, locate

from ..base import Recipe, Request, request_key
from .checkpoints import folder_revision, read_settings, weight_files
from .settings import pipeline_settings

if TYPE_CHECKING:
    from ..prompt_length import PromptEncoder


# What is read of a model of the Hub before its weights.
SETTINGS = ("model_index.json", "*/config.json", "*/scheduler_config.json")
TOKENIZERS = ("model_index.json", "tokenizer*/*", "processor*/*")


@dataclass(frozen=True)
class PipelineGenerator:
    """A pipeline of diffusers, whoever loads it; plain data, sent to the workers.

    Attributes:
        recipe: what it makes.
        load: gives the pipeline in main memory, in evaluation mode, with its scheduler.
        load_tokenizers: gives its tokenizers by component; needs no weights.
    """

    recipe: Recipe
    load: Callable[[], Any]
    load_tokenizers: Callable[[], Mapping[str, Any]]

    def inputs(self, requests: Sequence[Request]) -> dict[str, tuple[Request, ...]]:
        """One key a request."""
        digest = self.recipe.digest
        return {request_key(digest, request): (request,) for request in requests}

    def encoders(self) -> "list[PromptEncoder]":
        """Of the pipeline's tokenizers, with the lengths that it gives them."""
        from ..prompt_length import pipeline_encoders

        settings = self.recipe.settings
        return pipeline_encoders(self.load_tokenizers(), str(settings["pipeline"]), settings)

    def open_worker(self, root: str, out: str, device: str | None) -> Worker:
        """Load the pipeline on `device`."""
        from .worker import PipelineWorker

        return PipelineWorker(self.recipe, self.load, root, out, device)


def open_generator(
    argument: str, overrides: Mapping[str, Any], name: str | None, cache: Path | None
) -> PipelineGenerator:
    """The generator `diffusers:argument`; reads JSON files only.

    Args:
        argument: a folder, `owner/name` or `owner/name@revision`.
        overrides: from `--set`.
        name: recorded as the generator; default the model's own name.
        cache: JSON file that remembers digests of local weights; None remembers nothing.

    Raises:
        SourceError: the model does not exist, is not a pipeline, or cannot use a setting.
    """
    if not argument:
        raise SourceError("a generator needs a checkpoint", expected="a folder or a Hub id owner/name")
    files = locate(argument)
    try:
        folder = files.snapshot(SETTINGS)
    except HubError as error:
        raise error.recast(SourceError) from error
    say_if_renamed(files.location)
    where, commit = files.location, None if files.folder else folder.name
    index = read_settings(folder / "model_index.json")
    if index is None:
        raise SourceError(
            "the folder is not a pipeline of diffusers",
            file=folder,
            found="no model_index.json",
            fix=_commit_that_works(files.location) or "Give the folder that save_pretrained wrote",
        )
    pipeline = index.get("_class_name")
    if not isinstance(pipeline, str):
        raise SourceError(
            "the pipeline brings code of its own, which is not run",
            file=folder / "model_index.json",
            found=f"_class_name {pipeline!r}",
            expected="the name of a pipeline of diffusers",
        )
    # What tells models of one pipeline class apart.
    parts = {
        name: read_settings(folder / name / "config.json") or {} for name in ("transformer", "unet", "vae")
    }
    settings, placement = pipeline_settings(pipeline, {"model_index": index, **parts}, where, overrides)
    recipe = Recipe(
        scheme="diffusers",
        name=name or Path(where.rstrip("/")).resolve().name,
        revision=commit or folder_revision(weight_files(folder), folder, cache),
        settings=settings,
        placement=placement,
    )
    checkpoint = where if commit else str(folder.resolve())
    return PipelineGenerator(
        recipe, partial(load_pipeline, checkpoint, commit, settings), partial(_tokenizers, checkpoint, commit)
    )


def _commit_that_works(name: str) -> str | None:
    """What to write for a repository whose earlier commits were of another form, such as LTX-Video's before 2025."""
    one = known(name)
    if one is None or one.commit is None:
        return None
    return f"Commit {one.commit} is one: diffusers:{one.name}@{one.commit}"


def _tokenizers(checkpoint: str, commit: str | None) -> dict[str, Any]:
    from ..prompt_length import load_tokenizers

    folder = ModelFiles(checkpoint, commit).snapshot(TOKENIZERS)
    return load_tokenizers(folder, read_settings(folder / "model_index.json") or {})


def load_pipeline(checkpoint: str, commit: str | None, settings: Mapping[str, Any]) -> Any:
    """The pipeline in main memory, in its dtypes, with its scheduler.

    Only safetensors are read, and no code but that of diffusers and transformers is run.

    Args:
        checkpoint: a folder, or a Hub id.
        commit: of the Hub id.
        settings: of the recipe.

    Raises:
        SourceError: diffusers does not know the class, or the files are not whole.
    """
    import diffusers
    from safetensors import SafetensorError

    from synvita_data.models.runtime import torch_dtype

    if not hasattr(diffusers, str(settings["pipeline"])):
        raise SourceError(
            "unknown pipeline of the installed diffusers",
            file=checkpoint,
            found=f"{settings['pipeline']}, diffusers {diffusers.__version__}",
            fix="Install a newer diffusers",
        )
    dtypes: Any = torch_dtype(settings["dtype"])
    if settings["vae_dtype"] is not None:
        dtypes = {"default": dtypes, "vae": torch_dtype(settings["vae_dtype"])}
    asked = HubRequest(checkpoint, "the pipeline cannot be downloaded", revision=commit)
    try:
        with quiet(), downloading(asked):
            pipe = diffusers.DiffusionPipeline.from_pretrained(
                checkpoint, revision=commit, use_safetensors=True, **{dtype_argument(): dtypes}
            )
    except HubError as error:
        raise error.recast(SourceError) from error
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise SourceError(
            "the pipeline cannot be loaded",
            file=checkpoint,
            found=f"{type(error).__name__}: {str(error)[:250]}",
            fix="Save or download it again, with its weights as safetensors",
        ) from error
    set_scheduler(pipe, settings)
    return pipe


def dtype_argument() -> str:
    """How `from_pretrained` of this diffusers calls the dtype; the old name warns in new releases."""
    from diffusers.pipelines import pipeline_utils

    return "dtype" if hasattr(pipeline_utils, "_resolve_dtype") else "torch_dtype"


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars of loading inside the `with`: several workers write on one terminal."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    loud = [library for library in (of_diffusers, of_transformers) if library.is_progress_bar_enabled()]
    for library in loud:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in loud:
            library.enable_progress_bar()


def set_scheduler(pipe: Any, settings: Mapping[str, Any]) -> None:
    """Give the pipeline the settings' scheduler, or its own with other options.

    Raises:
        SourceError: the scheduler, or one of its options, is unknown.
    """
    import diffusers

    name, options = settings["scheduler"], dict(settings["scheduler_options"])
    if name is None and not options:
        return
    kind = type(pipe.scheduler) if name is None else getattr(diffusers, name, None)
    if not (inspect.isclass(kind) and hasattr(kind, "from_config") and hasattr(kind, "set_timesteps")):
        raise SourceError("unknown scheduler of diffusers", found=name, expected="such as DDIMScheduler")
    known = set(inspect.signature(kind.__init__).parameters) - {"self"}
    if unknown := sorted(set(options) - known):
        raise SourceError(f"{kind.__name__} has no option {unknown[0]}", expected=", ".join(sorted(known)))
    pipe.scheduler = kind.from_config(pipe.scheduler.config, **options)
