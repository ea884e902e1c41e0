"""Each thing that can go wrong with the Hub, under each command that uses it: one line that says what to do.

The commands are real, and so are huggingface_hub, transformers, diffusers, peft and `datasets` under them; only the Hub
is ours. All of it is `slow`; test_hub has what is wrong without a command.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from faulty_world import World
from loopback_hub import LoopbackHub
from loopback_hub.forked import Commands

# The world is made once, not once a process.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults")]

EVALUATE = "evaluate org/model --task ssv2-temporal --annotations {root}/eval_ssv2_temporal.csv --real-root {root}/real"
PIPELINE = "generate --triplets {root}/triplets.csv --generator diffusers:org/pipe --out out " + " ".join(
    f"--set {setting}"
    for setting in (
        *("frames=9", "size=16x16", "fps=8", "steps=2", "guidance=6", "call.max_sequence_length=16"),
        *("dtype=float32", "vae_tiling=false", "offload=none"),
    )
)
LOAD = "import sys, synvita_data\nfrom synvita_data.display import print_error\ntry:\n"
LOAD += (
    "    print(synvita_data.load_triplets('org/data'))\nexcept synvita_data.errors.SynvitaError as error:\n"
)
LOAD += "    print_error(f'error: {error}')\n    sys.exit(2)"


@dataclass(frozen=True)
class Command:
    """A command and the repository under it that the fault is of.

    Attributes:
        line: as it is typed, but for the folder of the world.
        repository: folder of the world and `org/NAME`.
        kind: of the repository.
        large: pattern of its large files.
        settings: whether the small files of this repository are all that the command reads.
        only: faults that can happen to it; all, if empty.
        environment: of the command.
    """

    line: str
    repository: str
    kind: str = "model"
    large: str = "*.safetensors"
    settings: bool = False
    only: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


COMMANDS = {
    "evaluate": Command(f"{EVALUATE} --out out", "model"),
    "evaluate --adapter": Command(f"{EVALUATE} --adapter org/adapter --out out", "adapter"),
    "train model": Command("train {root}/recipe.yaml output_dir=out --dry-run", "model"),
    "train data": Command(
        "train {root}/recipe.yaml output_dir=out --dry-run", "data", "dataset", "*.parquet"
    ),
    "vqascore": Command(
        "vqascore --triplets {root}/triplets.csv --synthetic folder:{root}/made --model org/vqa --out out/s.parquet "
        "--workers 1",
        "vqa",
    ),
    "generate": Command(PIPELINE, "pipe"),
    "build --tokenizer": Command(
        "build --triplets {root}/triplets.csv --synthetic folder:{root}/made --config c --out out "
        "--granularity token --tokenizer org/model",
        "model",
        settings=True,
    ),
    "convert --base": Command(
        "convert video-llava-lora {root}/adapter out --base org/model", "model", settings=True
    ),
    "load_triplets": Command("-c", "data", "dataset", "*.parquet"),
    "inspect": Command("inspect org/data", "data", "dataset", "*.parquet"),
    "push": Command(
        "push {root}/data org/pushed --tag v0.1.0",
        "pushed",
        "dataset",
        only=(
            "wrong token",
            "broken token",
            "forbidden",
            "too many",
            "down",
            "dropped",
            "silent",
            "no network",
        ),
        environment={"HF_TOKEN": "hf_owner_write"},
    ),
}


@dataclass(frozen=True)
class Fault:
    """What happens, and what the user is told.

    Attributes:
        prepare: makes it happen, for a command.
        words: patterns of what the error says.
        environment, largest, network: of the command, see `Commands`.
        large: whether it happens to a large file only.
        anywhere: whether it is of no repository (a token, a disk): the line then names the one that comes first.
    """

    prepare: Callable[[LoopbackHub, Command], object]
    words: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    largest: int | None = None
    network: bool = True
    large: bool = False
    anywhere: bool = False


def answering(status: int, **more: object) -> Callable[[LoopbackHub, Command], object]:
    return lambda hub, command: hub.fail(
        "*", how=status, times=999, path=f"*org/{command.repository}*", **more
    )


def damaging(how: str) -> Callable[[LoopbackHub, Command], object]:
    return lambda hub, command: hub.fail(
        "download", how=how, times=999, path=f"*org/{command.repository}/{command.large}"
    )


def close_gate(hub: LoopbackHub, command: Command) -> None:
    hub.repos[command.kind, f"org/{command.repository}"].gated = "manual"


FAULTS = {
    "gated": Fault(
        close_gate,
        (r"is gated\.", r"Accept the conditions at http://\S+/org/\w+, and log in with `hf auth login`"),
    ),
    "not let in": Fault(
        close_gate,
        (
            r"gated, and the account of your token was not let in",
            r"Accept the conditions at http://\S+/org/\w+\.",
        ),
        {"HF_TOKEN": "hf_stranger_write"},
    ),
    "wrong token": Fault(
        lambda hub, command: None,
        ("does not accept the token", r"Make one at .*/settings/tokens"),
        {"HF_TOKEN": "hf_wrong"},
        anywhere=True,
    ),
    "gone": Fault(
        lambda hub, command: hub.repos.pop((command.kind, f"org/{command.repository}")),
        ("does not exist, or the token may not see it", "Check its name; for a private one log in with"),
    ),
    "forbidden": Fault(answering(403), ("the Hub refuses it", "Look at http")),
    "too many": Fault(
        answering(429, headers={"Retry-After": "1"}),
        ("the Hub asks to wait 1 s", r"Wait 1 s\. Run the same again"),
    ),
    "down": Fault(answering(503), ("the Hub answered 503", "Wait a little and try again")),
    "dropped": Fault(
        lambda hub, command: hub.fail("*", how="drop", times=999, path=f"*org/{command.repository}*"),
        (r"the connection to the Hub at http://127.0.0.1:\d+ broke", "Check the network"),
    ),
    "silent": Fault(
        lambda hub, command: hub.fail("*", how="hold", times=999, path=f"*org/{command.repository}*"),
        ("no answer from the Hub in time", "HF_HUB_ETAG_TIMEOUT=60"),
        {"HF_HUB_ETAG_TIMEOUT": "2", "HF_HUB_DOWNLOAD_TIMEOUT": "2"},
    ),
    "no network": Fault(
        lambda hub, command: None,
        (r"cannot reach the Hub at http://127.0.0.1:\d+\.", "Name or service not known", "Check the network"),
        network=False,
        anywhere=True,
    ),
    "broken token": Fault(
        lambda hub, command: None,
        ("the token holds characters that none has", "Copy it again"),
        {"HF_TOKEN": "hf_br\u00f6ken"},
        anywhere=True,
    ),
    "cut": Fault(
        damaging("cut"),
        (r"the connection to the Hub at http://127.0.0.1:\d+ broke", "Check the network"),
        large=True,
    ),
    "short": Fault(
        damaging("short"), ("another size than the Hub announces", "download it again"), large=True
    ),
    "other bytes": Fault(
        damaging("flip"),
        ("not what the Hub announces", "sha256", "run the same again to download it again"),
        large=True,
    ),
    "disk full": Fault(
        lambda hub, command: None,
        ("no space left on the disk", "Free some space, or set HF_HOME"),
        largest=9_000,
        large=True,
        anywhere=True,
    ),
}
# Parquet files are read in pieces, which have no digest: what is no Parquet any more is said by who reads it.
NOT_FOR_DATA = ("short", "other bytes", "disk full")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One Hub and its commands, for all tests of this file."""
    with LoopbackHub() as hub:
        yield hub, Commands(hub, tmp_path_factory.mktemp("commands"))


