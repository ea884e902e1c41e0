"""Which part of a real video's file a row is about, by its name and its length, on mp4 files made here."""

from fractions import Fraction
from functools import cache

import av
import numpy as np
import pytest
from dataset.test_dataset import VATEX, row, write_dataset
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.annotations import AnnotationReport, VideoRef, make_annotations
from synvita_data.dataset.load import load_triplets
from synvita_data.real_videos.find import RealVideos
from synvita_data.real_videos.parts import choose_part, video_seconds
from synvita_data.video import FramePolicy, decode

CLIP = "abcdefghijk_000004_000014"
TIMES = {"start": 4.0, "end": 14.0}


@cache
def mp4(seconds):
    """A video of one frame a second, whose brightness is 4 a second."""
    import io

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=1)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for second in range(seconds):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 4 * second, np.uint8), format="rgb24")
            frame.pts, frame.time_base = second, Fraction(1)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def put(root, name, seconds):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mp4(seconds))
    return root


@pytest.mark.parametrize(
    ("name", "seconds", "part", "stated"),
    [
        (CLIP, 10, (None, None), None),
        (CLIP, 60, (4.0, 14.0), "doubts"),  # the whole video under a clip's name
        (CLIP, 14, (4.0, 14.0), "doubts"),
        (CLIP, 12, (None, None), "doubts"),  # neither
        (CLIP, 5, (None, None), "doubts"),  # a clip that breaks off
        ("abcdefghijk", 60, (4.0, 14.0), None),
        ("abcdefghijk", 14, (4.0, 14.0), None),
        ("abcdefghijk", 10, (None, None), "doubts"),  # the clip under the video's name
        ("abcdefghijk", 12, None, "problems"),
        ("abcdefghijk", 3, None, "problems"),
    ],
)
@pytest.mark.parametrize("row_has_times", [True, False])
def test_a_kinetics_video(tmp_path, name, seconds, part, stated, row_has_times):
    videos = RealVideos(put(tmp_path, f"vatex/{name}.mp4", seconds))
    found = videos.find("vatex", CLIP, **(TIMES if row_has_times else {}))
    if part is None:
        assert found is None
    else:
        assert found.seconds(4.0, 14.0) == part
        assert found.times_apply is (part != (None, None))
        shown = decode(found.path, FramePolicy(count=4), start=part[0], end=part[1]).pixels
        brightness = shown.reshape(4, -1).mean(1) / 4  # seconds of the file
        first, last = part if part != (None, None) else (0, seconds)
        assert (brightness > first - 1).all()
        assert (brightness < last + 1).all()
    assert {kind: len(getattr(videos, kind)) for kind in ("problems", "doubts")} == {
        "problems": int(stated == "problems"),
        "doubts": int(stated == "doubts"),
    }
    for problem in (*videos.problems, *videos.doubts):
        assert f"{seconds:.2f} s" in problem.found
        assert "4 to 14 s" in problem.found
        assert problem.file.endswith(f"{name}.mp4")
    videos.find("vatex", CLIP, **TIMES)
    assert len(videos.problems) + len(videos.doubts) == bool(stated)  # said once


@pytest.mark.parametrize(
    ("trimmed", "seconds", "part", "stated"),
    [
        ("true", 60, (None, None), "doubts"),  # the user's word stands
        ("true", 10, (None, None), None),
        ("false", 60, (4.0, 14.0), None),
        ("false", 10, None, "problems"),
        ("", 60, (4.0, 14.0), "doubts"),
    ],
)
def test_a_mapping_says_which_file_it_is(tmp_path, trimmed, seconds, part, stated):
    put(tmp_path, "a/1.mp4", seconds)
    (tmp_path / "map.csv").write_text(f"video,file,trimmed\nvatex_{CLIP},a/1.mp4,{trimmed}\n")
    videos = RealVideos(tmp_path, tmp_path / "map.csv")
    found = videos.find("vatex", CLIP, **TIMES)
    assert (found and found.seconds(4.0, 14.0)) == part
    assert (len(videos.problems), len(videos.doubts)) == (stated == "problems", stated == "doubts")


