"""Version 1 stays as it was, to the byte; version 2 shows at eight segment midpoints what its captions say."""

import hashlib
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes_measuring import blobs

from synvita_data.builders.shapes import REAL, SYNTHETIC, VERSION_1, VERSION_2, film, look, render
from synvita_data.builders.shapes.generator import clip_seed, generate
from synvita_data.builders.shapes.layout import HEADINGS, geometry_of, lay_out
from synvita_data.builders.shapes.scenes import ACTIONS, COLOURS, SHAPES, Actor, Scene, contrast, draw_scene
from synvita_data.builders.shapes.vqa import score_frames
from synvita_data.builders.shapes.world import draw_pairs
from synvita_data.errors import SourceError
from synvita_data.schema import MISALIGNMENTS
from synvita_data.video.sampling import segment_midpoints

SEEDS = st.integers(0, 2**63 - 1)
LOOKS = st.sampled_from([look(0.0), look(0.5), look(1.0)])
MIDPOINTS = {style.frames: segment_midpoints(style.frames, 8) for style in (look(0.0), look(0.5), look(1.0))}
EXTENT = {"circle": 1.0, "square": 1.2534, "triangle": 1.5552, "star": 1.4622}
# Of the pairs, clips, generated clips and scores below, as they were before there was a version 2.
BEFORE = ("e72251f9bbfd7a71", "f4efce6cd72dffc3", "81a06120a731d245", "6be93968bcf0f686")


def test_version_1_is_as_it_always_was():
    digests = [hashlib.sha256() for _ in BEFORE]
    pairs, real, generated, scores = digests
    for pair in draw_pairs(21, 3):
        t = pair.triplet
        pairs.update(f"{t.caption}|{t.neg_caption}|{t.nle}|{t.split}\n".encode())
        real.update(render(pair.scene, pair.real_seed).tobytes())
        clip = generate(t.neg_caption, seed=3, pair_id=t.pair_id)
        generated.update(clip.pixels.tobytes() + clip.shown.encode() + str((clip.seed, clip.faults)).encode())
        found = score_frames(clip.pixels[[2, 7, 12, 17]], [t.neg_caption, t.caption])
        scores.update(str([f"{v:.9f}" for v in found.mean(axis=1).ravel()]).encode())
    assert tuple(each.hexdigest()[:16] for each in digests) == BEFORE


def drawn_scene(misalignment, seed, contrasted):
    rng = random.Random(seed)
    scene = draw_scene(misalignment, rng)
    return contrast(scene, misalignment, rng) if contrasted else scene


SCENES = st.builds(drawn_scene, st.sampled_from(MISALIGNMENTS), st.integers(0, 10**6), st.booleans())


@settings(max_examples=150)
@given(SCENES, st.sampled_from([16, 18, 20]), SEEDS)
def test_nothing_leaves_the_canvas_and_nothing_touches(scene, frames, seed):
    tracks = lay_out(scene, frames, random.Random(seed), VERSION_2)
    reach = [EXTENT[track.shape] * track.radius for track in tracks]
    for track, radius in zip(tracks, reach, strict=True):
        assert (track.centre - radius[:, None]).min() >= 0
        assert (track.centre + radius[:, None]).max() <= 1
    for k, (track, radius) in enumerate(zip(tracks, reach, strict=True)):
        for other, wide in zip(tracks[:k], reach[:k], strict=True):
            gap = np.hypot(*(track.centre - other.centre).T) - radius - wide
            assert gap.min() > 0.02


def seen_at_midpoints(scene, style, seed):
    """Blobs by frame, as a model with eight frames is shown them: {colour: (x, y, area)} or lists for several alike."""
    clip = film(scene, seed, style, VERSION_2, frames=MIDPOINTS[style.frames]).pixels
    return [blobs(frame) for frame in clip]


