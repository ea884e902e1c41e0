"""Prompts: the stock processor's own ids, hidden tokens, Yes and No, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_models import answer_id, clip, hidden_positions, load, stock_ids

from synvita_data.captions import Text
from synvita_data.errors import CaptionError, TokenizerError
from synvita_data.models import AlignmentModel, ContextError

VIDEO = clip(5)


def test_ids_and_hidden_tokens_are_the_stock_processors(stock, wording):
    network, processor = stock
    model = AlignmentModel(network, processor)
    prepared = model.prepare(VIDEO)

    @settings(max_examples=40)
    @given(st.data())
    def check(data):
        caption = data.draw(st.text(st.sampled_from('abc dog."é東🎸[]{}'), min_size=1, max_size=20))
        cuts = sorted(set(data.draw(st.lists(st.integers(0, len(caption)), max_size=6))))
        spans = tuple(zip(cuts[::2], cuts[1::2], strict=False))
        prompt = wording.format("{}").replace("{}", caption)
        tokens = model.prompter.tokens(Text(caption, spans), None, prepared)
        ids = stock_ids(processor, VIDEO, prompt)
        assert tokens.ids.tolist() == ids
        assert np.flatnonzero(tokens.hidden).tolist() == hidden_positions(
            processor.tokenizer, ids, prompt, caption, spans
        )
        assert tokens.reads == (len(ids) - 1,)

    check()


def test_answers_are_the_tokens_that_follow(stock):
    model = AlignmentModel(*stock)
    assert model.prompter.answer_ids == tuple(answer_id(stock[1].tokenizer, a) for a in ("Yes", "No"))
    prepared = model.prepare(VIDEO)
    plain = model.prompter.tokens(Text("a dog"), None, prepared)
    answered = model.prompter.tokens(Text("a dog"), False, prepared)
    assert answered.ids.tolist() == [*plain.ids.tolist(), model.prompter.answer_ids[1]]
    assert answered.reads == (len(plain.ids) - 1, len(plain.ids))


def test_a_caption_with_a_special_token_is_refused(stock):
    model = AlignmentModel(*stock)
    prepared = model.prepare(VIDEO)
    for token in (model.family.video_token, stock[1].tokenizer.eos_token):
        with pytest.raises((CaptionError, TokenizerError), match=r"special token|video tokens"):
            model.prompter.tokens(Text(f"a dog {token} runs"), None, prepared)


def test_a_text_beyond_the_context_is_refused(stock):
    model = AlignmentModel(*stock)
    with pytest.raises(ContextError, match="tokens"):
        model.prompter.tokens(Text("dog " * 3000), None, model.prepare(VIDEO))


def test_an_answer_of_two_tokens_is_refused(stock):
    network, processor = stock
    family = type(AlignmentModel(network, processor).family)
    before = family.answers
    family.answers = (before[0], before[1] + "rwegian qualms")
    try:
        with pytest.raises(TokenizerError, match="not one token"):
            AlignmentModel(network, processor)
    finally:
        family.answers = before


def test_a_template_with_the_text_before_the_video_is_refused(stock):
    network, processor = stock
    placeholder = AlignmentModel(network, processor).family.placeholder
    processor.chat_template = (
        "{% for m in messages %}{% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] }}"
        f"{{% endif %}}{{% endfor %}}{{% endfor %}}{placeholder}ASSISTANT:"
    )
    with pytest.raises(TokenizerError, match="before the video"):
        AlignmentModel(network, processor, prompt="question")
    processor.chat_template = "{{ messages[0]['content'][1]['text'] }}"
    with pytest.raises(TokenizerError, match="one video"):
        AlignmentModel(network, processor, prompt="question")
    processor.chat_template = None
    with pytest.raises(TokenizerError, match="chat template"):
        AlignmentModel(network, processor, prompt="question")


@pytest.fixture(scope="module")
def video_llava(checkpoint_of):
    return load(checkpoint_of("video_llava"))


@pytest.mark.parametrize(
    ("prompt", "joiner", "first"),
    [
        ("video-llava", None, "USER: "),
        ("video-llava-unquoted", None, "USER: "),
        ("video-llava-train", "", "A chat between a curious user and"),
        ("video-llava-eval", " ", "A chat between a curious human and"),
    ],
)
def test_released_wordings_of_video_llava(video_llava, prompt, joiner, first):
    """Frame by frame: 5 tokens each (2 × 2 patches and the class token), joined as the released code does."""
    from synvita_data.captions.prompts import PROMPTS

    network, processor = video_llava
    model = AlignmentModel(network, processor, prompt=prompt)
    whole = PROMPTS[prompt].wrap("a dog runs")
    assert whole.startswith(first)
    video = "<video>" * 20 if joiner is None else joiner.join(["<video>" * 5] * 4)
    expected = processor.tokenizer(whole.replace("<video>", video))["input_ids"]
    assert model.prompter.tokens(Text("a dog runs"), None, model.prepare(VIDEO)).ids.tolist() == expected
    assert (np.array(expected) == processor.video_token_id).sum() == 20


def test_the_question_inside_the_chat_template(video_llava):
    model = AlignmentModel(*video_llava, prompt="question")
    prepared = model.prepare(VIDEO)
    whole = AlignmentModel(*video_llava, prompt="video-llava")
    text = Text("a dog runs", hidden=((2, 5),))
    one, other = (m.prompter.tokens(text, None, prepared) for m in (model, whole))
    assert one.ids.tolist() == other.ids.tolist()
    assert one.hidden.tolist() == other.hidden.tolist()
