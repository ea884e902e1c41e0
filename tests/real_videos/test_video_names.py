"""The names VideoCon and the SynViTA release give to videos."""

import csv
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.annotations import read_annotations
from synvita_data.errors import SchemaError
from synvita_data.real_videos.names import (
    VideoName,
    flat_name,
    name_id,
    name_url,
    name_video,
    normal_path,
    normal_source,
    path_of_id,
    times_in_name,
    video_stem,
)
from synvita_data.schema import make_pair_id

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


PARTS = st.text("ab/\\._% 25F0éе\u0301\u00e9", min_size=1, max_size=10)


def _names_a_file(path):
    try:
        return bool(normal_path(path))
    except SchemaError:
        return False


@given(st.lists(PARTS.filter(_names_a_file), min_size=2, max_size=8, unique=True))
def test_two_paths_never_have_one_id(paths):
    """But for spellings of one path and the suffix, which is no part of an id."""
    ids = {}
    for path in paths:
        video_id = name_video("custom", path).video_id
        spelled = "/".join(part for part in path.replace("\\", "/").split("/") if part not in ("", "."))
        assert ids.setdefault(video_id, spelled) == spelled
        assert path_of_id(video_id) == spelled
        assert "/" not in video_id
        assert video_id == video_id.strip(" ")
        assert name_video("custom", f"{spelled}.mp4").video_id == video_id
        assert name_id("custom", video_id).video_id == video_id


@given(PARTS.filter(_names_a_file))
def test_names_without_folders_stay_as_they_are(name):
    """What datasets of before called a video by its file's name alone, they still do."""
    if not set("/\\%") & set(name) and name == name.strip():
        assert name_video("custom", name + ".mp4").video_id == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "...",
        "a/",
        "a/..",
        "../a",
        "a/../b",
        "..mp4",
        "a/...mp4",
        "\xa0a.mp4",
        "a\0b.mp4",
        "a\ufeff.mp4",
        "/",
        "\\",
        " ",
    ],
)
def test_paths_that_name_no_video(name):
    with pytest.raises(SchemaError, match="names no video"):
        name_video("custom", name)
    with pytest.raises(SchemaError, match="names no video"):
        name_id("custom", name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0001/video.mp4", "0002/video.mp4"),
        ("a/b.mp4", "a_b.mp4"),
        ("a/b.mp4", "a%2Fb.mp4"),
        ("a%2Fb.mp4", "a%252Fb.mp4"),
        ("A/v.mp4", "a/v.mp4"),
        ("v.mp4", "V.mp4"),
        ("\u00e9.mp4", "e\u0301.mp4"),
        ("a b.mp4", "a_b.mp4"),
        ("a .mp4", "a.mp4"),
        ("a..mp4", "a.mp4"),
        (" a.mp4", "a.mp4"),
        ("a /b.mp4", "a/b.mp4"),
        ("x" * 300 + "/v.mp4", "x" * 301 + "/v.mp4"),
    ],
)
@pytest.mark.parametrize("source", ["custom", "vatex", "msr-vtt", "tempo"])
def test_paths_that_cleaning_could_take_for_one(source, one, other):
    first, second = (name_video(source, path).video_id for path in (one, other))
    assert first != second
    assert make_pair_id(source, first, "c", "n") != make_pair_id(source, second, "c", "n")


@pytest.mark.parametrize("folder", ["", "videos/", "a/b/", "a\\b\\", "./"])
@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("msr-vtt", "video7010"),
        ("vatex", "--7VUM9MKg4_000136_000146"),
        ("tempo", "1524"),
        ("ssv2", "104599"),
        ("next-qa", "4010069381"),
        ("activitynet", "1303"),
        ("activitynet", "v_uqiMw7tQ1Cc"),
        ("activitynet", "-uqiMw7tQ1C"),
        ("shapes", "s0-00017"),
        ("shapes", "w2-587549f5-00017"),
    ],
)
def test_names_of_their_sources_need_no_folder(source, name, folder):
    for suffix in ("", ".mp4", ".AVI"):
        assert name_video(source, f"{folder}{name}{suffix}").video_id == name


