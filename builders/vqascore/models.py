"""From a name to a VQA model: where it is, its revision and kind, and, when it is needed, its loaded scorer.

To add a kind of model, write its module with a function `load` and name it in `KINDS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synvita_data.captions.prompts import check_placeholder_space
from synvita_data.errors import HubError, SynvitaError, choose
from synvita_data.hub.reach import say_if_renamed
from synvita_data.models.resolve import CONFIG, find_checkpoint, locate, refuse_llava_layout

if TYPE_CHECKING:
    from .base import VqaScorer

# The paper's three, and their smaller ones.
ALIASES = {
    "clip-flant5-xxl": "zhiqiulin/clip-flant5-xxl",
    "clip-flant5-xl": "zhiqiulin/clip-flant5-xl",
    "instructblip-flan-t5-xxl": "Salesforce/instructblip-flan-t5-xxl",
    "instructblip-flan-t5-xl": "Salesforce/instructblip-flan-t5-xl",
    "llava-1.5-13b": "llava-hf/llava-1.5-13b-hf",
    "llava-1.5-7b": "llava-hf/llava-1.5-7b-hf",
}
PREPROCESSING = ("reference", "hf")
WHOLE_VIDEO = "whole-video"
SHAPES = "shapes"  # the shapes world's own scorers


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of a kind of model without loading one.

    Attributes:
        module: the module of this package with `load(model, shape=…, dtype=…, device=…, placeholder_space=…)`.
        matches: whether a `config.json` is of this kind.
        question: name of the question it is asked, for the `method` of score tables.
        shapes: preprocessing -> how a frame becomes a square; empty where the model's own processor does it.
    """

    module: str
    matches: Callable[[Mapping[str, Any]], bool]
    question: str = ""
    shapes: Mapping[str, str] = field(default_factory=dict)


def _is_llava(config: Mapping[str, Any]) -> bool:
    # The class of LLaVA-1.5 serves others too, with prompts and towers of their own.
    towers = [(config.get(part) or {}).get("model_type") for part in ("text_config", "vision_config")]
    return config.get("model_type") == "llava" and towers == ["llama", "clip_vision_model"]


# The first that matches. The order of `shapes` is the released scorer's, then transformers' image processor's.
KINDS = {
    "clip-flant5": Kind(
        "clip_flant5",
        lambda config: "mm_vision_tower" in config and "d_model" in config,
        "vicuna",
        {"reference": "pad", "hf": "crop"},
    ),
    "instructblip": Kind(
        "instructblip",
        lambda config: config.get("model_type") == "instructblip",
        "blip",
        {"reference": "crop", "hf": "squash"},
    ),
    "llava-1.5": Kind("llava", _is_llava, "vicuna", {"reference": "pad", "hf": "crop"}),
    "chat": Kind("chat", lambda config: True, "chat"),
    WHOLE_VIDEO: Kind("whole_video", lambda config: False),  # where it is asked for
    SHAPES: Kind("shapes", lambda config: False, "shapes"),  # by name: it has no files
}


@dataclass(frozen=True, slots=True)
class VqaModel:
    """A model that was found.

    Attributes:
        label: its name in score tables: an alias, a Hub id, or the name of a folder.
        location: Hub id or folder to load it from.
        revision: commit on the Hub, or digest of the folder's files.
        kind: a name in `KINDS`.
        model_type: of its `config.json`.
        trained_prompt: the wording that a fine-tune was trained with; only looked for where it sees whole videos.
        trained_space: the `placeholder_space` that it was trained with, likewise.
        trained_preprocess: the `preprocess` that it was trained with, likewise.
    """

    label: str
    location: str
    revision: str
    kind: str
    model_type: str
    trained_prompt: str | None = None
    trained_space: str | None = None
    trained_preprocess: str | None = None

    @property
    def hub_revision(self) -> str | None:
        """What to load from the Hub; None for a folder."""
        return None if Path(self.location).is_dir() else self.revision

    @property
    def question(self) -> str:
        """Name of the question it is asked."""
        return KINDS[self.kind].question or f"{self.trained_prompt or self.model_type} alignment"

    @property
    def reads_times(self) -> str | None:
        """How its scores depend on the times of the frames in the file: one of `video.rules.TIMES`, or not."""
        if self.kind != WHOLE_VIDEO:
            return None
        from synvita_data.models.families import get_family

        return get_family(self.model_type).reads_times

    @property
    def default_score(self) -> str:
        """The score its makers use."""
        return "reference" if KINDS[self.kind].shapes else "first-token"

    def placeholder_space(self, asked: str | None) -> str:
        """How what stands around the placeholder is tokenised.

        Args:
            asked: taken where this model has a choice; None for the one it was trained with, or else `processor`.
        """
        # Their original code tokenises the prompt in parts. (So does mPLUG-Owl's, and its processor here, always.)
        if self.kind == "llava-1.5" or (
            self.kind == WHOLE_VIDEO and self.model_type in ("video_llava", "video_llava_original")
        ):
            return asked or self.trained_space or "processor"
        return "processor"

    def shape(self, preprocessing: str) -> str:
        """How frames become squares: `pad`, `crop`, `squash`, or `processor` for chat models' own processors (for a
        fine-tune, what it was trained with).

        Raises:
            SynvitaError: unknown preprocessing.
        """
        choose(preprocessing, PREPROCESSING, "preprocessing")
        return KINDS[self.kind].shapes.get(preprocessing, self.trained_preprocess or "processor")


