"""Which needed videos are here and sound, on mp4 files made here, against what was put there."""

import csv
import json
import os
import re
import sys
import threading
from pathlib import Path

import pytest
from dataset.test_dataset import HUMAN, MSR_VTT, VATEX, row, write_dataset
from hypothesis import given
from hypothesis import strategies as st
from real_videos.test_real_times import CLIP, TIMES, mp4, put
from small_annotations import write_ssv2

from synvita_data import video as video_module
from synvita_data.annotations import read_annotations, tasks_at
from synvita_data.dataset.built import open_dataset
from synvita_data.errors import CorruptVideoError, SchemaError, SourceError, UnsafePathError
from synvita_data.real_videos.check import (
    EXAMPLES,
    MISSING_COLUMNS,
    STATUSES,
    CheckedVideo,
    NeededVideo,
    VideoCheck,
    check_real_videos,
    count_statuses,
    each_once,
    needed_by_triplets,
    write_missing,
)
from synvita_data.real_videos.find import RealVideos
from synvita_data.video import FramePolicy, decode

CLIP_VIDEO = NeededVideo(source="vatex", video_id=CLIP, youtube_key="abcdefghijk", **TIMES)


def custom(video_id, **times):
    return NeededVideo(source="custom", video_id=video_id, **times)


def checked(root, *needed, **how):
    """The one checked video, or all of them."""
    videos = check_real_videos(needed, root, **how).videos
    return videos[0] if len(needed) == 1 else videos


def test_found_and_missing(tmp_path):
    put(tmp_path, "clips/a.mp4", 2)
    check = check_real_videos([custom("a"), custom("b"), custom("a")], tmp_path)
    assert [video.status for video in check.videos] == ["found", "missing"]
    assert check.videos[0].file.path == tmp_path / "clips/a.mp4"
    assert (check.needed, check.found, check.files, check.complete) == (2, 1, 1, False)
    assert str(check) == "1 of 2 real videos found; custom: 1 missing"
    assert check_real_videos([custom("a")], tmp_path).complete
    assert str(check_real_videos([custom("a")], tmp_path)) == "1 of 1 real videos found"


def test_nothing_is_needed(tmp_path):
    check = check_real_videos([], tmp_path)
    assert (check.needed, check.found, check.complete, check.sources) == (0, 0, True, {})


def test_several_files_could_be_it(tmp_path):
    put(put(tmp_path, "a/video3094.mp4", 2), "b/video3094.mp4", 2)
    video = checked(tmp_path, NeededVideo(source="msr-vtt", video_id="video3094"))
    assert (video.status, video.file) == ("ambiguous", None)
    assert "a/video3094.mp4, b/video3094.mp4" in video.error.found


@pytest.mark.parametrize("decode", ["none", "first", "all"])
@pytest.mark.parametrize(
    ("name", "seconds", "status", "doubted"),
    [
        (CLIP, 10, "found", False),
        (CLIP, 60, "found", True),  # the whole video under a clip's name
        (CLIP, 5, "found", True),
        ("abcdefghijk", 60, "found", False),
        ("abcdefghijk", 10, "found", True),  # the clip under the name of the video
        ("abcdefghijk", 12, "too_short", True),
    ],
)
def test_a_file_of_another_length_than_its_name_says(tmp_path, decode, name, seconds, status, doubted):
    video = checked(put(tmp_path, f"vatex/{name}.mp4", seconds), CLIP_VIDEO, decode=decode)
    assert video.status == status
    assert (video.error is not None) is doubted
    if doubted:
        assert f"{seconds:.2f} s" in video.error.found


def test_two_parts_of_one_file_are_two(tmp_path):
    """Each part has its own status, although a folder's problems are said once a video."""
    put(tmp_path, "a.mp4", 10)
    parts = [
        custom("a", start=0.0, end=5.0),
        custom("a", start=20.0, end=25.0),
        custom("a", start=40.0, end=45.0),
    ]
    assert [v.status for v in checked(tmp_path, *parts)] == ["found", "too_short", "too_short"]
    assert "40 to 45 s" in checked(tmp_path, *parts)[2].error.found


@pytest.mark.parametrize(
    ("content", "with_decode"),
    [
        (b"", "empty"),
        (b"no video", "unreadable"),
        (lambda: mp4(10)[:-200], "unreadable"),  # cut off
    ],
    ids=["empty", "text", "cut"],
)
def test_files_that_cannot_be_read(tmp_path, content, with_decode):
    (tmp_path / "a.mp4").write_bytes(content if isinstance(content, bytes) else content())
    by_name = checked(tmp_path, custom("a")).status
    assert by_name == ("unreadable" if with_decode == "empty" else "found")
    for how in ("first", "all"):
        video = checked(tmp_path, custom("a"), decode=how)
        assert video.status == "unreadable"
        assert video.error.file.endswith("a.mp4")