@pytest.fixture(scope="module")
def world(shared, tmp_path_factory) -> World:
    """Made in a fork, which has imported what it needs."""
    world, make = (
        World(tmp_path_factory.mktemp("world")),
        "from faulty_world import *; make_world(Path(sys.argv[1]))",
    )
    done = shared[1](
        "-c",
        f"import sys; sys.path.append(sys.argv[0]); {make}",
        Path(__file__).parent,
        world.root,
        HF_HUB_OFFLINE="1",
    )
    assert done.status == 0, done.err
    return world


@pytest.fixture
def hub(shared, world):
    """The Hub with all repositories, whole and open."""
    hub, commands = shared
    hub.reset()
    commands.forget()
    for name in ("model", "adapter", "vqa", "pipe"):
        hub.serve(f"org/{name}", world.root / name)
    hub.serve("org/data", world.data, kind="dataset")
    hub.add_user("stranger")
    hub.add_user("owner", orgs=("org",))
    return hub


@pytest.fixture
def run(shared, world, tmp_path):
    """Run a command of COMMANDS in an empty folder."""

    def start(command, **how):
        arguments = ["-c", LOAD] if command.line == "-c" else command.line.format(root=world.root).split()
        return shared[1](*arguments, cwd=tmp_path, **(command.environment | how))

    return start


