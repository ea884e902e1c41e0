"""Real videos are found by the naming schemes of their sources, and never guessed."""

import json
import os

import pytest

from synvita_data.errors import SchemaError, SourceError, UnsafePathError
from synvita_data.real_videos.find import RealVideos
from synvita_data.real_videos.names import path_id
from synvita_data.schema import Triplet

CLIP = {
    "videopath": "k600_val_abcdefghijk_000004_000014",
    "youtube_key": "abcdefghijk",
    "start": 4.0,
    "end": 14.0,
}


def put(root, *files, content=b"video"):
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def where(found):
    return found and found.reference


@pytest.mark.parametrize(
    ("file", "source", "video_id", "videopath"),
    [
        ("video3094.mp4", "msr-vtt", "video3094", "msr-vtt_TrainValVideo_video3094"),
        ("TrainValVideo/video3094.mp4", "msr-vtt", "video3094", "msr-vtt/TrainValVideo/video3094.mp4"),
        ("MSRVTT/videos/all/video3094.mp4", "msr-vtt", "video3094", "msr-vtt/TrainValVideo/video3094.mp4"),
        ("x/msr-vtt_TrainValVideo_video3094.mkv", "msr-vtt", "video3094", "msr-vtt_TrainValVideo_video3094"),
        ("flat/msr-vtt_video3094.avi", "msr-vtt", "video3094", None),
        ("videos/VIDEO.MP4", "custom", "VIDEO", None),
        ("tempo/videos/1524.mp4", "tempo", "1524", "tempo/videos/1524.mp4"),
        ("tempo/videos/1524.avi", "tempo", "1524", "tempo/videos/1524.mp4"),
        ("DiDeMo/1524.mp4", "tempo", "1524", "tempo_videos_1524"),
        ("all/tempo_videos_1524.mp4", "tempo", "1524", "tempo_videos_1524"),
        ("tempo_hl/1524.mp4", "tempo", "1524", "tempo_videos_1524"),
        ("activitynet/anno_videos/1303.mp4", "activitynet", "1303", None),
        ("clips/a.mp4", "custom", "a", "clips/a.mp4"),
    ],
)
def test_naming_schemes(tmp_path, file, source, video_id, videopath):
    root = put(tmp_path, file)
    found = RealVideos(root).find(source, video_id, videopath=videopath)
    assert where(found) == file
    assert found.path == root / file


@pytest.mark.parametrize("folder", ["", "val/", "kinetics600/val/playing harp/", "vatex/"])
@pytest.mark.parametrize(
    ("name", "times_apply"),
    [
        ("abcdefghijk_000004_000014.mp4", False),
        ("abcdefghijk.webm", True),
        ("k600_val_abcdefghijk_000004_000014.mp4", False),
    ],
)
def test_kinetics_clips_are_cut_and_whole_videos_are_not(tmp_path, folder, name, times_apply):
    found = RealVideos(put(tmp_path, folder + name)).find("vatex", "abcdefghijk_000004_000014", **CLIP)
    assert where(found) == folder + name
    assert found.times_apply is times_apply


def test_the_cut_clip_is_preferred_to_the_whole_video(tmp_path):
    root = put(tmp_path, "a/abcdefghijk.mp4", "b/abcdefghijk_000004_000014.mp4")
    found = RealVideos(root).find("vatex", "abcdefghijk_000004_000014", **CLIP)
    assert where(found) == "b/abcdefghijk_000004_000014.mp4"


def test_times_of_a_generic_row_apply_to_its_file(tmp_path):
    videos = RealVideos(put(tmp_path, "clips/a.mp4"))
    assert videos.find("custom", "a", videopath="clips/a.mp4", start=1.0, end=2.0).times_apply is True


def test_msr_vtt_is_not_taken_from_the_whole_youtube_video(tmp_path):
    videos = RealVideos(put(tmp_path, "1tCWjXq8ZD8.mp4"))
    assert videos.find("msr-vtt", "video3094", youtube_key="1tCWjXq8ZD8") is None
    whole = videos.find("msr-vtt", "video3094", youtube_key="1tCWjXq8ZD8", start=3.0, end=9.0)
    assert where(whole) == "1tCWjXq8ZD8.mp4"
    assert where(videos.find("custom", "other", youtube_key="1tCWjXq8ZD8")) == "1tCWjXq8ZD8.mp4"


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("ssv2/1524.webm", "tempo"),
        ("ssv2-temporal/1524.webm", "tempo"),  # "temporal" is not "tempo"
        ("1524.mp4", "tempo"),  # a bare number could be anybody's
        ("tempo/videos/1524.mp4", "activitynet"),
        ("anno_videos/1524.mp4", "tempo"),
        ("didemo/video1524.mp4", "msr-vtt"),
    ],
)
def test_videos_of_another_dataset_are_not_taken(tmp_path, file, source):
    video_id = "video1524" if source == "msr-vtt" else "1524"
    assert RealVideos(put(tmp_path / "real", file)).find(source, video_id) is None


