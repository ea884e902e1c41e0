"""Readers and commands with planted faults: a campaign that does not find each of them is worth nothing.

Run as a process of its own (it forks, and pytest's workers have threads); prints what was found as JSON.
"""

import json
import math
import os
import sys
import tempfile
from pathlib import Path

import conftest  # noqa: F401

from synvita_data.errors import SchemaError
from synvita_data.files import write_atomic

from . import fuzz, kills
from .__main__ import run_fuzz
from .runs import Run
from .tally import Tally


def _valid(folder: Path) -> None:
    (folder / "x.json").write_text(json.dumps({"name": "a", "count": 3, "rows": [{"id": 1}, {"id": 2}]}))


def _reader(fault: str):
    def read(folder: Path) -> object:
        try:
            content = json.loads((folder / "x.json").read_text())
        except (OSError, ValueError, RecursionError) as error:
            raise SchemaError("not JSON", file="x.json", found=str(error)) from error
        if not isinstance(content, dict):
            raise SchemaError("not an object")
        odd = not isinstance(content.get("count"), int)
        if fault == "exception":
            return [content["count"]]  # a KeyError where the field is renamed or gone
        if odd and fault == "work":
            while True:
                pass
        if odd and fault == "death":
            os.kill(os.getpid(), 11)
        if odd and fault == "memory":
            return sum(bytearray(fuzz.MEMORY + (32 << 20))[:: 1 << 12])
        if odd:
            raise SchemaError("a count is no number", found=content.get("count"))
        return content

    return read


def fuzzed() -> dict[str, list[str]]:
    """Fault -> kinds of failure that were found."""
    fuzz.LEAST_CPU, fuzz.TIMES, fuzz.MEMORY = 0.3, 1.0, 64 << 20
    found = {}
    for fault in ("none", "exception", "work", "death", "memory"):
        with tempfile.TemporaryDirectory() as folder:
            target = fuzz.Target(fault, _valid, _reader(fault))
            most = {"exception": 200, "work": 25}.get(fault, 60)
            saved = Path(folder) / "found"
            run_fuzz((target,), 1, math.inf, most, Path(folder) / "work", saved, lambda text: None)
            recipes = [json.loads(path.read_text()) for path in saved.rglob("recipe.json")]
            found[fault] = sorted({recipe["failure"].split(" ")[0].rstrip(":") for recipe in recipes})
    return found


def _command(fault: str):
    def command(inputs: Path, out: Path) -> int:
        out.mkdir(parents=True, exist_ok=True)
        for number in range(6):
            path = out / f"{number}.json"
            if path.exists():
                continue
            if fault == "half":
                with path.open("w") as handle:
                    handle.write('{"number": ')
                    handle.flush()
                    (out / "log.txt").open("a").close()
                    handle.write(f"{number}}}")
            elif fault == "left over":
                part = out / f".part-0000-{number}.json"
                part.write_text("{}")
                os.link(part, path)
                part.unlink()
            elif fault == "lost":
                (out / "begun").touch()
                if len(list(out.glob("*.json"))) < number:
                    continue
                write_atomic(path, json.dumps({"number": number, "pid": os.getpid()}))
            else:
                write_atomic(path, json.dumps({"number": number}) + "\n")
        (out / "log.txt").unlink(missing_ok=True)
        for part in out.glob(".part-*"):
            if fault != "left over":
                part.unlink()
        return 0

    return command


def killed() -> dict[str, list[int]]:
    """Fault -> kills, failures."""
    found = {}
    for fault in ("none", "half", "left over", "lost"):
        with tempfile.TemporaryDirectory() as folder:
            run = Run(fault, lambda inputs: None, _command(fault))
            killer = kills.Killer(run, Path(folder) / "work", 1)
            tally = Tally("kills", fault)
            wrong = [killer.world(tally) for _ in range(6)]
            found[fault] = [tally.kills, sum(each is not None for each in wrong)]
    return found


if __name__ == "__main__":
    print(json.dumps({"fuzz": fuzzed, "kills": killed}[sys.argv[1]]()))
