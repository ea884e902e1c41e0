"""Builds that are killed at one point each, built again, and what is then there; prints it as JSON.

A process of its own, because it forks. Usage: kill_points.py TRIPLETS SPEC SCORES FOLDER
"""

import json
import os
import signal
import sys
from pathlib import Path

from kill_driver import build, start

from synvita_data.builders.dataset import BuildOptions, report


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_quarantine(final: Path, content: str, write=report.write_atomic) -> None:
    if final.name == report.QUARANTINE:
        final.with_name(f".part-0000000000-{final.name}").write_text("half")
        die()
    write(final, content)


POINTS = {
    "before anything is tidied": ("_tidy", die),
    "while the quarantine is written": ("write_atomic", in_quarantine),
    "between the folder and the report": ("_write_report", die),
}


def main(triplets: str, spec: str, scores: str, folder: str) -> None:
    found = {}
    for number, (point, (name, replacement)) in enumerate({"never": ("__doc__", ""), **POINTS}.items()):
        out = Path(folder) / str(number)
        options = BuildOptions(
            triplets=Path(triplets), out=out, config="tiny", synthetic=spec, vqascores=Path(scores)
        )
        before = getattr(report, name)
        setattr(report, name, replacement)
        _, status = os.waitpid(start(options), 0)
        setattr(report, name, before)
        assert os.WIFSIGNALED(status) == (point != "never"), point
        build(options)
        found[point] = sorted(
            str(path.relative_to(out))
            for path in out.rglob("*")
            if "owners" not in path.parts or path.is_file()
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
