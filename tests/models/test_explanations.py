"""Explanations (NLE): the stock model's own `labels=` loss, beside texts that do not notice."""

import numpy as np
import pytest
import torch
from stock_models import clip, stock_inputs, stock_log_odds, stock_positions

from synvita_data.captions import Text
from synvita_data.captions.prompts import PROMPTS, Prompt, explanation_prompt
from synvita_data.errors import CaptionError, SynvitaError
from synvita_data.models import (
    STRATEGIES,
    AlignmentModel,
    ContextError,
    Description,
    EncodedVideo,
    Explanation,
)

RELATIVE = 1e-5
VIDEOS = [clip(0), clip(1), clip(2)]
TEXTS = [
    [
        Text("A man plays a guitar on a stage."),
        Text("A man plays a piano on a stage."),
        Text("A man plays a guitar on a stage.", hidden=((14, 20),)),
        Text("A man plays a piano on a stage.", hidden=((14, 19),)),
    ],
    [Text("dogs"), Text("A red circle moves left before a blue square grows.", hidden=((2, 5), (31, 41)))],
    [Text("A woman cuts vegetables")],
]
EXPLANATIONS = [
    Explanation("A man plays a piano on a stage.", "The man plays a guitar, not a piano."),
    None,
    Explanation('A "woman"? cuts 東京', " Ein Vögel 🎸: it is not\ntrue "),
]
SAMPLE = EXPLANATIONS[0]


@pytest.fixture(params=["video_llava", "qwen2_5_vl", "qwen3_vl", "llava_onevision"])
def family(request):
    return request.param


@pytest.fixture
def asked(family, wording):
    """Text of the question about a caption, and of an answer behind it."""
    entailment, explanation = (
        "Does this video entail the description",
        "What is the misalignment between this video and the description",
    )
    assert entailment in wording
    question = wording.replace(entailment, explanation)
    space, end = (" ", "</s>") if family == "video_llava" else ("", "<|im_end|>")
    return question, space + "{}" + end


def stock_loss(stock, video, explanation, asked):
    """Sum of the stock model's `labels=` loss over the answer and the end, with the number of its tokens."""
    network, processor = stock
    question, answer = asked
    prompt = question.format(explanation.neg_caption)
    short = stock_inputs(processor, video, prompt)["input_ids"].shape[1]
    inputs = stock_inputs(processor, video, prompt + answer.format(explanation.answer.strip()))
    positions = stock_positions(network, inputs)
    labels = inputs["input_ids"].clone()
    labels[:, :short] = -100
    inputs = {k: v for k, v in inputs.items() if k != "mm_token_type_ids"}
    tokens = int((labels != -100).sum())
    loss = network(**inputs, position_ids=positions, labels=labels, use_cache=False).loss
    return loss * tokens, tokens


def test_the_loss_is_the_stock_models(stock, wording, asked):
    """In every strategy, of frames and of features, with and without an explanation on the same batch."""
    model = AlignmentModel(*stock)
    with torch.no_grad():
        losses, tokens = zip(
            *(
                (0.0, 0) if each is None else stock_loss(stock, video, each, asked)
                for video, each in zip(VIDEOS, EXPLANATIONS, strict=True)
            ),
            strict=True,
        )
        expected = [float(loss) for loss in losses]
        log_odds = [
            stock_log_odds(*stock, video, wording.format(text.caption), text.caption, text.hidden)
            for video, own in zip(VIDEOS, TEXTS, strict=True)
            for text in own
        ]
        assert min(tokens[0], tokens[2]) > 5
        encoded = [model.encode(video) for video in VIDEOS]
        for strategy in (*STRATEGIES, None):
            for videos in (VIDEOS, encoded):
                output = model(videos, TEXTS, strategy=strategy, explanations=EXPLANATIONS)
                assert output.explanation_loss.dtype == torch.float32
                assert output.explanation_loss.tolist() == pytest.approx(expected, rel=RELATIVE), strategy
                assert output.explanation_tokens == tokens
                assert output.counts == (4, 2, 1)
                assert output.log_odds.tolist() == pytest.approx(log_odds, abs=1e-5), strategy
        output = model(VIDEOS, TEXTS, strategy="plain", plain_batch=4, explanations=EXPLANATIONS)
        assert output.explanation_loss.tolist() == pytest.approx(expected, rel=RELATIVE)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_the_stock_models(stock, asked, checkpointing):
    """Of LoRA and of the whole language model's embeddings, beside texts whose loss is added."""
    from peft import LoraConfig, get_peft_model

    network, processor = stock
    targets = AlignmentModel(network, processor).family.lora_targets
    torch.manual_seed(0)
    config = LoraConfig(r=8, lora_alpha=8, target_modules=targets, init_lora_weights=False)
    adapted = get_peft_model(network, config)
    network.get_input_embeddings().weight.requires_grad_()
    model = AlignmentModel(adapted, processor)
    model.train()

    def gradients(total):
        model.zero_grad(set_to_none=True)
        total.backward()
        return {n: p.grad.double().clone() for n, p in model.named_parameters() if p.grad is not None}

    log_odds = model(VIDEOS, TEXTS, strategy="plain").log_odds
    stock_total = sum(stock_loss((network, processor), VIDEOS[i], EXPLANATIONS[i], asked)[0] for i in (0, 2))
    expected = gradients(log_odds.square().sum() + stock_total)
    if checkpointing:
        network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for strategy in ("plain", "packed"):
        output = model(VIDEOS, TEXTS, strategy=strategy, explanations=EXPLANATIONS)
        own = gradients(output.log_odds.square().sum() + output.explanation_loss.sum())
        assert own.keys() == expected.keys()
        gap = sum((own[name] - expected[name]).square().sum() for name in own).sqrt()
        assert gap < 1e-5 * sum(value.square().sum() for value in expected.values()).sqrt(), strategy