def noisy_mp4(seconds=10):
    import io

    import av
    import numpy as np

    buffer, noise = io.BytesIO(), np.random.default_rng(0)
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=1)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(seconds):
            frame = av.VideoFrame.from_ndarray(
                noise.integers(0, 256, (64, 96, 3), dtype=np.uint8), format="rgb24"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def test_damage_inside_packets_needs_all_frames(tmp_path):
    """Bytes inside a late packet are changed: its lengths and the first frame stay whole."""
    import av

    data = bytearray(noisy_mp4())
    (tmp_path / "a.mp4").write_bytes(data)
    with av.open(str(tmp_path / "a.mp4")) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][7]
        begin, end = packet.pos + 40, packet.pos + packet.size
    data[begin:end] = b"\xff" * (end - begin)
    (tmp_path / "a.mp4").write_bytes(data)
    statuses = {how: checked(tmp_path, custom("a"), decode=how).status for how in ("none", "first")}
    assert statuses == {"none": "found", "first": "found"}
    # Each time: three threads of FFmpeg would now and then lose the error.
    for _ in range(30):
        assert checked(tmp_path, custom("a"), decode="all").status == "unreadable"
        with pytest.raises(CorruptVideoError):
            decode(tmp_path / "a.mp4", FramePolicy(rule="all"), threads=8)


@pytest.mark.skipif(os.geteuid() == 0 or sys.platform == "win32", reason="root may read every file")
def test_a_file_that_may_not_be_read(tmp_path):
    put(tmp_path, "a.mp4", 2)
    (tmp_path / "a.mp4").chmod(0)
    for how in ("none", "first"):
        assert checked(tmp_path, custom("a"), decode=how).status == "unreadable"


def test_symlinks_out_of_the_root_are_problems_of_the_folder(tmp_path):
    root = put(tmp_path / "root", "b.mp4", 2)
    put(tmp_path / "away", "a.mp4", 2)
    (root / "a.mp4").symlink_to(tmp_path / "away/a.mp4")
    (root / "more").symlink_to(tmp_path / "away")
    check = check_real_videos([custom("a"), custom("b")], root)
    assert [video.status for video in check.videos] == ["missing", "found"]
    assert [type(error) for error in check.problems] == [UnsafePathError, UnsafePathError]
    assert {Path(error.file).name for error in check.problems} == {"a.mp4", "more"}
    with pytest.raises(UnsafePathError, match="root"):
        check_real_videos([custom("a")], root, {"custom_a": "more/a.mp4"})


def test_links_to_one_file_are_read_once(tmp_path, monkeypatch):
    put(tmp_path, "a.mp4", 2)
    (tmp_path / "b.mp4").symlink_to(tmp_path / "a.mp4")
    read = []
    check = video_module.check_video
    monkeypatch.setattr(
        video_module, "check_video", lambda path, **how: (read.append(path), check(path, **how))[1]
    )
    parts = [custom(name, start=start, end=start + 1) for name in "ab" for start in (0.0, 1.0)]
    result = check_real_videos(parts, tmp_path, decode="first")
    assert [video.status for video in result.videos] == ["found"] * 4
    assert len(read) == 1


def test_a_mapping_says_which_file(tmp_path):
    put(tmp_path, "x/1.mp4", 60)
    mapping = {"vatex_" + CLIP: "x/1.mp4", "custom_gone": "x/2.mp4"}
    found, gone = checked(tmp_path, CLIP_VIDEO, custom("gone"), mapping=mapping)
    assert (found.status, found.file.reference) == ("found", "x/1.mp4")
    assert gone.status == "missing"


@pytest.mark.parametrize(("root_source", "status"), [(None, "missing"), ("ssv2", "found")])
def test_the_dataset_that_a_folder_is_taken_to_hold(tmp_path, root_source, status):
    """As when a task is evaluated: bare numbers below a folder of no dataset's name are those of the task."""
    put(tmp_path, "videos/103900.mp4", 2)
    needed = NeededVideo(
        source="ssv2", video_id="103900", videopath="other/103900.avi", root_source=root_source
    )
    video = checked(tmp_path, needed)
    assert video.status == status
    if status == "missing":  # and the user is told what to do
        assert "videos/103900.mp4" in video.error.found
        assert "ssv2" in video.error.fix


