"""An external generator in a few lines: a script, the rows to feed it, and what it should make of them.

It writes a real mp4 file a prompt, with prompt and seed in a `free` box behind the picture, where a test reads them.
"""

import sys
from pathlib import Path

import numpy as np

from synvita_data.schema import Triplet
from synvita_data.video import encode_mp4

SCRIPT = """
import json, os, pathlib, sys, time
prompts, out, seed = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
clip = pathlib.Path(__file__).with_name("clip.mp4").read_bytes()
lines = prompts.read_text(encoding="utf-8").splitlines()
for number, line in enumerate(lines, start=1):
    if "crash" in line:
        print("out of paint:", line, file=sys.stderr)
        sys.exit(3)
    if "sleep" in line:
        child = os.fork()
        time.sleep(60)
    if "nothing" in line:
        continue
    told = json.dumps([line, seed, number, len(lines)]).encode()
    data = b"not a video" if "garbage" in line else clip + (8 + len(told)).to_bytes(4, "big") + b"free" + told
    (out / f"{number:04d}.mp4").write_bytes(data)
"""


def write_program(folder: Path) -> str:
    """The SPEC of the program, written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "paint.py"
    script.write_text(SCRIPT)
    pixels = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), dtype=np.uint8)
    encode_mp4(pixels, 8, folder / "clip.mp4")
    return f"command:{sys.executable} -S {script} {{prompts}} {{out}} {{seed}}"


def rows(*captions: str, source: str = "vatex") -> list[Triplet]:
    """A triplet a contrast caption."""
    return [
        Triplet(source=source, video_id=f"v{number}", caption="a man", neg_caption=caption, row=number)
        for number, caption in enumerate(captions)
    ]


def told(path: Path) -> list[object]:
    """[prompt, seed, its number, how many] that the program wrote behind the picture."""
    import json

    return json.loads(path.read_bytes().rpartition(b"free")[2])


def videos(out: Path) -> dict[str, bytes]:
    """Name -> bytes of the finished videos."""
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.mp4"))}
