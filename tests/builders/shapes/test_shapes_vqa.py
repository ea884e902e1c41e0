"""The scorers see pixels only: what there is, how many and where, but not in which order it happens."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from synvita_data.builders.shapes.generator import generate
from synvita_data.builders.shapes.grammar import parse
from synvita_data.builders.shapes.pixels import SYNTHETIC, Style, render
from synvita_data.builders.shapes.vqa import VQA_MODELS, connected_components, find_shapes, score_frames
from synvita_data.builders.shapes.world import draw_pairs
from synvita_data.errors import CaptionError, VideoError

NO_FAULTS = dict.fromkeys(
    ["action", "attribute", "count", "flip", "hallucination", "object", "relation"], 0.0
)
MIDPOINTS = [2, 7, 12, 17]  # of 20 frames


@given(hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_connected_components_agree_with_scipy(mask):
    labels, count = connected_components(mask)
    expected, expected_count = ndimage.label(mask)
    assert count == expected_count
    assert (labels == expected).all()  # both number parts in the order of their first pixel


@pytest.mark.parametrize(("size", "radius", "share"), [("small", 0.065, 0.96), ("large", 0.12, 0.99)])
def test_shapes_are_found_in_pixels(size, radius, share):
    """Not in every frame: a small shape under grain is sometimes misread, as real frames are."""
    rng = random.Random(7)
    right = []
    for _ in range(100):
        colour = rng.choice(["red", "green", "blue", "yellow", "purple", "cyan"])
        shape = rng.choice(["circle", "square", "triangle", "star"])
        style = rng.choice([Style(), SYNTHETIC])
        clip = render(parse(f"A {size} {colour} {shape} moves left."), rng.randrange(2**62), style)
        for frame in clip[::6]:
            found = find_shapes(frame)
            right.append(
                len(found) == 1
                and (found[0].colour, found[0].shape) == (colour, shape)
                and abs(found[0].radius - radius) < 0.02
                and found[0].gaze[0] < -0.2
                and abs(found[0].gaze[1]) < 0.25
            )
    assert sum(right) / len(right) >= share


def test_an_empty_frame_shows_nothing():
    assert find_shapes(np.full((96, 96, 3), 128, dtype=np.uint8)) == []
    grey_noise = np.random.RandomState(0).randint(60, 80, (96, 96, 3)).astype(np.uint8)
    assert find_shapes(grey_noise) == []


def differences(misalignment, count=20):
    """f̄(V^s, t^s) − f̄(V^s, t^r) of faultless synthetic clips of one misalignment."""
    found = []
    for pair in draw_pairs(7 * count, seed=11):
        if pair.triplet.misalignment == misalignment:
            clip = generate(
                pair.triplet.neg_caption, seed=0, pair_id=pair.triplet.pair_id, faults=NO_FAULTS
            ).pixels[MIDPOINTS]
            neg, real = score_frames(clip, [pair.triplet.neg_caption, pair.triplet.caption]).mean((0, 1))
            found.append(neg - real)
    return np.array(found)


def test_what_a_frame_shows_is_told_apart_and_order_is_not():
    object_, attribute, flip = differences("object"), differences("attribute"), differences("flip")
    assert object_.mean() > 0.1
    assert attribute.mean() > 0.1
    assert abs(flip.mean()) < 0.03
    assert abs(flip).max() < min(np.median(object_), np.median(attribute))


def test_scores_are_probabilities_that_depend_on_pixels_and_caption_alone():
    clip = render(parse("A large red square moves left."), 3, SYNTHETIC)[MIDPOINTS]
    captions = ["A large red square moves left.", "A small blue circle moves left."]
    scores = score_frames(clip, captions)
    assert scores.shape == (3, 4, 2)
    assert ((scores > 0) & (scores < 1)).all()
    assert (scores == score_frames(clip.copy(), captions)).all()
    assert (scores[:, ::-1, ::-1] == score_frames(clip[::-1], captions[::-1])).all()
    assert (scores.mean(axis=1)[:, 0] > scores.mean(axis=1)[:, 1]).all()


def test_models_have_their_own_temper():
    clip = render(parse("A large red square moves left."), 3, SYNTHETIC)[MIDPOINTS]
    per_model = score_frames(clip, ["A large red square moves left."]).mean(axis=(1, 2))
    assert len({model.name for model in VQA_MODELS}) == 3
    assert len(set(per_model)) == 3


@pytest.mark.parametrize(
    "frames",
    [np.zeros((2, 8, 8, 3)), np.zeros((8, 8, 3), np.uint8), np.zeros((0, 8, 8, 3), np.uint8)],
    ids=["float", "one frame", "no frame"],
)
def test_frames_of_another_form_are_refused(frames):
    with pytest.raises(VideoError, match="uint8"):
        score_frames(frames, ["A red star spins."])


def test_a_caption_of_another_world_is_refused():
    with pytest.raises(CaptionError):
        score_frames(np.zeros((1, 8, 8, 3), np.uint8), ["A man is talking."])
