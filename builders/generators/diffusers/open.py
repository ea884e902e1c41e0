"""`diffusers:REPO_OR_DIR`: any text-to-video pipeline of diffusers, from a folder or the Hub."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synvita_data.errors import SourceError
from synvita_data.jobs import Worker

from ..recipe import Recipe, Request, request_key
from .checkpoints import (
    component_configs,
    fetch_settings,
    fetch_tokenizers,
    folder_revision,
    local_or_hub,
    read_json,
    weight_files,
)
from .settings import pipeline_settings

if TYPE_CHECKING:
    from ..prompt_length import PromptEncoder


@dataclass(frozen=True)
class PipelineGenerator:
    """A pipeline that diffusers loads by itself.

    Attributes:
        recipe: what it makes. checkpoint: folder or Hub id. commit: of a Hub id.
    """

    recipe: Recipe
    checkpoint: str
    commit: str | None

    def inputs(self, requests: Sequence[Request]) -> dict[str, tuple[Request, ...]]:
        """One key a request."""
        return single_needs(self.recipe, requests)

    def encoders(self) -> "list[PromptEncoder]":
        """Of the pipeline's tokenizers, with the lengths that it gives them."""
        from ..prompt_length import load_tokenizers, pipeline_encoders

        folder = Path(self.checkpoint)
        if self.commit is not None:
            folder = fetch_tokenizers(self.checkpoint, self.commit)
        index = read_json(folder / "model_index.json") or {}
        settings = self.recipe.settings
        return pipeline_encoders(load_tokenizers(folder, index), str(settings["pipeline"]), settings)

    def open_worker(self, root: str, out: str, device: str | None) -> Worker:
        """Load the pipeline on `device`."""
        from .worker import PipelineWorker

        load = partial(load_pipeline, self.checkpoint, self.commit, self.recipe.settings)
        return PipelineWorker(self.recipe, load, root, out, device)


def open_diffusers(
    argument: str, overrides: Mapping[str, Any], name: str | None, cache: Path | None
) -> PipelineGenerator:
    """The generator `diffusers:argument`; reads JSON files only.

    Args:
        overrides: from `--set`. name: recorded as the generator, default the model's own name.
        cache: JSON file that remembers digests of local weights; None remembers nothing.

    Raises:
        SourceError: no such model, not a pipeline, or a setting it cannot use.
    """
    folder, where, wanted = local_or_hub(argument)
    commit = None
    if folder is None:
        folder, commit = fetch_settings(where, wanted)
    index = read_json(folder / "model_index.json")
    if index is None:
        raise SourceError(
            "the folder is no pipeline of diffusers",
            file=folder,
            found="no model_index.json",
            fix="Give the folder that save_pretrained wrote",
        )
    pipeline = index.get("_class_name")
    if not isinstance(pipeline, str):
        raise SourceError(
            "the pipeline brings code of its own, which is not run",
            file=folder / "model_index.json",
            found=f"_class_name {pipeline!r}",
            expected="the name of a pipeline of diffusers",
        )
    settings, placement = pipeline_settings(pipeline, component_configs(folder, index), where, overrides)
    recipe = Recipe(
        scheme="diffusers",
        name=name or Path(where.rstrip("/")).resolve().name,
        revision=commit or folder_revision(weight_files(folder), folder, cache),
        settings=settings,
        placement=placement,
    )
    return PipelineGenerator(recipe, where if commit else str(folder.resolve()), commit)


def single_needs(recipe: Recipe, requests: Sequence[Request]) -> dict[str, tuple[Request, ...]]:
    """Key -> the one request that it is."""
    digest = recipe.digest
    return {request_key(digest, request): (request,) for request in requests}


def load_pipeline(checkpoint: str, commit: str | None, settings: Mapping[str, Any]) -> Any:
    """The pipeline in main memory, in its dtypes, with its scheduler.

    Only safetensors are read, and no code but that of diffusers and transformers is run.

    Raises:
        SourceError: diffusers does not know the class, or the files are not whole.
    """
    import diffusers

    from synvita_data.models.runtime import torch_dtype

    if not hasattr(diffusers, str(settings["pipeline"])):
        raise SourceError(
            "this diffusers has no such pipeline",
            file=checkpoint,
            found=f"{settings['pipeline']}, diffusers {diffusers.__version__}",
            fix="Install a newer diffusers",
        )
    dtypes: Any = torch_dtype(settings["dtype"])
    if settings["vae_dtype"] is not None:
        dtypes = {"default": dtypes, "vae": torch_dtype(settings["vae_dtype"])}
    try:
        with quiet():
            pipe = diffusers.DiffusionPipeline.from_pretrained(
                checkpoint, revision=commit, use_safetensors=True, **{dtype_argument(): dtypes}
            )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
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
        SourceError: diffusers has no such scheduler, or the scheduler no such option.
    """
    import inspect

    import diffusers

    name, options = settings["scheduler"], dict(settings["scheduler_options"])
    if name is None and not options:
        return
    kind = type(pipe.scheduler) if name is None else getattr(diffusers, name, None)
    if not (inspect.isclass(kind) and hasattr(kind, "from_config") and hasattr(kind, "set_timesteps")):
        raise SourceError("diffusers has no such scheduler", found=name, expected="such as DDIMScheduler")
    known = set(inspect.signature(kind.__init__).parameters) - {"self"}
    if unknown := sorted(set(options) - known):
        raise SourceError(f"{kind.__name__} has no option {unknown[0]}", expected=", ".join(sorted(known)))
    pipe.scheduler = kind.from_config(pipe.scheduler.config, **options)
