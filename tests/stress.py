"""Run the tests that kill, wait for or count processes, again and again in random orders beside busy loops.

    make stress            # twenty times
    make stress TIMES=3

A test that passes here does not depend on who is quicker. Prints a line a module and run, and every failure.
"""

import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
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


def run(module: str, seed: int) -> tuple[bool, str]:
    """Whether the module's fast tests pass in this order; with pytest's last line, or all of it."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "not slow", "--tb=short"]
    command += ["-p", "no:cacheprovider", f"--randomly-seed={seed}", str(HERE / module)]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True)
    last = re.sub(
        r"\x1b\[\d*m", "", done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr
    )
    return done.returncode == 0, last if done.returncode == 0 else done.stdout[-6000:] + done.stderr[-2000:]


def main(times: int) -> int:
    # As many loops as there are cores: each test process has half a core at best.
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    failures: Counter[str] = Counter()
    try:
        for turn in range(1, times + 1):
            for module in MODULES:
                seed, began = random.SystemRandom().randrange(2**31), time.monotonic()
                passed, text = run(module, seed)
                failures[module] += not passed
                took = time.monotonic() - began
                print(f"{turn}/{times} {module} seed {seed} {took:.0f} s: {text}", flush=True)
    finally:
        for loop in busy:
            loop.kill()
            loop.wait()
    print(f"{times} times {len(MODULES)} modules, failed: {dict(+failures) or 'none'}")
    return 1 if +failures else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
