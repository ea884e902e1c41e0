"""`merge` float16: the sums that the released merge gives, to the bit, and a scorer that is opened with it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from stock_models import load
from torch import nn

from synvita_data.errors import SynvitaError
from synvita_data.models import AlignmentModel
from synvita_data.models.loading import load_alignment_model, merge_released
from synvita_data.models.resolve import find_checkpoint

FIXTURE = Path(__file__).parents[1] / "video_llava_original" / "fixture"
EXACT = "exact.merged_fp16."


def lora_around(weight, lora_a, lora_b, rank, alpha):
    """A linear layer of these weights below an adapter of PEFT with these, as `from_pretrained` leaves it."""
    from peft import LoraConfig, get_peft_model

    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=torch.float16)
            self.layer.weight.data = weight.half()

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=["layer"], lora_dropout=0.05)
    model = get_peft_model(Around(), config)
    layer = model.base_model.model.layer
    layer.lora_A["default"].weight.data = lora_a.clone()
    layer.lora_B["default"].weight.data = lora_b.clone()
    return model.eval()


def test_merged_weights_are_the_releases_to_the_bit():
    weights, adapter = (load_file(FIXTURE / f"tiny_{name}.safetensors") for name in ("weights", "adapter"))
    settings = json.loads((FIXTURE / "tiny_config.json").read_text())["adapter_config"]
    expected = {
        name[len(EXACT) :]: value
        for name, value in load_file(FIXTURE / "tiny_io.safetensors").items()
        if name.startswith(EXACT)
    }
    assert len(expected) == 2
    for name, value in expected.items():
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        sides = [adapter[f"{stem}.lora_{side}.weight"] for side in "AB"]
        model = lora_around(weights[name], *sides, settings["r"], settings["lora_alpha"])
        found = merge_released(model, "adapter").layer
        assert type(found) is nn.Linear
        assert found.weight.dtype == torch.float16
        assert torch.equal(found.weight, value), name
        # PEFT of today rounds the product first.
        rounded = lora_around(weights[name], *sides, settings["r"], settings["lora_alpha"])
        product = (sides[1] @ sides[0]) * (settings["lora_alpha"] / settings["r"])
        assert not torch.equal(rounded.base_model.model.layer.base_layer.weight + product.half(), value), (
            "the fixture does not show the rounding"
        )


def adapter_for(checkpoint, folder, **settings):
    from peft import LoraConfig, get_peft_model

    network, processor = load(checkpoint)
    torch.manual_seed(1)
    targets = AlignmentModel(network, processor).family.lora_targets
    config = LoraConfig(r=4, lora_alpha=8, target_modules=targets, init_lora_weights=False, **settings)
    get_peft_model(network, config).save_pretrained(folder)
    return folder


def test_a_checkpoint_is_loaded_and_merged_in_float16(checkpoint_of, tmp_path):
    folder = checkpoint_of("video_llava")
    adapter = adapter_for(folder, tmp_path / "adapter")
    checkpoint = find_checkpoint(str(folder), adapter=str(adapter))
    made, version = load_alignment_model(checkpoint, dtype="bfloat16", device="cpu", merge="float16")
    assert version.endswith(f"+{checkpoint.adapter_revision}")
    found = dict(made.family.model.named_parameters())
    assert made.model is made.family.model
    assert {value.dtype for value in found.values()} == {torch.bfloat16}
    # Every weight by hand, adapted or not.
    stock, _ = load(folder)
    sides = load_file(adapter / "adapter_model.safetensors")
    adapted = 0
    for name, own in stock.named_parameters():
        expected = own.half()
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{stem}.lora_A.weight" in sides:
            product = (sides[f"{stem}.lora_B.weight"] @ sides[f"{stem}.lora_A.weight"]) * 2.0
            expected = (expected.float() + product).half()
            adapted += 1
        assert torch.equal(found[name], expected.bfloat16()), name
    assert adapted == 14
    # Rotary frequencies are no weights: they stay in fp32.
    frequencies = [value for name, value in made.named_buffers() if name.endswith("inv_freq")]
    assert frequencies
    assert {value.dtype for value in frequencies} == {torch.float32}


@pytest.mark.parametrize(("merge", "dtype"), [("none", torch.float32), ("unmerged", torch.bfloat16)])
def test_an_adapter_beside_its_base(checkpoint_of, tmp_path, merge, dtype):
    folder = checkpoint_of("video_llava")
    adapter = adapter_for(folder, tmp_path / "adapter")
    checkpoint = find_checkpoint(str(folder), adapter=str(adapter))
    made, _ = load_alignment_model(checkpoint, dtype="bfloat16", device="cpu", merge=merge)
    kinds = {"lora": set(), "base": set()}
    for name, value in made.model.named_parameters():
        kinds["lora" if "lora_" in name else "base"].add(value.dtype)
    assert kinds == {"lora": {dtype}, "base": {torch.bfloat16}}


def test_what_is_no_plain_lora_is_refused(checkpoint_of, tmp_path):
    folder = checkpoint_of("video_llava")
    adapter = adapter_for(folder, tmp_path / "adapter", use_dora=True)
    checkpoint = find_checkpoint(str(folder), adapter=str(adapter))
    with pytest.raises(SynvitaError, match="cannot be merged as the release does"):
        load_alignment_model(checkpoint, device="cpu", merge="float16")
    with pytest.raises(SynvitaError, match="unknown merge"):
        load_alignment_model(checkpoint, device="cpu", merge="float8")
