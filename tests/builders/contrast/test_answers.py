"""What models write becomes a contrast caption, or a reason; made-up answers and random ones."""

import json

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from synvita_data.builders.contrast.answers import (
    LONGEST,
    RAW_CHARACTERS,
    RAW_LINES,
    AnswerError,
    answer_schema,
    cut_raw,
    read_answer,
    words_alike,
)
from synvita_data.builders.contrast.base import Contrast
from synvita_data.schema import MISALIGNMENTS

CAPTION = "a dog runs on the beach"
CAT = Contrast("a cat runs on the beach", "a dog", "a cat", "It is a dog, not a cat.")
PLAIN = "Contrast caption: a cat runs on the beach\nSource: a dog\nTarget: a cat\nExplanation: It is a dog, not a cat."


def outcome(text, caption, misalignment):
    """The contrast caption, or the error that is an answer's only one."""
    try:
        return read_answer(text, caption, misalignment)
    except AnswerError as error:
        return error


def refusal(text, caption=CAPTION, misalignment="object"):
    with pytest.raises(AnswerError) as caught:
        read_answer(text, caption, misalignment)
    return caught.value.problem


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.upper()
        .replace("CONTRAST CAPTION: A CAT RUNS ON THE BEACH", "CONTRAST CAPTION: a cat runs on the beach")
        .replace("SOURCE: A DOG", "SOURCE: a dog")
        .replace("TARGET: A CAT", "TARGET: a cat")
        .replace("IT IS A DOG, NOT A CAT.", "It is a dog, not a cat."),
        f"Sure! Here is a contrast caption for you:\n\n{PLAIN}\n\nLet me know if you want another one.",
        f"```\n{PLAIN}\n```",
        f"```text\n{PLAIN}\n```\nDone.",
        f"<think>\nContrast caption: no, wait\nSource: that\n</think>\n{PLAIN}",
        f"Caption: {CAPTION}\n{PLAIN}",
        "**Contrast caption:** a cat runs on the beach\n**Source:** a dog\n**Target:** a cat\n**Explanation:** It is a dog, not a cat.",
        "- Contrast caption: **a cat runs on the beach**\n- Source: *a dog*\n- Target: `a cat`\n- Explanation: It is a dog, not a cat.",
        "1. Contrast caption: a cat runs on the beach\n2. Source phrase: a dog\n3. Target phrase: a cat\n"
        "4. Explanation: It is a dog, not a cat.",
        '"Contrast caption": "a cat runs on the beach"\n"Source": "a dog"\n"Target": "a cat"\n"Explanation": "It is a dog, not a cat."',
        'Contrast caption: "a cat runs on the beach\nSource: a dog"\nTarget: “a cat”\nExplanation: It is a dog, not a cat."',
        "Contrast caption: 'a cat runs on the beach'.\nSource: 'a dog'\nTarget: 'a cat' (replaced)\nExplanation: It is a dog, not a cat.",
        "Contrast caption: a cat runs\n  on the beach\nSource: a dog\nTarget: a\ncat\nExplanation: It is a dog,\nnot a cat.",
        "Contrast caption: Contrast caption: a cat runs on the beach\nSource: Source: a dog\nTarget: a cat\n"
        "Explanation: It is a dog, not a cat.",
        'Sentence + Object Misalignment: "a cat runs on the beach" Source: "a dog" Target: "a cat" '
        'Correct Misalignment: "It is a dog, not a cat."',
        'Contrast caption: "a cat runs on the beach", Source: "a dog"; Target: "a cat"; Explanation: It is a dog, not a cat.',
        json.dumps(
            {
                "contrast_caption": CAT.neg_caption,
                "source": "a dog",
                "target": "a cat",
                "explanation": CAT.nle,
            }
        ),
        '{"result": [{"contrast_caption": "a cat runs on the beach", "source": "a dog", "target": "a cat",'
        ' "explanation": "It is a dog, not a cat."}]}',
        'Here:\n```json\n{"Contrast Caption": "a cat runs on the beach", "Source Phrase": "a dog", "Target": "a cat",\n'
        ' "Explanation": "It is a dog, not a cat.", "confidence": 0.9}\n```',
    ],
)
def test_what_is_meant_is_taken(text):
    assert read_answer(text, CAPTION, "object") == CAT


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the model's answer is empty"),
        ("\n```\n```\n", "the model's answer is empty"),
        ("<think>I wonder", "the model's answer is empty"),
        ("I'm sorry, but I can't help with that.", "the model refused"),
        ("As an AI language model I do not write wrong captions.", "the model refused"),
        (PLAIN.replace("a cat runs on the beach", "I cannot change this caption."), "the model refused"),
        ("a cat runs on the beach", "the answer has no labels"),
        (PLAIN.replace("a cat runs on the beach", ""), "the contrast caption is empty"),
        (PLAIN.replace("a cat runs on the beach", "N/A"), "the contrast caption is empty"),
        (PLAIN.replace("a cat runs on the beach", "?!"), "the contrast caption is empty"),
        (
            PLAIN.replace("a cat runs on the beach", "😀 ♫ 3").replace("3", ""),
            "the contrast caption is empty",
        ),
        (
            PLAIN.replace("a cat runs on the beach", "A  Dog runs, on the beach."),
            "the contrast caption is the caption",
        ),
        (
            PLAIN.replace("a cat runs on the beach", f"{CAPTION}. a cat runs on the beach"),
            "the contrast caption repeats the caption",
        ),
        (PLAIN.replace("a cat runs", "a cat runs " * 200), "the contrast caption is too long"),
        (PLAIN.replace("It is a dog", "It is a dog " * 200), "the explanation is too long"),
        (PLAIN.replace("Source: a dog\n", ""), "an answer is missing"),
        (PLAIN.replace("Target: a cat\n", ""), "an answer is missing"),
        (PLAIN.partition("\nExplanation")[0], "an answer is missing"),
        (PLAIN.partition("\n")[2], "an answer is missing"),
        (PLAIN.replace("Source: a dog", "Source:"), "the source phrase is empty"),
        (PLAIN.replace("Target: a cat", "Target: none"), "the target phrase is empty"),
        (PLAIN.replace("It is a dog, not a cat.", ""), "the explanation is empty"),
        (f"Contrast caption: a cow runs on the beach\n{PLAIN}", "a label stands twice"),
        (f"{PLAIN}\nExplanation: or so", "a label stands twice"),
        (f"{PLAIN}\n\nCaption: a man sings\n{PLAIN}", "a label stands twice"),
        (
            '{"contrast_caption": "a cat", "contrast_caption": "a cow", "source": "", "target": "", "explanation": ""}',
            "a label stands twice",
        ),
        ('{"contrast_caption": ["a cat"], "source": "a dog"}', "the contrast caption is not a text"),
        (
            '[{"contrast_caption": "a cat", "source": "a dog"}, {"contrast_caption": "a cow", "source": "a dog"}]',
            "there are several answers",
        ),
        ('{"contrast_caption": "a cat", "source": "a dog", "explanation": "no"}', "an answer is missing"),
        ('{"caption": "a cat"', "the answer has no labels"),
        ("{" * 5000, "the answer has no labels"),
    ],
)
def test_what_cannot_be_used_says_why(text, problem):
    assert refusal(text) == problem