def test_other_sources_give_times_in_the_file_itself(tmp_path):
    put(put(tmp_path, "a.mp4", 20), "b.mp4", 3)
    videos = RealVideos(tmp_path)
    assert videos.find("custom", "a", start=5.0, end=9.0).seconds(5.0, 9.0) == (5.0, 9.0)
    assert videos.find("custom", "a", start=5.0).seconds(5.0, None) == (5.0, None)
    assert videos.find("custom", "a").seconds(None, None) == (None, None)
    assert videos.find("custom", "b", start=5.0) is None
    assert videos.find("custom", "b", start=15.0, end=30.0) is None
    assert len(videos.problems) == 1  # one video


def test_numbers_in_names_of_other_sources_are_no_seconds(tmp_path):
    videos = RealVideos(put(tmp_path, "camera_000002_000008.mp4", 20))
    found = videos.find("custom", "camera_000002_000008")
    assert found.seconds(None, None) == (None, None)
    assert not videos.doubts


def test_a_file_that_is_no_video_goes_by_its_name(tmp_path):
    (tmp_path / f"{CLIP}.mp4").write_bytes(b"no video")
    videos = RealVideos(tmp_path)
    assert videos.find("vatex", CLIP, **TIMES).times_apply is False  # decoding says what is wrong with it
    assert not videos.doubts


def test_the_length_is_that_of_the_header_or_measured(tmp_path):
    """MPEG-TS has no header that says a length."""
    whole = put(tmp_path, "whole.mp4", 14) / "whole.mp4"
    assert video_seconds(whole) == video_seconds(whole, exact=True) == 14
    with av.open(str(whole)) as source, av.open(str(tmp_path / "raw.ts"), "w", format="mpegts") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    assert video_seconds(tmp_path / "raw.ts", exact=True) == pytest.approx(14, abs=1.1)
    assert video_seconds(tmp_path / "raw.ts") == pytest.approx(14, abs=1.1)


def test_rows_are_loaded_by_the_same_rule(tmp_path):
    """`load_triplets` and tasks decode the window; the file that ends too early is no real video."""
    folder = write_dataset(tmp_path / "built", {"c": {"train": [row(VATEX)]}})
    for name, seconds, expected in (
        (f"{CLIP}.mp4", 60, (True, 4.0, 14.0)),
        (f"{CLIP}.mp4", 10, (True, None, None)),
        ("abcdefghijk.mp4", 60, (True, 4.0, 14.0)),
        ("abcdefghijk.mp4", 12, (False, 4.0, 14.0)),
    ):
        root = put(tmp_path / f"{name}-{seconds}", name, seconds)
        (line,) = load_triplets(folder, split="train", real_root=root, cache_dir=tmp_path / "cache")
        assert (line["real_available"], line["start"], line["end"]) == expected

        one = np.zeros(1, np.int64)
        video = VideoRef("vatex", CLIP, **TIMES)
        task = make_annotations(
            "videocon-llm", videos=[video], captions=["x"], groups=["g"], video=one, text=one, group=one, label=[1], row=one,
            report=AnnotationReport(),
        )  # fmt: skip
        items = list(task.items(RealVideos(root), on_missing=lambda video: None))
        assert [(True, item.start, item.end) for item in items] == [expected] * expected[0]


seconds = st.floats(0.1, 500)


@given(
    length=seconds, start=st.floats(0, 500), span=st.floats(0.1, 500), cut=st.booleans(), stated=st.booleans()
)
def test_the_part_lies_in_the_file(length, start, span, cut, stated):
    end = start + span
    part = choose_part(length, start, end, cut=cut, stated=stated)
    slack = max(1.0, 0.1 * (end - start))
    if part.use == "window":
        assert length >= end - slack  # what is decoded is there
    if part.use == "none":
        assert not cut
        assert length < end - slack
        assert part.doubt
    if part.doubt is None:
        assert part.use == ("whole" if cut else "window")
    if stated:
        assert part.use != ("window" if cut else "whole")
    # What lies where its name says, as long as it should be, is never doubted.
    assert choose_part(span, start, end, cut=True, stated=stated).doubt is None
    assert choose_part(max(length, end), start, end, cut=False, stated=stated).doubt is None
    # A video many times as long as its clip is never taken for the clip, unless the user says so.
    assert choose_part(end + 2 * span + 3, start, end, cut=True, stated=False).use == "window"


@given(length=seconds, start=st.none() | st.floats(0, 500), cut=st.booleans(), stated=st.booleans())
def test_rows_without_an_end(length, start, cut, stated):
    part = choose_part(length, start, None, cut=cut, stated=stated)
    assert (part.use == "none") == (not cut and length <= (start or 0))
    assert (part.doubt is None) == (part.use != "none")
