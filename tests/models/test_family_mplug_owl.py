"""mPLUG-Owl against its own forward on prompts read in pieces, in every strategy. Also in the parametrised tests
that every family passes (marked slow); tests/mplug_owl/ compares model and processor with the original."""

import re

import numpy as np
import pytest
import torch
from family_checks import TEXTS, TOLERANCE, VIDEOS, as_cached, expected, worst
from stock_models import clip, load, stock_inputs

from synvita_data.captions import Text
from synvita_data.errors import CaptionError
from synvita_data.models import STRATEGIES, AlignmentModel, ContextError, Explanation, strategies
from synvita_data.scoring import ScoringItem
from synvita_data.scoring.alignment import AlignmentScorer
from synvita_data.testing import make_tiny
from synvita_data.video import FramePolicy, decode, encode_mp4

CAPTION = "a dog runs"


@pytest.fixture
def family():
    return "mplug-owl"


def test_every_way_gives_the_stock_models_log_odds(stock, wording):
    """Videos of different lengths and sizes, one frame among them, in any order; hidden tokens."""
    reference = expected(stock, wording)
    assert reference.std() > 0.1
    model = AlignmentModel(*stock)
    assert model.prompt.name == "mplug-owl"
    with torch.no_grad():
        for strategy in STRATEGIES:
            assert worst(model(VIDEOS, TEXTS, strategy=strategy), reference) < TOLERANCE, strategy
        assert worst(model(VIDEOS, TEXTS, strategy="plain", plain_batch=3), reference) < TOLERANCE
        turned = torch.cat(list(reversed(reference.split([len(own) for own in TEXTS]))))
        encoded = [as_cached(model.family, model.encode(video)) for video in reversed(VIDEOS)]
        for strategy in STRATEGIES:
            assert worst(model(encoded, TEXTS[::-1], strategy=strategy), turned) < TOLERANCE, strategy


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_other_attention(stock, wording, attention):
    reference = expected(stock, wording)
    model = AlignmentModel(*stock, attention=attention)
    with torch.no_grad():
        for strategy in STRATEGIES:
            assert worst(model(VIDEOS, TEXTS, strategy=strategy), reference) < TOLERANCE, strategy


def test_ids_and_pixels_are_the_processors(stock, wording):
    network, processor = stock
    model = AlignmentModel(network, processor)
    for video in VIDEOS:
        inputs = stock_inputs(processor, video, wording.format(CAPTION))
        prepared = model.prepare(video)
        assert (
            model.prompter.tokens(Text(CAPTION), None, prepared).ids.tolist()
            == inputs["input_ids"][0].tolist()
        )
        assert torch.equal(prepared.inputs["video_pixel_values"], inputs["video_pixel_values"])
        assert prepared.runs == (65,)


def test_padding_on_the_right_changes_no_score(stock, wording):
    """The released scripts pad to 257 ids and mask nothing; the answer is read before the padding."""
    from mplug_owl.released_owl import answer_log_odds

    network, processor = stock
    model = AlignmentModel(network, processor)
    rows = processor([wording.format(CAPTION)], videos=[VIDEOS[0].pixels], padding="max_length")
    assert rows["input_ids"].shape == (1, 257)
    with torch.no_grad():
        logits = network(input_ids=rows["input_ids"], video_pixel_values=rows["video_pixel_values"]).logits
        released = answer_log_odds(logits, rows["input_ids"], *model.prompter.answer_ids)
        assert abs(released - model(VIDEOS[:1], [[Text(CAPTION)]]).log_odds) < TOLERANCE


def test_the_question_inside_the_chat_template_is_the_released_prompt(stock):
    prepared = AlignmentModel(*stock).prepare(VIDEOS[0])
    text = Text(CAPTION, hidden=((2, 5),))
    one, other = (
        AlignmentModel(*stock, prompt=name).prompter.tokens(text, None, prepared)
        for name in ("mplug-owl", "question")
    )
    assert one.ids.tolist() == other.ids.tolist()
    assert one.hidden.tolist() == other.hidden.tolist()
    assert one.hidden.sum() == 1


def test_an_explanation_is_a_piece_of_its_own(stock, wording):
    """Loss and tokens against the processor's training row and the stock model's own loss."""
    network, processor = stock
    model = AlignmentModel(network, processor)
    answer = "The dog does not run, it sits."
    prompt = wording.replace("Does this video entail", "What is the misalignment between this video and")
    row = processor([prompt.format(CAPTION)], videos=[VIDEOS[0].pixels], answers=[answer])
    learnt = row["labels"][0][row["labels"][0] != -100]
    tokens = model.prompter.explanation(Explanation(CAPTION, answer), model.prepare(VIDEOS[0]))
    assert list(tokens.targets) == learnt.tolist()
    assert tokens.ids.tolist() == row["input_ids"][0, :-1].tolist()
    with torch.no_grad():
        mean = network(**row).loss
        for strategy in STRATEGIES:
            output = model(
                VIDEOS[:1], [[Text(CAPTION)]], strategy=strategy, explanations=[Explanation(CAPTION, answer)]
            )
            assert output.explanation_tokens == (len(learnt),)
            assert abs(output.explanation_loss[0] - mean * len(learnt)) < 1e-4, strategy


