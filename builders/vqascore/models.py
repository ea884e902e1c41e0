"""From a name to what is known of a VQA model before it is loaded: where it is, its revision, its kind."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synvita_data.errors import SynvitaError
from synvita_data.models.resolve import ModelFiles

# The paper's three, and their smaller ones.
ALIASES = {
    "clip-flant5-xxl": "zhiqiulin/clip-flant5-xxl",
    "clip-flant5-xl": "zhiqiulin/clip-flant5-xl",
    "instructblip-flan-t5-xxl": "Salesforce/instructblip-flan-t5-xxl",
    "instructblip-flan-t5-xl": "Salesforce/instructblip-flan-t5-xl",
    "llava-1.5-13b": "llava-hf/llava-1.5-13b-hf",
    "llava-1.5-7b": "llava-hf/llava-1.5-7b-hf",
}
CLIP_FLANT5, INSTRUCTBLIP, LLAVA, CHAT, WHOLE_VIDEO = KINDS = (
    "clip-flant5",
    "instructblip",
    "llava-1.5",
    "chat",
    "whole-video",
)
PREPROCESSING = ("reference", "hf")
# Kind -> how a frame becomes a square: in the released scorer, and in the image processor of transformers.
_SHAPES = {
    CLIP_FLANT5: {"reference": "pad", "hf": "crop"},
    INSTRUCTBLIP: {"reference": "crop", "hf": "squash"},
    LLAVA: {"reference": "pad", "hf": "crop"},
}
_QUESTIONS = {CLIP_FLANT5: "vicuna", INSTRUCTBLIP: "blip", LLAVA: "vicuna", CHAT: "chat"}
# Families whose original code tokenises the prompt in parts. (mPLUG-Owl's processor always does so.)
_ORIGINAL_SPACE = ("video_llava",)
_COMMIT = re.compile(r"snapshots/([0-9a-f]{40})/")


@dataclass(frozen=True, slots=True)
class VqaModel:
    """A model that was found.

    Attributes:
        label: its name in score tables: an alias, a Hub id, or the name of a folder.
        location: Hub id or folder to load it from. revision: commit on the Hub, or digest of the folder's files.
        kind: one of KINDS. model_type: of its `config.json`.
    """

    label: str
    location: str
    revision: str
    kind: str
    model_type: str

    @property
    def hub_revision(self) -> str | None:
        """What to load from the Hub; None for a folder."""
        return None if Path(self.location).is_dir() else self.revision

    @property
    def question(self) -> str:
        """Name of the question it is asked."""
        return _QUESTIONS.get(self.kind, f"{self.model_type} alignment")

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
        return "reference" if self.kind in _SHAPES else "first-token"

    def placeholder_space(self, asked: str) -> str:
        """How what stands around the placeholder is tokenised: `asked` where this kind has a choice."""
        has_choice = self.kind == LLAVA or (self.kind == WHOLE_VIDEO and self.model_type in _ORIGINAL_SPACE)
        return asked if has_choice else "processor"

    def shape(self, preprocessing: str) -> str:
        """How frames become squares: `pad`, `crop`, `squash`, or `processor` for chat models' own processors.

        Raises:
            SynvitaError: no such preprocessing.
        """
        if preprocessing not in PREPROCESSING:
            raise SynvitaError(
                "no such preprocessing", found=preprocessing, expected=" or ".join(PREPROCESSING)
            )
        return _SHAPES.get(self.kind, {}).get(preprocessing, "processor")


def parse_name(name: str) -> tuple[str, str | None]:
    """(name, revision) of `NAME@REVISION`; a folder may have an @ in its name."""
    before, _, after = name.rpartition("@")
    return (before, after) if before and not Path(name).expanduser().is_dir() else (name, None)


def find_model(name: str, revision: str | None = None, *, whole_video: bool = False) -> VqaModel:
    """What an alias, a Hub id or a folder stands for; reads its `config.json` only (and a folder's files, for a digest).

    Args:
        revision: commit, tag or branch on the Hub; a folder has none.
        whole_video: show the frames as one video; for families of `synvita_data.models`.

    Raises:
        SynvitaError: no such model; one that cannot see a video at once.
    """
    location = ALIASES.get(name, name)
    folder = Path(location).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise SynvitaError("a folder has no revisions", file=folder, found=revision)
        config = _read(folder / "config.json", name)
        label, location = folder.resolve().name, str(folder.resolve())
        found = ModelFiles(location).exact_revision()
    else:
        path = _download_config(location, revision)
        config = _read(path, name)
        commit = _COMMIT.search(path.as_posix())
        if commit is None:
            raise SynvitaError("the model's commit is not known", file=location, found=str(path))
        label, found = name, commit[1]
    kind, model_type = _kind(config), str(config.get("model_type", ""))
    if whole_video:
        from synvita_data.models.families import FAMILIES

        if model_type not in FAMILIES:
            raise SynvitaError(
                "this kind of model cannot see a whole video here",
                file=name,
                found=f"model_type {model_type!r}",
                expected=f"one of {', '.join(FAMILIES)}",
                fix="Score it frame by frame: leave --whole-video out",
            )
        kind = WHOLE_VIDEO
    return VqaModel(label, location, found, kind, model_type)


def _kind(config: dict[str, Any]) -> str:
    if "mm_vision_tower" in config and "d_model" in config:
        return CLIP_FLANT5
    model_type = config.get("model_type")
    if model_type == "instructblip":
        return INSTRUCTBLIP
    # The class of LLaVA-1.5 serves others too, with prompts and towers of their own.
    towers = [(config.get(part) or {}).get("model_type") for part in ("text_config", "vision_config")]
    if model_type == "llava" and towers == ["llama", "clip_vision_model"]:
        return LLAVA
    return CHAT


def _read(path: Path, name: str) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SynvitaError(
            "no such model",
            file=name,
            found=str(error),
            expected=f"one of {', '.join(ALIASES)}, a model of the Hub, or a folder with a config.json",
        ) from error
    if not isinstance(config, dict):
        raise SynvitaError("a model's settings cannot be read", file=path, found=type(config).__name__)
    return config


def _download_config(location: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(hf_hub_download(location, "config.json", revision=revision))
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        raise SynvitaError(
            "no such model",
            file=location,
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            expected=f"one of {', '.join(ALIASES)}, a model of the Hub, or a folder with a config.json",
        ) from error
