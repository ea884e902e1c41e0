"""Splits with unseen concepts, the argument of shapes: for version 2, and what a world of version 2 has on disk."""

import json
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from synvita_data.builders.shapes import (
    REAL,
    SYNTHETIC,
    UNSEEN,
    VERSION_2,
    ShapesSpec,
    Split,
    draw_world,
    look,
)
from synvita_data.builders.shapes.benchmark import draw_tests
from synvita_data.builders.shapes.folder import make_world
from synvita_data.builders.shapes.grammar import caption, parse
from synvita_data.builders.shapes.noise import DEFAULT, FAULTS, NONE, VIDEOCON, Noise, Sight
from synvita_data.builders.shapes.pixels import render
from synvita_data.builders.shapes.splits import CONCEPTS, kept_for_tests
from synvita_data.builders.shapes.truth import is_right
from synvita_data.builders.shapes.world import decide_for, generate_for, write_triplets
from synvita_data.builders.sources import open_source
from synvita_data.builders.triplets import TripletReader
from synvita_data.errors import SourceError
from synvita_data.schema import MISALIGNMENTS
from synvita_data.tables.scores import VideoIdentity, read_scores
from synvita_data.weights import weight

SEEDS = st.integers(0, 10**6)
UNSEENS = st.lists(st.sampled_from(CONCEPTS), min_size=1, max_size=3, unique=True).map(tuple)
SPEC = "version=2,pairs=70,unseen=purple+star+moves up,share=0.8"


def words(text):
    return f" {text.lower().rstrip('.')} ".replace(",", " ")


def names(text, concept):
    """Whether a caption says a concept, in the singular or the plural."""
    plural = {"moves up": "move up"}.get(
        concept, f"{concept}s" if " " not in concept else concept.replace("s ", " ", 1)
    )
    forms = (concept, plural, concept.removesuffix("s"))
    return any(f" {form} " in words(text) for form in forms)


@settings(max_examples=8)
@given(UNSEENS, st.sampled_from([0.5, 0.8, 1.0]), SEEDS)
def test_no_unseen_concept_is_ever_in_a_true_caption_of_training(unseen, share, seed):
    assume(
        len(set(unseen) & {"circle", "square", "triangle", "star"}) < 3
    )  # Split says that this is impossible
    spec = ShapesSpec(pairs=420, seed=seed, version=2, split=Split(unseen, share))
    pairs = list(draw_world(spec))
    told = Counter()
    for pair in pairs:
        if pair.triplet.split != "test":
            assert not any(names(pair.triplet.caption, concept) for concept in unseen)
            told.update(concept for concept in unseen if names(pair.triplet.neg_caption, concept))
        elif pair.triplet.misalignment in spec.split.removers:
            assert any(names(pair.triplet.caption, concept) for concept in unseen)
            assert not any(names(pair.triplet.neg_caption, concept) for concept in unseen)
    assert set(told) == set(unseen)


@settings(max_examples=5)
@given(SEEDS, SEEDS)
def test_tests_share_nothing_with_training_whatever_the_seeds(seed, test_seed):
    spec = ShapesSpec(pairs=210, seed=seed, version=2, split=Split(UNSEEN, 0.8), only="train")
    train = [pair.triplet for pair in draw_world(spec)]
    tests = [test.pair.triplet for test in draw_tests(spec.split, test_seed, 21)]
    assert not {t.video_id for t in train} & {t.video_id for t in tests}
    assert not {t.caption for t in train} & {t.caption for t in tests}
    assert not {t.pair_id for t in train} & {t.pair_id for t in tests}
    assert all(kept_for_tests(parse(t.caption)) is False for t in train)


def test_the_share_is_that_of_the_contrasts_that_can_name_a_concept():
    for share in (0.25, 0.8):
        pairs = list(draw_world(ShapesSpec(pairs=700, version=2, split=Split(UNSEEN, share), only="train")))
        able = ("action", "attribute", "object", "hallucination")
        can = [pair.triplet.neg_caption for pair in pairs if pair.triplet.misalignment in able]
        do = sum(any(names(text, concept) for concept in UNSEEN) for text in can)
        assert abs(do / len(can) - share) < 0.1  # four standard errors
        others = [pair.triplet.neg_caption for pair in pairs if pair.triplet.misalignment not in able]
        assert not any(names(text, concept) for text in others for concept in UNSEEN)


