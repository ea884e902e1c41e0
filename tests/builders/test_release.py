"""What a new version consists of, worked out from a folder and what the Hub holds. No network."""

import dataclasses
import hashlib
import json
import shutil

import pytest
import yaml
from small_dataset import read_report, write_small_dataset

from synvita_data.builders.publish.folder import read_built_folder
from synvita_data.builders.publish.push import Remote, plan_release
from synvita_data.errors import HubError, SchemaError
from synvita_data.hub.card import default_of, read_card
from synvita_data.hub.repo import RemoteFile, Snapshot


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder for each set of configs the tests need, made once."""
    root = tmp_path_factory.mktemp("folders")
    return {
        configs: write_small_dataset(root / "-".join(configs), configs=configs)
        for configs in (("lavie",), ("alpha",), ("cogvideox",), ("cogvideox", "lavie"))
    }


def plan(folder, remote=None, **options):
    return plan_release(read_built_folder(folder), remote, repo_id="synvita/x", tag="v0.2.0", **options)


def on_hub(release, extra=()):
    """The Hub after `release` was published there: what listing and reading its files would give."""
    contents = {}
    for file in release.files:
        contents[file.path] = file.source if isinstance(file.source, bytes) else file.source.read_bytes()
    contents |= dict(extra)
    files = {
        path: RemoteFile(
            len(data),
            hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(),
            hashlib.sha256(data).hexdigest() if path.endswith(".parquet") else None,
        )
        for path, data in contents.items()
    }
    card = contents["README.md"].decode()
    return Remote(
        snapshot=Snapshot("c" * 40, files),
        report=json.loads(contents["build.json"]),
        quarantine=contents.get("quarantine.jsonl", b"").decode(),
        default=default_of(read_card(card, file="card").data),
        foreign={},
    )


def text_of(release, path):
    return next(file.source for file in release.files if file.path == path).decode()


def card_head(release):
    return yaml.safe_load(text_of(release, "README.md").split("---\n")[1])


def test_a_first_version_sends_everything_the_card_last(folders):
    folder = folders["cogvideox", "lavie"]
    release = plan(folder)
    on_disk = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {file.path for file in release.upload} == on_disk
    assert release.upload[-1].path == "README.md"
    assert (release.unchanged, release.delete, release.kept, release.removed) == ((), (), (), ())
    assert (release.default, set(release.configs)) == ("cogvideox", {"cogvideox", "lavie", "all"})
    assert 'load_dataset("synvita/x", revision="v0.2.0")' in text_of(release, "README.md")
    assert text_of(release, "build.json") == (folder / "build.json").read_text()


def test_an_empty_quarantine_list_is_published_too(folders, tmp_path):
    folder = shutil.copytree(folders["lavie",], tmp_path / "clean")
    (folder / "quarantine.jsonl").write_text("")
    release = plan(folder)
    assert text_of(release, "quarantine.jsonl") == ""
    again = plan(folder, on_hub(release))
    assert (again.upload, again.delete) == ((), ())


def test_the_same_content_again_changes_nothing(folders):
    first = plan(folders["cogvideox", "lavie"])
    again = plan(folders["cogvideox", "lavie"], on_hub(first))
    assert (again.upload, again.delete) == ((), ())
    assert len(again.unchanged) == len(first.files)


def test_shards_of_an_older_cut_go(folders, tmp_path):
    coarse = write_small_dataset(tmp_path / "coarse", configs=("lavie",), shards={"train": (5,)})
    remote = on_hub(plan(folders["lavie",]), {"eval.yaml": b"name: x", "data/other.parquet": b"theirs"})
    release = plan(coarse, remote)
    assert set(release.delete) == {
        "lavie/train-00000-of-00002.parquet",
        "lavie/train-00001-of-00002.parquet",
        "lavie/test-00000-of-00001.parquet",
    }


def test_configs_only_on_the_hub_stay_with_their_description(folders):
    both, cog = folders["cogvideox", "lavie"], folders["cogvideox",]
    remote = on_hub(plan(folders["lavie",]))
    release = plan(cog, remote)
    assert (release.kept, release.removed, release.delete) == (("lavie",), (), ())
    assert not [file.path for file in release.files if file.path.startswith("lavie/")]
    # The parts fit together as if both configs had been built into one folder.
    report = read_report(both)
    assert json.loads(text_of(release, "build.json")) == report
    lines = (both / "quarantine.jsonl").read_text().splitlines()
    assert sorted(text_of(release, "quarantine.jsonl").splitlines()) == sorted(lines)
    head, expected = card_head(release), yaml.safe_load((both / "README.md").read_text().split("---\n")[1])
    for parts in (head, expected):
        for config in parts["configs"]:
            config.pop("default", None)
    assert head == expected
    # … but the config that was default stays so, although a new `cogvideox` would be chosen.
    assert default_of(card_head(release)) == release.default == "lavie"


def test_a_new_config_before_it_in_the_alphabet_does_not_take_the_default(folders):
    release = plan(folders["alpha",], on_hub(plan(folders["lavie",])))
    assert default_of(card_head(release)) == release.default == "lavie"
    other = plan(folders["alpha",], on_hub(plan(folders["lavie",])), default="alpha")
    assert default_of(card_head(other)) == other.default == "alpha"
    union = plan(folders["alpha",], on_hub(plan(folders["lavie",])), default="all")
    assert default_of(card_head(union)) == "all"
    with pytest.raises(HubError, match="one of all, alpha, lavie"):
        plan(folders["alpha",], on_hub(plan(folders["lavie",])), default="videocrafter2")


def test_configs_only_on_the_hub_go_when_asked(folders):
    remote = on_hub(plan(folders["cogvideox", "lavie"]))
    release = plan(folders["lavie",], remote, delete_missing=True)
    assert (release.kept, release.removed) == ((), ("cogvideox",))
    gone = {path for path in remote.snapshot.files if path.startswith("cogvideox/")}
    assert set(release.delete) == gone | {"figures/vqascore-difference-cogvideox.png"}
    assert (release.configs, release.default) == (("lavie",), "lavie")  # its default is gone


def test_a_kept_config_must_be_whole(folders):
    remote = on_hub(plan(folders["lavie",]))
    del remote.snapshot.files["lavie/test-00000-of-00001.parquet"]
    with pytest.raises(HubError, match="damaged on the Hub"):
        plan(folders["alpha",], remote)


def test_a_kept_config_of_another_schema_version(folders):
    remote = on_hub(plan(folders["lavie",]))
    remote.report["schema_version"] = "2.0"
    with pytest.raises(SchemaError, match="another schema version"):
        plan(folders["alpha",], remote)


def test_somebody_elses_configs_are_not_touched_unasked(folders):
    files = {"x/train-0.parquet": RemoteFile(1, "a", "b"), "README.md": RemoteFile(1, "a", None)}
    remote = Remote(Snapshot("c" * 40, files), None, "", "x", {"x": ("x/train-0.parquet",)})
    with pytest.raises(HubError, match="did not publish"):
        plan(folders["lavie",], remote)
    release = plan(folders["lavie",], remote, delete_missing=True)
    assert (release.removed, release.delete) == (("x",), ("x/train-0.parquet",))


def test_a_card_edited_by_hand_is_published_as_it_is(folders, tmp_path):
    folder = shutil.copytree(folders["cogvideox", "lavie"], tmp_path / "edited")
    text = (folder / "README.md").read_text() + "\nWritten by hand.\n"
    (folder / "README.md").write_text(text)
    assert text_of(plan(folder), "README.md") == text
    remote = dataclasses.replace(on_hub(plan(folder)), default="lavie")
    release = plan(folder, remote)
    assert default_of(card_head(release)) == release.default == "lavie"
    assert text_of(release, "README.md").endswith("\nWritten by hand.\n")
    with pytest.raises(HubError, match="edited by hand"):
        plan(folder, on_hub(plan(folders["alpha",])))
