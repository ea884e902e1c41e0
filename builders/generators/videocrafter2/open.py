"""`videocrafter2:DIR`: VideoCrafter2's text-to-video model at 320×512 on diffusers' parts.

DIR holds the released `model.ckpt` (or `base_512_v2/model.ckpt`) and `tokenizer/`, CLIP's vocabulary
(`vocab.json` and `merges.txt`, the same in every CLIP), which the authors' program takes from open_clip.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from synvita_data.errors import SourceError

from ..base import Recipe, read_whole
from ..diffusers.checkpoints import folder_revision, read_checkpoint, weight_files
from ..diffusers.open import PipelineGenerator, set_scheduler
from ..diffusers.presets import Preset, video_numbers
from ..diffusers.settings import pipeline_settings

WEIGHTS = ("model.ckpt", "base_512_v2/model.ckpt", "model.safetensors")
TOKENIZER = "tokenizer"
PIPELINE = "TextToVideoSDPipeline"
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
# `--fps 28` of the authors' script: the frame rate that the model is given, not that of the file.
FPS_CONDITION = 28
PRESET = Preset(
    name="videocrafter2",
    pipeline=PIPELINE,
    **video_numbers("320x512", frames=32, fps=8, steps=50, guidance=12.0),
    scheduler_options=SCHEDULER,
    dtype="float16",
    vae_slicing=True,
    call={"eta": 1.0},
)


def open_generator(
    argument: str, overrides: Mapping[str, Any], name: str | None, cache: Path | None
) -> PipelineGenerator:
    """The generator `videocrafter2:argument`; see `diffusers.open.open_generator` for the arguments.

    One setting more: `fps_condition`, the frame rate that the model is given.

    Raises:
        SourceError: DIR lacks a file, or a setting cannot be used.
    """
    folder = Path(argument).expanduser()
    weights = next((name for name in WEIGHTS if argument and (folder / name).is_file()), None)
    if weights is None or not (folder / TOKENIZER).is_dir():
        raise SourceError(
            "the folder does not hold VideoCrafter2",
            file=folder,
            found="no checkpoint" if weights is None else f"no {TOKENIZER}/",
            expected=f"{' or '.join(WEIGHTS)}, and {TOKENIZER}/",
            fix="Download VideoCrafter/VideoCrafter2, and the tokenizer of any CLIP model into tokenizer/",
        )
    own = {key: value for key, value in overrides.items() if key != "fps_condition"}
    settings, placement = pipeline_settings(PIPELINE, {}, "videocrafter2", own, PRESET)
    settings["fps_condition"] = read_whole("fps_condition", overrides.get("fps_condition", FPS_CONDITION))
    files = [folder / weights, *weight_files(folder / TOKENIZER)]
    revision = folder_revision(files, folder, cache)
    recipe = Recipe("videocrafter2", name or "videocrafter2", revision, settings, placement)
    folder = folder.resolve()
    load = partial(load_videocrafter2, folder / weights, folder / TOKENIZER, settings)
    return PipelineGenerator(recipe, load, partial(_tokenizers, folder / TOKENIZER))


def _tokenizers(folder: Path) -> dict[str, Any]:
    from .weights import tokenizer_from

    return {"tokenizer": tokenizer_from(folder)}


def load_videocrafter2(weights: Path, tokenizer_folder: Path, settings: Mapping[str, Any]) -> Any:
    """VideoCrafter2 as a `TextToVideoSDPipeline` in main memory.

    Raises:
        SourceError: a file is missing or damaged, or the weights are not VideoCrafter2's.
    """
    from diffusers import TextToVideoSDPipeline

    from synvita_data.models.runtime import torch_dtype

    from .scaled_ddim import ScaledDDIMScheduler
    from .weights import text_encoder_of, tokenizer_from, unet_of, vae_of

    state = read_checkpoint(weights)
    dtype = torch_dtype(settings["dtype"])
    pipe = TextToVideoSDPipeline(
        unet=unet_of(state, weights, int(settings["fps_condition"])).to(dtype).eval(),
        vae=vae_of(state, weights).to(dtype).eval(),
        text_encoder=text_encoder_of(state, weights).to(dtype).eval(),
        tokenizer=tokenizer_from(tokenizer_folder),
        scheduler=ScaledDDIMScheduler(**SCHEDULER),
    )
    set_scheduler(pipe, settings)
    return pipe
