"""Single wrong details of the network, as in the fixture's notes: each must show, at the stage where it happens."""

import pytest
import torch
from stages import TOLERANCE, run, wrong
from transformers.activations import ACT2FN

# In the order of computation; what is wrong before a mutant's stage would be another mistake.
ORDER = [
    "video_embeddings",
    "video_pre_layrnorm",
    "video_layer0_temporal",
    "video_layer0",
    "video_layer1_temporal",
    "video_layer1",
    "video_layer2_temporal",
    "video_layer2",
    "video_hidden_states_m2",
    "video_pooler_output",
    "video_features",
    "video_projected",
    "inputs_embeds",
    "logits",
    "answer_logits",
    "scores",
]


def layers(network):
    return network.model.video_tower.encoder.layers


def with_forward(network, monkeypatch, half):
    """Replace the half of each layer that sees time.

    Args:
        half: (layer, states [groups, T, tokens, D]) -> the same shape.
    """
    for layer in layers(network):
        usual = super(type(layer), layer).forward

        def forward(states, mask=None, layer=layer, usual=usual, **named):
            grouped = half(layer, states.unflatten(0, (-1, layer.frames)))
            return usual(grouped.flatten(0, 1), mask, **named)

        monkeypatch.setattr(layer, "forward", forward)


def over_time(layer, states, norm=None):
    """[groups, T, tokens, D]: attention over T of each token, its residual not added."""
    turned = (norm or layer.temporal_layer_norm1)(states.transpose(1, 2).flatten(0, 1))
    return layer.temporal_attn(turned)[0].unflatten(0, (len(states), -1)).transpose(1, 2)


def embedded(layer, states):
    return states + layer.temporal_embedding[:, :, None]


def temporal_weights_dropped(network, monkeypatch):
    with_forward(network, monkeypatch, lambda layer, states: states)


def no_temporal_embedding(network, monkeypatch):
    for layer in layers(network):
        layer.temporal_embedding.data.zero_()


def no_temporal_attention(network, monkeypatch):
    with_forward(network, monkeypatch, embedded)


def no_residual_of_time(network, monkeypatch):
    with_forward(network, monkeypatch, lambda layer, states: over_time(layer, embedded(layer, states)))


def embedding_beside_the_residual(network, monkeypatch):
    """The embedding seen by attention alone, and not kept."""
    with_forward(
        network, monkeypatch, lambda layer, states: states + over_time(layer, embedded(layer, states))
    )


def the_class_token_without_time(network, monkeypatch):
    def half(layer, states):
        timed = embedded(layer, states)
        timed = timed + over_time(layer, timed)
        return torch.cat([states[:, :, :1], timed[:, :, 1:]], dim=2)

    with_forward(network, monkeypatch, half)


def the_usual_layer_first(network, monkeypatch):
    for layer in layers(network):
        usual = super(type(layer), layer).forward

        def forward(states, mask=None, layer=layer, usual=usual, **named):
            timed = embedded(layer, usual(states, mask, **named).unflatten(0, (-1, layer.frames)))
            return (timed + over_time(layer, timed)).flatten(0, 1)

        monkeypatch.setattr(layer, "forward", forward)


def the_norm_of_space_for_time(network, monkeypatch):
    for layer in layers(network):
        for name in ("weight", "bias"):
            getattr(layer.temporal_layer_norm1, name).data.copy_(getattr(layer.layer_norm1, name))


def frames_of_the_batch_interleaved(network, monkeypatch):
    """(t b) in place of (b t)."""

    def half(layer, states):
        mixed = states.flatten(0, 1).unflatten(0, (layer.frames, -1)).transpose(0, 1)
        timed = embedded(layer, mixed)
        return (
            (timed + over_time(layer, timed)).transpose(0, 1).flatten(0, 1).unflatten(0, (-1, layer.frames))
        )

    with_forward(network, monkeypatch, half)


def activation(network, name, *, projector=False):
    if projector:
        network.model.multi_modal_projector.act = ACT2FN[name]
        return
    for tower in (network.model.video_tower, network.model.image_tower):
        for layer in tower.encoder.layers:
            layer.mlp.activation_fn = ACT2FN[name]


def quick_gelu(network, monkeypatch):
    activation(network, "quick_gelu")


def tanh_gelu(network, monkeypatch):
    activation(network, "gelu_pytorch_tanh")


def tanh_gelu_in_the_projector(network, monkeypatch):
    activation(network, "gelu_pytorch_tanh", projector=True)


def eps_of_the_tower(network, monkeypatch):
    for module in network.model.video_tower.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-6


