"""Qwen2.5-VL: a windowed vision tower at any resolution, frames in pairs, rotary positions in three parts."""

from typing import TYPE_CHECKING, Any

from ..errors import SynvitaError
from .sizes import Sizes
from .tokenizer import qwen_tokenizer

if TYPE_CHECKING:
    from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

SPECIAL = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


def chat_template(image: str, video: str) -> str:
    """Qwen's form of a conversation, with these placeholders for an image and a video."""
    return (
        "{% for message in messages %}{{ '<|im_start|>' ~ message['role'] ~ '\\n' }}"
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
        "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
        f"{{% elif part['type'] == 'image' %}}{image}{{% else %}}{video}{{% endif %}}"
        "{% endfor %}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )


QWEN_CHAT_TEMPLATE = chat_template(
    "<|vision_start|><|image_pad|><|vision_end|>", "<|vision_start|><|video_pad|><|vision_end|>"
)


def rotary(sizes: Sizes, side_share: float) -> dict[str, Any]:
    """Rotary settings whose sections (time, height, width) fill half a head; the sides take `side_share`.

    Raises:
        SynvitaError: a head is too small for three sections.
    """
    half = sizes.hidden_size // sizes.heads // 2
    side = max(int(half * side_share), 1)
    if half < 3:
        raise SynvitaError(
            "a head is too small for rotary positions in three parts",
            found=f"hidden_size {sizes.hidden_size} in {sizes.heads} heads",
            expected="at least 6 dimensions a head",
        )
    return {"rope_type": "default", "mrope_section": [half - 2 * side, side, side], "rope_theta": 10_000.0}


def build(sizes: Sizes) -> tuple["Qwen2_5_VLForConditionalGeneration", "Qwen2_5_VLProcessor"]:
    """Model (weights as the constructor leaves them) and processor; 56 px frames of 14 px patches."""
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    image, patch = sizes.frame(56, 14)
    tokenizer = qwen_tokenizer(SPECIAL)
    ids: Any = tokenizer.convert_tokens_to_ids
    pixels: dict[str, Any] = {
        "patch_size": patch,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "size": {"shortest_edge": image**2, "longest_edge": 4 * image**2},
    }
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**pixels),
        video_processor=Qwen2VLVideoProcessor(cap_pixels_per_frame=True, **pixels),
        tokenizer=tokenizer,
        chat_template=QWEN_CHAT_TEMPLATE,
    )
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "num_key_value_heads": sizes.kv_heads,
            "rope_parameters": rotary(sizes, 3 / 8),
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
            "window_size": 4 * patch,
            "fullatt_block_indexes": [sizes.vision_layers - 1],
        },
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
    )
    return Qwen2_5_VLForConditionalGeneration(config), processor