def test_a_whole_youtube_video_is_no_clip_of_msr_vtt(tmp_path):
    put(tmp_path, "1tCWjXq8ZD8.mp4", 60)
    video = checked(tmp_path, *needed_by_triplets([MSR_VTT]))
    assert video.status == "missing"
    assert "which part" in video.error.problem


def test_a_video_is_found_here_if_and_only_if_it_is_found_there(tmp_path):
    """Against `RealVideos.find`, which evaluating, building and training use."""
    for name, seconds in (("vatex/abcdefghijk.mp4", 60), ("b/video3094.mp4", 3), ("c/1303.mp4", 3)):
        put(tmp_path, name, seconds)
    triplets = [VATEX, MSR_VTT, HUMAN]
    videos = checked(tmp_path, *needed_by_triplets(triplets))
    real = RealVideos(tmp_path)
    assert [video.file for video in videos] == [real.find_triplet(triplet) for triplet in triplets]
    assert [video.status for video in videos] == ["found", "found", "missing"]


# --- who needs videos --------------------------------------------------------------------------------


def test_a_task_needs_each_of_its_videos_once(tmp_path):
    file = write_ssv2(
        tmp_path / "eval_ssv2_temporal.csv",
        [(f"videos/{n}.avi", f"Doing {c}", 1) for n in range(3) for c in "ab"],
    )
    needed = read_annotations("ssv2-temporal", file).needed_videos("ssv2")
    assert [(v.source, v.video_id, v.videopath, v.root_source) for v in needed] == [
        ("ssv2", str(n), f"videos/{n}.avi", "ssv2") for n in range(3)
    ]
    assert [task.name for task in tasks_at(tmp_path)] == ["ssv2-temporal"]
    assert [task.name for task in tasks_at(file)] == ["ssv2-temporal"]
    assert tasks_at(tmp_path / "other.csv") == []


def test_a_dataset_needs_what_its_rows_do_not_hold(tmp_path):
    folder = write_dataset(
        tmp_path / "built",
        {
            "c": {
                "train": [row(VATEX), row(VATEX, generator="lavie")],
                "test": [row(HUMAN, real={"bytes": b"mp4", "path": "1303.mp4"})],
            }
        },
    )
    dataset = open_dataset(str(folder))
    assert dataset.needed_videos("c", ["test"]) == []
    assert dataset.needed_videos("c", ["train", "test"]) == [
        NeededVideo(
            source="vatex",
            video_id=CLIP,
            videopath=VATEX.videopath,
            youtube_key="abcdefghijk",
            start=4.0,
            end=14.0,
        )
    ]
    assert dataset.needed_videos("c", ["train"]) == needed_by_triplets([VATEX])


def test_addresses():
    assert CLIP_VIDEO.url == "https://www.youtube.com/watch?v=abcdefghijk"
    assert needed_by_triplets([HUMAN])[0].url == HUMAN.video_url
    assert custom("a").url is None


# --- what is written ---------------------------------------------------------------------------------


def test_a_list_for_a_downloader(tmp_path):
    root = put(tmp_path / "root", "a.mp4", 3)
    (root / "c.mp4").touch()
    needed = [
        custom("a"),
        custom("b,x", start=1.25, end=2.0),
        custom("c"),
        CLIP_VIDEO,
        *needed_by_triplets([HUMAN]),
    ]
    out = tmp_path / "new" / "missing.csv"
    assert write_missing(check_real_videos(needed, root), out) == 4
    with out.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert tuple(rows[0]) == MISSING_COLUMNS
    assert [tuple(row.values()) for row in rows] == [
        ("custom", "b,x", "", "1.25", "2", "missing", ""),
        ("custom", "c", "", "", "", "unreadable", ""),
        ("vatex", CLIP, CLIP_VIDEO.url, "4", "14", "missing", ""),
        ("activitynet", "1303", HUMAN.video_url, "", "", "missing", ""),
    ]
    assert [path.name for path in out.parent.iterdir()] == ["missing.csv"]


