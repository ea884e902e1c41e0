"""What the Hub is asked, and what its answers become: gated, renamed, gone, slow, half a cache."""

import json
import shutil

import pytest
from doctor_reports import said
from loopback_hub import LoopbackHub
from loopback_hub.client import client_environment
from loopback_hub.forked import Commands, Done

LOOK = """
import json, sys
from synvita_data.doctor import HubQuestions, look_at
hub = HubQuestions(timeout=float(sys.argv[0]))
looks = json.loads(sys.argv[1])
print(json.dumps([
    look_at(name, revision, kind, hub=hub).to_record() | {"paths": sorted(look_at(name, revision, kind, hub=hub).paths)}
    for name, revision, kind in looks
]))
"""
FETCH = "import sys; from huggingface_hub import snapshot_download; "
FETCH += "snapshot_download(sys.argv[0], repo_type=sys.argv[1], allow_patterns=sys.argv[2:])"
# One process forks for all, not one for each process of pytest.
pytestmark = pytest.mark.xdist_group("doctor")
# What the doctor loads; it loads nothing else.
IMPORTS = ("datasets", "rich.console", "safetensors", "synvita_data.cli", "synvita_data.doctor")


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    """Runs the commands of all tests of this file, each in a fork of one process."""
    with LoopbackHub() as none:
        yield Commands(none, tmp_path_factory.mktemp("forks"), IMPORTS)


@pytest.fixture
def run(forks, loopback_hub, tmp_path):
    """Run a command, or `-c CODE`, against the Hub of the test, with caches of its own."""

    def start(*arguments: object, token: str | None = None, **environment: str) -> Done:
        known = client_environment(loopback_hub, tmp_path, token)
        names = ("HF_ENDPOINT", "HF_HOME", "HF_MODULES_CACHE", "HF_TOKEN")
        own = {name: known[name] for name in names if name in known}
        return forks(*arguments, cwd=tmp_path, **own, **environment)

    return start


@pytest.fixture
def look(run):
    """Records of `look_at`, of names or (name, revision, kind)."""

    def ask(*names: object, timeout: float = 30, **how: str) -> list[dict]:
        looks = [(each, None, "model") if isinstance(each, str) else each for each in names]
        done = run("-c", LOOK, timeout, json.dumps(looks), **how)
        assert done.status == 0, done.err
        return json.loads(done.out.splitlines()[-1])

    return ask


@pytest.fixture
def doctor(run):
    """Status and report of `synvita doctor`."""

    def examine(*arguments: object, **how: str) -> tuple[int, dict]:
        done = run("doctor", "--json", "-", *arguments, **how)
        assert done.out, done.err
        return done.status, json.loads(done.out)

    return examine


def sizes_of(hub, name: str) -> dict[str, int]:
    """Bytes of the files that the Hub holds."""
    return {path: file.size for path, file in hub.repos["model", name].resolve("main").tree.items()}


def test_one_request_says_commit_files_bytes_dtype_and_parameters(loopback_hub, tiny, look):
    commit = loopback_hub.serve("org/tiny", tiny, sha="c" * 40)
    (facts,) = look("org/tiny")
    assert [request.route for request in loopback_hub.log] == ["info"]  # and the second look asked nothing
    assert commit.sha == facts["commit"] == "c" * 40
    sizes = sizes_of(loopback_hub, "org/tiny")
    assert facts["bytes"] == facts["bytes_to_fetch"] == sum(sizes[path] for path in facts["paths"])
    assert "model.safetensors" in facts["paths"]
    from safetensors.numpy import load_file

    assert facts["parameters"] == sum(array.size for array in load_file(tiny / "model.safetensors").values())
    assert (facts["dtype"], facts["model_type"]) == ("float32", "video_llava")
    assert (facts["gated"], facts["private"], facts["problem"]) == (False, False, None)


def test_gated_renamed_private_and_missing(loopback_hub, tiny, look):
    reader = loopback_hub.add_user("reader", role="read")
    loopback_hub.serve("org/gated", tiny, gated="manual")
    loopback_hub.serve("org/before", tiny)
    loopback_hub.rename("org/before", "new/name")
    loopback_hub.serve("org/private", tiny, private=True)
    names = ["org/gated", "org/before", "org/private", "org/none", ("new/name", "v9", "model")]
    gated, renamed, private, missing, revision = look(*names, token=reader.token)
    assert gated["gated"] is True
    assert gated["access"] is False
    assert "gated" in gated["problem"]
    assert renamed["renamed_to"] == "new/name"
    assert renamed["problem"] is None
    assert "may not see it" in private["problem"]
    assert "does not exist" in missing["problem"]
    assert "no such revision" in revision["problem"]
    loopback_hub.accept("org/gated", reader)
    (gated,) = look("org/gated", token=reader.token)
    assert gated["access"] is True
    assert gated["problem"] is None


def test_a_refusal_is_no_silence_and_silence_is_asked_once(loopback_hub, tiny, look):
    """A Hub that never answers, asks to wait, or breaks the line: one request, whatever is looked at."""
    loopback_hub.serve("org/tiny", tiny)
    for how, expected in (
        ("hold", "no answer"),
        (429, "asks to wait"),
        (503, "503"),
        ("drop", "broke"),
    ):
        loopback_hub.log.clear()
        loopback_hub.repair()
        loopback_hub.fail("info", how=how, times=99)
        first, second = look("org/tiny", "org/other", timeout=0.5 if how == "hold" else 30)
        assert expected in first["unasked"], first
        assert second["unasked"] == first["unasked"]
        assert "hf download org/tiny" in first["problem"]
        assert len([request for request in loopback_hub.log if request.route == "info"]) <= 1


