"""`preprocess` in recipes, trainer, data, feature cache and the stock collator, and in what the evaluation takes over."""

import json

import pytest
import torch
import yaml
from small_trainer import arguments, load
from small_triplets import row, tiny_model

from synvita_data.errors import SynvitaError
from synvita_data.models import AlignmentModel
from synvita_data.models.resolve import find_checkpoint
from synvita_data.scoring.alignment import AlignmentScorer
from synvita_data.training import StockCollator, SynViTATrainer, TripletData
from synvita_data.training.data.features import feature_cache_of, fill_feature_cache
from synvita_data.training.lora import make_trainable
from synvita_data.training.recipe import own_recipes
from synvita_data.video import decode
from synvita_data.video.preprocessing import languagebind


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from synvita_data.testing import make_tiny

    return make_tiny("video_llava", tmp_path_factory.mktemp("model") / "tiny")


def expected_pixels(preparer, side="real_video"):
    return languagebind(decode(row(0)[side]["bytes"], preparer.frames).pixels, 28)


def test_recipes_of_the_paper_prepare_as_it_does():
    """The original network always; transformers' port of it where the recipe follows the released code."""
    asked = {name: yaml.safe_load(path.read_text()).get("preprocess") for name, path in own_recipes().items()}
    of_paper = {"video-llava/synvita-released"} | {
        name for name in asked if name.startswith("video-llava-original/")
    }
    assert len(of_paper) == 3
    assert {name: value for name, value in asked.items() if value} == dict.fromkeys(of_paper, "languagebind")


def test_data_prepares_as_the_config_says_and_other_data_is_refused(tmp_path):
    config = arguments(tmp_path, preprocess="languagebind", tune="language-model")
    family = tiny_model().family
    made = make_trainable(family.model, family.processor, config)
    data = TripletData([row(0)], made, **config.data_arguments(made.family))
    data.check_same(made, config.data_arguments(made.family))
    assert torch.equal(data[0].real.inputs["pixel_values_videos"][0], expected_pixels(data.preparer))
    other = TripletData(
        [row(0)], AlignmentModel(family.model, family.processor), **config.data_arguments(made.family)
    )
    with pytest.raises(SynvitaError, match="preprocess 'processor'"):
        other.check_same(made, config.data_arguments(made.family))
    with pytest.raises(SynvitaError, match="preprocess"):
        arguments(tmp_path, preprocess="clip")


def test_the_stock_collators_rows(tmp_path):
    family = tiny_model().family
    collator = StockCollator(family.model, family.processor, preprocess="languagebind")
    data = TripletData([row(0)], collator.preparer(), nle_share=0, weighting="fixed")
    batch = collator([data[0]])
    assert torch.equal(batch["pixel_values_videos"][0], expected_pixels(data.preparer))
    with pytest.raises(SynvitaError, match="unknown preprocess"):
        StockCollator(family.model, family.processor, preprocess="clip")


def test_training_goes_its_way_and_the_evaluation_takes_it_over(checkpoint, tmp_path):
    """From rows to an adapter, once with a cache of features; then the scorer of the adapter."""
    cached = tmp_path / "features"
    losses = []
    for cache in (None, str(cached)):
        out = tmp_path / ("plain" if cache is None else "cached")
        config = arguments(
            out,
            preprocess="languagebind",
            max_steps=2,
            save_strategy="steps",
            save_steps=2,
            feature_cache=cache,
        )
        model, processor = load(checkpoint)
        torch.manual_seed(0)
        trainer = SynViTATrainer(model, processor, config, [row(0), row(1)])
        if cache is not None:
            assert fill_feature_cache(trainer.train_dataset, trainer.alignment).made == 4
        trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
        trainer.save_model()
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    noted = json.loads((out / "training_args.json").read_text())
    assert noted["preprocess"] == "languagebind"
    assert find_checkpoint(str(out), adapter=None).trained_preprocess == "languagebind"
    scorer = AlignmentScorer.open(str(out), device="cpu")
    assert scorer.settings["preprocess"] == "languagebind"
    # The cache of the other preprocessing is another one.
    stock = load(checkpoint)
    keys = {
        feature_cache_of(AlignmentModel(*stock, preprocess=name), "r", cached)._tower.get("preprocess")
        is None
        for name in ("processor", "languagebind")
    }
    assert keys == {True, False}
