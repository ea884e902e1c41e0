"""LoRA checkpoints of both namings become adapters that PEFT loads, for the very base they were trained from."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from synvita_data.errors import SynvitaError
from synvita_data.models.mplug_owl.lora_checkpoint import convert_lora, merge_lora, take_apart
from synvita_data.models.released.lora_settings import LANGUAGE_MODEL_LINEARS
from synvita_data.testing import make_tiny


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A base in the form that conversion leaves it in."""
    return make_tiny("mplug-owl", tmp_path_factory.mktemp("base") / "owl")


@pytest.fixture(scope="module")
def adapted(base):
    """A PEFT model of it with random LoRA on all seven kinds of layers."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(0)
    network = AutoModelForImageTextToText.from_pretrained(base)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=LANGUAGE_MODEL_LINEARS, init_lora_weights=False)
    return get_peft_model(network, config).eval()


def saved(adapted, folder, naming="old", dtype=None, **changes):
    """`adapted` as a training script of 2023 saved it: the whole state dict."""
    folder.mkdir()
    state = {}
    for name, tensor in adapted.state_dict().items():
        if naming == "old":
            name = name.replace(".base_layer.", ".")
        elif naming == "parallel":
            name = f"module.{name.replace('.default.', '.')}"
        state[name] = tensor.clone() if dtype is None else tensor.to(dtype)
    state["base_model.model.language_model.model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    for name, tensor in changes.items():
        if tensor is None:
            del state[name]
        else:
            state[name] = tensor
    torch.save(state, folder / "pytorch_model.bin")
    return folder


def logits(model, ids, pixels):
    with torch.no_grad():
        return model(input_ids=ids, video_pixel_values=pixels).logits


@pytest.fixture(scope="module")
def inputs():
    ids = torch.tensor([[1, 300, 301, *[-2] * 65, 302, 303, 304]])
    return ids, torch.randn(1, 3, 4, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("naming", ["old", "new", "parallel"])
def test_the_adapter_gives_what_the_checkpoint_gave(base, adapted, inputs, tmp_path, naming):
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    source = saved(adapted, tmp_path / "owl-con", naming)
    report = convert_lora(source, tmp_path / "adapter", base, alpha=8)
    assert (report["modules"], report["rank"]) == (2 * 7, 4)
    network = AutoModelForImageTextToText.from_pretrained(base).eval()
    assert report["compared"] == len(network.state_dict())
    before = logits(network, *inputs)
    again = PeftModel.from_pretrained(network, tmp_path / "adapter").eval()
    expected = logits(adapted, *inputs)
    assert torch.equal(logits(again, *inputs), expected)
    assert (expected - before).abs().max() > 0.1
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"], settings["lora_dropout"]) == (4, 8, 0.05)
    assert settings["target_modules"] == LANGUAGE_MODEL_LINEARS
    assert settings["base_model_name_or_path"] == str(base)


def test_the_adapter_scores_as_a_model_by_its_own_name(base, adapted, tmp_path):
    """`synvita evaluate ADAPTER` knows its base."""
    from synvita_data.scoring.alignment import AlignmentScorer

    convert_lora(saved(adapted, tmp_path / "owl-con"), tmp_path / "adapter", base, alpha=8)
    scorer = AlignmentScorer.open(str(tmp_path / "adapter"), device="cpu")
    assert scorer.settings["base"] == str(base)
    assert scorer.prompt == "mplug-owl"
    weights = dict(scorer.model.named_parameters())
    for name, tensor in adapted.state_dict().items():
        if "lora_" in name:
            assert torch.equal(weights[f"model.{name}"], tensor)


def test_a_whole_model_of_a_checkpoint_whose_base_was_changed(base, adapted, inputs, tmp_path):
    """Against PEFT's own forward and merging, with another abstractor than the base's."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    eos = torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(3))
    source = saved(adapted, tmp_path / "owl-con", **{"base_model.model.abstractor.vit_eos": eos})
    with pytest.raises(SynvitaError, match=r"base is not this one.*vit_eos.*--merge"):
        convert_lora(source, tmp_path / "adapter", base)
    report = merge_lora(source, tmp_path / "whole", base, alpha=8, shard_bytes=50_000)
    assert (report["modules"], report["rank"]) == (14, 4)
    assert len(list((tmp_path / "whole").glob("model-*.safetensors"))) > 3
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "whole").eval()
    assert torch.equal(model.abstractor.vit_eos, eos)
    abstractor = adapted.get_base_model().abstractor
    before = abstractor.vit_eos.data.clone()
    try:
        abstractor.vit_eos.data.copy_(eos)
        assert (logits(model, *inputs) - logits(adapted, *inputs)).abs().max() < 1e-4
    finally:
        abstractor.vit_eos.data.copy_(before)
    assert AutoProcessor.from_pretrained(tmp_path / "whole").max_length == 256
    part = saved(adapted, tmp_path / "part", **{"base_model.model.query_tokens": None})
    with pytest.raises(SynvitaError, match="missing: query_tokens"):
        merge_lora(part, tmp_path / "other", base)


