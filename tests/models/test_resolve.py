"""Names of models: folders, Hub ids, aliases and revisions, and whose files they are."""

import hashlib
import json
import subprocess
import sys

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


@pytest.mark.parametrize("name", ["no/such-model", "absent", "bad name!", "~nobody-here/model"])
def test_no_model(name):
    with pytest.raises(HubError, match="the model cannot be found"):
        find_checkpoint(name)


def test_errors_name_what_else_is_understood():
    with pytest.raises(HubError, match=r"short, a folder with a config\.json"):
        locate("absent", aliases={"short": "owner/long"}).model_type()


def test_names_are_read_without_torch():
    script = (
        "import sys, synvita_data.models.resolve, synvita_data.models.runtime, synvita_data.scoring.open\n"
        "from synvita_data.models import FAMILIES\n"
        "print(sorted({'torch', 'transformers', 'av', 'datasets'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_revision_of_a_loaded_model_is_the_commit_that_was_loaded(folder, tmp_path, monkeypatch):
    """A branch may get another commit while gigabytes are read."""
    from types import SimpleNamespace

    import huggingface_hub

    from synvita_data.models.loading import loaded_revision

    def download(name, file, revision, **_):
        path = tmp_path / "snapshots" / (revision if revision != "main" else "b" * 40) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    loaded = SimpleNamespace(config=SimpleNamespace(_commit_hash="a" * 40))
    assert loaded_revision("owner/name", loaded, "main") == "a" * 40
    unknown = SimpleNamespace(config=SimpleNamespace())
    assert loaded_revision("owner/name", unknown, "main") == "b" * 40
    assert loaded_revision(str(folder), loaded) == ModelFiles(str(folder)).exact_revision()
