"""The Hub layer: tags, names, comparisons, and its errors and commits against a Hub of our own."""

import hashlib
import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback_hub import run_client

from synvita_data.errors import HubError
from synvita_data.hub.repo import HubRepo, LocalFile, RemoteFile, RepoState, check_version_tag, version_tags


@given(st.tuples(*[st.integers(0, 10**6)] * 3))
def test_version_tags_give_their_numbers(numbers):
    assert check_version_tag("v{}.{}.{}".format(*numbers)) == numbers


@pytest.mark.parametrize(
    "tag", ["1.0.0", "v1.0", "v1.0.0.0", "v01.0.0", "v1.0.0-rc1", "V1.0.0", " v1.0.0", "v1.0.0\n", "main", ""]
)
def test_other_tags_are_refused(tag):
    with pytest.raises(HubError, match=r"vX\.Y\.Z"):
        check_version_tag(tag)


@given(st.lists(st.tuples(*[st.integers(0, 30)] * 3), unique=True), st.randoms())
def test_versions_are_ordered_by_number(numbers, random):
    shuffled = [*numbers]
    random.shuffle(shuffled)
    names = ["v{}.{}.{}".format(*number) for number in shuffled] + ["latest", "v2"]
    assert version_tags(names) == ["v{}.{}.{}".format(*number) for number in sorted(numbers)]


@pytest.mark.parametrize(
    "name", ["x", "a/b/c", "https://hub/a/b", "/b", "a/", "a b/c", "a/..", "é/x", "a/b--c"]
)
def test_names_that_are_no_repository(name):
    with pytest.raises(HubError, match="OWNER/NAME"):
        HubRepo(name)


