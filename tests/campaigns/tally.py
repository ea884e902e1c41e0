"""Figures of a campaign: a line a target, kept in a file of JSON lines, summed over runs."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass
class Tally:
    """What was done to one target.

    Attributes:
        campaign: fuzz, kills or others.
        target: its name.
        inputs: mutated files read.
        refused: of these, files that were refused by an error of ours; the others were taken.
        kills: SIGKILLs that met a run.
        runs: runs that were finished and compared.
        failures: tracebacks, hangs, what was lost or left over.
        cpu_seconds: taken by the target.
        skipped: why nothing was done.
    """

    campaign: str
    target: str
    inputs: int = 0
    refused: int = 0
    kills: int = 0
    runs: int = 0
    failures: int = 0
    cpu_seconds: float = 0.0
    skipped: str | None = None

    def line(self) -> str:
        if self.skipped:
            return f"{self.campaign:<7}{self.target:<30} skipped: {self.skipped}"
        done = [f"{self.inputs:>7,} inputs ({self.refused:,} refused)"] if self.campaign == "fuzz" else []
        done += [f"{self.kills:>5,} kills"] if self.kills else []
        done += [f"{self.runs:>5,} runs compared"] if self.runs else []
        done += [f"{self.failures} failures", f"{self.cpu_seconds:.0f} CPU s"]
        return f"{self.campaign:<7}{self.target:<30} " + ", ".join(done)

    def add(self, other: "Tally") -> None:
        for each in fields(self):
            if each.type in (int, float, "int", "float"):
                setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


def append(path: Path, tallies: Iterable[Tally], **more: object) -> None:
    """One line a target into a file that other runs have written to as well."""
    lines = "".join(json.dumps(asdict(tally) | more) + "\n" for tally in tallies)
    with path.open("a", encoding="utf-8") as handle:
        handle.write(lines)


def summed(path: Path) -> list[Tally]:
    """A line a target, over all runs of a file, and one for all."""
    sums: dict[tuple[str, str], Tally] = {}
    known = {each.name for each in fields(Tally)}
    for line in path.read_text(encoding="utf-8").splitlines():
        record = {key: value for key, value in json.loads(line).items() if key in known}
        if record.get("skipped"):
            continue
        tally = Tally(**record)
        for campaign, target in ((tally.campaign, tally.target), (tally.campaign, "in all")):
            sums.setdefault((campaign, target), Tally(campaign, target)).add(tally)
    return [sums[key] for key in sorted(sums, key=lambda key: (key[0], key[1] == "in all", key[1]))]
