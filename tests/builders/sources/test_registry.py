"""The SPEC grammar."""

import pytest

from synvita_data.builders.sources import SCHEMES, open_source, parse_spec
from synvita_data.errors import SourceError


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("folder:videos/lavie", ("folder", "videos/lavie")),
        (" Folder: a b ", ("folder", "a b")),
        ("folder:C:x", ("folder", "C:x")),
        ("shapes:", ("shapes", "")),
        ("diffusers:THUDM/CogVideoX-2b@main", ("diffusers", "THUDM/CogVideoX-2b@main")),
        ("command:run {prompts} --out={out}:x", ("command", "run {prompts} --out={out}:x")),
    ],
)
def test_parse(spec, expected):
    assert parse_spec(spec) == expected


@pytest.mark.parametrize("spec", ["sora:model", "folder", "", ":x", "https://example.org"])
def test_unknown_schemes_list_the_known(spec):
    with pytest.raises(SourceError) as caught:
        parse_spec(spec)
    assert all(scheme.written in str(caught.value) for scheme in SCHEMES.values())


def test_a_bare_folder_is_met_with_the_way_to_write_it(tmp_path):
    with pytest.raises(SourceError, match=f"folder:{tmp_path}"):
        open_source(str(tmp_path))


@pytest.mark.parametrize("spec", ["folder:", "folder:no/such/folder"])
def test_folders_that_are_not_there(spec):
    with pytest.raises(SourceError):
        open_source(spec)


def test_the_generator_is_named_or_taken_from_the_folder(tmp_path):
    (tmp_path / "lavie").mkdir()
    assert open_source(f"folder:{tmp_path}/lavie/").generator == "lavie"
    assert open_source(f"folder:{tmp_path}/lavie", generator="LaVie").generator == "LaVie"
