"""Tests run offline, in any order, and leave nothing behind: every cache goes to a temporary home."""

import atexit
import functools
import gc
import os
import re
import shutil
import tempfile
from pathlib import Path

# Before anything imports huggingface_hub or datasets: they read these once, at import.
_home = tempfile.mkdtemp(prefix="synvita-tests-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
for _name in ("HF_TOKEN", "HF_ENDPOINT", "HUGGING_FACE_HUB_TOKEN"):
    os.environ.pop(_name, None)
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HOME=_home,
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_EVALUATE_OFFLINE="1",
    HF_MODULES_CACHE=f"{_home}/modules",
    MPLBACKEND="Agg",
    MPLCONFIGDIR=f"{_home}/matplotlib",
    OMP_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    GRADIO_ANALYTICS_ENABLED="False",
)

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
settings.register_profile("repo", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repo")


@functools.cache
def _group(path: Path) -> str | None:
    found = re.search(r'xdist_group\("([^"]+)"\)', path.read_text(encoding="utf-8"))
    return found and found[1]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """`--dist loadgroup`: files that mark an `xdist_group` go whole to one worker, which makes their fixtures once.

    xdist 3.8 tells groups by the ends of node ids, which it can no longer set in pytest 9.2: there it deals all tests
    one by one, and says nothing.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class OneWorkerAGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(config.rootpath / nodeid.split("::")[0]) or nodeid

    return OneWorkerAGroup(config, log)


def pytest_collection_finish():
    """What the imports made is looked through by no collection of garbage: that was two fifths of the tests' time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def repo_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """`../shared/data`: real inputs that are not licensed for redistribution; absent elsewhere."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data of ../shared/data is not on this machine")
    return folder


@pytest.fixture
def loopback_hub():
    """An empty Hugging Face Hub on 127.0.0.1; see `tests/loopback_hub`."""
    from loopback_hub import LoopbackHub

    with LoopbackHub() as hub:
        yield hub
