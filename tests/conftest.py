"""Tests run offline, in any order, and leave nothing behind: every cache goes to a temporary home."""

import atexit
import os
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
