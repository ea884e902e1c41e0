"""Plain, packed and cached agree with the stock model's own forward, and what breaks exactness is noticed."""

import pytest
import torch
from stock_models import clip, stock_log_odds

from synvita_data.captions import Text
from synvita_data.errors import SynvitaError
from synvita_data.models import STRATEGIES, AlignmentModel, strategies

TOLERANCE = 1e-5  # log-odds, fp32
TEXTS = [
    [
        Text("A man plays a guitar on a stage."),
        Text("A man plays a piano on a stage.", hidden=((14, 19),)),
        Text("A man plays a piano on a stage."),
        Text("dogs"),
        Text(
            "A red circle moves left before a blue square grows, then both of them stop.", ((2, 12), (30, 41))
        ),
    ],
    [
        Text("Ein Vögel fliegt über 東京 🎸.", hidden=((4, 9), (22, 24))),
        Text("Ein Vögel fliegt über 東京 🎸."),
        Text("A woman cuts vegetables", hidden=((0, 23),)),
    ],
]
VIDEOS = [clip(0), clip(1)]


def expected(stock, wording):
    return torch.tensor(
        [
            stock_log_odds(*stock, video, wording.format(text.caption), text.caption, text.hidden)
            for video, texts in zip(VIDEOS, TEXTS, strict=True)
            for text in texts
        ]
    )


def worst(output, reference) -> float:
    assert output.log_odds.dtype == torch.float32
    return float((output.log_odds.detach().double() - reference).abs().max())


@pytest.mark.parametrize("attention", ["split", "sdpa", "eager"])
def test_all_ways_give_the_stock_models_log_odds(stock, wording, attention):
    reference = expected(stock, wording)
    assert reference.unique().numel() == len(reference)  # hiding and wording matter
    assert reference.std() > 0.1
    model = AlignmentModel(*stock, attention=attention)
    with torch.no_grad():
        for strategy in STRATEGIES:
            assert worst(model(VIDEOS, TEXTS, strategy=strategy), reference) < TOLERANCE, strategy
        encoded = [model.encode(video) for video in VIDEOS]
        for strategy in STRATEGIES:  # once encoded, the tower need not run again
            assert worst(model(encoded, TEXTS, strategy=strategy), reference) < TOLERANCE, strategy
        assert worst(model(VIDEOS, TEXTS, strategy="plain", plain_batch=3), reference) < TOLERANCE
        assert worst(model(VIDEOS, TEXTS, strategy="cached", branch_tokens=1), reference) < TOLERANCE
        assert worst(model(VIDEOS, TEXTS), reference) < TOLERANCE
    assert worst(model(VIDEOS, TEXTS), reference) < TOLERANCE  # with gradients


def test_batch_and_order_do_not_matter(stock):
    model = AlignmentModel(*stock)
    with torch.no_grad():
        together = dict(zip(TEXTS[0], model(VIDEOS[:1], TEXTS[:1], strategy="packed").log_odds, strict=True))
        for strategy in STRATEGIES:
            turned = list(reversed(TEXTS[0]))
            both = model([VIDEOS[1], VIDEOS[0]], [TEXTS[1], turned], strategy=strategy).by_video()[1]
            for text, value in zip(turned, both, strict=True):
                assert abs(value - together[text]) < TOLERANCE, strategy
            for text in TEXTS[0]:
                alone = model(VIDEOS[:1], [[text]], strategy=strategy).log_odds[0]
                assert abs(alone - together[text]) < TOLERANCE, strategy


def test_a_text_twice_and_identical_texts_alone(stock):
    model = AlignmentModel(*stock)
    text = TEXTS[0][0]
    with torch.no_grad():
        for strategy in STRATEGIES:
            once, again = model(VIDEOS[:1], [[text, text]], strategy=strategy).log_odds
            assert abs(once - again) < TOLERANCE


@pytest.mark.parametrize("strategy", ["packed", "cached"])
def test_positions_that_do_not_restart_are_noticed(stock, wording, monkeypatch, strategy):
    right = strategies._gathered

    def running(*arguments):
        positions = right(*arguments)
        return torch.arange(positions.shape[-1]).expand(positions.shape)

    reference = expected(stock, wording)
    monkeypatch.setattr(strategies, "_gathered", running)
    with torch.no_grad():
        assert worst(AlignmentModel(*stock)(VIDEOS, TEXTS, strategy=strategy), reference) > 100 * TOLERANCE


@pytest.mark.parametrize("strategy", ["packed", "cached"])
def test_branches_that_see_each_other_are_noticed(stock, wording, monkeypatch, strategy):
    def causal(branch, first_query=0):
        return torch.ones(len(branch), len(branch), dtype=torch.bool).tril()[first_query:]

    reference = expected(stock, wording)
    monkeypatch.setattr(strategies, "branch_mask", causal)
    with torch.no_grad():
        assert worst(AlignmentModel(*stock)(VIDEOS, TEXTS, strategy=strategy), reference) > 100 * TOLERANCE


