"""Decoding 8 frames at 224 × 224: the default backend against stock decord and torchcodec, in one run.

    python benchmarks/decode.py [--small] [--rounds N]

Inputs: the nine small clips of `synvita-samples` (`measure.py` says where) together, and its 720p clip alone; where
they are absent, or with --small, one clip made here. The others are called directly, as their users
call them, each with one and with all processors; their best counts. Rounds are interleaved and the best
of each is taken, because other work on the machine only ever adds time. Lines end with ok or short
against the goal of a ratio of at least 1 (default at least as fast as the best other).
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from measure import REAL_DATA, argument_parser, figure, in_turns

from synvita_data.video import FramePolicy, decode, encode_mp4

COUNT, SIZE = 8, 224
SAMPLES = REAL_DATA / "synvita-samples"
Decoder = Callable[[Path], object]


def midpoints(frames: int) -> list[int]:
    return [int(frames / COUNT * (k + 0.5)) for k in range(COUNT)]


def ours(path: Path) -> object:
    return decode(path, FramePolicy(count=COUNT, size=(SIZE, SIZE))).pixels


def stock_decord(threads: int) -> Decoder:
    import decord

    decord.logging.set_level(decord.logging.QUIET)

    def run(path: Path) -> object:
        reader = decord.VideoReader(str(path), width=SIZE, height=SIZE, num_threads=threads)
        return reader.get_batch(midpoints(len(reader))).asnumpy()

    return run


def stock_torchcodec(threads: int, seek_mode: str) -> Decoder:
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    def run(path: Path) -> object:
        reader = VideoDecoder(
            path, num_ffmpeg_threads=threads, seek_mode=seek_mode, transforms=[Resize((SIZE, SIZE))]
        )
        return reader.get_frames_at(midpoints(len(reader))).data.numpy()

    return run


def decoders(probe_clip: Path) -> dict[str, Decoder]:
    """Every decoder that works here, ours first."""
    processors = len(os.sched_getaffinity(0))
    found: dict[str, Decoder] = {"pyav (default)": ours}
    candidates: dict[str, Callable[[], Decoder]] = {}
    for threads in sorted({1, processors, processors + 1}):
        candidates[f"decord, {threads} threads"] = lambda threads=threads: stock_decord(threads)
        for mode in ("exact", "approximate"):
            candidates[f"torchcodec {mode}, {threads} threads"] = lambda threads=threads, mode=mode: (
                stock_torchcodec(threads, mode)
            )
    for name, make in candidates.items():
        try:
            decoder = make()
            decoder(probe_clip)
        except (ImportError, OSError, RuntimeError) as error:
            print(f"# left out: {name}: {str(error).strip().splitlines()[0][:100]}")
        else:
            found[name] = decoder
    return found


def best_times(found: dict[str, Decoder], clips: list[Path], rounds: int) -> dict[str, float]:
    """Best wall time of each decoder over all `clips`, seconds."""
    each = [in_turns(rounds, **{name: partial(found[name], clip) for name in found}) for clip in clips]
    return {name: sum(times[name] for times in each) for name in found}


def link_ffmpeg(folder: Path) -> Path | None:
    """Links in `folder` that give PyAV's bundled FFmpeg its usual names; the bundle, or None without one."""
    import av

    bundle = Path(av.__file__).parents[1] / "av.libs"
    for library in bundle.glob("lib*-*.so.*"):
        stem, version = library.name.split("-", 1)
        if stem.startswith(("libav", "libsw")):
            major = version.split(".so.")[1].split(".")[0]
            (folder / f"{stem}.so.{major}").symlink_to(library)
    return bundle if any(folder.iterdir()) else None


def run_with_ffmpeg() -> bool:
    """Run this program again where torchcodec finds PyAV's FFmpeg, if it finds none; False if not needed."""
    try:
        import torchcodec
    except (ImportError, OSError, RuntimeError):
        return False
    if os.environ.get("SYNVITA_BENCH_FFMPEG") or torchcodec.ffmpeg_major_version is not None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        bundle = link_ffmpeg(Path(folder))
        if bundle is None:
            return False
        path = f"{folder}:{bundle}:{os.environ.get('LD_LIBRARY_PATH', '')}"
        environment = {**os.environ, "LD_LIBRARY_PATH": path, "SYNVITA_BENCH_FFMPEG": "1"}
        subprocess.run([sys.executable, *sys.argv], env=environment, check=True)
    return True


def made_clip(folder: Path) -> Path:
    """A noisy moving gradient, 256 × 256, 48 frames."""
    noise = np.random.default_rng(0).integers(0, 24, (48, 256, 256, 3))
    ramp = np.arange(256)[None, :, None, None] // 2 + np.arange(48)[:, None, None, None]
    path = folder / "made.mp4"
    encode_mp4((ramp + noise).astype(np.uint8), 8, path)
    return path


def main() -> None:
    arguments = argument_parser(__doc__, rounds=7).parse_args()
    if not arguments.small and run_with_ffmpeg():
        return
    with contextlib.ExitStack() as stack:
        sets: dict[str, list[Path]] = {}
        if SAMPLES.is_dir() and not arguments.small:
            sets["nine small clips"] = sorted(SAMPLES.glob("*/*.mp4"))
            sets["720p clip"] = sorted(SAMPLES.glob("*.mp4"))
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            sets["made clip"] = [made_clip(folder)]
        rounds = 2 if arguments.small else arguments.rounds
        found = decoders(next(iter(sets.values()))[0])
        for title, clips in sets.items():
            times = best_times(found, clips, rounds)
            for name, seconds in times.items():
                figure(f"decode {title}, {name}", seconds * 1000, "ms")
            mine = times.pop("pyav (default)")
            if not times:
                print(f"decode {title}, ratio to the best other: no other backend works here")
                continue
            rival = min(times, key=lambda name: times[name])
            figure(f"decode {title}, ratio to the best other ({rival})", times[rival] / mine, "x", 1)


if __name__ == "__main__":
    main()
