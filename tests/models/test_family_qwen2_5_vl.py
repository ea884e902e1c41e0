"""Qwen2.5-VL: what is its own, beside the parametrised tests that every family passes (marked slow)."""

import re

import pytest
import torch
from family_checks import TEXTS, TOLERANCE, VIDEOS, as_cached, expected, language_model_linears, worst
from stock_models import clip, stock_ids, stock_inputs, stock_log_odds, stock_positions

from synvita_data.captions import Text
from synvita_data.models import STRATEGIES, AlignmentModel

PROMPT = "a dog runs"


@pytest.fixture
def family():
    return "qwen2_5_vl"


def test_every_way_gives_the_stock_models_log_odds(stock, wording):
    """Videos of different sizes, frame counts and rates in one batch, in any order; hidden tokens; stale deltas."""
    reference = expected(stock, wording)
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


def test_positions_by_hand(stock):
    """Rows of time, height and width for a grid, then text from the largest position on.

    Whole seconds between pairs: transformers 5.17 cuts fractions off, 5.23 multiplies first, and we follow each.
    """
    network, processor = stock
    network.config.vision_config.tokens_per_second = 2
    model = AlignmentModel(network, processor)
    video = clip(0, 6, 84, 112, step=4)  # 3 pairs of frames, 3 × 4 tokens; pairs are 2 s apart
    prepared = model.prepare(video)
    assert prepared.runs == (36,)
    assert prepared.inputs["second_per_grid_ts"].tolist() == [2.0]
    ids = model.prompter.tokens(Text(PROMPT), None, prepared).ids.tolist()
    start = ids.index(model.family.video_token_id)
    seen = [(start + 4 * t, start + h, start + w) for t in range(3) for h in range(3) for w in range(4)]
    text = start + 4  # the stock model goes on behind the longer side, wherever time has got to
    behind = [(i, i, i) for i in range(text, text + len(ids) - start - 36)]
    before = [(i, i, i) for i in range(start)]
    assert model.family.positions(torch.tensor(ids), prepared).T.tolist() == [
        list(position) for position in before + seen + behind
    ]


def test_seconds_between_frames_matter_and_not_where_the_clip_begins(stock, wording):
    network, processor = stock
    slow = clip(7, 6, step=4)
    later = type(slow)(
        slow.pixels,
        tuple(i + 40 for i in slow.indices),
        tuple(t + 10 for t in slow.timestamps),
        4.0,
        "cut",
        "none",
    )
    model = AlignmentModel(network, processor)
    texts = [[Text(PROMPT)]]
    with torch.no_grad():
        values = [
            float(model([video], texts, strategy="packed").log_odds) for video in (clip(7, 6), slow, later)
        ]
    assert abs(values[0] - values[1]) > 100 * TOLERANCE
    assert values[1] == values[2]
    assert abs(values[1] - stock_log_odds(*stock, slow, wording.format(PROMPT), PROMPT)) < TOLERANCE


def test_seconds_are_those_between_looking(stock):
    """A slide that is looked at every half second, though it came on show long before and stays for a minute."""
    model = AlignmentModel(*stock)
    pixels = clip(7, 4).pixels
    slides = type(clip(7))(
        pixels, (2,) * 4, (40.0,) * 4, 0.05, "slides", "none", (100.0, 100.5, 101.0, 101.5)
    )
    assert model.prepare(slides).inputs["second_per_grid_ts"].tolist() == [1.0]
    uneven = type(slides)(pixels, (0, 1, 2, 3), (0.0, 1.0, 8.0, 9.0), 3 / 9, "uneven", "none")
    assert model.prepare(uneven).inputs["second_per_grid_ts"].tolist() == [
        6.0
    ]  # two frames, 3 s apart on average


