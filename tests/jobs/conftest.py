"""A folder for Ray's sessions that no other run on this machine writes to."""

import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def sessions():
    """A temporary folder whose path is short enough for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
