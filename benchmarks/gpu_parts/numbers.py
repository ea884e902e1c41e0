"""The same numbers on both devices: models tiny, so that a difference is rounding and nothing else."""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from scipy.stats import spearmanr
from torch.nn.attention import SDPBackend, sdpa_kernel

from synvita_data.builders.vqascore import find_model
from synvita_data.builders.vqascore.models import open_scorer
from synvita_data.captions import Text
from synvita_data.scoring import ScoringItem
from synvita_data.testing import FAMILIES, VQA_MODELS, make_tiny

from .figures import Figures
from .shapes import captions, clip, tiny_alignment

SAME = 1e-4  # log-odds in fp32, between devices and ways
FOLLOWS = 0.99  # rank correlation of a half precision with fp32
VIDEO_LLMS = tuple(name for name in FAMILIES if name != "clip")
# Wide enough that rounding averages out as in a real model; random weights keep activations near 1.
SCALED = {"hidden_size": 256, "intermediate_size": 688, "layers": 4, "vision_hidden_size": 128}
SCALED |= {"vision_intermediate_size": 512, "vision_layers": 4}
QUESTION = ("A dog runs along the beach.", "A cat runs along the beach.", "Nothing moves at all.")
BACKENDS = {
    "math": SDPBackend.MATH,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}


def run(figures: Figures) -> None:
    full_precision()
    for family in VIDEO_LLMS:
        with figures.step(f"{family}: devices"):
            devices_and_ways(figures, family)
    for family in VQA_MODELS:
        with figures.step(f"{family}: devices"):
            vqa_devices(figures, family)
    for family in VIDEO_LLMS:
        with figures.step(f"{family}: half precision"):
            half_precision(figures, family)
    for family in VQA_MODELS:
        with figures.step(f"{family}: half precision"):
            vqa_half_precision(figures, family)
    with figures.step("attention kernels"):
        kernels(figures)
    with figures.step("feature cache"):
        feature_cache(figures)
    with figures.step("gradients"):
        gradients(figures)


def full_precision() -> None:
    """fp32 that is fp32: no TF32 in products or convolutions."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def devices_and_ways(figures: Figures, family: str) -> None:
    """CPU against GPU in fp32, and on the GPU the three ways against each other; masked texts among them."""
    videos = [clip(seed, 4, 28) for seed in range(2)]
    texts = [*captions(4), Text(QUESTION[0], ((2, 5),)), Text(QUESTION[1], ((2, 5),))]
    asked = [texts] * len(videos)
    with torch.inference_mode():
        reference = tiny_alignment(family, "cpu")(videos, asked, strategy="plain").log_odds
        model = tiny_alignment(family, figures.device)
        found = {
            way: model(videos, asked, strategy=way).log_odds.cpu() for way in ("plain", "packed", "cached")
        }
    for way, scores in found.items():
        apart = float((scores - reference).abs().max())
        figures.add(f"{family}, {way}: fp32 log-odds, GPU - CPU", apart, "", SAME, at_most=True)
    spread = float(reference.std())
    figures.add(f"{family}: spread of these log-odds", spread, "std")


def half_precision(figures: Figures, family: str) -> None:
    """Order of 500 pairs in bf16 and fp16 against fp32 on the GPU, scored as the product would."""
    videos, texts = (3, 5) if figures.small else (20, 25)
    clips = [clip(100 + seed, 4, 28) for seed in range(videos)]
    asked = [captions(texts, seed=7)] * videos
    with torch.inference_mode():
        reference = tiny_alignment(family, figures.device, **SCALED)(clips, asked).log_odds.cpu()
        for dtype in (torch.bfloat16, torch.float16):
            name = f"{family}, {str(dtype)[6:]}: rank correlation with fp32, {videos * texts} pairs"
            if family == "mplug-owl" and dtype == torch.float16:  # refused by name: its tower overflows
                figures.add(name, "refused", "")
                continue
            scores = tiny_alignment(family, figures.device, dtype, **SCALED)(clips, asked).log_odds.cpu()
            _follows(figures, name, scores, reference)


def _follows(figures: Figures, name: str, scores: torch.Tensor, reference: torch.Tensor) -> None:
    rank = float(spearmanr(scores.numpy(), reference.numpy()).statistic)
    figures.add(name, rank, "", None if figures.small else FOLLOWS)
    distinct = len(torch.unique(scores)) / len(scores)
    figures.add(f"{name.split(':')[0]}: distinct scores", 100 * distinct, "%", None if figures.small else 95)


def vqa_log_probs(folder: Path, device: str, dtype: str, clips: Sequence[Any], asked: Sequence[str]) -> Any:
    """[videos, captions] mean log-probabilities of the answer, by the product's own scorer."""
    scorer: Any = open_scorer(find_model(str(folder)), dtype=dtype, device=device)
    for layer in scorer.model.modules():
        # As T5 draws its queries, since its attention divides by nothing: without this random attention is so
        # sharp that rounding decides where it looks. A power of two, so exact in every dtype.
        if type(layer).__name__ == "T5Attention":
            layer.q.weight.data.mul_(2.0 ** -round(math.log2(layer.key_value_proj_dim) / 2))
    found = [scorer.log_probs([scorer.prepare(frames, tuple(asked))])[0].mean((0, 2)) for frames in clips]
    return torch.stack(found).cpu()