def test_the_root_may_be_the_sources_own_folder(tmp_path):
    root = put(tmp_path / "tempo" / "videos", "1524.mp4")
    assert where(RealVideos(root).find("tempo", "1524")) == "1524.mp4"
    assert where(RealVideos(root.parent).find("tempo", "1524")) == "videos/1524.mp4"


def test_a_folder_of_the_source_decides_among_equal_names(tmp_path):
    root = put(tmp_path, "msr-vtt/video7.mp4", "mine/video7.mp4", "tempo/video7.mp4")
    videos = RealVideos(root)
    assert where(videos.find("msr-vtt", "video7")) == "msr-vtt/video7.mp4"
    assert where(videos.find("custom", "video7")) == "mine/video7.mp4"
    assert videos.problems == []


def test_the_videopath_decides_among_copies(tmp_path):
    root = put(tmp_path, "data/msr-vtt/TestVideo/video7.mp4", "data/msr-vtt/small/video7.mp4")
    videos = RealVideos(root)
    found = videos.find("msr-vtt", "video7", videopath="msr-vtt/TestVideo/video7.mp4")
    assert where(found) == "data/msr-vtt/TestVideo/video7.mp4"


def test_several_candidates_are_refused_once_with_a_reason(tmp_path):
    videos = RealVideos(put(tmp_path, "a/video7.mp4", "b/video7.mp4"))
    assert videos.find("msr-vtt", "video7") is None
    assert videos.find("msr-vtt", "video7") is None
    (problem,) = videos.problems
    assert isinstance(problem, SourceError)
    assert "a/video7.mp4" in str(problem)
    assert "b/video7.mp4" in str(problem)


def test_one_video_in_two_formats_is_one_video(tmp_path):
    videos = RealVideos(put(tmp_path, "a/video7.webm", "a/video7.mp4", "a/video7.txt"))
    assert where(videos.find("msr-vtt", "video7")) == "a/video7.mp4"
    assert len(videos) == 2


def test_empty_and_hidden_files_are_not_videos(tmp_path):
    put(tmp_path, "video7.mp4", content=b"")
    put(tmp_path, "._video8.mp4", ".cache/video9.mp4")
    videos = RealVideos(tmp_path)
    assert [videos.find("msr-vtt", f"video{n}") for n in (7, 8, 9)] == [None, None, None]
    assert ["empty file" in str(problem) for problem in videos.problems] == [True]


def test_symlinks_out_of_the_root_are_not_followed(tmp_path):
    outside = put(tmp_path / "outside", "video1.mp4", "deep/video2.mp4")
    root = put(tmp_path / "real", "kept/video3.mp4")
    (root / "video1.mp4").symlink_to(outside / "video1.mp4")
    (root / "linked").symlink_to(outside / "deep")
    (root / "again.mp4").symlink_to(root / "kept" / "video3.mp4")
    (root / "loop").symlink_to(root)
    videos = RealVideos(root)
    assert videos.find("msr-vtt", "video1") is None
    assert videos.find("msr-vtt", "video2") is None
    assert where(videos.find("msr-vtt", "video3")) == "kept/video3.mp4"
    assert where(videos.find("custom", "again")) == "again.mp4"
    refused = [problem for problem in videos.problems if isinstance(problem, UnsafePathError)]
    assert sorted(os.path.basename(problem.file) for problem in refused) == ["linked", "video1.mp4"]  # noqa: PTH119


@pytest.mark.parametrize("attack", ["../../etc/passwd", "/etc/passwd", "..", "/", "a\0b", "~/x", ""])
def test_a_videopath_never_leads_out_of_the_root(tmp_path, attack):
    put(tmp_path, "etc/passwd", "secret.mp4")
    videos = RealVideos(put(tmp_path / "real", "video1.mp4"))
    assert videos.find("custom", "nothing", videopath=attack) is None
    assert videos.find("custom", attack) is None


