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


def test_a_folder_in_llavas_own_layout_says_how_to_convert_it(folder, tmp_path):
    """transformers would take it for its own LLaVA; tests/video_llava_original/ has whole folders."""
    lora = r"convert video-llava-lora DIR OUT --base BASE"
    for name, content, beside, words in (
        (
            "video",
            {"mm_video_tower": "x"},
            None,
            r"a model in the layout of LLaVA.*convert video-llava DIR OUT",
        ),
        (
            "lora",
            {"mm_video_tower": "x"},
            "adapter_config.json",
            rf"an adapter in the layout.*beside it.*{lora}",
        ),
        ("bin", {"mm_video_tower": "x"}, "adapter_model.bin", rf"an adapter in the layout.*{lora}"),
        ("image", {"mm_vision_tower": "x"}, None, r"llava-hf/llava-1\.5-7b-hf"),
    ):
        place = tmp_path / name
        place.mkdir()
        (place / "config.json").write_text(json.dumps({"model_type": "llava", **content}))
        if beside:
            (place / beside).write_text("{}")
        with pytest.raises(SynvitaError, match=words):
            find_checkpoint(str(place))
        with pytest.raises(SynvitaError, match=words):
            find_checkpoint(str(folder), adapter=str(place))
    # transformers' own LLaVA is not meant.
    place = tmp_path / "hf"
    place.mkdir()
    (place / "config.json").write_text(json.dumps({"model_type": "llava", "image_token_index": 32000}))
    assert find_checkpoint(str(place)).model_type == "llava"


def test_an_adapter_of_a_language_model_alone(tmp_path):
    base, adapter = tmp_path / "vicuna", tmp_path / "adapter"
    for place, name, content in (
        (base, "config.json", {"model_type": "llama"}),
        (adapter, "adapter_config.json", {"base_model_name_or_path": str(base)}),
    ):
        place.mkdir()
        (place / name).write_text(json.dumps(content))
    (adapter / "adapter_model.safetensors").touch()
    with pytest.raises(SynvitaError, match=r"sees no video.*convert video-llava-lora"):
        find_checkpoint(str(adapter))
    (adapter / "adapter_model.bin").touch()
    with pytest.raises(SynvitaError, match=r"layout of LLaVA's own code.*adapter_model.bin, for .*vicuna"):
        find_checkpoint(str(adapter))
