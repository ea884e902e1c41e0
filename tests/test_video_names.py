"""The names VideoCon and the SynViTA release give to videos."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.errors import SchemaError
from synvita_data.video_names import (
    VideoName,
    flat_name,
    name_video,
    normal_source,
    times_in_name,
    video_stem,
)

CLIP = VideoName("--7VUM9MKg4_000136_000146", 136.0, 146.0, "--7VUM9MKg4")


@pytest.mark.parametrize(
    ("source", "videopath", "expected"),
    [
        ("vatex", "k600_val_--7VUM9MKg4_000136_000146", CLIP),
        ("vatex", "k600/val/--7VUM9MKg4_000136_000146.mp4", CLIP),
        ("vatex", "--7VUM9MKg4_000136_000146", CLIP),
        ("kinetics", "k400_train_--7VUM9MKg4_000136_000146", CLIP),
        ("vatex", "k600_val_another_name", VideoName("k600_val_another_name")),
        ("msr-vtt", "msr-vtt_TrainValVideo_video3094", VideoName("video3094")),
        ("msr-vtt", "msr-vtt/TestVideo/video7010.mp4", VideoName("video7010")),
        ("msr-vtt", "msr-vtt_TestVideo_video7010", VideoName("video7010")),
        ("tempo", "tempo_videos_1524", VideoName("1524")),
        ("tempo", "tempo/videos/1524.avi", VideoName("1524")),
        ("tempo", "23@N01_1234.mov", VideoName("23@N01_1234")),
        ("custom", "--7VUM9MKg4_000136_000146.mp4", VideoName("--7VUM9MKg4_000136_000146")),
        ("custom", "a/b/clip.v2.MP4", VideoName("a%2Fb%2Fclip.v2")),
        ("custom", "clip.v2", VideoName("clip.v2")),
        ("custom", r"a\b\clip.mp4", VideoName("a%2Fb%2Fclip")),
    ],
)
def test_names(source, videopath, expected):
    assert name_video(source, videopath) == expected


def test_the_names_of_the_released_files(real_data):
    """Each `<source>_<video_id>_<NNN>.mp4` of the samples is what the videopath of its row gives."""
    videopaths = {
        "msr-vtt_video6323": ("msr-vtt", "msr-vtt_TrainValVideo_video6323"),
        "vatex_5H02ohmoKow_000068_000078": ("vatex", "k600_val_5H02ohmoKow_000068_000078"),
        "vatex_dXx58z-yq2g_000003_000013": ("vatex", "k600_val_dXx58z-yq2g_000003_000013"),
    }
    stems = {path.stem for path in (real_data / "synvita-samples").glob("*/*.mp4")}
    named = {f"{source}_{name_video(source, path).video_id}_001" for source, path in videopaths.values()}
    assert named == stems


@given(st.from_regex(r"[A-Za-z0-9_-]{11}", fullmatch=True), st.integers(0, 999_000), st.integers(1, 900))
def test_kinetics_names_in_every_spelling(key, start, length):
    clip = f"{key}_{start:06d}_{start + length:06d}"
    expected = VideoName(clip, float(start), float(start + length), key)
    for path in (clip, f"k600_val_{clip}", f"k600/val/{clip}.mp4", f"videos/{clip}.webm"):
        assert name_video("vatex", path) == expected
    assert times_in_name(clip) == (start, start + length)
    assert name_video("vatex", name_video("vatex", clip).video_id) == expected


def test_a_clip_that_ends_before_it_starts():
    with pytest.raises(SchemaError):
        name_video("vatex", "k600_val_abcdefghijk_000014_000014")


def test_sources_have_one_spelling():
    for name in ("MSR-VTT", "msrvtt", "MSR_VTT", "msr vtt"):
        assert normal_source(name) == "msr-vtt"
    assert [normal_source(name) for name in ("VaTeX", "TEMPO-HL", "SSv2")] == ["vatex", "tempo", "ssv2"]
    for name in ("", "a/b", "..", "ü"):
        with pytest.raises(SchemaError):
            normal_source(name)


def test_stems_and_flat_names():
    assert [video_stem(p) for p in ("a/b.mp4", "b.MKV", "b.txt", ".mp4", "b")] == [
        "b",
        "b",
        "b.txt",
        ".mp4",
        "b",
    ]
    assert flat_name("k600/val/x.mp4") == "k600_val_x"
    assert flat_name("k600_val_x") == "k600_val_x"
    assert times_in_name("video3094") is None