@pytest.mark.parametrize("form", ["dict", "json", "jsonl", "csv"])
def test_mappings(tmp_path, form):
    root = put(tmp_path / "real", "a/1.mp4", "b/2.mp4")
    entries = {"k600_val_abcdefghijk_000004_000014": "a/1.mp4", "msr-vtt_video7": "b/2.mp4", "x": "gone.mp4"}
    file = tmp_path / f"mapping.{form}"
    if form == "json":
        file.write_text(json.dumps(entries))
    elif form == "jsonl":
        lines = (json.dumps({"videopath": key, "path": path}) for key, path in entries.items())
        file.write_text("\n".join(lines))
    else:
        rows = "".join(f"{key} , {path}\r\n" for key, path in entries.items())
        file.write_bytes(("\ufeffVideoPath,Path\r\n" + rows).encode())
    videos = RealVideos(root, entries if form == "dict" else file)
    clip = videos.find("vatex", "abcdefghijk_000004_000014", **CLIP)
    assert where(clip) == "a/1.mp4"
    assert clip.times_apply is False  # the id names a cut clip, and the file is not the whole video
    assert where(videos.find("msr-vtt", "video7")) == "b/2.mp4"
    assert videos.find("custom", "y", videopath="x") is None  # mapped, never downloaded


def test_a_mapping_says_whether_a_file_is_trimmed(tmp_path):
    root = put(tmp_path / "real", "1.mp4", "2.mp4")
    file = tmp_path / "mapping.csv"
    file.write_text(
        "video,path,trimmed\nk600_val_abcdefghijk_000004_000014,1.mp4,False\nclips/a.mp4,2.mp4,true\n"
    )
    videos = RealVideos(root, file)
    assert videos.find("vatex", "abcdefghijk_000004_000014", **CLIP).times_apply is True
    assert videos.find("custom", "a", videopath="clips/a.mp4", start=1.0, end=2.0).times_apply is False


