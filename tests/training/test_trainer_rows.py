"""`SynViTATrainer` makes its own training data of rows, as the arguments describe it."""

import pytest
import torch
from small_trainer import arguments, load
from small_triplets import dataset, row

from synvita_data.errors import SynvitaError
from synvita_data.models import AlignmentModel, EncodedVideo
from synvita_data.training import EvaluationPairs, SynViTATrainer, TripletData
from synvita_data.training.data.features import fill_feature_cache


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from synvita_data.testing import make_tiny

    return make_tiny("video_llava", tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return dataset([row(0), row(1), row(1, "lavie"), row(2)], tmp_path_factory.mktemp("rows"))


# Each at a value that is not the default of `TripletData`.
CHANGES = {
    "weighting": "product",
    "granularity": "word",
    "masked_text": "remove",
    "nle_share": 0.5,
    "data_seed": 7,
    "frames": 3,
    "misalignments": ["object"],
    "max_unreadable": 0.5,
    "placeholder_space": "original",
    "prompt": "video-llava-train",
}


@pytest.mark.parametrize("kind", ["table", "list"])
def test_rows_become_the_data_that_the_arguments_describe(checkpoint, tmp_path, rows, kind):
    model, processor = load(checkpoint)
    config = arguments(tmp_path, **CHANGES)
    given = rows if kind == "table" else rows.to_list()
    data = SynViTATrainer(model, processor, config, train_dataset=given).train_dataset
    alignment = AlignmentModel(*load(checkpoint), **config.model_arguments())
    by_hand = TripletData(rows, alignment, **config.data_arguments(alignment.family))
    assert isinstance(data, TripletData)
    assert data.arguments == by_hand.arguments
    assert (data.triplets, data.counts) == (by_hand.triplets, by_hand.counts)
    assert (data.preparer.frames, data.preparer.prompt) == (by_hand.preparer.frames, by_hand.preparer.prompt)
    assert data.preparer.family.placeholder_space == "original"
    assert data.max_unreadable == 0.5
    assert data[0].real.inputs["pixel_values_videos"].shape[1] == 3
    # What it made passes for its own.
    model, processor = load(checkpoint)
    SynViTATrainer(model, processor, arguments(tmp_path, **CHANGES), by_hand)


def test_training_on_rows_is_training_on_their_triplets(checkpoint, tmp_path, rows):
    found = []
    for by_hand in (False, True):
        model, processor = load(checkpoint)
        config = arguments(tmp_path, max_steps=2, per_device_train_batch_size=2)
        data = TripletData(rows, AlignmentModel(model, processor)) if by_hand else rows
        trainer = SynViTATrainer(model, processor, config, data, None if by_hand else rows)
        trainer.train()
        found.append({name: p.detach().clone() for name, p in trainer.module.named_parameters()})
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_held_out_rows_become_pairs(checkpoint, tmp_path, rows):
    model, processor = load(checkpoint)
    config = arguments(tmp_path, frames=2, eval_strategy="steps", eval_steps=1, save_strategy="best")
    trainer = SynViTATrainer(model, processor, config, None, {"a": rows, "b": rows.to_list()})
    assert trainer.args.metric_for_best_model == "a_auc"
    for pairs in trainer.eval_dataset.values():
        assert isinstance(pairs, EvaluationPairs)
        assert pairs[0].video.inputs["pixel_values_videos"].shape[1] == 2
    measures = trainer.evaluate()
    assert measures["eval_a_auc"] == measures["eval_b_auc"] == trainer.evaluate(rows)["eval_auc"]
    assert measures["eval_a_texts"] == 6


def test_a_feature_cache_is_that_of_the_arguments(checkpoint, tmp_path, rows):
    config = arguments(tmp_path, feature_cache=str(tmp_path / "cache"))
    trainer = SynViTATrainer(*load(checkpoint), config, rows)
    assert not isinstance(trainer.train_dataset[0].real, EncodedVideo)
    assert fill_feature_cache(trainer.train_dataset, trainer.alignment).made == 6
    again = SynViTATrainer(*load(checkpoint), config, rows)
    assert isinstance(again.train_dataset[0].real, EncodedVideo)


def test_features_of_a_model_without_a_name_are_not_kept(checkpoint, tmp_path, rows):
    """An empty name is the working folder's: two models made in one folder would share features."""
    model, processor = load(checkpoint)
    model.name_or_path = model.config._name_or_path = ""
    config = arguments(tmp_path, tune="language-model", feature_cache=str(tmp_path / "cache"))
    with pytest.raises(SynvitaError, match="has no name_or_path"):
        SynViTATrainer(model, processor, config, rows)
