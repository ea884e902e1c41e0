"""SIGKILL at twenty random moments: the next run finishes, with the bytes of an undisturbed build."""

import json
import subprocess
import sys
from pathlib import Path

from test_build import digests


def test_a_killed_build_finishes_with_the_same_bytes(inputs, tmp_path):
    driver = Path(__file__).with_name("kill_driver.py")
    rounds, kills = 4, 5
    done = subprocess.run(
        [sys.executable, driver, inputs.triplets, inputs.spec(), inputs.scores, tmp_path]
        + [str(rounds), str(kills), "11"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # A kill may come after the build has finished; most must have hit one that was running.
    assert json.loads(done.stdout)["killed"] >= rounds * kills // 2
    expected = digests(tmp_path / "undisturbed" / "out")
    assert any(name.endswith(".parquet") for name in expected)
    for number in range(rounds):
        assert digests(tmp_path / f"killed-{number}" / "out") == expected
