"""`root:DIR`: the authors' videos in any layout, and whose contrast caption each shows."""

import hashlib

import pytest
from released_videos import LAYOUTS, as_hub_snapshot, write_layout

from synvita_data.builders.sources import open_source
from synvita_data.builders.sources.registry import Reading
from synvita_data.errors import SourceError, UnsafePathError
from synvita_data.schema import Triplet


def triplet(video_id, neg_caption="contrast", source="msr-vtt", **more):
    return Triplet(source=source, video_id=video_id, caption="caption", neg_caption=neg_caption, **more)


ONE = triplet("video1")
CLIP = triplet("a_cdefghijk_000068_000078", source="vatex")
RUN, WALK, SIT = (triplet("video7", f"a man {does}") for does in ("runs", "walks", "sits"))
ALL = [ONE, CLIP, RUN, WALK, SIT]
NAMES = ("msr-vtt_video1_001", "vatex_a_cdefghijk_000068_000078_001")
SEVEN = tuple(f"msr-vtt_video7_00{n}" for n in (1, 2, 3))


def videos(*names):
    return {f"{name}.mp4": name.encode() for name in names}


def find(root, triplets=ALL, work=None, **reading):
    return open_source(f"root:{root}", work=work or root.parent / "work", reading=Reading(**reading)).find(
        triplets
    )