@pytest.mark.parametrize(
    ("name", "text", "error", "words"),
    [
        ("m.csv", "videopath,path\na,b.mp4\nb,../out.mp4\n", UnsafePathError, ["row 1", "'..'"]),
        ("m.csv", "videopath,path\na,/etc/passwd\n", UnsafePathError, ["row 0", "absolute"]),
        ("m.csv", "videopath,path\na,1.mp4\na,2.mp4\n", SchemaError, ["row 1", "two files"]),
        ("m.csv", "name,where\na,1.mp4\n", SchemaError, ["no column for", "videopath", "where"]),
        ("m.csv", "videopath,path,trimmed\na,1.mp4,perhaps\n", SchemaError, ["row 0", "perhaps"]),
        ("m.json", "[1]", SchemaError, ["cannot be read"]),
        ("m.jsonl", "{", SchemaError, ["row 0", "not a JSON object"]),
        ("m.txt", "", SchemaError, [".csv"]),
    ],
)
def test_mappings_that_cannot_be_used(tmp_path, name, text, error, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(error) as caught:
        RealVideos(tmp_path, tmp_path / name)
    assert all(word in str(caught.value) for word in [name, *words])


def test_a_triplet_is_looked_up_by_what_it_says(tmp_path):
    triplet = Triplet(
        source="vatex",
        video_id="abcdefghijk_000004_000014",
        caption="a",
        neg_caption="b",
        start=4.0,
        end=14.0,
    )
    found = RealVideos(put(tmp_path, "abcdefghijk.mp4")).find_triplet(triplet)
    assert where(found) == "abcdefghijk.mp4"
    assert found.times_apply


def test_the_root_must_be_a_folder(tmp_path):
    with pytest.raises(SourceError):
        RealVideos(tmp_path / "nothing")


def test_a_root_said_to_hold_one_source_needs_no_folder_of_its_name(tmp_path):
    for name in ("videos/104599.webm", "tempo/7.mp4", "8.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    plain, told = RealVideos(tmp_path), RealVideos(tmp_path, source="ssv2")
    assert plain.find("ssv2", "8") is None
    assert told.find("ssv2", "8").reference == "8.mp4"
    assert told.find("ssv2", "104599", videopath="clips/104599.avi").reference == "videos/104599.webm"
    assert told.find("ssv2", "7") is None  # that folder says whose it is


def test_files_of_one_name_are_found_by_their_whole_path(tmp_path):
    root = put(tmp_path / "real", "data/0001/video.mp4", "data/0002/video.mp4", "video.mp4", "0003_video.mp4")
    videos = RealVideos(root)
    for n, expected in ((1, "data/0001/video.mp4"), (2, "data/0002/video.mp4"), (3, None)):
        path = f"000{n}/video.mp4"
        for video_id in (path_id(path), "video"):  # datasets of before have the last part as the id
            assert where(videos.find("custom", video_id, videopath=path)) == expected
        assert where(videos.find("custom", path_id(path))) == expected
    assert where(videos.find("custom", "video", videopath="video.mp4")) == "video.mp4"
    assert videos.problems == []


def test_the_root_may_be_a_folder_of_the_path(tmp_path):
    videos = RealVideos(put(tmp_path / "x" / "0001", "video.mp4"))
    assert where(videos.find("custom", "0001%2Fvideo")) == "video.mp4"
    assert videos.find("custom", "0002%2Fvideo") is None


def test_files_may_be_named_by_the_id(tmp_path):
    videos = RealVideos(put(tmp_path, "all/a%2Fb.mp4", "all/custom_c%2Fd.mp4"))
    assert where(videos.find("custom", "a%2Fb", videopath="a/b.mp4")) == "all/a%2Fb.mp4"
    assert where(videos.find("custom", "c%2Fd", videopath="c/d.mp4")) == "all/custom_c%2Fd.mp4"
    assert videos.find("other", "c%2Fd", videopath="c/d.mp4") is None


def test_addresses_need_all_of_their_path(tmp_path):
    videos = RealVideos(put(tmp_path, "a.org/v/x.mp4", "x.mp4"))
    assert where(videos.find("custom", "%2F%2Fa.org%2Fv%2Fx")) == "a.org/v/x.mp4"
    assert videos.find("custom", "%2F%2Fb.org%2Fv%2Fx") is None


def test_a_path_with_its_own_suffix_is_that_file(tmp_path):
    videos = RealVideos(put(tmp_path, "v.mp4", "v.avi", "w.webm"))
    assert where(videos.find("custom", "v", videopath="v.avi")) == "v.avi"
    assert where(videos.find("custom", "v", videopath="./v.mp4")) == "v.mp4"
    assert where(videos.find("custom", "w", videopath="w.mp4")) == "w.webm"


def test_a_folder_named_after_any_source_decides(tmp_path):
    videos = RealVideos(put(tmp_path, "first/v.mp4", "second/v.mp4"))
    assert [where(videos.find(source, "v")) for source in ("first", "second", "third")] == [
        "first/v.mp4",
        "second/v.mp4",
        None,
    ]


def test_a_mapping_may_tell_the_sources_of_one_path_apart(tmp_path):
    root = put(tmp_path / "real", "1.mp4", "2.mp4")
    entries = {"0001/video.mp4": "1.mp4", "other_0001%2Fvideo": "2.mp4"}
    videos = RealVideos(root, entries)
    found = [
        videos.find(source, "0001%2Fvideo", videopath="0001/video.mp4") for source in ("custom", "other")
    ]
    assert list(map(where, found)) == ["1.mp4", "2.mp4"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.csv", 'videopath,path\na,"1.mp4\nb,2.mp4\n', ["row 0", "never closed"]),
        ("m.csv", 'videopath,path\na,1 "x".mp4\n', ["row 0", "not quoted"]),
        ("m.csv", "videopath,path\na,1.mp4,x\n", ["row 0", "3 cells"]),
        ("m.csv", "videopath,path\n#NAME?,1.mp4\n", ["row 0", "#NAME?"]),
        ("m.csv", "videopath,path\nnan,1.mp4\n", ["row 0", "does not name"]),
        ("m.csv", "videopath,path,path\na,1.mp4,2.mp4\n", ["two columns", "path"]),
        ("m.csv", "videopath,path\na,1.mp4\n".encode("utf-16"), ["UTF-16"]),
        ("m.json", '{"a": "1.mp4", "a": "2.mp4"}', ["'a' stands twice"]),
        ("m.jsonl", '{"id": 1.5e20, "path": "1.mp4"}', ["row 0", "too large"]),
    ],
)
def test_mappings_are_read_strictly(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SchemaError) as caught:
        RealVideos(tmp_path, tmp_path / name)
    assert all(word in str(caught.value) for word in [name, *words])


def test_mappings_with_other_delimiters_and_float_ids(tmp_path):
    root = put(tmp_path / "real", "1.mp4")
    for name, text in (("m.csv", "id;path\ntempo_1524;1.mp4\n"), ("m.tsv", "id\tpath\ntempo_1524\t1.mp4\n")):
        (tmp_path / name).write_text(text)
        assert where(RealVideos(root, tmp_path / name).find("tempo", "1524")) == "1.mp4"
    (tmp_path / "m.csv").write_text("videopath,path\n1524.0,1.mp4\n")
    assert where(RealVideos(root, tmp_path / "m.csv").find("custom", "1524", videopath="1524")) == "1.mp4"


def test_a_mapping_made_on_windows(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.mp4").write_bytes(b"video")
    table = tmp_path / "mapping.csv"
    table.write_text("id,path\nmine_v,a\\one.mp4\n")
    assert RealVideos(tmp_path, table).find("mine", "v").reference == "a/one.mp4"
    for path in ("..\\one.mp4", "C:\\one.mp4", "\\\\server\\one.mp4"):
        table.write_text(f"id,path\nmine_v,{path}\n")
        with pytest.raises(UnsafePathError):
            RealVideos(tmp_path, table)
