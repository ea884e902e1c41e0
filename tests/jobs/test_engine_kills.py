"""Runs of a small job, killed at random moments."""

from functools import partial
from pathlib import Path

import pytest
from jobs.kill_harness import survive_kills
from jobs.number_jobs import Squares


def squares(root: Path, count: int, seconds: float, together: int = 1) -> Squares:
    return Squares(root, root.with_name("own-log"), count, seconds=seconds, together=together)


@pytest.mark.slow
def test_five_kills_of_a_run_in_one_process(tmp_path):
    survive_kills(partial(squares, count=30, seconds=0.01), tmp_path, kills=5)


@pytest.mark.slow
def test_five_kills_of_a_run_with_two_workers_or_of_one_of_them(tmp_path):
    make_job = partial(squares, count=60, seconds=0.02, together=3)
    survive_kills(make_job, tmp_path, kills=5, workers=2, victim="either", seed=1)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "victim"), [(1, "parent"), (2, "parent"), (2, "worker")])
def test_thirty_kills(tmp_path, workers, victim):
    make_job = partial(squares, count=200, seconds=0.02, together=2)
    survive_kills(make_job, tmp_path, kills=30, workers=workers, victim=victim, start="spawn", seed=2)
