"""Archives of videos: read whole, cut, damaged, and made to harm."""

import gzip
import io
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from released_videos import add_to_tar, write_layout

from synvita_data.errors import SourceError, UnsafePathError, VideoError
from synvita_data.synthetic_videos import archives
from synvita_data.synthetic_videos.archives import Archive, archive_kind

VIDEOS = {f"vatex_abcdefghijk_00000{n}_000010_001.mp4": bytes([n]) * (1000 * n + 7) for n in range(5)}
FILES = {"tar": "x.tar", "tar.gz": "x.tar.gz", "zip": "x.zip", "parquet": "x/train-00000.parquet"}


@pytest.fixture(params=sorted(FILES))
def whole(request, tmp_path):
    return write_layout(tmp_path / "whole", request.param, VIDEOS, "x") / FILES[request.param]


def extract(archive, names, folder):
    """What of `names` could be read, and what not."""
    bad = {}
    targets = {name: folder / f"{number}.mp4" for number, name in enumerate(names)}
    archive.extract(targets, lambda name, error: bad.setdefault(name, error))
    assert not list(folder.glob(".part-*"))
    return {name: path.read_bytes() for name, path in targets.items() if path.exists()}, bad


def named(videos):
    return {name.rpartition("/")[2]: data for name, data in videos.items()}


def test_every_member_is_read_with_its_bytes(whole, tmp_path):
    archive = Archive.of(whole)
    listing = archive.listing()
    assert (len(listing.videos), listing.problems) == (5, [])
    found, bad = extract(archive, listing.videos, tmp_path)
    assert (named(found), bad) == (VIDEOS, {})
    one = listing.videos[3]
    assert one in archive.together(one)
    assert named(extract(Archive.of(whole), [one], tmp_path / "one")[0]) == {
        one.rpartition("/")[2]: VIDEOS[one.rpartition("/")[2]]
    }


def test_a_member_that_is_not_there(whole, tmp_path):
    with pytest.raises(VideoError, match="does not hold"):
        Archive.of(whole).extract({"x.mp4": tmp_path / "x.mp4"})


