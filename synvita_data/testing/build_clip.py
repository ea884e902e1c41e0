"""CLIP: a picture tower and a text tower, for the baseline that compares frames with a caption by cosine."""

from typing import TYPE_CHECKING

from .sizes import Sizes
from .tokenizer import clip_tokenizer

if TYPE_CHECKING:
    from transformers import CLIPModel, CLIPProcessor


def build(sizes: Sizes) -> tuple["CLIPModel", "CLIPProcessor"]:
    """Model (weights as the constructor leaves them) and processor; 28 px pictures of 14 px patches.

    The text tower has CLIP's 77 positions, whatever `sizes.positions` says.
    """
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    image, patch = sizes.frame(28, 14)
    tokenizer = clip_tokenizer()
    processor = CLIPProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": image}, crop_size={"height": image, "width": image}
        ),
        tokenizer=tokenizer,
    )
    config = CLIPConfig(
        text_config={
            **sizes.language_model(),
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 77,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={"image_size": image, "patch_size": patch, **sizes.vision_model()},
        projection_dim=sizes.hidden_size,
    )
    return CLIPModel(config), processor
