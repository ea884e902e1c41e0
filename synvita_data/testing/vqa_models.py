"""Tiny models of VQAScore: CLIP-FlanT5, InstructBLIP and LLaVA-1.5; a function for each, as in `video_models`.

No class of transformers reads CLIP-FlanT5's released checkpoints, so `ClipFlanT5` writes their layout: `config.json`
holds T5's settings and `mm_…` ones; the weights lie in `.bin` shards: T5's under their own names, CLIP's under
`vision_tower.vision_tower.vision_model.`, the projector's under `mm_projector.`.
"""

import json
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from torch import nn

from .sizes import Sizes
from .tokenizer import bert_tokenizer, llama_tokenizer, t5_tokenizer
from .video_models import center_crop, language_model, token_id

_QUERIES = 4  # of InstructBLIP's Q-Former
# Our names of CLIP-FlanT5's weights -> the released ones.
_LAYOUT = (
    ("t5.", ""),
    ("vision.vision_model.", "vision_tower.vision_tower.vision_model."),  # as older transformers name it
    ("vision.", "vision_tower.vision_tower.vision_model."),
    ("projector.", "mm_projector."),
)


class ClipFlanT5(nn.Module):
    """T5, CLIP's vision tower and the projector between them, to be saved; there is no forward."""

    def __init__(self, sizes: Sizes, vocabulary: int) -> None:
        super().__init__()
        image, patch = sizes.frame(28, 14)
        self.t5 = hf.T5ForConditionalGeneration(hf.T5Config(vocab_size=vocabulary, **_t5_settings(sizes)))
        _untie_head(self.t5)
        self.vision = hf.CLIPVisionModel(
            hf.CLIPVisionConfig(image_size=image, patch_size=patch, **sizes.vision_model())
        )
        self.projector = nn.Sequential(
            nn.Linear(sizes.vision_hidden_size, sizes.hidden_size),
            nn.GELU(),
            nn.Linear(sizes.hidden_size, sizes.hidden_size),
        )

    def save_pretrained(self, folder: Path, shards: int = 2, safetensors: bool = False) -> None:
        """Write it as the released checkpoints are written.

        Args:
            shards: over how many files; several have an index.
            safetensors: instead of `.bin`.
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


def clip_flant5(sizes: Sizes) -> tuple[ClipFlanT5, Any]:
    """CLIP-FlanT5, with its tokenizer in the place of a processor."""
    tokenizer = t5_tokenizer()
    return ClipFlanT5(sizes, len(tokenizer)), tokenizer


def instructblip(sizes: Sizes) -> tuple[Any, Any]:
    """InstructBLIP: a vision tower, a Q-Former that reads the question too, a Flan-T5."""
    image, patch = sizes.frame(28, 14)
    tokenizer, qformer_tokenizer = t5_tokenizer(), bert_tokenizer()
    processor = hf.InstructBlipProcessor(
        hf.BlipImageProcessor(size={"height": image, "width": image}),
        tokenizer,
        qformer_tokenizer,
        num_query_tokens=_QUERIES,
    )  # adds <image> to the tokenizer
    vision = sizes.vision_model()
    config = hf.InstructBlipConfig(
        vision_config={"image_size": image, "patch_size": patch, **vision},
        qformer_config={
            **vision,
            "encoder_hidden_size": sizes.vision_hidden_size,
            "vocab_size": len(qformer_tokenizer),
            "cross_attention_frequency": 2,
        },
        text_config={"model_type": "t5", "vocab_size": len(tokenizer), **_t5_settings(sizes)},
        num_query_tokens=_QUERIES,
        image_token_index=token_id(tokenizer, "<image>"),
    )
    model = hf.InstructBlipForConditionalGeneration(config)
    _untie_head(model.language_model)
    return model, processor


def llava(sizes: Sizes) -> tuple[Any, Any]:
    """LLaVA-1.5: CLIP's vision tower, a projector, a Llama."""
    image, patch = sizes.frame(28, 14)
    tokenizer = llama_tokenizer(["<image>"])
    processor = hf.LlavaProcessor(
        hf.CLIPImageProcessor(**center_crop(image)),
        tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(image_size=image, patch_size=patch, **sizes.vision_model()),
        text_config=hf.LlamaConfig(num_key_value_heads=sizes.heads, **language_model(sizes, tokenizer)),
        image_token_index=token_id(tokenizer, "<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=(image // patch) ** 2,
    )
    return hf.LlavaForConditionalGeneration(config), processor


def _t5_settings(sizes: Sizes) -> dict[str, Any]:
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


def _untie_head(t5: Any) -> None:
    """Give a T5 a head of its own, as Flan-T5 has: transformers ties it as it is constructed, whatever its settings."""
    t5.lm_head.weight = nn.Parameter(torch.empty_like(t5.shared.weight))


def _released(key: str) -> str:
    for ours, theirs in _LAYOUT:
        if key.startswith(ours):
            return theirs + key[len(ours) :]
    raise AssertionError(key)
