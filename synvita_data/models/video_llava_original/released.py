"""The original's folder as released: its settings, its towers' settings, and its weights under our names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import LlamaConfig

from ...errors import SynvitaError
from ...files import read_json
from ..released.conversion import check_weights, own_fields, usable
from ..released.weights import WHOLE_MODEL, folder_with, read_state_dict
from .configuration import MODEL_TYPE, VideoLlavaOriginalConfig, VideoLlavaOriginalVideoConfig
from .modeling import VideoLlavaOriginalForConditionalGeneration
from .names import our_names, tower_names

# Of the released configuration; with another value the network would be another.
_EXPECTED: Mapping[str, Any] = {
    "mm_projector_type": "mlp2x_gelu",
    "mm_vision_select_layer": -2,
    "mm_vision_select_feature": "patch",
    "mm_use_im_start_end": False,
    "mm_use_im_patch_token": False,
    "tie_word_embeddings": False,
}
HEAD_SIZE = 64  # of every CLIP; a checkpoint does not say how many heads there are
_VIDEO = "model.video_tower."


def read_settings(folder: Path) -> dict[str, Any]:
    """`config.json` of the original.

    Raises:
        SynvitaError: no such file, of another model, or of a network that differs.
    """
    path = folder / "config.json"
    raw = read_json(path, "a model's settings")
    if raw.get("model_type") in ("video_llava", MODEL_TYPE):
        port = raw["model_type"] == "video_llava"
        raise SynvitaError(
            "nothing to convert",
            file=path,
            found=raw["model_type"],
            expected="the original's folder, with model_type llava",
            fix="This is transformers' port, whose tower has no attention over time: take LanguageBind/Video-LLaVA-7B"
            if port
            else "It was converted already",
        )
    if raw.get("model_type") != "llava" or "mm_video_tower" not in raw:
        raise SynvitaError(
            "not a checkpoint of the original Video-LLaVA",
            file=path,
            found=f"model_type {raw.get('model_type')!r}, "
            + ("mm_video_tower" if "mm_video_tower" in raw else "no mm_video_tower"),
            expected="model_type 'llava' with mm_video_tower, as LanguageBind/Video-LLaVA-7B has them",
        )
    for name, expected in _EXPECTED.items():
        if raw.get(name, expected) != expected:
            raise SynvitaError(
                "a Video-LLaVA with other settings than the released one",
                file=path,
                found=f"{name} = {raw[name]!r}",
                expected=repr(expected),
            )
    return raw


def read_towers(folder: Path) -> tuple[VideoLlavaOriginalVideoConfig, dict[str, Tensor]]:
    """Settings and weights of a snapshot of `LanguageBind/LanguageBind_Video_merge`, the text tower left out.

    Args:
        folder: of the snapshot.

    Raises:
        SynvitaError: no such files, or a tower without attention over time.
    """
    path = folder / "config.json"
    raw = read_json(path, "a tower's settings").get("vision_config")
    if not isinstance(raw, dict) or not raw.get("add_time_attn") or not raw.get("num_frames"):
        raise SynvitaError(
            "not the settings of LanguageBind's video tower",
            file=path,
            found="no vision_config"
            if not isinstance(raw, dict)
            else f"add_time_attn {raw.get('add_time_attn')!r}, num_frames {raw.get('num_frames')!r}",
            expected="vision_config with add_time_attn true and num_frames",
            fix="Name the folder of LanguageBind/LanguageBind_Video_merge",
        )
    with usable(path):
        config = VideoLlavaOriginalVideoConfig(**own_fields(VideoLlavaOriginalVideoConfig, raw))
    weights = tower_names(read_state_dict(folder_with(folder, WHOLE_MODEL)), folder)
    return config, {f"{_VIDEO}{name}": tensor for name, tensor in weights.items()}


def tower_config(weights: Mapping[str, Tensor], folder: Path) -> VideoLlavaOriginalVideoConfig:
    """The settings that a video tower's weights show; GELU, eps and heads of 64 are LanguageBind's, not shown.

    Args:
        weights: by our names.
        folder: for errors.

    Raises:
        SynvitaError: there is no video tower, or none with attention over time.
    """
    prefix = f"{_VIDEO}encoder.layers."
    layers = {int(name[len(prefix) :].partition(".")[0]) for name in weights if name.startswith(prefix)}
    time = weights.get(f"{prefix}0.temporal_embedding")
    patches = weights.get(f"{_VIDEO}embeddings.patch_embedding.weight")
    places = weights.get(f"{_VIDEO}embeddings.position_embedding.weight")
    inner = weights.get(f"{prefix}0.mlp.fc1.bias")
    if time is None or patches is None or places is None or inner is None:
        raise SynvitaError(
            "a checkpoint without its video tower"
            if not layers
            else "a video tower without attention over time",
            file=folder,
            found=f"{len(layers)} layers of a video tower",
            expected="model.video_tower.video_tower.encoder.layers.N with temporal_embedding and temporal_attn",
            fix="Download LanguageBind/LanguageBind_Video_merge too and name its folder with --towers"
            if not layers
            else "transformers' port has dropped it: take LanguageBind/Video-LLaVA-7B",
        )
    width, side = patches.shape[0], patches.shape[-1]
    return VideoLlavaOriginalVideoConfig(
        hidden_size=width,
        intermediate_size=len(inner),
        num_hidden_layers=len(layers),
        num_attention_heads=max(width // HEAD_SIZE, 1),
        patch_size=side,
        image_size=side * round((len(places) - 1) ** 0.5),
        num_frames=time.shape[1],
    )


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a folder as released, mapped from its files, under our names.

    Raises:
        SynvitaError: files that are missing, cut off or hold more than tensors; a name that is unknown.
    """
    return our_names(read_state_dict(folder), folder)


def full_config(
    raw: Mapping[str, Any],
    video: VideoLlavaOriginalVideoConfig,
    *,
    vocabulary: int,
    image_token: int,
    pad_token: int,
) -> VideoLlavaOriginalConfig:
    """Our settings.

    Args:
        raw: `read_settings`.
        video: of the video tower.
        vocabulary: with the rows for media tokens.
        image_token, pad_token: ids; the video's comes between them.
    """
    text = {**own_fields(LlamaConfig, raw), "vocab_size": vocabulary, "pad_token_id": pad_token}
    return VideoLlavaOriginalConfig(
        video_config=video,
        text_config=LlamaConfig(**text),
        image_token_index=image_token,
        video_token_index=image_token + 1,
    )


def check_all_weights(weights: Mapping[str, Tensor], config: VideoLlavaOriginalConfig, folder: Path) -> None:
    """Complain unless these are just the weights of the network.

    Args:
        weights: by our names.
        config: of the network.
        folder: for the message.

    Raises:
        SynvitaError: a weight is missing, left over or of another shape.
    """
    check_weights(
        weights,
        lambda: VideoLlavaOriginalForConditionalGeneration(config),
        "the original Video-LLaVA",
        folder,
        fix="An adapter is converted by `synvita convert video-llava-lora`; else download it again",
    )
