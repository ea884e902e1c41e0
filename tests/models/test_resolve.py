"""Names of models: folders, Hub ids, aliases and revisions, and whose files they are."""

import hashlib
import json

import pytest

from synvita_data.errors import HubError, SynvitaError
from synvita_data.models.resolve import ModelFiles, files_digest, find_checkpoint, locate


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "a@b"  # a folder may have an @ in its name
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "video_llava"}))
    return path


def test_names(folder, monkeypatch):
    assert locate("owner/name") == ModelFiles("owner/name")
    assert locate("owner/name@v1") == ModelFiles("owner/name", "v1")
    assert locate("owner/name", "v2") == ModelFiles("owner/name", "v2")
    aliases = {"short": "owner/long"}
    assert locate("short", aliases=aliases) == ModelFiles("owner/long", None, ("short",))
    assert locate("short@v1", aliases=aliases).revision == "v1"
    assert locate(str(folder)) == ModelFiles(str(folder))
    monkeypatch.setenv("HOME", str(folder.parent))
    assert locate("~/a@b").location == str(folder)
    monkeypatch.chdir(folder.parent)
    assert locate("./a@b/").location == "./a@b/"  # as it was written: keys of stored work hold it


def test_a_folder_has_no_revisions(folder):
    with pytest.raises(SynvitaError, match="a folder has no revisions"):
        locate(str(folder), "main")


def test_files_of_a_folder(folder):
    files = locate(str(folder))
    assert files.model_type() == "video_llava"
    assert files.find("adapter_config.json") is None
    assert files.read("adapter_config.json") is None
    assert files.snapshot(["*.json"]) == folder
    (folder / "config.json").write_text("[]")
    with pytest.raises(SynvitaError, match=r"settings cannot be read.*list"):
        files.model_type()


def test_the_digest_of_a_folder(folder):
    """Names in order, each with the digest of its content, whatever computes that."""
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "README.md").write_text("a card")
    (folder / "below").mkdir()
    (folder / "below" / "x.json").write_text("{}")
    contents = {
        path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".json", ".safetensors")
    }
    lines = "".join(f"{name} {hashlib.sha256(contents[name]).hexdigest()}\n" for name in sorted(contents))
    expected = hashlib.sha256(lines.encode()).hexdigest()[:16]
    assert locate(str(folder)).exact_revision() == expected
    assert files_digest(folder, [folder / name for name in contents]) == expected
    assert files_digest(folder, [folder / "config.json"], lambda path: "0") != files_digest(
        folder, [folder / "config.json"], lambda path: "1"
    )


@pytest.mark.parametrize("name", ["no/such-model", "absent", "bad name!"])
def test_no_model(name):
    with pytest.raises(HubError, match="the model cannot be found"):
        find_checkpoint(name)


def test_errors_name_what_else_is_understood():
    with pytest.raises(HubError, match=r"short, a folder with a config\.json"):
        locate("absent", aliases={"short": "owner/long"}).model_type()
