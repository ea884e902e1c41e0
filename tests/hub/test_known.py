"""Every repository of the Hub that docs, recipes or code name is known, pinned where that is possible, and renamed ones load."""

import json
import re
from pathlib import Path

import pytest
from huggingface_hub import constants

from synvita_data.builders.generators.base import Recipe, Request, request_key
from synvita_data.builders.vqascore.models import ALIASES
from synvita_data.errors import SynvitaError
from synvita_data.hub.known import KNOWN, canonical, held, known, pinned
from synvita_data.hub.known_page import page
from synvita_data.models.resolve import find_checkpoint, locate
from synvita_data.tasks import COLUMNS, TASKS

# Where a Hub id stands, whoever its owner is.
PLACES = re.compile(
    r"""(?:huggingface\.co/(?:datasets/|spaces/)?|hf:|diffusers:|\bhf\ download\ |from_pretrained\(\s*["']|snapshot_download\(\s*["']
    |load_dataset\(\s*["']|load_triplets\(\s*["']|open_scorer\(\s*["']|find_checkpoint\(\s*["']|hub_path=["']|repo_id=["']
    |^model:\s|^data:\s|synvita\ evaluate\ )([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)""",
    re.VERBOSE | re.MULTILINE,
)
# Quoted: both halves begin like the name of an organisation or of a model.
QUOTED = re.compile(r"""[`"']([A-Z][\w-]*[a-z][\w-]*/[A-Z][\w.-]*\d[\w.-]*)(?:@[\w.-]+)?[`"']""")
OWNERS = sorted({name.partition("/")[0] for one in KNOWN for name in (one.name, *one.former)})
OWNED = re.compile(rf"(?<![\w./-])((?:{'|'.join(map(re.escape, OWNERS))})/[A-Za-z0-9][\w.-]*)")
# Which name sources and earlier names on purpose.
OURS = ("docs/checkpoints.md", "synvita_data/hub/known.py", "synvita_data/hub/known_page.py")
# Folders, owners of examples, and pages of the Hub.
NOBODY = ("owner", "OWNER", "ORG", "me", "demo", "out", "models", "runs", "docs", "repos")
NOT_OF_THE_HUB = {
    "lucazanella/synvita",  # on GitHub
    "synvita/videocon-syn",  # where our own dataset will lie
}


def texts(root: Path) -> dict[str, str]:
    """Path -> text of docs, recipes, examples and code; tests name repositories of nobody."""
    found = [root / "README.md", *(root / "docs").glob("*.md")]
    for folder in ("synvita_data", "builders", "training", "evaluate_metrics", "examples", "benchmarks"):
        found += [
            path for path in (root / folder).rglob("*") if path.suffix in (".py", ".yaml", ".md", ".json")
        ]
    return {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in found}


def named(text: str) -> set[str]:
    """Hub ids in a text."""
    without = re.sub(r"github\.com/[\w./-]+", "", text)
    ids = {match[1] for pattern in (PLACES, QUOTED, OWNED) for match in pattern.finditer(without)}
    ids = {name.rstrip(".").removesuffix(".git") for name in ids}
    files = (".py", ".md", ".csv", ".json", ".yaml", ".parquet", ".mp4", ".pt", ".ckpt", ".bin")
    ids = {name for name in ids if not name.endswith(files) and name.partition("/")[0] not in NOBODY}
    return ids - NOT_OF_THE_HUB


def test_names_are_found():
    text = """see https://huggingface.co/some-one/their_model/tree/main, `Qwen/Qwen9-VL`, `hf download a/b --x`
    model = "LanguageBind/Video-LLaVA-7B-hf"; github.com/Vchitect/LaVie; `training/config.py`; diffusers:c/d@main
    [x](https://github.com/lucazanella/other) and lucazanella/synvita; synvita evaluate e/f; load_dataset("g/h.i")"""
    expected = {
        "some-one/their_model",
        "Qwen/Qwen9-VL",
        "a/b",
        "LanguageBind/Video-LLaVA-7B-hf",
        "c/d",
        "e/f",
        "g/h.i",
    }
    assert named(text) == expected


def test_every_repository_that_is_named_is_known(repo_root):
    unknown = {
        f"{path}: {name}"
        for path, text in texts(repo_root).items()
        for name in named(text)
        if known(name) is None and path not in OURS
    }
    assert unknown == set(), "add them to synvita_data/hub/known.py"


def test_todays_names_are_used(repo_root):
    old = {name for one in KNOWN for name in one.former}
    for path, text in texts(repo_root).items():
        if path not in ("README.md", *OURS):  # (the README is written anew in this release)
            assert not named(text) & old, path


@pytest.mark.parametrize("one", KNOWN, ids=lambda one: one.name)
def test_an_entry_is_whole(one):
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", one.name)
    assert (one.commit is None) == bool(one.no_commit)
    assert one.commit is None or re.fullmatch(r"[0-9a-f]{40}", one.commit)
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", one.recorded)
    assert one.use
    assert one.record
    assert one.source.startswith("https://") or "index" in one.source
    assert known(one.name) is one
    assert canonical(one.name) == one.name
    for name in one.former:
        assert known(name) is one
        assert canonical(name) == one.name


def test_no_name_stands_for_two():
    names = [name for one in KNOWN for name in (one.name, *one.former)]
    assert len(names) == len(set(names))


