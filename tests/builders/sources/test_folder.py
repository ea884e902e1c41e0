"""`folder:DIR`, by file names and through a manifest."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from released_videos import as_hub_snapshot

from synvita_data.builders.sources import SyntheticVideo, open_source
from synvita_data.builders.triplets import TripletReader
from synvita_data.errors import SourceError, UnsafePathError
from synvita_data.real_videos.names import path_id
from synvita_data.schema import Triplet, make_pair_id, make_row_id


def triplet(video_id, neg_caption="contrast", source="msr-vtt", caption="caption", videopath=None):
    return Triplet(
        source=source, video_id=video_id, caption=caption, neg_caption=neg_caption, videopath=videopath
    )


ONE = triplet("video1")
CLIP = triplet("abcdefghijk_000068_000078", source="vatex", videopath="k600_val_abcdefghijk_000068_000078")
# One video with two contrast captions.
RUN, WALK = triplet("video7", "a man runs"), triplet("video7", "a man walks")
ALL = [ONE, CLIP, RUN, WALK]


def put(root, *files):
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.encode())
    return root


def find(root, triplets=ALL, **options):
    return open_source(f"folder:{root}", **options).find(triplets)


def names(found):
    """Pair id -> file names, the order of videos kept."""
    return {pair: [video.path.name for video in videos] for pair, videos in found.videos.items()}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "lavie"


def test_names_of_the_release(folder):
    put(folder, "msr-vtt_video1_002.mp4", "msr-vtt_video1_001.mp4", "vatex_abcdefghijk_000068_000078_001.mp4")
    found = find(folder)
    assert found.of(ONE) == [
        SyntheticVideo(folder / "msr-vtt_video1_001.mp4", 1, "lavie"),
        SyntheticVideo(folder / "msr-vtt_video1_002.mp4", 2, "lavie"),
    ]
    assert found.of(CLIP) == [SyntheticVideo(folder / "vatex_abcdefghijk_000068_000078_001.mp4", 1, "lavie")]
    assert found.of(RUN) == []
    assert (found.unmatched, found.quarantined) == ([], [])


def test_other_names_of_one_pair(folder):
    put(
        folder,
        f"{RUN.pair_id}_001.mp4",
        f"{make_row_id(WALK.pair_id, 'CogVideoX-5b', 3)}.mp4",
        "k600_val_abcdefghijk_000068_000078_001.mp4",
        "deep/er/msr-vtt_video1_1000.MP4",
    )
    found = find(folder)
    assert [(v.generator, v.sample) for v in found.of(RUN)] == [("lavie", 1)]
    assert [(v.generator, v.sample) for v in found.of(WALK)] == [("CogVideoX-5b", 3)]
    assert [v.sample for v in found.of(CLIP)] == [1]
    assert [v.sample for v in found.of(ONE)] == [1000]


def test_a_name_that_fits_several_contrast_captions_is_not_guessed(folder):
    put(folder, "msr-vtt_video7_001.mp4", "msr-vtt_video7_002.mp4")
    found = find(folder)
    assert found.videos == {}
    assert [Path(error.file).name for error in found.quarantined] == [
        "msr-vtt_video7_001.mp4",
        "msr-vtt_video7_002.mp4",
    ]
    message = str(found.quarantined[0])
    assert all(
        part in message for part in (RUN.pair_id, WALK.pair_id, "manifest.jsonl", "<pair_id>_<NNN>.mp4")
    )


def test_pairs_that_share_video_and_contrast_caption_share_the_file(folder):
    """The synthetic video is made from the contrast caption alone: nothing is ambiguous."""
    a, b = triplet("video7", caption="first"), triplet("video7", caption="second")
    found = find(put(folder, "msr-vtt_video7_001.mp4"), [a, b])
    assert names(found) == {a.pair_id: ["msr-vtt_video7_001.mp4"], b.pair_id: ["msr-vtt_video7_001.mp4"]}


def test_what_matches_nothing_is_reported(folder):
    put(
        folder,
        "msr-vtt_video1_001.mp4",
        "msr-vtt_video2_001.mp4",
        "msr-vtt_video1.mp4",
        "msr-vtt_video1_01.mp4",
        "msr-vtt_VIDEO1_001.mp4",
        "msr-vtt_video1_002.webm",
        "vatex_abcdefghijk_000068_000078.mp4",
        "notes.txt",
    )
    found = find(folder)
    assert names(found) == {ONE.pair_id: ["msr-vtt_video1_001.mp4"]}
    assert found.unmatched == [
        "msr-vtt_VIDEO1_001.mp4",
        "msr-vtt_video1.mp4",
        "msr-vtt_video1_002.webm",
        "msr-vtt_video1_01.mp4",
        "msr-vtt_video2_001.mp4",
        "vatex_abcdefghijk_000068_000078.mp4",
    ]
    assert found.quarantined == []


def test_rivals_for_one_sample_are_all_refused(folder):
    """As when the folder above several generators' folders is named."""
    put(folder, "a/msr-vtt_video1_001.mp4", "b/msr-vtt_video1_001.mp4", "a/msr-vtt_video1_002.mp4")
    found = find(folder)
    assert names(found) == {ONE.pair_id: ["msr-vtt_video1_002.mp4"]}
    assert [Path(error.file).parent.name for error in found.quarantined] == ["a", "b"]
    assert "each generator's folder" in str(found.quarantined[0])


