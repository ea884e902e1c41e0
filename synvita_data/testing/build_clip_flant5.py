"""CLIP-FlanT5 in the layout of its released checkpoints, which no class of transformers reads.

`config.json` holds T5's settings and `mm_…` ones; the weights lie in `.bin` shards: T5's under their own names, CLIP's
under `vision_tower.vision_tower.vision_model.`, the projector's under `mm_projector.`.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .sizes import Sizes
from .vqa_tokenizers import t5_tokenizer

if TYPE_CHECKING:
    from transformers import T5Tokenizer

_LAYOUT = (
    ("t5.", ""),
    ("vision.vision_model.", "vision_tower.vision_tower.vision_model."),  # as older transformers name it
    ("vision.", "vision_tower.vision_tower.vision_model."),
    ("projector.", "mm_projector."),
)


class Parts(nn.Module):
    """T5, CLIP's vision tower and the projector between them, to be saved; there is no forward."""

    def __init__(self, sizes: Sizes, vocabulary: int) -> None:
        super().__init__()
        from transformers import CLIPVisionConfig, CLIPVisionModel, T5Config, T5ForConditionalGeneration

        image, patch = sizes.frame(28, 14)
        self.t5 = T5ForConditionalGeneration(T5Config(vocab_size=vocabulary, **t5_settings(sizes)))
        untie_head(self.t5)
        self.vision = CLIPVisionModel(
            CLIPVisionConfig(image_size=image, patch_size=patch, **sizes.vision_model())
        )
        self.projector = nn.Sequential(
            nn.Linear(sizes.vision_hidden_size, sizes.hidden_size),
            nn.GELU(),
            nn.Linear(sizes.hidden_size, sizes.hidden_size),
        )

    def save_pretrained(self, folder: Path, shards: int = 2, safetensors: bool = False) -> None:
        """Write it as the released checkpoints are written.

        Args:
            shards: over how many files; several have an index. safetensors: instead of `.bin`.
        """
        settings: dict[str, Any] = {
            **self.t5.config.to_dict(),
            "model_type": "t5",
            "architectures": ["CLIPT5ForConditionalGeneration"],
            "mm_vision_tower": "vision_tower",  # released ones name CLIP on the Hub
            "mm_hidden_size": self.vision.config.hidden_size,
            "mm_projector_type": "mlp2x_gelu",
            "mm_vision_select_layer": -2,
            "mm_vision_select_feature": "patch",
        }
        (folder / "config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
        self.vision.config.save_pretrained(folder / "vision_tower")
        weights = {_released(key): tensor.clone() for key, tensor in self.state_dict().items()}
        stem, suffix = ("model", "safetensors") if safetensors else ("pytorch_model", "bin")
        where: dict[str, str] = {}
        for shard in range(shards):
            file = f"{stem}.{suffix}" if shards == 1 else f"{stem}-{shard + 1:05d}-of-{shards:05d}.{suffix}"
            part = {key: weights[key] for key in sorted(weights)[shard::shards]}
            where |= dict.fromkeys(part, file)
            if safetensors:
                from safetensors.torch import save_file

                save_file(part, folder / file, metadata={"format": "pt"})
            else:
                torch.save(part, folder / file)
        if shards > 1:
            index = {"metadata": {}, "weight_map": where}
            (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps(index, sort_keys=True))


def build(sizes: Sizes) -> tuple[Parts, "T5Tokenizer"]:
    """Parts (weights as the constructors leave them) and tokenizer; 28 px frames of 14 px patches."""
    tokenizer = t5_tokenizer()
    return Parts(sizes, len(tokenizer)), tokenizer


def t5_settings(sizes: Sizes) -> dict[str, Any]:
    """Keyword arguments of a `T5Config` like Flan-T5's: gated, its head its own."""
    return {
        "d_model": sizes.hidden_size,
        "d_kv": sizes.hidden_size // sizes.heads,
        "d_ff": sizes.intermediate_size,
        "num_layers": sizes.layers,
        "num_heads": sizes.heads,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
        "eos_token_id": 1,
    }


def untie_head(t5: Any) -> None:
    """Give a T5 a head of its own, as Flan-T5 has: transformers ties it as it is constructed, whatever its settings."""
    t5.lm_head.weight = nn.Parameter(torch.empty_like(t5.shared.weight))


def _released(key: str) -> str:
    for ours, theirs in _LAYOUT:
        if key.startswith(ours):
            return theirs + key[len(ours) :]
    raise AssertionError(key)
