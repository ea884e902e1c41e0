"""`synvita push` for real, against a Hub of our own on loopback."""

import json
import textwrap
import time

import pytest
from loopback_hub import run_client, run_synvita, start_client
from small_dataset import fake_mp4, read_report, write_report, write_small_dataset

from synvita_data.builders.publish import push as module
from synvita_data.builders.publish.push import push
from synvita_data.cli import main
from synvita_data.commands.push import report
from synvita_data.errors import HubError, SchemaError
from synvita_data.hub.repo import HubRepo, HubUnreachableError, RepoState

REPO = "synvita/videocon-syn"

PRELUDE = """
    import json, os, sys
    from pathlib import Path
    from synvita_data.builders.publish.push import push
    from synvita_data.errors import SynvitaError

    said = {}
    def attempt(name, *arguments, **options):
        try:
            result = push(*arguments, **options)
            said[name] = {
                "upload": [file.path for file in result.release.upload],
                "delete": list(result.release.delete),
                "published": result.published,
                "notes": list(result.notes),
                "load": result.how_to_load(),
                "commit": result.commit,
            }
        except SynvitaError as error:
            said[name] = f"{type(error).__name__}: {error}"
"""


def run(code, hub, home, *arguments, token=None, **environment):
    script = textwrap.dedent(PRELUDE) + textwrap.dedent(code) + "\nprint(json.dumps(said))\n"
    done = run_client(script, hub, *map(str, arguments), home=home, token=token, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def repo_of(hub):
    return hub.repos["dataset", REPO]


def test_push_tag_and_load(loopback_hub, tmp_path):
    """The whole way once: push with the program, load by tag, stream."""
    owner = loopback_hub.add_user("synvita")
    folder = write_small_dataset(tmp_path / "dataset")
    (folder / ".work").mkdir()
    (folder / ".work" / "half.parquet").write_bytes(b"half")
    done = run_client(
        """
        import contextlib, json, sys
        from synvita_data.cli import main
        repo = sys.argv[2]
        sys.argv[:] = ["synvita", "push", *sys.argv[1:3], "--tag", "v0.1.0"]
        with contextlib.suppress(SystemExit):
            main()

        from datasets import load_dataset
        one = load_dataset(repo, "lavie", revision="v0.1.0")
        stream = load_dataset(repo, revision="v0.1.0", split="train", streaming=True)
        print(json.dumps({
            "splits": {name: part.num_rows for name, part in one.items()},
            "videos": [row["synthetic_video"]["bytes"].hex() for row in one["train"]],
            "labels": one["train"].features["misalignment"].int2str(one["train"]["misalignment"]),
            "streamed": [row["synthetic_video"]["bytes"].hex() for row in stream],
            "shards": stream.num_shards,
        }))
        """,
        loopback_hub,
        str(folder),
        REPO,
        home=tmp_path,
        token=owner.token,
    )
    assert done.returncode == 0, done.stderr
    assert f'load_dataset("{REPO}", "cogvideox", revision="v0.1.0")  # default config' in done.stdout
    repo = repo_of(loopback_hub)
    assert repo.private is False
    assert repo.tags == {"v0.1.0": repo.branches["main"]}
    tree = repo.resolve("v0.1.0").tree
    on_disk = [path for path in folder.rglob("*") if path.is_file() and ".work" not in path.parts]
    assert set(tree) == {".gitattributes", *(path.relative_to(folder).as_posix() for path in on_disk)}
    for path in on_disk:
        if path.suffix == ".parquet":
            assert tree[path.relative_to(folder).as_posix()].content == path.read_bytes()
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["splits"] == {"train": 5, "test": 2}
    assert found["videos"] == [fake_mp4("lavie", "train", index).hex() for index in range(5)]
    assert found["streamed"] == [fake_mp4("cogvideox", "train", index).hex() for index in range(5)]
    assert (found["labels"], found["shards"]) == (["object"] * 5, 2)


@pytest.mark.slow
def test_versions_defaults_and_errors(loopback_hub, tmp_path):
    owner = loopback_hub.add_user("synvita")
    loopback_hub.add_user("mallory")
    one = write_small_dataset(tmp_path / "one", configs=("lavie",))
    two = write_small_dataset(tmp_path / "two", content="new", shards={"train": (2, 2, 1), "test": (2,)})
    three = write_small_dataset(tmp_path / "three", configs=("alpha",))
    said = run(
        """
        repo = sys.argv[4]
        one, two, three = map(Path, sys.argv[1:4])
        attempt("first", one, repo, "v0.1.0", private=True)
        attempt("again", one, repo, "v0.1.0")
        attempt("moved", two, repo, "v0.1.0")
        attempt("moved dry", two, repo, "v0.1.0", dry_run=True)
        attempt("second", two, repo, "v0.2.0")
        attempt("third", three, repo, "v0.3.0")
        attempt("first later", one, repo, "v0.1.0")
        attempt("older", three, repo, "v0.2.1", delete_missing=True)
        attempt("wrong token", one, repo, "v1.0.0", token="hf_wrong")
        attempt("another's token", one, repo, "v1.0.0", token="hf_mallory_write")
        attempt("another's name", one, "mallory/x", "v1.0.0")
        attempt("another's name dry", one, "mallory/x", "v1.0.0", dry_run=True)

        from datasets import load_dataset
        def videos(config, version, **options):
            rows = load_dataset(repo, config, revision=version, **options)
            return [row["synthetic_video"]["bytes"].hex() for row in rows]
        said["v0.1.0"] = videos("lavie", "v0.1.0", split="train")
        said["v0.2.0"] = videos("lavie", "v0.2.0", split="train")
        said["v0.2.0 default"] = videos(None, "v0.2.0", split="test")
        said["v0.3.0 default"] = videos(None, "v0.3.0", split="test", streaming=True)
        said["v0.3.0 alpha"] = videos("alpha", "v0.3.0", split="test")
        said["v0.3.0 all"] = sorted(videos("all", "v0.3.0", split="test"))
        for name, version, token in (("no version", "v9.9.9", None), ("no access", "v0.1.0", "hf_wrong")):
            try:
                load_dataset(repo, "lavie", revision=version, token=token, cache_dir="fresh")
            except Exception as error:
                said[name] = f"{type(error).__name__}: {error}"
        """,
        loopback_hub,
        tmp_path,
        one,
        two,
        three,
        REPO,
        token=owner.token,
    )
    repo = repo_of(loopback_hub)
    assert repo.private is True
    assert said["again"]["published"] is True
    assert said["again"]["commit"] == said["first"]["commit"] == repo.tags["v0.1.0"]
    for name in ("moved", "moved dry"):
        assert said[name].startswith("HubError")
        assert "published version never moves" in said[name]
        assert "--tag v0.1.1" in said[name]
    assert said["first later"]["published"] is True  # still what the tag names, whatever came after
    # A second push with other shards and a new config; `cogvideox` would be the default of a new repository.
    assert said["second"]["delete"] == [
        "lavie/train-00000-of-00002.parquet",
        "lavie/train-00001-of-00002.parquet",
    ]
    assert said["second"]["load"][0] == f'load_dataset("{REPO}", "lavie", revision="v0.2.0")'

    def bytes_of(config, split, count, content=""):
        return [fake_mp4(config, split, index, content).hex() for index in range(count)]

    assert said["v0.1.0"] == bytes_of("lavie", "train", 5)
    assert said["v0.2.0"] == bytes_of("lavie", "train", 5, "new")
    assert said["v0.2.0 default"] == bytes_of("lavie", "test", 2, "new")
    assert said["v0.3.0 default"] == bytes_of("lavie", "test", 2, "new")
    assert said["v0.3.0 alpha"] == bytes_of("alpha", "test", 2)
    kept = bytes_of("lavie", "test", 2, "new") + bytes_of("cogvideox", "test", 2, "new")
    assert said["v0.3.0 all"] == sorted(kept + bytes_of("alpha", "test", 2))
    assert not [path for path in said["third"]["upload"] if path.startswith(("lavie/", "cogvideox/"))]
    # Removed only when asked; older versions keep what they had.
    assert any("v0.3.0 exists already and is newer" in note for note in said["older"]["notes"])
    assert any("default config changes from lavie to alpha" in note for note in said["older"]["notes"])
    assert {path.split("/")[0] for path in repo.resolve("v0.2.1").tree if "/" in path} == {"alpha", "figures"}
    assert "lavie/train-00000-of-00003.parquet" in repo.resolve("v0.3.0").tree
    assert set(repo.tags) == {"v0.1.0", "v0.2.0", "v0.3.0", "v0.2.1"}

    assert "does not accept the token" in said["wrong token"]
    assert "no right to do this" in said["another's token"]  # a private repository of somebody else
    assert "no right to do this" in said["another's name"]
    assert said["another's name dry"]["published"] is False
    assert "v9.9.9" in said["no version"]
    assert "401" in said["no access"] or "authenticated" in said["no access"]
    assert ("dataset", "mallory/x") not in loopback_hub.repos


@pytest.mark.slow
def test_a_killed_upload_continues(loopback_hub, tmp_path):
    """SIGKILL while a large file is on its way: the next push sends what is missing, each file once."""
    owner = loopback_hub.add_user("synvita")
    folder = write_small_dataset(tmp_path / "dataset")
    fault = loopback_hub.fail("upload", how="hold", nth=4)
    arguments = ["-m", "synvita_data.cli", "push", str(folder), REPO, "--tag", "v0.1.0"]
    client = start_client(arguments, loopback_hub, home=tmp_path, token=owner.token)
    assert fault.reached.wait(300)
    repo = repo_of(loopback_hub)
    deadline = time.monotonic() + 300
    # Files are sent side by side: those before the one that is held arrive in their own time.
    while len(repo.objects) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    client.kill()
    client.communicate()
    loopback_hub.repair()
    assert repo.tags == {}
    assert len(repo.history("main")) == 1  # nothing visible yet
    stored_before = set(repo.objects)
    loopback_hub.log.clear()
    again = run_synvita(loopback_hub, *arguments[2:], home=tmp_path, token=owner.token)
    assert again.returncode == 0, again.stderr
    sent = [request.path.split("/")[-1] for request in loopback_hub.requests("upload")]
    shards = list(folder.glob("*/*.parquet"))
    assert len(stored_before) >= 3
    assert len(sent) == len(set(sent)) == len(shards) - len(stored_before)
    assert not stored_before & set(sent)
    assert repo.tags == {"v0.1.0": repo.branches["main"]}


@pytest.mark.slow
def test_every_step_may_break(loopback_hub, tmp_path):
    """A line that breaks in an upload, in the commit, after it, at the tag; then one push after another."""
    owner = loopback_hub.add_user("synvita")
    one = write_small_dataset(tmp_path / "one")
    two = write_small_dataset(tmp_path / "two", content="new")
    hub = loopback_hub
    hub.fail("upload", how="drop", nth=2)  # huggingface_hub itself tries again after a second
    hub.fail("commit", how="drop")
    hub.fail("tag", how=500)
    hub.fail("tag", how="drop-answer", nth=3)
    hub.fail("commit", how="drop-answer", nth=3)
    said = run(
        """
        one, two, repo = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
        attempt("commit lost", one, repo, "v0.1.0")
        attempt("tag refused", one, repo, "v0.1.0")
        attempt("through", one, repo, "v0.1.0")
        attempt("answers lost", two, repo, "v0.2.0")
        """,
        hub,
        tmp_path,
        one,
        two,
        REPO,
        token=owner.token,
    )
    assert said["commit lost"].startswith("HubUnreachableError")
    assert "continues where it stopped" in said["commit lost"]
    assert "500" in said["tag refused"]
    assert "continues where it stopped" in said["tag refused"]
    assert said["through"]["upload"] == []  # all there already: only the tag was missing
    repo = repo_of(hub)
    assert repo.tags == {"v0.1.0": said["through"]["commit"], "v0.2.0": said["answers lost"]["commit"]}
    assert [commit.title.split(" (")[0] for commit in repo.history("main")] == [
        "Publish v0.2.0",
        "Publish v0.1.0",
        "initial commit",
    ]
    stored = [request.path.split("/")[-1] for request in hub.requests("upload") if request.status == 200]
    assert len(stored) == len(set(stored)) == len(list(one.glob("*/*.parquet"))) * 2
    assert len([request for request in hub.requests("upload") if request.status is None]) == 1
    for version, folder in (("v0.1.0", one), ("v0.2.0", two)):
        tree = repo.resolve(version).tree
        for path in folder.glob("*/*.parquet"):
            assert tree[path.relative_to(folder).as_posix()].content == path.read_bytes()


@pytest.mark.slow
def test_dry_run_and_what_must_not_be_public(loopback_hub, tmp_path):
    owner = loopback_hub.add_user("synvita")
    folder = write_small_dataset(tmp_path / "dataset")
    embedded = write_small_dataset(tmp_path / "embedded", configs=("lavie",))
    report = read_report(embedded)
    report["configs"]["lavie"]["options"]["embed_real"] = True
    write_report(embedded, report)
    dry = run_synvita(
        loopback_hub,
        *("push", str(folder), REPO, "--tag", "v0.1.0", "--private", "--dry-run"),
        home=tmp_path,
        token=owner.token,
    )
    assert dry.returncode == 0, dry.stderr
    assert "send    lavie/test-00000-of-00001.parquet" in dry.stdout
    assert "nothing was changed; the repository would be created (private)" in dry.stdout
    assert loopback_hub.repos == {}
    said = run(
        """
        folder, embedded, repo = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
        attempt("embedded public", embedded, "synvita/other", "v0.1.0")
        attempt("embedded private", embedded, "synvita/other", "v0.1.0", private=True)
        attempt("embedded again", embedded, "synvita/other", "v0.1.0")
        attempt("public", folder, repo, "v0.1.0")
        attempt("private too late", folder, repo, "v0.2.0", private=True)
        attempt("embedded into public", embedded, repo, "v0.2.0")
        del os.environ["HF_TOKEN"]
        attempt("dry without token", folder, repo, "v0.2.0", dry_run=True)
        attempt("dry of the same", folder, repo, "v0.1.0", dry_run=True)
        attempt("without token", folder, repo, "v0.2.0")
        """,
        loopback_hub,
        tmp_path,
        folder,
        embedded,
        REPO,
        token=owner.token,
    )
    for name in ("embedded public", "embedded into public"):
        assert "embeds real videos" in said[name]
    assert said["embedded again"]["published"] is True
    assert loopback_hub.repos["dataset", "synvita/other"].private is True
    assert repo_of(loopback_hub).private is False
    assert "public already" in said["private too late"]
    # The card names its version, so that a new version of the same data sends the card alone.
    assert said["dry without token"]["upload"] == ["README.md"]
    assert any("no token" in note for note in said["dry without token"]["notes"])
    assert said["dry of the same"]["published"] is True
    assert "no token for the Hub" in said["without token"]
    reads = {"GET", "HEAD"}
    before_writing = [
        r.method for r in loopback_hub.log[: [r.route for r in loopback_hub.log].index("create")]
    ]
    assert set(before_writing) <= reads
    last_write = max(i for i, request in enumerate(loopback_hub.log) if request in loopback_hub.writes())
    assert {request.method for request in loopback_hub.log[last_write + 1 :]} <= reads
    assert set(repo_of(loopback_hub).tags) == {"v0.1.0"}


def test_everything_local_is_checked_before_the_network(tmp_path):
    folder = write_small_dataset(tmp_path / "dataset")
    with pytest.raises(HubError, match=r"vX\.Y\.Z"):
        push(folder, REPO, "0.1")
    with pytest.raises(HubError, match="OWNER/NAME"):
        push(folder, "videocon-syn", "v0.1.0")
    # The tests run offline, which a push says only once the folder has been found whole.
    with pytest.raises(HubError, match="offline mode"):
        push(folder, REPO, "v0.1.0", token="t")
    (folder / "lavie" / "test-00000-of-00001.parquet").unlink()
    with pytest.raises(SchemaError, match="a shard is missing"):
        push(folder, REPO, "v0.1.0", token="t")


def test_a_dry_run_offline_checks_the_folder_alone(tmp_path):
    folder = write_small_dataset(tmp_path / "dataset")
    result = push(folder, REPO, "v0.1.0", dry_run=True)
    assert len(result.release.upload) == len([path for path in folder.rglob("*") if path.is_file()])
    assert any("nothing was compared with the Hub" in note for note in result.notes)
    assert result.commit is None


def test_a_dry_run_that_loses_the_hub_half_way_does_not_call_the_version_published(tmp_path, monkeypatch):
    """The tags were read, and the files were not: nothing was compared."""

    class Lost(HubRepo):
        def check_online(self):
            pass

        def state(self):
            return RepoState(private=True, head="c" * 40, tags={"v0.1.0": "c" * 40})

        def snapshot(self, revision):
            raise HubUnreachableError("the connection broke")

    monkeypatch.setattr(module, "HubRepo", Lost)
    folder = write_small_dataset(tmp_path / "dataset")
    result = push(folder, REPO, "v0.1.0", dry_run=True)
    assert (result.published, result.commit) == (False, None)
    assert "the connection broke" in " ".join(result.notes)
    assert "Nothing to do" not in " ".join(report(result, dry_run=True))


def test_the_program_says_what_is_wrong_and_exits_with_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["synvita", "push", str(tmp_path), REPO, "--tag", "1.0"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "vX.Y.Z" in err


def test_a_token_or_a_home_folder_stops_the_push_before_the_hub_hears_of_it(loopback_hub, tmp_path):
    owner = loopback_hub.add_user("synvita")
    folder = write_small_dataset(tmp_path / "dataset")
    before = (folder / "quarantine.jsonl").read_text()
    code = """
        folder, repo, before = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
        for name, found in (("token", "hf_" + "a1B2c3D4e5" * 3), ("home", "/home/anna/x.mp4")):
            line = json.dumps({"config": "lavie", "row": 8, "found": found})
            (folder / "quarantine.jsonl").write_text(before + line + "\\n")
            attempt(f"{name} dry", folder, repo, "v0.1.0", dry_run=True)
            attempt(name, folder, repo, "v0.1.0")
        from synvita_data.hub.repo import HubRepo
        said["repo"] = HubRepo(repo).state() is None
        attempt("allowed", folder, repo, "v0.1.0", allow_home_folders=True)
    """
    said = run(code, loopback_hub, tmp_path, folder, REPO, before, token=owner.token)
    for name, words in (("token", "Hugging Face token"), ("home", "home folder")):
        for each in (f"{name} dry", name):
            assert said[each].startswith("LeakError: quarantine.jsonl: "), said[each]
            assert words in said[each]
            assert "line 3" in said[each]
    assert said["repo"]
    assert said["allowed"]["commit"]
