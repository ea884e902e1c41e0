"""From a preset and the user's settings to all that one pipeline call is made with."""

from collections.abc import Callable, Mapping
from typing import Any

from synvita_data.errors import SourceError, choose
from synvita_data.models.runtime import DTYPES

from ..base import read_flag, read_number, read_size, read_text, read_whole, refuse_unknown
from .presets import PRESETS, STEPS, Preset, find_preset

OFFLOADS = ("none", "model", "sequential")
# Classes that give their latents to the VAE as they are.
ONE_DTYPE = ("CogVideoXPipeline", "MochiPipeline", "TextToVideoSDPipeline")


def _read_rate(key: str, value: Any) -> int | float:
    rate = read_number(key, value, above=0)
    return int(rate) if rate.is_integer() else rate


def _read_dtype(key: str, value: Any) -> str:
    return choose(value, DTYPES, key, error=SourceError)


# Setting -> how its value is read.
_READERS: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(("frames", "height", "width", "steps", "batch_size"), read_whole),
    "fps": _read_rate,
    "guidance": read_number,
    **dict.fromkeys(("negative_prompt", "scheduler"), read_text),
    **dict.fromkeys(("dtype", "vae_dtype"), _read_dtype),
    "offload": lambda key, value: choose(
        "none" if value is None else value, OFFLOADS, key, error=SourceError
    ),
    **dict.fromkeys(("vae_tiling", "vae_slicing"), read_flag),
}
# Settings that may be null: the pipeline's own default, or the dtype of the other parts.
_OPTIONAL = ("negative_prompt", "scheduler", "vae_dtype")
# Setting -> the arguments of a pipeline's call that may be called so.
ARGUMENTS = {
    "frames": ("num_frames", "video_length"),
    "height": ("height",),
    "width": ("width",),
    "fps": ("frame_rate",),
    "steps": ("num_inference_steps",),
    "guidance": ("guidance_scale",),
    "negative_prompt": ("negative_prompt",),
}
_SETTING_OF = {argument: key for key, arguments in ARGUMENTS.items() for argument in arguments}
# Arguments that follow from the row.
_FILLED_IN = ("prompt", "generator", "latents", "output_type", "return_dict", "num_videos_per_prompt")


def pipeline_settings(
    pipeline: str,
    configs: Mapping[str, Mapping[str, Any]],
    name: str,
    overrides: Mapping[str, Any],
    preset: Preset | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings that pixels depend on, and placement, of a pipeline.

    Args:
        pipeline: class name.
        configs: component -> its config.json, as for `find_preset`.
        name: Hub id or folder name.
        overrides: from `--set`.
        preset: taken instead of looking for one.

    Raises:
        SourceError: a setting is unknown or of the wrong kind, the model cannot make this number of frames or
            this size, or nothing says the frame rate.
    """
    refuse_unknown(overrides, (*_READERS, "size", "preset"), ("scheduler.", "call."))
    preset = preset or _chosen(pipeline, configs, name, overrides)
    values: dict[str, Any] = {"batch_size": 1, **(preset or Preset(name="", pipeline="")).settings()}
    for key, value in overrides.items():
        _replace(values, key, value)
    if values["fps"] is None:
        names = [preset.name for preset in PRESETS if preset.pipeline == pipeline]
        presets = f", or one of the presets: --set preset={' | '.join(names)}" if names else ""
        raise SourceError(
            f"there is no preset for this {pipeline}, and nothing else says how fast its videos run",
            file=name,
            fix=f"Give --set fps=… and, where the pipeline's defaults do not fit, frames, size, steps and guidance{presets}",
        )
    _check_shape(pipeline, values, configs)
    if pipeline in ONE_DTYPE and values["vae_dtype"] not in (None, values["dtype"]):
        raise SourceError(
            f"{pipeline} decodes in the dtype of its other parts",
            found=f"vae_dtype={values['vae_dtype']}, dtype={values['dtype']}",
            fix="Set dtype alone",
        )
    placement = {"offload": values.pop("offload")}
    return {"pipeline": pipeline, "preset": preset.name if preset else None, **values}, placement


def _chosen(
    pipeline: str, configs: Mapping[str, Mapping[str, Any]], name: str, overrides: Mapping[str, Any]
) -> Preset | None:
    """The preset that the user names, or else the model's own."""
    if "preset" not in overrides:
        return find_preset(pipeline, configs, name)
    asked = "none" if overrides["preset"] is None else str(overrides["preset"])
    known = {"none": None} | {preset.name: preset for preset in PRESETS if preset.pipeline == pipeline}
    return known[choose(asked, known, f"preset of {pipeline}", error=SourceError)]


def _replace(values: dict[str, Any], key: str, value: Any) -> None:
    """Put one setting of the user in the place of the preset's."""
    group, _, option = key.partition(".")
    if key == "size":
        values["height"], values["width"] = read_size(value)
    elif group == "scheduler" and option:
        values["scheduler_options"][option] = value
    elif group == "call":
        instead = _SETTING_OF.get(option)
        if instead or option in _FILLED_IN:
            raise SourceError(
                "this argument of the pipeline is not free",
                found=key,
                fix=f"Use --set {instead}=…" if instead else "It follows from the row",
            )
        values["call"][option] = value
    elif key != "preset":
        values[key] = None if value is None and key in _OPTIONAL else _READERS[key](key, value)


def _check_shape(pipeline: str, values: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]]) -> None:
    step, multiple = STEPS.get(pipeline, (1, 2))
    frames = values["frames"]
    if pipeline == "CogVideoXPipeline" and configs.get("transformer", {}).get("patch_size_t"):
        step = 16  # CogVideoX 1.5 packs two latent frames into one patch
    if frames is not None and (frames - 1) % step:
        near = (frames - 1) // step * step + 1
        raise SourceError(
            f"{pipeline} cannot make this number of frames",
            found=f"frames={frames}",
            expected=f"{step}·N + 1, such as {near} or {near + step}",
        )
    for key in ("height", "width"):
        if values[key] is not None and values[key] % multiple:
            near = values[key] // multiple * multiple or multiple
            raise SourceError(
                f"{pipeline} cannot make this {key}",
                found=f"{key}={values[key]}",
                expected=f"a multiple of {multiple}, such as {near} or {near + multiple}",
            )
