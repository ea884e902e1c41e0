"""What a caption can be asked for, and what a contrast caption must keep."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.builders.contrast.checks import MAX_LOST, changed_regions, check, content, normal_words
from synvita_data.builders.contrast.english import stem
from synvita_data.builders.contrast.kinds import MAX_CHARACTERS, askable
from synvita_data.errors import SynvitaError
from synvita_data.schema import MISALIGNMENTS

WORD = st.sampled_from(
    [
        "the",
        "a",
        "man",
        "dog",
        "two",
        "runs",
        "red",
        "ball",
        "before",
        "after",
        "jumps",
        "sings",
        "on",
        "table",
        "quickly",
    ]
)
CAPTION = st.lists(WORD, min_size=2, max_size=12)


@pytest.mark.parametrize(
    ("caption", "contrast", "kind"),
    [
        ("a dog runs", "a cat runs", "object"),
        ("A man is sitting.", "A man is standing.", "action"),
        ("an old car", "a new car", "attribute"),
        ("one man is singing", "two men are singing", "count"),
        ("2 dogs run", "3 dogs run", "count"),
        ("a cat on a table", "a cat under a table", "relation"),
        ("a boy jumps", "a boy jumps while a dog barks.", "hallucination"),
        ("a boy jumps and then sings", "a boy sings and then jumped", "flip"),
        ("a man sings while a woman dances", "a woman sings while a man dances", "flip"),
        ("une fille chante", "une fille danse", "action"),
        ("一个男人在唱歌", "一个女人在唱歌", "object"),
    ],
)
def test_what_passes(caption, contrast, kind):
    assert check(caption, contrast, kind) is None


@pytest.mark.parametrize(
    ("caption", "contrast", "kind", "reason"),
    [
        ("a dog runs", "  \n", "object", "empty"),
        ("a dog runs", "...", "object", "no words"),
        ("a dog runs", "A DOG, runs!", "object", "caption again"),
        ("a dog runs", "a cat " * 400, "object", "more than 2,000 characters"),
        ("a dog runs", "a cat sleeps", "count", "no number on both sides"),
        ("two dogs run", "some dogs run", "count", "no number on both sides"),
        ("a dog runs on grass", "a cat runs on sand", "object", "2 places"),
        ("a dog runs", "she sings", "action", "nothing of the caption is left"),
        ("a dog runs", "a dog does not run", "action", "only negates"),
        ("the dog can not swim", "the dog can swim", "attribute", "only negates"),
        ("a boy jumps", "a boy sings while a dog barks", "hallucination", "1 words of the caption are gone"),
        (
            "a boy jumps then sings",
            "a boy jumps then eats an apple",
            "flip",
            "without sing, with appl, with eat",
        ),
    ],
)
def test_what_is_refused_and_why(caption, contrast, kind, reason):
    assert reason in check(caption, contrast, kind)


def test_another_true_caption_of_the_video_is_no_contrast():
    assert check("a dog runs", "a cat runs", "object", ["A cat runs."]) is not None
    assert check("a dog runs", "a cat runs", "object", ["a cat sits"]) is None


def test_unknown_kinds_are_errors():
    for ask in (lambda: check("a", "b", "colour"), lambda: askable("a", "colour")):
        with pytest.raises(SynvitaError, match="colour"):
            ask()


@given(CAPTION, CAPTION)
def test_regions_are_all_that_differs(one, other):
    regions = changed_regions(one, other)
    rest, other_rest = list(one), list(other)
    for mine, theirs in reversed(regions):
        assert mine.stop - mine.start or theirs.stop - theirs.start
        del rest[mine]
        del other_rest[theirs]
    assert rest == other_rest


@given(CAPTION, st.data())
def test_one_replaced_run_of_words_is_one_region(words, data):
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, len(words)))
    contrast = [*words[:start], "elephant", *words[end:]]
    refused = check(" ".join(words), " ".join(contrast), "object")
    assert refused == ("nothing of the caption is left" if end - start == len(words) else None)


@given(CAPTION, st.lists(st.tuples(st.integers(0, 12), st.just("elephant")), min_size=1, max_size=4))
def test_words_may_be_added_anywhere_and_none_be_lost(words, added):
    longer = list(words)
    for place, word in added:
        longer.insert(place, word)
    assert check(" ".join(words), " ".join(longer), "hallucination") is None
    # The other way round words are gone.
    assert "are gone" in check(" ".join(longer), " ".join(words), "hallucination")


@given(CAPTION, st.randoms(use_true_random=False))
def test_a_flip_is_any_other_order(words, random):
    order = list(words)
    random.shuffle(order)
    refused = check(" ".join(words), " ".join(order), "flip")
    assert refused == ("the contrast caption is the caption again" if order == words else None)


@given(CAPTION, st.integers(0, 5))
def test_a_flip_loses_at_most_two(words, extra):
    contrast = [*reversed(words), *(f"elephant{chr(97 + each)}" for each in range(extra))]
    refused = check(" ".join(words), " ".join(contrast), "flip")
    if contrast != words:
        assert (refused is None) == (extra <= MAX_LOST)


@pytest.mark.parametrize(
    "forms",
    [
        "run runs running ran", "stop stops stopping stopped", "make makes making made", "try tries trying tried",
        "wash washes washing washed", "man men man's", "box boxes", "leaf leaves", "write wrote written writing",
        "lie lies lying", "dance dances dancing danced", "hug hugs hugging hugged", "play plays played playing",
    ],
)  # fmt: skip
def test_forms_of_a_word_have_one_stem(forms):
    assert len({stem(form) for form in forms.split()}) == 1


def test_different_words_have_different_stems():
    words = [
        "sing",
        "sit",
        "sun",
        "son",
        "ring",
        "run",
        "rain",
        "dog",
        "duck",
        "dance",
        "drive",
        "bus",
        "dress",
        "glass",
        "this",
        "man",
        "woman",
        "car",
        "care",
        "cat",
    ]
    assert [word for word, number in Counter(map(stem, words)).items() if number > 1] == ["car"]  # car, care


def test_words_without_content_do_not_count():
    assert content(normal_words("The man is running, and then he stops.")) == content(["stop", "man", "run"])


@pytest.mark.parametrize(
    ("caption", "kinds"),
    [
        ("a dog runs", {"action", "attribute", "hallucination", "object"}),
        ("two dogs", {"action", "attribute", "count", "hallucination", "object"}),
        ("3 dogs on a bed", {"action", "attribute", "count", "hallucination", "object", "relation"}),
        ("a dog runs and barks", {"action", "attribute", "flip", "hallucination", "object"}),
        ("he sits, then he stands", {"action", "attribute", "flip", "hallucination", "object"}),
        ("a man taller than her", {"action", "attribute", "hallucination", "object", "relation"}),
        ("один человек", {"action", "attribute", "hallucination", "object"}),
        (" ... ", set()),
        ("two " * 600, set()),
    ],
)
def test_what_a_caption_can_be_asked_for(caption, kinds):
    assert {kind for kind in MISALIGNMENTS if askable(caption, kind) is None} == kinds


def test_the_longest_caption():
    assert askable("a" * MAX_CHARACTERS, "object") is None
    assert "2,000" in askable("a" * (MAX_CHARACTERS + 1), "object")
