"""LLaVA-OneVision: what is its own, beside the parametrised tests that every family passes (marked slow)."""

import re

import pytest
import torch
from family_checks import TEXTS, TOLERANCE, VIDEOS, as_cached, expected, language_model_linears, worst
from stock_models import clip, load, stock_inputs, stock_log_odds

from synvita_data.captions import Text
from synvita_data.models import STRATEGIES, AlignmentModel, strategies
from synvita_data.testing import make_tiny

PROMPT = "a dog runs"


@pytest.fixture
def family():
    return "llava_onevision"


def test_every_way_gives_the_stock_models_log_odds(stock, wording):
    """Videos of different sizes and frame counts in one batch, in any order; hidden tokens."""
    reference = expected(stock, wording)
    assert reference.std() > 0.1
    model = AlignmentModel(*stock)
    assert model.prompt.name == "question"
    with torch.no_grad():
        for strategy in STRATEGIES:
            assert worst(model(VIDEOS, TEXTS, strategy=strategy), reference) < TOLERANCE, strategy
        assert worst(model(VIDEOS, TEXTS, strategy="plain", plain_batch=3), reference) < TOLERANCE
        turned = torch.cat(list(reversed(reference.split([len(own) for own in TEXTS]))))
        encoded = [as_cached(model.family, model.encode(video)) for video in reversed(VIDEOS)]
        for strategy in STRATEGIES:
            assert worst(model(encoded, TEXTS[::-1], strategy=strategy), turned) < TOLERANCE, strategy
        assert worst(model(encoded, TEXTS[::-1], strategy="plain", plain_batch=3), turned) < TOLERANCE


def test_ids_are_the_stock_ones(stock, wording):
    network, processor = stock
    model = AlignmentModel(network, processor)
    for video in VIDEOS:
        inputs = stock_inputs(processor, video, wording.format(PROMPT))
        prepared = model.prepare(video)
        ids = model.prompter.tokens(Text(PROMPT), None, prepared).ids
        assert ids.tolist() == inputs["input_ids"][0].tolist()
        assert torch.equal(prepared.inputs["pixel_values_videos"], inputs["pixel_values_videos"])
        assert prepared.runs == (len(video) + 1,)  # 2 × 2 patches pooled to one, and the newline


def test_an_odd_number_of_patches_a_side(tmp_path, wording):
    """Three patches a side pool to two, as the released model's 27 to 14; videos of several lengths."""
    stock = load(make_tiny("llava_onevision", tmp_path, image_size=42, patch_size=14))
    reference = expected(stock, wording)
    model = AlignmentModel(*stock)
    assert model.prepare(VIDEOS[0]).runs == (4 * 4 + 1,)
    with torch.no_grad():
        for strategy in STRATEGIES:
            assert worst(model(VIDEOS, TEXTS, strategy=strategy), reference) < TOLERANCE, strategy


def test_layers_of_the_tower(stock, wording):
    """The layer, or layers, that the config names; another choice is another model."""
    network, processor = stock
    video, texts = VIDEOS[0], [[Text(PROMPT), Text("a cat")]]
    found = []
    for layer in (-1, -2):
        network.config.vision_feature_layer = layer
        reference = stock_log_odds(network, processor, video, wording.format(PROMPT), PROMPT)
        with torch.no_grad():
            for strategy in ("packed", "cached"):
                ours = AlignmentModel(network, processor)([video], texts, strategy=strategy).log_odds[0]
                assert abs(float(ours) - reference) < TOLERANCE, (layer, strategy)
        found.append(reference)
    assert abs(found[0] - found[1]) > 100 * TOLERANCE


@pytest.mark.parametrize("strategy", ["packed", "cached"])
def test_features_of_another_video_are_noticed(stock, wording, monkeypatch, strategy):
    """Two videos of equal length, told apart by their features alone."""
    videos, texts = [clip(0), clip(1)], TEXTS[:2]
    reference = expected(stock, wording, videos, texts)
    model = AlignmentModel(*stock)
    encoded = [model.encode(video) for video in reversed(videos)]
    with torch.no_grad():
        assert worst(model(encoded, texts, strategy=strategy), reference) > 100 * TOLERANCE
        assert worst(model(encoded[::-1], texts, strategy=strategy), reference) < TOLERANCE


@pytest.mark.parametrize("strategy", ["packed", "cached"])
def test_positions_that_do_not_restart_are_noticed(stock, wording, monkeypatch, strategy):
    reference = expected(stock, wording)
    right = strategies._gathered
    monkeypatch.setattr(strategies, "_gathered", lambda *a: torch.arange(right(*a).shape[-1]))
    with torch.no_grad():
        assert worst(AlignmentModel(*stock)(VIDEOS, TEXTS, strategy=strategy), reference) > 100 * TOLERANCE


def test_lora_targets_are_the_language_models_linear_layers(stock):
    """And not those of the tower, whose layers have the same names."""
    network, processor = stock
    pattern = AlignmentModel(network, processor).family.lora_targets
    assert {name for name, _ in network.named_modules() if re.fullmatch(pattern, name)} == (
        language_model_linears(network)
    )
    assert any(name.endswith("q_proj") for name, _ in network.model.vision_tower.named_modules())


def test_the_default_frames_are_the_released_codes(stock):
    policy = AlignmentModel(*stock).family.default_frames()
    assert (policy.rule, policy.count) == ("linspace", 32)
