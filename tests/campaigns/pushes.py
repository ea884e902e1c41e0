"""`synvita push` killed while the Hub of our own on loopback receives: run again, and compared with an unbroken one.

A kill comes when the Hub has answered so many requests, or before so many effects on files (the cache of the Hub's
client). Each world is a repository of its own, whose name is as long as all others.
"""

import hashlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import zygote
from .kills import MOST_KILLS, Effects
from .runs import fresh
from .tally import Tally

TAG = "v0.1.0"


class PushKiller:
    """A dataset, a Hub in a process of its own, and what an unbroken push leaves there."""

    def __init__(self, work: Path, seed: int) -> None:
        self.work, self.rng, self.number = work, random.Random(f"push/{seed}"), 0
        self.answered = fresh(work) / "answered"

        def first() -> None:
            from small_dataset import write_small_dataset

            write_small_dataset(work / "set")

        zygote.learn_imports(first)
        self.orders, self.order = os.pipe()
        self.hub = zygote.fork(self._serve)
        self._told = self.hub.told()
        self.url, self.token = next(self._told)
        # The first one tells how many requests it takes.
        child = self._start(last=None)
        answered = self._follow(child, None)
        if child.status:
            raise zygote.LostChild(child.status, (work / "said").read_text()[-1500:])
        self.most, self.expected = answered, self._state()
        assert any(name.endswith(".parquet") for name in self.expected)

    @property
    def repo(self) -> str:
        return f"synvita/world-{self.number:05d}"

    def _serve(self, tell: Callable[[Any], None]) -> None:
        """The Hub: writes down each request that it has answered, and tells the files of a repository when it is asked."""
        from loopback_hub import LoopbackHub

        class Log(list[Any]):
            def append(self, entry: Any) -> None:
                super().append(entry)
                os.write(answered, b".")

        os.close(self.order)  # the end of the campaign ends the Hub
        answered = os.open(self.answered, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with LoopbackHub() as hub:
            hub.log = Log()
            owner = hub.add_user("synvita")
            tell([hub.url, owner.token])
            for line in os.fdopen(self.orders):
                name = line.strip()
                repo = hub.repos.get(("dataset", name))
                commit = repo.tags.get(TAG) if repo else None
                found = {}
                for path, file in repo.commits[commit].tree.items() if repo and commit else ():
                    content = file.content.replace(name.encode(), b"REPOSITORY")
                    found[path] = hashlib.sha256(content).hexdigest()
                tell({"files": found})

    def _state(self) -> dict[str, str]:
        os.write(self.order, f"{self.repo}\n".encode())
        return dict(next(self._told)["files"])

    def _start(self, last: int | None) -> zygote.Child:
        home = self.work / "home"
        home.mkdir(exist_ok=True)

        def work(tell: Callable[[Any], None]) -> None:
            from loopback_hub.client import client_environment
            from loopback_hub.forked import _read_environment

            log = os.open(self.work / "said", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1), os.dup2(log, 2)
            os.environ.pop("HF_HUB_OFFLINE", None)
            os.environ.update(client_environment(self.url, home, self.token))
            _read_environment()
            Effects(home, last).install()
            from .program import run_program

            raise SystemExit(run_program("push", self.work / "set", self.repo, "--tag", TAG))

        return zygote.fork(work)

    def _follow(self, child: zygote.Child, last: int | None) -> int:
        """Wait for the child's end, or kill it when so many requests were answered; how many there were."""
        before = self._answers()
        while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            if last is not None and self._answers() - before >= last:
                child.kill()
                break
            time.sleep(0.002)
        list(child.told())
        return self._answers() - before

    def _answers(self) -> int:
        return self.answered.stat().st_size if self.answered.exists() else 0

    def world(self, tally: Tally) -> str | None:
        """Some kills of one push, then the push to its end; what is wrong, if anything."""
        self.number += 1
        fresh(self.work / "home")
        points = []
        for _ in range(self.rng.randint(1, MOST_KILLS)):
            by_request = self.rng.random() < 0.7
            last = self.rng.randint(1, self.most if by_request else 20)
            points.append(f"{'request' if by_request else 'effect'} {last}")
            child = self._start(last=None if by_request else last)
            self._follow(child, last if by_request else None)
            if child.status != -signal.SIGKILL:
                if child.status:
                    return (
                        f"after {points}: status {child.status}: {(self.work / 'said').read_text()[-1500:]}"
                    )
                break
            tally.kills += 1
            # The tag comes last: who sees it sees everything.
            if (seen := self._state()) and seen != self.expected:
                return f"after {points} the tag shows half a dataset: {sorted(seen)}"
        child = self._start(last=None)
        self._follow(child, None)
        tally.runs += 1
        if child.status:
            return f"after {points} it does not finish: {(self.work / 'said').read_text()[-1500:]}"
        if (seen := self._state()) != self.expected:
            return f"after {points}: other than an unbroken push: {sorted({*seen.items()} ^ {*self.expected.items()})}"
        return None
