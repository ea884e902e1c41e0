"""`run_job` on Ray. Each run is a process of its own: Ray's threads do not survive the forks of other tests."""

import contextlib
import importlib.util
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest
from jobs.kill_harness import lives, survive_kills
from jobs.number_jobs import Squares, assert_whole, lines, made, wait_until, workers_of

from synvita_data.errors import EngineError
from synvita_data.jobs import run_job
from synvita_data.jobs.ray_cluster import _check_answers, _first_sentence, remove_for_good

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")

RUN = """
import dataclasses, json, os, sys
from pathlib import Path
from jobs.number_jobs import Squares
from synvita_data.jobs import run_job
settings = json.loads(sys.argv[1])
job = Squares(Path(settings.pop("root")), Path(settings.pop("log")), **settings.pop("job"))
report = run_job(job, engine="ray", **settings)
print(json.dumps([report.done, report.made, report.exit_status, [crash.reason for crash in report.crashes]]))
"""


def program(root: Path, log: Path, job: dict, **settings) -> list[str]:
    return [
        sys.executable,
        "-c",
        RUN,
        json.dumps({"root": str(root), "log": str(log), "job": job} | settings),
    ]


def environment(repo_root: Path, home: Path, sessions: Path = Path("/tmp")) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return kept | {"PYTHONPATH": f"{repo_root}/tests:{repo_root}", "HOME": str(home), "TMPDIR": str(sessions)}


@pytest.mark.slow
@needs_ray
def test_two_actors_one_of_which_is_killed(tmp_path, repo_root, sessions):
    """A cluster of its own: started, used, ended, and nothing of it left."""
    settings = {"count": 24, "opens": 3, "together": 2, "kills": [5]}
    done = subprocess.run(
        program(tmp_path / "store", tmp_path / "log", settings, workers=2),
        env=environment(repo_root, tmp_path, sessions),
        capture_output=True,
        text=True,
        timeout=300,
    )
    if "timed out during startup" in done.stderr:
        pytest.skip("this machine is too busy for Ray to start within its 30 seconds")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    whole, told, status, crashes = report
    # What the killed actor told last may be lost with it: at most the two results of its last batch.
    assert (whole, status) == (24, 0)
    assert 22 <= told <= 24
    (reason,) = crashes
    assert "actor died" in reason
    job = Squares(tmp_path / "store", tmp_path / "log", 24)
    assert_whole(job)
    assert max(made(job).values()) == 1
    assert len(workers_of(job)) >= 2
    assert len(lines(tmp_path / "opened")) == 3
    assert list(sessions.glob("synvita-ray-*")) == []
    assert not (tmp_path / ".ray").exists(), "Ray wrote a token into the home folder"
    wait_until(lambda: not any(lives(int(pid)) for pid in workers_of(job)))  # they are being ended
    # The same results as one process makes.
    plain = Squares(tmp_path / "plain", tmp_path / "plain-log", 24)
    run_job(plain)
    assert {path.name for path in plain.root.glob("??/*")} == {path.name for path in job.root.glob("??/*")}


@pytest.mark.slow
@needs_ray
def test_the_actor_that_keeps_the_events_is_killed(tmp_path, repo_root, sessions):
    """Ray starts it again; no worker crashes for it, and the run ends as ever."""
    settings = {"count": 24, "gate": str(tmp_path / "gate"), "quota": 3}
    process = subprocess.Popen(
        program(tmp_path / "store", tmp_path / "log", settings, workers=2),
        env=environment(repo_root, tmp_path, sessions),
        stdout=subprocess.PIPE,
        text=True,
    )
    job = Squares(tmp_path / "store", tmp_path / "log", 24)

    def keepers() -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            family = psutil.Process(process.pid).children(recursive=True)
            return [each for each in family if each.cmdline()[:1] and "EventLog" in each.cmdline()[0]]
        return []

    wait_until(lambda: process.poll() is not None or len(lines(job.log)) == 6)
    if process.poll() is not None:
        pytest.skip("this machine is too busy for Ray to start within its 30 seconds")
    (keeper,) = keepers()
    keeper.kill()
    wait_until(lambda: not keeper.is_running())
    (tmp_path / "gate").touch()
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    whole, _, status, crashes = json.loads(said.splitlines()[-1])
    assert (whole, status, crashes) == (24, 0, [])
    assert_whole(job)
    assert max(made(job).values()) == 1