def contents(found):
    """Pair id -> generator -> the bytes of its video."""
    return {
        pair: {video.generator: video.path.read_bytes().decode() for video in several}
        for pair, several in found.videos.items()
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_the_same_videos(tmp_path, layout):
    root = write_layout(tmp_path / "copy", layout, videos(*NAMES, "msr-vtt_video2_001"))
    (root / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    notes = []
    found = find(root, on_note=notes.append)
    assert contents(found) == {ONE.pair_id: {"cogvideox": NAMES[0]}, CLIP.pair_id: {"cogvideox": NAMES[1]}}
    assert [name.rpartition("/")[2].removesuffix(".mp4") for name in found.unmatched] == [
        "msr-vtt_video2_001"
    ]
    assert (found.quarantined, found.ambiguous) == ([], [])
    assert found.origin["licence"] == "cc-by-4.0"
    assert found.origin["folder"] == "copy"
    assert "licence: cc-by-4.0" in notes[0]
    # What a row would hold of it leads to the same bytes, by another way.
    from synvita_data.synthetic_videos.find import SyntheticVideos

    finder = SyntheticVideos(root, cache=tmp_path / "cache")
    for several in found.videos.values():
        reference = several[0].reference
        assert str(tmp_path) not in reference
        assert finder.find(reference).read_bytes() == several[0].path.read_bytes()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_snapshot_in_the_hubs_cache(tmp_path, layout):
    """Where `hf download` without --local-dir leaves a repository: every file is a link to a blob."""
    from synvita_data.synthetic_videos.find import SyntheticVideos

    folder = write_layout(tmp_path / "copy", layout, videos(*NAMES))
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    root = as_hub_snapshot(folder, tmp_path / "hub")
    found = find(root, work=tmp_path / "work")
    assert contents(found) == {ONE.pair_id: {"cogvideox": NAMES[0]}, CLIP.pair_id: {"cogvideox": NAMES[1]}}
    assert found.quarantined == []
    assert (found.origin["repository"], found.origin["commit"]) == ("someone/videos", "a" * 40)
    assert found.origin["licence"] == "cc-by-4.0"
    finder = SyntheticVideos(root, cache=tmp_path / "cache")
    for several in found.videos.values():
        assert f"hf://datasets/someone/videos@{'a' * 40}/" in several[0].reference
        assert finder.find(several[0].reference).read_bytes() == several[0].path.read_bytes()


def test_several_contrast_captions_are_never_guessed(tmp_path):
    root = write_layout(tmp_path / "copy", "loose", videos(NAMES[0], *SEVEN))
    found = find(root)
    assert found.videos.keys() == {ONE.pair_id}
    assert found.ambiguous == [f"cogvideox/{name}.mp4" for name in SEVEN]
    assert found.unmatched == []


@pytest.mark.parametrize("names", [("msr-vtt_video1_001", "msr-vtt_video1_002"), ("msr-vtt_video1_002",)])
def test_one_contrast_caption_and_numbers_that_say_there_were_others(tmp_path, names):
    """Whether they are samples, or of captions that this file lacks, is not known."""
    found = find(write_layout(tmp_path / "copy", "loose", videos(*names)))
    assert found.videos == {}
    assert len(found.ambiguous) == len(names)


@pytest.mark.parametrize("name", ["tempo_1524_001", "tempo_videos_1524_001"])
def test_the_real_videos_path_may_be_in_the_name(tmp_path, name):
    """How TEMPO's are called is not known: by id, or by path as in VideoCon's files."""
    one = triplet("1524", source="tempo", videopath="tempo/videos/1524.mp4")
    found = find(write_layout(tmp_path / "copy", "loose", videos(name)), [ONE, one])
    assert contents(found) == {one.pair_id: {"cogvideox": name}}
    # Both at once: nobody knows which.
    found = find(
        write_layout(tmp_path / "both", "loose", videos("tempo_1524_001", "tempo_videos_1524_001")), [one]
    )
    assert (found.videos, len(found.quarantined)) == ({}, 2)


def test_the_order_of_annotations_counts_contrast_captions(tmp_path):
    root = write_layout(tmp_path / "copy", "zip", videos(NAMES[0], *SEVEN, "msr-vtt_video7_004"))
    again = triplet("video7", "a man walks")  # the same contrast caption in a second row counts once
    found = find(root, [ONE, RUN, WALK, again, SIT], order="annotations")
    assert contents(found) == {
        pair.pair_id: {"cogvideox": name}
        for pair, name in zip([ONE, RUN, WALK, SIT], [NAMES[0], *SEVEN], strict=True)
    }
    assert found.unmatched == ["cogvideox.zip/train/msr-vtt_video7_004.mp4"]
    assert [v.sample for v in found.of(SIT)] == [1]
    with pytest.raises(SourceError, match="order"):
        find(root, order="alphabet")


def test_a_training_csv_names_the_videos_itself(tmp_path):
    named = [triplet("video7", f"a man {n}", syn_video=name) for n, name in enumerate(SEVEN)]
    root = write_layout(tmp_path / "copy", "tar", videos(*NAMES, *SEVEN))
    found = find(root, named, of_csv="cogvideox")
    assert contents(found) == {t.pair_id: {"cogvideox": t.syn_video} for t in named}
    assert len(found.unmatched) == 2
    with pytest.raises(SourceError, match="syn_video"):
        find(root, named, order="annotations")


@pytest.mark.parametrize("name", ["1524_001", "TEMPO-1524", "a b"])
def test_a_training_csv_may_call_them_anything(tmp_path, name):
    """How TEMPO's are called is not known: the CSV's word stands. A name that nobody knows is unmatched."""
    named = [triplet("1524", source="tempo", syn_video=name)]
    root = write_layout(tmp_path / "copy", "loose", videos(name, "other"))
    found = find(root, named, of_csv="cogvideox")
    assert contents(found) == {named[0].pair_id: {"cogvideox": name}}
    assert found.unmatched == ["cogvideox/other.mp4"]


def test_names_that_are_no_utf8(tmp_path):
    root = write_layout(tmp_path / "copy", "loose", videos(*NAMES))
    write_layout(root / "b\udcffd", "loose", videos("msr-vtt_video7_001"))
    found = find(root, order="annotations")
    assert found.videos.keys() == {ONE.pair_id, CLIP.pair_id}
    assert [error.problem for error in found.quarantined] == ["a path cannot be referred to"]


def test_two_generators_in_one_place(tmp_path):
    root = write_layout(tmp_path / "copy", "tar.gz", videos(*NAMES))
    write_layout(root, "nested", videos(*NAMES), "LaVie")
    both = find(root)
    assert contents(both)[ONE.pair_id] == {"cogvideox": NAMES[0], "lavie": NAMES[0]}
    one = find(root, generator="LaVie")
    assert contents(one)[ONE.pair_id] == {"lavie": NAMES[0]}
    assert one.origin["archives_of_other_generators"] == 1
    assert find(root, generator="CogVideoX-5b").origin["of_other_generators"] == 2
    with pytest.raises(SourceError, match="no videos of this generator") as caught:
        find(root, generator="videocrafter2")
    assert "2 lavie" in caught.value.found
    # The scores of a training CSV are of one of them.
    named = [triplet("video1", syn_video=NAMES[0])]
    assert contents(find(root, named, of_csv="cogvideox"))[ONE.pair_id] == {"cogvideox": NAMES[0]}
    with pytest.raises(SourceError, match="does not say of which generator"):
        find(root, named)
    with pytest.raises(SourceError, match="another generator than --generator"):
        find(root, named, of_csv="cogvideox", generator="lavie")


def test_a_csv_of_another_generator_than_the_videos(tmp_path):
    root = write_layout(tmp_path / "copy", "loose", videos(*NAMES))
    with pytest.raises(SourceError, match="another generator than the videos") as caught:
        find(root, [triplet("video1", syn_video=NAMES[0])], of_csv="videocrafter2")
    assert caught.value.found == "2 cogvideox"
    assert "videocrafter2" in caught.value.expected


def test_paths_that_name_no_generator(tmp_path):
    root = write_layout(tmp_path / "copy", "loose", videos(*NAMES), "videos")
    with pytest.raises(SourceError, match="which generator made 2 of 2") as caught:
        find(root)
    assert caught.value.found == "2 videos in videos"
    assert "--generator" in caught.value.fix
    assert contents(find(root, generator="wan"))[ONE.pair_id] == {"wan": NAMES[0]}
    # The folder itself may name it.
    root = write_layout(tmp_path / "my_lavie", "loose", videos(*NAMES), "videos")
    assert contents(find(root))[ONE.pair_id] == {"lavie": NAMES[0]}


def test_an_id_that_reads_like_a_generator_is_none(tmp_path):
    name = "vatex_aLaVie_cdef_000068_000078_001"
    root = write_layout(tmp_path / "copy", "loose", videos(name))
    found = find(root, [triplet("aLaVie_cdef_000068_000078", source="vatex")])
    assert found.origin["generators"] == {"cogvideox": 1}


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: other\nlicense_name: ours\nlicense_link: TERMS\n---\n", "other, ours, TERMS"),
        ("---\nlicense:\n- mit\n- cc-by-4.0\n---\n", "mit, cc-by-4.0"),
        ("---\n- a list\n---\n", "see its file LICENSE"),
        ("# Videos\n", "see its file LICENSE"),
    ],
)
def test_the_licence_of_a_place(tmp_path, card, licence):
    root = write_layout(tmp_path / "copy", "loose", videos(*NAMES))
    (root / "README.md").write_text(card)
    (root / "LICENSE").write_text("Ours.")
    assert find(root).origin["licence"] == licence


