"""A shapes world on disk: read back by the readers that real data goes through."""

import csv
import hashlib
import json
from collections import Counter

import av
import numpy as np
import pytest

from synvita_data.builders.shapes.folder import make_shapes
from synvita_data.builders.shapes.grammar import parse
from synvita_data.builders.shapes.pixels import render
from synvita_data.builders.shapes.spec import ShapesSpec
from synvita_data.builders.shapes.world import draw_pairs, write_triplets
from synvita_data.builders.sources import open_source
from synvita_data.builders.triplets import TripletReader
from synvita_data.errors import SourceError
from synvita_data.schema import MISALIGNMENTS, Triplet
from synvita_data.tables.scores import VideoIdentity, read_scores


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_shapes(tmp_path_factory.mktemp("world"), pairs=14, seed=3)


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_readers_take_it_whole(world):
    reader = TripletReader(world.triplets)
    triplets = list(reader)
    assert (reader.report.triplets, reader.report.duplicates, reader.report.quarantined) == (14, [], [])
    assert triplets == [pair.triplet for pair in draw_pairs(14, 3, file=world.triplets)]
    assert Counter(triplet.misalignment for triplet in triplets) == dict.fromkeys(MISALIGNMENTS, 2)
    assert all(triplet.nle for triplet in triplets)

    found = open_source(f"folder:{world.synthetic}").find(triplets)
    assert (found.unmatched, found.quarantined) == ([], [])
    for triplet in triplets:
        (video,) = found.of(triplet)
        assert video.path.name == f"shapes_{triplet.video_id}_001.mp4"
        assert video.sha256 == hashlib.sha256(video.path.read_bytes()).hexdigest()
        assert (world.real / triplet.videopath).is_file()

    table = read_scores(world.vqascores, triplets)
    assert table.models == ("shapes-vqa-a", "shapes-vqa-b", "shapes-vqa-c")
    assert len(table) == 14
    assert table.problems() == []


def test_clips_are_short_small_h264(world):
    for folder, frames, rate in ((world.real, 16, 8), (world.synthetic, 20, 10)):
        for path in sorted(folder.rglob("*.mp4")):
            assert path.stat().st_size < 20_000
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 96, 96)
                assert (stream.frames, stream.average_rate) == (frames, rate)


def test_a_real_clip_is_its_caption_rendered(world):
    """The frames in the file are those of the scene that the published caption says, up to compression."""
    with world.triplets.open(newline="") as handle:
        row = list(csv.DictReader(handle))[1]
    pair = list(draw_pairs(2, 3))[1]
    assert parse(row["caption"]) == pair.scene
    with av.open(str(world.real / row["videopath"])) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    rendered = render(parse(row["caption"]), pair.real_seed)
    assert abs(frames.astype(int) - rendered).mean() < 4


def test_equal_arguments_give_equal_bytes(world, tmp_path):
    make_shapes(tmp_path, pairs=14, seed=3)
    assert contents(tmp_path) == contents(world.root)
    make_shapes(tmp_path, pairs=14, seed=3)  # over itself
    assert contents(tmp_path) == contents(world.root)


def test_more_pairs_only_add_and_other_seeds_differ(world):
    few = [pair.triplet for pair in draw_pairs(14, 3)]
    assert [pair.triplet for pair in draw_pairs(80, 3)][:14] == few
    assert {pair.triplet.caption for pair in draw_pairs(14, 4)} != {triplet.caption for triplet in few}


def test_splits_go_by_pair_and_hold_every_misalignment():
    by_split = {}
    for pair in draw_pairs(70):
        by_split.setdefault(pair.triplet.split, Counter())[pair.triplet.misalignment] += 1
    assert {split: sum(counts.values()) for split, counts in by_split.items()} == {
        "train": 56,
        "validation": 7,
        "test": 7,
    }
    assert all(set(counts) == set(MISALIGNMENTS) for counts in by_split.values())


