"""Captions and scenes are each other's inverse; a contrast changes one thing, of the kind it says."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.builders.shapes.grammar import caption, explanation, parse
from synvita_data.builders.shapes.scenes import Actor, Scene, contrast, draw_scene
from synvita_data.captions.lcs import shared_spans
from synvita_data.errors import CaptionError
from synvita_data.schema import MISALIGNMENTS

COLOUR_WORDS = {"red", "green", "blue", "yellow", "purple", "cyan"}
SIZE_WORDS = {"small", "large"}
SHAPE_WORDS = {"circle", "square", "triangle", "star"}
NUMBER_WORDS = {"two", "three", "four"}
ACTION_WORDS = {"move", "left", "right", "up", "down", "grow", "shrink", "spin", "blink"}
RELATION_WORDS = {"to", "the", "left", "right", "of", "above", "below"}

BY_HAND = {
    "A small red circle moves left.": Scene((Actor("red", "circle", ("moves left",), "small"),)),
    "Three blue stars blink.": Scene((Actor("blue", "star", ("blinks",), None, 3),)),
    "Two green squares move up.": Scene((Actor("green", "square", ("moves up",), None, 2),)),
    "A red circle first moves left and then grows.": Scene(
        (Actor("red", "circle", ("moves left", "grows")),)
    ),
    "First a red circle spins, then a large blue star moves up.": Scene(
        (Actor("red", "circle", ("spins",)), Actor("blue", "star", ("moves up",), "large")), in_turn=True
    ),
    "A red circle spins while a blue star moves up.": Scene(
        (Actor("red", "circle", ("spins",)), Actor("blue", "star", ("moves up",)))
    ),
    "A red circle is above a blue star.": Scene(
        (Actor("red", "circle"), Actor("blue", "star")), relation="above"
    ),
    "A cyan circle blinks to the left of a small yellow triangle.": Scene(
        (Actor("cyan", "circle", ("blinks",)), Actor("yellow", "triangle", (), "small")),
        relation="to the left of",
    ),
}


@pytest.mark.parametrize("sentence", BY_HAND)
def test_sentences_by_hand(sentence):
    assert caption(BY_HAND[sentence]) == sentence
    assert parse(sentence) == BY_HAND[sentence]
    assert parse("  " + sentence.upper().replace(".", "") + " ") == BY_HAND[sentence]


@given(st.sampled_from(MISALIGNMENTS), st.integers(0, 2**32))
def test_caption_and_parse_are_inverse(misalignment, seed):
    rng = random.Random(seed)
    scene = draw_scene(misalignment, rng)
    told = contrast(scene, misalignment, rng)
    assert parse(caption(scene)) == scene
    assert parse(caption(told)) == told
    assert caption(scene) != caption(told)


@given(st.sampled_from(MISALIGNMENTS), st.integers(0, 2**32))
def test_a_contrast_changes_words_of_its_kind_only(misalignment, seed):
    rng = random.Random(seed)
    scene = draw_scene(misalignment, rng)
    told = contrast(scene, misalignment, rng)
    before, after = words(caption(scene)), words(caption(told))
    if misalignment == "flip":
        assert sorted(before) == sorted(after)
        assert before != after
        return
    if misalignment == "hallucination":
        assert is_subsequence(before, after)
        assert len(after) > len(before)
        return
    kinds = {
        "action": ACTION_WORDS,
        "attribute": COLOUR_WORDS | SIZE_WORDS,
        "count": NUMBER_WORDS,
        "object": SHAPE_WORDS,
        "relation": RELATION_WORDS,
    }
    gone, new = multiset_difference(before, after), multiset_difference(after, before)
    assert set(gone + new) <= kinds[misalignment]
    assert gone or new
    if misalignment in ("attribute", "count", "object"):
        assert len(gone) == len(new) == 1
        # A colour for a colour, a size for a size.
        assert {gone[0], new[0]} <= COLOUR_WORDS or {gone[0], new[0]} <= kinds[misalignment] - COLOUR_WORDS


@given(st.sampled_from(MISALIGNMENTS), st.integers(0, 2**32))
def test_explanations_are_sentences_about_what_differs(misalignment, seed):
    rng = random.Random(seed)
    scene = draw_scene(misalignment, rng)
    told = contrast(scene, misalignment, rng)
    text = explanation(scene, told, misalignment)
    assert re.fullmatch(r"[A-Z][a-z, ]+\.", text)
    if misalignment in ("attribute", "count", "object"):
        (gone,) = multiset_difference(words(caption(scene)), words(caption(told)))
        (new,) = multiset_difference(words(caption(told)), words(caption(scene)))
        positive, negative = text.lower().split("not")
        assert gone in positive
        assert new in negative
    if misalignment == "relation":
        assert scene.relation in text.split("not")[0]
        assert told.relation in text.split("not")[1]


def test_masks_of_flips_keep_something_and_hide_something():
    first = "First a red circle spins, then a blue star moves up."
    second = "First a blue star moves up, then a red circle spins."
    kept, _ = shared_spans(first, second)
    assert 0 < sum(end - start for start, end in kept) < len(first)


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "A man is talking.",
        "A red circle.",
        "A pink circle spins.",
        "Two red circle spin.",
        "Two red circles spins.",
        "A red circle spin.",
        "Two small red circles spin.",  # several shapes have no size word
        "A small red circle grows.",  # nor has what grows
        "A red circle first spins and then spins.",
        "A red circle spins while a red circle grows.",
        "A red circle moves left above a blue star.",
        "A red circle is above a blue star. Really.",
    ],
)
def test_what_is_no_caption_of_this_world_is_refused(sentence):
    with pytest.raises(CaptionError):
        parse(sentence)


def test_a_scene_without_the_thing_to_change_is_refused():
    scene = parse("A red circle is above a blue star.")
    for misalignment in ("action", "count", "flip", "hallucination"):
        with pytest.raises(CaptionError, match=misalignment):
            contrast(scene, misalignment, random.Random(0))
    with pytest.raises(CaptionError, match="unknown misalignment"):
        contrast(scene, "colour", random.Random(0))


def test_every_word_of_the_world_occurs():
    seen = set()
    for misalignment in MISALIGNMENTS:
        for seed in range(200):
            seen |= set(words(caption(draw_scene(misalignment, random.Random(seed)))))
    every = COLOUR_WORDS | SIZE_WORDS | SHAPE_WORDS | NUMBER_WORDS | ACTION_WORDS | RELATION_WORDS
    assert every - seen == set()


def words(sentence):
    """Lower-case words without endings: `moves` and `circles` count as `move` and `circle`."""
    found = re.findall(r"[a-z]+", sentence.lower())
    stems = SHAPE_WORDS | ACTION_WORDS
    return [word[:-1] if word.endswith("s") and word[:-1] in stems else word for word in found]


def multiset_difference(left, right):
    rest = list(right)
    gone = []
    for word in left:
        if word in rest:
            rest.remove(word)
        else:
            gone.append(word)
    return gone


def is_subsequence(short, long):
    position = iter(long)
    return all(word in position for word in short)
