"""Qwen3-VL: what is its own, beside the parametrised tests that every family passes (marked slow)."""

import re

import pytest
import torch
from family_checks import TEXTS, TOLERANCE, VIDEOS, as_cached, expected, language_model_linears, worst
from stock_models import clip, stock_inputs, stock_positions

from synvita_data.captions import Text
from synvita_data.models import STRATEGIES, AlignmentModel

PROMPT = "a dog runs"
# The stock processor refuses a single frame; see `test_one_frame_is_shown_twice`.
SEVERAL = [i for i, video in enumerate(VIDEOS) if len(video) > 1]
VIDEOS, TEXTS = [VIDEOS[i] for i in SEVERAL], [TEXTS[i] for i in SEVERAL]


@pytest.fixture
def family():
    return "qwen3_vl"


def test_every_way_gives_the_stock_models_log_odds(stock, wording):
    """Videos of different sizes, frame counts and rates in one batch, in any order; hidden tokens; stale deltas."""
    reference = expected(stock, wording, VIDEOS, TEXTS)
    assert reference.std() > 0.1
    model = AlignmentModel(*stock)
    assert model.prompt.name == "question"
    stock[0].model.rope_deltas = torch.tensor([[-17]])
    with torch.no_grad():
        for strategy in STRATEGIES:
            assert worst(model(VIDEOS, TEXTS, strategy=strategy), reference) < TOLERANCE, strategy
        assert worst(model(VIDEOS, TEXTS, strategy="plain", plain_batch=3), reference) < TOLERANCE
        turned = torch.cat(list(reversed(reference.split([len(own) for own in TEXTS]))))
        encoded = [as_cached(model.family, model.encode(video)) for video in reversed(VIDEOS)]
        for strategy in STRATEGIES:
            assert worst(model(encoded, TEXTS[::-1], strategy=strategy), turned) < TOLERANCE, strategy
    assert stock[0].model.rope_deltas.tolist() == [[-17]]


def test_ids_and_positions_are_the_stock_ones(stock, wording):
    network, processor = stock
    model = AlignmentModel(network, processor)
    for video in VIDEOS:
        inputs = stock_inputs(processor, video, wording.format(PROMPT))
        prepared = model.prepare(video)
        ids = model.prompter.tokens(Text(PROMPT), None, prepared).ids
        assert ids.tolist() == inputs["input_ids"][0].tolist()
        positions = model.family.positions(torch.from_numpy(ids), prepared)
        assert torch.equal(positions, stock_positions(network, inputs)[:, 0])
        assert torch.equal(prepared.inputs["pixel_values_videos"], inputs["pixel_values_videos"])


def test_times_and_positions_by_hand(stock):
    """Five frames, 3/4 s apart, the last one twice: times are the means of pairs. Each pair's grid begins behind
    its own time, and the text behind it counts on from the longer side."""
    network, processor = stock
    model = AlignmentModel(network, processor)
    prepared = model.prepare(clip(1, 5, 96, 64, step=3))
    assert re.findall(r"<([\d.]+) seconds>", prepared.placeholder) == ["0.4", "1.9", "3.0"]
    assert prepared.placeholder.count("<|video_pad|>") == 3
    assert prepared.runs == (6, 6, 6)  # 3 × 2 tokens of 32 pixels
    ids = model.prompter.tokens(Text(PROMPT), None, prepared).ids.tolist()
    expected_positions, now = [], 0
    tokens = iter(ids)
    for token in tokens:
        if token == model.family.video_token_id:
            expected_positions += [[now, now + h, now + w] for h in range(3) for w in range(2)]
            for _ in range(5):
                assert next(tokens) == model.family.video_token_id
            now += 3
        else:
            expected_positions.append([now] * 3)
            now += 1
    assert model.family.positions(torch.tensor(ids), prepared).T.tolist() == expected_positions


def test_times_are_those_of_the_file(stock):
    """The same frames later or slower are another prompt, so they score otherwise."""
    model = AlignmentModel(*stock)
    quick, slow = clip(7, 6), clip(7, 6, step=4)
    late = type(quick)(
        quick.pixels,
        tuple(i + 40 for i in quick.indices),
        tuple(t + 10 for t in quick.timestamps),
        4.0,
        "cut",
        "none",
    )
    times = [
        re.findall(r"<([\d.]+) seconds>", model.prepare(video).placeholder) for video in (quick, slow, late)
    ]
    assert times == [["0.1", "0.6", "1.1"], ["0.5", "2.5", "4.5"], ["10.1", "10.6", "11.1"]]
    with torch.no_grad():
        values = [float(model([video], [[Text(PROMPT)]]).log_odds) for video in (quick, slow, late)]
    assert len({round(value, 4) for value in values}) == 3