@settings(max_examples=5)
@given(SEEDS)
def test_more_pairs_only_add_and_equal_specs_give_equal_pairs(seed):
    few, many = (ShapesSpec(pairs=n, seed=seed, version=2) for n in (14, 40))
    drawn = [pair.triplet for pair in draw_world(few)]
    assert (
        [pair.triplet for pair in draw_world(few)]
        == drawn
        == [pair.triplet for pair in draw_world(many)][:14]
    )
    assert [t.misalignment for t in drawn] == list(MISALIGNMENTS) * 2


def test_worlds_with_other_settings_have_videos_of_other_names():
    specs = [
        "version=2",
        "version=2,seed=1",
        "version=2,clips=5",
        "version=2,unseen=red",
        "version=2,share=0.6",
    ]
    assert len({ShapesSpec.parse(each).name for each in specs}) == 5
    # Real clips do not depend on what the generator does.
    assert ShapesSpec.parse("version=2,noise=none,shift=0").name == ShapesSpec.parse("version=2").name
    pairs = [next(draw_world(ShapesSpec.parse(each))) for each in ("version=2", "version=2,clips=5")]
    assert pairs[0].triplet.caption == pairs[1].triplet.caption
    assert pairs[0].real_seed != pairs[1].real_seed


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("version=2,unseen=mauve", "unknown concept"),
        ("version=2,unseen=purple+purple", "twice"),
        ("version=2,unseen=purple,share=0", "in neither"),
        ("version=2,unseen=purple,share=1.5", "not a share"),
        ("version=2,unseen=circle+square+star", "impossible split"),
        ("version=2,unseen=red+green+blue+yellow+purple", "impossible split"),
        ("version=2,noise=5", r"rate of random faults"),
        ("version=2,noise=nan", r"rate of random faults"),
        ("version=2,noise=loud", "unknown noise"),
        ("version=2,reverted=1.01", "rate of reverted faults"),
        ("version=2,random.action=-0.1", "rate of random faults of kind action"),
        ("version=2,shift=2", "appearance shift"),
        ("version=2,only=some", "unknown split"),
        ("version=3", "unknown version"),
        ("unseen=purple", "version 2"),
        ("noise=none", "version 2"),
        ("clips=4", "version 2"),
        ("version=2,random.colour=0.1", "cannot be used"),
        ("version=2,share=much", "cannot be used"),
    ],
)
def test_what_cannot_be_is_refused_by_name(argument, problem):
    with pytest.raises(SourceError, match=problem):
        ShapesSpec.parse(argument)


def test_too_few_pairs_for_the_unseen_concepts():
    with pytest.raises(SourceError, match="too few pairs") as caught:
        list(draw_world(ShapesSpec.parse("version=2,pairs=7,unseen=purple+star+moves up+spins")))
    assert "in none of 7 pairs" in str(caught.value)


def test_an_argument_is_read_whole():
    spec = ShapesSpec.parse(
        "version=2, pairs=20, seed=3, clips=4, unseen=purple+moves up, share=0.25, only=train, noise=2,"
        "random.count=0.1, reverted=0.5, reverted.flip=0, shift=0.5, samples=2"
    )
    assert (spec.pairs, spec.seed, spec.clips, spec.samples, spec.only) == (20, 3, 4, 2, "train")
    assert spec.split == Split(("purple", "moves up"), 0.25)
    assert spec.noise.random == {kind: 2 * rate for kind, rate in FAULTS.items()} | {"count": 0.1}
    assert spec.noise.reverted == dict.fromkeys(MISALIGNMENTS, 0.5) | {"flip": 0.0}
    assert spec.styles() == (REAL, look(0.5))
    assert ShapesSpec.parse("version=2,noise=videocon").noise == VIDEOCON
    assert ShapesSpec.parse("") == ShapesSpec() == ShapesSpec.parse("version=1")


# -- faults and what is shown -----------------------------------------------------------------------------


def clips(argument):
    spec = ShapesSpec.parse(argument)
    return [(pair, generate_for(pair.triplet, spec, size=48)) for pair in draw_world(spec)]


def test_without_noise_and_shift_the_contrast_captions_are_filmed_as_real_clips():
    for pair, made in clips("version=2,pairs=14,noise=none,shift=0"):
        assert (made.fault, made.faults, made.shown) == ("none", (), pair.triplet.neg_caption)
        assert (made.pixels == render(pair.contrast, made.seed, look(0.0, 48), VERSION_2)).all()
        assert made.fps == REAL.fps


def decided(argument):
    spec = ShapesSpec.parse(argument)
    return [(pair, decide_for(pair.triplet, spec)) for pair in draw_world(spec)]


