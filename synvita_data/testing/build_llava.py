"""LLaVA-1.5: CLIP's vision tower, a projector, a Llama."""

from typing import TYPE_CHECKING, Any

from .sizes import Sizes
from .tokenizer import llama_tokenizer

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration, LlavaProcessor


def build(sizes: Sizes) -> tuple["LlavaForConditionalGeneration", "LlavaProcessor"]:
    """Model (weights as the constructor leaves them) and processor; 28 px pictures of 14 px patches."""
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    image, patch = sizes.frame(28, 14)
    tokenizer = llama_tokenizer(["<image>"])
    image_token: Any = tokenizer.convert_tokens_to_ids("<image>")
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": image}, crop_size={"height": image, "width": image}),
        tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=image, patch_size=patch, **sizes.vision_model()),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            num_key_value_heads=sizes.heads,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **sizes.language_model(),
        ),
        image_token_index=image_token,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=(image // patch) ** 2,
    )
    return LlavaForConditionalGeneration(config), processor