def test_a_record_for_json(tmp_path):
    put(tmp_path, f"vatex/{CLIP}.mp4", 60)
    many = [custom(f"v{n}") for n in range(EXAMPLES + 2)]
    record = json.loads(json.dumps(check_real_videos([CLIP_VIDEO, *many], tmp_path).to_record()))
    assert (record["needed"], record["found"], record["complete"]) == (EXAMPLES + 3, 1, False)
    vatex, other = record["sources"]["vatex"], record["sources"]["custom"]
    assert (vatex["needed"], vatex["found"], vatex["other_length"]) == (1, 1, 1)
    example = vatex["examples"]["other_length"][0]
    assert (example["video_id"], example["file"]) == (CLIP, f"vatex/{CLIP}.mp4")
    assert "60.00 s" in example["error"]["found"]
    assert (other["missing"], len(other["examples"]["missing"])) == (EXAMPLES + 2, EXAMPLES)


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 5), st.sampled_from(STATUSES))))
def test_counts_add_up(made):
    videos = tuple(
        CheckedVideo(NeededVideo(source=source, video_id=str(number)), status)
        for source, number, status in made
    )
    check = VideoCheck(Path("/r"), 0, "none", videos)
    counts = count_statuses(videos)
    assert sum(counts.values()) == check.needed == sum(map(len, check.sources.values()))
    assert check.found == counts["found"]
    for status in STATUSES:
        assert sum(count_statuses(those)[status] for those in check.sources.values()) == counts[status]
    assert check.complete == (counts["found"] == len(made))
    assert list(check.sources) == sorted(check.sources)


@given(st.lists(st.builds(custom, st.sampled_from("abc"), start=st.sampled_from([None, 1.0]))))
def test_each_once_keeps_the_first_in_order(videos):
    once = each_once(videos)
    assert [video.key for video in once] == list(dict.fromkeys(video.key for video in videos))


# --- long checks -------------------------------------------------------------------------------------


def test_progress_counts_both_stages(tmp_path):
    put(tmp_path, "a.mp4", 1)
    seen = []
    check_real_videos(
        [custom("a"), custom("b")], tmp_path, decode="first", on_progress=lambda *said: seen.append(said)
    )
    assert seen == [("look for videos", 1, 2), ("look for videos", 2, 2), ("read videos", 1, 1)]


def test_an_interrupted_check_reads_no_more(tmp_path, monkeypatch):
    for number in range(20):
        (tmp_path / f"{number}.mp4").write_bytes(mp4(1))
    read, lock = [], threading.Lock()
    check = video_module.check_video

    def counted(path, **how):
        with lock:
            read.append(path)
        return check(path, **how)

    def interrupt(title, done, total):
        if title == "read videos":
            raise KeyboardInterrupt

    monkeypatch.setattr(video_module, "check_video", counted)
    with pytest.raises(KeyboardInterrupt):
        check_real_videos(
            [custom(str(number)) for number in range(20)],
            tmp_path,
            decode="first",
            workers=2,
            on_progress=interrupt,
        )
    assert 1 <= len(read) <= 4
    assert not [
        thread for thread in threading.enumerate() if "ThreadPool" in thread.name and thread.is_alive()
    ]


def test_bad_folders_and_mappings(tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        check_real_videos([custom("a")], tmp_path / "no")
    with pytest.raises(SchemaError, match="mapping"):
        check_real_videos([custom("a")], tmp_path, tmp_path / "no.csv")


# --- the tables of docs/videos.md ----------------------------------------------------------------------


def documented(repo_root):
    """(source, video id, file, whether it is found) of the two blocks of names."""
    page = (repo_root / "docs" / "videos.md").read_text(encoding="utf-8")
    taken, refused = re.findall(r"```text\n(.*?)```", page, re.S)
    for block, is_found in ((taken, True), (refused, False)):
        for line in block.splitlines():
            yield *re.split(r"\s{2,}", line)[:3], is_found


def as_annotated(source, video_id):
    """The video as VideoCon's annotations name it, and the task's own source where it has one."""
    paths = {
        "msr-vtt": f"msr-vtt/TrainValVideo/{video_id}.mp4",
        "vatex": f"k600/val/{video_id}.mp4",
        "tempo": f"tempo/videos/{video_id}.mp4",
        "ssv2": f"videos/{video_id}.avi",
        "next-qa": f"1106/{video_id}.mp4",
    }
    keys = {"msr-vtt": "1tCWjXq8ZD8", "vatex": video_id[:11]}
    return NeededVideo(
        source=source, video_id=video_id, videopath=paths.get(source), youtube_key=keys.get(source)
    )


def test_documented_names_are_found_and_others_are_not(repo_root, tmp_path):
    seen = {True: 0, False: 0}
    for number, (source, video_id, file, is_found) in enumerate(documented(repo_root)):
        root = tmp_path / str(number) / "r"
        put(root, file, 60 if file.endswith("/abcdefghijk.mp4") else 10)
        video = checked(root, as_annotated(source, video_id))
        assert video.status == ("found" if is_found else "missing"), (source, file)
        assert video.error is None or not is_found, (source, file)
        seen[is_found] += 1
    assert seen[True] > 20
    assert seen[False] > 5
