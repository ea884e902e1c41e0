"""Prompts: exact in both directions, and never a guess."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_annotations import OWL

from synvita_data.captions.prompts import (
    PROMPTS,
    Prompt,
    get_prompt,
    question_prompt,
    read_caption,
    unwrap,
    which_prompt,
    wrap,
)
from synvita_data.errors import CaptionError

# What captions hold that tempts a regular expression or `str.format`.
NASTY = [
    "Covering [something] with [something]",
    'He says "stop" and "go"',
    'ends in a quote"',
    '"?\nAI: ',
    "{caption} {0} %s \\1 (.*)",
    'Does this video entail the description: "x"?',
    "a.b*c",
]


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("caption", NASTY)
def test_unwrap_is_the_inverse_of_wrap(name, caption):
    assert PROMPTS[name].unwrap(wrap(caption, name)) == caption


@given(st.text(max_size=60), st.sampled_from(sorted(set(PROMPTS) - {"video-llava-unquoted"})))
def test_any_text_comes_back_from_a_prompt_with_quotes(caption, name):
    assert unwrap(PROMPTS[name].before + caption + PROMPTS[name].after) == caption


def test_the_owl_wording_is_videocons_to_the_letter():
    assert wrap("X", "mplug-owl") == OWL.format("X")
    assert which_prompt(OWL.format("X")).name == "mplug-owl"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("video-llava", 'USER: <video>\nDoes this video entail the description: "X"? ASSISTANT:'),
        ("video-llava-unquoted", "USER: <video>\nDoes this video entail the description: X? ASSISTANT:"),
        (
            "video-llava-train",
            "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
            "detailed, and polite answers to the user's questions. "
            'USER: <video>\nDoes this video entail the description: "X"? ASSISTANT:',
        ),
        (
            "video-llava-eval",
            "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
            "detailed, and polite answers to the human's questions. "
            'USER: <video>\nDoes this video entail the description: "X"? ASSISTANT:',
        ),
        ("question", 'Does this video entail the description: "X"?'),
    ],
)
def test_each_wording(name, text):
    assert wrap("X", name) == text
    assert which_prompt(text).name == name
    assert unwrap(text) == "X"


def test_frame_tokens_are_joined_as_the_released_code_does():
    assert PROMPTS["video-llava-train"].joiner == ""
    assert PROMPTS["video-llava-eval"].joiner == " "


@pytest.mark.parametrize(
    "text", ["a caption", "", OWL.format("x").rstrip(), " " + OWL.format("x"), OWL.format("x").upper()]
)
def test_what_is_no_prompt_to_the_letter_is_none(text):
    assert unwrap(text) is None


def test_overlapping_before_and_after_are_not_a_prompt():
    prompt = PROMPTS["question"]
    assert prompt.unwrap(prompt.before + "?") is None


def test_read_caption_cleans_and_refuses():
    assert read_caption(OWL.format(" two\n  lines ")) == "two lines"
    assert read_caption("[something]") == "[something]"
    with pytest.raises(CaptionError, match="empty"):
        read_caption(OWL.format("  "))
    with pytest.raises(CaptionError, match="and does not go on as it"):
        read_caption(OWL.format("A man runs")[:-9])
    with pytest.raises(CaptionError, match="and does not go on as it"):  # VideoCon's other question
        read_caption(
            OWL.format("A man runs").replace("Does this video entail", "What is the misalignment of")
        )


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(CaptionError, match="mplug-owl"):
        get_prompt("owl")


@pytest.mark.parametrize("name", PROMPTS)
def test_a_question_stands_where_the_entailment_question_stood(name):
    prompt, words = PROMPTS[name], 'Which "way"? {A.} left'
    entailment = 'Does this video entail the description: "X"?'
    if name == "video-llava-unquoted":
        entailment = entailment.replace('"', "")
    asked = question_prompt(prompt)
    assert prompt.wrap("X").count(entailment) == 1
    assert asked.wrap(words) == prompt.wrap("X").replace(entailment, words)
    assert (asked.video, asked.joiner) == (prompt.video, prompt.joiner)


def test_a_wording_of_ones_own_does_not_say_where_a_question_goes():
    with pytest.raises(CaptionError, match="does not say how to ask anything else"):
        question_prompt(Prompt("mine", "USER: <video> Is this ", "? ASSISTANT:", "<video>", "mine"))
