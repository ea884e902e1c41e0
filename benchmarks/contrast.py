"""Contrast captions: what the writers cost, and how many real ones pass their own check.

    python benchmarks/contrast.py [--small]

`rules`: 100,000 requests, made of VideoCon's distinct captions (`measure.py` says where; sentences made here where they
are absent) with all kinds in turn, written and checked by one process, as a job's worker does. Goals: 60 s on 2 cores and
1 GB. Then how many of VideoCon's own 16,856 contrast captions pass the check of their kind.
"""

import csv
import time
from collections import Counter
from itertools import count, islice

from measure import VIDEOCON, added_megabytes, argument_parser, figure, pairs

from synvita_data.builders.contrast.base import ContrastRequest
from synvita_data.builders.contrast.checks import check
from synvita_data.builders.contrast.rules.writer import RulesWriter
from synvita_data.schema import MISALIGNMENTS

GOAL_SECONDS, GOAL_MEGABYTES = 60.0, 1000.0


def requests(number: int) -> list[ContrastRequest]:
    """So many requests: every caption with each kind, and then again with another seed."""
    captions = sorted({caption for caption, _ in pairs()})
    every = (
        ContrastRequest(caption, kind, seed)
        for seed in count()
        for caption in captions
        for kind in MISALIGNMENTS
    )
    return list(islice(every, number))


def rules(number: int, goal: bool) -> None:
    """Time and memory of `rules` with checks."""
    asked = requests(number)
    spent = [0.0]
    written: Counter[str] = Counter()

    def work() -> None:
        began = time.perf_counter()
        writer = RulesWriter()
        for start in range(0, len(asked), writer.batch_size):
            batch = asked[start : start + writer.batch_size]
            for request, answer in zip(batch, writer.write(batch), strict=True):
                for contrast in answer.contrasts:
                    assert check(request.caption, contrast.neg_caption, request.misalignment) is None
                    written[request.misalignment] += 1
        spent[0] = time.perf_counter() - began

    megabytes = added_megabytes(work)
    figure(
        f"rules, {number:,} requests with checks", spent[0], "s", GOAL_SECONDS if goal else None, at_most=True
    )
    figure("rules, memory added", megabytes, "MB", GOAL_MEGABYTES, at_most=True)
    for kind in MISALIGNMENTS:
        figure(f"rules, contrast captions of {kind}", written[kind], "captions")


def videocon() -> None:
    """How many of VideoCon's own contrast captions pass the check of their kind."""
    if not (VIDEOCON / "triplets.csv").is_file():
        return
    with (VIDEOCON / "triplets.csv").open(encoding="utf-8-sig", newline="") as handle:
        rows = list(csv.DictReader(handle))
    asked = Counter(row["misalignment"] for row in rows)
    passed = Counter(
        row["misalignment"]
        for row in rows
        if check(row["caption"], row["neg_caption"], row["misalignment"]) is None
    )
    for kind, number in sorted(asked.items()):
        figure(f"VideoCon's own {kind}, {number:,} rows, that pass", 100 * passed[kind] / number, "%")


def main() -> None:
    given = argument_parser(__doc__).parse_args()
    rules(2_000 if given.small else 100_000, goal=not given.small)
    if not given.small:
        videocon()


if __name__ == "__main__":
    main()
