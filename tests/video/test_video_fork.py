"""Decoding before and after a fork, in worker processes, and what importing and decoding cost in globals."""

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numbered_clips import numbers_in, write_clip

from synvita_data.video import FramePolicy, MissingBackendError, check_video, decode

FORK = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork"
)


def numbers_of(task: tuple[str, str]) -> list[int]:
    path, backend = task
    return numbers_in(decode(path, FramePolicy(count=5, backend=backend)).pixels)


@FORK
@pytest.mark.parametrize("backend", ["pyav", "decord"])
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_forked_workers_decode_after_the_parent_did(tmp_path, backend: str) -> None:
    """A reader kept from before the fork would deadlock here; the time limit turns that into a failure."""
    path = str(write_clip(tmp_path / "clip.mp4", 20))
    try:
        expected = numbers_of((path, backend))
    except MissingBackendError as error:
        pytest.skip(str(error))
    check_video(path)
    assert expected == [2, 6, 10, 14, 18]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map_async(numbers_of, [(path, backend)] * 6).get(timeout=300)
    assert found == [expected] * 6
    assert numbers_of((path, backend)) == expected


def test_importing_is_light_and_silent() -> None:
    script = (
        "import sys, json, synvita_data.video as video;"
        "print(json.dumps([m for m in ('av', 'torch', 'decord', 'torchcodec', 'datasets') if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True
    )
    assert json.loads(done.stdout) == []
    assert done.stderr == ""


def test_damaged_files_write_nothing_to_the_terminal_and_leave_logging_alone(tmp_path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 20, movflags="faststart")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = np.random.default_rng(0).bytes(len(data) - len(data) // 2)
    path.write_bytes(data)
    script = (
        "import sys, av, logging; before = av.logging.get_level(), logging.getLogger('libav').level;"
        "from synvita_data.video import decode;"
        "from synvita_data.errors import VideoError\n"
        "try: decode(sys.argv[1])\n"
        "except VideoError as error: print(type(error).__name__)\n"
        "assert before == (av.logging.get_level(), logging.getLogger('libav').level)"
    )
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "CorruptVideoError"
    assert done.stderr == ""


def test_the_benchmark_runs_small() -> None:
    script = Path(__file__).resolve().parents[2] / "benchmarks" / "decode.py"
    done = subprocess.run(
        [sys.executable, str(script), "--small"], capture_output=True, text=True, timeout=300, check=True
    )
    assert "pyav (default): " in done.stdout
    assert "ratio to the best other" in done.stdout