def test_half_a_cache(loopback_hub, tiny, tmp_path, look, doctor, run):
    """What was fetched is counted; without the Hub, what is missing is named."""
    sharded = tmp_path / "sharded"
    shutil.copytree(tiny, sharded)
    from safetensors.numpy import load_file, save_file

    arrays = load_file(sharded / "model.safetensors")
    (sharded / "model.safetensors").unlink()
    names, weight_map = sorted(arrays), {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        shard = f"model-{number:05d}-of-00002.safetensors"
        save_file({name: arrays[name] for name in part}, sharded / shard, {"format": "pt"})
        weight_map |= dict.fromkeys(part, shard)
    (sharded / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    loopback_hub.serve("org/sharded", sharded)
    assert run("-c", FETCH, "org/sharded", "model", "*.json", "*-00001-of-*").status == 0
    (facts,) = look("org/sharded")
    sizes = sizes_of(loopback_hub, "org/sharded")
    assert facts["bytes_to_fetch"] == sum(
        sizes[path] for path in facts["paths"] if not path.endswith(".json") and "00001" not in path
    )
    (offline,) = look("org/sharded", HF_HUB_OFFLINE="1")
    assert offline["origin"] == "cache"
    assert offline["commit"] == facts["commit"]
    assert offline["faults"] == ["model-00002-of-00002.safetensors is missing (in the cache)"]
    line = ["evaluate", "org/sharded", "--task", "ssv2-temporal"]
    status, report = doctor(*line, HF_HUB_OFFLINE="1")
    assert status == 1
    assert "hf download org/sharded" in said(report, "model", "bad")
    # Whole, it is enough.
    assert run("-c", FETCH, "org/sharded", "model", "*").status == 0
    (whole,) = look("org/sharded")
    assert whole["bytes_to_fetch"] == 0
    (offline,) = look("org/sharded", HF_HUB_OFFLINE="1")
    assert (offline["faults"], offline["problem"]) == ([], None)
    assert offline["parameters"] == whole["parameters"] == sum(array.size for array in arrays.values())


@pytest.mark.slow
def test_a_recipe_with_model_and_data_on_the_hub(loopback_hub, tiny, dataset, tmp_path, doctor):
    loopback_hub.serve("org/tiny", tiny)
    loopback_hub.serve("org/data", dataset, kind="dataset", gated="auto")
    reader = loopback_hub.add_user("reader", role="read")
    loopback_hub.accept("org/data", reader, kind="dataset")
    line = [
        "train",
        "shapes/tiny",
        "model=org/tiny",
        "data=org/data",
        "real_root=null",
        f"output_dir={tmp_path}/out",
    ]
    status, report = doctor(*line, token=reader.token)
    assert status == 0, report["checks"]
    model, data = report["repositories"]
    parquet = sum(path.stat().st_size for path in (dataset / "shapes").glob("*.parquet"))
    assert data["bytes_to_fetch"] == parquet + (dataset / "README.md").stat().st_size
    assert report["bytes_to_fetch"] == model["bytes_to_fetch"] + data["bytes_to_fetch"]
    assert "this token has access" in said(report, "data", "ok")
    assert not [
        request for request in loopback_hub.requests("download") if request.path.endswith("safetensors")
    ]
    assert not [request for request in loopback_hub.requests("download") if request.path.endswith("parquet")]
    status, report = doctor(*line, "config=nothing", token=reader.token)
    assert status == 1
    assert "unknown config" in said(report, "data", "bad")
    status, report = doctor(*line)  # without the token
    assert status == 1
    assert "gated" in said(report, "data", "bad")


@pytest.mark.parametrize("there", [True, False])
def test_push_asks_what_lies_under_the_name(loopback_hub, dataset, there, doctor):
    owner = loopback_hub.add_user("me")
    if there:
        loopback_hub.serve("me/data", dataset, kind="dataset")
    line = ["push", dataset, "me/data", "--tag", "v1.0.0", "--private"]
    status, report = doctor(*line, token=owner.token)
    assert status == int(there)
    expected = ("bad", "public already") if there else ("ok", "would be created")
    assert expected[1] in said(report, "repository", expected[0])
    assert loopback_hub.writes() == []


def test_the_authors_videos_are_asked_of_the_hub_as_the_build_asks(
    loopback_hub, world, tmp_path, doctor, run
):
    """Loose videos are fetched only where they must be files here; what is cached does not do without the Hub."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: other\n---\n")
    (folder / "msr-vtt_video1_001.mp4").write_bytes(b"x" * 100)
    (folder / "more.tar").write_bytes(b"x" * 10_000)
    loopback_hub.serve("org/videos", folder, kind="dataset")
    line = ["build", "--triplets", world.triplets, "--out", tmp_path / "out", "--vqascores", world.vqascores]
    line += ["--synthetic", "hf:org/videos"]
    status, report = doctor(*line)
    assert status == 0, report["checks"]
    assert "1 loose mp4 file and 1 archive" in said(report, "synthetic", "ok")
    assert report["bytes_to_fetch"] == 10_000
    assert doctor(*line, "--embed-synthetic")[1]["bytes_to_fetch"] == 10_100
    assert run("-c", FETCH, "org/videos", "dataset", "*").status == 0
    status, report = doctor(*line, HF_HUB_OFFLINE="1")
    assert status == 1
    assert "--synthetic-root" in said(report, "synthetic", "bad")