def test_a_long_explanation_is_cut_as_the_released_rows(stock, wording):
    network, processor = stock
    model = AlignmentModel(network, processor)
    answer = "The dog does not run, it sits. " * 30
    prompt = wording.replace("Does this video entail", "What is the misalignment between this video and")
    row = processor.rows([prompt.format(CAPTION) + answer.strip()])
    tokens = model.prompter.explanation(Explanation(CAPTION, answer), model.prepare(VIDEOS[0]))
    assert [*tokens.ids.tolist(), tokens.targets[-1]] == row.input_ids[0].tolist()
    assert len(tokens.ids) == 256


def test_what_would_push_out_the_answer_or_part_the_prompt_is_refused(stock):
    model = AlignmentModel(*stock)
    prepared = model.prepare(VIDEOS[0])
    with pytest.raises(ContextError, match="257 tokens"):
        model.prompter.tokens(Text("dog " * 140), None, prepared)
    for caption in ("a sign says AI: go", "a <|video|> plays", "an <image>", "x\nHuman: y", "the end </s>"):
        with pytest.raises(CaptionError, match="special token"):
            model.prompter.tokens(Text(caption), None, prepared)
        with pytest.raises(CaptionError, match="special token"):
            model.prompter.explanation(Explanation("a dog", caption), prepared)
    model.prompter.tokens(Text("AI:"), None, prepared)  # without its space it is no mark


@pytest.mark.parametrize("strategy", ["packed", "cached"])
def test_features_of_another_video_are_noticed(stock, wording, strategy):
    videos, texts = [clip(0), clip(1)], TEXTS[:2]
    reference = expected(stock, wording, videos, texts)
    model = AlignmentModel(*stock)
    encoded = [model.encode(video) for video in reversed(videos)]
    with torch.no_grad():
        assert worst(model(encoded, texts, strategy=strategy), reference) > 100 * TOLERANCE
        assert worst(model(encoded[::-1], texts, strategy=strategy), reference) < TOLERANCE


@pytest.mark.parametrize("strategy", ["packed", "cached"])
def test_positions_that_do_not_restart_are_noticed(stock, wording, monkeypatch, strategy):
    reference = expected(stock, wording)
    right = strategies._gathered
    monkeypatch.setattr(strategies, "_gathered", lambda *a: torch.arange(right(*a).shape[-1]))
    with torch.no_grad():
        assert worst(AlignmentModel(*stock)(VIDEOS, TEXTS, strategy=strategy), reference) > 100 * TOLERANCE


def test_lora_targets_are_the_language_models_linear_layers(stock):
    """And not the temporal step's, which have the same names."""
    network, processor = stock
    pattern = AlignmentModel(network, processor).family.lora_targets
    inside = {id(module) for module in network.language_model.model.modules()}
    linears = {n for n, m in network.named_modules() if isinstance(m, torch.nn.Linear) and id(m) in inside}
    assert {name for name, _ in network.named_modules() if re.fullmatch(pattern, name)} == linears
    assert len(linears) == 7 * 2
    assert any(name.endswith("down_proj") for name, _ in network.vision_model.named_modules())


def test_the_default_frames_are_the_released_codes(stock, tmp_path):
    """32 frames by the original's formula, scaled by the decoder whatever their aspect."""
    network, processor = stock
    assert AlignmentModel(network, processor).family.default_frames() == FramePolicy(
        count=32, rule="mplug-owl", size=(28, 28)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (100, 36, 64, 3), dtype=np.uint8)
    encode_mp4(pixels, 25, tmp_path / "clip.mp4")
    frames = decode(tmp_path / "clip.mp4", AlignmentModel(network, processor).family.default_frames())
    step = 99 / 32
    assert frames.indices == tuple(int(step / 2) + int(np.rint(step * k)) for k in range(32))
    assert frames.indices[:7] == (1, 4, 7, 10, 13, 16, 20)
    assert frames.pixels.shape == (32, 28, 28, 3)


def test_a_checkpoint_by_its_folder(checkpoint_of, tmp_path):
    """What `synvita evaluate FOLDER` does, with and without a feature cache."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 36, 64, 3), dtype=np.uint8)
    encode_mp4(pixels, 10, tmp_path / "clip.mp4")
    texts = (Text("A man plays a guitar."), Text("A man plays a piano.", ((14, 19),)))
    item = ScoringItem("item", "video", tmp_path / "clip.mp4", texts, ("a", "b"))
    folder = checkpoint_of("mplug-owl")
    model = AlignmentModel(*load(folder))
    frames = decode(item.video, model.family.default_frames())
    with torch.no_grad():
        plain = model([frames], [texts], strategy="plain").log_odds.numpy()
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        scorer = AlignmentScorer.open(str(folder), device="cpu", cache=cache)
        assert (scorer.prompt, scorer.settings["family"]) == ("mplug-owl", "mplug-owl")
        scorer.check_texts(texts)
        (answer,) = scorer.score([item])
        assert answer.frame_indices == frames.indices
        assert np.abs(answer.scores - plain).max() < TOLERANCE


def test_a_larger_tower_and_one_layer(tmp_path, wording):
    stock = load(make_tiny("mplug-owl", tmp_path, image_size=42, vision_layers=1, layers=1, hidden_size=64))
    reference = expected(stock, wording)
    with torch.no_grad():
        for strategy in STRATEGIES:
            assert worst(AlignmentModel(*stock)(VIDEOS, TEXTS, strategy=strategy), reference) < TOLERANCE, (
                strategy
            )