def test_several_samples_are_scored_by_row_id(tmp_path):
    world = make_shapes(tmp_path, pairs=2, seed=0, samples=2, size=64)
    lines = [json.loads(line) for line in (world.synthetic / "manifest.jsonl").read_text().splitlines()]
    assert [line["path"][-8:] for line in lines] == ["_001.mp4", "_002.mp4"] * 2
    assert len({line["seed"] for line in lines}) == len({line["sha256"] for line in lines}) == 4
    table = read_scores(world.vqascores)
    assert len(table) == 4
    for line in lines:
        video = VideoIdentity(line["sha256"], line["generator"], int(line["path"][-7:-4]))
        found = table.find(line["id"], video=video)
        assert len(found.scores) == 3
        assert found.binding == "sha256"


def test_the_source_renders_the_same_clips_once(world, tmp_path):
    triplets = list(TripletReader(world.triplets))
    source = open_source("shapes:seed=3", work=tmp_path)
    found = source.find(triplets)
    assert found.quarantined == []
    for triplet in triplets:
        (video,) = found.of(triplet)
        made = world.synthetic / f"shapes_{triplet.video_id}_001.mp4"
        assert video.path.read_bytes() == made.read_bytes()
        assert video.sha256 == hashlib.sha256(made.read_bytes()).hexdigest()
        assert video.generator == "shapes"
    times = {video.path: video.path.stat().st_mtime_ns for t in triplets for video in found.of(t)}
    again = open_source("shapes:seed=3", work=tmp_path).find(triplets)
    assert again.videos == found.videos
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_the_source_takes_captions_of_others_and_quarantines_foreign_ones(tmp_path):
    good = Triplet(source="mine", video_id="1", caption="A red star grows.", neg_caption="A red star spins.")
    bad = Triplet(source="mine", video_id="2", caption="A man.", neg_caption="Two men.", file="my.csv", row=1)
    found = open_source("shapes:samples=2", generator="toys", work=tmp_path).find([good, bad, good])
    assert [video.sample for video in found.of(good)] == [1, 2]
    assert {video.generator for video in found.of(good)} == {"toys"}
    (error,) = found.quarantined
    assert (error.file, error.row) == ("my.csv", 1)
    assert "Two men." in str(error)
    assert found.of(bad) == []


def test_triplets_out_of_nothing(tmp_path):
    path = write_triplets("pairs=20,seed=3", tmp_path)
    triplets = list(TripletReader(path))
    assert [triplet.pair_id for triplet in triplets] == [pair.triplet.pair_id for pair in draw_pairs(20, 3)]


def test_options():
    assert ShapesSpec.parse("") == ShapesSpec(64, 0, 1)
    assert ShapesSpec.parse(" seed = 7, pairs=3 ") == ShapesSpec(3, 7, 1)


@pytest.mark.parametrize(
    "argument", ["pairs=0", "samples=0", "seed=-1", "seed=1.5", "seed", "seed=1,seed=1", "colour=red", "=1"]
)
def test_bad_options_are_refused(argument, tmp_path):
    with pytest.raises(SourceError, match="shapes:"):
        open_source(f"shapes:{argument}", work=tmp_path)


@pytest.mark.parametrize(
    "arguments", [{"pairs": 0}, {"seed": -1}, {"samples": 0}, {"size": 65}, {"size": 32}]
)
def test_bad_arguments_are_refused(arguments, tmp_path):
    with pytest.raises(SourceError):
        make_shapes(tmp_path / "world", **arguments)
    assert not (tmp_path / "world").exists()


def test_a_folder_of_another_world_is_refused(tmp_path):
    make_shapes(tmp_path, pairs=2, seed=0)
    before = contents(tmp_path)
    with pytest.raises(SourceError, match="another shapes world"):
        make_shapes(tmp_path, pairs=2, seed=1)
    assert contents(tmp_path) == before


def test_a_source_without_a_folder_to_work_in_is_refused():
    with pytest.raises(SourceError, match="folder to keep"):
        open_source("shapes:")
