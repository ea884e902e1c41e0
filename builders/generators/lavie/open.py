"""`lavie:DIR`: LaVie's base model on diffusers' parts.

DIR holds what the authors' instructions put into `pretrained_models/`: `lavie_base.pt` and
`stable-diffusion-v1-4/` (its unet/config.json, vae, text_encoder, tokenizer).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synvita_data.errors import SourceError
from synvita_data.jobs import Worker

from ..diffusers.checkpoints import folder_revision, weight_files
from ..diffusers.open import single_needs
from ..diffusers.presets import Preset
from ..diffusers.settings import pipeline_settings
from ..recipe import Recipe, Request

if TYPE_CHECKING:
    from ..prompt_length import PromptEncoder

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
    frames=32,
    height=320,
    width=512,
    fps=8,
    steps=50,
    guidance=7.5,
    scheduler="DDPMScheduler",
    scheduler_options=SCHEDULER,
    dtype="float16",
    vae_slicing=True,
)


@dataclass(frozen=True)
class LaVieGenerator:
    """LaVie from a folder."""

    recipe: Recipe
    folder: str

    def inputs(self, requests: Sequence[Request]) -> dict[str, tuple[Request, ...]]:
        """One key a request."""
        return single_needs(self.recipe, requests)

    def encoders(self) -> "list[PromptEncoder]":
        """Of the pipeline's tokenizers, with the lengths that it gives them."""
        from transformers import CLIPTokenizer

        from ..prompt_length import pipeline_encoders

        tokenizer = CLIPTokenizer.from_pretrained(Path(self.folder) / BASE / "tokenizer")
        return pipeline_encoders({"tokenizer": tokenizer}, PIPELINE, self.recipe.settings)

    def open_worker(self, root: str, out: str, device: str | None) -> Worker:
        """Load the model on `device`."""
        from ..diffusers.worker import PipelineWorker

        load = partial(load_lavie, Path(self.folder), self.recipe.settings)
        return PipelineWorker(self.recipe, load, root, out, device)


def open_lavie(
    argument: str, overrides: Mapping[str, Any], name: str | None, cache: Path | None
) -> LaVieGenerator:
    """The generator `lavie:argument`; see `open_diffusers` for the arguments.

    Raises:
        SourceError: DIR lacks a file, or a setting cannot be used.
    """
    folder = Path(argument).expanduser()
    for needed in (WEIGHTS, f"{BASE}/unet/config.json"):
        if not argument or not (folder / needed).is_file():
            raise SourceError(
                "the folder does not hold LaVie",
                file=folder / needed,
                found="no such file",
                expected=f"{WEIGHTS} and {BASE}/, as LaVie's instructions put them into pretrained_models",
                fix="Download Vchitect/LaVie and CompVis/stable-diffusion-v1-4 into it",
            )
    settings, placement = pipeline_settings(PIPELINE, {}, "lavie", overrides, PRESET)
    base = folder / BASE
    # Of Stable Diffusion only what is loaded: its own UNet and the safety checker change nothing.
    used = [
        path
        for part in ("text_encoder", "tokenizer", "vae")
        if (base / part).is_dir()
        for path in weight_files(base / part)
    ]
    files = [folder / WEIGHTS, base / "unet" / "config.json", *used]
    recipe = Recipe("lavie", name or "lavie", folder_revision(files, folder, cache), settings, placement)
    return LaVieGenerator(recipe, str(folder.resolve()))


def load_lavie(folder: Path, settings: Mapping[str, Any]) -> Any:
    """LaVie as a `TextToVideoSDPipeline` in main memory.

    Raises:
        SourceError: a file is missing or damaged, or the weights are not LaVie's.
    """
    from diffusers import AutoencoderKL, DDPMScheduler, TextToVideoSDPipeline
    from transformers import CLIPTextModel, CLIPTokenizer

    from synvita_data.models.runtime import torch_dtype

    from ..diffusers.open import dtype_argument, quiet, set_scheduler
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
            "Stable Diffusion's parts cannot be loaded", file=base, found=str(error)[:250]
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

    The file is `{"ema": state_dict, …}` or a state dict. It also holds `rotary_emb.freqs`, which are no weights:
    they are compared with the frequencies that the model computes.

    Raises:
        SourceError: not such a file, or other weights.
    """
    import torch

    from ..diffusers.state_dicts import load_exactly, read_checkpoint
    from .unet import ROTARY_CHANNELS

    state = read_checkpoint(path, ("ema",))
    expected = 10000.0 ** (-torch.arange(0, ROTARY_CHANNELS, 2).float() / ROTARY_CHANNELS)
    for key in [key for key in state if key.endswith("rotary_emb.freqs")]:
        freqs = state.pop(key).float()
        if freqs.shape != expected.shape or not torch.allclose(freqs, expected, rtol=1e-2, atol=1e-4):
            raise SourceError("LaVie's rotary frequencies are not the known ones", file=path, row=key)
    load_exactly(unet, state, path)