@pytest.mark.parametrize("strategy", ["packed", "cached"])
def test_a_bool_mask_under_eager_attention_is_noticed(stock, wording, monkeypatch, strategy):
    reference = expected(stock, wording)
    monkeypatch.setattr(strategies, "as_additive", lambda mask, dtype: mask)
    with torch.no_grad():
        model = AlignmentModel(*stock, attention="eager")
        assert worst(model(VIDEOS, TEXTS, strategy=strategy), reference) > 100 * TOLERANCE


def test_the_whole_vocabulary_at_two_positions(stock, wording):
    """Against the stock forward of prompt and answer as one sequence."""
    from stock_models import answer_id, stock_inputs, stock_positions

    network, processor = stock
    text = TEXTS[0][0]
    prompt = wording.format(text.caption)
    model = AlignmentModel(network, processor)
    for answer, token in ((True, "Yes"), (False, "No")):
        inputs = stock_inputs(processor, VIDEOS[0], prompt)
        positions = stock_positions(network, inputs)
        positions = torch.cat([positions, positions[..., -1:] + 1], dim=-1)
        ids = torch.cat([inputs["input_ids"], torch.tensor([[answer_id(processor.tokenizer, token)]])], dim=1)
        pixels = {k: v for k, v in inputs.items() if k.startswith(("pixel", "video"))}
        with torch.no_grad():
            logits = network(
                input_ids=ids, attention_mask=torch.ones_like(ids), position_ids=positions, **pixels
            ).logits[0, -2:]
            for strategy in STRATEGIES:
                said = [[answer, not answer]]
                both = model(VIDEOS[:1], [[text, TEXTS[0][2]]], strategy=strategy, vocabulary=2, answers=said)
                assert both.vocabulary_logits.shape == (2, 2, logits.shape[-1])
                assert (both.vocabulary_logits[0] - logits).abs().max() < TOLERANCE
                first = model(VIDEOS[:1], [[text]], strategy=strategy, vocabulary=1)
                assert first.vocabulary_logits.shape == (1, 1, logits.shape[-1])
                assert (first.vocabulary_logits[0, 0] - logits[0]).abs().max() < TOLERANCE
                assert (both.log_odds[0] - first.log_odds[0]).abs() < TOLERANCE


def test_bf16_keeps_as_many_scores_apart_as_fp32(stock):
    texts = [
        Text(f"A {size} {colour} {shape}")
        for size in ("small", "large")
        for colour in ("red", "blue", "green")
        for shape in ("circle", "square", "star", "ring")
    ]
    network, processor = stock
    with torch.no_grad():
        exact = AlignmentModel(network, processor)(VIDEOS[:1], [texts]).log_odds
        with torch.autocast("cpu", torch.bfloat16):  # as trainers run fp32 weights
            cast = AlignmentModel(network, processor)(VIDEOS[:1], [texts]).log_odds
        network.to(torch.bfloat16)
        output = AlignmentModel(network, processor)(VIDEOS[:1], [texts], vocabulary=1)
    model = AlignmentModel(network, processor)
    yes, no = model.prompter.answer_ids
    rounded = output.vocabulary_logits[:, 0].softmax(-1)[:, [yes, no]]
    rounded = rounded[:, 0] / rounded.sum(1)
    assert cast.dtype == torch.float32
    assert exact.unique().numel() == cast.unique().numel() == len(texts)
    assert output.log_odds.unique().numel() == len(texts)
    assert rounded.unique().numel() < len(texts)  # the softmax in the model's dtype ties some


def test_a_string_is_a_caption_of_which_nothing_is_hidden(stock):
    model = AlignmentModel(*stock)
    with torch.no_grad():
        plain = model(VIDEOS[:1], [["A red star", "A blue star"]]).log_odds
        made = model(VIDEOS[:1], [[Text("A red star"), Text("A blue star")]]).log_odds
    assert torch.equal(plain, made)


def test_arguments_that_do_not_fit(stock):
    model = AlignmentModel(*stock)
    for arguments, words in (
        ({"texts": [[]]}, "each video needs its texts"),
        ({"texts": TEXTS}, "each video needs its texts"),
        ({"texts": ["a dog runs"]}, "each video has a list of texts"),
        ({"texts": [[3]]}, "each video has a list of texts"),
        ({"strategy": "fast"}, "unknown strategy"),
        ({"vocabulary": 3}, "positions"),
        ({"vocabulary": 2}, "needs the answer"),
        ({"answers": [[True] * 5]}, "needs the answer"),
        ({"vocabulary": 2, "answers": [[True]]}, "each text needs its answer"),
    ):
        with pytest.raises(SynvitaError, match=words):
            model(VIDEOS[:1], **{"texts": TEXTS[:1], **arguments})
    with pytest.raises(SynvitaError, match="attention"):
        AlignmentModel(*stock, attention="flash_attention_2")
