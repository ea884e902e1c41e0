"""Run the tests that kill, wait for or count processes, again and again in random orders beside busy loops.

    make stress            # twenty times
    make stress TIMES=3
    python tests/stress.py 3 kills    # the long tests that kill, alone

A test that passes here does not depend on who is quicker. Prints a line a module and run, and every failure.
"""

import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from itertools import product
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULES = [
    "jobs",
    "builders/generators/test_pipeline_generator.py",
    "builders/generators/test_command_generator.py",
    "builders/generators/test_output_folder.py",
    "builders/vqascore/test_vqa_kills.py",
    "builders/dataset/test_build_killed.py",
    "evaluation/test_runner.py",
    "pair_scores/test_pairs.py",
    "training/test_run_folder.py",
    "training/test_trainer_resume.py",
    "training/test_trainer_processes.py",
    "training/test_stock_trainer_processes.py",
]
# What is run of each module, by pytest's options: its fast tests, and the long ones that kill. Ray's have clusters of
# their own and take minutes each: `make test-all`.
PARTS = {"fast": ["-m", "not slow"], "kills": ["-m", "slow", "-k", "kill and not ray"]}
NO_TESTS = 5  # pytest's exit status


def run(module: str, part: str, seed: int) -> tuple[bool, str]:
    """Whether a part of the module's tests pass in this order; with pytest's last line, or all of it."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", *PARTS[part], "--tb=short"]
    command += ["-p", "no:cacheprovider", f"--randomly-seed={seed}", str(HERE / module)]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True)
    last = re.sub(
        r"\x1b\[\d*m", "", done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr
    )
    passed = done.returncode in (0, NO_TESTS)
    return passed, last if passed else done.stdout[-6000:] + done.stderr[-2000:]


def main(times: int, parts: list[str]) -> int:
    # As many loops as there are cores: each test process has half a core at best.
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    failures: Counter[str] = Counter()
    try:
        for turn, module, part in product(range(1, times + 1), MODULES, parts):
            seed, began = random.SystemRandom().randrange(2**31), time.monotonic()
            passed, text = run(module, part, seed)
            failures[f"{module} ({part})"] += not passed
            took = time.monotonic() - began
            print(f"{turn}/{times} {module} ({part}) seed {seed} {took:.0f} s: {text}", flush=True)
    finally:
        for loop in busy:
            loop.kill()
            loop.wait()
    print(f"{times} times {len(MODULES)} modules, failed: {dict(+failures) or 'none'}")
    return 1 if +failures else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:] or list(PARTS)))
