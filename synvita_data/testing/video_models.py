"""Tiny Video LLMs and a CLIP, of the classes that the real ones have; a function for each family.

Each returns a model, with its weights as the constructor leaves them, and its processor. Frames have 28 pixels and
patches of 14 where `Sizes` says nothing else.
"""

from typing import Any

import transformers as hf

from ..errors import SynvitaError
from .sizes import Sizes
from .tokenizer import clip_tokenizer, llama_tokenizer, qwen_tokenizer

# A message with a video and a question as VideoCon and SynViTA write it.
VIDEO_LLAVA_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ 'USER: ' if message['role'] == 'user' else ' ASSISTANT: ' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% else %}{{ '<' ~ part['type'] ~ '>\\n' }}{% endif %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def qwen_chat_template(image: str, video: str) -> str:
    """Qwen's form of a conversation, with these placeholders for an image and a video."""
    return (
        "{% for message in messages %}{{ '<|im_start|>' ~ message['role'] ~ '\\n' }}"
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
        "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
        f"{{% elif part['type'] == 'image' %}}{image}{{% else %}}{video}{{% endif %}}"
        "{% endfor %}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )


QWEN_CHAT_TEMPLATE = qwen_chat_template(
    "<|vision_start|><|image_pad|><|vision_end|>", "<|vision_start|><|video_pad|><|vision_end|>"
)


def video_llava(sizes: Sizes) -> tuple[Any, Any]:
    """Video-LLaVA: CLIP's vision tower on each frame, `<video>` tokens with CLS in front of each frame, a Llama."""
    processor, tower, parts = _video_llava_parts(sizes)
    config = hf.VideoLlavaConfig(
        vision_config=hf.CLIPVisionConfig(**tower), vision_feature_select_strategy="default", **parts
    )
    return hf.VideoLlavaForConditionalGeneration(config), processor


def video_llava_original(sizes: Sizes) -> tuple[Any, Any]:
    """The original Video-LLaVA: as the other, with a tower that has attention over time and GELU."""
    from ..models import video_llava_original as original

    processor, tower, parts = _video_llava_parts(sizes)
    config = original.VideoLlavaOriginalConfig(
        video_config=original.VideoLlavaOriginalVideoConfig(num_frames=sizes.frames_together, **tower),
        **parts,
    )
    return original.VideoLlavaOriginalForConditionalGeneration(config), processor


def _video_llava_parts(sizes: Sizes) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Processor, keyword arguments of a tower, and those of the config that both Video-LLaVAs share."""
    image, patch = sizes.frame(28, 14)
    tokenizer = llama_tokenizer(["<image>", "<video>"])
    pixels = center_crop(image)
    processor = hf.VideoLlavaProcessor(
        image_processor=hf.VideoLlavaImageProcessor(**pixels),
        video_processor=hf.VideoLlavaVideoProcessor(**pixels),
        tokenizer=tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=VIDEO_LLAVA_CHAT_TEMPLATE,
    )
    parts = {
        "text_config": hf.LlamaConfig(num_key_value_heads=sizes.heads, **language_model(sizes, tokenizer)),
        "image_token_index": token_id(tokenizer, "<image>"),
        "video_token_index": token_id(tokenizer, "<video>"),
    }
    return processor, {"image_size": image, "patch_size": patch, **sizes.vision_model()}, parts


def llava_onevision(sizes: Sizes) -> tuple[Any, Any]:
    """LLaVA-OneVision: SigLIP on each frame, its patches pooled by two, a Qwen2."""
    image, patch = sizes.frame(28, 14)
    tokenizer = qwen_tokenizer(["<image>", "<video>"])
    size = {"height": image, "width": image}
    pinpoints = [[image, image], [image, 2 * image]]
    processor = hf.LlavaOnevisionProcessor(
        image_processor=hf.LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=pinpoints),
        video_processor=hf.LlavaOnevisionVideoProcessor(size=size),
        tokenizer=tokenizer,
        num_image_tokens=(image // patch) ** 2,
        vision_feature_select_strategy="full",
        chat_template=qwen_chat_template("<image>", "<video>"),
    )
    tower = hf.SiglipVisionConfig(
        image_size=image, patch_size=patch, vision_use_head=False, **sizes.vision_model()
    )
    config = hf.LlavaOnevisionConfig(
        vision_config=tower,
        text_config=hf.Qwen2Config(num_key_value_heads=sizes.kv_heads, **language_model(sizes, tokenizer)),
        image_token_index=token_id(tokenizer, "<image>"),
        video_token_index=token_id(tokenizer, "<video>"),
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        image_grid_pinpoints=pinpoints,
    )
    return hf.LlavaOnevisionForConditionalGeneration(config), processor


def qwen2_5_vl(sizes: Sizes) -> tuple[Any, Any]:
    """Qwen2.5-VL: a windowed vision tower at any resolution, frames in pairs, rotary positions in three parts.

    Frames have 56 pixels.
    """
    image, patch = sizes.frame(56, 14)
    tokenizer = qwen_tokenizer(_QWEN_SPECIAL)
    pixels = {**_qwen_patches(patch), "size": _pixels_between(image, 4)}
    processor = hf.Qwen2_5_VLProcessor(
        image_processor=hf.Qwen2VLImageProcessor(**pixels),
        video_processor=hf.Qwen2VLVideoProcessor(cap_pixels_per_frame=True, **pixels),
        tokenizer=tokenizer,
        chat_template=QWEN_CHAT_TEMPLATE,
    )
    parts = _qwen_config(
        sizes,
        tokenizer,
        patch,
        text={"rope_parameters": _rotary(sizes, 3 / 8)},
        vision={"window_size": 4 * patch, "fullatt_block_indexes": [sizes.vision_layers - 1]},
    )
    return hf.Qwen2_5_VLForConditionalGeneration(hf.Qwen2_5_VLConfig(**parts)), processor


def qwen3_vl(sizes: Sizes) -> tuple[Any, Any]:
    """Qwen3-VL: features of early vision layers join the language model, and frames carry their times as text.

    Frames have 64 pixels and patches of 16. The processor needs `video_metadata` (fps and frame indices) for the times.
    """
    image, patch = sizes.frame(64, 16)
    tokenizer = qwen_tokenizer(_QWEN_SPECIAL)
    patches = _qwen_patches(patch)
    processor = hf.Qwen3VLProcessor(
        image_processor=hf.Qwen2VLImageProcessor(size=_pixels_between(image, 4), **patches),
        # The video's limits count the pixels of all its frames together.
        video_processor=hf.Qwen3VLVideoProcessor(
            size=_pixels_between(image, 64), cap_pixels_per_frame=True, **patches
        ),
        tokenizer=tokenizer,
        chat_template=QWEN_CHAT_TEMPLATE,
    )
    parts = _qwen_config(
        sizes,
        tokenizer,
        patch,
        text={"rope_parameters": _rotary(sizes, 5 / 16), "head_dim": sizes.hidden_size // sizes.heads},
        vision={
            "num_position_embeddings": (image // patch) ** 2,
            "deepstack_visual_indexes": list(range(min(sizes.vision_layers, sizes.layers))),
        },
    )
    return hf.Qwen3VLForConditionalGeneration(hf.Qwen3VLConfig(**parts)), processor


def mplug_owl(sizes: Sizes) -> tuple[Any, Any]:
    """mPLUG-Owl: a ViT with a temporal step, an abstractor, a Llama; a video is 65 tokens whatever its length.

    As in the released model, `<unk>` pads, a prompt has at most 257 tokens, and the video's token is not a word.
    """
    from ..models import mplug_owl as owl

    image, patch = sizes.frame(28, 14)
    tokenizer = llama_tokenizer(pad="<unk>")
    tower = sizes.vision_model()
    config = owl.MplugOwlConfig(
        vision_config=owl.MplugOwlVisionConfig(image_size=image, patch_size=patch, **tower),
        # The released abstractor drops a tenth of its attention in training; here training repeats exactly.
        visual_abstractor_config=owl.MplugOwlVisualAbstractorConfig(
            encoder_hidden_size=sizes.vision_hidden_size, attention_probs_dropout_prob=0.0, **tower
        ),
        text_config=hf.LlamaConfig(
            num_key_value_heads=sizes.heads, **{**language_model(sizes, tokenizer), "pad_token_id": None}
        ),
    )
    processor = owl.MplugOwlProcessor(
        video_processor=owl.MplugOwlVideoProcessor(size={"height": image, "width": image}),
        tokenizer=tokenizer,
        tokens_per_video=config.tokens_per_video,
    )
    return owl.MplugOwlForConditionalGeneration(config), processor


def clip(sizes: Sizes) -> tuple[Any, Any]:
    """CLIP: an image tower and a text tower, for the baseline that compares frames with a caption by cosine.

    The text tower has CLIP's 77 positions, whatever `sizes.positions` says.
    """
    image, patch = sizes.frame(28, 14)
    tokenizer = clip_tokenizer()
    config = hf.CLIPConfig(
        text_config={**language_model(sizes, tokenizer), "max_position_embeddings": 77},
        vision_config={"image_size": image, "patch_size": patch, **sizes.vision_model()},
        projection_dim=sizes.hidden_size,
    )
    images = hf.CLIPImageProcessor(**center_crop(image))
    return hf.CLIPModel(config), hf.CLIPProcessor(image_processor=images, tokenizer=tokenizer)


def center_crop(image: int) -> dict[str, Any]:
    """Keyword arguments of CLIP's image processors: the shortest edge to `image` pixels, and the middle of the rest."""
    return {"size": {"shortest_edge": image}, "crop_size": {"height": image, "width": image}}


def language_model(sizes: Sizes, tokenizer: Any) -> dict[str, Any]:
    """Keyword arguments of a language model's config that follow from its sizes and its tokenizer."""
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    special = {name: getattr(tokenizer, name) for name in names}
    return {"vocab_size": len(tokenizer), **special, **sizes.language_model()}


def token_id(tokenizer: Any, token: str) -> Any:
    """The number of a token."""
    return tokenizer.convert_tokens_to_ids(token)


_QWEN_SPECIAL = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


def _qwen_patches(patch: int) -> dict[str, Any]:
    return {"patch_size": patch, "temporal_patch_size": 2, "merge_size": 2}


def _pixels_between(image: int, times: int) -> dict[str, int]:
    return {"shortest_edge": image**2, "longest_edge": times * image**2}


def _qwen_config(
    sizes: Sizes, tokenizer: Any, patch: int, *, text: dict[str, Any], vision: dict[str, Any]
) -> dict[str, Any]:
    """Keyword arguments of a config of either Qwen; `text` and `vision` are its own."""
    start, end, image, video = (token_id(tokenizer, token) for token in _QWEN_SPECIAL)
    tower = {
        "depth": sizes.vision_layers,
        "hidden_size": sizes.vision_hidden_size,
        "intermediate_size": sizes.vision_intermediate_size,
        "num_heads": sizes.vision_heads,
        "out_hidden_size": sizes.hidden_size,
        "patch_size": patch,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    return {
        "text_config": {
            "num_key_value_heads": sizes.kv_heads,
            **language_model(sizes, tokenizer),
            **text,
        },
        "vision_config": {**tower, **vision},
        "vision_start_token_id": start,
        "vision_end_token_id": end,
        "image_token_id": image,
        "video_token_id": video,
    }


def _rotary(sizes: Sizes, side_share: float) -> dict[str, Any]:
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
