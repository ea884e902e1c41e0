"""mPLUG-Owl as a model of transformers: sizes, saving, Auto classes, one frame, bf16, training, wrong inputs."""

import json

import pytest
import torch
from torch import nn

from synvita_data.models.mplug_owl import (
    MplugOwlConfig,
    MplugOwlForConditionalGeneration,
    MplugOwlVisualAbstractorConfig,
)

TARGETS = r".*language_model.*\.(q_proj|v_proj|k_proj|o_proj|gate_proj|down_proj|up_proj)"


@pytest.fixture(scope="module")
def full():
    """The released size, without memory."""
    with torch.device("meta"):
        return MplugOwlForConditionalGeneration(MplugOwlConfig())


def test_the_full_model_has_the_released_weights(full):
    """949 keys of the released checkpoint are 917 weights and a rotary buffer in each of the 32 layers."""
    state = full.state_dict()
    assert len(state) + full.config.text_config.num_hidden_layers == 949
    assert sum(tensor.numel() for tensor in state.values()) == 7_152_633_856
    assert not any("inv_freq" in name for name in state)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("query_tokens", [1, 64, 1024]),
        ("temporal_query_tokens", [1, 64, 1024]),
        ("vision_model.embeddings.cls_token", [1, 1, 1024]),
        ("vision_model.embeddings.position_embedding", [1, 257, 1024]),
        ("vision_model.embeddings.patch_embed.weight", [1024, 3, 14, 14]),
        ("vision_model.embeddings.pre_layernorm.bias", [1024]),
        ("vision_model.encoder.layers.23.temporal.down_proj.weight", [512, 1024, 1, 1, 1]),
        ("vision_model.encoder.layers.0.temporal.conv.weight", [512, 1, 3, 1, 1]),
        ("vision_model.encoder.layers.0.temporal.up_proj.bias", [1024]),
        ("vision_model.encoder.layers.0.temporal.ln.weight", [1024]),
        ("vision_model.encoder.layers.0.self_attn.query_key_value.weight", [3072, 1024]),
        ("vision_model.encoder.layers.0.self_attn.dense.bias", [1024]),
        ("vision_model.encoder.layers.0.mlp.fc1.weight", [4096, 1024]),
        ("vision_model.encoder.layers.0.input_layernorm.weight", [1024]),
        ("vision_model.encoder.layers.0.post_attention_layernorm.weight", [1024]),
        ("vision_model.post_layernorm.weight", [1024]),
        ("abstractor.encoder.layers.5.crossattention.attention.value.bias", [1024]),
        ("abstractor.encoder.layers.0.crossattention.output.out_proj.weight", [1024, 1024]),
        ("abstractor.encoder.layers.0.crossattention.output.norm2.weight", [1024]),
        ("abstractor.encoder.layers.0.crossattention.output.mlp.w1.weight", [2816, 1024]),
        ("abstractor.encoder.layers.0.crossattention.output.mlp.w2.weight", [1024, 2816]),
        ("abstractor.encoder.layers.0.crossattention.output.mlp.ffn_ln.weight", [2816]),
        ("abstractor.encoder.layers.0.crossattention.normk.bias", [1024]),
        ("abstractor.vit_eos", [1, 1, 4096]),
        ("abstractor.visual_fc.weight", [4096, 1024]),
        ("abstractor.temporal_visual_fc.bias", [4096]),
        ("language_model.model.embed_tokens.weight", [32000, 4096]),
        ("language_model.model.layers.31.mlp.down_proj.weight", [4096, 11008]),
        ("language_model.lm_head.weight", [32000, 4096]),
    ],
)
def test_names_and_shapes_of_the_released_weights(full, name, shape):
    assert list(full.state_dict()[name].shape) == shape


def test_lora_reaches_the_224_layers_of_the_language_model(full):
    import re

    from synvita_data.models import get_family

    family = get_family("mplug-owl")
    for pattern in (TARGETS, family.lora_targets):
        named = [name for name, _ in full.named_modules() if re.fullmatch(pattern, name)]
        assert len(named) == 7 * 32
        assert all(name.startswith("language_model.model.layers.") for name in named)


@pytest.mark.parametrize(
    ("nominal", "width"), [(4096, 2816), (2816, 2816), (64, 256), (384, 256), (385, 256), (388, 512)]
)
def test_width_of_the_abstractors_mlp(nominal, width):
    assert MplugOwlVisualAbstractorConfig(intermediate_size=nominal).mlp_width == width


