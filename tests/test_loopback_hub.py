"""Our own Hub answers as the real one where clients look: statuses, error codes, ranges, pages, faults."""

import base64
import hashlib
import http.client
import json

import pytest
from loopback_hub import run_client

REPO = "/api/datasets/synvita/x"


@pytest.fixture
def ask(loopback_hub):
    """Send one request; returns status, headers and body."""
    loopback_hub.add_user("synvita")
    loopback_hub.add_user("mallory")
    loopback_hub.add_user("synvita", role="read")

    def send(method, path, body=None, token="hf_synvita_write", **headers):
        connection = http.client.HTTPConnection(loopback_hub.url.removeprefix("http://"), timeout=60)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, data, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, response.headers, content

    return send


def commit(ask, files, parent=None, branch="main", deleted=()):
    lines = [{"key": "header", "value": {"summary": "s", **({"parentCommit": parent} if parent else {})}}]
    for path, content in files.items():
        encoded = base64.b64encode(content).decode()
        lines.append({"key": "file", "value": {"path": path, "content": encoded, "encoding": "base64"}})
    lines += [{"key": "deletedFile", "value": {"path": path}} for path in deleted]
    return ask("POST", f"{REPO}/commit/{branch}", "\n".join(map(json.dumps, lines)).encode())


@pytest.fixture
def repo(ask):
    assert (
        ask("POST", "/api/repos/create", {"name": "x", "organization": "synvita", "type": "dataset"})[0]
        == 200
    )
    status, _, body = commit(ask, {"a.txt": b"0123456789", "b/c.txt": b"c", "b/d/e.txt": b"e"})
    assert status == 200
    return json.loads(body)["commitOid"]


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [("hf_synvita_write", 404, "RepoNotFound"), (None, 401, "RepoNotFound"), ("hf_wrong", 401, None)],
)
def test_a_missing_repository(ask, token, status, code):
    found, headers, _ = ask("GET", REPO, token=token)
    assert (found, headers["X-Error-Code"]) == (status, code)


def test_who_may_read_and_write(ask, repo, loopback_hub):
    assert ask("GET", REPO, token=None)[0] == 200
    for token, status in ((None, 401), ("hf_mallory_write", 403), ("hf_synvita_read", 403)):
        assert ask("POST", f"{REPO}/tag/main", {"tag": "t"}, token=token)[0] == status
    assert ask("PUT", f"{REPO}/settings", {"visibility": "private"})[0] == 200
    assert ask("GET", REPO)[0] == 200
    assert ask("GET", REPO, token=None)[0] == 401
    status, headers, _ = ask("GET", REPO, token="hf_mallory_write")
    assert (status, headers["X-Error-Code"]) == (404, "RepoNotFound")
    status, _, body = ask("POST", "/api/repos/create", {"name": "x", "organization": "other"})
    assert status == 403
    assert "namespace" in json.loads(body)["error"]
    assert loopback_hub.repos["dataset", "synvita/x"].tags == {}


def test_ranges(ask, repo):
    path = "/datasets/synvita/x/resolve/main/a.txt"
    for wanted, status, content, where in (
        (None, 200, b"0123456789", None),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
    ):
        found = ask("GET", path, **({"Range": wanted} if wanted else {}))
        assert (found[0], found[2], found[1]["Content-Range"]) == (status, content, where)
    status, headers, body = ask("HEAD", path)
    assert (status, headers["Content-Length"], body) == (200, "10", b"")
    assert headers["X-Repo-Commit"] == repo
    # What `git hash-object` prints for these ten bytes.
    assert headers["ETag"] == f'"{hashlib.sha1(b"blob 10" + bytes(1) + b"0123456789").hexdigest()}"'


def test_trees(ask, repo, loopback_hub):
    def paths(query="", of="main"):
        return [entry["path"] for entry in json.loads(ask("GET", f"{REPO}/tree/{of}{query}")[2])]

    assert sorted(paths()) == [".gitattributes", "a.txt", "b"]
    assert sorted(paths("/b")) == ["b/c.txt", "b/d"]
    everything = sorted(paths("?recursive=true"))
    assert everything == [".gitattributes", "a.txt", "b", "b/c.txt", "b/d", "b/d/e.txt"]
    assert ask("GET", f"{REPO}/tree/main/absent")[0] == 404
    loopback_hub.page_size = 4
    _, headers, body = ask("GET", f"{REPO}/tree/main?recursive=true")
    following = headers["Link"].split(">")[0].removeprefix(f"<{loopback_hub.url}")
    rest = ask("GET", following)
    assert sorted(e["path"] for e in json.loads(body) + json.loads(rest[2])) == everything
    assert rest[1]["Link"] is None