def vqa_devices(figures: Figures, family: str) -> None:
    clips = [clip(seed, 4, 28) for seed in range(3)]
    with tempfile.TemporaryDirectory() as folder:
        made = make_tiny(family, folder)
        cpu = vqa_log_probs(made, "cpu", "float32", clips, QUESTION)
        gpu = vqa_log_probs(made, figures.device, "float32", clips, QUESTION)
    apart = float((gpu - cpu).abs().max())
    figures.add(f"{family}: fp32 log-probabilities, GPU - CPU", apart, "", SAME, at_most=True)


def vqa_half_precision(figures: Figures, family: str) -> None:
    videos, texts = (3, 5) if figures.small else (20, 25)
    clips = [clip(100 + seed, 4, 28) for seed in range(videos)]
    asked = [text.caption for text in captions(texts, seed=7)]
    with tempfile.TemporaryDirectory() as folder:
        made = make_tiny(family, folder, **SCALED)
        reference = vqa_log_probs(made, figures.device, "float32", clips, asked).flatten()
        for dtype in ("bfloat16", "float16"):
            name = f"{family}, {dtype}: rank correlation with fp32, {videos * texts} pairs"
            if dtype == "float16" and family != "llava":  # T5 overflows, and is refused by name
                figures.add(name, "refused", "")
                continue
            _follows(
                figures, name, vqa_log_probs(made, figures.device, dtype, clips, asked).flatten(), reference
            )


def kernels(figures: Figures) -> None:
    """Every kernel of torch's attention that takes these inputs gives the same; the others say so."""
    videos, asked = [clip(0, 8, 28)], [captions(12)]
    for dtype, allowed in ((torch.float32, SAME), (torch.bfloat16, None)):
        model = tiny_alignment("video_llava", figures.device, dtype, **SCALED)
        for way in ("packed", "cached"):
            with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH):
                reference = model(videos, asked, strategy=way).log_odds
            spread = float(reference.std())
            for name, backend in BACKENDS.items():
                label = f"attention kernel {name}, {way}, {str(dtype)[6:]}: log-odds, largest difference from math"
                try:
                    with torch.inference_mode(), sdpa_kernel(backend):
                        scores = model(videos, asked, strategy=way).log_odds
                except RuntimeError as error:
                    figures.add(label, f"not for these inputs ({str(error).splitlines()[0][:40]})")
                    continue
                apart = float((scores - reference).abs().max())
                figures.add(f"{label} (spread {spread:.2g})", apart, "", allowed, at_most=True)


def feature_cache(figures: Figures) -> None:
    """Features that a CPU wrote serve a GPU, and the other way round."""
    from synvita_data.models.features import FeatureCache, KnownVideo

    item = ScoringItem("one", "one", b"stands for a video's bytes", (Text(QUESTION[0]),), ("0",))
    frames, texts = clip(3, 4, 28), [captions(5)]
    for family in VIDEO_LLMS:
        models = {place: tiny_alignment(family, place) for place in dict.fromkeys(("cpu", figures.device))}
        for writer in models:
            for reader in models:
                with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
                    cache = FeatureCache(Path(folder), {"tower": family}, models[writer].family.cache_inputs)
                    key = cache.key(item)
                    cache.put(key, KnownVideo(models[writer].encode(frames), {}))
                    known = cache.get(key)
                    cache.close()
                    assert known is not None
                    scores = models[reader]([known.video], texts).log_odds.cpu()
                    reference = models["cpu"]([frames], texts).log_odds
                apart = float((scores - reference).abs().max())
                name = f"{family}: features written on {writer}, read on {reader}, log-odds - CPU"
                figures.add(name, apart, "", SAME, at_most=True)


def gradients(figures: Figures) -> None:
    """A LoRA step: GPU against CPU in fp32, and packed against plain on the GPU; bf16 by its angle to fp32."""
    from training_step import Step, fixed_texts, gradient, with_lora

    def step(device: str, way: str, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        model = with_lora(tiny_alignment("video_llava", device, dtype))
        videos = [model.prepare(clip(seed, 4, 28)) for seed in range(4)]
        getattr(Step(model, fixed_texts(), videos), way)()
        return gradient(model).float().cpu()

    reference = step("cpu", "plain")
    for name, found in (
        ("packed, GPU - plain, CPU", step(figures.device, "packed")),
        ("plain, GPU - plain, CPU", step(figures.device, "plain")),
    ):
        apart = float((found - reference).norm() / reference.norm())
        figures.add(f"gradients of a LoRA step: {name}, relative L2", apart, "", SAME, at_most=True)
    half = step(figures.device, "packed", torch.bfloat16)
    angle = float(torch.nn.functional.cosine_similarity(half, reference, dim=0))
    figures.add("gradients of a LoRA step: bf16 on the GPU, cosine with fp32 on the CPU", angle, "", 0.99)
