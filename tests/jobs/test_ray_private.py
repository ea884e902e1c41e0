"""Ray without an address: whoever finds the cluster's ports is not let in without the run's own token."""

import contextlib
import ipaddress
import json
import re
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest
from jobs import test_ray_cluster as on_ray
from jobs.kill_harness import lives
from jobs.number_jobs import Squares, assert_whole, lines, wait_until

from synvita_data.errors import EngineError
from synvita_data.jobs import ray_cluster

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks for ports in /proc")

STRANGER = """
import sys
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")
@ray.remote(num_cpus=0)
def run(path):
    open(path, "w").close()
ray.get(run.remote(sys.argv[2]), timeout=100)
"""


def family(pid: int) -> list[int]:
    """A process and all that descend from it, parents first."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(status.parent.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def listening() -> dict[str, tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]]:
    """Socket -> address and port, of all TCP sockets that listen here."""
    sockets = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            (
                _,
                local,
                _,
                state,
                *_,
            ) = fields = line.split()
            if state == "0A":
                number, port = local.split(":")
                words = [bytes.fromhex(number[at : at + 8])[::-1] for at in range(0, len(number), 8)]
                address = ipaddress.ip_address(b"".join(words))
                sockets[f"socket:[{fields[9]}]"] = (
                    getattr(address, "ipv4_mapped", None) or address,
                    int(port, 16),
                )
    return sockets


def ports_of(pid: int) -> dict[int, ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Port -> address it listens at."""
    known = listening()
    found = {}
    with contextlib.suppress(OSError):
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                name = str(handle.readlink())
                if name in known:
                    found[known[name][1]] = known[name][0]
    return found


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


