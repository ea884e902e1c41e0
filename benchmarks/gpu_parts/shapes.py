"""Models of released sizes with random weights, made on the device; and what they are asked."""

import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import AutoProcessor

from synvita_data.captions import Text
from synvita_data.models import AlignmentModel
from synvita_data.models.prompting import PromptTokens
from synvita_data.testing import make_tiny
from synvita_data.testing.tokenizer import EVERYDAY
from synvita_data.video.frames import Frames

VICUNA = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
}
CLIP_L = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "projection_dim": 768,
}


def captions(count: int, seed: int = 0) -> list[Text]:
    """Different captions of everyday words, 14 to 24 each: about 27 tokens behind the prefix."""
    rng = random.Random(seed)
    words = sorted({word.strip(".,") for sentence in EVERYDAY for word in sentence.split()})
    return [Text(" ".join(rng.choices(words, k=rng.randint(14, 24))) + ".") for _ in range(count)]


def clip(seed: int, frames: int = 8, side: int = 224) -> Frames:
    """Noise: what a frame shows is no matter here."""
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, side, side, 3), dtype=np.uint8)
    times = tuple(i / 2 for i in range(frames))
    return Frames(pixels, tuple(range(frames)), times, 2.0, "noise", "none")


@contextmanager
def made_on(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Modules made inside have their weights there, without a copy in main memory."""
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(torch.float32)


def tiny_processor(family: str, **sizes: int) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return AutoProcessor.from_pretrained(make_tiny(family, folder, **sizes))


def tiny_alignment(
    family: str, device: str, dtype: torch.dtype = torch.float32, **sizes: int
) -> AlignmentModel:
    """A tiny random model of a family; the same weights on every device, rounded to `dtype`."""
    from synvita_data.models import get_family

    with tempfile.TemporaryDirectory() as folder:
        make_tiny(family, folder, **sizes)
        model = get_family(family).network_class().from_pretrained(folder, dtype=dtype)
        processor = AutoProcessor.from_pretrained(folder)
    return AlignmentModel(model.to(device), processor).eval()


def seven_billion(family: str, device: str, small: bool) -> AlignmentModel:
    """Random bf16 weights in the shape of Video-LLaVA-7B, mPLUG-Owl-7B or Qwen2.5-VL-7B; tiny with `small`."""
    if small:
        return tiny_alignment(family, device)
    return {"video_llava": _video_llava, "mplug-owl": _mplug_owl, "qwen2_5_vl": _qwen2_5_vl}[family](device)


def frames_of(family: str, seed: int, small: bool) -> Frames:
    """A clip with as many frames as the family's default takes, of a size that its processor leaves alone."""
    count, side = {"video_llava": (8, 224), "mplug-owl": (32, 224), "qwen2_5_vl": (16, 448)}[family]
    return clip(seed, count, 28 if small else side)


def _video_llava(device: str) -> AlignmentModel:
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        VideoLlavaConfig,
        VideoLlavaForConditionalGeneration,
    )

    processor = tiny_processor("video_llava", image_size=224, patch_size=14, positions=4096)
    config = VideoLlavaConfig(
        vision_config=CLIPVisionConfig(image_size=224, **CLIP_L),
        text_config=LlamaConfig(vocab_size=32_064, pad_token_id=0, **VICUNA),
        image_token_index=processor.image_token_id,
        video_token_index=processor.video_token_id,
    )
    with made_on(device, torch.bfloat16):
        model = VideoLlavaForConditionalGeneration(config)
    return AlignmentModel(model, processor).eval()


def _mplug_owl(device: str) -> AlignmentModel:
    from transformers import LlamaConfig

    from synvita_data.models.mplug_owl import (
        MplugOwlConfig,
        MplugOwlForConditionalGeneration,
        MplugOwlVisionConfig,
        MplugOwlVisualAbstractorConfig,
    )

    processor = tiny_processor("mplug-owl", image_size=224, patch_size=14)
    config = MplugOwlConfig(
        vision_config=MplugOwlVisionConfig(),
        visual_abstractor_config=MplugOwlVisualAbstractorConfig(),
        text_config=LlamaConfig(vocab_size=32_000, **{**VICUNA, "max_position_embeddings": 2048}),
    )
    processor.tokens_per_video = config.tokens_per_video
    with made_on(device, torch.bfloat16):
        model = MplugOwlForConditionalGeneration(config)
    return AlignmentModel(model, processor).eval()


def _qwen2_5_vl(device: str) -> AlignmentModel:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    with tempfile.TemporaryDirectory() as folder:
        make_tiny("qwen2_5_vl", folder, image_size=448, patch_size=14)
        processor = AutoProcessor.from_pretrained(folder)
        tiny = Qwen2_5_VLConfig.from_pretrained(folder)
    # The library's defaults are those of the 7B model but for the sizes named here.
    text = {
        "vocab_size": 152_064,
        "hidden_size": 3584,
        "intermediate_size": 18_944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32_768,
        "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6},
    }
    vision = {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 3584,
    }
    tokens = {
        name: getattr(tiny, name)
        for name in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    }
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **tokens)
    with made_on(device, torch.bfloat16):
        model = Qwen2_5_VLForConditionalGeneration(config)
    return AlignmentModel(model, processor).eval()


def prompts_of(model: AlignmentModel, texts: Sequence[Text], video: Any) -> list[PromptTokens]:
    return [model.prompter.tokens(text, None, video) for text in texts]


def language_weights(model: AlignmentModel) -> int:
    """Weights that every token of the language model is multiplied with: embeddings and adapters left out."""
    return sum(
        weights.numel()
        for name, weights in model.family.language_model.named_parameters()
        if "embed_tokens" not in name and "lora_" not in name
    )


def attention_flop(model: AlignmentModel, prefix: int, branches: Sequence[int]) -> float:
    """Of both products of attention, in all layers, for a prefix and branches behind it: each token looks at itself
    and what is before it in the prefix and its own branch."""
    config = model.family.model.config.get_text_config(decoder=True)
    width = config.num_attention_heads * getattr(
        config, "head_dim", config.hidden_size // config.num_attention_heads
    )
    looks = prefix * (prefix + 1) / 2 + sum(n * prefix + n * (n + 1) / 2 for n in branches)
    return 4.0 * looks * width * config.num_hidden_layers