def test_other_names_stay_as_they_are():
    for name in ("somebody/else", "folder", "./THUDM/CogVideoX-2b", ""):
        assert (known(name), canonical(name), held(name), pinned(name)) == (None, name, name, None)


def test_a_renamed_repository_is_found_under_both_names(tmp_path, monkeypatch):
    """Under today's; or under the one that the cache has, so that nothing is fetched twice."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("THUDM/CogVideoX-2b", "zai-org/CogVideoX-2b"):
        assert locate(name).location == "zai-org/CogVideoX-2b"
    (tmp_path / "models--THUDM--CogVideoX-2b" / "snapshots").mkdir(parents=True)
    for name in ("THUDM/CogVideoX-2b", "zai-org/CogVideoX-2b"):
        assert locate(name).location == "THUDM/CogVideoX-2b"
    (tmp_path / "models--zai-org--CogVideoX-2b" / "snapshots").mkdir(parents=True)
    for name in ("THUDM/CogVideoX-2b@main", "zai-org/CogVideoX-2b@main"):
        assert locate(name).location == "zai-org/CogVideoX-2b"


def test_a_folder_of_an_old_name_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "THUDM" / "CogVideoX-2b").mkdir(parents=True)
    assert locate("THUDM/CogVideoX-2b").location == "THUDM/CogVideoX-2b"


def test_a_new_name_changes_no_key():
    """A generator's name, which its keys and seeds hold, is the last part of the Hub's; owners are in no key."""
    request = Request("pair", "a caption", 1)
    for one in KNOWN:
        for name in one.former:
            keys = {
                request_key(Recipe("diffusers", each.rpartition("/")[2], "c" * 40, {}, {}).digest, request)
                for each in (name, one.name)
            }
            assert len(keys) == 1, f"{name} is in the keys of videos made with it"


def test_an_adapter_of_a_renamed_base_fits(tmp_path, monkeypatch):
    """The adapter's settings have one name, the user gives the other; and no other base fits."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("THUDM--CogVideoX-2b", "zai-org--CogVideoX-5b"):
        folder = tmp_path / f"models--{name}"
        snapshot = folder / "snapshots" / ("c" * 40)
        snapshot.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("c" * 40)
        (snapshot / "config.json").write_text('{"model_type": "video_llava"}')
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    for trained_on in ("THUDM/CogVideoX-2b", "zai-org/CogVideoX-2b"):
        (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": trained_on}))
        for named in ("THUDM/CogVideoX-2b", "zai-org/CogVideoX-2b"):
            assert (
                find_checkpoint(named, adapter=str(adapter)).base == "THUDM/CogVideoX-2b"
            )  # as it is cached
        assert find_checkpoint(str(adapter)).base == "THUDM/CogVideoX-2b"
        with pytest.raises(SynvitaError, match="for another base"):
            find_checkpoint("zai-org/CogVideoX-5b", adapter=str(adapter))


def test_short_names_stand_for_the_recorded_commit():
    for short, name in ALIASES.items():
        files = locate(short, aliases=ALIASES)
        assert (files.location, files.revision) == (name, pinned(name))
        assert locate(f"{short}@main", aliases=ALIASES).revision == "main"
        assert locate(short, "v1", aliases=ALIASES).revision == "v1"
        assert locate(name, aliases=ALIASES).revision is None  # a name that is typed: its default branch


def test_a_short_name_that_is_cached_at_another_commit_says_what_to_do(tmp_path, monkeypatch):
    from synvita_data.builders.vqascore import find_model
    from synvita_data.errors import HubError

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(HubError, match=r"llava-1.5-7b means commit b234b80: name llava-1.5-7b@main"):
        find_model("llava-1.5-7b")
    with pytest.raises(HubError) as error:
        find_model("llava-1.5-7b@main")
    assert "means commit" not in str(error.value)


def test_recipes_name_the_recorded_commit_and_drop_it_with_another_model():
    from typing import get_type_hints

    from synvita_data.training.config import SynViTAConfig
    from synvita_data.training.recipe import own_recipes, read_recipe

    types = get_type_hints(SynViTAConfig)
    for name in own_recipes():
        run = read_recipe(name, training_types=types).run
        assert run.model_revision == pinned(run.model), name
    mine = read_recipe("video-llava/synvita", ["model=me/mine"], training_types=types)
    assert mine.run.model_revision is None
    assert mine.changed == ("model",)
    both = read_recipe("video-llava/synvita", ["model_revision=v1", "model=me/mine"], training_types=types)
    assert both.run.model_revision == "v1"


def test_tasks_are_pinned():
    for task in TASKS.values():
        assert task.hub_revision == (None if task.hub_path is None else pinned(task.hub_path))
        # A file that was never read has no commit that it was read at.
        assert task.hub_revision is not None or task.hub_path is None or not task.checked
    assert [TASKS[name].hub_path for name in COLUMNS if TASKS[name].hub_revision] == ["videocon/videocon"] * 3


def test_the_page_is_written_from_the_entries(repo_root):
    """Mend it with: python -m synvita_data.hub.known_page > docs/checkpoints.md"""
    assert (repo_root / "docs/checkpoints.md").read_text(encoding="utf-8") == page()


def test_the_page_names_every_entry():
    text = page()
    for one in KNOWN:
        assert f"**{one.name}**" in text
        assert one.use.replace("|", "\\|") in text
        assert one.commit is None or one.commit in text
