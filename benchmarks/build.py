"""`synvita build`: time and peak memory without videos, and peak memory with gigabytes of them.

    python benchmarks/build.py [--small] [--gigabytes 2]

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

import numpy as np
from measure import VIDEOCON, argument_parser, figure

ROOT = Path(__file__).resolve().parent.parent


def run_build(*arguments: object) -> tuple[float, float]:
    """Wall seconds and peak resident megabytes of one `synvita build` in a process of its own."""
    command = [sys.executable, "-m", "synvita_data.cli", "build", *map(str, arguments)]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the build failed: {command}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


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
    parser = argument_parser(__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0, help="of videos")
    arguments = parser.parse_args()
    rows = 300 if arguments.small else 16_856
    total = 3e6 if arguments.small else arguments.gigabytes * 1e9
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        triplets, scores = annotations(folder, rows)
        seconds, peak = run_build(
            *("--triplets", triplets, "--vqascores", scores, "--config", "bench", "--out", folder / "plain")
        )
        figure(f"build of {rows} rows with scores, wall", seconds, "s", 15, at_most=True)
        figure(f"build of {rows} rows with scores, peak memory", peak, "MB", 600, at_most=True)

        count = videos(folder / "videos", int(total), 20_000 if arguments.small else 2_500_000)
        generated = folder / "generated"
        generated.mkdir()
        triplets, scores = annotations(generated, count)
        seconds, with_videos = run_build(
            *("--triplets", triplets, "--vqascores", scores, "--config", "bench"),
            *("--synthetic", f"folder:{folder / 'videos'}", "--out", folder / "embedded"),
        )
        written = sum(p.stat().st_size for p in (folder / "embedded" / "bench").glob("*.parquet"))
        label = f"build of {count} videos, {written / 1e9:.2f} GB of Parquet"
        print(f"{label}: {seconds:.1f} s, {written / 1e6 / seconds:.0f} MB/s")
        figure(f"{label}, peak memory", with_videos, "MB", 1000, at_most=True)
        figure(f"{label}, bytes passed a byte of memory", written / 1e6 / with_videos, "x", 2)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
