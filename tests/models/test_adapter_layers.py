"""An adapter goes on the layers that it has weights of, and on no others, whatever its target names fit."""

import json
import logging

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from stock_models import clip, load

from synvita_data.captions import Text
from synvita_data.models import AlignmentModel
from synvita_data.models.features import FeatureCache
from synvita_data.models.loading import load_alignment_model, with_adapter
from synvita_data.models.resolve import find_checkpoint

# As adapters for Video-LLaVA-7B-hf in the wild have them: names that the two CLIP towers have too.
PLAIN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TEXT = [Text("a dog runs"), Text("a cat runs")]


@pytest.fixture(scope="module")
def base(checkpoint_of):
    return checkpoint_of("video_llava")


@pytest.fixture
def adapter(base, tmp_path):
    """Plain target names, and random weights of all layers that they fit, towers among them."""
    torch.manual_seed(3)
    model = get_peft_model(load(base)[0], LoraConfig(r=4, target_modules=PLAIN, init_lora_weights=False))
    model.save_pretrained(tmp_path / "adapter")
    settings = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    settings["base_model_name_or_path"] = str(base)
    (tmp_path / "adapter/adapter_config.json").write_text(json.dumps(settings))
    return tmp_path / "adapter"


def without_towers(adapter):
    """The same names, and weights of the language model alone: as LLaVA-layout adapters are."""
    weights = load_file(adapter / "adapter_model.safetensors")
    own = {key: value.clone() for key, value in weights.items() if ".language_model." in key}
    assert 0 < len(own) < len(weights)
    save_file(own, adapter / "adapter_model.safetensors", {"format": "pt"})
    return own


def wrapped(model) -> set[str]:
    """Full names of the layers with a LoRA."""
    return {name.partition(".lora_A")[0] for name, _ in model.named_modules() if name.endswith(".lora_A")}


def odds(model) -> torch.Tensor:
    with torch.no_grad():
        return model([clip(1)], [TEXT]).log_odds[0]


def test_weights_of_towers_are_loaded_where_they_are(base, adapter, caplog):
    """An adapter that was trained with plain names adapts the towers, and its features are not its base's."""
    with caplog.at_level(logging.WARNING, "synvita_data"):
        model, version = load_alignment_model(find_checkpoint(str(adapter)))
    names = wrapped(model.model)
    assert any("video_tower" in name for name in names)
    assert "stay as they are" not in caplog.text
    saved = load_file(adapter / "adapter_model.safetensors")
    for key, value in saved.items():
        assert torch.equal(model.model.get_parameter(key.replace(".weight", ".default.weight")), value)
    own = FeatureCache.of(model, version, adapter / "cache")
    plain, revision = load_alignment_model(find_checkpoint(str(base)))
    assert own.key(video()) != FeatureCache.of(plain, revision, adapter / "cache2").key(video())


def video():
    from synvita_data.scoring import ScoringItem

    return ScoringItem("i", "v", b"a video", (Text("a"),), ("t",))


def test_plain_names_do_not_wrap_towers_without_weights(base, adapter, caplog):
    weights = without_towers(adapter)
    with caplog.at_level(logging.WARNING, "synvita_data"):
        model, version = load_alignment_model(find_checkpoint(str(adapter)))
    names = wrapped(model.model)
    assert names == {key.partition(".lora_")[0] for key in weights}
    assert f"it has weights of {len(names)} layers; its target names fit" in caplog.text
    # The tower is the base's, and so are its features.
    plain, revision = load_alignment_model(find_checkpoint(str(base)))
    shared = [
        FeatureCache.of(*each, adapter / "c").key(video()) for each in ((model, version), (plain, revision))
    ]
    assert shared[0] == shared[1]
    # By hand: each layer of the language model with its own pair, and nothing else.
    network, processor = load(base)
    with torch.no_grad():
        for layer in {key.partition(".lora_")[0] for key in weights}:
            name = layer.removeprefix("base_model.model.")
            a, b = (weights[f"{layer}.lora_{side}.weight"] for side in "AB")
            network.get_submodule(name).weight += 8 / 4 * b @ a  # PEFT's own alpha by the rank
    assert torch.allclose(odds(model), odds(AlignmentModel(network, processor).eval()), atol=1e-4)
    assert (odds(model) - odds(plain)).abs().max() > 1e-3
    # PEFT alone wraps the towers too, at random where the adapter was begun so, and only warns.
    with pytest.warns(UserWarning, match="missing adapter keys"):
        stock = PeftModel.from_pretrained(load(base)[0], adapter)
    assert wrapped(stock) > names
    assert (odds(model) - odds(AlignmentModel(stock, processor).eval())).abs().max() > 1e-3


def test_training_goes_on_with_those_layers_alone(base, adapter):
    weights = without_towers(adapter)
    model = with_adapter(load(base)[0], find_checkpoint(str(adapter)), trainable=True)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained == {key.replace(".weight", ".default.weight") for key in weights}
    model.save_pretrained(adapter.parent / "again")
    assert load_file(adapter.parent / "again/adapter_model.safetensors").keys() == weights.keys()


def test_an_expression_is_left_as_it_is(base, tmp_path):
    """Our own adapters say their layers by a regular expression, which stays in what is saved."""
    wanted = r".*language_model.*\.(q|v)_proj"
    made = get_peft_model(load(base)[0], LoraConfig(r=2, target_modules=wanted))
    made.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(
        json.dumps(settings | {"base_model_name_or_path": str(base)})
    )
    model = with_adapter(load(base)[0], find_checkpoint(str(tmp_path)))
    assert model.peft_config["default"].target_modules == wanted
