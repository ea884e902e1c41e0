"""The names of the authors' videos, and the generator that a path names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.errors import SchemaError, UnsafePathError
from synvita_data.synthetic_videos.names import ClipName, generator_in, normal_generator, parse_clip_name
from synvita_data.synthetic_videos.reference import VideoReference, parse_reference

key = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", min_size=11, max_size=11)
seconds = st.integers(0, 999_998)
IDS = {
    "msr-vtt": st.integers(0, 99_999).map(lambda n: f"video{n}"),
    "tempo": st.integers(0, 99_999).map(str),
    "vatex": st.builds(lambda k, s: f"{k}_{s:06d}_{s + 1:06d}", key, seconds),
    "kinetics": st.builds(lambda k, s: f"{k}_{s:06d}_{s + 1:06d}", key, seconds),
    "activitynet": key.map(lambda k: f"v_{k}"),
    # Any other source: no scheme, and any id that is one part of a path.
    "custom": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,30}[A-Za-z0-9]", fullmatch=True),
}
clips = st.sampled_from(sorted(IDS)).flatmap(
    lambda source: st.builds(ClipName, st.just(source), IDS[source], st.integers(1, 999))
)


@given(clips, st.sampled_from(["", ".mp4", ".MP4"]), st.sampled_from(["", "a/", "cogvideox/b c/"]))
def test_a_name_is_read_as_it_was_written(clip, suffix, folder):
    assert parse_clip_name(f"{folder}{clip.stem()}{suffix}") == clip


@given(clips)
def test_other_spellings_of_a_source_are_the_same_clip(clip):
    spellings = {"msr-vtt": ["MSRVTT", "msr_vtt", "MSR-VTT"], "tempo": ["TEMPO", "tempo_hl"]}
    for spelling in spellings.get(clip.source, [clip.source.upper()]):
        assert parse_clip_name(f"{spelling}_{clip.video_id}_{clip.number:03d}.mp4") == clip


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("msr-vtt_video6323_001.mp4", ("msr-vtt", "video6323", 1)),
        ("vatex_5H02ohmoKow_000068_000078_001.mp4", ("vatex", "5H02ohmoKow_000068_000078", 1)),
        ("vatex_dXx58z-yq2g_000003_000013_012.mp4", ("vatex", "dXx58z-yq2g_000003_000013", 12)),
        ("tempo_videos_1524_002.mp4", ("tempo", "videos_1524", 2)),  # an id of nobody's scheme stays whole
        ("tempo_tempo_videos_1524_002.mp4", ("tempo", "1524", 2)),
        ("kinetics600_abcdefghijk_000001_000002_003", ("kinetics", "abcdefghijk_000001_000002", 3)),
    ],
)
def test_names_of_the_release(name, found):
    clip = parse_clip_name(name)
    assert (clip.source, clip.video_id, clip.number) == found


@pytest.mark.parametrize(
    "name",
    ["", "x.mp4", "001.mp4", "_001.mp4", "vatex_001.mp4", "msr-vtt_video1.mp4", "msr-vtt_video1_01.mp4"]
    + ["msr-vtt_video1_000.mp4", "msr-vtt_video1_0001.mp4", "y5xuvHpDPZQ_000005_000015.mp4", "a b_x_001.mp4"]
    + ["vatex_abcdefghijk_000009_000003_001.mp4", "msr-vtt_video1_٠٠١.mp4", "msr-vtt_.._001.mp4"],
)
def test_other_names(name):
    assert parse_clip_name(name) is None


@given(st.text(), st.integers(1, 999))
def test_no_name_breaks_the_parser(text, number):
    for name in (text, f"vatex_{text}_{number:03d}", f"{text}_{number:03d}.mp4"):
        clip = parse_clip_name(name)
        assert clip is None or parse_clip_name(clip.stem()) == clip


@pytest.mark.parametrize(
    ("parts", "generator"),
    [
        (["CogVideoX-5b", "train"], "cogvideox"),
        (["cogvideox", "LaVie.tar.gz", "train"], "lavie"),  # the nearest
        (["VideoCrafter2"], "videocrafter2"),
        (["cogvideox", "lavie_and_videocrafter"], "cogvideox"),  # a part that names two says nothing
        (["videos", "train"], None),
        ([], None),
    ],
)
def test_the_generator_of_a_path(parts, generator):
    assert generator_in(parts) == generator


def test_a_generator_has_one_name():
    assert [normal_generator(name) for name in ("CogVideoX-2b", "LaVie", "wan")] == [
        "cogvideox",
        "lavie",
        "wan",
    ]


part = st.from_regex(r"[A-Za-z0-9_-]([A-Za-z0-9 _.@:#%-]{0,12}[A-Za-z0-9_-])?", fullmatch=True).filter(
    lambda text: "::" not in text
)
paths = st.lists(part, min_size=1, max_size=3).map("/".join).filter(lambda path: path[1:2] != ":")


@given(paths, st.booleans(), st.sampled_from([None, "tar", "zip", "parquet"]), paths)
def test_a_reference_is_read_as_it_was_written(path, hub, kind, member):
    place = ("me/videos", "a" * 40) if hub else (None, None)
    reference = VideoReference(path, *place, kind, None if kind is None else member)
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    "path", ["../x.mp4", "/etc/passwd", "a/../../x.mp4", "C:\\x.mp4", "", "hf", "zip://../x::a.zip"]
)
def test_references_that_leave_their_root(path):
    if path == "hf":
        path = f"hf://datasets/me/videos@{'a' * 40}/../../x.mp4"
    with pytest.raises(UnsafePathError):
        parse_reference(path)


@pytest.mark.parametrize(
    "text",
    [
        "hf://datasets/me/videos@main/x.mp4",
        "https://a.org/x.mp4",
        "rar://x::a.rar",
        "file:///x.mp4",
        "zip://::a",
    ],
)
def test_texts_that_are_no_references(text):
    with pytest.raises(SchemaError):
        parse_reference(text)