@pytest.mark.parametrize(
    "content", [b"", b"hello\n", bytes(range(256)) * 300], ids=["empty", "line", "large"]
)
def test_local_files_know_what_git_and_lfs_call_them(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    git = subprocess.run(
        ["git", "hash-object", path], capture_output=True, text=True, check=True
    ).stdout.strip()
    for file in (LocalFile("f", path), LocalFile("f", content)):
        assert (file.size, file.blob_id) == (len(content), git)
        assert file.sha256 == hashlib.sha256(content).hexdigest()
        assert file.equals(RemoteFile(len(content), git, None))
        assert file.equals(RemoteFile(len(content), "pointer's id", hashlib.sha256(content).hexdigest()))
        assert not file.equals(RemoteFile(len(content), git, "0" * 64))
        assert not file.equals(RemoteFile(len(content), "0" * 40, None))
        assert not file.equals(None)


def test_a_file_of_another_size_is_not_read(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    file = LocalFile("f", path)
    assert file.size == 3
    path.unlink()
    assert not file.equals(RemoteFile(4, "x", "y"))


def test_offline_mode_is_said_before_anything_else():
    # The tests run with HF_HUB_OFFLINE=1.
    for ask in (HubRepo("a/b", token="t").check_token, HubRepo("a/b").state):
        with pytest.raises(HubError, match="offline mode") as caught:
            ask()
        assert "HF_HUB_OFFLINE" in str(caught.value)


@pytest.mark.parametrize("option", ["--private", "push_private"])
def test_a_public_repository_is_refused_where_a_private_one_is_asked_for(option):
    repo = HubRepo("a/b")
    public, private = RepoState(False, "c" * 40, {}), RepoState(True, "c" * 40, {})
    for state, wanted in ((None, True), (private, True), (public, False)):
        repo.check_visibility(state, private=wanted, option=option)
    with pytest.raises(HubError, match=f"public already.*leave {option} out"):
        repo.check_visibility(public, private=True, option=option)


SCENARIO = """
    import json, sys
    from synvita_data.errors import HubError
    from synvita_data.hub.repo import HubRepo, LocalFile
    from synvita_data.hub import repo as layer

    said = {}
    def attempt(name, call, *arguments, **options):
        try:
            said[name] = call(*arguments, **options)
        except HubError as error:
            said[name] = f"{type(error).__name__}: {error}"
        return said[name]
"""


def run_scenario(code, hub, tmp_path, token=None, *arguments):
    done = run_client(
        SCENARIO + code + "\n    print(json.dumps(said, default=str))",
        hub,
        *arguments,
        home=tmp_path,
        token=token,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_errors_say_what_to_do(loopback_hub, tmp_path):
    owner = loopback_hub.add_user("synvita")
    loopback_hub.add_user("mallory")
    loopback_hub.add_user("synvita", role="read")
    said = run_scenario(
        """
    mine = HubRepo("synvita/x", token=sys.argv[1])
    mine.create()
    mine.tag("v0.1.0", mine.state().head)
    mine.tag("v0.10.0", mine.state().head)
    HubRepo("synvita/secret", token=sys.argv[1]).create(private=True)
    attempt("no token", HubRepo("synvita/x").check_token)
    attempt("wrong token", HubRepo("synvita/x", token="hf_wrong").check_token)
    attempt("wrong token reads", HubRepo("synvita/x", token="hf_wrong").state)
    attempt("read token", HubRepo("synvita/x", token="hf_synvita_read").check_token)
    attempt("whose", mine.check_token)
    attempt("other owner", HubRepo("mallory/x", token=sys.argv[1]).create)
    other = HubRepo("synvita/x", token="hf_mallory_write")
    attempt("not mine", other.commit, [LocalFile("a", b"a")], [], message="m", parent=mine.state().head)
    attempt("tag not mine", other.tag, "v3.0.0", mine.state().head)
    attempt("private unseen", HubRepo("synvita/secret", token="hf_mallory_write").state)
    attempt("private seen", lambda: HubRepo("synvita/secret", token=sys.argv[1]).state().private)
    attempt("absent", HubRepo("synvita/absent").state)
    attempt("absent files", HubRepo("synvita/absent").snapshot, "main")
    attempt("wrong version", mine.resolve, "v9.9.9")
    attempt("version", lambda: mine.resolve("v0.1.0") == mine.state().head)
    attempt("no such file", mine.read_text, "absent.txt", mine.state().head)
    attempt("no such commit", mine.read_text, "absent.txt", "c" * 40)
    head = mine.state().head
    mine.commit([LocalFile("a", b"a")], [], message="m", parent=head)
    attempt("head moved", mine.commit, [LocalFile("a", b"b")], [], message="m", parent=head)
    attempt("tag taken", mine.tag, "v0.1.0", mine.state().head)
    attempt("same tag again", mine.tag, "v0.1.0", head)
    attempt("bad card", mine.commit, [LocalFile("README.md", b"---\\na: [\\n---\\n")], [], message="m",
            parent=mine.state().head)
        """,
        loopback_hub,
        tmp_path,
        None,
        owner.token,
    )
    expected = {
        "no token": "no token for the Hub",
        "wrong token": "does not accept the token",
        "wrong token reads": "does not accept the token",
        "read token": "role 'read'",
        "other owner": "no right to do this",
        "not mine": "no right to do this",
        "tag not mine": "no right to do this",
        "absent files": "does not exist, or the token may not see it",
        "wrong version": "synvita/x has no version v9.9.9. Expected: one of v0.1.0, v0.10.0",
        "no such file": "absent.txt",
        "no such commit": "cannot read absent.txt: there is no such revision",
        "head moved": "somebody else changed the repository",
        "tag taken": "--tag v0.10.1",
        "bad card": "Invalid metadata in README.md",
    }
    for name, words in expected.items():
        assert said[name].startswith("HubError"), said[name]
        assert words.lower() in said[name].lower(), f"{name}: {said[name]}"
    assert said["whose"] == "synvita"
    assert (said["private unseen"], said["private seen"], said["absent"]) == (None, True, None)
    assert (said["version"], said["same tag again"]) == (True, None)
    repo = loopback_hub.repos["dataset", "synvita/x"]
    assert set(repo.tags) == {"v0.1.0", "v0.10.0"}
    assert len(set(repo.tags.values())) == 1


def test_no_way_to_the_hub(tmp_path):
    said = run_scenario(
        """
    attempt("state", HubRepo("synvita/x", token="t").state)
    attempt("token", HubRepo("synvita/x", token="t").check_token)
        """,
        "http://127.0.0.1:9",  # nothing listens there
        tmp_path,
    )
    for name in ("state", "token"):
        assert said[name].startswith("HubUnreachableError"), said[name]
        assert "http://127.0.0.1:9" in said[name]


@pytest.mark.slow
def test_commits_large_lost_and_in_parts(loopback_hub, tmp_path):
    owner = loopback_hub.add_user("synvita")
    loopback_hub.page_size = 3
    fault = loopback_hub.fail("commit", how="drop-answer", nth=2)
    said = run_scenario(
        """
    for kind, options in (("model", {}), ("space", {"space_sdk": "static"}), ("dataset", {})):
        repo = HubRepo("synvita/x", repo_type=kind)
        repo.create(**options)
        assert repo.state().private is False
    first = [LocalFile(f"d/{i}.parquet", bytes([i]) * 3000) for i in range(4)] + [LocalFile("a.txt", b"a")]
    one = repo.commit(first, [], message="one", parent=repo.state().head)
    said["one"] = sorted(one.files)
    # The answer to this commit gets lost; it was carried out all the same, and that is found out.
    two = repo.commit([LocalFile("a.txt", b"aa")], ["d/3.parquet"], message="two", parent=one.commit)
    said["two is the head"] = two.commit == repo.state().head
    said["two"] = {path: file.size for path, file in two.files.items()}
    layer.COMMIT_FILES = layer.BATCH_FILES = 2
    more = [LocalFile(f"e/{i}.parquet", bytes([i]) * 50) for i in range(5)]
    three = repo.commit(more, ["d/0.parquet"], message="three", parent=two.commit)
    said["three"] = sorted(three.files)
        """,
        loopback_hub,
        tmp_path,
        owner.token,
    )
    assert fault.reached.is_set()
    shards = [f"d/{i}.parquet" for i in range(4)]
    assert said["one"] == sorted([".gitattributes", "a.txt", *shards])
    assert said["two is the head"] is True
    attributes = said["two"].pop(".gitattributes")
    assert attributes > 0
    assert said["two"] == {"a.txt": 2, "d/0.parquet": 3000, "d/1.parquet": 3000, "d/2.parquet": 3000}
    added = [f"e/{i}.parquet" for i in range(5)]
    assert said["three"] == sorted([".gitattributes", "a.txt", "d/1.parquet", "d/2.parquet", *added])
    repo = loopback_hub.repos["dataset", "synvita/x"]
    titles = [commit.title for commit in repo.history("main")]
    assert titles == [
        "three (part 3)",
        "three (part 2)",
        "three (part 1)",
        "two",
        "one",
        "initial commit",
    ]
    assert repo.resolve("main").tree["e/3.parquet"].content == bytes([3]) * 50
    assert len(loopback_hub.requests("upload")) == 9  # each large file once
    assert {kind for kind, _ in loopback_hub.repos} == {"model", "space", "dataset"}
