"""What the benchmarks share: options, lines of figures, sides timed in turns, peak memory, and real inputs.

Real inputs are not licensed for redistribution. They lie in `../shared/data` beside the checkout, or where
`SYNVITA_REAL_DATA` says; benchmarks make inputs of their own where they are absent.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

REAL_DATA = Path(
    os.environ.get("SYNVITA_REAL_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
)
VIDEOCON = REAL_DATA / "videocon-16k"  # triplets.csv, vqascores.csv
Pair = tuple[str, str]


def argument_parser(text: str, *, rounds: int | None = None, counts: str = "best") -> argparse.ArgumentParser:
    """The options of every benchmark: `--small`, and `--rounds` where sides are timed several times.

    Args:
        text: the script's own, for `--help`.
        rounds: how many by default.
        counts: which of them counts.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few seconds, for function only")
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds, help=f"of which the {counts} counts")
    return parser


def figure(name: str, value: float, unit: str, goal: float | None = None, *, at_most: bool = False) -> None:
    """One line, `name: value unit (goal …) ok|short`; without a goal, a figure to look at."""
    shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    print(f"{name}: {shown} {unit}{against(value, goal, at_most=at_most)}", flush=True)


def met(value: float, goal: float, *, at_most: bool) -> bool:
    """Whether a figure reaches its goal."""
    return bool(value <= goal if at_most else value >= goal)


def against(value: float, goal: float | None, *, at_most: bool) -> str:
    """What a line says of a figure's goal; nothing without one."""
    if goal is None:
        return ""
    verdict = "ok" if met(value, goal, at_most=at_most) else "short"
    return f" (goal {'<=' if at_most else '>='} {goal:g}) {verdict}"


def in_turns(
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    of: Callable[[list[float]], float] = min,
    **sides: Callable[[], object],
) -> dict[str, float]:
    """Seconds of each side, run one after the other in every round.

    What else the machine does falls on all sides and only ever adds time, so the best round counts by default.

    Args:
        rounds: how often each side runs.
        clock: `time.perf_counter`, or `time.process_time` for processor time of this process.
        of: which of the rounds counts: `min`, or `statistics.median`.
        sides: by name.
    """
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            began = clock()
            run()
            spent[name].append(clock() - began)
    return {name: of(seconds) for name, seconds in spent.items()}


def added_megabytes(work: Callable[[], object]) -> float:
    """Megabytes that a call adds to this process, at most (Linux)."""
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    work()
    high = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return max(high - before, 1) / 1e6


def of_a_process(*arguments: object, **environment: str) -> float:
    """The number that this script prints last when it is run with these arguments in a process of its own."""
    command = [sys.executable, sys.argv[0], *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def real_pairs(limit: int | None = None) -> list[Pair]:
    """Captions and contrast captions of VideoCon, in the file's order; none where the file is not there.

    Args:
        limit: the first so many; None for all.
    """
    import csv

    if not (VIDEOCON / "triplets.csv").is_file():
        return []
    with (VIDEOCON / "triplets.csv").open(encoding="utf-8-sig", newline="") as handle:
        return [(row["caption"], row["neg_caption"]) for row in csv.DictReader(handle)][:limit]


def pairs(limit: int | None = None) -> list[Pair]:
    """The real pairs, or as many made here: sentences of 8 to 20 words, and a copy with one word changed or two
    halves exchanged. Says which they are.

    Args:
        limit: the first so many; None for all.
    """
    found, origin = real_pairs(limit), "real"
    if not found:
        rng, origin = random.Random(0), "made here"
        words = ["".join(rng.choices("aeioubdfglmnprst", k=rng.randint(1, 8))) for _ in range(5000)]
        for _ in range(16_856 if limit is None else limit):
            caption = rng.choices(words, k=rng.randint(8, 20))
            contrast = caption.copy()
            if rng.random() < 0.5:
                contrast[rng.randrange(len(contrast))] = rng.choice(words)
            else:
                half = len(contrast) // 2
                contrast = contrast[half:] + contrast[:half]
            found.append((" ".join(caption) + ".", " ".join(contrast) + "."))
    print(f"pairs: {len(found):,} ({origin})")
    return found
