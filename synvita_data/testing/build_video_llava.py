"""Video-LLaVA: CLIP's vision tower per frame, a Llama, and `<video>` tokens with CLS in front of each frame."""

from typing import TYPE_CHECKING, Any

from .sizes import Sizes
from .tokenizer import llama_tokenizer

if TYPE_CHECKING:
    from transformers import VideoLlavaForConditionalGeneration, VideoLlavaProcessor

# What a user message with a video and a question becomes: the prompt of VideoCon and SynViTA.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ 'USER: ' if message['role'] == 'user' else ' ASSISTANT: ' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% else %}{{ '<' ~ part['type'] ~ '>\\n' }}{% endif %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def build(sizes: Sizes) -> tuple["VideoLlavaForConditionalGeneration", "VideoLlavaProcessor"]:
    """Model (weights as the constructor leaves them) and processor; 28 px frames of 14 px patches."""
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        VideoLlavaConfig,
        VideoLlavaForConditionalGeneration,
        VideoLlavaImageProcessor,
        VideoLlavaProcessor,
        VideoLlavaVideoProcessor,
    )

    image, patch = sizes.frame(28, 14)
    tokenizer = llama_tokenizer(["<image>", "<video>"])
    ids: Any = tokenizer.convert_tokens_to_ids
    pixels: dict[str, Any] = {
        "size": {"shortest_edge": image},
        "crop_size": {"height": image, "width": image},
    }
    processor = VideoLlavaProcessor(
        image_processor=VideoLlavaImageProcessor(**pixels),
        video_processor=VideoLlavaVideoProcessor(**pixels),
        tokenizer=tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
    config = VideoLlavaConfig(
        vision_config=CLIPVisionConfig(image_size=image, patch_size=patch, **sizes.vision_model()),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            num_key_value_heads=sizes.heads,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **sizes.language_model(),
        ),
        image_token_index=ids("<image>"),
        video_token_index=ids("<video>"),
        vision_feature_select_strategy="default",
    )
    return VideoLlavaForConditionalGeneration(config), processor