def test_commits_and_references(ask, repo):
    assert ask("POST", f"{REPO}/tag/main", {"tag": "v1.0.0"})[0] == 200
    assert ask("POST", f"{REPO}/tag/main", {"tag": "v1.0.0"})[0] == 409
    assert ask("POST", f"{REPO}/branch/side", {})[0] == 200
    status, _, body = commit(ask, {"new.txt": b"n"}, parent=repo, deleted=["a.txt"])
    assert status == 200
    head = json.loads(body)["commitOid"]
    assert commit(ask, {"new.txt": b"m"}, parent=repo)[0] == 412
    assert commit(ask, {}, deleted=["a.txt"])[0] == 404
    assert commit(ask, {}, branch="absent")[0] == 404
    refs = json.loads(ask("GET", f"{REPO}/refs")[2])
    assert {t["name"]: t["targetCommit"] for t in refs["tags"]} == {"v1.0.0": repo}
    assert {b["name"]: b["targetCommit"] for b in refs["branches"]} == {"main": head, "side": repo}
    assert ask("GET", "/datasets/synvita/x/resolve/v1.0.0/a.txt")[0] == 200
    assert ask("GET", "/datasets/synvita/x/resolve/main/a.txt")[0] == 404
    status, headers, _ = ask("GET", f"{REPO}/revision/v9.9.9")
    assert (status, headers["X-Error-Code"]) == (404, "RevisionNotFound")
    assert len(json.loads(ask("GET", f"{REPO}/commits/main")[2])) == 3
    assert ask("DELETE", f"{REPO}/tag/v1.0.0")[0] == 200
    assert ask("DELETE", f"{REPO}/tag/v1.0.0")[0] == 404


def test_large_files(ask, repo):
    content = bytes(100)
    oid = hashlib.sha256(content).hexdigest()
    batch = "/datasets/synvita/x.git/info/lfs/objects/batch"
    objects = {"objects": [{"oid": oid, "size": 100}]}
    href = json.loads(ask("POST", batch, objects)[2])["objects"][0]["actions"]["upload"]["href"]
    path = "/" + href.split("/", 3)[3]
    pointer = {"key": "lfsFile", "value": {"path": "x.parquet", "algo": "sha256", "oid": oid, "size": 100}}
    body = b'{"key": "header", "value": {"summary": "s"}}\n' + json.dumps(pointer).encode()
    assert ask("POST", f"{REPO}/commit/main", body)[0] == 400  # not uploaded yet
    assert ask("PUT", path, b"other", token=None)[0] == 400
    assert ask("PUT", path.replace(path.split("/")[2], "0" * 16), content, token=None)[0] == 403
    assert ask("PUT", path, content, token=None)[0] == 200
    assert "actions" not in json.loads(ask("POST", batch, objects)[2])["objects"][0]
    assert ask("POST", f"{REPO}/commit/main", body)[0] == 200
    entry = json.loads(ask("POST", f"{REPO}/paths-info/main", {"paths": ["x.parquet"]})[2])[0]
    assert entry["lfs"]["oid"] == oid


def test_faults_and_log(ask, repo, loopback_hub):
    loopback_hub.log.clear()
    loopback_hub.fail("tag", how=503, nth=2)
    loopback_hub.fail("commit", how="drop")
    answered = [ask("POST", f"{REPO}/tag/main", {"tag": name})[0] for name in ("a", "b", "c")]
    assert answered == [200, 503, 200]
    with pytest.raises((http.client.HTTPException, OSError)):
        commit(ask, {"n": b"n"})
    loopback_hub.repair()
    loopback_hub.fail("commit", how="drop-answer")
    with pytest.raises((http.client.HTTPException, OSError)):
        commit(ask, {"m": b"m"})
    assert [(r.route, r.status) for r in loopback_hub.log] == [
        ("tag", 200),
        ("tag", 503),
        ("tag", 200),
        ("commit", None),
        ("commit", None),
    ]
    tree = loopback_hub.repos["dataset", "synvita/x"].resolve("main").tree
    assert "n" not in tree
    assert "m" in tree