def eps_of_the_language_model(network, monkeypatch):
    for module in network.model.language_model.modules():
        if hasattr(module, "variance_epsilon"):
            module.variance_epsilon = 1e-6


def the_last_layer(network, monkeypatch):
    network.config.vision_feature_layer = -1


def heads_of_time_halved(network, monkeypatch):
    for layer in layers(network):
        layer.temporal_attn.head_dim *= 2
        layer.temporal_attn.num_heads //= 2


def towers_swapped_but_for_time(network, monkeypatch):
    own, image = network.model.video_tower, network.model.image_tower.state_dict()
    own.load_state_dict(image, strict=False)


def attention_of_space_and_time_swapped(network, monkeypatch):
    for layer in layers(network):
        layer.self_attn, layer.temporal_attn = layer.temporal_attn, layer.self_attn


def projector_biases_swapped(network, monkeypatch):
    projector = network.model.multi_modal_projector
    projector.linear_1.bias, projector.linear_2.bias = projector.linear_2.bias, projector.linear_1.bias


def head_and_embeddings_swapped(network, monkeypatch):
    embeddings, head = network.get_input_embeddings(), network.lm_head
    embeddings.weight, head.weight = head.weight, embeddings.weight


# Mutant -> the first stage that it shows at.
MUTANTS = {
    temporal_weights_dropped: "video_layer0_temporal",
    no_temporal_embedding: "video_layer0_temporal",
    no_temporal_attention: "video_layer0_temporal",
    no_residual_of_time: "video_layer0_temporal",
    embedding_beside_the_residual: "video_layer0_temporal",
    the_class_token_without_time: "video_layer0_temporal",
    the_usual_layer_first: "video_layer0_temporal",
    the_norm_of_space_for_time: "video_layer0_temporal",
    frames_of_the_batch_interleaved: "video_layer0_temporal",
    heads_of_time_halved: "video_layer0_temporal",
    attention_of_space_and_time_swapped: "video_layer0_temporal",
    quick_gelu: "video_layer0",
    tanh_gelu: "video_layer0",
    eps_of_the_tower: "video_layer0_temporal",
    towers_swapped_but_for_time: "video_embeddings",
    the_last_layer: "video_features",
    projector_biases_swapped: "video_projected",
    tanh_gelu_in_the_projector: "video_projected",
    head_and_embeddings_swapped: "inputs_embeds",
    eps_of_the_language_model: "logits",
}


@pytest.mark.parametrize(
    ("mutate", "first"), MUTANTS.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_a_wrong_detail_is_seen_where_it_happens(network, io, monkeypatch, mutate, first):
    mutate(network, monkeypatch)
    ours = run(network, io)
    found = wrong(ours, io)
    assert min(found, key=ORDER.index) == first
    assert {"logits", "answer_logits", "scores"} <= set(found)
    assert (ours["scores"] - io["out.scores"]).abs().max() > TOLERANCE["scores"]


def test_reversed_frames_are_seen(network, io):
    """Without time they would only permute the tokens of frames; the fixture's scores move by 2e-2."""
    turned = {**io, "video_pixel_values": io["video_pixel_values"].flip(2)}
    ours = run(network, turned)
    for name in ("video_embeddings", "video_pre_layrnorm"):
        assert torch.allclose(ours[name].flip(1), io[f"out.{name}"], atol=1e-5)
    turned_back = ours["video_layer0_temporal"].flip(1)
    assert (turned_back - io["out.video_layer0_temporal"]).abs().max() > 1
    assert (ours["scores"] - io["out.scores"]).abs().max() > 1e-2


def test_a_video_without_its_class_tokens_is_seen(network, io):
    right = network.model.multi_modal_projector.forward
    network.model.multi_modal_projector.forward = lambda states: right(states[:, 1:])
    with pytest.raises(ValueError, match="do not match"):
        run(network, io)


def test_missing_separators_are_seen(network, io):
    """The spaces that the released evaluation writes between the frames' placeholders."""
    separator = 30
    rows = [row[row != separator] for row in io["input_ids"]]
    assert {len(row) for row in rows} == {32 - 7}
    mask = [seen[row != separator] for row, seen in zip(io["input_ids"], io["attention_mask"], strict=True)]
    fewer = {**io, "input_ids": torch.stack(rows), "attention_mask": torch.stack(mask)}
    ours = run(network, fewer)
    assert wrong({"inputs_embeds": ours["inputs_embeds"]}, io) == ["inputs_embeds"]
    assert (ours["scores"] - io["out.scores"]).abs().max() > 1e-2