def pairs():
    for name, command in COMMANDS.items():
        for what, fault in FAULTS.items():
            if command.only and what not in command.only:
                continue
            if fault.large and (command.settings or (command.kind == "dataset" and what in NOT_FOR_DATA)):
                continue
            yield pytest.param(command, fault, id=f"{name}-{what}")


def whole(commands):
    """Every file of the cache that is called by its SHA-256 has it; parts are called `.incomplete`, if they are kept."""
    for blob in (commands.home / "hub").glob("*/blobs/*"):
        if re.fullmatch("[0-9a-f]{64}", blob.name):
            assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name, blob


@pytest.mark.parametrize(("command", "fault"), [*pairs()])
def test_one_line_says_what_to_do(hub, shared, run, tmp_path, command, fault):
    fault.prepare(hub, command)
    done = run(command, largest=fault.largest, network=fault.network, **fault.environment)
    assert "Traceback" not in done.out + done.err, done.err
    assert done.status == 2, done
    assert len(done.errors) == 1, done.err
    (line,) = done.errors
    repository = r"\w+" if fault.anywhere else command.repository
    assert re.search(rf"org(/|--){repository}", line), line
    for words in fault.words:
        assert re.search(words, line), line
    whole(shared[1])
    if token := (command.environment | fault.environment).get("HF_TOKEN"):
        assert token not in done.out + done.err
    # No result, and nothing that the next run would take for one.
    left = [path for path in tmp_path.rglob("*") if path.is_file() and ".work" not in str(path)]
    assert left == []


def cached_model(hub, run):
    """Everything that `evaluate` reads, in the cache."""
    done = run(COMMANDS["evaluate"])
    assert done.status == 0, done.err
    hub.log.clear()


def test_half_a_cache_offline(hub, shared, run):
    cached_model(hub, run)
    assert run(COMMANDS["evaluate"], HF_HUB_OFFLINE="1").status == 0
    (snapshot,) = (shared[1].home / "hub/models--org--model/snapshots").iterdir()
    shard = max(snapshot.glob("model-*.safetensors"))
    shard.resolve().unlink()
    shard.unlink()
    done = run(COMMANDS["evaluate"], HF_HUB_OFFLINE="1")
    assert (done.status, len(done.errors)) == (2, 1)
    assert (
        f"org/model: a checkpoint lacks a file. Found: 1 of 2 files of weights. Expected: also {shard.name}"
        in done.errors[0]
    )
    assert "Run `hf download org/model` where there is a network" in done.errors[0]
    assert hub.log == []
    assert run(COMMANDS["evaluate"]).status == 0  # with a network, it is downloaded


@pytest.mark.parametrize(
    "fault",
    [
        "no network",
        "down",
        "dropped",
        "silent",
        "too many",
    ],
)
def test_what_is_cached_is_used_while_the_hub_is_out_of_reach(hub, run, fault):
    cached_model(hub, run)
    command, fault = COMMANDS["evaluate"], FAULTS[fault]
    fault.prepare(hub, command)
    done = run(Command(f"{EVALUATE} --out again", "model"), network=fault.network, **fault.environment)
    assert (done.status, done.errors) == (0, []), done.err
    assert done.err.count("The Hub is out of reach: org/model is taken from the cache") == 1, done.err
    # It is asked once, with the patience that huggingface_hub has.
    assert len(hub.log) <= 6, hub.log


def test_no_network_where_a_name_may_be_a_folder_or_of_a_part(run):
    for line in (
        "inspect out/videocon-sin",
        "train {root}/recipe.yaml data=me/nowhere output_dir=out --dry-run",
        "build --triplets {root}/triplets.csv --synthetic hf:org/data --config c --out out",
    ):
        done = run(Command(line, "data"), network=False)
        assert (done.status, len(done.errors)) == (2, 1), done
        assert "cannot reach the Hub at http://127.0.0.1:" in done.errors[0]
        assert not re.search("no such|does not exist|cannot find|cannot be found|main", done.errors[0])