def test_without_ray_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"pip install .*\[ray\]"):
        run_job(Squares(tmp_path / "store", tmp_path / "log", 1), engine="ray")


def test_rays_long_texts_become_a_line():
    text = "The actor died unexpectedly.\n\tclass_name: Hand\nWorker exit type: SYSTEM_ERROR Worker exit detail: x"
    assert _first_sentence(RuntimeError(text)) == "The actor died unexpectedly. (SYSTEM_ERROR)"
    text = "The actor died in its creation task.\n  File x\nModuleNotFoundError: No module named 'y'\n"
    assert _first_sentence(RuntimeError(text)) == (
        "The actor died in its creation task. (ModuleNotFoundError: No module named 'y')"
    )
    assert _first_sentence(RuntimeError("")) == "RuntimeError"
    assert _first_sentence(RuntimeError("one line")) == "one line"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "[::1]:1", "127.0.0.1:99999"])
def test_an_address_where_nothing_listens_is_an_error(address):
    with pytest.raises(EngineError, match="Ray cannot be reached") as raised:
        _check_answers(address)
    assert raised.value.found == address


def test_an_address_that_answers_is_left_to_ray():
    with socket.create_server(("127.0.0.1", 0)) as server:
        _check_answers(f"127.0.0.1:{server.getsockname()[1]}")
    _check_answers("auto")


def test_a_folder_that_is_written_to_while_it_goes_is_gone_at_last(tmp_path):
    folder = tmp_path / "ray"
    folder.mkdir()

    def write() -> None:
        for number in range(20):
            # Gone between two calls, or between the two looks of `exist_ok`.
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                folder.mkdir(exist_ok=True)
                (folder / str(number)).touch()
            time.sleep(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    remove_for_good(folder)
    writer.join()
    remove_for_good(folder)
    assert not folder.exists()


# What a cluster of the tests asks of everyone who comes.
KEY = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}


def give_key(monkeypatch) -> None:
    """For runs that this process starts."""
    for name, value in KEY.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def cluster(repo_root, tmp_path_factory):
    """Address of a cluster that outlives the runs on it."""
    script = """
    import sys, tempfile, time
    import ray
    with tempfile.TemporaryDirectory(prefix="synvita-test-ray-", dir="/tmp") as folder:
        ray.init(address="local", num_cpus=3, include_dashboard=False, object_store_memory=10**8, _temp_dir=folder)
        print("address", ray.get_runtime_context().gcs_address, flush=True)
        sys.stdin.read()
        ray.shutdown()
    """
    home = tmp_path_factory.mktemp("home")
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=environment(repo_root, home) | KEY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    address = next((line.split()[1] for line in process.stdout if line.startswith("address ")), None)
    if address is None:
        pytest.skip("this machine is too busy for Ray to start within its 30 seconds")
    yield address
    process.stdin.close()
    process.wait(300)


@needs_ray
@pytest.mark.slow
def test_sigterm_gives_claims_back_at_once(tmp_path, repo_root, cluster):
    process = subprocess.Popen(
        program(
            tmp_path / "store",
            tmp_path / "log",
            {"count": 20, "gate": str(tmp_path / "never")},
            workers=2,
            address=cluster,
        ),
        env=environment(repo_root, tmp_path) | KEY,
    )
    job = Squares(tmp_path / "store", tmp_path / "log", 20)
    wait_until(lambda: len(list(job.root.glob("??/*.claim/*"))) == 2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(300) == 143
    assert list(job.root.glob("??/*.claim")) == []
    assert list((job.root / "owners").iterdir()) == []


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("victim", ["parent", "worker"])
def test_thirty_kills_on_ray(tmp_path, monkeypatch, repo_root, cluster, victim):
    give_key(monkeypatch)
    monkeypatch.setenv("PYTHONPATH", f"{repo_root}/tests:{repo_root}")

    def make_job(root: Path) -> Squares:
        return Squares(root, tmp_path / "log", 120, seconds=0.05, together=2)

    kills = 20 if victim == "worker" else 10  # thirty together
    survive_kills(
        make_job,
        tmp_path,
        kills=kills,
        workers=2,
        victim=victim,
        fresh=True,
        engine="ray",
        address=cluster,
        seed=3,
    )