def expect_action(action, shapes, alone):
    """`shapes`: [(x, y, area) or None] at the midpoints while it goes on."""
    there = [shape for shape in shapes if shape is not None]
    if action == "blinks":
        assert 1 <= len(there) < len(shapes)
        return
    assert len(there) == len(shapes)
    (x0, y0, a0), (x1, y1, a1) = there[0], there[-1]
    if action in HEADINGS:
        dx, dy = HEADINGS[action]
        along, across = ((x1 - x0) * dx + (y1 - y0) * dy) / 96, ((x1 - x0) * dy - (y1 - y0) * dx) / 96
        # At least a tenth of the canvas at the midpoints, and a quarter where nothing else needs room.
        assert along > (0.25 if alone else 0.1)
        assert abs(across) < 0.03
    elif action in ("grows", "shrinks"):
        ratio = a1 / a0 if action == "grows" else a0 / a1
        assert ratio > 1.9
    else:  # spins
        assert np.hypot(x1 - x0, y1 - y0) < 4


@settings(max_examples=12)
@given(
    st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=2, unique=True),
    st.sampled_from(SHAPES),
    LOOKS,
    SEEDS,
)
def test_every_event_of_one_actor_is_seen_in_its_place(actions, shape, style, seed):
    seen = seen_at_midpoints(Scene((Actor("red", shape, tuple(actions)),)), style, seed)
    assert all(len(frame) <= 1 for frame in seen)
    shapes = [frame[0][1:4] if frame else None for frame in seen]
    if len(actions) == 1:
        expect_action(actions[0], shapes, alone=True)
    else:
        expect_action(actions[0], shapes[:4], alone=True)
        expect_action(actions[1], shapes[4:], alone=True)


@settings(max_examples=12)
@given(
    st.tuples(st.sampled_from(ACTIONS), st.sampled_from(ACTIONS)),
    st.tuples(st.sampled_from([None, "small", "large"]), st.sampled_from([None, "small", "large"])),
    st.booleans(),
    LOOKS,
    SEEDS,
)
def test_two_actors_are_seen_to_act_together_or_in_turn(actions, sizes, in_turn, style, seed):
    sizes = [
        None if action in ("grows", "shrinks") else size for action, size in zip(actions, sizes, strict=True)
    ]
    first = Actor("red", "triangle", (actions[0],), sizes[0])
    second = Actor("blue", "star", (actions[1],), sizes[1])
    seen = seen_at_midpoints(Scene((first, second), in_turn=in_turn), style, seed)
    for k, (colour, action) in enumerate(zip(("red", "blue"), actions, strict=True)):
        shapes = [next((blob[1:4] for blob in frame if blob[0] == colour), None) for frame in seen]
        if not in_turn:
            expect_action(action, shapes, alone=False)
            continue
        expect_action(action, shapes[:4] if k == 0 else shapes[4:], alone=False)
        # In the other half it rests.
        (x0, y0, a0), *_, (x1, y1, a1) = resting = shapes[4:] if k == 0 else shapes[:4]
        assert None not in resting
        assert np.hypot(x1 - x0, y1 - y0) < 4
        assert 0.75 < a1 / a0 < 1.35


@settings(max_examples=10)
@given(st.sampled_from(ACTIONS), st.sampled_from(SHAPES), st.sampled_from([2, 3, 4]), LOOKS, SEEDS)
def test_counted_shapes_are_counted_and_seen_to_act(action, shape, count, style, seed):
    seen = seen_at_midpoints(Scene((Actor("green", shape, (action,), None, count),)), style, seed)
    full = [frame for frame in seen if frame]
    assert {len(frame) for frame in full} == {count}
    means = [tuple(np.mean([blob[1:4] for blob in frame], axis=0)) if frame else None for frame in seen]
    expect_action(action, means, alone=False)


@settings(max_examples=10)
@given(
    st.sampled_from(
        [("to the left of", -1, 0), ("to the right of", 1, 0), ("above", 0, -1), ("below", 0, 1)]
    ),
    st.sampled_from(["spins", "grows", "shrinks", "blinks"]),
    LOOKS,
    SEEDS,
)
def test_relations_are_seen_with_what_the_subject_does(relation, action, style, seed):
    words, dx, dy = relation
    scene = Scene((Actor("red", "square", (action,)), Actor("cyan", "circle")), relation=words)
    seen = seen_at_midpoints(scene, style, seed)
    shapes = [next((blob[1:4] for blob in frame if blob[0] == "red"), None) for frame in seen]
    rests = [next(blob[1:4] for blob in frame if blob[0] == "cyan") for frame in seen]
    expect_action(action, shapes, alone=False)
    for one, other in zip(shapes, rests, strict=True):
        if one is not None:
            assert (one[0] - other[0]) * dx + (one[1] - other[1]) * dy > 0.3 * 96
            assert abs((one[0] - other[0]) * dy - (one[1] - other[1]) * dx) < 5


