"""What a caption says is in the pixels: measured here with SciPy and colorsys, not with the package's eyes."""

import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from shapes_measuring import blobs, eye_angles

from synvita_data.builders.shapes.pixels import REAL, SYNTHETIC, Style, render
from synvita_data.builders.shapes.scenes import Actor, Scene, draw_scene
from synvita_data.schema import MISALIGNMENTS

SHAPES = ["circle", "square", "triangle", "star"]
COLOURS = ["red", "green", "blue", "yellow", "purple", "cyan"]
DIRECTIONS = {"left": (0, -1), "right": (1, 1), "up": (1, -1), "down": (0, 1)}
STYLES = st.sampled_from([REAL, SYNTHETIC])
SEEDS = st.integers(0, 2**63 - 1)
FEW = settings(max_examples=8)


def clip_of(*actors, style=REAL, seed=0, **scene):
    return render(Scene(tuple(actors), **scene), seed, style)


@FEW
@given(
    st.sampled_from(SHAPES),
    st.sampled_from(COLOURS),
    st.sampled_from([None, "small", "large"]),
    STYLES,
    SEEDS,
)
def test_colour_is_the_one_that_is_told(shape, colour, size, style, seed):
    clip = clip_of(Actor(colour, shape, ("moves up",), size), style=style, seed=seed)
    assert clip.dtype == np.uint8
    assert clip.shape == (style.frames, 96, 96, 3)
    for frame in clip:
        ((found, *_),) = blobs(frame)
        assert found == colour


@FEW
@given(
    st.sampled_from(list(DIRECTIONS)),
    st.sampled_from(SHAPES),
    st.sampled_from([None, "small", "large"]),
    STYLES,
    SEEDS,
)
def test_a_move_goes_its_way_and_no_other(direction, shape, size, style, seed):
    clip = clip_of(Actor("green", shape, (f"moves {direction}",), size), style=style, seed=seed)
    way = np.array([blobs(frame)[0][1:3] for frame in clip])
    step = np.diff(way, axis=0)
    horizontal = direction in ("left", "right")
    sign = -1 if direction in ("left", "up") else 1
    along, across = (step[:, 0], step[:, 1]) if horizontal else (step[:, 1], step[:, 0])
    assert sign * along.sum() > 0.25 * 96
    assert abs(across.sum()) < 1.5
    assert (sign * along > 0).all()
    ahead = {"up": 0, "right": 90, "down": 180, "left": 270}[direction]
    assert np.nanmedian(np.abs((eye_angles(clip) - ahead + 180) % 360 - 180)) < 20  # it looks where it goes


@FEW
@given(st.sampled_from(["grows", "shrinks"]), st.sampled_from(SHAPES), STYLES, SEEDS)
def test_growing_and_shrinking_change_the_area_in_place(action, shape, style, seed):
    clip = clip_of(Actor("blue", shape, (action,)), style=style, seed=seed)
    found = [blobs(frame)[0] for frame in clip]
    ratio = found[-1][3] / found[0][3]
    assert (ratio if action == "grows" else 1 / ratio) > 2.5
    assert np.hypot(found[-1][1] - found[0][1], found[-1][2] - found[0][2]) < 2


