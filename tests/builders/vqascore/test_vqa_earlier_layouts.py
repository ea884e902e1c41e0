"""Released VQA models in layouts of their own: earlier InstructBLIP, and pickles beside CLIP-FlanT5."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from models.stock_models import clip as noise

from synvita_data.builders.vqascore import find_model
from synvita_data.builders.vqascore.models import open_scorer

CAPTIONS = ("a man is running", "a dog sits on the mat")


def scores(folder) -> np.ndarray:
    scorer = open_scorer(find_model(str(folder)))
    (found,) = scorer.log_probs([scorer.prepare(noise(1, frames=2, height=40, width=64), CAPTIONS)])
    return found.numpy()


def test_instructblip_before_november_2024_scores_alike(tiny, tmp_path):
    """Without processor_config.json, added tokens and image_token_index, as commits 895c2bc and e80d416 are: what they
    are for (the query tokens' places in the text) is not used here, where queries and words are put together as
    features. So earlier pins are as good as the recorded one."""
    then = shutil.copytree(tiny("instructblip"), tmp_path / "then")
    nested = json.loads((then / "processor_config.json").read_text())
    assert nested["num_query_tokens"]
    (then / "processor_config.json").unlink()
    (then / "preprocessor_config.json").write_text(
        json.dumps(nested["image_processor"] | {"processor_class": "InstructBlipProcessor"})
    )
    config = json.loads((then / "config.json").read_text())
    assert config.pop("image_token_index", None) or config.pop("image_token_id", None)
    (then / "config.json").write_text(json.dumps(config))
    assert not (then / "added_tokens.json").exists()
    assert np.array_equal(scores(then), scores(tiny("instructblip")))


class Foreign:
    """A pickle that leaves a trace when it is read."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("family", ["clip_flant5", "llava"])
def test_a_pickle_of_training_arguments_is_never_read(tiny, tmp_path, family):
    """`training_args.bin` of clip-flant5-xl holds classes of another program."""
    folder, trace = shutil.copytree(tiny(family), tmp_path / family), tmp_path / "was read"
    (folder / "training_args.bin").write_bytes(pickle.dumps(Foreign(trace)))
    assert np.array_equal(scores(folder), scores(tiny(family)))
    assert not trace.exists()
    pickle.loads((folder / "training_args.bin").read_bytes()).close()  # noqa: S301 (our own bytes)
    assert trace.exists()  # the trap works


def test_clip_flant5_as_one_file_with_its_tower(tiny, tmp_path):
    """The released xl: one `pytorch_model.bin`, no index, the tower's weights in it by its bytes."""
    source = tiny("clip_flant5")
    folder = shutil.copytree(source, tmp_path / "one")
    weights: dict[str, torch.Tensor] = {}
    for shard in sorted(folder.glob("pytorch_model-*.bin")):
        weights |= torch.load(shard, weights_only=True)
        shard.unlink()
    assert any(key.startswith("vision_tower.") for key in weights)
    (folder / "pytorch_model.bin.index.json").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert np.array_equal(scores(folder), scores(source))
