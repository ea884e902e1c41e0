"""Tiny folders as the paper's models are released: the original Video-LLaVA and mPLUG-Owl, and LoRA on each.

Names, settings and forms are written down here a second time, from docs and not from the converters, so that a
converter that names a weight wrongly meets a file that does not have it.

    base = write_video_llava(folder / "Video-LLaVA-7B")
    lora = write_video_llava_lora(folder / "lora", nested="checkpoint-5181")

Weights are random, follow from `seed`, and are wide enough to matter. Towers have heads of 64 dimensions, as CLIP's.
"""

import json
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import torch
from small_sentencepiece import train
from torch import Tensor

WIDTH, INNER, LAYERS, HEADS = 32, 64, 2, 4  # of the language model
TOWER = {"hidden": 64, "inner": 64, "layers": 2, "image": 28, "patch": 14, "frames": 8}
RANK, ALPHA = 4, 8
LLAMA_LINEARS = {
    "self_attn.q_proj": (WIDTH, WIDTH),
    "self_attn.k_proj": (WIDTH, WIDTH),
    "self_attn.v_proj": (WIDTH, WIDTH),
    "self_attn.o_proj": (WIDTH, WIDTH),
    "mlp.gate_proj": (INNER, WIDTH),
    "mlp.up_proj": (INNER, WIDTH),
    "mlp.down_proj": (WIDTH, INNER),
}
VICUNA = "lmsys/vicuna-7b-v1.5"  # which the released adapter names, and which is not what it is evaluated on


@cache
def sentencepiece_model() -> Path:
    """`tokenizer.model` of LLaMA's kind, toy, trained once a process."""
    return train(Path(mkdtemp(prefix="sentencepiece-")))


@cache
def vocabulary() -> int:
    """How many pieces it has."""
    from sentencepiece import SentencePieceProcessor

    return int(SentencePieceProcessor(model_file=str(sentencepiece_model())).get_piece_size())


class _Random:
    """Weights from a seed, each by its name: another weight beside it changes none."""

    def __init__(self, seed: int, dtype: torch.dtype) -> None:
        self.seed, self.dtype = seed, dtype

    def matrix(self, name: str, *shape: int, scale: float | None = None) -> Tensor:
        generator = torch.Generator().manual_seed(
            self.seed * 1_000_003 + sum(map(ord, name)) * 31 + len(name)
        )
        fan_in = torch.Size(shape).numel() // shape[0]
        return (torch.randn(*shape, generator=generator) * (scale or fan_in**-0.5)).to(self.dtype)

    def gain(self, name: str, width: int) -> Tensor:
        return (1 + 0.1 * self.matrix(name, width, scale=1.0).float()).to(self.dtype)

    def small(self, name: str, width: int) -> Tensor:
        return self.matrix(name, width, scale=0.1)


def _norm(random: _Random, name: str, width: int) -> dict[str, Tensor]:
    return {
        f"{name}.weight": random.gain(f"{name}.weight", width),
        f"{name}.bias": random.small(f"{name}.bias", width),
    }


def _linear(random: _Random, name: str, out: int, into: int) -> dict[str, Tensor]:
    return {
        f"{name}.weight": random.matrix(f"{name}.weight", out, into),
        f"{name}.bias": random.small(f"{name}.bias", out),
    }


