"""The program: `python -m campaigns fuzz|kills|others [--minutes M] [--seed S] [--out FILE] [--target NAME …]`."""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import conftest  # noqa: F401  (the environment of tests: offline, one thread, a home of its own)

from . import fuzz
from .tally import Tally, append, summed

CAMPAIGNS = ("fuzz", "kills", "others")


def say(text: str) -> None:
    print(text, flush=True)


def fuzz_targets() -> tuple[fuzz.Target, ...]:
    from . import folders_and_models, tables_and_texts

    return (*tables_and_texts.TARGETS, *folders_and_models.TARGETS)


def run_fuzz(
    targets: tuple[fuzz.Target, ...], seed: int, until: float, most: int | None, work: Path, found: Path,
    say: Callable[[str], None] = say,
) -> list[Tally]:  # fmt: skip
    """Inputs for every target in turn, a child's worth at a time, until the time is over or there were `most`."""
    tallies, failures = {}, {}
    fuzzers: dict[str, fuzz.Fuzzer] = {}
    turn = 0
    waiting = {target.name: target for target in targets}
    with contextlib.suppress(KeyboardInterrupt):  # what was done counts
        while waiting and (time.monotonic() < until or turn == 0):
            for name, target in list(waiting.items()):
                tally = tallies.setdefault(name, Tally("fuzz", name))
                if time.monotonic() > until and tally.inputs:
                    waiting.clear()
                    break
                if name not in fuzzers:
                    try:
                        fuzzers[name] = fuzz.Fuzzer(target, work / name, seed)
                    except fuzz.zygote.LostChild as lost:
                        tally.failures, tally.skipped = 1, f"the valid files are not read: {lost}"
                        say(tally.line())
                        del waiting[name]
                        continue
                cost = fuzzers[name].cost
                count = max(3, int(min(fuzz.BATCH * target.weight, fuzz.BATCH_CPU / cost)))
                if most is not None:
                    count = min(count, most - tally.inputs)
                began = os.times()
                bad = fuzzers[name].batch(count, tally)
                tally.cpu_seconds += (os.times().children_user + os.times().children_system) - (
                    began.children_user + began.children_system
                )
                known = {each["failure"] for each in failures.setdefault(name, [])}
                failures[name] += bad
                if new := [each for each in bad if each["failure"] not in known]:
                    say(f"{name}: {len(bad)} failures")
                    fuzz.smallest_of_each(fuzzers[name], new, found, say)
                if most is not None and tally.inputs >= most:
                    del waiting[name]
            turn += 1
            say(f"turn {turn}: {sum(each.inputs for each in tallies.values()):,} inputs")
    return list(tallies.values())


def main() -> int:
    parser = argparse.ArgumentParser(prog="campaigns", description=__doc__)
    parser.add_argument("campaigns", nargs="*", help=f"{', '.join(CAMPAIGNS)}; default: all")
    parser.add_argument("--minutes", type=float, default=5.0, help="of all campaigns together")
    parser.add_argument("--seed", type=int, help="default: another one each time; it is printed")
    parser.add_argument(
        "--target", action="append", help="only this one; repeat; a name or its beginning with *"
    )
    parser.add_argument("--only", type=int, help="of one fuzz target, this input alone")
    parser.add_argument("--most", type=int, help="inputs or kills a target at most")
    parser.add_argument("--out", type=Path, help="file to which figures are added, a JSON line a target")
    parser.add_argument(
        "--found", type=Path, default=Path("campaign-failures"), help="folder of failing inputs"
    )
    parser.add_argument("--sum", type=Path, help="print the sums of such a file, and do nothing")
    parser.add_argument("--list", action="store_true", help="names of targets")
    options = parser.parse_args()
    if options.sum:
        if not options.sum.is_file():
            parser.error(f"there is no file {options.sum}")
        for tally in summed(options.sum):
            say(tally.line())
        return 0
    if unknown := set(options.campaigns) - set(CAMPAIGNS):
        parser.error(f"unknown campaign {', '.join(unknown)}; there are {', '.join(CAMPAIGNS)}")
    chosen = options.campaigns or list(CAMPAIGNS)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**31)

    def wanted(name: str) -> bool:
        asked = options.target
        return not asked or any(
            name == each or (each.endswith("*") and name.startswith(each[:-1])) for each in asked
        )

    from . import kills, others

    named = {
        "fuzz": [target for target in fuzz_targets() if wanted(target.name)],
        "kills": [target for target in kills.TARGETS if wanted(target.name)],
        "others": [target for target in others.TARGETS if wanted(target.name)],
    }
    if not any(named[campaign] for campaign in chosen):
        parser.error(
            f"no target of {', '.join(chosen)} has the name {', '.join(options.target)}; --list shows all"
        )
    if options.list:
        for campaign in chosen:
            for target in named[campaign]:
                say(f"{campaign:<7}{target.name}")
        return 0
    say(f"seed {seed}, {options.minutes:g} minutes, {', '.join(chosen)}")
    # Whoever stops a campaign stops what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began, tallies = time.monotonic(), []
    memory = Path("/dev/shm")
    work = Path(
        tempfile.mkdtemp(prefix="synvita-campaign-", dir=memory if os.access(memory, os.W_OK) else None)
    )
    try:
        if options.only is not None:
            return run_one(named["fuzz"][0], seed, options.only, work)
        for place, campaign in enumerate(chosen):
            # Each gets an equal part of what is left.
            left = options.minutes * 60 - (time.monotonic() - began)
            until = time.monotonic() + left / (len(chosen) - place)
            if campaign == "fuzz":
                done = run_fuzz(tuple(named["fuzz"]), seed, until, options.most, work / "fuzz", options.found)
            elif campaign == "kills":
                done = kills.run(
                    named["kills"], seed, until, options.most, work / "kills", options.found, say
                )
            else:
                done = others.run(named["others"], seed, until, work / "others", say)
            tallies += done
            if options.out:
                append(options.out, done, seed=seed, when=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    except KeyboardInterrupt:
        say("stopped")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for tally in tallies:
        say(tally.line())
    failures = sum(tally.failures for tally in tallies)
    inputs, killed = (sum(getattr(tally, name) for tally in tallies) for name in ("inputs", "kills"))
    say(f"seed {seed}: {inputs:,} inputs, {killed:,} kills, {failures} failures")
    return 1 if failures else 0


def run_one(target: fuzz.Target, seed: int, number: int, work: Path) -> int:
    """Read one input again, and show what comes of it."""
    fuzzer = fuzz.Fuzzer(target, work / target.name, seed)
    given = fuzz.Input.draw(target.name, seed, number, len(fuzzer.corpus.paths))
    say(f"{fuzzer.corpus.paths[given.file]}: {given}")
    fuzzer.next = number
    bad = fuzzer.batch(1, tally := Tally("fuzz", target.name))
    say(bad[0].get("traceback") or bad[0]["failure"] if bad else f"{'refused' if tally.refused else 'taken'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