@pytest.mark.parametrize("family", ["video_llava"])
class TestOneFamily:
    """What does not differ between families."""

    def test_texts_do_not_notice(self, stock):
        model = AlignmentModel(*stock)
        said = [[True, False, True, False], [False, True], [True]]
        with torch.no_grad():
            for strategy in STRATEGIES:
                options = {"strategy": strategy, "vocabulary": 2, "answers": said}
                alone = model(VIDEOS, TEXTS, **options)
                beside = model(VIDEOS, TEXTS, explanations=EXPLANATIONS, **options)
                assert (alone.log_odds - beside.log_odds).abs().max() < 1e-5
                assert (alone.vocabulary_logits - beside.vocabulary_logits).abs().max() < 1e-5
                assert alone.explanation_loss.tolist() == [0, 0, 0]
                assert alone.explanation_tokens == (0, 0, 0)

    def test_the_shared_prefix_ends_where_the_questions_part(self, stock):
        from synvita_data.models.strategies import common_prefix

        model = AlignmentModel(*stock)
        prepared = model.prepare(VIDEOS[0])
        prompts = [model.prompter.tokens(text, None, prepared) for text in TEXTS[0]]
        told = model.prompter.explanation(SAMPLE, prepared)
        at_video = np.flatnonzero(told.ids == model.family.video_token_id)
        assert at_video[-1] < common_prefix([*prompts, told]) < common_prefix(prompts)
        assert not told.hidden.any()

    def test_a_video_without_one_has_no_gradient_of_it(self, stock):
        model = AlignmentModel(*stock)
        loss = model(VIDEOS, TEXTS, explanations=EXPLANATIONS).explanation_loss
        weight = model.family.model.get_input_embeddings().weight
        (none,) = torch.autograd.grad(loss[1], weight, retain_graph=True)
        (some,) = torch.autograd.grad(loss[0], weight)
        assert not none.any()
        assert some.any()

    def test_what_is_refused(self, stock):
        model = AlignmentModel(*stock)
        end = stock[1].tokenizer.eos_token
        for explanation, error, words in (
            (Explanation("a cat", f"A dog {end} runs"), CaptionError, "explanation holds a special token"),
            (Explanation("a cat", "A <video> runs"), CaptionError, "explanation holds a special token"),
            (Explanation(f"a {end} cat", "A dog runs"), CaptionError, "caption holds a special token"),
            (Explanation("a cat", " \n"), CaptionError, "empty"),
            (Explanation("a cat", "dog " * 3000), ContextError, "context"),
            (Explanation("dog " * 3000, "A cat"), ContextError, "context"),
        ):
            with pytest.raises(error, match=words):
                model(VIDEOS[:1], TEXTS[:1], explanations=[explanation])
        with pytest.raises(SynvitaError, match="one explanation, or None"):
            model(VIDEOS, TEXTS, explanations=[SAMPLE])

    def test_the_end_counts_in_the_context(self, stock):
        """A whole sequence with its end fits the context to the last token, and one more does not."""
        model = AlignmentModel(*stock)
        prepared = model.prepare(VIDEOS[0])
        tokens = len(model.prompter.explanation(SAMPLE, prepared).ids) + 1
        config = stock[0].config.get_text_config(decoder=True)
        config.max_position_embeddings = tokens
        model.prompter.explanation(SAMPLE, prepared)
        config.max_position_embeddings = tokens - 1
        with pytest.raises(ContextError):
            model.prompter.explanation(SAMPLE, prepared)

    def test_a_frozen_tower_keeps_nothing_for_the_backward_pass(self, stock):
        network, processor = stock
        model = AlignmentModel(network, processor)
        assert model.encode(VIDEOS[0]).features["patches"].requires_grad
        network.requires_grad_(False)
        network.model.language_model.requires_grad_(True)
        network.enable_input_require_grads()
        assert not model.encode(VIDEOS[0]).features["patches"].requires_grad
        assert model(VIDEOS, TEXTS).log_odds.requires_grad


