"""Runs on Ray: the driver or one of the actors is killed where so many keys are done; the rest is done without Ray.

Ray bears no fork, so each run is a process of its own, with a cluster of its own on this machine.
"""

import contextlib
import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from . import zygote
from .kills import Killer, _look, finish
from .runs import RUNS, fresh
from .tally import Tally

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 1200.0  # seconds for a cluster and its workers' imports, on however busy a machine
NODE_LOST = "has been marked dead because the detector has missed too many heartbeats"
_ARGUMENTS = {
    "vqascore": lambda inputs, out: (
        "vqascore", "--triplets", inputs / "triplets.csv", "--synthetic", f"folder:{inputs / 'synthetic'}", "--model",
        "shapes-vqa-a", "--model", "shapes-vqa-b", "--out", out / "scores.parquet",
    ),
    "generate": lambda inputs, out: (
        "generate", "--triplets", inputs / "triplets.csv", "--generator", (inputs / "spec").read_text(), "--set",
        "prompts_per_job=2", "--out", out / "videos",
    ),
}  # fmt: skip


class RayKiller:
    """One command with `--engine ray`."""

    def __init__(self, name: str, work: Path, seed: int) -> None:
        if importlib.util.find_spec("ray") is None:
            raise zygote.LostChild(0, "Ray is not installed")
        (run,) = (each for each in RUNS if each.name == name)
        self.work, self.rng, self.name = work, random.Random(f"ray/{name}/{seed}"), name
        self.world_of = Killer(run, fresh(work) / "world", seed)

    def world(self, tally: Tally) -> str | None:
        """One kill, then the command to its end; what is wrong, if anything."""
        world = self.world_of
        keys = self._done()  # of the unbroken run, which is still there
        fresh(world.out)
        goal, driver = self.rng.randrange(max(1, keys)), self.rng.random() < 0.5
        point = f"{goal} of {keys} done, {'the driver' if driver else 'an actor'}"
        home = fresh(self.work / "home")
        log = (self.work / "said").open("w+")
        arguments = [
            sys.executable,
            "-m",
            "synvita_data.cli",
            *map(str, _ARGUMENTS[self.name](world.inputs, world.out)),
        ]
        # Ray's sockets have long names already.
        sessions = Path("/tmp")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        environment |= {"PYTHONPATH": str(ROOT), "HOME": str(home), "TMPDIR": str(sessions)}
        process = subprocess.Popen(
            [*arguments, "--engine", "ray", "--workers", "2"],
            env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        family: dict[int, psutil.Process] = {}
        try:
            until, struck = time.monotonic() + PATIENCE, False
            while process.poll() is None and time.monotonic() < until:
                with contextlib.suppress(psutil.Error):
                    family |= {
                        each.pid: each for each in psutil.Process(process.pid).children(recursive=True)
                    }
                actors = [each for each in family.values() if _is_actor(each)]
                if not struck and actors and self._done() >= goal:
                    victim = process.pid if driver else self.rng.choice(actors).pid
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(victim, signal.SIGKILL)
                        struck = True
                        tally.kills += 1
                time.sleep(0.02)
            if process.poll() is None:
                return f"{point}: the run on Ray does not end"
            said = (self.work / "said").read_text()
            # The others have done its keys, unless the machine was so busy that Ray gave up its own processes.
            if struck and driver is False and process.returncode and NODE_LOST not in said:
                return f"{point}: status {process.returncode}: {said[-1200:]}"
        finally:
            for each in family.values():
                with contextlib.suppress(psutil.Error):
                    each.kill()
            if process.poll() is None:
                process.kill()
            process.wait()
            log.close()
        if half := _look(world.run, world.out)["half"]:
            return f"{point}: half-written {half}"
        told = finish(world.run, world.inputs, world.out)
        tally.runs += 1
        if "failure" in told:
            return f"{point}: it does not finish: {told['failure']}"
        seen = _look(world.run, world.out)
        if seen["left"] or seen["contents"] != world.expected:
            return f"{point}: left over {seen['left']}, {sorted({*seen['contents'].items()} ^ {*world.expected.items()})}"
        return None

    def _done(self) -> int:
        return sum(1 for _ in self.world_of.out.rglob("??/*.json"))


def _is_actor(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline()[:1]).startswith("ray::") and "IDLE" not in process.cmdline()[0]
    return False