def test_samples_count_from_1(folder):
    found = find(put(folder, "msr-vtt_video1_000.mp4"))
    assert found.videos == {}
    assert "from 1" in str(found.quarantined[0])


def test_symlinks_out_of_the_folder_are_refused(folder, tmp_path):
    outside = put(tmp_path / "outside", "x.mp4")
    put(folder, "vatex_abcdefghijk_000068_000078_001.mp4")
    (folder / "msr-vtt_video1_001.mp4").symlink_to(outside / "x.mp4")
    found = find(folder)
    assert list(found.videos) == [CLIP.pair_id]
    assert [type(error) for error in found.quarantined] == [UnsafePathError]


@pytest.mark.parametrize("listed", [False, True])
def test_a_snapshot_in_the_hubs_cache(folder, tmp_path, listed):
    put(folder, "msr-vtt_video1_001.mp4", "msr-vtt_video99_001.mp4")
    if listed:
        manifest(folder, {"id": ONE.pair_id, "path": "msr-vtt_video1_001.mp4"})
    found = find(as_hub_snapshot(folder, tmp_path / "hub", "datasets--someone--lavie"))
    (video,) = found.of(ONE)
    assert (video.path.name, video.generator) == ("msr-vtt_video1_001.mp4", "lavie")
    assert (found.unmatched, found.quarantined) == (["msr-vtt_video99_001.mp4"], [])


def test_a_folder_without_mp4_is_an_error(folder):
    folder.mkdir()
    with pytest.raises(SourceError, match="no mp4"):
        find(folder)
    put(folder, "msr-vtt_video1_001.avi")
    with pytest.raises(SourceError, match="1 videos in other formats"):
        find(folder)


@given(st.permutations(range(6)), st.permutations(ALL))
def test_the_answer_does_not_depend_on_any_order(tmp_path_factory, numbers, triplets):
    folder = tmp_path_factory.mktemp("any") / "lavie"
    put(folder, *(f"msr-vtt_video1_{number + 1:03d}.mp4" for number in numbers))
    found = find(folder, triplets)
    assert [video.sample for video in found.of(ONE)] == [1, 2, 3, 4, 5, 6]


def test_the_released_samples(real_data, tmp_path):
    """Nine real videos of three generators, with captions of our own for the unknown real ones."""
    csv = tmp_path / "t.csv"
    csv.write_text(
        "videopath,source,caption,neg_caption,split\n"
        "msr-vtt_TrainValVideo_video6323,msr-vtt,a man talks,a man talks about his plate of tacos,train\n"
        "k600_val_5H02ohmoKow_000068_000078,vatex,A man climbs,A man is trimming a palm tree,train\n"
        "k600_val_dXx58z-yq2g_000003_000013,vatex,Man is sitting,Man is holding two dumbbells,train\n"
    )
    triplets = list(TripletReader(csv))
    for generator in ("cogvideox", "lavie", "videocrafter2"):
        found = find(real_data / "synvita-samples" / generator, triplets)
        assert [len(found.of(t)) for t in triplets] == [1, 1, 1]
        assert {v.generator for videos in found.videos.values() for v in videos} == {generator}
        assert (found.unmatched, found.quarantined) == ([], [])


# ---- with a manifest