def test_shapes_are_larger_and_sizes_stay_apart():
    areas = {}
    for geometry in (VERSION_1, VERSION_2):
        for size in ("small", None, "large"):
            clip = render(Scene((Actor("blue", "circle", ("spins",), size),)), 5, REAL, geometry)
            areas[geometry.version, size] = blobs(clip[1])[0][3]
    for size in ("small", None, "large"):
        assert 1.4 < areas[2, size] / areas[1, size] < 1.9
    assert areas[2, "small"] * 1.6 < areas[2, None] < areas[2, "large"] / 1.6


def test_a_blink_is_seen_and_missed_by_four_midpoints_as_well():
    tracks = [
        lay_out(Scene((Actor("red", "star", actions),)), 20, random.Random(1), VERSION_2)[0].visible
        for actions in (("blinks",), ("blinks", "grows"), ("grows", "blinks"))
    ]
    for visible in tracks:
        assert 0 < visible[segment_midpoints(20, 4)].sum() < 4


def test_scorers_judge_sizes_by_the_version():
    for geometry in (VERSION_1, VERSION_2):
        for size, other in (("small", "large"), ("large", "small")):
            scene = Scene((Actor("red", "circle", ("spins",), size),))
            frames = render(scene, 4, SYNTHETIC, geometry)[[2, 7, 12, 17]]
            told = [f"A {size} red circle spins.", f"A {other} red circle spins."]
            right, wrong = score_frames(frames, told, geometry=geometry).mean(axis=(0, 1))
            assert right > wrong + 0.05
    # By version 1's sizes nearly everything in version 2 is large.
    frames = render(Scene((Actor("red", "circle", ("spins",)),)), 4, REAL, VERSION_2)[[2, 6, 10, 14]]
    told = ["A large red circle spins.", "A small red circle spins."]
    of_1, of_2 = (score_frames(frames, told, geometry=g).mean(axis=(0, 1)) for g in (VERSION_1, VERSION_2))
    assert of_1[0] - of_1[1] > 0.05
    assert abs(of_2[0] - of_2[1]) < 0.03


@settings(max_examples=10)
@given(SCENES, LOOKS, SEEDS, st.lists(st.integers(0, 15), min_size=1, max_size=4))
def test_a_frame_is_the_same_alone_as_in_the_whole_clip(scene, style, seed, frames):
    whole = film(scene, seed, style, VERSION_2)
    assert (film(scene, seed, style, VERSION_2, frames=frames).pixels == whole.pixels[frames]).all()
    assert whole.frames == tuple(range(style.frames))
    assert len(whole.tracks) == sum(actor.count for actor in scene.actors)


def test_looks_lie_between_the_real_and_the_generators():
    assert (look(0.0), look(1.0)) == (REAL, SYNTHETIC)
    between = look(0.25)
    assert REAL.background > between.background > SYNTHETIC.background
    assert 0 < between.grain < SYNTHETIC.grain
    for shift in (-0.1, 1.1, float("nan")):
        with pytest.raises(SourceError, match="appearance shift"):
            look(shift)


def test_clips_of_the_versions_have_seeds_of_their_own():
    assert clip_seed(0, "p", 1) == clip_seed(0, "p", 1, VERSION_1) != clip_seed(0, "p", 1, VERSION_2)
    with pytest.raises(SourceError, match="version"):
        geometry_of(3)


def test_all_colours_are_told_apart_in_every_look():
    for style in (look(0.0), look(0.5), look(1.0)):
        for k, colour in enumerate(COLOURS):
            frame = film(
                Scene((Actor(colour, SHAPES[k % 4], ("spins",), "small"),)), k, style, VERSION_2, frames=[3]
            )
            assert [blob[0] for blob in blobs(frame.pixels[0])] == [colour]
