"""Qwen3-VL: features of early vision layers join the language model, and frames carry timestamps as text."""

from typing import TYPE_CHECKING, Any

from .build_qwen2_5_vl import QWEN_CHAT_TEMPLATE, SPECIAL, rotary
from .sizes import Sizes
from .tokenizer import qwen_tokenizer

if TYPE_CHECKING:
    from transformers import Qwen3VLForConditionalGeneration, Qwen3VLProcessor


def build(sizes: Sizes) -> tuple["Qwen3VLForConditionalGeneration", "Qwen3VLProcessor"]:
    """Model (weights as the constructor leaves them) and processor; 64 px frames of 16 px patches.

    The processor needs `video_metadata` (fps and frame indices) for the timestamps.
    """
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    image, patch = sizes.frame(64, 16)
    tokenizer = qwen_tokenizer(SPECIAL)
    ids: Any = tokenizer.convert_tokens_to_ids
    common: dict[str, Any] = {"patch_size": patch, "temporal_patch_size": 2, "merge_size": 2}
    # The video's limits count the pixels of all its frames together.
    video_size = {"shortest_edge": image**2, "longest_edge": 64 * image**2}
    processor = Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(
            size={"shortest_edge": image**2, "longest_edge": 4 * image**2}, **common
        ),
        video_processor=Qwen3VLVideoProcessor(size=video_size, cap_pixels_per_frame=True, **common),
        tokenizer=tokenizer,
        chat_template=QWEN_CHAT_TEMPLATE,
    )
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "num_key_value_heads": sizes.kv_heads,
            "head_dim": sizes.hidden_size // sizes.heads,
            "rope_parameters": rotary(sizes, 5 / 16),
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            **sizes.language_model(),
        },
        vision_config={
            "depth": sizes.vision_layers,
            "hidden_size": sizes.vision_hidden_size,
            "intermediate_size": sizes.vision_intermediate_size,
            "num_heads": sizes.vision_heads,
            "out_hidden_size": sizes.hidden_size,
            "patch_size": patch,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "num_position_embeddings": (image // patch) ** 2,
            "deepstack_visual_indexes": list(range(min(sizes.vision_layers, sizes.layers))),
        },
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
    )
    return Qwen3VLForConditionalGeneration(config), processor