def test_a_cut_archive_says_so_and_gives_what_it_has(whole, tmp_path):
    data = whole.read_bytes()
    whole.write_bytes(data[: len(data) * 2 // 3])
    archive = Archive.of(whole)
    listing = archive.listing()
    assert len(listing.problems) == 1
    assert str(whole) in str(listing.problems[0])
    found, bad = extract(archive, listing.videos, tmp_path)
    assert named(found).items() <= VIDEOS.items()
    assert found.keys() | bad.keys() == set(listing.videos)
    with pytest.raises(VideoError, match=r"damaged, or was cut; x\.mp4 was not reached"):
        archive.extract({"x.mp4": tmp_path / "x.mp4"})
    if whole.suffix == ".tar":  # what stands before the cut is there
        assert len(found) >= 2


@pytest.mark.parametrize("cut", [600, 1024, 1536, 2000, -512, -1024])
def test_a_tar_cut_at_any_block_is_never_taken_for_whole(tmp_path, cut):
    """tarfile takes a header that was cut for the end of the archive."""
    path = write_layout(tmp_path, "tar", VIDEOS, "x") / "x.tar"
    data = path.read_bytes().rstrip(b"\0")
    end = (len(data) + 511) // 512 * 512  # where the end mark begins
    path.write_bytes(path.read_bytes()[: cut if cut > 0 else end + cut + 512])
    listing = Archive.of(path).listing()
    assert listing.problems
    assert len(listing.videos) <= 5


def test_a_damaged_member_of_a_zip_costs_itself_alone(tmp_path):
    path = write_layout(tmp_path, "zip", VIDEOS, "x") / "x.zip"
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.infolist()[2]
    data[info.header_offset + 30 + len(info.filename) + 100] ^= 0x55
    path.write_bytes(data)
    archive = Archive.of(path)
    found, bad = extract(archive, archive.listing().videos, tmp_path)
    assert list(bad) == [info.filename]
    assert "damaged" in str(bad[info.filename])
    assert len(found) == 4


def test_names_that_leave_and_members_that_are_no_files_are_refused(tmp_path):
    path = tmp_path / "x.tar"
    names = ["../out.mp4", "/etc/out.mp4", "a/../../out.mp4", "C:\\out.mp4", "x::y.mp4", "\udcff.mp4"]
    with tarfile.open(path, "w") as archive:
        for name in names:
            add_to_tar(archive, name, b"1")
        add_to_tar(archive, "link.mp4", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add_to_tar(archive, "hard.mp4", type=tarfile.LNKTYPE, linkname="ok.mp4")
        add_to_tar(archive, "pipe.mp4", type=tarfile.FIFOTYPE)
        add_to_tar(archive, "notes.txt", b"text")
        add_to_tar(archive, "ok.mp4", b"video")
    listing = Archive.of(path).listing()
    assert listing.videos == ["ok.mp4"]
    assert listing.others == 1
    assert [type(error) for error in listing.problems] == [UnsafePathError] * (len(names) + 3)


def test_links_in_a_zip_are_refused(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link.mp4")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("../out.mp4", b"1")
        archive.writestr("ok.mp4", b"video")
    listing = Archive.of(path).listing()
    assert listing.videos == ["ok.mp4"]
    assert [type(error) for error in listing.problems] == [UnsafePathError] * 2


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip", "parquet"])
def test_two_members_of_one_name(tmp_path, kind):
    """Equal bytes are one video; of others none is taken: `tar x` would leave the last, a reader finds the first."""
    path = tmp_path / f"x.{kind}"
    members = [("a.mp4", b"1"), ("b.mp4", b"3"), ("a.mp4", b"2"), ("c.mp4", b"4"), ("b.mp4", b"3")]
    if kind.startswith("tar"):
        with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as archive:
            for name, data in members:
                add_to_tar(archive, name, data)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members:
                archive.writestr(name, data)
    else:
        cells = [{"bytes": data, "path": name} for name, data in members]
        pq.write_table(pa.table({"video": cells}), path, row_group_size=2)
    archive = Archive.of(path)
    assert (archive.listing().videos, archive.listing().problems) == (["a.mp4", "b.mp4", "c.mp4"], [])
    bad = []
    targets = {name: tmp_path / "to" / name for name in archive.listing().videos}
    archive.extract(targets, lambda name, error: bad.append((name, error.problem)))
    assert bad == [("a.mp4", "an archive holds two videos of one name")]
    assert {path.name: path.read_bytes() for path in (tmp_path / "to").iterdir()} == {
        "b.mp4": b"3",
        "c.mp4": b"4",
    }


def test_bombs_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_MAX_READ", 1 << 20)
    zeros = bytes(40 << 20)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.mp4", zeros)
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        add_to_tar(archive, "bomb.mp4", zeros)
    for name in ("x.zip", "x.tar.gz"):
        listing = Archive.of(tmp_path / name).listing()
        assert listing.videos == []
        assert "unpacks to too much" in str(listing.problems[0])
    # A header that asks for as much memory as it likes.
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 4 << 30
    (tmp_path / "y.tar.gz").write_bytes(gzip.compress(info.tobuf() + bytes(1 << 20)))
    assert "too large" in str(Archive.of(tmp_path / "y.tar.gz").listing().problems[0])


def test_a_member_that_is_larger_than_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 3000)
    path = write_layout(tmp_path, "tar", VIDEOS, "x") / "x.tar"
    listing = Archive.of(path).listing()
    assert len(listing.videos) == 3
    assert all("too large" in str(error) for error in listing.problems)


def test_a_parquet_file_without_videos(tmp_path):
    pq.write_table(pa.table({"caption": ["a"], "score": [0.5]}), tmp_path / "x.parquet")
    listing = Archive.of(tmp_path / "x.parquet").listing()
    assert "no column of videos" in str(listing.problems[0])


def test_a_row_of_parquet_without_bytes(tmp_path):
    cells = [{"bytes": b"video", "path": "a_x_001.mp4"}, {"bytes": None, "path": "b_x_001.mp4"}]
    pq.write_table(pa.table({"video": cells}), tmp_path / "x.parquet")
    archive = Archive.of(tmp_path / "x.parquet")
    found, bad = extract(archive, archive.listing().videos, tmp_path)
    assert (list(found), list(bad)) == (["a_x_001.mp4"], ["b_x_001.mp4"])


def test_a_full_disk_is_not_taken_for_a_damaged_archive(tmp_path):
    path = write_layout(tmp_path, "tar", VIDEOS, "x") / "x.tar"
    archive = Archive.of(path)
    name = archive.listing().videos[0]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError):
        archive.extract({name: tmp_path / "file" / "x.mp4"}, lambda *_: None)


def test_kinds_of_files():
    kinds = {
        "a.TAR": "tar",
        "a.tgz": "tar",
        "b/a.tar.gz": "tar",
        "a.zip": "zip",
        "a.parquet": "parquet",
        "a.mp4": None,
    }
    assert {name: archive_kind(name) for name in kinds} == kinds
    with pytest.raises(SourceError):
        Archive("a.rar", io.BytesIO)