def test_saving_and_loading_is_exact(owl, io, tmp_path):
    from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText

    owl.save_pretrained(tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]
    with torch.no_grad():
        expected = owl(input_ids=io["input_ids"], video_pixel_values=io["video_pixel_values"]).logits
    config = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(config, MplugOwlConfig)
    loaded, own = config.to_dict(), owl.config.to_dict()
    for changes in ("transformers_version", "_name_or_path"):
        loaded.pop(changes, None), own.pop(changes, None)
    assert loaded == own
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "mplug-owl"
    for auto in (AutoModel, AutoModelForImageTextToText, MplugOwlForConditionalGeneration):
        again, loading = auto.from_pretrained(tmp_path, output_loading_info=True)
        assert type(again) is MplugOwlForConditionalGeneration
        assert not any(loading.values())
        assert all(torch.equal(again.state_dict()[name], own) for name, own in owl.state_dict().items())
        with torch.no_grad():
            logits = again(input_ids=io["input_ids"], video_pixel_values=io["video_pixel_values"]).logits
        assert torch.equal(logits, expected)


def test_one_frame_has_no_time(owl, io):
    """Neither the temporal step nor temporal queries: their weights do not matter, all others do."""
    inputs = {"input_ids": io["input_ids"], "video_pixel_values": io["video_pixel_values"][:, :, :1]}
    with torch.no_grad():
        before = owl(**inputs).logits
        assert before.isfinite().all()
        timed = [name for name, _ in owl.named_parameters() if "temporal" in name]
        assert len(timed) == 2 * 8 + 3
        for name, weights in owl.named_parameters():
            if name in timed:
                weights.fill_(float("nan"))
        assert torch.equal(owl(**inputs).logits, before)
        assert (
            owl(input_ids=io["input_ids"], video_pixel_values=io["video_pixel_values"]).logits.isnan().any()
        )
        tokens = owl.get_video_tokens(owl.vision_model(inputs["video_pixel_values"]))
        assert tokens.shape == (2, 65, 48)


def test_the_order_of_frames_matters_only_through_the_temporal_step(owl, io):
    video = io["video_pixel_values"]
    with torch.no_grad():
        one, two = (owl.vision_model(v) for v in (video, video.flip(2)))
        assert (one - two.flip(1)).abs().max() > 1e-3
        for layer in owl.vision_model.encoder.layers:  # a filter that looks the same both ways
            weights = layer.temporal.conv.weight
            weights.copy_((weights + weights.flip(2)) / 2)
        one, two = (owl.vision_model(v) for v in (video, video.flip(2)))
        assert (one - two.flip(1)).abs().max() < 1e-6


def test_the_temporal_step_is_three_convolutions(owl, io):
    """Linear layers and a shifted sum give what torch's Conv3d gives."""
    temporal = owl.vision_model.encoder.layers[0].temporal
    states = torch.randn(2, 4, 10, 32, generator=torch.Generator().manual_seed(0))
    grid = temporal.ln(states[:, :, 1:]).permute(0, 3, 1, 2).unflatten(3, (3, 3))
    for layer in (temporal.down_proj, temporal.conv):
        grid = nn.functional.conv3d(
            grid, layer.weight, layer.bias, padding=layer.padding, groups=layer.groups
        )
    grid = nn.functional.conv3d(
        grid * torch.sigmoid(1.702 * grid), temporal.up_proj.weight, temporal.up_proj.bias
    )
    out = temporal(states)
    assert torch.equal(out[:, :, 0], states[:, :, 0])
    assert torch.allclose(out[:, :, 1:], grid.flatten(3).permute(0, 2, 3, 1), atol=1e-6)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_bf16(owl, io, attention):
    """Finite, and near fp32 where the weights are those that bf16 can hold."""
    owl.set_attn_implementation(attention)
    inputs = {"input_ids": io["input_ids"], "video_pixel_values": io["video_pixel_values"]}
    owl.to(torch.bfloat16)
    with torch.no_grad():
        coarse = owl(**inputs).logits
        exact = owl.float()(**inputs).logits
    assert coarse.dtype == torch.bfloat16
    correlation = torch.corrcoef(torch.stack([coarse.float().flatten(), exact.flatten()]))[0, 1]
    assert correlation > 0.99


