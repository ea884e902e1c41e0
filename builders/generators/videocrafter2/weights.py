"""VideoCrafter2's checkpoint as models of diffusers and transformers.

`model.ckpt` holds three state dicts in one: `model.diffusion_model.` (a 3D UNet), `first_stage_model.` (Stable
Diffusion's VAE) and `cond_stage_model.model.` (OpenCLIP's ViT-H text tower). Their weights are renamed; what the two
sides call alike inside a layer (attention, feed-forward, temporal convolutions) needs no entry in the tables. Sizes are
read off the weights; what shapes cannot say is fixed as in the authors' configuration: 64 channels a head, 32 groups a
norm.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synvita_data.errors import SourceError, first_line

from ..diffusers.checkpoints import load_exactly

if TYPE_CHECKING:
    from torch import Tensor

    State = Mapping[str, Tensor]

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model."
HEAD_CHANNELS = 64
SCALING_FACTOR = 0.18215
TEXT_POSITIONS = 77

_RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_UNET_ENDS = {
    "input_blocks.0.0": "conv_in",
    "init_attn.0": "transformer_in",
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "temp_attentions.0", "3": "resnets.1"}
_TEXT_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn": "self_attn",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_TEXT_ENDS = {
    "positional_embedding": "embeddings.position_embedding.weight",
    "token_embedding": "embeddings.token_embedding",
    "ln_final": "final_layer_norm",
}
_VAE_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}

# 1×1 convolutions that are linear layers in diffusers.
_FLAT = tuple(f"{name}.weight" for name in ("proj_in", "proj_out", "to_q", "to_k", "to_v", "to_out.0"))


# --- the models ------------------------------------------------------------------------------------


def unet_of(checkpoint: "State", path: Path, fps: int) -> Any:
    """`UNet3DConditionModel`, fixed to videos that run at `fps`.

    The released UNet adds an embedding of the frame rate to that of the time step. At a fixed rate it is a
    constant, so it goes into the bias of the time embedding's last layer.

    Raises:
        SourceError: weights are missing or over.
    """
    from diffusers import UNet3DConditionModel

    released = _under(UNET, checkpoint, path)
    state = _renamed(released, unet_names(released))
    # A level attends if its first block does.
    found = (re.match(r"down_blocks\.(\d+)\.", name) for name in state)
    levels = range(1 + max((int(match[1]) for match in found if match), default=0))
    attends = [f"down_blocks.{level}.attentions.0.proj_in.weight" in state for level in levels]
    blocks = {match[0] for name in state if (match := re.match(r"down_blocks\.0\.resnets\.\d+\.", name))}
    text = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    unet = UNet3DConditionModel(
        in_channels=_shape(state, "conv_in.weight", path)[1],
        out_channels=_shape(state, "conv_out.weight", path)[0],
        block_out_channels=[
            _shape(state, f"down_blocks.{level}.resnets.0.conv2.weight", path)[0] for level in levels
        ],
        layers_per_block=len(blocks),
        down_block_types=["CrossAttnDownBlock3D" if each else "DownBlock3D" for each in attends],
        up_block_types=["CrossAttnUpBlock3D" if each else "UpBlock3D" for each in reversed(attends)],
        cross_attention_dim=_shape(state, text, path)[1],
        attention_head_dim=HEAD_CHANNELS,
    )
    load_exactly(unet, state, path)
    _tell_fps(unet, released, fps, path)
    return unet


def vae_of(checkpoint: "State", path: Path) -> Any:
    """`AutoencoderKL`. Raises SourceError: weights are missing or over."""
    from diffusers import AutoencoderKL

    released = _under(VAE, checkpoint, path)
    state = _renamed(released, vae_names(key for key in released if not key.startswith("loss.")))
    blocks = {name.split(".")[4] for name in state if name.startswith("encoder.down_blocks.0.resnets.")}
    levels = {name.split(".")[2] for name in state if name.startswith("encoder.down_blocks.")}
    vae = AutoencoderKL(
        block_out_channels=[
            _shape(state, f"encoder.down_blocks.{level}.resnets.0.conv2.weight", path)[0]
            for level in range(len(levels))
        ],
        down_block_types=["DownEncoderBlock2D"] * len(levels),
        up_block_types=["UpDecoderBlock2D"] * len(levels),
        layers_per_block=len(blocks),
        latent_channels=_shape(state, "post_quant_conv.weight", path)[0],
        scaling_factor=SCALING_FACTOR,
        sample_size=512,
    )
    load_exactly(vae, state, path)
    return vae


def text_encoder_of(checkpoint: "State", path: Path) -> Any:
    """`CLIPTextModel` whose last hidden state is what the authors' `layer: penultimate` gives.

    They run all layers but the last, then the final norm; so the model is built without the last layer.

    Raises:
        SourceError: weights are missing or over.
    """
    from transformers import CLIPTextConfig, CLIPTextModel

    released = _under(TEXT, checkpoint, path)
    layers = len({key.split(".")[2] for key in released if key.startswith("transformer.resblocks.")})
    vocabulary, width = _shape(released, "token_embedding.weight", path)
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=_shape(released, "transformer.resblocks.0.mlp.c_fc.weight", path)[0],
        num_hidden_layers=layers - 1,
        num_attention_heads=max(width // HEAD_CHANNELS, 1),
        max_position_embeddings=_shape(released, "positional_embedding", path)[0],
        hidden_act="gelu",
        layer_norm_eps=1e-5,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=0,
    )
    encoder = CLIPTextModel(config)
    own = next(iter(encoder.state_dict())).startswith("text_model.")  # transformers 5 has dropped the prefix
    # Attention is one weight for query, key and value here, and three there.
    cut: dict[str, Tensor] = {}
    for key, value in released.items():
        stem, _, kind = key.rpartition(".in_proj_")
        if stem:
            for name, part in zip(("q_proj", "k_proj", "v_proj"), value.chunk(3), strict=True):
                cut[f"{stem}.{name}.{kind}"] = part.contiguous()
        else:
            cut[key] = value
    names = text_names(cut, layers - 1, "text_model." if own else "")
    load_exactly(encoder, _renamed(cut, names), path)
    return encoder


def tokenizer_from(folder: Path) -> Any:
    """CLIP's tokenizer as open_clip uses it: 77 places, those after the end filled with token 0.

    Raises:
        SourceError: the folder does not hold such a tokenizer.
    """
    from transformers import CLIPTokenizer

    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)
    except (OSError, ValueError, TypeError) as error:
        raise SourceError(
            "the tokenizer cannot be loaded",
            file=folder,
            found=first_line(error),
            expected="vocab.json and merges.txt of a CLIP model",
        ) from error
    tokenizer.model_max_length = TEXT_POSITIONS
    return tokenizer


def _under(prefix: str, checkpoint: "State", path: Path) -> "dict[str, Tensor]":
    state = {key.removeprefix(prefix): value for key, value in checkpoint.items() if key.startswith(prefix)}
    if not state:
        raise SourceError(
            "the checkpoint is not VideoCrafter2's",
            file=path,
            found=f"no weight under {prefix}",
            expected=f"{UNET}…, {VAE}… and {TEXT}…",
        )
    return state


def _renamed(state: "State", names: Mapping[str, str]) -> "dict[str, Tensor]":
    return {
        new: state[old].flatten(1) if new.endswith(_FLAT) and state[old].ndim > 2 else state[old]
        for old, new in names.items()
    }


def _shape(state: "State", name: str, path: Path) -> Any:
    if name not in state:
        raise SourceError("the checkpoint lacks a weight", file=path, found=f"no {name}")
    return state[name].shape


def _tell_fps(unet: Any, released: "State", fps: int, path: Path) -> None:
    """Add the embedding of one frame rate to the bias of the time embedding's last layer."""
    import torch
    from diffusers.models.embeddings import TimestepEmbedding

    prefix, layers = "fps_embedding.", {"0": "linear_1", "2": "linear_2"}
    width, channels = _shape(released, f"{prefix}0.weight", path)
    embedding = TimestepEmbedding(channels, width)
    own = {
        _replace_start(key.removeprefix(prefix), layers): value.float()
        for key, value in released.items()
        if key.startswith(prefix)
    }
    load_exactly(embedding, own, path)
    with torch.no_grad():
        unet.time_embedding.linear_2.bias += embedding(unet.time_proj(torch.tensor([fps])))[0]


