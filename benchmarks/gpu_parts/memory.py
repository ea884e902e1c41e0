"""Under a cap of the GPU's memory: scoring halves its rows and goes on with the same numbers; training says what to set."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from synvita_data.builders.vqascore import find_model
from synvita_data.builders.vqascore.base import MemoryLimit, log_probs_that_fit
from synvita_data.builders.vqascore.models import open_scorer
from synvita_data.errors import SynvitaError
from synvita_data.scoring import ScoringItem
from synvita_data.testing import make_tiny

from .figures import Figures, free_memory, peak_gib
from .scoring import FromMemory
from .shapes import captions, clip, tiny_alignment

SIZES = {"hidden_size": 1024, "intermediate_size": 2752, "layers": 8, "heads": 16, "positions": 8192}
SAME = 1e-4


def run(figures: Figures) -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    with figures.step("scoring under a cap"):
        scoring(figures)
    with figures.step("VQAScore under a cap"):
        vqascore(figures)
    with figures.step("training under a cap"):
        training(figures)


@contextmanager
def capped(gib: float, network: Any, tokens: int) -> Iterator[None]:
    """This process may have no more of the GPU's memory; without a GPU, `network` refuses longer rows than `tokens`."""
    if torch.cuda.is_available():
        free_memory()
        total = torch.cuda.get_device_properties(0).total_memory / 2**30
        torch.cuda.set_per_process_memory_fraction(min(gib / total, 1.0))
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
            free_memory()
        return

    def refuse(module: Any, given: Any, named: Any) -> None:
        found = named.get("inputs_embeds", named.get("input_ids"))
        if found is not None and found.shape[0] * found.shape[1] > tokens:
            raise torch.OutOfMemoryError("out of memory, by this script")

    hook = network.register_forward_pre_hook(refuse, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def scoring(figures: Figures) -> None:
    """A thousand captions of one video, in rows of 16,384 tokens where there is room."""
    model = tiny_alignment("video_llava", figures.device, **({} if figures.small else SIZES))
    texts = tuple(captions(60 if figures.small else 1000))
    item = ScoringItem("0", "0", b"", texts, tuple(str(n) for n in range(len(texts))))
    rows = 1024 if figures.small else 16_384

    def score() -> tuple[Any, int]:
        scorer = FromMemory(model, [model.prepare(clip(0, 8, 28))], branch_tokens=rows)
        (found,) = scorer.score([item])
        assert found.scores is not None, found.error
        return torch.from_numpy(found.scores), scorer._branch_tokens

    before, full = peak_gib(lambda: None), peak_gib(score)
    reference, _ = score()
    cap = before + (full - before) * 0.3
    with capped(cap, model.family.language_model, 300):
        scores, left = score()
    apart = float((scores - reference).abs().max())
    figures.add(
        f"scoring {len(texts)} captions, cap {cap:.2f} of {full:.2f} GiB: log-odds - without a cap",
        apart,
        "",
        SAME,
        at_most=True,
    )
    figures.add("scoring under the cap: rows were halved from", rows / left, "x", 2)


def vqascore(figures: Figures) -> None:
    """Sixteen frames with twelve captions, as one batch where there is room."""
    with tempfile.TemporaryDirectory() as folder:
        make_tiny(
            "llava", folder, **({} if figures.small else {**SIZES, "image_size": 224, "patch_size": 14})
        )
        scorer = open_scorer(find_model(folder), device=figures.device)
    side = 28 if figures.small else 224
    batch = [scorer.prepare(clip(0, 16, side), tuple(text.caption for text in captions(12)))]

    def score() -> tuple[Any, MemoryLimit]:
        limit = MemoryLimit()
        return log_probs_that_fit(scorer, batch, limit)[0], limit

    before, full = peak_gib(lambda: None), peak_gib(score)
    reference, _ = score()
    cap = before + (full - before) * 0.3
    with capped(cap, scorer.model.model.language_model, 1000):  # type: ignore[attr-defined]
        scores, limit = score()
    apart = float((scores - reference).abs().max())
    figures.add(
        f"VQAScore of 192 pairs, cap {cap:.2f} of {full:.2f} GiB: log-probabilities - without a cap",
        apart,
        "",
        SAME,
        at_most=True,
    )
    figures.add(
        "VQAScore under the cap: pairs of a batch that fit",
        float(limit.pairs or 192),
        "pairs",
        191,
        at_most=True,
    )


def training(figures: Figures) -> None:
    """A step that does not fit ends in an error that names settings."""
    from training_step import fixed_texts

    from synvita_data.training import SynViTAConfig, SynViTATrainer, TrainingTriplet

    model = tiny_alignment("video_llava", "cpu", **({} if figures.small else SIZES))
    network, processor = model.family.model, model.family.processor
    videos = [model.prepare(clip(seed, 8, 28)) for seed in range(2)]
    triplets = [TrainingTriplet(str(n), str(n), fixed_texts(), *videos, 0.4, True) for n in range(64)]
    with tempfile.TemporaryDirectory() as folder:
        config = SynViTAConfig(
            output_dir=folder,
            per_device_train_batch_size=64,
            max_steps=1,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=figures.device == "cpu",
            dataloader_pin_memory=False,
        )
        trainer = SynViTATrainer(network, processor, config, triplets)
        held = peak_gib(lambda: None)
        with capped(held + 1.0, trainer.alignment.family.language_model, 300):
            try:
                trainer.train()
                figures.add("training under a cap: error", "none: the step fitted", "", 0.0)
            except SynvitaError as error:
                named = "per_device_train_batch_size" in str(error) and "gradient_checkpointing" in str(error)
                figures.add(f"training under a cap says: {str(error)[:160]}", float(named), "", 1)
    del trainer, model, network
