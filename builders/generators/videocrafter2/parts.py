"""The parts of VideoCrafter2's checkpoint as models of diffusers and transformers.

`model.ckpt` holds three state dicts in one: `model.diffusion_model.` (a 3D UNet), `first_stage_model.` (Stable
Diffusion's VAE) and `cond_stage_model.model.` (OpenCLIP's ViT-H text tower). Sizes are read off the weights;
what shapes cannot say is fixed as in the authors' configuration: 64 channels a head, 32 groups a norm.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synvita_data.errors import SourceError

from ..diffusers.state_dicts import load_exactly
from .names import text_names, unet_names, vae_names

if TYPE_CHECKING:
    from torch import Tensor

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model."
HEAD_CHANNELS = 64
SCALING_FACTOR = 0.18215
TEXT_POSITIONS = 77


def unet_of(checkpoint: "Mapping[str, Tensor]", path: Path, fps: int) -> Any:
    """`UNet3DConditionModel`, told once and for all that its videos run at `fps`.

    The released UNet adds an embedding of the frame rate to that of the time step. At a fixed rate it is a
    constant, so it goes into the bias of the time embedding's last layer.

    Raises:
        SourceError: weights are missing or over.
    """
    from diffusers import UNet3DConditionModel

    state = _under(UNET, checkpoint, path)
    names = unet_names(state)
    levels = _levels(state)
    config = {
        "in_channels": state["input_blocks.0.0.weight"].shape[1],
        "out_channels": state["out.2.weight"].shape[0],
        "block_out_channels": [channels for channels, _, _ in levels],
        "layers_per_block": levels[0][1],
        "down_block_types": ["CrossAttnDownBlock3D" if attends else "DownBlock3D" for *_, attends in levels],
        "up_block_types": [
            "CrossAttnUpBlock3D" if attends else "UpBlock3D" for *_, attends in reversed(levels)
        ],
        "cross_attention_dim": state["middle_block.1.transformer_blocks.0.attn2.to_k.weight"].shape[1],
        "attention_head_dim": HEAD_CHANNELS,
    }
    unet = UNet3DConditionModel(**config)
    load_exactly(unet, _renamed(state, names, path), path)
    _tell_fps(unet, state, fps, path)
    return unet


def vae_of(checkpoint: "Mapping[str, Tensor]", path: Path) -> Any:
    """`AutoencoderKL`. Raises SourceError: weights are missing or over."""
    from diffusers import AutoencoderKL

    state = {
        key: value for key, value in _under(VAE, checkpoint, path).items() if not key.startswith("loss.")
    }
    levels = 1 + max(int(key.split(".")[2]) for key in state if key.startswith("encoder.down."))
    channels = [state[f"encoder.down.{level}.block.0.conv2.weight"].shape[0] for level in range(levels)]
    blocks = len({key.split(".")[4] for key in state if key.startswith("encoder.down.0.block.")})
    vae = AutoencoderKL(
        block_out_channels=channels,
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels,
        layers_per_block=blocks,
        latent_channels=state["post_quant_conv.weight"].shape[0],
        scaling_factor=SCALING_FACTOR,
        sample_size=512,
    )
    load_exactly(vae, _renamed(state, vae_names(state), path), path)
    return vae


def text_encoder_of(checkpoint: "Mapping[str, Tensor]", path: Path) -> Any:
    """`CLIPTextModel` whose last hidden state is what the authors' `layer: penultimate` gives.

    They run all layers but the last, then the final norm; so the model is built without the last layer.

    Raises:
        SourceError: weights are missing or over.
    """
    from transformers import CLIPTextConfig, CLIPTextModel

    state = _under(TEXT, checkpoint, path)
    layers = 1 + max(int(key.split(".")[2]) for key in state if key.startswith("transformer.resblocks."))
    vocabulary, width = state["token_embedding.weight"].shape
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=state["transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        num_hidden_layers=layers - 1,
        num_attention_heads=max(width // HEAD_CHANNELS, 1),
        max_position_embeddings=state["positional_embedding"].shape[0],
        hidden_act="gelu",
        layer_norm_eps=1e-5,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=0,
    )
    encoder = CLIPTextModel(config)
    own = next(iter(encoder.state_dict())).startswith("text_model.")  # transformers 5 has dropped the prefix
    state = _thirds(state)
    names = text_names(state, layers - 1, "text_model." if own else "")
    load_exactly(encoder, _renamed(state, names, path), path)
    return encoder


def tokenizer_from(folder: Path) -> Any:
    """CLIP's tokenizer as open_clip uses it: 77 places, those after the end filled with token 0.

    Raises:
        SourceError: the folder holds no such tokenizer.
    """
    from transformers import CLIPTokenizer

    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)
    except (OSError, ValueError, TypeError) as error:
        raise SourceError(
            "the tokenizer cannot be loaded",
            file=folder,
            found=str(error)[:250],
            expected="vocab.json and merges.txt of a CLIP model",
        ) from error
    tokenizer.model_max_length = TEXT_POSITIONS
    return tokenizer


def _under(prefix: str, checkpoint: "Mapping[str, Tensor]", path: Path) -> "dict[str, Tensor]":
    state = {key.removeprefix(prefix): value for key, value in checkpoint.items() if key.startswith(prefix)}
    if not state:
        raise SourceError(
            "the checkpoint is not VideoCrafter2's",
            file=path,
            found=f"no weight under {prefix}",
            expected=f"{UNET}…, {VAE}… and {TEXT}…",
        )
    return state


def _levels(state: "Mapping[str, Tensor]") -> list[tuple[int, int, bool]]:
    """(channels, residual blocks, whether they attend) of each level of the UNet."""
    levels: list[tuple[int, int, bool]] = []
    count, channels, attends, index = 0, 0, False, 1
    while (
        f"input_blocks.{index}.0.in_layers.0.weight" in state or f"input_blocks.{index}.0.op.weight" in state
    ):
        if f"input_blocks.{index}.0.op.weight" in state:
            levels.append((channels, count, attends))
            count = 0
        else:
            channels = state[f"input_blocks.{index}.0.out_layers.3.weight"].shape[0]
            attends = f"input_blocks.{index}.1.proj_in.weight" in state
            count += 1
        index += 1
    levels.append((channels, count, attends))
    return levels


def _renamed(state: "Mapping[str, Tensor]", names: Mapping[str, str], path: Path) -> "dict[str, Tensor]":
    """`state` under the names of diffusers; 1×1 convolutions become the linear layers that they are."""
    missing = [key for key in names if key not in state]
    if missing:
        raise SourceError("the checkpoint lacks weights", file=path, found=", ".join(missing[:3]))
    flat = (
        "proj_in.weight",
        "proj_out.weight",
        "to_q.weight",
        "to_k.weight",
        "to_v.weight",
        "to_out.0.weight",
    )
    return {
        new: state[old].flatten(1) if new.endswith(flat) and state[old].ndim > 2 else state[old]
        for old, new in names.items()
    }


def _thirds(state: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """With `in_proj_weight` and `in_proj_bias` cut into those of query, key and value."""
    cut: dict[str, Tensor] = {}
    for key, value in state.items():
        stem, _, what = key.rpartition(".in_proj_")
        if stem:
            for name, part in zip(("q_proj", "k_proj", "v_proj"), value.chunk(3), strict=True):
                cut[f"{stem}.{name}.{what}"] = part.contiguous()
        else:
            cut[key] = value
    return cut


def _tell_fps(unet: Any, state: "Mapping[str, Tensor]", fps: int, path: Path) -> None:
    import torch
    from diffusers.models.embeddings import TimestepEmbedding

    name = "fps_embedding"
    needed = {f"{name}.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")}
    if missing := sorted(needed - set(state)):
        raise SourceError(
            "the checkpoint has no embedding of the frame rate", file=path, found=f"no {missing[0]}"
        )
    width, channels = state[f"{name}.0.weight"].shape
    embedding = TimestepEmbedding(channels, width)
    embedding.load_state_dict(
        {
            f"linear_{number}.{kind}": state[f"{name}.{layer}.{kind}"].float()
            for number, layer in ((1, 0), (2, 2))
            for kind in ("weight", "bias")
        }
    )
    with torch.no_grad():
        unet.time_embedding.linear_2.bias += embedding(unet.time_proj(torch.tensor([fps])))[0]
