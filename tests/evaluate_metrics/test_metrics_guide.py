"""The benchmark runs and its pairs of answers agree (it exits where they do not); the guide's examples hold."""

import doctest
import subprocess
import sys


def test_the_small_benchmark_prints_every_figure(repo_root):
    done = subprocess.run(
        [sys.executable, "benchmarks/metrics.py", "--small", "--rounds", "1"],
        cwd=repo_root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    figures = [line for line in done.stdout.splitlines() if "(goal" in line]
    assert len(figures) == 5
    assert all(line.endswith(("ok", "short")) for line in figures)


def test_the_examples_of_the_guide(repo_root):
    failed, attempted = doctest.testfile(str(repo_root / "docs" / "metrics.md"), module_relative=False)
    assert attempted >= 4
    assert failed == 0
