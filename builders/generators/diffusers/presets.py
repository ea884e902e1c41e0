"""The settings that the authors of text-to-video models recommend, one preset a released model.

Sources: the model cards and sampling scripts of the authors, and the defaults of diffusers' own pipelines;
`docs/generating.md` says which value is from where. Everything here can be replaced by `--set`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

# The prompt that Wan's own sampling script guides away from.
WAN_NEGATIVE = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，"
    "JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，"
    "手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)
LTX_NEGATIVE = "worst quality, inconsistent motion, blurry, jittery, distorted"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings of one released model.

    Attributes:
        name: for `--set preset=NAME`.
        pipeline: class name in diffusers.
        when: `component.key` -> value in the model's JSON files (`model_index.key` for the pipeline's own);
            the model is this preset's if all agree. Empty: every model of the class.
        names: parts of a Hub id or folder name (lower case) that mean this model; none for the preset's own name.
        frames, height, width, fps, steps, guidance: None leaves it to the pipeline.
        negative_prompt: what the pipeline guides away from.
        scheduler: class name in diffusers, None keeps the checkpoint's.
        scheduler_options: replace its values.
        dtype: of all weights.
        vae_dtype: of the VAE, None as the others.
        offload: none, model (whole models wait in main memory) or sequential (single layers; slow).
        vae_tiling, vae_slicing: decode in tiles, or one video at a time.
        call: further arguments of the pipeline's call.
    """

    name: str
    pipeline: str
    when: Mapping[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    frames: int | None = None
    height: int | None = None
    width: int | None = None
    fps: float | None = None
    steps: int | None = None
    guidance: float | None = None
    negative_prompt: str | None = None
    scheduler: str | None = None
    scheduler_options: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "bfloat16"
    vae_dtype: str | None = None
    offload: str = "none"
    vae_tiling: bool = False
    vae_slicing: bool = False
    call: Mapping[str, Any] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """What the pipeline is called with, and where it is laid out: all but what finds the preset."""
        found_by = ("name", "pipeline", "when", "names")
        return {key: value for key, value in asdict(self).items() if key not in found_by}


def video_numbers(size: str, frames: int, fps: int, steps: int, guidance: float) -> dict[str, Any]:
    """The numbers that every model card gives; `size` is height × width."""
    height, width = map(int, size.split("x"))
    numbers = {"height": height, "width": width, "frames": frames, "fps": fps}
    return {**numbers, "steps": steps, "guidance": guidance}


def _transformer(layers: int, heads: int) -> dict[str, Any]:
    return {"transformer.num_layers": layers, "transformer.num_attention_heads": heads}


_COGVIDEOX: dict[str, Any] = {
    "pipeline": "CogVideoXPipeline",
    "vae_tiling": True,
    "vae_slicing": True,
    "scheduler_options": {"timestep_spacing": "trailing"},
}
_COGVIDEOX_5B: dict[str, Any] = {
    **_COGVIDEOX,
    "scheduler": "CogVideoXDPMScheduler",
    "call": {"use_dynamic_cfg": True},
}
_WAN: dict[str, Any] = {
    "pipeline": "WanPipeline",
    "vae_dtype": "float32",
    "negative_prompt": WAN_NEGATIVE,
}
_WAN_2_1: dict[str, Any] = {
    **_WAN,
    **video_numbers("480x832", frames=81, fps=16, steps=50, guidance=5.0),
    "scheduler": "UniPCMultistepScheduler",
    "scheduler_options": {"flow_shift": 3.0},
}
_LTX: dict[str, Any] = {
    "pipeline": "LTXPipeline",
    **video_numbers("512x704", frames=161, fps=24, steps=50, guidance=3.0),
    "negative_prompt": LTX_NEGATIVE,
    "vae_tiling": True,
}

PRESETS: tuple[Preset, ...] = (
    Preset(
        name="cogvideox-2b",
        when=_transformer(layers=30, heads=30),
        **_COGVIDEOX,
        **video_numbers("480x720", frames=49, fps=8, steps=50, guidance=6.0),
        scheduler="CogVideoXDDIMScheduler",
        dtype="float16",
    ),
    Preset(
        name="cogvideox-5b",
        when={**_transformer(layers=42, heads=48), "transformer.patch_size_t": None},
        **_COGVIDEOX_5B,
        **video_numbers("480x720", frames=49, fps=8, steps=50, guidance=6.0),
    ),
    Preset(
        name="cogvideox-1.5-5b",
        names=("cogvideox1.5-5b", "cogvideox-1.5-5b"),
        when={**_transformer(layers=42, heads=48), "transformer.patch_size_t": 2},
        **_COGVIDEOX_5B,
        **video_numbers("768x1360", frames=81, fps=16, steps=50, guidance=6.0),
        offload="model",
    ),
    Preset(
        name="wan2.1-1.3b",
        names=("wan2.1-t2v-1.3b",),
        when=_transformer(layers=30, heads=12),
        **_WAN_2_1,
    ),
    Preset(
        name="wan2.1-14b",
        names=("wan2.1-t2v-14b",),
        when={**_transformer(layers=40, heads=40), "model_index.boundary_ratio": None},
        **_WAN_2_1,
        offload="model",
    ),
    Preset(
        name="wan2.2-a14b",
        names=("wan2.2-t2v-a14b",),
        when={**_transformer(layers=40, heads=40), "model_index.boundary_ratio": 0.875},
        **_WAN,
        **video_numbers("720x1280", frames=81, fps=16, steps=40, guidance=4.0),
        call={"guidance_scale_2": 3.0},
        offload="model",
    ),
    Preset(
        name="wan2.2-ti2v-5b",
        names=("wan2.2-ti2v-5b",),
        # As many layers as Wan2.1-1.3B; copies may leave `expand_timesteps` out of their model_index.json.
        when=_transformer(layers=30, heads=24),
        **_WAN,
        **video_numbers("704x1280", frames=121, fps=24, steps=50, guidance=5.0),
    ),
    # From 0.9.1 on the VAE takes a time step, at which the authors decode.
    Preset(
        name="ltx-video-0.9.1",
        names=("ltx-video-0.9.",),
        when={"vae.timestep_conditioning": True},
        **_LTX,
        call={"decode_timestep": 0.05, "decode_noise_scale": 0.025},
    ),
    Preset(name="ltx-video", **_LTX),
    # Of 0.9.5 and later; without conditions it makes videos from text.
    Preset(name="ltx-video-condition", **{**_LTX, "pipeline": "LTXConditionPipeline"}),
    Preset(
        name="ltx-2",
        pipeline="LTX2Pipeline",
        **video_numbers("512x768", frames=121, fps=24, steps=30, guidance=3.0),
        negative_prompt=LTX_NEGATIVE,
        offload="model",
        vae_tiling=True,
    ),
    Preset(
        name="hunyuan-video",
        names=("hunyuanvideo",),
        pipeline="HunyuanVideoPipeline",
        **video_numbers("720x1280", frames=129, fps=24, steps=50, guidance=6.0),
        vae_dtype="float16",
        offload="model",
        vae_tiling=True,
    ),
    Preset(
        name="mochi-1",
        pipeline="MochiPipeline",
        # The call's own default is 19 frames.
        **video_numbers("480x848", frames=163, fps=30, steps=64, guidance=4.5),
        offload="model",
        vae_tiling=True,
    ),
)

# Class -> (N, multiple): frames must be N·k + 1, height and width multiples. Some pipelines would round
# another value without an error, and the record would say what was not made.
STEPS: dict[str, tuple[int, int]] = {
    "CogVideoXPipeline": (8, 16),
    "WanPipeline": (4, 16),
    "LTXPipeline": (8, 32),
    "LTXConditionPipeline": (8, 32),
    "LTX2Pipeline": (8, 32),
    "HunyuanVideoPipeline": (4, 16),
    "MochiPipeline": (6, 16),
}


def find_preset(pipeline: str, configs: Mapping[str, Mapping[str, Any]], name: str) -> Preset | None:
    """The preset of a model, by its configuration, else by its name; None if it is none of these.

    Args:
        pipeline: class name.
        configs: component -> its config.json, with the pipeline's own under `model_index`.
        name: Hub id or folder name.
    """
    same_class = [preset for preset in PRESETS if preset.pipeline == pipeline]
    for preset in same_class:
        if preset.when and all(_lookup(configs, key) == value for key, value in preset.when.items()):
            return preset
    low = name.lower()
    for preset in same_class:
        if any(part in low for part in preset.names or (preset.name,)):
            return preset
    return next((preset for preset in same_class if not preset.when), None)


def _lookup(configs: Mapping[str, Mapping[str, Any]], key: str) -> Any:
    component, _, entry = key.partition(".")
    return configs.get(component, {}).get(entry)
