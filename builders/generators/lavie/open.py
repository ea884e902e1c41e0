"""`lavie:DIR`: LaVie's base model on diffusers' parts.

DIR holds what the authors' instructions put into `pretrained_models/`: `lavie_base.pt` and
`stable-diffusion-v1-4/` (its unet/config.json, vae, text_encoder, tokenizer).
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from synvita_data.errors import SourceError, first_line

from ..base import Recipe
from ..diffusers.checkpoints import folder_revision, load_exactly, read_checkpoint, weight_files
from ..diffusers.open import PipelineGenerator, dtype_argument, quiet, set_scheduler
from ..diffusers.presets import Preset, video_numbers
from ..diffusers.settings import pipeline_settings

WEIGHTS = "lavie_base.pt"
BASE = "stable-diffusion-v1-4"
PIPELINE = "TextToVideoSDPipeline"
# DDPM as in the authors' diffusers 0.16: time steps 980, 960, …, 0.
SCHEDULER = {
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "clip_sample": False,
    "timestep_spacing": "leading",
    "steps_offset": 0,
}
PRESET = Preset(
    name="lavie",
    pipeline=PIPELINE,
    **video_numbers("320x512", frames=32, fps=8, steps=50, guidance=7.5),
    scheduler="DDPMScheduler",
    scheduler_options=SCHEDULER,
    dtype="float16",
    vae_slicing=True,
)


def open_generator(
    argument: str, overrides: Mapping[str, Any], name: str | None, cache: Path | None
) -> PipelineGenerator:
    """The generator `lavie:argument`; see `diffusers.open.open_generator` for the arguments.

    Raises:
        SourceError: DIR lacks a file, or a setting cannot be used.
    """
    folder = Path(argument).expanduser()
    base = folder / BASE
    for needed in (folder / WEIGHTS, base / "unet" / "config.json"):
        if not argument or not needed.is_file():
            raise SourceError(
                "the folder does not hold LaVie",
                file=needed,
                found="the file does not exist",
                expected=f"{WEIGHTS} and {BASE}/, as LaVie's instructions put them into pretrained_models",
                fix="Download Vchitect/LaVie and CompVis/stable-diffusion-v1-4 into it",
            )
    settings, placement = pipeline_settings(PIPELINE, {}, "lavie", overrides, PRESET)
    # Of Stable Diffusion only what is loaded: its own UNet and the safety checker change nothing.
    used = [path for part in ("text_encoder", "tokenizer", "vae") for path in weight_files(base / part)]
    revision = folder_revision([folder / WEIGHTS, base / "unet" / "config.json", *used], folder, cache)
    recipe = Recipe("lavie", name or "lavie", revision, settings, placement)
    folder = folder.resolve()
    return PipelineGenerator(recipe, partial(load_lavie, folder, settings), partial(_tokenizers, folder))


def _tokenizers(folder: Path) -> dict[str, Any]:
    from transformers import CLIPTokenizer

    return {"tokenizer": CLIPTokenizer.from_pretrained(folder / BASE / "tokenizer")}


def load_lavie(folder: Path, settings: Mapping[str, Any]) -> Any:
    """LaVie as a `TextToVideoSDPipeline` in main memory.

    Raises:
        SourceError: a file is missing or damaged, or the weights are not LaVie's.
    """
    from diffusers import AutoencoderKL, DDPMScheduler, TextToVideoSDPipeline
    from transformers import CLIPTextModel, CLIPTokenizer

    from synvita_data.models.runtime import torch_dtype

    from .unet import LaVieUNet

    base = folder / BASE
    dtype = torch_dtype(settings["dtype"])
    try:
        with quiet():
            vae = AutoencoderKL.from_pretrained(base, subfolder="vae", **{dtype_argument(): dtype})
            text_encoder = CLIPTextModel.from_pretrained(base, subfolder="text_encoder", dtype=dtype)
            tokenizer = CLIPTokenizer.from_pretrained(base, subfolder="tokenizer")
    except (OSError, ValueError, RuntimeError) as error:
        raise SourceError(
            "Stable Diffusion's parts cannot be loaded", file=base, found=first_line(error)
        ) from error
    unet = LaVieUNet.from_config(LaVieUNet.load_config(base / "unet"))
    load_lavie_weights(unet, folder / WEIGHTS)
    pipe = TextToVideoSDPipeline(
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        unet=unet.to(dtype).eval(),
        scheduler=DDPMScheduler(**SCHEDULER),
    )
    set_scheduler(pipe, settings)
    return pipe


def load_lavie_weights(unet: Any, path: Path) -> None:
    """Load the released checkpoint into a `LaVieUNet`; every weight must be there, and none over.

    The file is `{"ema": state_dict, …}` or a state dict. It also holds `rotary_emb.freqs`, which are not weights:
    they are compared with the frequencies that the model computes.

    Raises:
        SourceError: not such a file, or other weights.
    """
    import torch

    from .unet import ROTARY_CHANNELS

    state = read_checkpoint(path, ("ema",))
    expected = 10000.0 ** (-torch.arange(0, ROTARY_CHANNELS, 2).float() / ROTARY_CHANNELS)
    for key in [key for key in state if key.endswith("rotary_emb.freqs")]:
        freqs = state.pop(key).float()
        if freqs.shape != expected.shape or not torch.allclose(freqs, expected, rtol=1e-2, atol=1e-4):
            raise SourceError("LaVie's rotary frequencies are not the known ones", file=path, row=key)
    load_exactly(unet, state, path)
