"""The miniature benchmark: what its sets hold, its other wording, and its files as the package's own tasks."""

import csv
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes_measuring import blobs
from typer.testing import CliRunner

from synvita_data.annotations import read_annotations
from synvita_data.builders.shapes import UNSEEN, Split
from synvita_data.builders.shapes.benchmark import (
    TASKS,
    draw_choices,
    draw_events,
    draw_temporal,
    draw_tests,
    write_benchmark,
)
from synvita_data.builders.shapes.benchmark.wording import needs_time, reword
from synvita_data.builders.shapes.grammar import caption, parse
from synvita_data.builders.shapes.scenes import COLOURS, SHAPES, contrast, draw_scene
from synvita_data.builders.shapes.splits import concepts, kept_for_tests
from synvita_data.cli import app
from synvita_data.errors import CaptionError, SourceError
from synvita_data.real_videos.find import RealVideos
from synvita_data.schema import MISALIGNMENTS
from synvita_data.tasks.declaration import read_declaration
from synvita_data.video import FramePolicy, decode

SEEDS = st.integers(0, 10**6)
SPLIT = Split(UNSEEN, 0.8)


# -- other words ------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.sampled_from(MISALIGNMENTS), SEEDS, SEEDS)
def test_other_words_are_not_of_the_grammar_and_tell_every_contrast(misalignment, seed, way):
    rng = random.Random(seed)
    scene = draw_scene(misalignment, rng)
    claimed = contrast(scene, misalignment, rng)
    told, wrong = (reword(each, random.Random(way)) for each in (scene, claimed))
    assert told != wrong
    for text, shown in ((told, scene), (wrong, claimed)):
        assert text[0].isupper()
        assert text.endswith(".")
        with pytest.raises(CaptionError):
            parse(text)
        # Colours, shapes and sizes keep their words, as often as they are said.
        for actor in shown.actors:
            assert actor.colour in text
            assert actor.shape in text
            assert (actor.size or "") in text


def test_one_scene_is_told_in_several_ways():
    for sentence in (
        "A small red circle moves left.",
        "First a red circle spins, then a blue star moves up.",
    ):
        assert len({reword(parse(sentence), random.Random(way)) for way in range(60)}) >= 6


@pytest.mark.parametrize(
    ("real", "claimed", "hard"),
    [
        ("A red circle spins.", "A red circle grows.", True),
        ("A red circle spins.", "A blue circle spins.", False),
        ("A red circle first spins and then grows.", "A red circle first grows and then spins.", True),
        (
            "First a red circle spins, then a blue star grows.",
            "First a blue star grows, then a red circle spins.",
            True,
        ),
        ("A red circle spins.", "A red circle spins while a blue star grows.", False),
        ("A red circle spins.", "A red circle first spins and then grows.", True),
        ("A red circle is above a blue star.", "A red circle is below a blue star.", False),
    ],
)
def test_hard_is_what_one_frame_cannot_tell(real, claimed, hard):
    assert needs_time(parse(real), parse(claimed)) is hard


# -- the sets ---------------------------------------------------------------------------------------------


@settings(max_examples=6)
@given(SEEDS)
def test_each_set_holds_what_it_says(seed):
    tests = draw_tests(SPLIT, seed, 28)
    assert Counter(test.set for test in tests) == dict.fromkeys(("unseen", "train_like", "rest", "flip"), 28)
    kinds = {which: Counter() for which in ("unseen", "train_like", "rest", "flip")}
    for test in tests:
        pair = test.pair
        kinds[test.set][pair.triplet.misalignment] += 1
        named = concepts(pair.scene) & set(UNSEEN), concepts(pair.contrast) & set(UNSEEN)
        if test.set == "unseen":
            assert named[0]
            assert not named[1]
            assert {test.concept} == named[0] - named[1] or test.concept in named[0]
        else:
            assert not named[0]
            assert kept_for_tests(pair.scene)
            assert test.concept == ""
        if test.set in ("rest", "flip"):
            assert not named[1]
        assert pair.triplet.split == "test"
        assert test.hard == needs_time(pair.scene, pair.contrast)
    assert set(kinds["unseen"]) == {"action", "attribute", "object"}
    assert kinds["train_like"] == dict.fromkeys(MISALIGNMENTS, 4)
    assert set(kinds["rest"]) == {"action", "count", "hallucination", "relation"}
    assert set(kinds["flip"]) == {"flip"}
    assert any(concepts(t.pair.contrast) & set(UNSEEN) for t in tests if t.set == "train_like")
    assert draw_tests(SPLIT, seed, 28) == tests


def test_without_unseen_concepts_there_is_no_such_set():
    assert {test.set for test in draw_tests(Split(), 0, 7)} == {"train_like", "rest", "flip"}


