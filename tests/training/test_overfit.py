"""A tiny model learns 16 triplets of the shapes world by heart: every part of training pulls the right way."""

import numpy as np
import pytest
import torch

from synvita_data.builders.shapes import SYNTHETIC, draw_pairs, render
from synvita_data.captions import Text, hidden_spans
from synvita_data.captions.lcs import shared_spans
from synvita_data.models import AlignmentModel
from synvita_data.testing import make_tiny
from synvita_data.training.config import SynViTAConfig
from synvita_data.training.data import TrainingTriplet
from synvita_data.training.trainer import SynViTATrainer
from synvita_data.video.frames import Frames

PAIRS = 16
FRAMES = 4
STEPS = 80
SIZES = {"hidden_size": 64, "intermediate_size": 128, "vision_layers": 1}


def as_frames(pixels: np.ndarray) -> Frames:
    indices = np.linspace(0, len(pixels) - 1, FRAMES).astype(int)
    seconds = tuple((indices / 8).tolist())
    return Frames(pixels[indices], tuple(indices.tolist()), seconds, 8.0, "a rendered clip", "none")


def triplets(model: AlignmentModel) -> list[TrainingTriplet]:
    """All seven misalignments, with a synthetic clip that shows what the contrast caption says."""
    made = []
    for pair in draw_pairs(PAIRS):
        captions = pair.triplet.caption, pair.triplet.neg_caption
        shared = shared_spans(*captions, granularity="word")
        masked = [Text(c, hidden_spans(c, own)) for c, own in zip(captions, shared, strict=True)]
        real, synthetic = (
            model.prepare(as_frames(pixels))
            for pixels in (
                render(pair.scene, pair.real_seed),
                render(pair.contrast, pair.real_seed + 1, SYNTHETIC),
            )
        )
        made.append(
            TrainingTriplet(
                row_id=pair.triplet.video_id,
                pair_id=pair.triplet.video_id,
                texts=(Text(captions[0]), Text(captions[1]), *masked),
                real=real,
                synthetic=synthetic,
                weight=1.0,
                takes_real=True,
                explanation=pair.triplet.nle,
            )
        )
    return made


def scores(model: AlignmentModel, data: list[TrainingTriplet]) -> tuple[torch.Tensor, torch.Tensor]:
    """f of the 32 true pairs and of the 32 contrast pairs, one plain forward each."""
    texts = [triplet.texts[:2] for triplet in data for _ in range(2)]
    videos = [video for triplet in data for video in (triplet.real, triplet.synthetic)]
    with torch.no_grad():
        f = model(videos, texts, strategy="plain", plain_batch=32).log_odds.sigmoid().view(PAIRS, 2, 2)
    return torch.stack([f[:, 0, 0], f[:, 1, 1]]), torch.stack([f[:, 0, 1], f[:, 1, 0]])


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in range(1, 6))])
def test_a_tiny_model_learns_sixteen_triplets_by_heart(tmp_path, seed):
    """From random weights, with the whole objective: both losses, consistency (λ = 1) and explanations."""
    from transformers import AutoModelForImageTextToText, AutoProcessor, set_seed

    folder = make_tiny("video_llava", tmp_path / "model", seed=seed, **SIZES)
    network, processor = (
        kind.from_pretrained(folder) for kind in (AutoModelForImageTextToText, AutoProcessor)
    )
    config = SynViTAConfig(
        output_dir=str(tmp_path / "out"),
        tune="all",
        per_device_train_batch_size=8,
        max_steps=STEPS,
        learning_rate=2e-3,
        warmup_steps=15,
        adam_beta2=0.98,
        logging_steps=20,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=seed,
    )
    set_seed(seed)
    data = triplets(AlignmentModel(network, processor))
    trainer = SynViTATrainer(network, processor, config, data)
    true, contrast = scores(trainer.alignment, data)
    assert (true < 0.9).any()
    assert (contrast > 0.1).any()
    assert abs(float(true.mean() - contrast.mean())) < 0.2  # random weights cannot tell them apart
    trainer.train()
    trainer.alignment.eval()
    true, contrast = scores(trainer.alignment, data)
    assert float(true.min()) > 0.9
    assert float(contrast.max()) < 0.1
