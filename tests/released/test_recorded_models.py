"""Recorded settings make the right class, and its weights have the bytes that the Hub shows.

No `weight_map` was stored anywhere, so names cannot be compared; but bytes can, to the three digits that are shown, and
two of them are telling: the original Video-LLaVA is larger than transformers' port by the attention over time, and
Flan-T5's head is counted beside its embeddings. All models are made without memory, on torch's meta device.
"""

import json

import pytest
import torch
import transformers
from released.recorded import facts, plain, weights, write_json

from synvita_data.builders.vqascore import find_model
from synvita_data.models.families import get_family
from synvita_data.models.resolve import find_checkpoint

HF, ORIGINAL = "LanguageBind/Video-LLaVA-7B-hf", "LanguageBind/Video-LLaVA-7B"
ROUNDED = 2e-3  # three digits a shard
# Repository -> (its recorded config, the class that it means, bytes a weight).
CONFIGS = {
    HF: (plain(facts(HF)["config_of_upstream_copy"]["config"]), "VideoLlavaForConditionalGeneration", 2),
    "llava-hf/llava-1.5-7b-hf": (
        plain(facts("llava-hf/llava-1.5-7b-hf")["config_of_copy"]["config"]),
        "LlavaForConditionalGeneration",
        2,
    ),
    "Salesforce/instructblip-flan-t5-xxl": (
        plain(facts("Salesforce/instructblip-flan-t5-xxl")["config_0a81e90"]),
        "InstructBlipForConditionalGeneration",
        4,
    ),
}


def made_of(kind, config):
    with torch.device("meta"):
        return kind(config)


def count(model) -> int:
    return sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("name", CONFIGS)
def test_the_class_and_the_bytes_of_a_recorded_config(name, tmp_path):
    content, expected, size = CONFIGS[name]
    write_json(tmp_path, "config.json", content)
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    model = made_of(transformers.AutoModelForImageTextToText.from_config, config)
    assert type(model).__name__ == expected == content["architectures"][0]
    parameters = count(model)
    if "flan-t5" in name:  # made with one, which the checkpoint's own head is loaded beside
        assert model.language_model.lm_head.weight is model.language_model.shared.weight
        parameters += model.language_model.shared.weight.numel()
    assert parameters * size == pytest.approx(weights(name), rel=ROUNDED)


def test_what_the_vqa_scorers_make_of_them(tmp_path):
    kinds = {}
    for name, (content, _, _) in CONFIGS.items():
        folder = tmp_path / name.replace("/", "--")
        folder.mkdir()
        write_json(folder, "config.json", content)
        kinds[name.partition("/")[2]] = find_model(str(folder)).kind
    assert kinds == {
        "Video-LLaVA-7B-hf": "chat",
        "llava-1.5-7b-hf": "llava-1.5",
        "instructblip-flan-t5-xxl": "instructblip",
    }


def test_windows_line_ends_are_read(tmp_path):
    """Those of Video-LLaVA-7B-hf, by its files' sizes."""
    write_json(tmp_path, "config.json", CONFIGS[HF][0], windows=True)
    assert b"\r\n" in (tmp_path / "config.json").read_bytes()
    assert find_checkpoint(str(tmp_path)).model_type == "video_llava"
    assert get_family("video_llava").model_class == CONFIGS[HF][1]


def test_the_recorded_texts_have_the_official_sizes(tmp_path):
    """Which is how the record knows that a copy's text is the repository's own."""
    record = facts(HF)
    text = json.dumps(record["added_tokens"], indent=2, sort_keys=True) + "\n"
    assert len(text.replace("\n", "\r\n")) == 66
    text = json.dumps(record["preprocessor_of_descendant"]["data"], indent=2, sort_keys=True) + "\n"
    assert len(text.replace("\n", "\r\n")) == 890


def test_the_original_is_larger_by_its_attention_over_time():
    """Its tower's settings are not recorded; these are those of its paper, and no others give its bytes."""
    network = get_family("video_llava_original").network_class()
    config = network.config_class(text_config={"vocab_size": 32_000})
    model = made_of(network, config)
    assert count(model) * 2 == pytest.approx(weights(ORIGINAL), rel=1e-3)
    assert weights(ORIGINAL) == weights(ORIGINAL, ".bin")
    temporal = sum(weight.numel() for name, weight in model.named_parameters() if "temporal" in name)
    assert 2 * temporal == pytest.approx(weights(ORIGINAL) - weights(HF), abs=20e6)  # 202 of 200 MB
    assert count(model) * 2 - 2 * temporal != pytest.approx(weights(ORIGINAL), rel=1e-3)
    recorded = facts(ORIGINAL)["config_aecae02"]
    text = config.text_config
    for ours, theirs in {
        "hidden_size": text.hidden_size,
        "intermediate_size": text.intermediate_size,
        "num_hidden_layers": text.num_hidden_layers,
        "num_attention_heads": text.num_attention_heads,
        "mm_hidden_size": config.video_config.hidden_size,
        "mm_vision_select_layer": config.vision_feature_layer,
    }.items():
        assert recorded[ours] == theirs, ours


def test_mplug_owl_has_its_bytes():
    """Its config.json is recorded by size only: these are our own defaults."""
    network = get_family("mplug-owl").network_class()
    model = made_of(network, network.config_class())
    assert count(model) * 2 == pytest.approx(weights("MAGAer13/mplug-owl-llama-7b-video", ".bin"), rel=1e-3)


def test_the_language_side_of_qwen2_5_vl():
    """A flat config of early 2025, of which the vision part is not recorded."""
    content = plain(facts("Qwen/Qwen2.5-VL-7B-Instruct")["config_of_fine_tune"])
    content = {key: value for key, value in content.items() if key not in ("repo", "note")}
    config = transformers.Qwen2_5_VLConfig.from_dict(content)
    text = config.text_config
    for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_key_value_heads"):
        assert getattr(text, key) == content[key], key
    assert text.rope_parameters["mrope_section"] == [16, 24, 24]
    assert (config.image_token_id, config.video_token_id) == (151_655, 151_656)


def test_the_transformers_of_generators():
    """CogVideoX-2b's by a fine-tune with twice its channels, Wan 2.2's second one by its own text."""
    diffusers = pytest.importorskip("diffusers")
    content = plain(facts("THUDM/CogVideoX-2b")["transformer_config_of_fine_tune"]) | {"in_channels": 16}
    model = made_of(
        diffusers.CogVideoXTransformer3DModel.from_config, {k: v for k, v in content.items() if k != "repo"}
    )
    assert (len(model.transformer_blocks), model.config.num_attention_heads) == (30, 30)
    content = plain(facts("Wan-AI/Wan2.2-T2V-A14B-Diffusers")["transformer_2_config (refs/pr/2)"])
    model = made_of(diffusers.WanTransformer3DModel.from_config, content)
    assert count(model) == pytest.approx(14.3e9, rel=0.01)