def test_a_caption_that_sounds_like_a_refusal_may_be_asked_about():
    caption = "I cannot stop says a dog in a cartoon"
    text = PLAIN.replace("a cat runs on the beach", "I cannot stop says a cat in a cartoon")
    assert read_answer(text, caption, "object").neg_caption == "I cannot stop says a cat in a cartoon"


def test_a_flip_has_no_phrases():
    caption = "a man sits down before he eats"
    text = "Contrast caption: a man eats before he sits down\nExplanation: He sits down first."
    expected = Contrast("a man eats before he sits down", None, None, "He sits down first.")
    assert read_answer(text, caption, "flip") == expected
    given_anyway = text.replace("\nExp", "\nSource: a man\nTarget: he eats\nExp")
    assert read_answer(given_anyway, caption, "flip") == expected
    assert refusal(text, caption, "action") == "an answer is missing"


def test_a_hallucination_may_add_to_the_caption_and_have_no_source():
    text = f"Contrast caption: {CAPTION} and barks\nSource: none\nTarget: and barks\nExplanation: It does not bark."
    assert read_answer(text, CAPTION, "hallucination") == Contrast(
        f"{CAPTION} and barks", None, "and barks", "It does not bark."
    )
    assert refusal(text, CAPTION, "action") == "the contrast caption repeats the caption"
    twice = text.replace(f"{CAPTION} and barks", f"{CAPTION}. {CAPTION} and barks", 1)
    assert refusal(twice, CAPTION, "hallucination") == "the contrast caption repeats the caption"


def test_phrases_that_stand_nowhere_are_left_out():
    text = PLAIN.replace("Source: a dog", "Source: a wolf").replace("Target: a cat", "Target: cat RUNS")
    found = read_answer(text, CAPTION, "object")
    assert (found.source_phrase, found.target_phrase) == (None, "cat RUNS")


