"""`synvita reproduce table3` with checkpoints behind the loopback Hub: pins, a kill, and faults of one repository."""

import json
import signal

import pytest
from loopback_hub import run_synvita, start_client
from small_table import REPOSITORIES, expected_content, write_expected

ROWS = ("mplug-owl", "synvita-video-llava")
TASKS = ("ssv2-temporal", "atp-hard")
PINNED = {"owl": "a" * 40, "towers": "b" * 40, "llava": "c" * 40}
# Stops for ever when the second cell is about to be kept, its scores being done.
STOPPING = """
import sys, time
import synvita_data.reproduce.cells as cells
keep, kept = cells.write_cell, []
def write_cell(out, cell):
    kept.append(cell)
    if len(kept) == 2:
        print("STOPPED", flush=True)
        time.sleep(3600)
    keep(out, cell)
cells.write_cell = write_cell
from synvita_data.cli import main
main()
"""


@pytest.fixture
def hub(loopback_hub, released):
    for name, repository in REPOSITORIES.items():
        loopback_hub.serve(repository, released[name], sha=PINNED.get(name))
    return loopback_hub


@pytest.fixture
def arguments(inputs, tmp_path):
    expected = write_expected(tmp_path / "expected.yaml", expected_content(REPOSITORIES, PINNED))
    asked = [word for row in ROWS for word in ("--row", row)]
    asked += [word for task in TASKS for word in ("--task", task)]
    return [
        "reproduce", "table3", "--expected", expected, "--annotations", inputs / "annotations",
        "--real-root", inputs / "videos", "--device", "cpu", *asked,
    ]  # fmt: skip


def cells(out):
    record = json.loads((out / "table.json").read_text())
    return {(each["row"], each["task"]): each["modes"]["clean"] for each in record["cells"]}


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_one_that_was_not(hub, arguments, tmp_path):
    words = [*map(str, arguments)]
    whole = run_synvita(hub, *words, "--out", str(tmp_path / "whole"), home=tmp_path, USE_TORCH="1")
    assert whole.returncode == 0, whole.stderr
    assert {cell["state"] for cell in cells(tmp_path / "whole").values()} == {"done"}

    killed = start_client(
        ["-c", STOPPING, *words, "--out", str(tmp_path / "out")], hub, home=tmp_path, USE_TORCH="1"
    )
    for line in killed.stdout:
        if "STOPPED" in line:
            break
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    kept = sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out/cells").rglob("*.json")
    )
    assert kept == ["cells/mplug-owl/ssv2-temporal.clean.json"]

    again = run_synvita(hub, *words, "--out", str(tmp_path / "out"), home=tmp_path, USE_TORCH="1")
    assert again.returncode == 0, again.stderr
    assert "owl: converting" not in again.stdout
    loading = [line for line in again.stdout.splitlines() if "loading the model" in line]
    assert loading[0] == "mplug-owl, clean: loading the model for atp-hard"
    assert len(loading) == 2
    for name in ("table.json", "table.md"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

    # The authors publish another commit: this output folder keeps the one that it began with.
    first = hub.repos["model", REPOSITORIES["llava-lora"]].resolve("main").sha
    folder = tmp_path / "changed"
    folder.mkdir()
    (folder / "README.md").write_text("# new\n")
    assert hub.serve(REPOSITORIES["llava-lora"], folder).sha != first
    more = ("--row", "video-llava", "--task", "videocon-human")
    last = run_synvita(hub, *words, *more, "--out", str(tmp_path / "out"), "--dry-run", home=tmp_path)
    assert f"{REPOSITORIES['llava-lora']} @ {first[:12]}" in last.stdout
    assert json.loads((tmp_path / "out/checkpoints/pins.json").read_text()) == {
        REPOSITORIES["llava-lora"]: first
    }
    report = (tmp_path / "out/report.md").read_text()
    for commit in (*PINNED.values(), first):
        assert commit in report


def test_a_dry_run_says_what_the_hub_refuses(hub, arguments, tmp_path):
    hub.repos["model", REPOSITORIES["llava"]].gated = "manual"
    dry = run_synvita(hub, *map(str, arguments), "--dry-run", "--out", str(tmp_path / "out"), home=tmp_path)
    assert dry.returncode == 0, dry.stderr
    shown = " ".join(dry.stdout.split())
    assert "2 of 4 cells can be run" in shown
    assert "lacks llava: ssv2-temporal, atp-hard" in shown
    assert "gated" in shown
    # Bytes of what would be fetched: of each repository the files that its patterns name, no more.
    sizes = {}
    for name in ("owl", "towers", "llava", "llava-lora"):
        tree = hub.repos["model", REPOSITORIES[name]].resolve("main").tree
        wanted = [path for path in tree if not path.endswith((".md", ".gitattributes", "trainer_state.json"))]
        wanted = [path for path in wanted if path != "generation_config.json" or name != "towers"]
        sizes[name] = sum(tree[path].size for path in wanted)
    from synvita_data.doctor.report import size

    for name in ("owl", "towers", "llava-lora"):
        assert f"{size(sizes[name])} to fetch" in shown, (name, sizes)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_download_that_breaks_off_is_one_line(hub, arguments, tmp_path):
    hub.fail("download", how="cut", times=1000, path="*video-llava*model-0000*")
    done = run_synvita(
        hub, *map(str, arguments), "--out", str(tmp_path / "out"), home=tmp_path, USE_TORCH="1",
        HF_HUB_DOWNLOAD_TIMEOUT="5",
    )  # fmt: skip
    assert done.returncode == 2, done.stdout
    found = cells(tmp_path / "out")
    assert found["mplug-owl", "ssv2-temporal"]["state"] == "done"
    for task in TASKS:
        assert found["synvita-video-llava", task]["state"] == "failed"
        lines = [line for line in done.stderr.splitlines() if line.startswith(f"synvita-video-llava, {task}")]
        assert len(lines) == 1
    assert "Traceback" not in done.stderr
    hub.repair()
    again = run_synvita(
        hub,
        *map(str, arguments),
        "--out",
        str(tmp_path / "out"),
        "--task",
        "ssv2-temporal",
        home=tmp_path,
        USE_TORCH="1",
    )
    assert again.returncode == 0, again.stderr
    assert {cell["state"] for cell in cells(tmp_path / "out").values()} == {"done"}