def test_reverted_clips_show_the_real_caption():
    for pair, made in decided("version=2,pairs=14,noise=none,reverted=1"):
        assert (made.fault, made.shown) == ("reverted", pair.triplet.caption)
        assert made.faults == (pair.triplet.misalignment,)
    half = decided("version=2,pairs=210,noise=none,reverted.action=0.5")
    back = [pair.triplet.misalignment for pair, made in half if made.reverted]
    assert set(back) == {"action"}
    assert 4 <= len(back) <= 26  # of 30


def test_with_higher_rates_the_same_clips_are_wrong_and_others_too():
    def wrong(argument):
        made = decided(f"version=2,pairs=140,{argument}")
        return {pair.triplet.pair_id for pair, each in made if each.faults}

    assert set() == wrong("noise=0") < wrong("noise=0.5") < wrong("noise=1") < wrong("noise=2")
    assert wrong("noise=none,reverted=0.2") < wrong("noise=none,reverted=0.6")


def test_a_sure_fault_makes_every_clip_of_its_kind_wrong():
    for pair, made in decided("version=2,pairs=70,noise=none,random.count=1,random.relation=1"):
        told = pair.triplet.misalignment
        if told in ("count", "relation"):
            assert made.faults == (told,)
            assert not is_right(pair.scene, pair.contrast, made.scene)


@settings(max_examples=60)
@given(st.sampled_from(MISALIGNMENTS), SEEDS)
def test_a_clip_of_the_contrast_is_right_and_one_of_the_caption_is_wrong(misalignment, seed):
    scene, claimed = Split().draw_train(misalignment, random.Random(seed))
    assert is_right(scene, claimed, claimed)
    assert not is_right(scene, claimed, scene)


@pytest.mark.parametrize(
    ("real", "claimed", "shown", "right"),
    [
        # Another fault than in the contrasted fact.
        ("A red circle moves up.", "A blue circle moves up.", "A blue star grows.", True),
        ("A red circle moves up.", "A blue circle moves up.", "A green circle moves up.", False),
        ("A red circle moves up.", "A red circle spins.", "A blue star spins.", True),
        ("A red circle moves up.", "A red star moves up.", "A red square moves up.", False),
        ("Two red stars blink.", "Four red stars blink.", "Four blue circles spin.", True),
        ("Two red stars blink.", "Four red stars blink.", "Three red stars blink.", False),
        # The second actor is contrasted; it may be left out, or change places with the first.
        (
            "A red circle spins while a blue star moves up.",
            "A red circle spins while a green star moves up.",
            "A red circle spins.",
            False,
        ),
        (
            "A red circle spins while a blue star moves up.",
            "A red circle spins while a green star moves up.",
            "A red square spins while a green star moves up.",
            True,
        ),
        ("A red circle spins.", "A red circle spins while a blue star blinks.", "A red circle spins.", False),
        (
            "A red circle spins.",
            "A red circle spins while a blue star blinks.",
            "A cyan circle spins while a blue star blinks.",
            True,
        ),
        (
            "A red circle spins.",
            "A red circle first spins and then grows.",
            "A red circle first grows and then spins.",
            True,
        ),
        ("A red circle spins.", "A red circle first spins and then grows.", "A red circle spins.", False),
        (
            "First a red circle spins, then a blue star moves up.",
            "First a blue star moves up, then a red circle spins.",
            "First a green star moves up, then a red circle spins.",
            True,
        ),
        (
            "First a red circle spins, then a blue star moves up.",
            "First a blue star moves up, then a red circle spins.",
            "First a red square spins, then a blue star moves up.",
            False,
        ),
        (
            "First a red circle spins, then a blue star moves up.",
            "First a blue star moves up, then a red circle spins.",
            "A blue star moves up while a red circle spins.",
            False,
        ),
        (
            "A red circle first grows and then spins.",
            "A red circle first spins and then grows.",
            "A blue circle first spins and then grows.",
            True,
        ),
        (
            "A red circle is above a blue star.",
            "A red circle is below a blue star.",
            "A cyan star is below a blue star.",
            True,
        ),
        (
            "A red circle is above a blue star.",
            "A red circle is below a blue star.",
            "A red circle is to the left of a blue star.",
            False,
        ),
    ],
)
def test_right_is_what_is_right_in_the_contrasted_fact(real, claimed, shown, right):
    assert is_right(parse(real), parse(claimed), parse(shown)) is right


def test_rates_and_sights_are_checked():
    with pytest.raises(SourceError, match="misalignment"):
        Noise(random={"colour": 0.1})
    for bad in (-0.01, 1.01, float("nan")):
        with pytest.raises(SourceError, match="not a share"):
            Noise(reverted={"action": bad})
    with pytest.raises(SourceError, match="rate"):
        DEFAULT.scaled(2.5)
    with pytest.raises(SourceError, match="scorers"):
        Sight(spread=-1)
    assert DEFAULT.scaled(0.0) == NONE