def manifest(folder, *rows):
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_a_manifest_says_everything(folder):
    put(folder, "0001.mp4", "sub/0002.mp4", "msr-vtt_video1_001.mp4")
    digest = hashlib.sha256(b"0001.mp4").hexdigest()
    manifest(
        folder,
        {
            "id": RUN.pair_id,
            "path": "0001.mp4",
            "sha256": digest.upper(),
            "seed": 7,
            "config": {"steps": 50},
            "generator": "LaVie",
            "revision": "abc",
            "sample": 2,
            "prompt": "ignored",
        },
        "",
        {"id": make_row_id(WALK.pair_id, "lavie", 4), "path": "sub/0002.mp4"},
    )
    found = find(folder)
    assert found.of(RUN) == [SyntheticVideo(folder / "0001.mp4", 2, "LaVie", "abc", 7, {"steps": 50}, digest)]
    assert found.of(WALK) == [SyntheticVideo(folder / "sub/0002.mp4", 4, "lavie")]
    assert found.unmatched == ["msr-vtt_video1_001.mp4"]  # not listed, whatever its name
    assert found.quarantined == []


def test_the_sample_is_read_from_the_file_name_where_the_row_does_not_say(folder):
    put(folder, "msr-vtt_video1_003.mp4", "x.mp4")
    manifest(
        folder,
        {"id": "msr-vtt_video1", "path": "msr-vtt_video1_003.mp4"},
        {"id": CLIP.pair_id, "path": "x.mp4"},
    )
    found = find(folder)
    assert [v.sample for v in found.of(ONE)] == [3]
    assert [v.sample for v in found.of(CLIP)] == [1]


@pytest.mark.parametrize(
    ("row", "error", "word"),
    [
        ("{", SourceError, "not JSON"),
        ("[]", SourceError, "object"),
        ({"path": "a.mp4"}, SourceError, "no id"),
        ({"id": ONE.pair_id}, SourceError, "no path"),
        ({"id": 3, "path": "a.mp4"}, SourceError, "id is not text"),
        ({"id": "msr-vtt_video99", "path": "a.mp4"}, SourceError, "no triplet"),
        ({"id": "msr-vtt_video7", "path": "a.mp4"}, SourceError, "2 contrast captions"),
        ({"id": ONE.pair_id, "path": "gone.mp4"}, SourceError, "not there"),
        ({"id": ONE.pair_id, "path": "notes.txt"}, SourceError, "not an mp4"),
        ({"id": ONE.pair_id, "path": "../outside.mp4"}, UnsafePathError, "climbs"),
        ({"id": ONE.pair_id, "path": "/etc/passwd"}, UnsafePathError, "absolute"),
        ({"id": ONE.pair_id, "path": "a\0.mp4"}, UnsafePathError, "NUL"),
        ({"id": ONE.pair_id, "path": "link.mp4"}, UnsafePathError, "symlink"),
        ({"id": ONE.pair_id, "path": "a.mp4", "sha256": "abc"}, SourceError, "sha256"),
        ({"id": ONE.pair_id, "path": "a.mp4", "seed": "7"}, SourceError, "seed"),
        ({"id": ONE.pair_id, "path": "a.mp4", "seed": True}, SourceError, "seed"),
        ({"id": ONE.pair_id, "path": "a.mp4", "seed": 2**63}, SourceError, "64 bits"),
        ({"id": ONE.pair_id, "path": "a.mp4", "config": "fast"}, SourceError, "config"),
        ({"id": ONE.pair_id, "path": "a.mp4", "sample": 0}, SourceError, "from 1"),
        ({"id": make_row_id(ONE.pair_id, "lavie", 0), "path": "a.mp4"}, SourceError, "from 1"),
    ],
)
def test_bad_rows_of_a_manifest_are_quarantined(folder, tmp_path, row, error, word):
    put(tmp_path, "outside.mp4")
    put(folder, "a.mp4", "good.mp4", "notes.txt")
    (folder / "link.mp4").symlink_to(tmp_path / "outside.mp4")
    manifest(folder, {"id": CLIP.pair_id, "path": "good.mp4"}, row)
    found = find(folder)
    assert names(found) == {CLIP.pair_id: ["good.mp4"]}
    walked, *rows = found.quarantined
    assert Path(walked.file).name == "link.mp4"
    (bad,) = rows
    assert type(bad) is error
    assert (bad.row, bad.file) == (1, str(folder / "manifest.jsonl"))
    assert word in str(bad)


