"""Client processes for the loopback Hub.

huggingface_hub and datasets read HF_ENDPOINT once, at import, and the test process is offline, so clients run in
processes of their own: those that are run to their end in forks of one that has imported everything (`forked.py`),
those that a test kills or looks at from the start. Each of these costs seconds.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from .forked import run_forked
from .server import LoopbackHub

ROOT = Path(__file__).resolve().parent.parent.parent


def client_environment(hub: LoopbackHub | str, home: Path, token: str | None) -> dict[str, str]:
    """The environment of a client of `hub` (or of an address), its caches and log-in under `home`."""
    dropped = ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
    kept = {key: value for key, value in os.environ.items() if key not in dropped}
    return kept | {
        "HF_ENDPOINT": hub if isinstance(hub, str) else hub.url,
        "HF_HOME": str(home / "hf-home"),
        "HF_MODULES_CACHE": str(home / "hf-home" / "modules"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "USE_TORCH": "0",  # datasets imports torch to stream, where it is installed: 10 s for nothing
        "PYTHONPATH": str(ROOT),
        **({"HF_TOKEN": token} if token else {}),
    }


def start_client(
    arguments: list[str], hub: LoopbackHub | str, *, home: Path, token: str | None = None, **environment: str
) -> subprocess.Popen[str]:
    """Start `python ARGUMENTS` as a client of `hub`, in the folder `home`."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=home,
        env=client_environment(hub, home, token) | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_client(
    code: str,
    hub: LoopbackHub | str,
    *arguments: str,
    home: Path,
    token: str | None = None,
    fresh: bool = False,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run Python `code` (indented as the test is) with `sys.argv[1:] = arguments` to its end.

    `fresh`: in a process that has imported nothing before, for code that looks at what it imports.
    """
    code = textwrap.dedent(code)
    if fresh:
        return _finish(start_client(["-c", code, *arguments], hub, home=home, token=token, **environment))
    return _fork(["-c", code, "-c", *arguments], hub, home, token, environment)


def run_synvita(
    hub: LoopbackHub | str, *arguments: str, home: Path, token: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `synvita ARGUMENTS` to its end."""
    return _fork(list(arguments), hub, home, token, environment)


def _fork(
    command: list[str],
    hub: LoopbackHub | str,
    home: Path,
    token: str | None,
    environment: dict[str, str],
) -> subprocess.CompletedProcess[str]:
    done = run_forked(command, client_environment(hub, home, token) | environment, home)
    return subprocess.CompletedProcess(command, done.status, done.out, done.err)


def _finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    try:
        out, err = process.communicate(timeout=600)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"a client did not end in 600 s\n{out}\n{err}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