# Words that are no labels, as they come in captions: quotes and colons inside, other scripts.
WORDS = st.sampled_from(
    [
        "a",
        "dog's",
        "cat",
        "says:",
        "hello,",
        "world's",
        "end;",
        "3",
        "men-at-work",
        "café",
        "一个",
        "男人",
        "été",
        "don't",
        '"yes"',
        "(twice)",
        "50%",
        "it",
    ]
)
TEXTS = st.lists(WORDS, min_size=2, max_size=12).map(" ".join)
SAFE = st.lists(
    st.sampled_from(
        [
            "a",
            "dog",
            "cat",
            "says",
            "hello",
            "world's",
            "3",
            "men-at-work",
            "café",
            "一个",
            "été",
            "don't",
            "twice",
            "it",
        ]
    ),
    min_size=2,
    max_size=12,
).map(" ".join)


@st.composite
def dressed(draw, answers):
    """The four answers as a model may write them."""
    labels = {
        "contrast_caption": ["Contrast caption", "contrast caption", "Contrast Sentence", "New caption"],
        "source": ["Source", "SOURCE", "source phrase"],
        "target": ["Target", "Target phrase"],
        "explanation": ["Explanation", "Correct misalignment", "EXPLANATION"],
    }
    style = draw(
        st.sampled_from(["{}: {}", "**{}:** {}", "- {}: {}", "{} : {}", '{}: "{}"', "{}:\n{}", "{}: “{}”"])
    )
    lines = [style.format(draw(st.sampled_from(labels[name])), value) for name, value in answers.items()]
    text = draw(st.sampled_from(["\n", "\n\n", "\r\n"])).join(lines)
    before = draw(st.sampled_from(["", "Sure, here it is:\n", "<think>Source: hm</think>\n", "```\n"]))
    after = draw(st.sampled_from(["", "\n", "\n\nI hope this helps!"]))
    return before + text + after


@given(st.data(), SAFE, SAFE, SAFE, SAFE, SAFE)
def test_dressed_answers_are_read_back(data, caption, contrast, source, target, explanation):
    assume(words_alike(contrast) != words_alike(caption))
    assume(" ".join(words_alike(caption)) not in " ".join(words_alike(contrast)))
    answers = {
        "contrast_caption": contrast,
        "source": source,
        "target": target,
        "explanation": explanation,
    }
    text = data.draw(dressed(answers))
    found = read_answer(text, caption, "object")
    assert (found.neg_caption, found.nle) == (contrast, explanation)
    assert found.source_phrase in (None, source)
    assert found.target_phrase in (None, target)


@given(TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, st.sampled_from(MISALIGNMENTS))
def test_json_is_taken_word_for_word(caption, contrast, source, target, explanation, misalignment):
    answers = {
        "contrast_caption": contrast,
        "source": source,
        "target": target,
        "explanation": explanation,
    }
    text = json.dumps(answers, ensure_ascii=False, indent=1)
    found = outcome(text, caption, misalignment)
    if isinstance(found, AnswerError):
        assert "caption" in found.problem  # equal, or the caption repeated
        return
    assert words_alike(found.neg_caption) == words_alike(contrast)


@given(
    st.text(max_size=300)
    | st.lists(
        st.sampled_from(
            [
                "Contrast caption:",
                "Source:",
                "{",
                '"',
                "}",
                "\n",
                "Target: ",
                "Explanation: x",
                "a cat",
                "```",
            ]
        ),
        max_size=30,
    ).map("".join),
    TEXTS,
    st.sampled_from(MISALIGNMENTS),
)
@example("Contrast caption: \u2028\nSource: \x00\nTarget: \ud800\nExplanation: x", "a b", "object")
def test_any_text_is_an_answer_or_a_reason(text, caption, misalignment):
    """Nothing else is raised, and what is taken keeps the promises."""
    found = outcome(text, caption, misalignment)
    if isinstance(found, AnswerError):
        assert found.problem
        return
    assert 0 < len(found.neg_caption) <= LONGEST
    assert words_alike(found.neg_caption) != words_alike(caption)
    assert "\n" not in found.neg_caption + found.nle


def test_what_is_kept_of_a_model_is_short():
    assert cut_raw("  a \n\n b") == "  a\n b".strip()
    long = cut_raw("\n".join(str(number) for number in range(100)))
    assert long.splitlines() == [*map(str, range(RAW_LINES - 1)), f"{RAW_LINES - 1}…"]
    assert len(cut_raw("x" * 5000)) == RAW_CHARACTERS + 1


@pytest.mark.parametrize("misalignment", MISALIGNMENTS)
def test_the_schema_asks_for_what_the_reader_needs(misalignment):
    schema = answer_schema(misalignment)
    names = schema["required"]
    assert set(names) == set(schema["properties"])
    answer = dict.fromkeys(names, "a cat")
    assert read_answer(json.dumps(answer), CAPTION, misalignment).neg_caption == "a cat"
    for name in names:
        less = {key: value for key, value in answer.items() if key != name}
        with pytest.raises(AnswerError):
            read_answer(json.dumps(less), CAPTION, misalignment)
