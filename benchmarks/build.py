"""`synvita build`: against twenty lines of `datasets` and `rapidfuzz`, and peak memory with gigabytes of videos.

    python benchmarks/build.py [--small] [--rounds 5] [--gigabytes 2]

Both sides run in turns, each as a new process, with compiled modules in a folder of this run's own (the first round of
each compiles them and does not count). Medians count.

Prints one line a figure: `name: value unit (goal …) ok|short`. The annotations are the 16,856 real ones
where they are there (`measure.py`), generated ones elsewhere. The videos are a few encoded clips of noise,
linked under many names, so that the disk holds them once; the Parquet holds every one.
"""

import csv
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from measure import VIDEOCON, argument_parser, figure

ROOT = Path(__file__).resolve().parent.parent


class Spent(NamedTuple):
    """Of a process and those that it started: seconds on the clock and of processors, and the peak of one in megabytes."""

    wall: float
    cpu: float
    peak: float


def spent_by(*command: object, compiled: Path) -> Spent:
    """What a Python process takes.

    Args:
        command: arguments of the interpreter.
        compiled: folder for compiled modules.
    """
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env={**environment, "PYTHONPYCACHEPREFIX": str(compiled)},
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"failed: {command}")
    return Spent(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


BUILD = ("-m", "synvita_data.cli", "build")


def against_twenty_lines(triplets: Path, scores: Path, folder: Path, rounds: int, label: str) -> None:
    """A build without videos, and the same of `build_plain.py`, in turns."""
    compiled = folder / "compiled"
    sides: dict[str, list[Spent]] = {"build": [], "twenty lines": []}
    for turn in range(rounds + 1):
        out = folder / f"out{turn}"
        out.mkdir()
        asked = ("--triplets", triplets, "--vqascores", scores, "--config", "bench", "--out", out)
        spent = {
            "build": spent_by(*BUILD, *asked, compiled=compiled),
            "twenty lines": spent_by("benchmarks/build_plain.py", triplets, scores, out, compiled=compiled),
        }
        for side, each in spent.items():
            if turn:
                sides[side].append(each)
    for side, found in sides.items():
        for what in ("wall", "cpu"):
            figure(f"{side}, {label}, {what}", median(getattr(each, what) for each in found), "s")
    for what in ("wall", "cpu"):
        ratios = [
            getattr(own, what) / getattr(other, what) for own, other in zip(*sides.values(), strict=True)
        ]
        goal = 1.0 if what == "wall" else None
        figure(f"build over twenty lines, {what}", median(ratios), "x", goal, at_most=True)
    peak = max(each.peak for each in sides["build"])
    figure(f"build, {label}, peak memory", peak, "MB", 600, at_most=True)


def annotations(folder: Path, rows: int) -> tuple[Path, Path]:
    """The real triplets and scores, or generated ones of the same size."""
    if VIDEOCON.is_dir() and rows == 16_856:
        return VIDEOCON / "triplets.csv", VIDEOCON / "vqascores.csv"
    rng = random.Random(0)
    words = [
        "a",
        "man",
        "woman",
        "dog",
        "cat",
        "runs",
        "jumps",
        "over",
        "under",
        "the",
        "red",
        "blue",
        "table",
        "before",
        "after",
        "it",
        "stops",
    ]
    triplets, scores = folder / "triplets.csv", folder / "scores.csv"
    with triplets.open("w", newline="") as one, scores.open("w", newline="") as two:
        write, score = csv.writer(one), csv.writer(two)
        write.writerow(["videopath", "source", "caption", "neg_caption", "split", "misalignment"])
        score.writerow(["row", "videopath", "model", "neg_caption_score", "caption_score"])
        for row in range(rows):
            caption = [rng.choice(words) for _ in range(14)] + [str(row)]
            contrast = [rng.choice(words) if rng.random() < 0.2 else word for word in caption[:-1]] + ["now"]
            name = f"video{row}"
            write.writerow([name, "msr-vtt", " ".join(caption), " ".join(contrast), "train", "action"])
            for model in "abc":
                score.writerow([row, name, model, rng.random(), rng.random()])
    return triplets, scores


def videos(folder: Path, total: int, clip_bytes: int) -> int:
    """Fill `folder` with clips for `msr-vtt_video<row>`; returns how many."""
    from synvita_data.video import encode_mp4

    rng = np.random.default_rng(0)
    side = 64 if clip_bytes < 100_000 else 320
    clips = []
    for index in range(4):
        clip = folder.parent / f"clip{index}.mp4"
        frames = max(2, clip_bytes // (side * side))
        encode_mp4(rng.integers(0, 255, (frames, side, side, 3), dtype=np.uint8), 8, clip)
        clips.append(clip)
    size = sum(clip.stat().st_size for clip in clips) / len(clips)
    count = max(4, round(total / size))
    folder.mkdir()
    for row in range(count):
        os.link(clips[row % len(clips)], folder / f"msr-vtt_video{row}_001.mp4")
    return count


def main() -> None:
    parser = argument_parser(__doc__ or "", rounds=5, counts="median")
    parser.add_argument("--gigabytes", type=float, default=2.0, help="of videos")
    arguments = parser.parse_args()
    rows = 300 if arguments.small else 16_856
    total = 3e6 if arguments.small else arguments.gigabytes * 1e9
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        triplets, scores = annotations(folder, rows)
        label = f"{rows:,} rows with scores"
        against_twenty_lines(triplets, scores, folder, 1 if arguments.small else arguments.rounds, label)

        count = videos(folder / "videos", int(total), 20_000 if arguments.small else 2_500_000)
        generated = folder / "generated"
        generated.mkdir()
        triplets, scores = annotations(generated, count)
        seconds, _, with_videos = spent_by(
            *BUILD,
            *("--triplets", triplets, "--vqascores", scores, "--config", "bench"),
            *("--synthetic", f"folder:{folder / 'videos'}", "--out", folder / "embedded"),
            compiled=folder / "compiled",
        )
        written = sum(p.stat().st_size for p in (folder / "embedded" / "bench").glob("*.parquet"))
        label = f"build of {count} videos, {written / 1e9:.2f} GB of Parquet"
        print(f"{label}: {seconds:.1f} s, {written / 1e6 / seconds:.0f} MB/s")
        figure(f"{label}, peak memory", with_videos, "MB", 1000, at_most=True)
        figure(f"{label}, bytes passed a byte of memory", written / 1e6 / with_videos, "x", 2)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
