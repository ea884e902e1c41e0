"""Every stage of the original on its own random weights, and single wrong details, which all must show."""

import pytest
import torch
from released_owl import answer_log_odds, read_positions

YES, NO = 77, 33
TOLERANCE = {
    "vision": 1e-6,
    "abstractor": 1e-6,
    "inputs_embeds": 1e-6,
    "logits": 1e-4,
    "scores": 1e-6,
    "loss": 1e-5,
}


def run(model, io, **changes):
    """What our model makes of the fixture's inputs, by the fixture's names."""
    seen = {}

    def keep(name):
        return lambda module, args, output: seen.__setitem__(name, output.detach())

    tower, abstractor = model.vision_model, model.abstractor
    hooks = [
        tower.embeddings.register_forward_hook(keep("vision_embeddings")),
        tower.register_forward_hook(keep("vision_last_hidden_state")),
        abstractor.register_forward_hook(keep("abstractor_last_hidden_state")),
        model.language_model.model.register_forward_pre_hook(
            lambda module, args, named: seen.__setitem__("inputs_embeds", named["inputs_embeds"]),
            with_kwargs=True,
        ),
    ]
    for number, layer in enumerate(tower.encoder.layers):
        hooks.append(layer.register_forward_hook(keep(f"vision_layer{number}")))
        hooks.append(layer.temporal.register_forward_hook(keep(f"vision_layer{number}_temporal")))
    for number, layer in enumerate(abstractor.encoder.layers):
        hooks.append(layer.register_forward_hook(keep(f"abstractor_layer{number}")))
    inputs = {"input_ids": io["input_ids"], "video_pixel_values": io["video_pixel_values"], **changes}
    with torch.no_grad():
        seen["logits"] = model(**inputs).logits
    for hook in hooks:
        hook.remove()
    if "vision_embeddings" in seen:  # frames are still folded into the batch there
        seen["vision_embeddings"] = seen["vision_embeddings"].unflatten(0, (len(io["input_ids"]), -1))
    return seen


def wrong(ours, io, prefix="out."):
    """Names of the fixture's tensors that ours miss by more than the tolerance."""
    names = []
    for name, value in ours.items():
        expected = io[prefix + name]
        kind = name if name in TOLERANCE else name.partition("_")[0]
        # Between the tower's layers values reach 9, and the original's own rounding is 5e-6 (against float64).
        size = max(1.0, float(expected.abs().max())) if kind == "vision" else 1.0
        near = value.shape == expected.shape and (value - expected).abs().max() <= TOLERANCE[kind] * size
        if not near:
            names.append(name)
    return names


def scores(logits, ids):
    return answer_log_odds(logits, ids, YES, NO).sigmoid()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_every_stage_is_the_originals(owl, io, attention):
    owl.set_attn_implementation(attention)
    assert owl.vision_model.config._attn_implementation == attention
    ours = run(owl, io)
    stages = {name[4:] for name in io if name.startswith("out.")} - {"read_positions", "scores"}
    assert set(ours) == stages
    assert len(stages) == 11
    assert wrong(ours, io) == []


def test_scores_are_the_originals(owl, io):
    ours = run(owl, io)
    assert read_positions(io["input_ids"]).tolist() == io["out.read_positions"].tolist() == [85, 79]
    assert (scores(ours["logits"], io["input_ids"]) - io["out.scores"]).abs().max() < TOLERANCE["scores"]


def test_hidden_keys(owl, io):
    """Zeros in the mask hide question tokens as keys; positions stay."""
    mask = io["sem.attention_mask"]
    assert (mask == 0).sum() > 0
    ours = run(owl, io, attention_mask=mask)
    assert wrong({"logits": ours["logits"]}, io, "sem.out.") == []
    assert (ours["logits"] - io["out.logits"]).abs().max() > 0.1


def test_the_video_is_seen_whatever_the_mask_says(owl, io):
    mask = io["sem.attention_mask"].masked_fill(io["input_ids"] < 0, 0)
    ours = run(owl, io, attention_mask=mask)
    assert wrong({"logits": ours["logits"]}, io, "sem.out.") == []


def test_masking_the_padding_changes_no_token(owl, io):
    real = io["input_ids"] != 0
    ours = run(owl, io, attention_mask=real.long())["logits"]
    assert torch.allclose(ours[real], io["out.logits"][real], atol=1e-4, rtol=1e-4)


def test_the_loss_is_the_originals(owl, io):
    with torch.no_grad():
        output = owl(
            input_ids=io["train.input_ids"],
            video_pixel_values=io["video_pixel_values"],
            labels=io["train.out.labels"],
        )
    assert abs(float(output.loss) - float(io["train.out.loss"])) < TOLERANCE["loss"]


def test_features_of_the_tower_take_the_place_of_pixels(owl, io):
    inputs = {"video_pixel_values": None, "video_features": io["out.vision_last_hidden_state"]}
    ours = run(owl, io, **inputs)
    assert "vision_last_hidden_state" not in ours
    assert wrong({name: ours[name] for name in ("abstractor_last_hidden_state", "logits")}, io) == []


