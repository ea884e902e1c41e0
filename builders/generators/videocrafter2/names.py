"""Which weight of VideoCrafter2's checkpoint is which of diffusers' and transformers' models.

Each function takes a state dict and gives its names -> theirs, for the weights that are used. What the two sides
call alike inside a layer (attention, feed-forward, temporal convolutions) needs no entry.
"""

import re
from collections.abc import Iterable

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
_VAE_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}


def unet_names(state: Iterable[str]) -> dict[str, str]:
    """Names of `openaimodel3d.UNetModel` -> those of `UNet3DConditionModel`; `fps_embedding` has none there."""
    keys = list(state)
    down, up = _input_places(keys), _output_places(keys)
    names = {}
    for key in keys:
        if key.startswith("fps_embedding."):
            continue
        block, _, rest = key.partition(".")
        if block == "middle_block":
            part, _, rest = rest.partition(".")
            names[key] = f"mid_block.{_inside(_MIDDLE[part], rest)}"
        elif block in ("input_blocks", "output_blocks") and not key.startswith("input_blocks.0."):
            index, part, rest = rest.split(".", 2)
            names[key] = _inside((down if block == "input_blocks" else up)[int(index), int(part)], rest)
        else:
            names[key] = _replace_start(key, _UNET_ENDS)
    return names


def vae_names(state: Iterable[str]) -> dict[str, str]:
    """Names of the LDM autoencoder -> those of `AutoencoderKL`, which counts up-blocks from the other end."""
    keys = list(state)
    levels = 1 + max(int(key.split(".")[2]) for key in keys if key.startswith("decoder.up."))
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
        layers: how many are used, from the first. prefix: before the names of `CLIPTextModel`.
    """
    names = {}
    for key in state:
        match = re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)", key)
        if match is not None:
            if int(match[1]) < layers:
                names[key] = f"{prefix}encoder.layers.{match[1]}.{_replace_start(match[2], _TEXT_LAYER)}"
        elif key == "positional_embedding":
            names[key] = f"{prefix}embeddings.position_embedding.weight"
        elif key == "token_embedding.weight":
            names[key] = f"{prefix}embeddings.token_embedding.weight"
        elif key.startswith("ln_final."):
            names[key] = f"{prefix}final_layer_norm.{key.removeprefix('ln_final.')}"
        # text_projection, logit_scale and attn_mask belong to what is not used
    return names


def _input_places(keys: Iterable[str]) -> dict[tuple[int, int], str]:
    """(input block, part) -> module of diffusers."""
    parts = _parts(keys, "input_blocks")
    places = {}
    level = residual = 0
    for index in sorted(parts):
        if index == 0:
            continue
        if any(rest.startswith("op.") for rest in parts[index][0]):
            places[index, 0] = f"down_blocks.{level}.downsamplers.0"
            level, residual = level + 1, 0
            continue
        for part, kind in zip(
            sorted(parts[index]), ("resnets", "attentions", "temp_attentions"), strict=False
        ):
            places[index, part] = f"down_blocks.{level}.{kind}.{residual}"
        residual += 1
    return places


def _output_places(keys: Iterable[str]) -> dict[tuple[int, int], str]:
    """(output block, part) -> module of diffusers."""
    parts = _parts(keys, "output_blocks")
    places = {}
    level = residual = 0
    for index in sorted(parts):
        kinds = iter(("attentions", "temp_attentions"))
        ends = False
        for part in sorted(parts[index]):
            if part == 0:
                places[index, part] = f"up_blocks.{level}.resnets.{residual}"
            elif any(rest.startswith("conv.") for rest in parts[index][part]):
                places[index, part] = f"up_blocks.{level}.upsamplers.0"
                ends = True
            else:
                places[index, part] = f"up_blocks.{level}.{next(kinds)}.{residual}"
        level, residual = (level + 1, 0) if ends else (level, residual + 1)
    return places


def _parts(keys: Iterable[str], block: str) -> dict[int, dict[int, list[str]]]:
    found: dict[int, dict[int, list[str]]] = {}
    for key in keys:
        name, _, rest = key.partition(".")
        if name == block:
            index, part, inner = rest.split(".", 2)
            found.setdefault(int(index), {}).setdefault(int(part), []).append(inner)
    return found


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
        if name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return name