def test_only_some_layers(base, tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    network = AutoModelForImageTextToText.from_pretrained(base)
    some = LoraConfig(r=2, target_modules=r".*language_model.*\.(q_proj|v_proj)")
    source = saved(get_peft_model(network, some), tmp_path / "some")
    assert convert_lora(source, tmp_path / "adapter", base)["modules"] == 4
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    names = [f"language_model.model.layers.{i}.self_attn.{p}" for i in (0, 1) for p in ("q_proj", "v_proj")]
    assert sorted(settings["target_modules"]) == names


def test_a_checkpoint_in_bf16_of_a_base_in_fp32(base, adapted, tmp_path):
    """Compared in the coarser dtype, since training may have cast the base; LoRA keeps its own."""
    source = saved(adapted, tmp_path / "owl-con", dtype=torch.bfloat16)
    convert_lora(source, tmp_path / "adapter", base)
    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert len(tensors) == 2 * 7 * 2
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}


QUERY = "base_model.model.language_model.model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_model.model.query_tokens": torch.zeros(1, 64, 32)}, "base is not this one.*query_tokens"),
        ({"base_model.model.more": torch.zeros(2)}, "base is not this one.*no such weight"),
        ({f"{QUERY}.lora_A.default.weight": None}, "half an adapter.*lora_B alone"),
        ({f"{QUERY}.lora_A.other.weight": torch.zeros(4, 32)}, "twice|several adapters"),
        (
            {
                f"{QUERY}.lora_A.default.weight": torch.zeros(3, 32),
                f"{QUERY}.lora_B.default.weight": torch.zeros(32, 3),
            },
            "different ranks.*3, 4",
        ),
        ({f"{QUERY}.lora_A.default.weight": torch.zeros(4, 31)}, "another base model.*q_proj"),
        ({f"{QUERY}.base_layer.weight": torch.zeros(32, 32)}, "twice"),
        ({"language_model.lm_head.weight": torch.zeros(2, 2)}, "not named as PEFT"),
        (
            {
                "base_model.model.vision_model.x.lora_A.default.weight": torch.zeros(4, 32),
                "base_model.model.vision_model.x.lora_B.default.weight": torch.zeros(32, 4),
            },
            "another base model.*no such layer",
        ),
    ],
)
def test_what_is_refused(base, adapted, tmp_path, changes, words):
    source = saved(adapted, tmp_path / "owl-con", **changes)
    with pytest.raises(SynvitaError, match=words):
        convert_lora(source, tmp_path / "adapter", base)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["owl-con"]


def test_no_lora_at_all():
    with pytest.raises(SynvitaError, match="no LoRA weights"):
        take_apart({"base_model.model.query_tokens": torch.zeros(1)})


def test_a_base_that_is_none(base, adapted, tmp_path):
    source = saved(adapted, tmp_path / "owl-con")
    with pytest.raises(SynvitaError, match="cannot be read"):
        convert_lora(source, tmp_path / "adapter", tmp_path / "nowhere")
    other = tmp_path / "other"
    shutil.copytree(base, other)
    (other / "model.safetensors").unlink()
    with pytest.raises(SynvitaError, match="not a base model"):
        convert_lora(source, tmp_path / "adapter", other)


def test_the_command_for_adapters(base, adapted, tmp_path):
    from synvita_data.cli import app

    source = saved(adapted, tmp_path / "owl-con")
    command = ["convert", "mplug-owl-lora", str(source), str(tmp_path / "adapter"), "--base", str(base)]
    done = CliRunner().invoke(app, [*command, "--alpha", "8"])
    assert done.exit_code == 0, done.output
    assert "rank 4 and alpha 8 on 14 layers" in done.output
    assert isinstance(CliRunner().invoke(app, command).exception, SynvitaError)
    command[3] = str(tmp_path / "whole")
    merged = CliRunner().invoke(app, [*command, "--merge"])
    assert merged.exit_code == 0, merged.output
    assert (tmp_path / "whole" / "model.safetensors").is_file()
