"""SIGKILL at twenty random moments: the next run finishes, with the bytes of an undisturbed build."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_build import digests


@pytest.mark.slow
def test_a_killed_build_finishes_with_the_same_bytes(inputs, tmp_path):
    driver = Path(__file__).with_name("kill_driver.py")
    done = subprocess.run(
        [sys.executable, driver, inputs.triplets, inputs.spec(), inputs.scores, tmp_path, "20", "11"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["killed"] == 20
    expected = digests(tmp_path / "undisturbed" / "out")
    assert any(name.endswith(".parquet") for name in expected)
    for number in range(report["builds"]):
        assert digests(tmp_path / f"killed-{number}" / "out") == expected


@pytest.mark.slow
def test_a_kill_near_the_end_leaves_what_an_undisturbed_build_leaves(inputs, tmp_path):
    driver = Path(__file__).with_name("kill_points.py")
    done = subprocess.run(
        [sys.executable, driver, inputs.triplets, inputs.spec(), inputs.scores, tmp_path],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    expected = found.pop("never")
    assert {"build.json", "quarantine.jsonl", "figures/vqascore-difference-tiny.png"} <= set(expected)
    assert len(found) == 3
    for point, files in found.items():
        assert files == expected, point