# --- names: theirs -> diffusers' and transformers' -------------------------------------------------


def unet_names(state: Iterable[str]) -> dict[str, str]:
    """Names of `openaimodel3d.UNetModel` -> those of `UNet3DConditionModel`; `fps_embedding` has none there."""
    keys = list(state)
    places = {
        "input_blocks": _places(keys, "input_blocks", "down"),
        "output_blocks": _places(keys, "output_blocks", "up"),
    }
    names = {}
    for key in keys:
        if key.startswith("fps_embedding."):
            continue
        block, _, rest = key.partition(".")
        if block == "middle_block":
            part, _, rest = rest.partition(".")
            names[key] = f"mid_block.{_inside(_MIDDLE.get(part, part), rest)}"
        elif block in places and not key.startswith("input_blocks.0."):
            index, part, rest = rest.split(".", 2)
            names[key] = _inside(places[block][int(index), int(part)], rest)
        else:
            names[key] = _replace_start(key, _UNET_ENDS)
    return names


def vae_names(state: Iterable[str]) -> dict[str, str]:
    """Names of the LDM autoencoder -> those of `AutoencoderKL`, which counts up-blocks from the other end."""
    keys = list(state)
    levels = 1 + max((int(key.split(".")[2]) for key in keys if key.startswith("decoder.up.")), default=0)
    names = {}
    for key in keys:
        new = re.sub(r"\bdown\.(\d+)\.block\.(\d+)", r"down_blocks.\1.resnets.\2", key)
        new = re.sub(r"\bdown\.(\d+)\.downsample", r"down_blocks.\1.downsamplers.0", new)
        new = re.sub(
            r"\bup\.(\d+)\.(?:block\.(\d+)|upsample)",
            lambda match: (
                f"up_blocks.{levels - 1 - int(match[1])}."
                + ("upsamplers.0" if match[2] is None else f"resnets.{match[2]}")
            ),
            new,
        )
        new = re.sub(r"\bmid\.block_(\d)", lambda match: f"mid_block.resnets.{int(match[1]) - 1}", new)
        new = re.sub(
            r"\bmid\.attn_1\.(\w+)", lambda match: f"mid_block.attentions.0.{_VAE_ATTENTION[match[1]]}", new
        )
        new = new.replace(".norm_out.", ".conv_norm_out.").replace(".nin_shortcut.", ".conv_shortcut.")
        names[key] = new
    return names


