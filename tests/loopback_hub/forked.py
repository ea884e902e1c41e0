"""`synvita` commands as clients of the loopback Hub, each in a fork of one process that has imported everything.

A client process costs ten seconds of imports; a fork costs nothing. The parent never uses the Hub, threads or a device,
so that a fork starts as a fresh process would. What huggingface_hub reads from the environment at import is read again
in each fork (`importlib.reload` of its constants), so that a command may be offline, impatient or without a token.
huggingface_hub asks again there as often as ever, but does not sleep in between.
"""

import faulthandler
import importlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

from .client import client_environment
from .server import LoopbackHub

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


class Commands:
    """Runs commands against one Hub; use it as `with Commands(hub, folder) as commands`.

    Args:
        hub: whose repositories may change from command to command.
        folder: for caches (`folder/hf-home`) and output.
        imports: what is loaded once, in the parent.
    """

    def __init__(self, hub: LoopbackHub, folder: Path, imports: Sequence[str] = IMPORTS) -> None:
        self.folder, self.home = folder, folder / "hf-home"
        environment = client_environment(hub, folder, None) | {
            "USE_TORCH": "1",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "2000",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from loopback_hub.forked import serve; serve()", *imports],
            env=environment
            | {
                "PYTHONPATH": os.pathsep.join(
                    [environment["PYTHONPATH"], f"{environment['PYTHONPATH']}/tests"]
                )
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Commands":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate("")
        self._process.wait()

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
        """Run `synvita ARGUMENTS` to its end; with `-c CODE` first, Python code in its place.

        Args:
            arguments: of the command.
            cwd: working folder.
            largest: bytes that a file may have before writing to it fails, as on a full disk.
            network: whether there is one; without, no name is known.
            environment: of the command, such as HF_HUB_OFFLINE or HF_TOKEN.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {
            "arguments": list(map(str, arguments)),
            "cwd": str(cwd or self.folder),
            "largest": largest,
            "network": network,
            "environment": environment,
            "streams": [str(self.folder / "stdout"), str(self.folder / "stderr")],
        }
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the process that forks has ended"
        out, err = (Path(path).read_text(encoding="utf-8", errors="replace") for path in order["streams"])
        return Done(json.loads(answer)["status"], out, err)


def serve() -> None:
    """The parent: one fork a line of standard input."""
    for name in sys.argv[1:]:
        importlib.import_module(name)
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


def _run(order: dict[str, Any]) -> int:
    """The fork: becomes the command, and gives its exit status."""
    os.chdir(order["cwd"])
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for number, path in enumerate(order["streams"], start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.environ.update(order["environment"])
    faulthandler.dump_traceback_later(CEILING, exit=True)
    import datasets
    import huggingface_hub
    from huggingface_hub import file_download
    from huggingface_hub.utils import _http

    for module in (huggingface_hub.constants, datasets.config):
        importlib.reload(module)
    for module in (_http, file_download):
        vars(module)["time"] = SimpleNamespace(sleep=lambda seconds: None)
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
