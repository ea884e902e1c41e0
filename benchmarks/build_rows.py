"""`synvita build` without videos: peak memory against the number of rows.

    python benchmarks/build_rows.py [--small] [--rows 25000 50000 100000]
    python benchmarks/build_rows.py --rows 10000 1000000    # a quarter of an hour

Each build has scores of three models; rows are made here. A build that is flat in rows takes as many bytes for a million as
for ten thousand: the figures are how many bytes a row adds to the build's own process, and the most that it and what it
starts take at one moment.
"""

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

from build import BUILD, ROOT, annotations
from measure import argument_parser, figure

GOAL = 1000  # megabytes for a million rows
PAGE = resource.getpagesize()


class Watched(NamedTuple):
    """A process: seconds on the clock and of processors, the peak of its own and of all that it started, in megabytes."""

    wall: float
    cpu: float
    own: float
    together: float


def watched(*command: object) -> Watched:
    """What a Python process takes, looked at twenty times a second."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    ended, peaks = threading.Event(), [0.0, 0.0]

    def look() -> None:
        while not ended.wait(0.05):
            sizes = [resident(each) for each in family(process.pid)]
            peaks[0] = max(peaks[0], sizes[0])
            peaks[1] = max(peaks[1], sum(sizes))

    looking = threading.Thread(target=look)
    looking.start()
    _, status, usage = os.wait4(process.pid, 0)
    ended.set()
    looking.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"failed: {command}")
    return Watched(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, *peaks)


def family(process: int) -> list[int]:
    """A process and those that it started, theirs too."""
    found = [process]
    for each in found:
        try:
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:  # it has ended
            continue
    return found


def resident(process: int) -> float:
    """Megabytes of a process that are in memory; pages that several share count for each."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE / 1e6
    except (OSError, IndexError):
        return 0.0


def main() -> None:
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--rows", type=int, nargs="+", default=[25_000, 50_000, 100_000])
    arguments = parser.parse_args()
    counts = [200, 400] if arguments.small else sorted(arguments.rows)
    peaks = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        for rows in counts:
            folder = Path(name) / str(rows)
            folder.mkdir()
            triplets, scores = annotations(folder, rows)
            asked = ("--triplets", triplets, "--vqascores", scores, "--config", "bench")
            spent = watched(*BUILD, *asked, "--out", folder / "out")
            label = f"build of {rows:,} rows"
            figure(f"{label}, peak of its process", spent.own, "MB")
            figure(f"{label}, peak of all processes together", spent.together, "MB", GOAL, at_most=True)
            figure(f"{label}, wall", spent.wall, "s")
            figure(f"{label}, cpu", spent.cpu, "s")
            peaks.append(spent.own)
    if len(counts) > 1:
        added = (peaks[-1] - peaks[0]) * 1e6 / (counts[-1] - counts[0])
        figure("bytes that a row adds", added, "bytes", 500, at_most=True)


if __name__ == "__main__":
    main()