def find_model(name: str, revision: str | None = None, *, whole_video: bool = False) -> VqaModel:
    """What a name stands for; reads its `config.json` only (and a folder's files, for a digest).

    Args:
        name: an alias, a Hub id or a folder, behind the first two of which may stand `@REVISION`; or a scorer of the
            shapes world, `shapes-vqa-a` to `-c`, behind which may stand `@VERSION` of the world.
        revision: commit, tag or branch on the Hub.
        whole_video: show the frames as one video; for families of `synvita_data.models`.

    Raises:
        SynvitaError: the model cannot be found, or cannot see a video at once.
    """
    if is_shapes_scorer(name):
        return _shapes_scorer(name, revision, whole_video=whole_video)
    files = locate(name, revision, aliases=ALIASES)
    try:
        config = files.read(CONFIG)
    except HubError as error:
        if name in ALIASES and files.revision is not None and revision is None:
            error.fix = (
                f"{name} means commit {files.revision[:7]}: name {name}@main for the one in your cache"
            )
            error.args = (str(error),)
        raise
    if config is None:
        raise files.not_found(f"no {CONFIG}")
    say_if_renamed(files.location)
    refuse_llava_layout(files, config)
    model_type, folder = str(config.get("model_type", "")), files.folder
    if folder is not None:  # by its whole path, for workers that run elsewhere
        label, location = folder.resolve().name, str(folder.resolve())
    else:
        short, location = name.partition("@")[0], files.location
        label = short if short in ALIASES else location
    kind = next(kind for kind in KINDS if KINDS[kind].matches(config))
    model = VqaModel(label, location, files.exact_revision(), kind, model_type)
    if not whole_video:
        return model
    from synvita_data.models.families import FAMILIES

    if model_type not in FAMILIES:
        raise SynvitaError(
            "this kind of model cannot see a whole video here",
            file=name,
            found=f"model_type {model_type!r}",
            expected=f"one of {', '.join(FAMILIES)}",
            fix="Score it frame by frame: leave --whole-video out",
        )
    trained = find_checkpoint(location, revision=model.hub_revision)
    return replace(
        model,
        kind=WHOLE_VIDEO,
        trained_prompt=trained.trained_prompt,
        trained_space=trained.trained_space,
        trained_preprocess=trained.trained_preprocess,
    )


def is_shapes_scorer(name: str) -> bool:
    """Whether a name is of one of the shapes world's own scorers, which have no files."""
    from ..shapes.vqa import VQA_MODELS

    return name.partition("@")[0] in {model.name for model in VQA_MODELS}


def _shapes_scorer(name: str, revision: str | None, *, whole_video: bool) -> VqaModel:
    """A scorer of the shapes world; what is a revision elsewhere is the version of the world here.

    Raises:
        SynvitaError: there is no such version, or the scorer is to see whole videos.
    """
    from ..shapes.layout import GEOMETRIES, VERSION_1
    from ..shapes.vqa import VQA_REVISION

    label, _, behind = name.partition("@")
    version = choose(
        revision or behind or str(VERSION_1.version), [*map(str, GEOMETRIES)], "version of the world"
    )
    if whole_video:
        raise SynvitaError(
            "this scorer cannot see a whole video",
            file=name,
            fix="Score frame by frame: leave --whole-video out",
        )
    # Keys of results know a model by its revision, not by its name.
    return VqaModel(label, label, f"{label}-{VQA_REVISION}-world-{version}", SHAPES, f"shapes-{version}")


def is_vqa_only(name: str, revision: str | None = None) -> bool:
    """Whether a name is of a model that only VQAScore can ask: one of the paper's, not a chat model, CLIP or Video LLM.

    Args:
        name: as of `find_model`, or any other.
        revision: commit, tag or branch on the Hub.

    Raises:
        HubError: the Hub does not know the model.
    """
    if name.partition("@")[0] in ALIASES or is_shapes_scorer(name):
        return True
    config = locate(name, revision).read(CONFIG) or {}
    kind = next(kind for kind in KINDS if KINDS[kind].matches(config))
    return kind not in ("chat", WHOLE_VIDEO)


def open_scorer(
    model: VqaModel,
    *,
    preprocessing: str = "reference",
    dtype: str = "float32",
    device: str | None = None,
    placeholder_space: str | None = None,
) -> "VqaScorer":
    """Load a model; this is where torch and transformers come in.

    Args:
        model: what to load.
        preprocessing: `reference` or `hf`.
        dtype: of the weights.
        device: None for this process's GPU, or the CPU.
        placeholder_space: `processor` or `original`, see `VqaModel.placeholder_space`.

    Raises:
        SynvitaError: what is wrong with the model, its files or these choices.
    """
    import torch

    from synvita_data.models.loading import explained
    from synvita_data.models.runtime import pick_device

    if placeholder_space is not None:
        check_placeholder_space(placeholder_space)
    choices = {
        "shape": model.shape(preprocessing),
        "dtype": dtype,
        "device": pick_device(device),
        "placeholder_space": model.placeholder_space(placeholder_space),
    }
    module = import_module(f".{KINDS[model.kind].module}", __package__)
    # Memory is the engine's business.
    with explained(model.location, unchanged=(MemoryError, torch.OutOfMemoryError)):
        scorer: VqaScorer = module.load(model, **choices)
    return scorer
