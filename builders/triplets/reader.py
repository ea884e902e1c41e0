"""Read an annotation file as a stream of `Triplet`s, and keep account of what was left out."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from synvita_data.display import get_logger
from synvita_data.errors import SchemaError, SynvitaError
from synvita_data.real_videos.names import name_in_scheme, normal_path, normal_source, path_id, video_stem
from synvita_data.schema import SPLITS, Triplet
from synvita_data.tables.rows import read_rows

from .parse import FIELDS, parse_triplet

logger = get_logger(__name__)


@dataclass
class ReadReport:
    """What became of the rows of one file.

    Attributes:
        rows: rows read (a header and blank lines are not rows).
        triplets: rows that became a triplet.
        duplicates: `(row, first)`: rows dropped because row `first` has the same value in every field.
        quarantined: one error for each row left out for a fault, with file and row.
    """

    rows: int = 0
    triplets: int = 0
    duplicates: list[tuple[int, int]] = field(default_factory=list)
    quarantined: list[SynvitaError] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.rows:,} rows: {self.triplets:,} triplets, {len(self.duplicates):,} exact duplicates "
            f"dropped, {len(self.quarantined):,} quarantined"
        )


class TripletReader:
    """Iterate over the triplets of a file; every iteration reads it afresh.

    Rows are streamed, in the order of the file. A row that cannot be used is quarantined (noted in
    `report`, given to `on_bad`) and reading goes on; a row equal to an earlier one in every field is
    dropped and noted. A row with the pair (source, video, both captions) of an earlier row but another
    value elsewhere, such as another split, contradicts it and is quarantined: the first row stays. So is a
    row whose path differs from an earlier one only by the suffix: an id does not hold it.

    Args:
        path: .csv, .tsv, .jsonl or .parquet; see `docs/dataset.md` for the columns.
        on_bad: called with each quarantined row's error as it is met.
        split: train, validation or test for rows that do not say (default: `test` for VideoCon-Human,
            `train` where the file has no such column).
        source: name of the videos' dataset for rows that do not say (default: `activitynet` for
            VideoCon-Human, `custom` where the file has no such column).

    Attributes:
        report: of the last iteration, complete once that has ended.

    Raises:
        SchemaError: while iterating, for a fault of the whole file: unknown format, empty, not UTF-8,
            missing columns (the message lists those found and those expected), an unclosed quote.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        on_bad: Callable[[SynvitaError], None] | None = None,
        split: str | None = None,
        source: str | None = None,
    ) -> None:
        if split is not None and split not in SPLITS:
            raise SchemaError("unknown split", found=split, expected=f"one of {', '.join(SPLITS)}")
        self.path = Path(path)
        self.report = ReadReport()
        self._on_bad = on_bad
        self._split = split
        self._source = None if source is None else normal_source(source)

    def __iter__(self) -> Iterator[Triplet]:
        report = self.report = ReadReport()
        file = str(self.path)
        # Digests, not rows: 100 bytes each keep a file of millions of rows in reach. Pair -> (row, all).
        seen: dict[bytes, tuple[int, bytes]] = {}
        suffixes = _Suffixes()
        for row, cells in read_rows(self.path, FIELDS, "triplets"):
            report.rows += 1
            try:
                if isinstance(cells, SynvitaError):
                    raise cells
                triplet = parse_triplet(cells, file=file, row=row, split=self._split, source=self._source)
                suffixes.check(triplet)
                pair, everything = _digests(triplet)
                first, before = seen.setdefault(pair, (row, everything))
                if first != row:
                    if before == everything:
                        report.duplicates.append((row, first))
                        continue
                    raise _contradiction(triplet, first)
            except SynvitaError as error:
                report.quarantined.append(error)
                if self._on_bad is not None:
                    self._on_bad(error)
                continue
            report.triplets += 1
            yield triplet
        if not report.rows:
            raise SchemaError("the file has no rows", file=self.path)
        level = logging.WARNING if report.quarantined else logging.INFO
        logger.log(level, "%s: %s", file, report)


def read_triplets(
    path: str | Path,
    *,
    on_bad: Callable[[SynvitaError], None] | None = None,
    split: str | None = None,
    source: str | None = None,
) -> TripletReader:
    """The triplets of an annotation file: iterate over the result, then look at its `report`.

    Example:
        >>> reader = read_triplets("videocon_llm_entailment.csv")
        >>> triplets = list(reader)
        >>> print(reader.report)
        16,856 rows: 16,854 triplets, 2 exact duplicates dropped, 0 quarantined
    """
    return TripletReader(path, on_bad=on_bad, split=split, source=source)


class _Suffixes:
    """With which suffix a video's path was first seen, where the path makes the id."""

    def __init__(self) -> None:
        self._first: dict[bytes, tuple[str, int]] = {}

    def check(self, triplet: Triplet) -> None:
        """Raise `SchemaError` if an earlier row has the same path with another suffix."""
        if triplet.videopath is None:
            return
        path = normal_path(triplet.videopath)
        suffix = path[len(path.rpartition("/")[0]) :].removeprefix("/")[len(video_stem(path)) :]
        if name_in_scheme(triplet.source, video_stem(path)) or path_id(path) != triplet.video_id:
            return
        video = hashlib.blake2b(triplet.video_key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        first, row = self._first.setdefault(video, (suffix, triplet.row or 0))
        if first != suffix:
            raise SchemaError(
                "two files that differ by their suffix would be taken for one video",
                file=triplet.file,
                row=triplet.row,
                found=f"{triplet.videopath}, and the same with {first or 'no suffix'} in row {row}",
                expected="one file a video",
                fix="Give the videos different names, or a column video_id",
            )


def _digests(t: Triplet) -> tuple[bytes, bytes]:
    pair = repr((t.source, t.video_id, t.caption, t.neg_caption))
    rest = repr(
        (t.split, t.videopath, t.start, t.end, t.youtube_key, t.video_url, t.nle, t.misalignment, t.hard)
    )
    digest = hashlib.blake2b(pair.encode(), digest_size=16)
    first = digest.digest()
    digest.update(rest.encode())
    return first, digest.digest()


def _contradiction(triplet: Triplet, first: int) -> SchemaError:
    return SchemaError(
        "the same video and captions as an earlier row, but another value in another column",
        file=triplet.file,
        row=triplet.row,
        found=f"rows {first} and {triplet.row} of pair {triplet.pair_id}",
        expected="one row a pair, or rows equal in every column",
        fix="Keep the right one of the two rows",
    )
