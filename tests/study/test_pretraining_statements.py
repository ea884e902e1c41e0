"""Statements of the pre-training are true and false as they say, and name no held-out combination."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synvita_data.builders.shapes import caption, parse
from synvita_data.builders.shapes.scenes import COLOURS, OPPOSITE, SHAPES, Actor, Scene
from synvita_data.errors import CaptionError, SynvitaError
from synvita_data.schema import MISALIGNMENTS
from synvita_data.study.pretraining.settings import HELD_OUT, Settings
from synvita_data.study.pretraining.statements import (
    NOUNS,
    draw_any,
    draw_statement,
    held_out,
    noun_statement,
)

NUMBERS = {"A": 1, "Two": 2, "Three": 3, "Four": 4}
seeds = st.integers(0, 2**40)


def facts(scene):
    """What is so in a clip of `scene`, as words: the reference that the statements are held against."""
    said = set()
    for actor in scene.actors:
        said.add(("noun", actor.colour, actor.shape, actor.count))
        for action in actor.actions:
            said.add(("does", actor.colour, actor.shape, actor.count, actor.size, action))
    if scene.relation:
        first, second = scene.actors
        said.add((*first.noun, scene.relation, *second.noun))
        said.add((*second.noun, OPPOSITE[scene.relation], *first.noun))
    return said


def claims(text):
    """What a statement says, in the same words."""
    words = text.removesuffix(".").split()
    if len(words) == 3:
        return {("noun", words[1], words[2].removesuffix("s"), NUMBERS[words[0]])}
    scene = parse(text)
    said = {each for each in facts(scene) if each[0] != "noun"}
    if scene.relation:
        said = {(*scene.actors[0].noun, scene.relation, *scene.actors[1].noun)}
    return said


@given(seeds, st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=120, deadline=None)
def test_one_is_true_and_the_other_false(seed, whole, hard):
    rng = random.Random(seed)
    scene = draw_any(rng)
    made = draw_statement(scene, rng, whole=whole, hard=hard)
    assert made.true != made.false
    if made.kind in MISALIGNMENTS:
        assert parse(made.true) == scene
        assert parse(made.false) != scene
    else:
        assert claims(made.true) <= facts(scene), made
        assert not claims(made.false) <= facts(scene), made


@given(seeds, st.floats(0, 1))
@settings(max_examples=120, deadline=None)
def test_held_out_combinations_are_never_named(seed, whole):
    rng = random.Random(seed)
    made = draw_statement(draw_any(rng), rng, whole=whole, hard=0.5)
    for text in (made.true, made.false):
        words = text.lower().removesuffix(".").replace(",", "").split()
        named = {(a, b.removesuffix("s")) for a, b in itertools.pairwise(words)}
        assert not named & HELD_OUT, text


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_unseen_scenes_have_a_held_out_combination(seed):
    scene = draw_any(random.Random(seed), unseen=True)
    assert held_out(scene)
    with pytest.raises(CaptionError, match="held out"):
        draw_statement(scene, random.Random(0), whole=0.5)
    for kind in NOUNS:
        made = noun_statement(scene, random.Random(seed), kind)
        assert made.kind == kind
        assert claims(made.true) <= facts(scene)
        assert not claims(made.false) <= facts(scene)


def test_every_kind_is_drawn():
    rng = random.Random(0)
    kinds = {draw_statement(draw_any(rng), rng, whole=0.5).kind for _ in range(800)}
    parts = {f"part-{kind}" for kind in ("action", "attribute", "object", "relation")}
    assert kinds == {*MISALIGNMENTS, *parts, *NOUNS, "noun-count"}


def test_every_colour_and_shape_is_seen_in_other_combinations():
    assert {colour for colour, _ in HELD_OUT} == set(COLOURS)
    assert {shape for _, shape in HELD_OUT} == set(SHAPES)
    for shape in SHAPES:
        assert sum((colour, shape) not in HELD_OUT for colour in COLOURS) >= 3


def test_hard_contrasts_name_another_direction():
    rng, moved = random.Random(1), Scene((Actor("red", "circle", ("moves up",)),))
    found = [draw_statement(moved, rng, whole=1.0, hard=1.0) for _ in range(60)]
    found = [each for each in found if each.kind == "action"]
    assert found
    assert all(parse(each.false).actors[0].actions[0].startswith("moves") for each in found)
    assert caption(moved) == found[0].true


def test_impossible_settings():
    with pytest.raises(SynvitaError, match="no pre-training"):
        Settings(steps=10, early=11)
    with pytest.raises(SynvitaError, match="patches"):
        Settings(image_size=50)
