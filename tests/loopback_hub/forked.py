"""Clients of the loopback Hub, each in a fork of one process that has imported everything.

A client process costs ten seconds of imports; a fork costs nothing. The parent never uses the Hub, threads or a device,
so that a fork starts as a fresh process would. What huggingface_hub and others read from the environment at import is
read again in each fork (`_read_environment`), so that a client may be of another Hub, offline, impatient or without a
token. huggingface_hub asks again there as often as ever, but does not sleep in between.

A pytest process has one such parent for each set of imports; it ends when that process closes its pipe, by exiting.
"""

import faulthandler
import gc
import importlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .server import LoopbackHub

ROOT = Path(__file__).resolve().parent.parent.parent

# Seconds after which a command that hangs is ended, with a traceback of where; far more than any of them takes.
CEILING = 300
# What commands import: loaded once, in the parent.
IMPORTS = (
    *("torch", "torchvision.transforms.v2", "datasets", "diffusers", "peft", "av", "rich.console"),
    *("transformers.models.auto", "transformers.models.video_llava.modeling_video_llava"),
    *("synvita_data.cli", "synvita_data.models.loading", "synvita_data.scoring.alignment"),
    *("synvita_data.builders.dataset", "synvita_data.evaluation.run"),
)


@dataclass(frozen=True)
class Done:
    """A command that ended. `errors` are the lines in our own format."""

    status: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error:")]


@cache
def _parent(imports: tuple[str, ...]) -> "subprocess.Popen[str]":
    paths = os.pathsep.join([str(ROOT), f"{ROOT}/tests"])
    return subprocess.Popen(
        [sys.executable, "-c", "from loopback_hub.forked import serve; serve()", *imports],
        env=os.environ | {"PYTHONPATH": paths, "USE_TORCH": "1", "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run_forked(
    arguments: Sequence[object],
    environment: Mapping[str, str],
    cwd: Path,
    *,
    imports: Sequence[str] = IMPORTS,
    largest: int | None = None,
    network: bool = True,
) -> Done:
    """Run `synvita ARGUMENTS` in a fork to its end; with `-c CODE` first, Python code in its place.

    Args:
        arguments: of the command.
        environment: the whole of it.
        cwd: working folder.
        imports: what is loaded once, in the parent.
        largest: bytes that a file may have before writing to it fails, as on a full disk.
        network: whether there is one; without, no name is known.
    """
    process = _parent(tuple(imports))
    assert process.stdin is not None
    assert process.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        streams = [f"{folder}/stdout", f"{folder}/stderr"]
        order = {
            "arguments": list(map(str, arguments)),
            "cwd": str(cwd),
            "largest": largest,
            "network": network,
            "environment": dict(environment),
            "streams": streams,
        }
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, "the process that forks has ended"
        out, err = (Path(path).read_text(encoding="utf-8", errors="replace") for path in streams)
    return Done(json.loads(answer)["status"], out, err)


class Commands:
    """Runs commands against one Hub, whose repositories may change from command to command.

    Args:
        hub: the Hub.
        folder: for caches (`folder/hf-home`) and output.
        imports: what is loaded once, in the parent.
    """

    def __init__(self, hub: LoopbackHub, folder: Path, imports: Sequence[str] = IMPORTS) -> None:
        from .client import client_environment

        self.folder, self.home, self._imports = folder, folder / "hf-home", imports
        self._environment = client_environment(hub, folder, None) | {"USE_TORCH": "1", "COLUMNS": "2000"}

    def forget(self) -> None:
        """Empty caches."""
        shutil.rmtree(self.home, ignore_errors=True)

    def __call__(
        self,
        *arguments: object,
        cwd: Path | None = None,
        largest: int | None = None,
        network: bool = True,
        **environment: str,
    ) -> Done:
        """`run_forked` with `environment` on top of a client's, such as HF_HUB_OFFLINE or HF_TOKEN."""
        return run_forked(
            arguments,
            self._environment | environment,
            cwd or self.folder,
            imports=self._imports,
            largest=largest,
            network=network,
        )


def serve() -> None:
    """The parent: one fork a line of standard input."""
    for name in sys.argv[1:]:
        importlib.import_module(name)
    gc.freeze()  # no fork looks through what the imports made
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(_run(order))
        _, status = os.waitpid(child, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status)}), file=answers, flush=True)
    os._exit(0)  # without what libraries do at exit, some of which takes seconds


def _no_network(*asked: Any, **more: Any) -> Any:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def _read_environment() -> None:
    """What libraries read from the environment when they are imported, read again."""
    import huggingface_hub
    from huggingface_hub import file_download, hf_api
    from huggingface_hub.utils import _http

    for name in ("huggingface_hub.constants", "datasets.config", "evaluate.config"):
        if (module := sys.modules.get(name)) is None:
            continue
        before = dict(vars(module))
        importlib.reload(module)
        changed = {
            key: value for key, value in vars(module).items() if before.get(key) != value and key.isupper()
        }
        # Copies that the library's other modules made with `from .constants import …`.
        for other in [each for path, each in sys.modules.items() if path.startswith(name.partition(".")[0])]:
            vars(other).update({key: value for key, value in changed.items() if key in vars(other)})
    hf_api.api.endpoint = huggingface_hub.constants.ENDPOINT
    huggingface_hub.HfFileSystem.clear_instance_cache()
    for module in (_http, file_download):
        vars(module)["time"] = SimpleNamespace(sleep=lambda seconds: None)


def _run(order: dict[str, Any]) -> int:
    """The fork: becomes the command, and gives its exit status."""
    os.chdir(order["cwd"])
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for number, path in enumerate(order["streams"], start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.environ.clear()
    os.environ.update(order["environment"])
    faulthandler.dump_traceback_later(CEILING, exit=True)
    _read_environment()
    if not order["network"]:
        socket.getaddrinfo = _no_network
    if order["largest"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest"], order["largest"]))
    status: Any = 0
    try:
        first, *rest = order["arguments"]
        if first == "-c":
            sys.argv = rest
            exec(compile(rest.pop(0), "<code>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = ["synvita", first, *rest]
            from synvita_data.cli import main

            main()
    except SystemExit as stop:
        status = stop.code
    except BaseException:
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return status if isinstance(status, int) else 0 if status is None else 1