@settings(max_examples=10)
@given(SEEDS)
def test_rankings_and_choices_are_sound(seed):
    for draw, events in ((draw_temporal, 1), (draw_events, 2)):
        ranking = draw(SPLIT, seed, clips=3)
        assert len(set(ranking.captions)) == len(ranking.captions) == 16
        assert len({clip.video_id for clip in ranking.clips}) == 48
        for text in ranking.captions:
            assert sum(ranking.match(text, clip) for clip in ranking.clips) == 3
            (actor,) = parse(text).actors
            assert len(actor.actions) == events
            assert not {actor.colour, actor.shape} & set(UNSEEN)
        if events == 2:  # every order with its opposite
            orders = {(a.colour, a.actions) for text in ranking.captions for a in parse(text).actors}
            assert orders == {(colour, actions[::-1]) for colour, actions in orders}
    for choice in draw_choices(SPLIT, seed, 25):
        captions = [f"{choice.question} {option}" for option in choice.options]
        assert len(set(captions)) == len(captions) >= 4
        assert [caption(parse(text)) for text in captions] == captions  # all of the grammar
        assert captions[choice.answer] == caption(choice.clip.scene)
        assert (choice.concept in concepts(choice.clip.scene)) is bool(choice.concept)


def test_too_few_are_refused(tmp_path):
    for arguments in ({"pairs": 6}, {"clips": 0}, {"questions": 4}, {"seed": -1}):
        with pytest.raises(SourceError, match="too few"):
            write_benchmark(tmp_path, **arguments)
    assert not list(tmp_path.rglob("*.yaml"))


# -- the files --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    return folder, write_benchmark(folder, split=SPLIT, seed=5, pairs=7, clips=1, questions=5, size=48)


def test_every_task_is_read_as_one_of_the_package(benchmark):
    folder, tasks = benchmark
    assert tuple(tasks) == TASKS
    for name, path in tasks.items():
        task = read_declaration(path)
        annotations = read_annotations(task, folder)
        assert (task.name, annotations.report.mismatches) == (name, ())
        assert task.mismatches(annotations.counts()) == ()
        assert task.train == "never"
        items = list(annotations.items(RealVideos(folder / "clips")))
        assert items
        assert all(item.video.is_file() for item in items)


def test_the_two_wordings_are_of_the_same_clips(benchmark):
    folder, tasks = benchmark
    rows = {
        name: list(csv.DictReader((folder / f"{name}.csv").open(newline="")))
        for name in ("shapes-llm", "shapes-human")
    }
    for one, other in zip(*rows.values(), strict=True):
        same = ("videopath", "misalignment", "set", "concept", "hard")
        assert [one[name] for name in same] == [other[name] for name in same]
        assert one["caption"] != other["caption"]
    hard = read_annotations(read_declaration(tasks["shapes-human-hard"]), folder)
    whole = read_annotations(read_declaration(tasks["shapes-human"]), folder)
    assert set(hard.group) == {g for g, each in zip(whole.group, whole.hard, strict=True) if each}
    assert set(whole.breakdown["set"]) == {"unseen", "train_like", "rest", "flip"}
    assert set(whole.breakdown["concept"]) == {None, *UNSEEN}


def test_a_clip_shows_its_caption(benchmark):
    """The colours and numbers that the pixels have are those that the true caption tells."""
    folder, _ = benchmark
    with (folder / "shapes-llm.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows[:14]:
        frames = decode(folder / "clips" / row["videopath"], FramePolicy(count=8)).pixels
        seen = max((blobs(np.repeat(np.repeat(frame, 2, 0), 2, 1)) for frame in frames), key=len)
        actors = parse(row["caption"]).actors
        told = Counter({actor.colour: actor.count for actor in actors})
        assert Counter(blob[0] for blob in seen) == told


def test_equal_arguments_give_equal_bytes(benchmark, tmp_path):
    folder, _ = benchmark
    write_benchmark(tmp_path, split=SPLIT, seed=5, pairs=7, clips=1, questions=5, size=48)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes(), path


def test_other_seeds_and_splits_have_other_videos():
    names = [
        {test.pair.triplet.video_id for test in draw_tests(split, seed, 7)}
        for split, seed in ((SPLIT, 0), (SPLIT, 1), (replace(SPLIT, share=0.5), 0), (Split(("red",)), 0))
    ]
    assert len(set().union(*names)) == sum(map(len, names))


def test_the_other_wording_uses_the_words_of_the_grammar_for_things():
    words = {
        word
        for test in draw_tests(SPLIT, 0, 28)
        for text in test.human
        for word in text.lower().strip(".").split()
    }
    assert set(COLOURS) <= {word.strip(",") for word in words}
    assert {
        shape for shape in SHAPES if shape in words or f"{shape}," in words or f"{shape}s" in words
    } == set(SHAPES)


@pytest.mark.parametrize("name", ["shapes-llm", "shapes-events", "shapes-choice"])
def test_evaluate_takes_the_declarations(benchmark, tmp_path, name):
    folder, tasks = benchmark
    places = ("--annotations", folder, "--real-root", folder / "clips", "--out", tmp_path)
    arguments = ("evaluate", "chance", "--task", tasks[name], *places, "--resamples", "0")
    done = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "300"})
    assert done.exit_code == 0, done.output
    assert f"{name} · chance" in done.output
    assert f"annotations: checked against {name}.csv" in done.output
