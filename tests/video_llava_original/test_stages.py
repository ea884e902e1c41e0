"""Every stage of the original on its own random weights, and the scores; docs/video_llava.md has the numbers."""

import pytest
import torch
from stages import IMAGE, TOLERANCE, VOCABULARY, embeds, image_stages, run, scores, spliced, wrong


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_every_stage_is_the_originals(network, io, attention):
    network.set_attn_implementation(attention)
    assert network.model.video_tower.config._attn_implementation == attention
    ours = run(network, io)
    expected = {name[4:] for name in io if name.startswith("out.video_")}
    expected |= {"inputs_embeds", "logits", "answer_logits", "scores"}
    assert set(ours) == expected
    assert len(expected) == 16
    assert wrong(ours, io) == []


def test_the_image_path_is_the_originals(network, io):
    ours = image_stages(network, io)
    expected = {name[4:] for name in io if name.startswith("out.image_")}
    assert set(ours) == expected
    assert wrong(ours, io) == []


def test_a_prompt_with_an_image(network, io):
    ids = spliced(io["image.input_ids"][0], 4, network.config.image_token_index)[None]
    pixels = {IMAGE: io["image_pixel_values"][:1]}
    seen = {}
    network.model.language_model.register_forward_pre_hook(
        lambda module, args, named: seen.__setitem__("inputs_embeds", named["inputs_embeds"]),
        with_kwargs=True,
    )
    with torch.no_grad():
        seen["logits"] = network(input_ids=ids, **pixels).logits[..., :VOCABULARY]
    assert wrong(seen, io, "image.out.") == []


def test_scores_are_the_originals(network, io):
    ours = run(network, io)
    assert (ours["scores"] - io["out.scores"]).abs().max() < TOLERANCE["scores"]
    assert torch.allclose(scores(io["out.answer_logits"]), io["out.scores"], atol=1e-6)


def test_rows_alone_are_rows_of_a_batch(network, io):
    """A row's features and logits do not depend on its company."""
    whole = network.model.get_video_features(frames(io)).pooler_output
    for row in range(2):
        alone = network.model.get_video_features(frames(io)[row : row + 1]).pooler_output
        assert (alone - whole.unflatten(0, (2, 8))[row]).abs().max() < TOLERANCE["video"]


def frames(io):
    return io["video_pixel_values"].transpose(1, 2)


def test_the_training_layout(network, io):
    """Placeholders side by side, the answer and `</s>` appended, padding on the right."""
    ours = embeds(network, io, "train.input_ids", "train.attention_mask", left=False)
    assert torch.equal(ours["mask"], io["train.out.spliced_attention_mask"].long())
    seen = ours["mask"].bool()
    for name in ("inputs_embeds", "logits"):
        theirs = io[f"train.out.{name}"]
        assert ours[name].shape == theirs.shape
        assert (ours[name] - theirs)[seen].abs().max() < TOLERANCE[name]


def test_sixteen_frames_are_two_groups(network, io):
    """As the original's grouping: nothing of one group of eight reaches the other."""
    both = torch.cat([frames(io)[:1], frames(io)[1:]], dim=1)
    assert both.shape[:2] == (1, 16)
    with torch.no_grad():
        together = network.model.get_video_features(both).pooler_output
        apart = network.model.get_video_features(frames(io)).pooler_output
    assert torch.allclose(together, apart, atol=1e-6)


def test_a_number_of_frames_that_time_cannot_read(network, io):
    with pytest.raises(ValueError, match="reads 8 frames together, and there are 7"):
        network.model.get_video_features(frames(io)[:1, :7])


def test_one_frame_has_no_place_in_time(tiny_config, weights):
    """T = 1 skips the embedding, and attention over one frame is its values alone."""
    from synvita_data.models.video_llava_original import VideoLlavaOriginalVideoConfig
    from synvita_data.models.video_llava_original.modeling import VideoLlavaOriginalVideoLayer

    config = VideoLlavaOriginalVideoConfig(**{**tiny_config.video_config.to_dict(), "num_frames": 1})
    config._attn_implementation = "sdpa"
    layer = VideoLlavaOriginalVideoLayer(config).eval()
    states = torch.randn(3, 5, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        layer.temporal_embedding.fill_(1e3)
        before = layer(states)
        layer.temporal_embedding.zero_()
        assert torch.equal(layer(states), before)


def test_gradients_reach_every_temporal_weight(network, io):
    network.model.get_video_features(frames(io)).pooler_output.square().sum().backward()
    for name, parameter in network.model.video_tower.named_parameters():
        if "layers.2" in name or name.startswith("post_layernorm"):
            assert parameter.grad is None, name  # behind the layer that is read
        else:
            assert parameter.grad is not None, name
            if not name.endswith("k_proj.bias"):  # which attention does not depend on
                assert parameter.grad.abs().max() > 0, name
