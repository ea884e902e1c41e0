"""Which video a path of a score file means: never one of two."""

import numpy as np
import pytest

from synvita_data.annotations import AnnotationReport, VideoRef, make_annotations
from synvita_data.errors import ScoreError
from synvita_data.evaluation.score_columns import match_videos
from synvita_data.real_videos.names import path_id
from synvita_data.tables.columns import Column


def annotations_of(*videos):
    """One caption of each video."""
    count = np.arange(len(videos))
    zero = np.zeros(len(videos), np.int64)
    return make_annotations(
        "videocon-llm",
        videos=videos,
        captions=["a"],
        groups=["g"],
        video=count,
        text=zero,
        group=zero,
        label=zero,
        row=count,
        report=AnnotationReport(),
    )


def custom(path, source="custom"):
    return VideoRef(source, path_id(path), path)


def matched(tmp_path, videos, *paths):
    """The path of the video that each path means, None for none."""
    annotations = annotations_of(*videos)
    codes, _ = match_videos(Column(np.arange(len(paths)), list(paths)), annotations, tmp_path / "s.csv")
    return [None if code < 0 else annotations.videos[code].videopath for code in codes]


def test_whole_folders_tell_videos_apart(tmp_path):
    videos = [custom(f"000{n}/video.mp4") for n in (1, 2)]
    paths = ["/data/0001/video.mp4", "x\\0002\\video.avi"]
    assert matched(tmp_path, videos, *paths) == ["0001/video.mp4", "0002/video.mp4"]
    assert matched(tmp_path, videos, "0003/video.mp4", "video.mp4", "10001/video.mp4") == [None] * 3
    flat = ["0001_video", "custom_0002%2Fvideo"]
    assert matched(tmp_path, videos, *flat) == ["0001/video.mp4", "0002/video.mp4"]


def test_a_path_that_could_mean_two_means_none(tmp_path):
    videos = [
        custom("a/b.mp4"),
        custom("a_b.mp4"),
        custom("c/d.mp4"),
        custom("c_d/e.mp4"),
        custom("c/d_e.mp4"),
    ]
    assert matched(tmp_path, videos, "a_b.mp4", "a/b.mp4") == ["a_b.mp4", "a/b.mp4"]
    assert matched(tmp_path, videos, "c_d_e") == [None]
    same = [custom("0001/v.mp4", "first"), custom("0001/v.mp4", "second")]
    assert matched(tmp_path, same, "0001/v.mp4") == [None]


def test_a_bare_name_means_the_one_video_of_it(tmp_path):
    videos = [custom("x/a.mp4"), custom("x/b.mp4"), custom("y/b.mp4")]
    assert matched(tmp_path, videos, "a.mp4", "b.mp4", "z/a.mp4") == ["x/a.mp4", None, None]


def test_numbers_that_pandas_made_floats(tmp_path):
    videos = [VideoRef("ssv2", "104599", "videos/104599.avi")]
    assert matched(tmp_path, videos, "104599.0") == ["videos/104599.avi"]


def test_two_paths_of_one_video_are_refused(tmp_path):
    with pytest.raises(ScoreError, match="two paths of a score file mean one video"):
        matched(tmp_path, [custom("0001/v.mp4")], "x/0001/v.mp4", "y/0001/v.mp4")