# -- on disk ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    spec = ShapesSpec.parse("version=2,pairs=14,seed=3,clips=8,noise=videocon,reverted.count=1,shift=0.5")
    return spec, make_world(tmp_path_factory.mktemp("world2"), spec, size=48)


def test_a_world_of_version_2_is_read_by_the_same_readers(world):
    spec, made = world
    reader = TripletReader(made.triplets)
    triplets = list(reader)
    assert (reader.report.triplets, reader.report.quarantined) == (14, [])
    assert triplets == [pair.triplet for pair in draw_world(spec, file=made.triplets)]
    assert all(triplet.video_id == f"{spec.name}-{triplet.row:05d}" for triplet in triplets)
    found = open_source(f"folder:{made.synthetic}").find(triplets)
    assert (found.unmatched, found.quarantined) == ([], [])
    lines = [json.loads(line) for line in (made.synthetic / "manifest.jsonl").read_text().splitlines()]
    assert {line["revision"] for line in lines} == {"2.1"}
    assert lines[0]["config"]["version"] == 2
    assert (lines[0]["config"]["shift"], lines[0]["config"]["frames"]) == (0.5, 18)
    assert len(read_scores(made.vqascores, triplets)) == 14


def test_truth_and_oracle_say_what_each_clip_shows(world):
    _, made = world
    triplets = list(TripletReader(made.triplets))
    truths = [json.loads(line) for line in made.truth.read_text().splitlines()]
    oracle = read_scores(made.oracle, triplets)
    found = open_source(f"folder:{made.synthetic}").find(triplets)
    for triplet, truth in zip(triplets, truths, strict=True):
        assert truth["pair_id"] == triplet.pair_id
        real, claimed, shown = map(parse, (triplet.caption, triplet.neg_caption, truth["shown"]))
        assert truth["right"] == is_right(real, claimed, shown)
        if truth["fault"] == "none":
            assert caption(shown) == triplet.neg_caption
        (video,) = found.of(triplet)
        identity = VideoIdentity(video.sha256, video.generator, video.sample)
        scores = oracle.for_row("", source_row=triplet.row, video=identity)
        assert weight(scores) == float(truth["right"])
    by_fault = {truth["misalignment"]: truth["fault"] for truth in truths}
    assert by_fault["count"] == "reverted"
    assert {truth["right"] for truth in truths} == {True, False}


def test_equal_specs_give_equal_bytes_and_the_source_makes_the_same_clips(world, tmp_path):
    spec, made = world
    again = make_world(tmp_path / "again", spec, size=48)
    for path in sorted(made.root.rglob("*")):
        if path.is_file():
            assert (again.root / path.relative_to(made.root)).read_bytes() == path.read_bytes(), path
    triplets = list(TripletReader(made.triplets))[:2]
    argument = "version=2,seed=3,clips=8,noise=videocon,reverted.count=1,shift=0.5"
    found = open_source(f"shapes:{argument}", work=tmp_path).find(triplets)
    own = {pair.triplet.pair_id: generate_for(pair.triplet, spec) for pair in list(draw_world(spec))[:2]}
    for triplet in triplets:
        (video,) = found.of(triplet)
        assert (video.seed, video.revision) == (own[triplet.pair_id].seed, "2.1")
    other = open_source("shapes:version=2,clips=8", work=tmp_path).find(triplets)
    paths = {video.path.parent for source in (found, other) for t in triplets for video in source.of(t)}
    assert len(paths) == 2  # clips of another noise are not taken for these


def test_triplets_alone(tmp_path):
    path = write_triplets(f"{SPEC},seed=2", tmp_path)
    triplets = list(TripletReader(path))
    assert len(triplets) == 70
    assert path.name == f"shapes-{ShapesSpec.parse(f'{SPEC},seed=2').name}-70.csv"
    assert Counter(t.split for t in triplets) == {"train": 56, "validation": 7, "test": 7}


def test_the_looks_of_synthetic_clips_differ_from_the_real_ones_by_the_shift():
    means = []
    for shift in (0.0, 0.5, 1.0):
        spec = ShapesSpec.parse(f"version=2,pairs=1,noise=none,shift={shift}")
        (pair,) = draw_world(spec)
        means.append(float(generate_for(pair.triplet, spec).pixels.mean()))
    assert means[0] > means[1] + 40 > means[2] + 80
    assert len(generate_for(pair.triplet, spec).pixels) == SYNTHETIC.frames
    assert np.isclose(spec.styles()[1].fps, SYNTHETIC.fps)
