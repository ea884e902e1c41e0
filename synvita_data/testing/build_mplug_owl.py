"""mPLUG-Owl: a ViT with a temporal step, an abstractor, a Llama; a video is 65 tokens whatever its length."""

from typing import TYPE_CHECKING

from .sizes import Sizes
from .tokenizer import llama_tokenizer

if TYPE_CHECKING:
    from ..models.mplug_owl import MplugOwlForConditionalGeneration, MplugOwlProcessor


def build(sizes: Sizes) -> tuple["MplugOwlForConditionalGeneration", "MplugOwlProcessor"]:
    """Model (weights as the constructor leaves them) and processor; 28 px frames of 14 px patches.

    As in the released model, `<unk>` pads, a prompt has at most 257 tokens, and the video's token is no word.
    """
    from transformers import LlamaConfig

    from ..models.mplug_owl import (
        MplugOwlConfig,
        MplugOwlForConditionalGeneration,
        MplugOwlProcessor,
        MplugOwlVideoProcessor,
        MplugOwlVisionConfig,
        MplugOwlVisualAbstractorConfig,
    )

    image, patch = sizes.frame(28, 14)
    tokenizer = llama_tokenizer(pad="<unk>")
    tower = sizes.vision_model()
    config = MplugOwlConfig(
        vision_config=MplugOwlVisionConfig(image_size=image, patch_size=patch, **tower),
        # The released abstractor drops a tenth of its attention in training; here training repeats exactly.
        visual_abstractor_config=MplugOwlVisualAbstractorConfig(
            encoder_hidden_size=sizes.vision_hidden_size, attention_probs_dropout_prob=0.0, **tower
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            num_key_value_heads=sizes.heads,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            **sizes.language_model(),
        ),
    )
    processor = MplugOwlProcessor(
        video_processor=MplugOwlVideoProcessor(size={"height": image, "width": image}),
        tokenizer=tokenizer,
        tokens_per_video=config.tokens_per_video,
    )
    return MplugOwlForConditionalGeneration(config), processor