def tower_state(seed: int = 0, *, time: bool, dtype: torch.dtype = torch.bfloat16) -> dict[str, Tensor]:
    """A LanguageBind vision tower under CLIP's names, with attention over time or without."""
    random = _Random(seed + (7 if time else 0), dtype)
    width, patches = TOWER["hidden"], (TOWER["image"] // TOWER["patch"]) ** 2
    state = {
        "embeddings.class_embedding": random.matrix("class", width, scale=1.0),
        "embeddings.patch_embedding.weight": random.matrix("patch", width, 3, TOWER["patch"], TOWER["patch"]),
        "embeddings.position_embedding.weight": random.matrix("position", patches + 1, width, scale=0.5),
        **_norm(random, "pre_layrnorm", width),
        **_norm(random, "post_layernorm", width),
    }
    for number in range(TOWER["layers"]):
        layer = f"encoder.layers.{number}"
        attentions = ["self_attn", "temporal_attn"] if time else ["self_attn"]
        norms = (
            ["layer_norm1", "layer_norm2", "temporal_layer_norm1"] if time else ["layer_norm1", "layer_norm2"]
        )
        for name in attentions:
            for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                state |= _linear(random, f"{layer}.{name}.{part}", width, width)
        for name in norms:
            state |= _norm(random, f"{layer}.{name}", width)
        state |= _linear(random, f"{layer}.mlp.fc1", TOWER["inner"], width)
        state |= _linear(random, f"{layer}.mlp.fc2", width, TOWER["inner"])
        if time:
            state[f"{layer}.temporal_embedding"] = random.matrix(
                f"{layer}.time", 1, TOWER["frames"], width, scale=0.5
            )
    return state


def llama_state(seed: int, prefix: str, dtype: torch.dtype = torch.bfloat16) -> dict[str, Tensor]:
    """A LLaMA with its head and old rotary buffers; names begin with `prefix` (`model.` or `language_model.model.`)."""
    random = _Random(seed + 13, dtype)
    state = {
        f"{prefix}embed_tokens.weight": random.matrix("embed", vocabulary(), WIDTH),
        f"{prefix}norm.weight": random.gain("norm", WIDTH),
        f"{prefix.removesuffix('model.')}lm_head.weight": random.matrix(
            "head", vocabulary(), WIDTH, scale=0.5
        ),
    }
    for number in range(LAYERS):
        layer = f"{prefix}layers.{number}"
        for name, shape in LLAMA_LINEARS.items():
            state[f"{layer}.{name}.weight"] = random.matrix(f"{number}{name}", *shape)
        for name in ("input_layernorm", "post_attention_layernorm"):
            state[f"{layer}.{name}.weight"] = random.gain(f"{number}{name}", WIDTH)
        state[f"{layer}.self_attn.rotary_emb.inv_freq"] = torch.ones(WIDTH // HEADS // 2)
    return state


def video_llava_state(seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> dict[str, Tensor]:
    """The state dict of the original `LlavaLlamaForCausalLM` with both towers loaded, by its own names."""
    random = _Random(seed + 29, dtype)
    state = llama_state(seed, "model.", dtype)
    state |= _linear(random, "model.mm_projector.0", WIDTH, TOWER["hidden"])
    state |= _linear(random, "model.mm_projector.2", WIDTH, WIDTH)
    for kind in ("video", "image"):
        tower = tower_state(seed, time=kind == "video", dtype=dtype)
        state |= {f"model.{kind}_tower.{kind}_tower.{name}": tensor for name, tensor in tower.items()}
    return state


def save_state(
    folder: Path,
    state: Mapping[str, Tensor],
    form: str = "safetensors",
    shards: int = 2,
    stem: str | None = None,
) -> None:
    """Weights as the Hub has them: in files of the usual names, with their index where there are several.

    Args:
        form: `safetensors` or `bin`.
        shards: number of files.
        stem: None for `model` or `pytorch_model`.
    """
    from safetensors.torch import save_file

    stem = stem or {"safetensors": "model", "bin": "pytorch_model"}[form]
    names, places = sorted(state), {}
    for number in range(shards):
        own = {name: state[name].contiguous() for name in names[number::shards]}
        file = f"{stem}.{form}" if shards == 1 else f"{stem}-{number + 1:05}-of-{shards:05}.{form}"
        if form == "bin":
            torch.save(own, folder / file)
        else:
            save_file(own, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(own, file)
    if shards > 1:
        size = sum(tensor.nbytes for tensor in state.values())
        _json(folder / f"{stem}.{form}.index.json", {"metadata": {"total_size": size}, "weight_map": places})


def write_tokenizer(folder: Path, **settings: object) -> None:
    """`tokenizer.model`, and `tokenizer_config.json` with these settings."""
    shutil.copy(sentencepiece_model(), folder / "tokenizer.model")
    _json(folder / "tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer", **settings})


def write_video_llava(
    folder: Path,
    *,
    seed: int = 0,
    form: str = "safetensors",
    shards: int = 2,
    dtype: torch.dtype = torch.bfloat16,
    **changes: Tensor | None,
) -> Path:
    """`LanguageBind/Video-LLaVA-7B` in small: `model_type` is `llava`, and both towers lie in the shards.

    Args:
        form, shards: see `save_state`.
        changes: weights to replace by name, or to leave out (None).
    """
    folder.mkdir(parents=True)
    state = video_llava_state(seed, dtype) | changes
    save_state(folder, {name: each for name, each in state.items() if each is not None}, form, shards)
    _json(folder / "config.json", video_llava_config())
    _json(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})
    write_tokenizer(folder, legacy=False, add_bos_token=True, add_eos_token=False, model_max_length=2048)
    return folder


def video_llava_config(**changes: object) -> dict[str, object]:
    """Its `config.json`, with the fields of the released one."""
    return {
        "_name_or_path": VICUNA,
        "architectures": ["LlavaLlamaForCausalLM"],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "freeze_mm_mlp_adapter": False,
        "hidden_act": "silu",
        "hidden_size": WIDTH,
        "image_aspect_ratio": "pad",
        "image_grid_pinpoints": None,
        "initializer_range": 0.02,
        "intermediate_size": INNER,
        "max_position_embeddings": 4096,
        "mm_hidden_size": TOWER["hidden"],
        "mm_image_tower": "LanguageBind/LanguageBind_Image",
        "mm_projector_type": "mlp2x_gelu",
        "mm_use_im_patch_token": False,
        "mm_use_im_start_end": False,
        "mm_video_tower": "LanguageBind/LanguageBind_Video_merge",
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2,
        "model_type": "llava",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": HEADS,
        "pad_token_id": 0,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.31.0",
        "tune_mm_mlp_adapter": False,
        "use_cache": True,
        "vocab_size": vocabulary(),
        **changes,
    }


def write_language_bind(
    folder: Path, *, seed: int = 0, dtype: torch.dtype = torch.float32, **changes: object
) -> Path:
    """`LanguageBind/LanguageBind_Video_merge` in small: the video tower inside a CLIP, one `.bin`.

    Args:
        seed: with that of a base, its video tower.
        changes: fields of `vision_config`.
    """
    folder.mkdir(parents=True)
    state = tower_state(seed, time=True, dtype=torch.bfloat16)
    state = {f"vision_model.{name}": tensor.to(dtype) for name, tensor in state.items()}
    state["vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    state["text_model.final_layer_norm.weight"] = torch.ones(8)
    state["logit_scale"] = torch.tensor(4.6)
    save_state(folder, state, "bin", 1)
    vision = {
        "hidden_size": TOWER["hidden"],
        "intermediate_size": TOWER["inner"],
        "num_hidden_layers": TOWER["layers"],
        "num_attention_heads": TOWER["hidden"] // 64,
        "image_size": TOWER["image"],
        "patch_size": TOWER["patch"],
        "projection_dim": 16,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-05,
        "add_time_attn": True,
        "num_frames": TOWER["frames"],
        "force_patch_dropout": 0.0,
        **changes,
    }
    _json(folder / "config.json", {"model_type": "LanguageBindVideo", "vision_config": vision})
    return folder


def lora_state(
    prefix: str, seed: int = 0, rank: int = RANK, dtype: torch.dtype = torch.float32, adapter: str = ""
) -> dict[str, Tensor]:
    """LoRA on all seven kinds of layers of the LLaMA, B not zero.

    Args:
        prefix: of names, up to `layers.`.
        adapter: `default.` where its name is in the keys.
    """
    random = _Random(seed + 41, dtype)
    state = {}
    for number in range(LAYERS):
        for name, (out, into) in LLAMA_LINEARS.items():
            module = f"{prefix}layers.{number}.{name}"
            state[f"{module}.lora_A.{adapter}weight"] = random.matrix(f"{number}{name}A", rank, into)
            state[f"{module}.lora_B.{adapter}weight"] = random.matrix(
                f"{number}{name}B", out, rank, scale=0.3
            )
    return state


def adapter_config(**changes: object) -> dict[str, object]:
    """`adapter_config.json` as peft 0.4.0 leaves it: the targets are bare names, the base is Vicuna."""
    return {
        "auto_mapping": None,
        "base_model_name_or_path": VICUNA,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "layers_pattern": None,
        "layers_to_transform": None,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.05,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": RANK,
        "revision": None,
        "target_modules": ["q_proj", "up_proj", "o_proj", "k_proj", "gate_proj", "v_proj", "down_proj"],
        "task_type": "CAUSAL_LM",
        **changes,
    }


def write_video_llava_lora(
    folder: Path,
    *,
    seed: int = 0,
    form: str = "bin",
    nested: str | None = None,
    beside: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float32,
    settings: Mapping[str, object] | None = None,
    **changes: Tensor | None,
) -> Path:
    """SynViTA's LoRA as LLaVA's trainer and peft 0.4.0 leave it.

    Args:
        form: of `adapter_model`: `bin` or `safetensors`.
        nested: name of a folder inside that it lies in.
        beside: what `non_lora_trainables.bin` holds; {} as in the release, as far as is known; None for no file.
        settings: fields of `adapter_config.json` to change.
        changes: weights to replace by name, or to leave out (None).
    """
    place = folder / nested if nested else folder
    place.mkdir(parents=True)
    state = lora_state("base_model.model.model.", seed, dtype=dtype) | changes
    save_state(place, {k: v for k, v in state.items() if v is not None}, form, 1, stem="adapter_model")
    _json(place / "adapter_config.json", adapter_config(**(settings or {})))
    _json(place / "config.json", video_llava_config())
    if beside is not None:
        torch.save(dict(beside), place / "non_lora_trainables.bin")
    _json(place / "trainer_state.json", {"global_step": 5181})
    return folder


def owl_state(seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> dict[str, Tensor]:
    """mPLUG-Owl's state dict: our class has the released names (tests/mplug_owl/ holds it to the original)."""
    from synvita_data.testing import construct
    from synvita_data.testing.sizes import Sizes

    model, _ = construct(_owl, Sizes.of(hidden_size=WIDTH, intermediate_size=INNER), seed)
    state = {name: tensor.detach().to(dtype) for name, tensor in model.state_dict().items()}
    for number in range(LAYERS):
        name = f"language_model.model.layers.{number}.self_attn.rotary_emb.inv_freq"
        state[name] = torch.ones(WIDTH // HEADS // 2)
    return state


def _owl(sizes):
    """The tiny mPLUG-Owl with the vocabulary of `tokenizer.model`."""
    from synvita_data.models import mplug_owl as owl
    from synvita_data.testing import video_models

    config = video_models.mplug_owl(sizes)[0].config
    config.text_config.vocab_size = vocabulary()
    return owl.MplugOwlForConditionalGeneration(config), None


def write_mplug_owl(folder: Path, *, seed: int = 0) -> Path:
    """`MAGAer13/mplug-owl-llama-7b-video` in small: one `.bin` in bf16, old settings, `tokenizer.model` alone."""
    folder.mkdir(parents=True)
    from synvita_data.testing.sizes import Sizes

    with torch.device("meta"):
        config = _owl(Sizes.of(hidden_size=WIDTH, intermediate_size=INNER))[0].config
    save_state(folder, owl_state(seed), "bin", 1)
    raw = config.to_dict() | {"torch_dtype": "bfloat16", "transformers_version": "4.28.1"}
    raw.pop("dtype", None)
    _json(folder / "config.json", json.loads(json.dumps(raw, default=str)))
    _json(folder / "preprocessor_config.json", {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.25] * 3})
    write_tokenizer(folder, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>")
    return folder


def write_mplug_owl_lora(
    folder: Path,
    *,
    seed: int = 0,
    base_seed: int = 0,
    form: str = "whole",
    nested: str | None = None,
    prefix: str = "",
    settings: Mapping[str, object] | None = None,
) -> Path:
    """VideoCon's or SynViTA's LoRA on mPLUG-Owl, in the forms that a release may have.

    Args:
        base_seed: of the base, of which the trainer's file has a copy.
        form: `whole` (the trainer's one `pytorch_model.bin`), `sharded` (the same in two files), `safetensors` or
            `bin` (an adapter alone, with its settings).
        nested: name of a folder inside that it lies in.
        prefix: in front of all names, such as torch.compile's `_orig_mod.`.
        settings: fields of `adapter_config.json` to change.
    """
    place = folder / nested if nested else folder
    place.mkdir(parents=True)
    whole = form in ("whole", "sharded")
    lora = lora_state(
        "base_model.model.language_model.model.",
        seed,
        dtype=torch.bfloat16,
        adapter="default." if whole else "",
    )
    if whole:
        state = {f"base_model.model.{name}": tensor for name, tensor in owl_state(base_seed).items()}
        wrapped = {key.partition(".lora_")[0] for key in lora}
        for module in wrapped:  # as peft 0.10 names what it wraps
            state[f"{module}.base_layer.weight"] = state.pop(f"{module}.weight")
        save_state(
            place, {prefix + k: v for k, v in (state | lora).items()}, "bin", 1 if form == "whole" else 2
        )
    else:
        save_state(place, {prefix + k: v for k, v in lora.items()}, form, 1, stem="adapter_model")
        targets = r".*language_model.*\.(q_proj|v_proj|k_proj|o_proj|gate_proj|down_proj|up_proj)"
        named = {"base_model_name_or_path": "/leonardo/models/mplug-owl", "target_modules": targets}
        _json(place / "adapter_config.json", adapter_config(**{**named, **(settings or {})}))
    return folder


def _json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2))