def test_stale_deltas_move_the_stock_model_and_not_ours(stock, wording):
    """A cached forward without positions goes by the deltas of whatever ran before; ours passes positions."""
    from transformers import DynamicCache

    network, processor = stock
    video, text = VIDEOS[0], TEXTS[0][0]
    reference = stock_log_odds(*stock, video, wording.format(text.caption), text.caption)
    inputs = stock_inputs(processor, video, wording.format(text.caption))
    yes, no = AlignmentModel(network, processor).prompter.answer_ids

    def stock_with(deltas):
        cache = DynamicCache(config=network.config)
        ids = inputs["input_ids"]
        first = {**inputs, "input_ids": ids[:, :-5], "mm_token_type_ids": inputs["mm_token_type_ids"][:, :-5]}
        first["attention_mask"] = inputs["attention_mask"][:, :-5]
        network(**first, past_key_values=cache, use_cache=True)
        if deltas is not None:
            network.model.rope_deltas = torch.tensor([[deltas]])
        logits = network(input_ids=ids[:, -5:], past_key_values=cache, use_cache=True).logits[0, -1]
        return float(logits[yes] - logits[no])

    with torch.no_grad():
        assert abs(stock_with(None) - reference) < TOLERANCE
        stale = int(network.model.rope_deltas) - 9
        assert abs(stock_with(stale) - reference) > 100 * TOLERANCE
        for strategy in STRATEGIES:
            ours = AlignmentModel(network, processor)(
                [video], [[text, TEXTS[0][1]]], strategy=strategy
            ).log_odds[0]
            assert abs(float(ours) - reference) < TOLERANCE, strategy


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_flat_positions_are_noticed(stock, wording, monkeypatch, strategy):
    """0, 1, 2, … as if the video's tokens were words."""
    reference = expected(stock, wording)
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


def test_one_frame_and_a_still_picture(stock, wording):
    """No seconds pass between frames of one instant; the ids are still the processor's own."""
    import numpy as np

    network, processor = stock
    model = AlignmentModel(network, processor)
    one = clip(4, 1)
    still = type(one)(np.repeat(one.pixels, 4, 0), (0,) * 4, (0.0,) * 4, 0.0, "still", "none")
    assert model.prepare(one).runs == model.prepare(clip(4, 2)).runs
    assert model.prompter.tokens(Text(PROMPT), None, model.prepare(still)).ids.tolist() == stock_ids(
        processor, clip(4, 4), wording.format(PROMPT)
    )
    with torch.no_grad():
        assert model([still, one], [[Text(PROMPT)]] * 2).log_odds.isfinite().all()


def test_the_default_frames_are_the_released_codes(stock):
    policy = AlignmentModel(*stock).family.default_frames()
    assert (policy.rule, policy.fps) == ("fps", 2.0)


def test_a_file_is_scored_at_two_frames_a_second_or_as_many_as_asked(stock, checkpoint_of, wording, tmp_path):
    """Through the scorer, decoder and all: what the stock model says of the frames that should be looked at."""
    from synvita_data.scoring import ScoringItem
    from synvita_data.scoring.alignment import AlignmentScorer
    from synvita_data.video import FramePolicy, decode, encode_mp4

    path = tmp_path / "clip.mp4"
    encode_mp4(clip(6, 24, 56, 84).pixels, 8.0, path)
    whole = decode(path, FramePolicy(rule="all"))
    item = ScoringItem("0", "clip", path, (Text(PROMPT), Text("a cat")), ("0", "1"))
    for asked, indices in ((None, range(0, 24, 4)), ({"count": 3}, (0, 11, 23))):
        scorer = AlignmentScorer.open(str(checkpoint_of("qwen2_5_vl")), frames=asked, device="cpu")
        (scored,) = scorer.score([item])
        assert scored.frame_indices == tuple(indices)
        frames = type(whole)(
            whole.pixels[list(indices)],
            tuple(indices),
            tuple(whole.timestamps[i] for i in indices),
            whole.fps,
            whole.source,
            whole.backend,
        )
        ours = AlignmentModel(*stock)([frames], [[Text(PROMPT)]], strategy="plain").log_odds.detach()
        assert abs(float(scored.scores[0]) - float(ours)) < TOLERANCE
        if asked is None:
            stocks = type(frames)(
                frames.pixels, tuple(range(0, 12, 2)), frames.timestamps, 4.0, "half a second apart", "none"
            )
            assert (
                abs(stock_log_odds(*stock, stocks, wording.format(PROMPT), PROMPT) - float(ours)) < TOLERANCE
            )
