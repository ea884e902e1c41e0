"""Run builds in forked children and kill them at random moments; prints what it did as JSON.

A process of its own, because it forks: it imports everything first and starts no thread.
Usage: kill_driver.py TRIPLETS SPEC SCORES FOLDER KILLS SEED
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import datasets  # noqa: F401  (imported before the forks, as what follows)
import matplotlib.backends.backend_agg
import matplotlib.backends.backend_svg
import matplotlib.figure  # noqa: F401
import pyarrow.parquet  # noqa: F401

import synvita_data.video  # noqa: F401
from synvita_data.builders.dataset import BuildOptions, build_dataset

KILLS_A_BUILD = 5


def build(options: BuildOptions) -> None:
    """Build in a forked child and wait for it."""
    pid = start(options)
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise SystemExit(f"an undisturbed build failed with status {status}")


def start(options: BuildOptions) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        build_dataset(options)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def main(triplets: str, spec: str, scores: str, folder: str, kills: str, seed: str) -> None:
    rng = random.Random(int(seed))

    def options(out: str) -> BuildOptions:
        return BuildOptions(
            triplets=Path(triplets),
            out=Path(folder) / out / "out",
            config="tiny",
            synthetic=spec,
            vqascores=Path(scores),
            max_shard_bytes=12_000,
        )

    began = time.monotonic()
    build(options("undisturbed"))
    duration = time.monotonic() - began
    killed, number, here = 0, 0, 0  # `here`: kills of the build in folder `number`
    while killed < int(kills):
        pid = start(options(f"killed-{number}"))
        time.sleep(rng.uniform(0, duration))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            killed, here = killed + 1, here + 1
        else:
            duration *= 0.9  # it finished first: the machine is less busy than it was
        if here == KILLS_A_BUILD or not os.WIFSIGNALED(status):
            build(options(f"killed-{number}"))
            number, here = number + 1, 0
    build(options(f"killed-{number}"))
    print(json.dumps({"killed": killed, "builds": number + 1}))


if __name__ == "__main__":
    main(*sys.argv[1:])