@pytest.mark.parametrize(
    ("source", "url", "video_id", "key"),
    [
        ("custom", "https://www.youtube.com/watch?v=abcdefghijk&t=3", "abcdefghijk", "abcdefghijk"),
        ("custom", "https://m.youtube.com/shorts/abcdefghijk", "abcdefghijk", "abcdefghijk"),
        ("custom", "https://youtu.be/abcdefghijk", "abcdefghijk", "abcdefghijk"),
        ("custom", "https://A.org/v/x.mp4?token=secret", "%2F%2Fa.org%2Fv%2Fx", None),
        ("custom", "http://a.org/v/x.mp4", "%2F%2Fa.org%2Fv%2Fx", None),
        ("custom", "https://b.org/v/x.mp4", "%2F%2Fb.org%2Fv%2Fx", None),
        ("custom", "https://b.org:81/v/x.mp4", "%2F%2Fb.org:81%2Fv%2Fx", None),
        ("custom", "s3://b.org/v/x.mp4", "s3:%2F%2Fb.org%2Fv%2Fx", None),
        ("activitynet", "https://b.org/anno_videos/1303.mp4", "1303", None),
        ("msr-vtt", "https://b.org/all/video7.mp4", "video7", None),
    ],
)
def test_addresses(source, url, video_id, key):
    assert (name_url(source, url).video_id, name_url(source, url).youtube_key) == (video_id, key)


def test_addresses_that_only_their_query_tells_apart():
    first, second = (name_url("custom", f"https://a.org/uc?id={n}").video_id for n in "12")
    assert first != second
    assert "id=" not in first
    for url in ("https://a.org", "https://a.org/?v=1", "not an address", "https://[x"):
        with pytest.raises(SchemaError):
            name_url("custom", url)


def test_the_ids_of_the_real_rows_are_those_of_before(real_data):
    """Digests made with commit 79b0f4d; the same from paths with folders, flattened, or without any."""
    with (real_data / "videocon-16k" / "triplets.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 16_856
    for spell in (_flat, _with_folders, _bare_name):
        ids = dict.fromkeys(
            make_pair_id(
                row["source"],
                name_video(row["source"], spell(row["videopath"])).video_id,
                row["caption"].strip(),
                row["neg_caption"].strip(),
            )
            for row in rows
        )
        assert hashlib.sha256("\n".join(ids).encode()).hexdigest() == (
            "f14095e6e194070cfbd114302891f08ddf69dab8ed2ad797b3ceb8e62d3ceb9c"
        )


def _flat(path):
    return path


def _with_folders(path):
    """As VideoCon publishes it."""
    for flat, folder in (
        ("k600_val_", "k600/val/"),
        ("msr-vtt_TrainValVideo_", "msr-vtt/TrainValVideo/"),
        ("msr-vtt_TestVideo_", "msr-vtt/TestVideo/"),
        ("tempo_videos_", "tempo/videos/"),
    ):
        path = path.replace(flat, folder, 1) if path.startswith(flat) else path
    return path + ".mp4"


def _bare_name(path):
    return _with_folders(path).rpartition("/")[2]


def test_the_annotation_revision_of_ssv2_temporal_is_that_of_before(real_data, tmp_path):
    file = real_data / "ssv2-temporal" / "eval_ssv2_temporal.csv"
    text = file.read_text(encoding="utf-8")
    for name, folder in (("a.csv", "videos/"), ("b.csv", ""), ("c.csv", "data/ssv2/")):
        copy = tmp_path / name
        copy.write_text(text.replace("videos/", folder), encoding="utf-8")
        assert read_annotations("ssv2-temporal", copy).revision == "e3bca0a250f06be0"