@pytest.mark.parametrize("name", PROMPTS)
def test_the_question_in_every_wording(name):
    entailment, own = PROMPTS[name], explanation_prompt(PROMPTS[name])
    marked = own.wrap("a cat")
    assert 'What is the misalignment between this video and the description: "a cat"?' in marked
    assert "entail" not in marked
    quoted = entailment.wrap("a cat").replace(": a cat?", ': "a cat"?')
    assert marked == quoted.replace(
        "Does this video entail the description",
        "What is the misalignment between this video and the description",
    )
    assert (own.video, own.joiner) == (entailment.video, entailment.joiner)


def test_a_wording_that_asks_something_else_is_refused():
    with pytest.raises(CaptionError, match="how to ask anything else"):
        explanation_prompt(Prompt("mine", "USER: <video>\nIs it ", "?", "<video>", "a test"))


def test_the_cached_features_of_a_video_serve_an_explanation(checkpoint_of):
    from stock_models import load

    model = AlignmentModel(*load(checkpoint_of("video_llava")))
    encoded = model.encode(VIDEOS[0])
    bare = EncodedVideo(type(encoded.prepared)({}, encoded.prepared.placeholder, encoded.prepared.runs))
    kept = EncodedVideo(bare.prepared, encoded.features)
    with torch.no_grad():
        one = model([kept], TEXTS[:1], explanations=[SAMPLE]).explanation_loss
        two = model([VIDEOS[0]], TEXTS[:1], explanations=[SAMPLE]).explanation_loss
    assert one.tolist() == pytest.approx(two.tolist(), rel=RELATIVE)


def test_a_description_is_one_more_thing_to_say(stock, family, wording):
    """Plain captioning: the stock loss again, of videos without any text to score beside one with."""
    question = 'Does this video entail the description: "{}"?'
    space, end = (" ", "</s>") if family == "video_llava" else ("", "<|im_end|>")
    assert question in wording
    asked = wording.replace(question, "Describe this video."), space + "{}" + end
    model = AlignmentModel(*stock)
    captions = ["A man plays a guitar.", "dogs"]
    descriptions = [Description(caption) for caption in captions]
    with torch.no_grad():
        expected = [
            float(stock_loss(stock, video, Explanation("", caption), asked)[0])
            for video, caption in zip(VIDEOS[:2], captions, strict=True)
        ]
        for strategy in STRATEGIES:
            alone = model(VIDEOS[:2], [[], []], strategy=strategy, explanations=descriptions)
            assert alone.log_odds.shape == (0,)
            assert alone.explanation_loss.tolist() == pytest.approx(expected, rel=RELATIVE), strategy
            beside = model(VIDEOS[:2], [[], TEXTS[1]], strategy=strategy, explanations=descriptions)
            assert beside.explanation_loss.tolist() == pytest.approx(expected, rel=RELATIVE), strategy
            scores = model(VIDEOS[1:2], TEXTS[1:2]).log_odds
            assert (beside.log_odds - scores).abs().max() < 1e-5
    with pytest.raises(SynvitaError, match="each video needs its texts"):
        model(VIDEOS[:2], [[], []], explanations=[descriptions[0], None])