def test_float16_is_refused_for_scoring(checkpoint_of_owl):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from synvita_data.errors import SynvitaError
    from synvita_data.models import AlignmentModel

    model = AutoModelForImageTextToText.from_pretrained(checkpoint_of_owl, dtype=torch.float16)
    with pytest.raises(SynvitaError, match="float16"):
        AlignmentModel(model, AutoProcessor.from_pretrained(checkpoint_of_owl))


@pytest.fixture(scope="module")
def checkpoint_of_owl(tmp_path_factory):
    from synvita_data.testing import make_tiny

    return make_tiny("mplug-owl", tmp_path_factory.mktemp("owl"))


def training_step(model, io):
    """Loss and LoRA's gradients."""
    model.zero_grad(set_to_none=True)
    loss = model(
        input_ids=io["train.input_ids"],
        video_pixel_values=io["video_pixel_values"],
        labels=io["train.out.labels"],
    ).loss
    loss.backward()
    return loss.item(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_training_step_under_peft_with_gradient_checkpointing(owl, io, reentrant):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=4, target_modules=TARGETS, init_lora_weights=False)
    model = get_peft_model(owl, config).train()
    for module in owl.abstractor.modules():
        if hasattr(module, "config"):
            module.config.attention_probs_dropout_prob = 0.0
    loss, reference = training_step(model, io)
    assert len(reference) == 2 * 7 * 2
    assert all("language_model" in name and "lora_" in name for name in reference)
    owl.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    if reentrant:
        owl.enable_input_require_grads()
    checkpointed = [m for m in owl.modules() if getattr(m, "gradient_checkpointing", False)]
    kinds = {type(module).__name__ for module in checkpointed}
    assert {"LlamaDecoderLayer", "MplugOwlVisionEncoderLayer", "MplugOwlVisualAbstractorLayer"} <= kinds
    again, gradients = training_step(model, io)
    assert again == pytest.approx(loss, abs=1e-6)
    assert gradients.keys() == reference.keys()
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, reference[name], atol=1e-6), name
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    optimiser.step()
    assert training_step(model, io)[0] < loss


def test_checkpointing_reaches_tower_and_abstractor_when_they_train(owl, io):
    owl.train()
    for module in owl.abstractor.modules():
        if hasattr(module, "config"):
            module.config.attention_probs_dropout_prob = 0.0
    _, reference = training_step(owl, io)
    assert len(reference) == len(list(owl.parameters()))
    owl.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    _, gradients = training_step(owl, io)
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, reference[name], atol=1e-5, rtol=1e-4), name


def test_the_class_in_train_mode_drops_what_the_originals_does(owl, io):
    """Dropout 0.1 in the abstractor, none in the tower. What our trainer does with it while it is frozen is decided in
    `tests/training/test_trainer_errors.py::test_dropout_of_a_frozen_part_is_off_unless_it_is_asked_for`."""
    owl.train()
    with torch.no_grad():
        features = [owl.vision_model(io["video_pixel_values"]) for _ in range(2)]
        assert torch.equal(*features)
        torch.manual_seed(0)
        one, two = (owl.get_video_tokens(features[0]) for _ in range(2))
        assert (one - two).abs().max() > 1e-3
        owl.eval()
        assert torch.equal(*(owl.get_video_tokens(features[0]) for _ in range(2)))


def test_inputs_that_do_not_fit(owl, io):
    ids, video = io["input_ids"], io["video_pixel_values"]
    features = io["out.vision_last_hidden_state"]
    for inputs, words in (
        ({"input_ids": ids}, "neither pixels nor features"),
        ({"input_ids": ids, "video_pixel_values": video[:1]}, "1 videos"),
        ({"input_ids": ids[:, 20:], "video_pixel_values": video}, "65 video tokens"),
        ({"input_ids": ids.clamp(min=0), "video_pixel_values": video}, "65 video tokens"),
        ({"input_ids": ids, "video_pixel_values": video, "video_features": features}, "not both"),
        ({"input_ids": ids, "video_pixel_values": video[..., :-1]}, "must be"),
        ({"video_pixel_values": video}, "input_ids or inputs_embeds"),
        ({"inputs_embeds": io["out.inputs_embeds"], "video_features": features}, "already"),
    ):
        with pytest.raises(ValueError, match=words):
            owl(**inputs)