def test_a_list_of_files_that_never_comes(hub, run):
    """huggingface_hub would wait for ever."""
    held = hub.fail("tree", how="hold", times=999)
    done = run(COMMANDS["evaluate"], HF_HUB_DOWNLOAD_TIMEOUT="2")
    assert held.reached.is_set()
    assert (done.status, len(done.errors)) == (2, 1), done
    assert "no answer from the Hub in time" in done.errors[0]


def test_a_token_is_shown_nowhere(hub, shared, run, tmp_path):
    """Not where all goes well either: on no stream, in no result, report or cached file."""
    token = hub.add_user("somebody").token
    for command in (COMMANDS["evaluate"], Command(f"doctor {EVALUATE} --json report.json", "model")):
        done = run(command, HF_TOKEN=token)
        assert done.status == 0, done.err
        assert token not in done.out + done.err
    assert any(logged.user == "somebody" for logged in hub.log)
    files = [path for folder in (tmp_path, shared[1].home) for path in folder.rglob("*") if path.is_file()]
    assert {"report.json", "config.json"} <= {path.name for path in files}
    assert [path for path in files if token.encode() in path.read_bytes()] == []


def test_nothing_cached_offline(hub, run):
    for name in ("evaluate", "generate", "load_triplets", "inspect", "vqascore"):
        done = run(COMMANDS[name], HF_HUB_OFFLINE="1")
        assert (done.status, len(done.errors)) == (2, 1), done
        assert "HF_HUB_OFFLINE" in done.errors[0]
        assert f"hf download org/{COMMANDS[name].repository}" in done.errors[0]
    assert hub.log == []


def test_a_line_that_breaks_now_and_then_is_waited_for(hub, run):
    """huggingface_hub asks for the rest of a file, and waits where it is asked to."""
    hub.fail("download", how="cut", path="*model-00001*.safetensors", nth=2)  # the first is HEAD
    hub.fail("tree", how=503)
    done = run(COMMANDS["evaluate"])
    assert (done.status, done.errors) == (0, []), done.err


def test_a_renamed_repository_is_said_once_and_works(hub, run):
    hub.rename("org/model", "new/model")
    done = run(COMMANDS["evaluate"])
    assert (done.status, done.errors) == (0, []), done.err
    assert done.err.count("The model org/model was renamed to new/model: use the new name") == 1
    # An adapter that knows its base by the earlier name goes on it under the new one.
    line = COMMANDS["evaluate --adapter"].line.replace("org/model", "new/model")
    assert run(Command(line, "adapter")).status == 0


@pytest.mark.parametrize("name", ["inspect", "train model", "load_triplets"])
def test_a_renamed_dataset_is_said_once_and_works(hub, run, name):
    hub.rename("org/data", "new/data", kind="dataset")
    done = run(COMMANDS[name])
    assert done.status == 0, done.err
    assert done.err.count("The dataset org/data was renamed to new/data: use the new name") == 1


def test_an_unknown_revision(hub, run):
    for line in (
        f"{EVALUATE} --out out --revision v9",
        PIPELINE.replace("org/pipe", "org/pipe@v9"),
        "inspect org/data --revision v9",
    ):
        done = run(Command(line, "model"))
        assert (done.status, len(done.errors)) == (2, 1), done
        assert re.search(r"there is no such revision|has no version v9", done.errors[0]), done.errors


def test_a_shard_that_was_cut_on_disk(hub, run, world, tmp_path):
    """A folder with half a shard, or with what Git LFS left in its place."""
    import shutil

    for content in (None, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"):
        folder = tmp_path / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(world.model, folder)
        shard = folder / "model-00001-of-00002.safetensors"
        shard.write_bytes(shard.read_bytes()[:-1000] if content is None else content)
        done = run(Command(f"{EVALUATE} --out out".replace("org/model", str(folder)), "model"))
        assert (done.status, len(done.errors)) == (2, 1), done
        assert f"{shard}: a file of weights is not whole" in done.errors[0]
        assert "download it again" in done.errors[0]
        assert ("pointer of Git LFS" in done.errors[0]) is (content is not None)
    shard.unlink()
    done = run(Command(f"{EVALUATE} --out out".replace("org/model", str(folder)), "model"))
    assert f"{folder}: a checkpoint lacks a file" in done.errors[0]
    assert json.loads((folder / "config.json").read_text())["model_type"] == "video_llava"
