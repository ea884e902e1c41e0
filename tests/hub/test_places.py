"""Places on somebody's machine inside text."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.hub.places import HOME, own_places, short_path, without_own_places, without_places

PART = st.text("abcdefgh0123456789_-", min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/me/x.mp4", "x.mp4"),
        ("a path inside /home/me/videos/real", "a path inside videos/real"),
        ("file:///home/me/a/b", "a/b"),
        ("/mnt/home/me/x", "x"),
        ("/Users/anna/clip.mp4 is bad", "clip.mp4 is bad"),
        ("C:\\Users\\me\\x\\y.mp4", "x/y.mp4"),
        ("D:\\data\\v\\x.mp4", "v/x.mp4"),
        ("[Errno 2]: '/data/a/b/c.mp4'", "[Errno 2]: 'b/c.mp4'"),
        ("command:/home/bob/x", "command:x"),
        (
            "work/home/school and/or https://x.org/home/page/1",
            "work/home/school and/or https://x.org/home/page/1",
        ),
        ("a man at home / in the root/cellar", "a man at home / in the root/cellar"),
    ],
)
def test_paths_are_cut_and_words_stay(text, expected):
    assert without_places(text) == expected


@given(
    st.lists(PART, min_size=3, max_size=6),
    st.sampled_from(["{}", "cannot open '{}'", "x: {}, and more", "({})"]),
)
def test_nothing_above_the_last_two_parts_is_told(parts, sentence):
    told = without_places(sentence.format("/" + "/".join(parts)))
    assert told == sentence.format("/".join(parts[-2:] if parts[0] != "home" else parts[2:][-2:]))


def test_the_runs_own_folders_are_not_told_even_with_spaces(tmp_path, monkeypatch):
    home = tmp_path / "somebody" / "my home"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    assert str(home) in own_places()
    told = without_places({"a": [f"cannot read {home}/my videos/x.mp4"], "n": 3, "none": None})
    assert "somebody" not in str(told)
    assert "my home" not in str(told)
    assert told["n"] == 3


def test_records_keep_names_and_lose_places():
    record = {
        "stage": "videos",
        "id": "/home/odd/id",
        "reason": "VideoError",
        "problem": "no video",
        "file": "/home/me/clips/x.mp4",
        "expected": "a path inside /srv/data/videos",
        "row": 3,
    }
    shown = without_own_places(record)
    assert (shown["id"], shown["row"], shown["file"]) == ("/home/odd/id", 3, "clips/x.mp4")
    assert shown["expected"] == "a path inside data/videos"


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/home/me/x.csv", "x.csv"), ("a/b/c.csv", "b/c.csv"), ("c.csv", "c.csv"), ("../x/c.csv", "x/c.csv")],
)
def test_a_short_path_is_the_last_folder_and_the_name(path, expected):
    assert short_path(path) == expected


def test_root_and_the_top_of_the_disk_are_no_words_to_look_for(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/"))
    monkeypatch.setattr(Path, "cwd", lambda: Path(os.sep + "tmp"))
    assert own_places() == ()
    assert HOME.search("the root of /rooted trees") is None
