"""Counts of a whole run: what every process, and every leg of a run that went on, found unreadable."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .plan import PlannedTriplet
from .triplet import VIDEOS

Unreadable = set[tuple[int, str]]  # (row of the dataset, which of VIDEOS)


def counts_of_run(
    counts: Mapping[str, int], triplets: Sequence[PlannedTriplet], quarantine: Path
) -> dict[str, int]:
    """The counts with those that grow during training taken over all processes: each row counts once, however many
    processes met it. All processes come here together.

    Args:
        counts: `TripletData.counts` of this process. triplets: as planned.
        quarantine: to which each process and worker added a line for each video it could not read.
    """
    from accelerate.utils import gather_object

    found: Unreadable = set().union(*gather_object([read_quarantine(quarantine)]))
    real, synthetic, replaced = unreadable_among(triplets, found)
    total = dict(counts)
    # This process's own count stands where its lines could not be written.
    for name, value in (
        ("unreadable_real", real),
        ("unreadable_synthetic", synthetic),
        ("replaced", replaced),
    ):
        total[name] = max(total[name], value)
    return total


def read_quarantine(path: Path) -> Unreadable:
    """The videos that a quarantine file names; a line that was cut off by a crash names none."""
    if not path.is_file():
        return set()
    found: Unreadable = set()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            found.add((int(entry["dataset_row"]), str(entry["video"])))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def unreadable_among(triplets: Iterable[PlannedTriplet], found: Unreadable) -> tuple[int, int, int]:
    """Planned real videos, planned synthetic ones that are among the unreadable, and triplets left with nothing."""
    real = synthetic = replaced = 0
    for triplet in triplets:
        bad_real = triplet.real and (triplet.number, VIDEOS[0]) in found
        bad_synthetic = triplet.synthetic and (triplet.number, VIDEOS[1]) in found
        real += bad_real
        synthetic += bad_synthetic
        left = (triplet.takes_real and not bad_real) or (triplet.synthetic and not bad_synthetic)
        replaced += (bad_real or bad_synthetic) and not left
    return real, synthetic, replaced
