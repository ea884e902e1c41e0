"""From a preset and the user's settings to all that one pipeline call is made with."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from synvita_data.errors import SourceError
from synvita_data.models.runtime import DTYPES

from .. import settings as read
from .presets import FRAME_STEPS, PRESETS, SIZE_STEPS, Preset, find_preset, preset_by_name

OFFLOADS = ("none", "model", "sequential")
# Classes that give their latents to the VAE as they are.
ONE_DTYPE = ("CogVideoXPipeline", "MochiPipeline", "TextToVideoSDPipeline")
# Setting -> None where the pipeline's own default is meant.
_PLAIN: dict[str, Any] = {
    "frames": None,
    "height": None,
    "width": None,
    "fps": None,
    "steps": None,
    "guidance": None,
    "negative_prompt": None,
    "scheduler": None,
    "scheduler_options": {},
    "dtype": "bfloat16",
    "vae_dtype": None,
    "offload": "none",
    "vae_tiling": False,
    "vae_slicing": False,
    "call": {},
}
_KEYS = (*(key for key in _PLAIN if key not in ("scheduler_options", "call")), "size", "batch_size", "preset")
_PREFIXES = ("scheduler.", "call.")
# Arguments of a call that the program itself fills in.
_OURS = {
    "prompt": None,
    "generator": None,
    "latents": None,
    "output_type": None,
    "return_dict": None,
    "num_frames": "frames",
    "video_length": "frames",
    "height": "height",
    "width": "width",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "negative_prompt": "negative_prompt",
    "frame_rate": "fps",
    "num_videos_per_prompt": None,
}


def pipeline_settings(
    pipeline: str,
    configs: Mapping[str, Mapping[str, Any]],
    name: str,
    overrides: Mapping[str, Any],
    preset: Preset | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings that pixels depend on, and placement, of a pipeline.

    Args:
        pipeline: class name. configs, name: as for `find_preset`.
        overrides: from `--set`. preset: taken instead of looking for one.

    Raises:
        SourceError: an unknown setting, a value of the wrong kind, a number of frames or a size that the
            model cannot make, or no frame rate.
    """
    read.refuse_unknown(overrides, _KEYS, _PREFIXES)
    preset = preset or _chosen(pipeline, configs, name, overrides)
    values: dict[str, Any] = {**_PLAIN, **({key: asdict(preset)[key] for key in _PLAIN} if preset else {})}
    values = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    for key, value in overrides.items():
        _replace(values, key, value)
    if values["fps"] is None:
        raise SourceError(
            f"there is no preset for this {pipeline}, and nothing else says how fast its videos run",
            file=name,
            fix=f"Give --set fps=… and, where the pipeline's defaults do not fit, frames, size, steps and guidance{_presets_of(pipeline)}",
        )
    _check_shape(pipeline, values, configs)
    if pipeline in ONE_DTYPE and values["vae_dtype"] not in (None, values["dtype"]):
        raise SourceError(
            f"{pipeline} decodes in the dtype of its other parts",
            found=f"vae_dtype={values['vae_dtype']}, dtype={values['dtype']}",
            fix="Set dtype alone",
        )
    placement = {"offload": values.pop("offload")}
    batch_size = read.whole("batch_size", overrides.get("batch_size", 1))
    settings = {
        "pipeline": pipeline,
        "preset": preset.name if preset else None,
        "batch_size": batch_size,
        **values,
    }
    return settings, placement


def _chosen(
    pipeline: str, configs: Mapping[str, Mapping[str, Any]], name: str, overrides: Mapping[str, Any]
) -> Preset | None:
    if "preset" not in overrides:
        return find_preset(pipeline, configs, name)
    asked = overrides["preset"]
    if asked in (None, "none"):
        return None
    preset = preset_by_name(str(asked))
    if preset is None or preset.pipeline != pipeline:
        raise SourceError(
            f"no such preset of {pipeline}",
            found=asked,
            expected=", ".join(["none", *(p.name for p in PRESETS if p.pipeline == pipeline)]),
        )
    return preset


def _replace(values: dict[str, Any], key: str, value: Any) -> None:
    if key in ("preset", "batch_size"):
        return
    if key == "size":
        values["height"], values["width"] = read.size(value)
    elif key.startswith("scheduler."):
        values["scheduler_options"][key.removeprefix("scheduler.")] = value
    elif key.startswith("call."):
        argument = key.removeprefix("call.")
        if argument in _OURS:
            instead = _OURS[argument]
            raise SourceError(
                "this argument of the pipeline is not free",
                found=key,
                fix=f"Use --set {instead}=…" if instead else "It follows from the row",
            )
        values["call"][argument] = value
    elif key in ("frames", "height", "width", "steps"):
        values[key] = read.whole(key, value)
    elif key == "fps":
        rate = read.number(key, value, above=0)
        values[key] = int(rate) if rate.is_integer() else rate
    elif key == "guidance":
        values[key] = read.number(key, value)
    elif key == "dtype" or (key == "vae_dtype" and value is not None):
        values[key] = read.choice(key, value, DTYPES)
    elif key == "offload":
        values[key] = read.choice(key, value, OFFLOADS)
    elif key in ("vae_tiling", "vae_slicing"):
        values[key] = read.flag(key, value)
    else:
        values[key] = None if value is None else read.text(key, value)


def _check_shape(pipeline: str, values: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]]) -> None:
    step, frames = FRAME_STEPS.get(pipeline), values["frames"]
    if pipeline == "CogVideoXPipeline" and configs.get("transformer", {}).get("patch_size_t"):
        step = 16  # CogVideoX 1.5 packs two latent frames into one patch
    if step is not None and frames is not None and (frames - 1) % step:
        near = (frames - 1) // step * step + 1
        raise SourceError(
            f"{pipeline} cannot make this number of frames",
            found=f"frames={frames}",
            expected=f"{step}·N + 1, such as {near} or {near + step}",
        )
    multiple = SIZE_STEPS.get(pipeline, 2)
    for key in ("height", "width"):
        if values[key] is not None and values[key] % multiple:
            near = values[key] // multiple * multiple or multiple
            raise SourceError(
                f"{pipeline} cannot make this {key}",
                found=f"{key}={values[key]}",
                expected=f"a multiple of {multiple}, such as {near} or {near + multiple}",
            )


def _presets_of(pipeline: str) -> str:
    names = [preset.name for preset in PRESETS if preset.pipeline == pipeline]
    return f", or one of the presets: --set preset={' | '.join(names)}" if names else ""