@FEW
@given(st.sampled_from(SHAPES), st.sampled_from(["small", "large", None]), STYLES, SEEDS)
def test_a_spin_goes_once_round_clockwise(shape, size, style, seed):
    clip = clip_of(Actor("red", shape, ("spins",), size), style=style, seed=seed)
    angles = eye_angles(clip)
    turns = np.diff(angles[~np.isnan(angles)])
    assert np.mean(~np.isnan(angles)) > 0.8
    assert ((turns + 180) % 360 - 180 > 0).mean() > 0.85
    assert {int(angle // 90) for angle in angles[~np.isnan(angles)]} == {0, 1, 2, 3}
    areas = [blobs(frame)[0][3] for frame in clip]
    assert max(areas) / min(areas) < 1.5


@FEW
@given(st.sampled_from(SHAPES), STYLES, SEEDS)
def test_a_blink_hides_the_shape_again_and_again(shape, style, seed):
    clip = clip_of(Actor("purple", shape, ("blinks",)), style=style, seed=seed)
    shown = np.array([len(blobs(frame)) for frame in clip])
    assert set(shown) == {0, 1}
    assert shown[0] == 1
    assert (np.diff(shown) == -1).sum() >= 4
    visible = [blobs(frame)[0] for frame in clip if blobs(frame)]
    assert np.ptp([blob[1] for blob in visible]) < 2


@FEW
@given(
    st.sampled_from([2, 3, 4]),
    st.sampled_from(SHAPES),
    st.sampled_from(["moves left", "moves down", "grows", "shrinks", "spins"]),
    STYLES,
    SEEDS,
)
def test_count_is_the_number_of_blobs_in_every_frame(count, shape, action, style, seed):
    clip = clip_of(Actor("cyan", shape, (action,), None, count), style=style, seed=seed)
    for frame in clip:
        found = blobs(frame)
        assert len(found) == count
        assert {blob[0] for blob in found} == {"cyan"}


@FEW
@given(st.sampled_from(SHAPES), st.sampled_from(["moves left", "spins", "moves up"]), STYLES, SEEDS)
def test_small_none_and_large_are_three_sizes(shape, action, style, seed):
    areas = {}
    for size in ("small", None, "large"):
        clip = clip_of(Actor("green", shape, (action,), size), style=style, seed=seed)
        areas[size] = np.median([blobs(frame)[0][3] for frame in clip]) / 96**2
    # Circles of radius 0.065, 0.09 and 0.12 have areas of 1.3%, 2.5% and 4.5% of the frame.
    assert areas["small"] < 0.0195 < areas[None] < 0.0345 < areas["large"]


@FEW
@given(
    st.sampled_from(["to the left of", "to the right of", "above", "below"]),
    st.sampled_from([(), ("spins",), ("grows",), ("shrinks",)]),
    st.permutations(SHAPES),
    STYLES,
    SEEDS,
)
def test_a_relation_holds_in_every_frame(relation, actions, shapes, style, seed):
    first, second = Actor("red", shapes[0], actions), Actor("blue", shapes[1])
    for frame in clip_of(first, second, relation=relation, style=style, seed=seed):
        place = {blob[0]: np.array(blob[1:3]) for blob in blobs(frame)}
        dx, dy = place["red"] - place["blue"]
        holds = {
            "to the left of": dx < 0,
            "to the right of": dx > 0,
            "above": dy < 0,
            "below": dy > 0,
        }
        assert holds[relation]
        sideways = "the" in relation
        assert (abs(dx) > 3 * abs(dy)) == sideways
        assert (abs(dy) > 3 * abs(dx)) == (not sideways)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("style", [REAL, SYNTHETIC], ids=["real", "synthetic"])
def test_the_outline_has_the_corners_of_its_shape(shape, style):
    """Peaks of the outline's distance from the centre, counted on a large picture, at any angle."""
    big = Style(
        size=288, frames=style.frames, background=style.background, grain=style.grain, softness=style.softness
    )
    for frame in clip_of(Actor("green", shape, ("spins",), "large"), style=big)[::3]:
        ((_, x, y, area, mask),) = blobs(frame)
        rows, columns = np.nonzero(mask)
        angle = np.arctan2(rows - y, columns - x)
        distance = np.hypot(rows - y, columns - x) / np.sqrt(area / np.pi)
        bins = np.floor((angle + np.pi) / (2 * np.pi) * 72).astype(int) % 72
        outline = np.array([distance[bins == k].max() for k in range(72)])
        smooth = ndimage.gaussian_filter1d(outline, 1.5, mode="wrap")
        peaks = (smooth > np.roll(smooth, 1)) & (smooth >= np.roll(smooth, -1)) & (smooth > 1.12)
        assert peaks.sum() == {"circle": 0, "triangle": 3, "square": 4, "star": 5}[shape]


@FEW
@given(st.booleans(), STYLES, SEEDS)
def test_two_actors_in_turn_keep_their_turns(red_first, style, seed):
    red, blue = Actor("red", "circle", ("grows",)), Actor("blue", "star", ("moves left",))
    order = (red, blue) if red_first else (blue, red)
    clip = clip_of(*order, in_turn=True, style=style, seed=seed)
    half = len(clip) // 2
    traces = {"red": [], "blue": []}
    for frame in clip:
        for colour, x, _, area, _ in blobs(frame):
            traces[colour].append(area if colour == "red" else x)
    for colour, whole in (("red", 350.0), ("blue", -24.0)):
        first = traces[colour][half - 1] - traces[colour][0]
        second = traces[colour][-1] - traces[colour][half]
        acts, rests = (first, second) if (colour == "red") == red_first else (second, first)
        assert acts / whole > 0.4
        assert abs(rests / whole) < 0.25


@FEW
@given(STYLES, SEEDS)
def test_two_actions_come_in_the_order_told(style, seed):
    for actions in (("moves up", "grows"), ("grows", "moves up")):
        clip = clip_of(Actor("yellow", "square", actions), style=style, seed=seed)
        half = len(clip) // 2
        height = np.array([blobs(frame)[0][2] for frame in clip])
        area = np.array([blobs(frame)[0][3] for frame in clip])
        moving, growing = (slice(0, half), slice(half, None))[:: 1 if actions[0] == "moves up" else -1]
        assert np.ptp(height[moving]) > 20
        assert np.ptp(height[growing]) < 2
        assert area[growing][-1] / area[growing][0] > 2.5
        assert area[moving].max() / area[moving].min() < 1.5


@settings(max_examples=25)
@given(st.sampled_from(MISALIGNMENTS), SEEDS, STYLES)
def test_no_shape_is_cut_by_the_border_or_touches_another(misalignment, seed, style):
    scene = draw_scene(misalignment, random.Random(seed))
    most = sum(actor.count for actor in scene.actors)
    blinking = any("blinks" in actor.actions for actor in scene.actors)
    for frame in render(scene, seed, style):
        found = blobs(frame)
        assert len(found) <= most if blinking else len(found) == most
        for *_, mask in found:
            # A corner's soft rim may just reach the border, in one of thousands of clips; no shape is cut by it.
            assert max(edge.sum() for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1])) <= 3


def test_a_seed_gives_its_pixels_for_ever():
    scene = Scene((Actor("red", "star", ("spins",)), Actor("blue", "square", ("moves left",))))
    for style in (REAL, SYNTHETIC):
        first, again = render(scene, 2**62 + 5, style), render(scene, 2**62 + 5, style)
        assert (first == again).all()
        assert (first != render(scene, 2**62 + 6, style)).any()
        assert (first != render(scene, 5, style)).any()  # the high bits count


def test_synthetic_clips_look_unlike_real_ones():
    scene = Scene((Actor("red", "star", ("spins",)),))
    for seed in range(10):
        real, synthetic = render(scene, seed, REAL), render(scene, seed, SYNTHETIC)
        assert np.median(real) - np.median(synthetic) > 100
        corner_real, corner_synthetic = real[:, :12, :12].astype(float), synthetic[:, :12, :12].astype(float)
        # The real background stands still, the other one flickers.
        assert max(abs(a - b).max() for a, b in pairwise(corner_real)) == 0
        assert np.mean([abs(a - b).mean() for a, b in pairwise(corner_synthetic)]) > 1
        assert len(real) != len(synthetic)
