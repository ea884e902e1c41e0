"""What a run of `synvita contrast` came to: the file of triplets, and counts by kind, text-only AUC and tokens."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synvita_data import __version__
from synvita_data.captions.text_only import CaptionPair, TextOnly, text_only_auc
from synvita_data.display import counted
from synvita_data.jobs import JobReport
from synvita_data.schema import MISALIGNMENTS, Triplet

from ...contrast_columns import COLUMNS, contrast_cells

ROW_COLUMNS = (
    *("videopath", "video_id", "source", "caption", "neg_caption", "youtube_key", "video_url", "split"),
    *("start", "end", "misalignment", "nle"),
)
REPORT_VERSION = 1
REASONS_SHOWN = 3
REASONS_KEPT = 20  # of a kind; a model's refusals may all be different


@dataclass
class KindCounts:
    """What became of the requests of one kind.

    Attributes:
        asked: requests to the writer.
        not_askable: captions that cannot be asked for the kind, by reason.
        refused: requests that the writer did not answer with a contrast caption, by reason.
        failed: requests none of whose answers passes the mechanical checks, by reason.
        filtered: requests all of whose answers a filter dropped, by filter.
        same: requests whose answers another kind of the caption gave before.
        written: rows.
    """

    asked: int = 0
    not_askable: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    filtered: Counter[str] = field(default_factory=Counter)
    same: int = 0
    written: int = 0

    def to_record(self) -> dict[str, Any]:
        """JSON-ready."""
        counters = ("not_askable", "refused", "failed", "filtered")
        return {
            "asked": self.asked,
            **{name: _most(getattr(self, name)) for name in counters},
            "same_as_another_kind": self.same,
            "written": self.written,
        }


def _most(reasons: Mapping[str, int]) -> dict[str, int]:
    """The most frequent reasons in alphabetical order, and the others together."""
    ordered = sorted(reasons.items(), key=lambda each: (-each[1], each[0]))
    rest = sum(count for _, count in ordered[REASONS_KEPT:])
    return dict(sorted(ordered[:REASONS_KEPT])) | ({"other reasons": rest} if rest else {})


# Where a reason begins to speak of one row: of what was found, or of words in quotes.
_OF_ROW = re.compile(r"(?:[.:] Found: |: (?=[\"'“‘]|\d)).*", re.DOTALL)


def in_general(reason: str) -> str:
    """A reason without what it says of one row."""
    return _OF_ROW.sub("", reason)


def text_only_of(triplets: Iterable[Triplet]) -> TextOnly:
    """How far captions are told from contrast captions without the video."""
    return text_only_auc(
        CaptionPair(
            video=each.video_key,
            caption=each.caption,
            contrast=each.neg_caption,
            misalignment=each.misalignment,
        )
        for each in triplets
    )


@dataclass(frozen=True)
class ContrastReport:
    """What a run came to.

    Attributes:
        out: the file of triplets; written only where `complete`.
        complete: nothing is still to do.
        rows: of the file.
        captions: distinct captions read, of `videos` videos.
        videos: distinct videos.
        unreadable: rows of the input that cannot be used.
        kinds: what became of each kind's requests.
        writer: what decides the writer's answers.
        filters: what decides the filters' verdicts, by name.
        without_video: captions that `frame-vqa` kept, or dropped, because their video is not here.
        usage: tokens and requests of the writer, as far as it counts; of earlier runs too.
        jobs: of the engine, in order.
        text_only: of the rows; None where nothing is written.
        text_only_before: with each row's first candidate, where there were several to choose from.
        failed: requests in the store's quarantine: another run with `--retry-failed` asks them again.
        stale: at `out` lies a file of an earlier run, and this one is not complete.
    """

    out: Path
    complete: bool
    rows: int
    captions: int
    videos: int
    unreadable: int
    kinds: Mapping[str, KindCounts]
    writer: Mapping[str, Any]
    filters: Mapping[str, Mapping[str, Any]]
    without_video: int
    usage: Mapping[str, float]
    jobs: Sequence[JobReport]
    text_only: TextOnly | None = None
    text_only_before: TextOnly | None = None
    failed: int = 0
    stale: bool = False

    @property
    def exit_status(self) -> int:
        """0: every request has its answer, or waits because a limit or shard was asked for. 1: look at the report."""
        lost = self.unreadable or self.failed or any(job.unfinished for job in self.jobs)
        return 1 if lost or (self.complete and not self.rows) else 0

    def to_record(self) -> dict[str, Any]:
        """The file beside the triplets, JSON-ready; no times and no places, so that equal runs give equal files."""
        record: dict[str, Any] = {
            "version": REPORT_VERSION,
            "synvita_data": __version__,
            "rows": self.rows,
            "captions": self.captions,
            "videos": self.videos,
            "unreadable": self.unreadable,
            "writer": dict(self.writer),
            "filters": {name: dict(each) for name, each in self.filters.items()},
            "kinds": {name: counts.to_record() for name, counts in self.kinds.items()},
            "usage": dict(self.usage),
        }
        if "frame-vqa" in self.filters:
            record["without_video"] = self.without_video
        for name in ("text_only", "text_only_before"):
            found: TextOnly | None = getattr(self, name)
            if found is not None:
                record[name] = found.to_record()
        return record

    def lines(self) -> list[str]:
        """For people."""
        lines = [line for job in self.jobs if job.total for line in job.lines()]
        if self.unreadable:
            lines.append(f"{counted(self.unreadable, 'rows')} or captions of the input cannot be used")
        for name in MISALIGNMENTS:
            if (counts := self.kinds.get(name)) is not None:
                lines += _kind_lines(name, counts)
        if "frame-vqa" in self.filters:
            lines.append(f"{counted(self.without_video, 'captions have')} no video here to look at")
        if self.usage:
            lines.append("used: " + ", ".join(_amount(name, self.usage[name]) for name in sorted(self.usage)))
        if self.text_only_before is not None:
            lines.append(f"text-only AUC with the first candidates: {self.text_only_before.text()}")
        if self.text_only is not None:
            lines.append(f"text-only AUC: {self.text_only.text()}")
        if self.complete:
            lines.append(
                f"{counted(self.rows, 'triplets')} of {counted(self.captions, 'captions')} of {counted(self.videos, 'videos')} in {self.out}"
            )
        else:
            there = "is of an earlier run" if self.stale else "is not written yet"
            lines.append(f"not complete: {self.out} {there}; run again to continue")
        return lines


def _kind_lines(name: str, counts: KindCounts) -> list[str]:
    """What was written of a kind, then a line for each of the first reasons why the rest was not."""
    lines = [f"{name}: {counts.written:,} written of {counts.asked:,} asked"]
    for word, found in (
        ("not askable", counts.not_askable),
        ("refused", counts.refused),
        ("failed a check", counts.failed),
        ("filtered by", counts.filtered),
    ):
        ordered = sorted(found.items(), key=lambda each: (-each[1], each[0]))
        lines += [f"  {count:,} {word}: {reason}" for reason, count in ordered[:REASONS_SHOWN]]
        if rest := sum(count for _, count in ordered[REASONS_SHOWN:]):
            lines.append(f"  {rest:,} {word} for other reasons")
    return [*lines, *([f"  {counts.same:,} the same as another kind's"] if counts.same else [])]


def _amount(name: str, value: float) -> str:
    shown = f"{value:,.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value:,}"
    return f"{name.replace('_', ' ')} {shown}"


def triplets_csv(triplets: Iterable[Triplet]) -> str:
    """Triplets in VideoCon's columns, and those of their records; equal triplets give equal text."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow((*ROW_COLUMNS, *COLUMNS.values()))
    for each in triplets:
        cells = contrast_cells(each.contrast) if each.contrast is not None else {}
        table.writerow(
            (*(getattr(each, name) for name in ROW_COLUMNS), *(cells.get(name) for name in COLUMNS.values()))
        )
    return text.getvalue()