def test_times_are_when_frames_are_looked_at(stock):
    """Uneven frames at 0, 1, 8 and 9 s, whose file has 4 frames in 9 s; a picture that is looked at once a second."""
    model = AlignmentModel(*stock)
    pixels = clip(3, 4).pixels
    uneven = type(clip(3))(pixels, (0, 1, 2, 3), (0.0, 1.0, 8.0, 9.0), 3 / 9, "uneven", "none")
    still = type(uneven)(
        pixels, (0, 0, 0, 1), (0.0, 0.0, 0.0, 5.0), 1 / 5, "slides", "none", (2.0, 3.0, 4.0, 5.0)
    )
    # Whose only frame is looked at for longer than a file without a rate tells.
    one = type(uneven)(pixels, (0,) * 4, (0.0,) * 4, 0.0, "one picture", "none", (0.0, 2.0, 4.0, 6.0))
    times = [
        re.findall(r"<([\d.]+) seconds>", model.prepare(video).placeholder) for video in (uneven, still, one)
    ]
    assert times == [["0.5", "8.5"], ["2.5", "4.5"], ["1.0", "5.0"]]


def test_steady_frames_go_by_their_indices(stock):
    """As ever: what a container rounds to milliseconds changes nothing, not even in the last bit of a mean."""
    model = AlignmentModel(*stock)
    rate = 30_000 / 1001
    indices = (15, 44, 75, 105)
    rounded = tuple(round(index / rate, 3) for index in indices)
    video = type(clip(3))(clip(3, 4).pixels, indices, rounded, rate, "steady", "none")
    metadata = model.family.video_inputs(video)["video_metadata"][0]
    assert list(metadata.frames_indices) == list(indices)
    assert metadata.fps == rate


def test_one_frame_is_shown_twice(stock, wording):
    """As the processor does with the last of an odd number; alone it would refuse a single frame."""
    network, processor = stock
    model = AlignmentModel(network, processor)
    one = clip(4, 1)
    twice = type(one)(one.pixels.repeat(2, 0), (0, 0), (0.0, 0.0), 4.0, "twice", "none")
    with pytest.raises(ValueError, match="temporal_factor"):
        stock_inputs(processor, one, wording.format(PROMPT))
    of_one, of_two = model.prepare(one), model.prepare(twice)
    assert (of_one.placeholder, of_one.runs) == (of_two.placeholder, of_two.runs)
    assert torch.equal(of_one.inputs["pixel_values_videos"], of_two.inputs["pixel_values_videos"])
    lone_file = type(one)(one.pixels, (0,), (0.0,), 0.0, "a file of one frame has no rate", "none")
    assert model.prepare(lone_file).placeholder == of_one.placeholder
    inputs = stock_inputs(processor, clip(4, 2), wording.format(PROMPT))
    pairs = [[Text(PROMPT), Text("a cat")]]
    with torch.no_grad():
        values = [model([one], pairs, strategy=strategy).log_odds for strategy in STRATEGIES]
    assert of_one.runs == model.prepare(clip(4, 2)).runs
    assert inputs["video_grid_thw"].tolist() == of_one.inputs["video_grid_thw"].tolist()
    assert max(float((value - values[0]).abs().max()) for value in values) < TOLERANCE


@pytest.mark.parametrize("strategy", ["packed", "cached"])
def test_missing_deepstack_features_are_noticed(stock, wording, monkeypatch, strategy):
    """Layer by layer: without them, and with those of one video given to another."""
    reference = expected(stock, wording, VIDEOS, TEXTS)
    model = AlignmentModel(*stock)
    whole = model.family.beside_tokens
    layers = len(stock[0].config.vision_config.deepstack_visual_indexes)
    assert layers > 1

    def without(layer):
        def beside_tokens(features, at_video):
            changed = [{**each, "deepstack": each["deepstack"].clone()} for each in features]
            for each in changed:
                each["deepstack"][layer] = 0
            return whole(changed, at_video)

        return beside_tokens

    with torch.no_grad():
        for layer in range(layers):
            monkeypatch.setattr(model.family, "beside_tokens", without(layer))
            off = worst(model(VIDEOS, TEXTS, strategy=strategy), reference)
            # The last decoder layer's addition at the video's tokens is read by nothing behind it.
            last = layer == stock[0].config.text_config.num_hidden_layers - 1
            assert off < TOLERANCE if last else off > 100 * TOLERANCE


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_flat_positions_are_noticed(stock, wording, monkeypatch, strategy):
    """0, 1, 2, … as if the video's tokens were words."""
    reference = expected(stock, wording, VIDEOS, TEXTS)
    model = AlignmentModel(*stock)
    monkeypatch.setattr(
        type(model.family), "positions", lambda self, ids, video: torch.arange(len(ids)).expand(3, -1)
    )
    with torch.no_grad():
        assert worst(model(VIDEOS, TEXTS, strategy=strategy), reference) > 100 * TOLERANCE


def test_lora_targets_are_the_language_models_linear_layers(stock):
    network, processor = stock
    pattern = AlignmentModel(network, processor).family.lora_targets
    assert {name for name, _ in network.named_modules() if re.fullmatch(pattern, name)} == (
        language_model_linears(network)
    )
