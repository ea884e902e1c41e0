"""The numeric fixture of the original classes (fixture/make_fixture_notes.md), and a toy LLaMA tokenizer."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_sentencepiece import pieces, train

FIXTURE = Path(__file__).parent / "fixture"


@pytest.fixture(autouse=True)
def one_thread():
    """The original's own logits move by 2e-5 with the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def raw_config():
    """The settings of the fixture, as the original's `config.json` has them."""
    raw = json.loads((FIXTURE / "tiny_config.json").read_text())
    del raw["fixture"]
    return raw


@pytest.fixture(scope="session")
def weights():
    """The original's state dict, rotary frequencies and all."""
    return load_file(FIXTURE / "tiny_weights.safetensors")


@pytest.fixture(scope="session")
def io():
    """Inputs and what the original classes made of them."""
    return load_file(FIXTURE / "tiny_io.safetensors")


@pytest.fixture
def owl(raw_config, weights):
    """Our model with the fixture's weights, in evaluation mode; tests change it."""
    from synvita_data.models.mplug_owl import MplugOwlConfig, MplugOwlForConditionalGeneration

    model = MplugOwlForConditionalGeneration(MplugOwlConfig(**raw_config))
    missing, left_over = model.load_state_dict(weights, strict=False)
    assert not missing
    assert all(name.endswith("rotary_emb.inv_freq") for name in left_over)
    return model.eval()


@pytest.fixture(scope="session")
def sentencepiece_model(tmp_path_factory):
    """`tokenizer.model` as LLaMA's was trained, but toy."""
    return train(tmp_path_factory.mktemp("sentencepiece"))


@pytest.fixture(scope="session")
def pieces_of(sentencepiece_model):
    """sentencepiece itself: a text -> [(id, first character, last + 1)]."""
    return pieces(sentencepiece_model)


@pytest.fixture(scope="session")
def llama(sentencepiece_model):
    from transformers import LlamaTokenizer

    return LlamaTokenizer.from_pretrained(sentencepiece_model.parent, pad_token="<unk>")
