"""Training on the original Video-LLaVA: LoRA on its language model alone, saved, scored and merged."""

import json

import pytest
import torch
from safetensors.torch import load_file
from small_trainer import make_trainer, small_rows

from synvita_data.models.resolve import find_checkpoint
from synvita_data.scoring.alignment import AlignmentScorer
from synvita_data.training import merge_adapter


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from synvita_data.testing import make_tiny

    return make_tiny("video_llava_original", tmp_path_factory.mktemp("model"))


def test_only_adapters_of_the_language_model_learn(checkpoint, tmp_path):
    trainer = make_trainer(
        checkpoint, tmp_path / "out", small_rows(4), learning_rate=1e-2, num_train_epochs=2
    )
    network = trainer.alignment.model
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    trainer.train()
    moved = {name for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if "lora_" in name}
    assert len(moved) == 2 * 14
    assert all("language_model" in name for name in moved)
    trainer.save_model()

    checkpoint_saved = find_checkpoint(str(tmp_path / "out"))
    assert checkpoint_saved.model_type == "video_llava_original"
    scorer = AlignmentScorer.open(str(tmp_path / "out"), device="cpu")
    assert scorer.settings["family"] == "video_llava_original"
    # Merged in the base's own dtype, whose settings only our classes can read.
    merged = merge_adapter(tmp_path / "out", tmp_path / "merged")
    assert json.loads((merged / "config.json").read_text())["model_type"] == "video_llava_original"
    weights, own = load_file(merged / "model.safetensors"), load_file(checkpoint / "model.safetensors")
    assert weights.keys() == own.keys()
    changed = {name for name in own if not torch.equal(weights[name], own[name])}
    assert changed == {
        name.removeprefix("base_model.model.").replace(".lora_A.default", "")
        for name in moved
        if "lora_A" in name
    }
    assert not any("temporal" in name for name in changed)