@pytest.fixture
def served(ask, loopback_hub, tmp_path):
    """A model of two files at a commit of the test's choice."""
    (tmp_path / "config.json").write_text('{"model_type": "tiny"}')
    header = json.dumps({"w": {"dtype": "BF16", "shape": [3, 2], "data_offsets": [0, 12]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(range(12))
    (tmp_path / "model.safetensors").write_bytes(weights)
    loopback_hub.serve("org/tiny", tmp_path, sha="c" * 40, gated="manual")
    loopback_hub.add_user("reader")
    loopback_hub.accept("org/tiny", loopback_hub.users["hf_reader_write"])
    return weights


WEIGHTS = "/org/tiny/resolve/main/model.safetensors"


def test_a_served_model_says_what_it_holds(ask, served):
    status, _, body = ask("GET", "/api/models/org/tiny?blobs=true", token=None)
    info = json.loads(body)
    assert (status, info["sha"], info["gated"]) == (200, "c" * 40, "manual")
    assert info["safetensors"] == {"parameters": {"BF16": 6}, "total": 6}
    assert info["config"] == {"model_type": "tiny"}
    sizes = {each["rfilename"]: each["size"] for each in info["siblings"]}
    assert sizes["model.safetensors"] == len(served)
    digest = {each["rfilename"]: each.get("lfs", {}).get("sha256") for each in info["siblings"]}
    assert digest["model.safetensors"] == hashlib.sha256(served).hexdigest()
    assert digest["config.json"] is None
    at_commit = ask("GET", f"/api/models/org/tiny/revision/{'c' * 40}")
    assert json.loads(at_commit[2])["sha"] == "c" * 40


@pytest.mark.parametrize(
    ("token", "status"), [(None, 401), ("hf_mallory_write", 403), ("hf_reader_write", 200)]
)
def test_a_gated_repository(ask, served, token, status):
    found, headers, _ = ask("GET", WEIGHTS, token=token)
    assert found == status
    assert headers["X-Error-Code"] == (None if status == 200 else "GatedRepo")
    assert ask("GET", "/api/models/org/tiny/tree/main", token=token)[0] == 200


def test_a_renamed_repository_sends_on(ask, served, loopback_hub):
    loopback_hub.rename("org/tiny", "new/tiny")
    for path in (WEIGHTS, "/api/models/org/tiny?blobs=true", "/api/models/org/tiny/tree/main?recursive=true"):
        status, headers, _ = ask("GET", path, token="hf_reader_write")
        assert (status, headers["Location"]) == (307, path.replace("org/tiny", "new/tiny"))
        assert ask("GET", headers["Location"], token="hf_reader_write")[0] == 200
    assert json.loads(ask("GET", "/api/models/new/tiny")[2])["id"] == "new/tiny"


def test_faults_of_files(ask, served, loopback_hub):
    half = len(served) // 2

    def get(**headers):
        return ask("GET", WEIGHTS, token="hf_reader_write", **headers)

    loopback_hub.fail("download", how="flip", path="*.safetensors")
    status, _, content = get()
    assert (status, len(content)) == (200, len(served))
    assert [at for at in range(len(served)) if content[at] != served[at]] == [half]
    loopback_hub.fail("download", how="short", path="*.safetensors")
    assert get()[2] == served[:half]
    loopback_hub.fail("download", how="cut", path="*.safetensors", times=2)
    for wanted in ({}, {"Range": f"bytes={half}-"}):  # nothing behind the middle comes through
        with pytest.raises(http.client.IncompleteRead) as broken:
            get(**wanted)
        assert broken.value.partial == (b"" if wanted else served[:half])
    loopback_hub.fail("download", how=429, path="*.safetensors", headers={"Retry-After": "7"})
    assert ask("GET", "/org/tiny/resolve/main/config.json", token="hf_reader_write")[0] == 200
    status, headers, _ = get()
    assert (status, headers["Retry-After"]) == (429, "7")
    assert get()[2] == served


def test_huggingface_hub_reads_what_is_served(loopback_hub, tmp_path):
    """The real client takes the commit, sizes, names and digests from it; a gate and a new name look right to it."""
    folder = tmp_path / "folder"
    (folder / "vae").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "vae/x.safetensors").write_bytes(bytes(range(100)))
    loopback_hub.serve("old/tiny", folder, sha="d" * 40)
    loopback_hub.rename("old/tiny", "new/tiny")
    loopback_hub.serve("org/data", folder, kind="dataset", gated="auto")
    done = run_client(
        """
        import hashlib, json, os
        from huggingface_hub import HfApi, hf_hub_download, snapshot_download
        from huggingface_hub.errors import GatedRepoError
        info = HfApi().model_info("old/tiny", files_metadata=True)
        folder = snapshot_download("old/tiny")
        blob = os.path.basename(os.path.realpath(f"{folder}/vae/x.safetensors"))
        digest = hashlib.sha256(open(f"{folder}/vae/x.safetensors", "rb").read()).hexdigest()
        try:
            hf_hub_download("org/data", "config.json", repo_type="dataset")
            gate = None
        except GatedRepoError as error:
            gate = error.response.status_code
        gated = HfApi().dataset_info("org/data").gated
        print(json.dumps([info.id, info.sha, os.path.basename(folder), blob == digest, gate, gated]))
        """,
        loopback_hub,
        home=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["new/tiny", "d" * 40, "d" * 40, True, 401, "auto"]
