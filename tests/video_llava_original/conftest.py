"""The numeric fixture of the original classes (fixture/make_fixture_notes.md)."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

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
    """The settings of the fixture: of the language model, the towers and the adapter."""
    return json.loads((FIXTURE / "tiny_config.json").read_text())


@pytest.fixture(scope="session")
def weights():
    """The original's state dict under its own names, rotary frequencies and all."""
    return load_file(FIXTURE / "tiny_weights.safetensors")


@pytest.fixture(scope="session")
def adapter():
    """PEFT's `adapter_model.bin` of a LoRA with alpha / r = 3."""
    return load_file(FIXTURE / "tiny_adapter.safetensors")


@pytest.fixture(scope="session")
def io():
    """Inputs and what the original classes made of them."""
    return load_file(FIXTURE / "tiny_io.safetensors")


@pytest.fixture
def tiny_config(raw_config):
    """Our settings of the fixture's network; ids of media lie behind its vocabulary of 64, as a conversion has them."""
    from synvita_data.models.video_llava_original import VideoLlavaOriginalConfig

    return VideoLlavaOriginalConfig(
        vision_config=raw_config["image_tower"]["vision_config"],
        video_config=raw_config["video_tower"]["vision_config"],
        text_config={**raw_config["text_config"], "vocab_size": 128},
        image_token_index=64,
        video_token_index=65,
    )


@pytest.fixture
def network(tiny_config, weights):
    """Our model with the fixture's weights, in evaluation mode; tests change it."""
    from synvita_data.models.video_llava_original import VideoLlavaOriginalForConditionalGeneration
    from synvita_data.models.video_llava_original.names import our_names, with_more_rows

    model = VideoLlavaOriginalForConditionalGeneration(tiny_config)
    model.load_state_dict(with_more_rows(our_names(weights), 64, 128), strict=True)
    return model.eval()
