"""A Ray cluster on this machine that nobody but the run can use, and of which nothing stays.

Whoever reaches a cluster's ports runs code as its owner. So a fresh token is asked of every connection, known to
nobody but the cluster's own processes (by their environment), and the ports are on the loopback address alone.
"""

import atexit
import contextlib
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import EngineError
from .processes import environment

STARTS = 3  # attempts to start a cluster
OBJECT_STORE = 100 * 2**20  # bytes; nothing but tasks and events goes through Ray
TOKEN = "RAY_AUTH_TOKEN"
NEEDS = "2.52"  # the first Ray whose clusters can ask for a token


class PrivateCluster:
    """A cluster with a token, from its making to `end`."""

    def __init__(self, ray: Any, cpus: int) -> None:
        self._ray = ray
        self._folder: str | None = None
        for attempt in range(1, STARTS + 1):
            try:
                self._start(cpus)
                return
            except EngineError:
                self.end()
                raise
            except Exception:  # a busy machine may not make it within the 30 seconds that Ray allows
                self.end()
                if attempt == STARTS:
                    raise
            except BaseException:
                self.end()
                raise

    def _start(self, cpus: int) -> None:
        self._folder = tempfile.mkdtemp(prefix="synvita-ray-", dir=_short_temporary_folder())
        # Again at the end, after Ray's own last acts: its agents write there while they die.
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        # What this process can import, its workers can: also from a checkout.
        paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with _token(), _loopback(self._ray), environment(paths):
            self._ray.init(
                address="local",
                num_cpus=cpus,
                object_store_memory=OBJECT_STORE,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
                # Ray opens it to every user of the machine; the folder above it stays ours.
                _temp_dir=str(Path(self._folder) / "r"),
            )

    def end(self) -> None:
        self._ray.shutdown()
        with contextlib.suppress(ImportError, AttributeError):
            _read_environment_again()  # this process may use another cluster next
        if self._folder is not None:
            remove_for_good(Path(self._folder))
            self._folder = None


def forget_token() -> None:
    """In a worker: the programs that it starts need no token. Ray has read it, and keeps it."""
    os.environ.pop(TOKEN, None)


@contextlib.contextmanager
def _token() -> Iterator[None]:
    """What Ray starts within asks for a new random token, whatever the user's environment says."""
    with environment({"RAY_AUTH_MODE": "token", TOKEN: secrets.token_hex(32)}):
        try:
            _read_environment_again()
            _check_token_is_asked_for()
        except (ImportError, AttributeError) as error:
            raise _too_old() from error
        yield


def _read_environment_again() -> None:
    """Ray reads mode and token once in a process; it has no public call that reads them again."""
    raylet = _raylet()
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()


def _check_token_is_asked_for() -> None:
    raylet = _raylet()
    if raylet.get_authentication_mode() != raylet.AuthenticationMode.TOKEN:
        raise _too_old()


def _raylet() -> Any:
    """Ray's compiled part; what it declares of itself leaves these out."""
    from ray import _raylet as compiled

    return compiled


def _too_old() -> EngineError:
    import ray

    return EngineError(
        "Ray would start a cluster that lets anyone in who reaches its ports",
        found=f"ray {ray.__version__}",
        expected=f"ray {NEEDS} or newer, which asks for a token",
        fix="pip install --upgrade 'synvita-data[ray]', or --engine local",
    )


@contextlib.contextmanager
def _loopback(ray: Any) -> Iterator[None]:
    """What Ray starts within listens on the loopback address alone.

    Ray does so by itself on macOS and Windows, where it has clusters of one machine only, and elsewhere where this
    switch says so (`_node_ip_address` does not: it is replaced by the address that others see).
    """
    constants = ray._private.ray_constants
    variable = getattr(constants, "ENABLE_RAY_CLUSTERS_ENV_VAR", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
    before = getattr(constants, "ENABLE_RAY_CLUSTER", None)  # read when ray was imported
    with environment({variable: "0"}):
        constants.ENABLE_RAY_CLUSTER = False
        try:
            yield
        finally:
            constants.ENABLE_RAY_CLUSTER = before


def remove_for_good(folder: Path) -> None:
    """Remove a folder that dying processes may write to for a moment longer."""
    for _ in range(10):
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.1)
        if not folder.exists():
            return


def _short_temporary_folder() -> str:
    """Ray's sockets lie some 67 characters below it, and a socket's path may have 107."""
    folder = tempfile.gettempdir()
    return folder if len(folder) <= 18 or not Path("/tmp").is_dir() else "/tmp"