def comes(address: str, mark: Path, environment: dict[str, str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", STRANGER, address, str(mark)],
        env=environment
        | {
            "RAY_USAGE_STATS_ENABLED": "0",
            # Or Ray replaces the loopback address by the one that others see, where nobody answers.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_NUM_REDIS_GET_RETRIES": "2",  # of 20, a second each, for who is refused
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@on_ray.needs_ray
def test_a_stranger_is_not_let_in(tmp_path, repo_root, sessions):
    """Where the user has switched tokens off for other clusters of theirs, too."""
    gate, home = tmp_path / "gate", tmp_path / "home"
    settings = {"count": 6, "gate": str(gate)}
    surroundings = on_ray.environment(repo_root, home, sessions)
    run = subprocess.Popen(
        on_ray.program(tmp_path / "store", tmp_path / "log", settings, workers=2),
        env=surroundings | {"RAY_AUTH_MODE": "disabled"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: len(lines(tmp_path / "opened")) == 2 or run.poll() is not None)
        if run.poll() is not None:
            _, said = run.communicate()
            if "timed out during startup" in said:
                pytest.skip("this machine is too busy for Ray to start within its 30 seconds")
            pytest.fail(said)
        everyone = family(run.pid)

        # The ports: there are some, and all of them on the loopback address.
        ports = {(pid, port): at for pid in everyone for port, at in ports_of(pid).items()}
        assert len(ports) >= 5
        assert [at for at in ports.values() if not at.is_loopback] == []

        # The token: only in environments.
        # The first: a process that the server is just starting looks like the server until it is another program.
        server = next(pid for pid in everyone if "gcs_server" in command_line(pid).split(" ")[0])
        variables = Path(f"/proc/{server}/environ").read_text().split("\0")
        (token,) = (entry.partition("=")[2] for entry in variables if entry.startswith("RAY_AUTH_TOKEN="))
        assert re.fullmatch(r"[0-9a-f]{64}", token)
        assert not any(token in command_line(pid) for pid in everyone)
        (session,) = sessions.glob("synvita-ray-*")
        assert session.stat().st_mode & 0o077 == 0  # no other user of the machine gets to the sockets
        written = [path for root in (session, tmp_path) for path in root.rglob("*") if path.is_file()]
        assert len(written) > 10
        assert [path for path in written if token.encode() in path.read_bytes()] == []
        assert all("RAY_AUTH_TOKEN" not in line.split() for line in lines(tmp_path / "variables"))

        # Who knows the port but not the token, and who knows both.
        (port,) = ports_of(server)
        keys = {
            "none": {},
            "off": {"RAY_AUTH_MODE": "disabled"},
            "wrong": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
            "right": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token},
        }
        visitors = {
            name: comes(f"127.0.0.1:{port}", tmp_path / name, surroundings | key)
            for name, key in keys.items()
        }
        said = {name: visitor.communicate(timeout=300)[1] for name, visitor in visitors.items()}
        assert visitors["right"].returncode == 0, said["right"]
        assert (tmp_path / "right").exists()
        for name in ("none", "off", "wrong"):
            assert visitors[name].returncode != 0
            assert not (tmp_path / name).exists()
            assert re.search("authenticat|token", said[name], re.IGNORECASE), said[name]

        # The run itself has noticed nothing.
        gate.touch()
        out, said = run.communicate(timeout=300)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 0, said
    assert json.loads(out.splitlines()[-1])[:3] == [6, 6, 0]
    assert token not in out + said
    assert_whole(Squares(tmp_path / "store", tmp_path / "log", 6))
    assert not session.exists()
    assert not (home / ".ray").exists()


TWICE = """
import json, os, sys
from pathlib import Path
import ray
from ray._raylet import get_authentication_mode
from jobs.number_jobs import Squares
from synvita_data.jobs import run_job
if __name__ == "__main__":
    root = Path(sys.argv[1])
    def state():
        return [int(get_authentication_mode()), "RAY_AUTH_TOKEN" in os.environ, os.environ.get("RAY_AUTH_MODE"),
                ray._private.ray_constants.ENABLE_RAY_CLUSTER, os.environ.get("PYTHONPATH")]
    before = state()
    done = [run_job(Squares(root / name, root / "log", 4), engine="ray", workers=2).done for name in "ab"]
    print(json.dumps([done, before, state()]))
"""


@on_ray.needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("mode", [None, "disabled"])
def test_two_runs_in_a_process_that_has_used_ray_leave_its_settings_alone(tmp_path, repo_root, mode):
    variables = on_ray.environment(repo_root, tmp_path) | ({"RAY_AUTH_MODE": mode} if mode else {})
    done = subprocess.run(
        [sys.executable, "-c", TWICE, str(tmp_path)],
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    made, before, after = json.loads(done.stdout.splitlines()[-1])
    assert made == [4, 4]
    assert before == after
    assert before[:3] == [0, False, mode]


@on_ray.needs_ray
@pytest.mark.slow
def test_a_killed_run_takes_its_cluster_with_it(tmp_path, repo_root, sessions):
    """Or the ports would stay open for as long as the machine runs."""
    settings = {"count": 6, "gate": str(tmp_path / "gate")}
    run = subprocess.Popen(
        on_ray.program(tmp_path / "store", tmp_path / "log", settings, workers=2),
        env=on_ray.environment(repo_root, tmp_path, sessions),
    )
    wait_until(lambda: len(lines(tmp_path / "opened")) == 2 or run.poll() is not None)
    assert run.poll() is None
    everyone = family(run.pid)
    assert len(everyone) > 4
    run.send_signal(signal.SIGKILL)
    run.wait()
    wait_until(lambda: not any(lives(pid) for pid in everyone))  # Ray's agents look for its end once a minute


def test_a_ray_that_cannot_ask_for_a_token_starts_nothing(tmp_path, monkeypatch):
    """Such as 2.51 and older; a stand-in has what those have."""
    started = []
    old = types.ModuleType("ray")
    old.__version__ = "2.51.0"
    old.init = lambda **options: started.append(options)
    old.shutdown = lambda: None
    old._private = types.SimpleNamespace(ray_constants=types.SimpleNamespace())
    inner = types.ModuleType("ray._raylet")
    inner.Config = types.SimpleNamespace(initialize=lambda text: None)
    monkeypatch.setitem(sys.modules, "ray", old)
    monkeypatch.setitem(sys.modules, "ray._raylet", inner)
    monkeypatch.setattr(ray_cluster.tempfile, "mkdtemp", lambda **_: str(tmp_path / "session"))
    with pytest.raises(EngineError, match="lets anyone in") as raised, ray_cluster.private_cluster(old, 1):
        pass
    assert raised.value.found == "ray 2.51.0"
    assert started == []
    assert not (tmp_path / "session").exists()
