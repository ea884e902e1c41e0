"""Walking a folder of videos: order, hidden files, symlinks."""

import os
import sys

import pytest

from synvita_data.builders.dataset.options import default_config
from synvita_data.errors import SourceError, UnsafePathError
from synvita_data.files import check_relative, folder_name, resolve_under
from synvita_data.real_videos.files import MappedVideo, read_mapping, walk_videos
from synvita_data.real_videos.find import RealVideos


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


def snapshot(cache, repo="datasets--owner--MSR-VTT"):
    """A snapshot in the Hub's cache: its file is a link to the repository's blobs."""
    put(cache, f"{repo}/blobs/0a1b", f"{repo}/refs/main")
    folder = cache / repo / "snapshots" / ("c" * 40)
    (folder / "test").mkdir(parents=True)
    (folder / "test" / "7.mp4").symlink_to("../../../blobs/0a1b")
    return folder


@pytest.mark.parametrize("below", ["", "test"])
def test_files_of_a_snapshot_in_the_hubs_cache(tmp_path, below):
    root = snapshot(tmp_path / "hub") / below
    name = "7.mp4" if below else "test/7.mp4"
    assert list(walk_videos(root, pytest.fail)) == [name]
    # Under its own name: a blob has no suffix.
    assert resolve_under(root, name) == root / name
    assert read_mapping({"ssv2_7": name}, root.resolve()) == {"ssv2_7": MappedVideo(root / name)}


@pytest.mark.parametrize(
    "target",
    ["{other}/blobs/0a1b", "{own}/refs/main", "{own}/blobs/deep/x", "{own}/blobs/out", "{own}/blobs"],
)
def test_links_of_a_snapshot_lead_to_its_own_blobs_alone(tmp_path, target):
    hub = tmp_path / "hub"
    other = snapshot(hub, "datasets--owner--other").parent.parent
    root = snapshot(hub)
    own = root.parent.parent
    put(own / "blobs", "deep/x")
    (own / "blobs" / "out").symlink_to(put(tmp_path, "secret") / "secret")
    (root / "test" / "8.mp4").symlink_to(target.format(other=other, own=own))
    bad = []
    assert list(walk_videos(root, bad.append)) == ["test/7.mp4"]
    assert [type(error) for error in bad] == [UnsafePathError]
    with pytest.raises(UnsafePathError, match="symlink"):
        resolve_under(root, "test/8.mp4")


def test_blobs_of_a_folder_that_is_no_cache(tmp_path):
    root = snapshot(tmp_path, "videos")
    with pytest.raises(UnsafePathError, match="symlink"):
        resolve_under(root, "test/7.mp4")


def test_a_snapshot_is_called_as_its_repository(tmp_path):
    root = snapshot(tmp_path)
    assert (folder_name(root), folder_name(root / "test")) == ("MSR-VTT", "test")
    (tmp_path / "link").symlink_to(root / "test")
    assert folder_name(tmp_path / "link") == "link"
    assert default_config(f"root:{root}") == "MSR-VTT"
    # So a bare number is a video of the dataset that the repository is called after.
    folder = snapshot(tmp_path, "datasets--owner--something-something-v2")
    assert RealVideos(folder).find("ssv2", "7").reference == "test/7.mp4"
    assert RealVideos(folder, {"ssv2_8": "test/7.mp4"}).find("ssv2", "8").reference == "test/7.mp4"
    assert RealVideos(root).find("ssv2", "7") is None