def test_a_place_without_videos_lists_what_it_holds(tmp_path):
    root = tmp_path / "copy"
    (root / "a").mkdir(parents=True)
    (root / "a" / "x.7z").write_bytes(b"1")
    (root / ".hidden_001.mp4").write_bytes(b"1")
    with pytest.raises(SourceError, match="no videos and no archives") as caught:
        find(root)
    assert caught.value.found == "1 .7z files in a"
    with pytest.raises(SourceError, match="does not exist"):
        find(tmp_path / "nowhere")


def test_rivals_and_links_are_quarantined(tmp_path):
    root = write_layout(tmp_path / "copy", "loose", videos(*NAMES))
    write_layout(root, "zip", videos(NAMES[0]))
    (root / "out.mp4").symlink_to("/etc/passwd")
    found = find(root)
    assert found.videos.keys() == {CLIP.pair_id}
    kinds = [type(error) for error in found.quarantined]
    assert kinds == [UnsafePathError, SourceError, SourceError]
    assert "several files claim" in str(found.quarantined[1])


def test_a_cut_archive_goes_on_with_the_others(tmp_path):
    root = write_layout(tmp_path / "copy", "tar", videos(*SEVEN))
    archive = root / "cogvideox.tar"
    archive.write_bytes(archive.read_bytes()[: 1024 + 100])  # in the second header
    write_layout(root, "loose", videos(*NAMES))
    found = find(root, order="annotations")
    assert found.videos.keys() == {ONE.pair_id, CLIP.pair_id, RUN.pair_id}
    assert ["cut" in str(error) for error in found.quarantined] == [True]


def test_members_of_an_earlier_run_are_not_read_again(tmp_path):
    root = write_layout(tmp_path / "copy", "tar.gz", videos(*NAMES))
    work = tmp_path / "work"
    first = {
        v.path: v.path.stat().st_mtime_ns
        for several in find(root, work=work).videos.values()
        for v in several
    }
    again = {
        v.path: v.path.stat().st_mtime_ns
        for several in find(root, work=work).videos.values()
        for v in several
    }
    assert first == again
    assert all(path.is_relative_to(work) for path in first)
    # Another archive of the same name has other files.
    (root / "cogvideox.tar.gz").unlink()
    write_layout(root, "tar.gz", dict.fromkeys(videos(*NAMES), b"other"))
    assert {v.path.read_bytes() for several in find(root, work=work).videos.values() for v in several} == {
        b"other"
    }


def test_digests_of_members_are_left_to_the_check(tmp_path):
    root = write_layout(tmp_path / "copy", "zip", videos(*NAMES))
    assert {v.sha256 for several in find(root).videos.values() for v in several} == {None}
    assert hashlib.sha256(b"").hexdigest() != NAMES[0]
