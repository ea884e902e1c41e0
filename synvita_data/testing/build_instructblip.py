"""InstructBLIP: a vision tower, a Q-Former that reads the question too, a Flan-T5."""

from typing import TYPE_CHECKING, Any

from .build_clip_flant5 import t5_settings, untie_head
from .sizes import Sizes
from .vqa_tokenizers import bert_tokenizer, t5_tokenizer

if TYPE_CHECKING:
    from transformers import InstructBlipForConditionalGeneration, InstructBlipProcessor

QUERIES = 4


def build(sizes: Sizes) -> tuple["InstructBlipForConditionalGeneration", "InstructBlipProcessor"]:
    """Model (weights as the constructor leaves them) and processor; 28 px pictures of 14 px patches."""
    from transformers import (
        BlipImageProcessor,
        InstructBlipConfig,
        InstructBlipForConditionalGeneration,
        InstructBlipProcessor,
    )

    image, patch = sizes.frame(28, 14)
    tokenizer, qformer_tokenizer = t5_tokenizer(), bert_tokenizer()
    processor = InstructBlipProcessor(
        BlipImageProcessor(size={"height": image, "width": image}),
        tokenizer,
        qformer_tokenizer,
        num_query_tokens=QUERIES,
    )  # adds <image> to the tokenizer
    image_token: Any = tokenizer.convert_tokens_to_ids("<image>")
    vision = sizes.vision_model()
    config = InstructBlipConfig(
        vision_config={"image_size": image, "patch_size": patch, **vision},
        qformer_config={
            **vision,
            "encoder_hidden_size": sizes.vision_hidden_size,
            "vocab_size": len(qformer_tokenizer),
            "cross_attention_frequency": 2,
        },
        text_config={"model_type": "t5", "vocab_size": len(tokenizer), **t5_settings(sizes)},
        num_query_tokens=QUERIES,
        image_token_index=image_token,
    )
    model = InstructBlipForConditionalGeneration(config)
    untie_head(model.language_model)
    return model, processor
