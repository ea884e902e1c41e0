"""Several folders of real videos as one: the first that has a video gives it, and a number is nobody's own name."""

import pytest

from synvita_data.errors import SchemaError, SourceError
from synvita_data.real_videos.find import RealVideos
from synvita_data.real_videos.roots import RealVideoRoots, Root


@pytest.fixture
def folders(tmp_path):
    """Two folders whose names say nothing, with files of one number, and one of MSR-VTT."""
    for folder, name in (
        ("a", "7.mp4"),
        ("b", "7.mp4"),
        ("b", "8.mp4"),
        ("c", "video12.mp4"),
        ("d", "video12.mp4"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_bytes(b"x")
    return tmp_path


def place(found):
    return None if found is None else f"{found.path.parent.name}/{found.path.name}"


def test_one_folder_is_taken_for_the_tasks_as_ever(folders):
    roots = RealVideoRoots([Root(folders / "a")], source="ssv2")
    alone = RealVideos(folders / "a", source="ssv2")
    for number in ("7", "8"):
        assert roots.find("ssv2", number) == alone.find("ssv2", number)
    assert roots.roots == (alone.root,)


def test_a_number_is_found_where_its_source_was_said(folders):
    unsaid = RealVideoRoots([Root(folders / "a"), Root(folders / "b")], source="ssv2")
    assert unsaid.find("ssv2", "7") is None  # whose 7 would it be?
    said = RealVideoRoots([Root(folders / "a", "next-qa"), Root(folders / "b", "ssv2")])
    assert place(said.find("ssv2", "7")) == "b/7.mp4"
    assert place(said.find("next-qa", "7")) == "a/7.mp4"
    assert said.find("next-qa", "8") is None
    assert said.find("tempo", "7") is None


def test_the_first_folder_that_has_it_gives_it(folders):
    for first, second in (("c", "d"), ("d", "c")):
        roots = RealVideoRoots([Root(folders / "a"), Root(folders / first), Root(folders / second)])
        assert place(roots.find("msr-vtt", "video12")) == f"{first}/video12.mp4"


def test_problems_of_all_folders(folders):
    (folders / "a" / "9.mp4").touch()
    (folders / "b" / "9.mp4").touch()
    roots = RealVideoRoots([Root(folders / "a", "ssv2"), Root(folders / "b", "ssv2")])
    assert roots.find("ssv2", "9") is None
    assert len(roots.problems) == 2
    assert roots.doubts == []


@pytest.mark.parametrize(
    ("text", "folder", "source"),
    [("videos", "videos", None), ("ssv2=videos", "videos", "ssv2"), ("MSRVTT=v/w", "v/w", "msr-vtt"), ("tempo=a=b", "a=b", "tempo")],
)  # fmt: skip
def test_how_a_folder_is_named(text, folder, source):
    root = Root.parse(text)
    assert (root.folder.as_posix(), root.source) == (folder, source)


def test_a_folder_with_an_equals_sign_in_its_name(tmp_path):
    odd = tmp_path / "a=b"
    odd.mkdir()
    assert Root.parse(str(odd)) == Root(odd)


def test_what_is_not_there(tmp_path):
    with pytest.raises(SourceError, match="folder of real videos does not exist"):
        RealVideoRoots([Root(tmp_path / "none")])
    with pytest.raises(SchemaError, match="name of a source"):
        Root.parse("a b/c=videos")
