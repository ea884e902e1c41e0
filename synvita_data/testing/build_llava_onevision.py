"""LLaVA-OneVision: SigLIP per frame, its patches pooled by two, a Qwen2."""

from typing import TYPE_CHECKING, Any

from .build_qwen2_5_vl import chat_template
from .sizes import Sizes
from .tokenizer import qwen_tokenizer

if TYPE_CHECKING:
    from transformers import LlavaOnevisionForConditionalGeneration, LlavaOnevisionProcessor


def build(sizes: Sizes) -> tuple["LlavaOnevisionForConditionalGeneration", "LlavaOnevisionProcessor"]:
    """Model (weights as the constructor leaves them) and processor; 28 px frames of 14 px patches."""
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessor,
        LlavaOnevisionProcessor,
        LlavaOnevisionVideoProcessor,
        Qwen2Config,
        SiglipVisionConfig,
    )

    image, patch = sizes.frame(28, 14)
    tokenizer = qwen_tokenizer(["<image>", "<video>"])
    ids: Any = tokenizer.convert_tokens_to_ids
    size = {"height": image, "width": image}
    pinpoints = [[image, image], [image, 2 * image]]
    processor = LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=pinpoints),
        video_processor=LlavaOnevisionVideoProcessor(size=size),
        tokenizer=tokenizer,
        num_image_tokens=(image // patch) ** 2,
        vision_feature_select_strategy="full",
        chat_template=chat_template("<image>", "<video>"),
    )
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(
            image_size=image, patch_size=patch, vision_use_head=False, **sizes.vision_model()
        ),
        text_config=Qwen2Config(
            vocab_size=len(tokenizer),
            num_key_value_heads=sizes.kv_heads,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **sizes.language_model(),
        ),
        image_token_index=ids("<image>"),
        video_token_index=ids("<video>"),
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        image_grid_pinpoints=pinpoints,
    )
    return LlavaOnevisionForConditionalGeneration(config), processor
