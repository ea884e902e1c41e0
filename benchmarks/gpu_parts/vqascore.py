"""VQAScore at released sizes: both captions of a triplet on four frames, against one pair after the other."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    T5Config,
)

from synvita_data.builders.vqascore.base import FrameScorer, Prepared
from synvita_data.builders.vqascore.clip_flant5 import ClipFlanT5, ClipFlanT5Scorer
from synvita_data.builders.vqascore.llava import LlavaScorer
from synvita_data.testing.tokenizer import t5_tokenizer

from .figures import Figures, dense_rate, flop_of, peak_gib, seconds
from .shapes import CLIP_L, VICUNA, clip, made_on, tiny_processor

CAPTIONS = (
    "A young lady in a white shirt is riding a brown horse along the beach while a dog runs after her.",
    "A young lady in a white shirt is riding a black horse along the beach while a dog runs after her.",
)
T5_XL = {"d_model": 2048, "d_ff": 5120, "d_kv": 64, "num_heads": 32, "num_layers": 24}
FRAMES = 4


def run(figures: Figures) -> None:
    rate = dense_rate(figures)
    makers: dict[str, Callable[[str, bool], FrameScorer]] = {
        "CLIP-FlanT5-XL": clip_flant5,
        "LLaVA-1.5-7B": llava,
    }
    for name, make in makers.items():
        with figures.step(name), torch.inference_mode():
            compare(figures, name, make(figures.device, figures.small), rate)


def clip_flant5(device: str, small: bool) -> FrameScorer:
    tokenizer = t5_tokenizer()
    t5 = {"d_model": 64, "d_ff": 128, "d_kv": 16, "num_heads": 4, "num_layers": 2} if small else T5_XL
    tower = dict(CLIP_L, num_hidden_layers=2 if small else 24)
    config = T5Config(
        vocab_size=32_128,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
        mm_hidden_size=1024,
        mm_vision_select_layer=-2,
        **t5,
    )
    with made_on(device, torch.bfloat16):
        model = ClipFlanT5(config, CLIPVisionConfig(image_size=28 if small else 336, **tower))
        model.t5.lm_head.weight = nn.Parameter(0.02 * torch.randn_like(model.t5.shared.weight))
    return ClipFlanT5Scorer(model.eval().requires_grad_(False), tokenizer, "pad")


def llava(device: str, small: bool) -> FrameScorer:
    processor = tiny_processor("llava", image_size=28 if small else 336, patch_size=14, positions=4096)
    ids = cast(Any, processor.tokenizer.convert_tokens_to_ids)
    tower, text = dict(CLIP_L), dict(VICUNA)
    if small:
        tower["num_hidden_layers"] = 2
        text |= {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
        }
        text["num_key_value_heads"] = 4
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=28 if small else 336, **tower),
        text_config=LlamaConfig(vocab_size=32_064, **text),
        image_token_index=ids("<image>"),
        image_token_id=ids("<image>"),
    )
    with made_on(device, torch.bfloat16):
        model = LlavaForConditionalGeneration(config)
    return LlavaScorer(model.eval().requires_grad_(False), processor, "pad")


def compare(figures: Figures, name: str, scorer: FrameScorer, rate: float) -> None:
    frames = clip(0, FRAMES, 480)
    prepared = scorer.prepare(frames, CAPTIONS)
    rounds = 1 if figures.small else 5
    alone = [
        Prepared(prepared.images[n : n + 1], (question,))
        for question in prepared.questions
        for n in range(FRAMES)
    ]
    together = seconds(lambda: scorer.log_probs([prepared]), rounds, 2)
    apart = seconds(lambda: [scorer.log_probs([pair]) for pair in alone], rounds, 1)
    figures.add(f"{name}: both captions on {FRAMES} frames, the model", 1e3 * together, "ms/row")
    figures.add(f"{name}: rows a second, the model", 1 / together, "1/s")
    figures.add(f"{name}: pair by pair ({len(alone)} forwards)", 1e3 * apart, "ms/row")
    figures.add(f"{name}: faster than pair by pair", apart / together, "x")
    batch = [prepared] * 8
    batched = seconds(lambda: scorer.log_probs(batch), rounds, 1) / len(batch)
    figures.add(f"{name}: eight rows at once (`--batch-rows 8`)", 1e3 * batched, "ms/row")
    bound = flop_of(lambda: scorer.log_probs([prepared])) / rate
    figures.add(
        f"{name}: share of the bound of its own products ({1e3 * bound:.1f} ms)", 100 * bound / together, "%"
    )
    figures.add(f"{name}: the same with eight rows at once", 100 * bound / batched, "%")
    work = seconds(lambda: scorer.prepare(frames, CAPTIONS), rounds)
    figures.add(f"{name}: preprocessing of 4 frames of 480 px, one thread of the CPU", 1e3 * work, "ms/row")
    figures.add(f"{name}: peak memory, model included", peak_gib(lambda: scorer.log_probs([prepared])), "GiB")
    one, other = scorer.log_probs([prepared])[0], scorer.log_probs(batch)[0]
    figures.add(
        f"{name}: largest difference of log-probabilities, eight rows - one", float((one - other).abs().max())
    )
    figures.profile(f"vqascore-{name}", lambda: scorer.log_probs([prepared]))
