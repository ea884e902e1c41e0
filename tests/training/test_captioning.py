"""Captioning from random weights: the loss is the stock model's, it falls, and runs repeat."""

import numpy as np
import pytest
import torch
from captioning import warm_up

from synvita_data.errors import CaptionError, SynvitaError
from synvita_data.models import AlignmentModel
from synvita_data.testing import make_tiny
from synvita_data.video.frames import Frames

CAPTIONS = ("A red circle moves left.", "Two blue stars spin.", "A cat sleeps.", "Three dogs run up.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny("video_llava", tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def model(folder):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    network = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    return AlignmentModel(network, AutoProcessor.from_pretrained(folder)).eval()


def frames(seed: int) -> Frames:
    pixels = np.random.default_rng(seed).integers(0, 256, (2, 28, 28, 3), dtype=np.uint8)
    return Frames(pixels, (0, 1), (0.0, 0.5), 2.0, "noise", "none")


def clips(model):
    return [(model.prepare(frames(seed)), caption) for seed, caption in enumerate(CAPTIONS)]


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_the_first_loss_is_the_stock_models(model):
    """Mean cross-entropy of the tokens of all captions and their ends, by `labels=` one clip at a time."""
    processor, total, tokens = model.family.processor, 0.0, 0
    for seed, caption in enumerate(CAPTIONS):
        question = "USER: <video>\nDescribe this video. ASSISTANT:"

        def inputs(text, seed=seed):
            return processor(text=[text], videos=[frames(seed).pixels], return_tensors="pt")

        whole = inputs(f"{question} {caption}</s>")
        labels = whole["input_ids"].clone()
        labels[:, : inputs(question)["input_ids"].shape[1]] = -100
        number = int((labels != -100).sum())
        with torch.no_grad():
            total += float(model.family.model(**whole, labels=labels).loss) * number
        tokens += number
    before = weights(model)
    steps = []
    losses = warm_up(model, clips(model), steps=1, batch_size=4, on_step=lambda *step: steps.append(step))
    assert losses == [pytest.approx(total / tokens, rel=1e-5)]
    assert steps == [(1, losses[0])]
    assert not torch.equal(weights(model), before)
    assert not model.training  # as it was


def test_captions_are_learned(model):
    losses = warm_up(model, clips(model), steps=60, batch_size=4, learning_rate=5e-3)
    assert len(losses) == 60
    assert losses[-1] < 0.3 < 2.0 < losses[0]


def test_equal_arguments_give_equal_weights_and_frozen_parts_stay(model, folder):
    model.requires_grad_(False)
    model.family.language_model.requires_grad_(True)
    before = {name: value.clone() for name, value in model.named_parameters()}
    data, state = clips(model), model.state_dict()
    start = {name: value.clone() for name, value in state.items()}
    found = []
    for seed in (1, 1, 2):
        model.load_state_dict(start)
        losses = warm_up(model, data, steps=3, batch_size=2, seed=seed)
        found.append((losses, weights(model)))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])
    assert not torch.equal(found[0][1], found[2][1])
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name]) or "language_model" in name, name


def test_a_time_limit_ends_after_a_step(model):
    assert len(warm_up(model, clips(model), steps=50, batch_size=1, seconds=0.0)) == 1


def test_what_is_refused(model):
    for data, options in (([], {}), (clips(model), {"steps": 0}), (clips(model), {"batch_size": 0})):
        with pytest.raises(SynvitaError, match="nothing to warm up with"):
            warm_up(model, data, **options)
    with pytest.raises(CaptionError, match="special token"):
        warm_up(model, [(clips(model)[0][0], "a </s> dog")], steps=1)
    model.requires_grad_(False)
    with pytest.raises(SynvitaError, match="0 trainable parameters"):
        warm_up(model, clips(model))
