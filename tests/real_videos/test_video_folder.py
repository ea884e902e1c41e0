"""Walking a folder of videos: order, hidden files, symlinks."""

import os
import sys

import pytest

from synvita_data.errors import SourceError, UnsafePathError
from synvita_data.files import check_relative, resolve_under
from synvita_data.real_videos.files import walk_videos


def put(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"v")
    return root


def test_videos_in_a_fixed_order(tmp_path):
    root = put(
        tmp_path / "r", "b/2.mp4", "a.mp4", "b/1.WEBM", "c.txt", ".hidden/x.mp4", "._a.mp4", "b/d/e.mov"
    )
    bad = []
    assert list(walk_videos(root, bad.append)) == ["a.mp4", "b/1.WEBM", "b/2.mp4", "b/d/e.mov"]
    assert bad == []


def test_symlinks(tmp_path):
    outside = put(tmp_path / "outside", "x.mp4")
    root = put(tmp_path / "r", "a/1.mp4", "b/2.mp4")
    (root / "out").symlink_to(outside)
    (root / "out.mp4").symlink_to(outside / "x.mp4")
    (root / "gone.mp4").symlink_to(root / "nothing.mp4")
    (root / "a" / "b").symlink_to(root / "b")  # a/b -> b and b/a -> a: neither is above itself
    (root / "b" / "a").symlink_to(root / "a")
    (root / "up").symlink_to("..")
    bad = []
    found = list(walk_videos(root, bad.append))
    assert found == ["a/1.mp4", "a/b/2.mp4", "b/2.mp4", "b/a/1.mp4"]
    assert {type(error) for error in bad} == {UnsafePathError}
    assert sorted(os.path.relpath(error.file, root) for error in bad) == ["out", "out.mp4", "up"]


def test_a_root_that_is_itself_a_symlink(tmp_path):
    put(tmp_path / "r", "1.mp4")
    (tmp_path / "link").symlink_to(tmp_path / "r")
    assert list(walk_videos(tmp_path / "link", pytest.fail)) == ["1.mp4"]


@pytest.mark.skipif(os.geteuid() == 0 or sys.platform == "win32", reason="root may read every folder")
def test_a_folder_that_may_not_be_read(tmp_path):
    root = put(tmp_path / "r", "1.mp4", "closed/2.mp4")
    (root / "closed").chmod(0)
    bad = []
    try:
        assert list(walk_videos(root, bad.append)) == ["1.mp4"]
    finally:
        (root / "closed").chmod(0o755)
    assert [type(error) for error in bad] == [SourceError]


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "a/../../b",
        "a\0b",
        "C:\\x",
        "\\\\host\\x",
        "..\\x",
        "",
        " x",
        "a\n",
    ],
)
def test_paths_are_refused_before_and_at_the_disk(tmp_path, path):
    for refuse in (lambda: check_relative(path, file="t.csv", row=3), lambda: resolve_under(tmp_path, path)):
        with pytest.raises(UnsafePathError):
            refuse()
    with pytest.raises(UnsafePathError, match=r"t\.csv, row 3"):
        check_relative(path, file="t.csv", row=3)


@pytest.mark.parametrize("path", ["a.mp4", "a/b c/d..e.mp4", "…/ü.mp4", "ab:c.mp4"])
def test_other_paths_pass(tmp_path, path):
    check_relative(path)
    assert resolve_under(tmp_path, path) == tmp_path / path