def test_logits_where_they_are_asked_for(owl, io):
    whole = run(owl, io)["logits"]
    assert torch.allclose(run(owl, io, logits_to_keep=3)["logits"], whole[:, -3:], atol=1e-5)
    at = torch.tensor([79, 85])
    assert torch.allclose(run(owl, io, logits_to_keep=at)["logits"], whole[:, at], atol=1e-5)


# --- One wrong detail at a time -----------------------------------------------------------------------------


def class_token_not_doubled(model, monkeypatch):
    for layer in model.vision_model.encoder.layers:
        right = layer.temporal.forward

        def forward(states, right=right):
            out = right(states).clone()
            out[:, :, 0] = 0
            return out

        monkeypatch.setattr(layer.temporal, "forward", forward)


def query_key_value_in_three_blocks(model, monkeypatch):
    """Rows reordered so that reading them head by head gives what reading three blocks would."""
    for layer in model.vision_model.encoder.layers:
        packed, heads = layer.self_attn.query_key_value, layer.self_attn.heads
        for tensor in (packed.weight, packed.bias):
            blocks = tensor.data.unflatten(0, (3, heads, -1)).transpose(0, 1)
            tensor.data = blocks.flatten(0, 2).clone()


def residual_of_the_query_as_it_was(model, monkeypatch):
    for layer in model.abstractor.encoder.layers:
        cross = layer.crossattention

        def forward(queries, memory, cross=cross):
            normed = cross.norm1(queries)
            readable = torch.cat([normed, cross.normk(memory)], dim=1)
            return cross.output(queries, cross.attention(normed, readable))

        monkeypatch.setattr(cross, "forward", forward)


def queries_do_not_read_themselves(model, monkeypatch):
    for layer in model.abstractor.encoder.layers:
        cross = layer.crossattention

        def forward(queries, memory, cross=cross):
            normed = cross.norm1(queries)
            return cross.output(normed, cross.attention(normed, cross.normk(memory)))

        monkeypatch.setattr(cross, "forward", forward)


def eps_of_the_temporal_norm(model, monkeypatch):
    for layer in model.vision_model.encoder.layers:
        layer.temporal.ln.eps = 1e-6


def eps_of_the_abstractors_norms(model, monkeypatch):
    for layer in model.abstractor.encoder.layers:
        cross = layer.crossattention
        cross.norm1.eps = cross.normk.eps = cross.output.norm2.eps = 1e-6


def eps_inside_the_abstractors_mlp(model, monkeypatch):
    for layer in model.abstractor.encoder.layers:
        layer.crossattention.output.mlp.ffn_ln.eps = 1e-5


def no_temporal_tokens(model, monkeypatch):
    model.abstractor.temporal_visual_fc.weight.data.zero_()
    model.abstractor.temporal_visual_fc.bias.data.zero_()


def gelu_instead_of_quick_gelu(model, monkeypatch):
    for layer in model.vision_model.encoder.layers:
        layer.temporal.activation = torch.nn.GELU()


@pytest.mark.parametrize(
    ("mutate", "first"),
    [
        (class_token_not_doubled, "vision_layer0_temporal"),
        (query_key_value_in_three_blocks, "vision_layer0"),
        (eps_of_the_temporal_norm, "vision_layer0_temporal"),
        (gelu_instead_of_quick_gelu, "vision_layer0_temporal"),
        (residual_of_the_query_as_it_was, "abstractor_layer0"),
        (queries_do_not_read_themselves, "abstractor_layer0"),
        (eps_of_the_abstractors_norms, "abstractor_layer0"),
        (eps_inside_the_abstractors_mlp, "abstractor_layer0"),
        (no_temporal_tokens, "abstractor_last_hidden_state"),
    ],
)
def test_a_wrong_detail_is_seen(owl, io, monkeypatch, mutate, first):
    mutate(owl, monkeypatch)
    ours = run(owl, io)
    found = wrong(ours, io)
    assert first in found
    assert "logits" in found
    assert (scores(ours["logits"], io["input_ids"]) - io["out.scores"]).abs().max() > TOLERANCE["scores"]


def test_shifted_inputs_are_seen(owl, io):
    """The original feeds all ids; without the last, logits and loss have other places."""
    assert wrong({"logits": run(owl, io, input_ids=io["input_ids"][:, :-1])["logits"]}, io) == ["logits"]
    with torch.no_grad():
        shifted = owl(
            input_ids=io["train.input_ids"][:, :-1],
            video_pixel_values=io["video_pixel_values"],
            labels=io["train.out.labels"][:, 1:],
        )
    assert abs(float(shifted.loss) - float(io["train.out.loss"])) > 100 * TOLERANCE["loss"]


@pytest.mark.parametrize("off", [-1, 1])
def test_another_read_position_is_seen(owl, io, off):
    logits = run(owl, io)["logits"].roll(-off, dims=1)
    assert (scores(logits, io["input_ids"]) - io["out.scores"]).abs().max() > 1e-3