def text_names(state: Iterable[str], layers: int, prefix: str) -> dict[str, str]:
    """Names of OpenCLIP's text tower (its attention cut in three) -> those of `CLIPTextModel`.

    Args:
        state: names of the tower. `text_projection`, `logit_scale` and `attn_mask` belong to what is not used.
        layers: how many are used, from the first.
        prefix: before the names of `CLIPTextModel`.
    """
    names = {}
    for key in state:
        layer = re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)", key)
        if layer is not None and int(layer[1]) < layers:
            names[key] = f"{prefix}encoder.layers.{layer[1]}.{_replace_start(layer[2], _TEXT_LAYER)}"
        elif key.startswith(tuple(_TEXT_ENDS)):
            names[key] = prefix + _replace_start(key, _TEXT_ENDS)
    return names


def _places(keys: Iterable[str], block: str, side: str) -> dict[tuple[int, int], str]:
    """(block, part) of the UNet's way down or up -> module of diffusers, which counts by level.

    Args:
        keys: names of the released UNet.
        block: `input_blocks` or `output_blocks`.
        side: `down` or `up`.
    """
    parts: dict[int, dict[int, str]] = {}  # block -> part -> a name inside
    for key in keys:
        name, _, rest = key.partition(".")
        if name == block:
            number, place, inner = rest.split(".", 2)
            parts.setdefault(int(number), {})[int(place)] = inner
    if side == "down":
        parts.pop(0, None)  # the first convolution
    places = {}
    level = residual = 0
    for index in sorted(parts):
        kinds = iter(("resnets", "attentions", "temp_attentions"))
        ends = False
        for part, inner in sorted(parts[index].items()):
            if inner.startswith(("op.", "conv.")):  # the level's last: it halves or doubles the picture
                places[index, part] = f"{side}_blocks.{level}.{side}samplers.0"
                ends = True
            else:
                places[index, part] = f"{side}_blocks.{level}.{next(kinds, 'other')}.{residual}"
        level, residual = (level + 1, 0) if ends else (level, residual + 1)
    return places


def _inside(place: str, rest: str) -> str:
    """The name inside a module that is at `place`; a residual block holds a temporal convolution beside it."""
    if rest.startswith("temopral_conv."):  # as released
        return f"{place.replace('resnets', 'temp_convs')}.{rest.removeprefix('temopral_conv.')}"
    if ".resnets." in f".{place}":
        return f"{place}.{_replace_start(rest, _RESIDUAL)}"
    if "downsamplers" in place:
        return f"{place}.{rest.replace('op.', 'conv.', 1)}"
    return f"{place}.{rest}"


def _replace_start(name: str, table: dict[str, str]) -> str:
    for old, new in table.items():
        if f"{name}.".startswith(f"{old}."):
            return new + name.removeprefix(old)
    return name