def test_duplicates_in_a_manifest(folder):
    put(folder, "a.mp4", "b.mp4")
    row = {"id": RUN.pair_id, "path": "a.mp4"}
    manifest(folder, row, row, {"id": RUN.pair_id, "path": "b.mp4"}, {"id": WALK.pair_id, "path": "a.mp4"})
    found = find(folder)
    assert names(found) == {RUN.pair_id: ["a.mp4"]}
    assert [(error.row, "row 0" in str(error)) for error in found.quarantined] == [
        (1, True),
        (2, True),
        (3, True),
    ]
    assert found.unmatched == []


def test_a_manifest_that_is_not_text(folder):
    put(folder, "a.mp4")
    (folder / "manifest.jsonl").write_bytes(b'{"id": "\xff"}')
    with pytest.raises(SourceError, match="UTF-8"):
        find(folder)


def test_videos_of_one_name_in_different_folders_are_told_apart(folder):
    triplets = [
        triplet(path_id(f"000{n}/v.mp4"), f"contrast {n}", "custom", videopath=f"000{n}/v.mp4")
        for n in (1, 2)
    ]
    put(
        folder,
        "custom_0001%2Fv_001.mp4",
        "a/0002_v_001.mp4",
        "custom_0002_v_002.mp4",
        "custom_v_003.mp4",
        "v_004.mp4",
    )
    found = find(folder, triplets)
    assert [path.path.name for path in found.of(triplets[0])] == ["custom_0001%2Fv_001.mp4"]
    assert [path.path.name for path in found.of(triplets[1])] == ["0002_v_001.mp4", "custom_0002_v_002.mp4"]
    assert sorted(found.unmatched) == ["custom_v_003.mp4", "v_004.mp4"]


def test_flattened_names_that_two_paths_have_are_refused(folder):
    triplets = [
        triplet(path_id(path), f"contrast {path}", "custom", videopath=path)
        for path in ("a/b.mp4", "a_b.mp4")
    ]
    put(folder, "custom_a_b_001.mp4", "custom_a%2Fb_001.mp4")
    found = find(folder, triplets)
    assert [path.path.name for path in found.of(triplets[0])] == ["custom_a%2Fb_001.mp4"]
    assert found.of(triplets[1]) == []
    (error,) = found.quarantined
    assert "2 contrast captions" in str(error)


def test_videos_named_when_the_last_part_was_the_id(folder):
    """Their names hold both captions' digest: whichever folder the pair's video lay in, its contrast caption is shown."""
    triplets = [
        triplet(path_id(f"000{n}/v.mp4"), neg, "custom", videopath=f"000{n}/v.mp4")
        for n, neg in ((1, "same"), (2, "same"), (3, "other"))
    ]
    old = [make_pair_id("custom", "v", "caption", neg) for neg in ("same", "other")]
    put(folder, f"{old[0]}_001.mp4", f"{old[1]}-lavie-002.mp4")
    found = find(folder, triplets)
    assert [[video.path.name for video in found.of(each)] for each in triplets] == [
        [f"{old[0]}_001.mp4"],
        [f"{old[0]}_001.mp4"],
        [f"{old[1]}-lavie-002.mp4"],
    ]


def test_generators_whose_names_look_alike_in_ids_are_not_one_row(folder):
    pair = triplet("video1")
    put(folder, "1.mp4", "2.mp4", "3.mp4")
    lines = [
        {"id": pair.pair_id, "path": f"{n}.mp4", "sample": 1, "generator": name}
        for n, name in ((1, "a b"), (2, "a_b"), (3, "a-b"))
    ]
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = find(folder, [pair])
    assert [video.path.name for video in found.of(pair)] == ["1.mp4", "3.mp4"]
    (error,) = found.quarantined
    assert (error.row, "already lists" in str(error)) == (1, True)


@pytest.mark.parametrize(
    "text",
    [
        '{"id": "#NAME?", "path": "1.mp4"}',
        '{"id": "nan", "path": "1.mp4"}',
        '{"id": "a", "id": "b", "path": "1.mp4"}',
    ],
)
def test_manifest_rows_that_name_no_pair(folder, text):
    put(folder, "1.mp4")
    (folder / "manifest.jsonl").write_text(text)
    (error,) = find(folder).quarantined
    assert error.row == 0
    assert any(word in str(error) for word in ("spreadsheet", "has no id", "stands twice"))
