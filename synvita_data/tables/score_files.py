"""Rows of VQAScore tables, written as our Parquet and read from that and from the long CSV.

Our Parquet (written by `write_scores`) has `id, model, revision, method, frame, neg_caption_score, caption_score`. The
long CSV has `row` (of the triplets file, from 0) or `id`, `model, neg_caption_score, caption_score`. Either may carry
more: `videopath`, `caption` and `neg_caption` of the row, and `sha256`, `generator` and `sample` of its synthetic video.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import SchemaError, ScoreError, located
from ..files import atomic_path
from ..weights import check_probability
from .cells import given_id, given_text, is_number, read_number, read_whole_number
from .rows import Fields, csv_rows, parquet_rows, whole

if TYPE_CHECKING:
    import pyarrow as pa

# Of score tables. 1.1 says which video was scored: `sha256`, `generator`, `sample`; readers of 1.0 pass over them.
SCORES_VERSION = "1.1"
_SHA256 = re.compile(r"[0-9a-f]{64}")
# What a score is filed under: a row id or pair id of the dataset, or a row number of the triplets file.
Key = str | int


class VideoIdentity(NamedTuple):
    """Which synthetic video; None is not known, and agrees with everything.

    Attributes:
        sha256: of its bytes, 64 lower-case hex digits.
        generator: what made it.
        sample: which of several made from one caption, from 1.
    """

    sha256: str | None = None
    generator: str | None = None
    sample: int | None = None

    def agrees(self, other: "VideoIdentity") -> bool:
        """Whether both may be one video: nothing that both know differs."""
        return self is NO_VIDEO or all(
            own is None or theirs is None or own == theirs for own, theirs in zip(self, other, strict=True)
        )

    def __str__(self) -> str:
        known = {name: value for name, value in self._asdict().items() if value is not None}
        return ", ".join(f"{name} {value}" for name, value in known.items()) or "nothing"


NO_VIDEO = VideoIdentity()


class ScoreRow(NamedTuple):
    """One row of a score table.

    Attributes:
        id: row id or pair id of the dataset; or the row number of the triplets file, in tables that have those.
        model: name of the VQA model.
        neg_caption_score: probability in [0, 1] of the contrast caption; see `ModelScore`.
        caption_score: the same of the caption.
        revision: of the model.
        method: how it looked at the video.
        frame: index of the one frame that was scored, None for a mean over frames.
        sha256: of the scored video's bytes, 64 lower-case hex digits.
        generator: what made the video.
        sample: which of its samples it is, from 1.
        videopath: of the scored row, where a table that is read says so.
        caption: likewise.
        neg_caption: likewise.
        line: row of the file it was read from, from 0.
    """

    id: Key
    model: str
    neg_caption_score: float
    caption_score: float
    revision: str | None = None
    method: str | None = None
    frame: int | None = None
    sha256: str | None = None
    generator: str | None = None
    sample: int | None = None
    videopath: str | None = None
    caption: str | None = None
    neg_caption: str | None = None
    line: int = 0

    @property
    def video(self) -> VideoIdentity:
        if self.sha256 is self.generator is self.sample is None:
            return NO_VIDEO
        return VideoIdentity(self.sha256, self.generator, self.sample)

    @property
    def identity(self) -> tuple[Any, ...]:
        """All but the scores: two rows of one identity repeat or contradict each other."""
        return (*self[:2], *self[4:10])

    @property
    def content(self) -> tuple[Any, ...]:
        """The scores, and what is said of the captions."""
        return (*self[2:4], *self[10:13])


_FIELDS = Fields.named(
    ("id", "row"), "model", "neg_caption_score", "caption_score", optional=ScoreRow._fields[4:-1]
)


def score_schema() -> "pa.Schema":
    """Columns of a score table in Parquet, with `schema_version` in the metadata."""
    import pyarrow as pa

    text, score = pa.string(), pa.float64()
    return pa.schema(
        [
            pa.field("id", text, nullable=False),
            pa.field("model", text, nullable=False),
            pa.field("revision", text),
            pa.field("method", text),
            pa.field("frame", pa.int32()),  # null: mean over frames
            pa.field("neg_caption_score", score, nullable=False),
            pa.field("caption_score", score, nullable=False),
            # Which video was scored; null where it is not known.
            pa.field("sha256", text),
            pa.field("generator", text),
            pa.field("sample", pa.int32()),
        ],
        metadata={"schema_version": SCORES_VERSION},
    )


def write_scores(path: str | Path, rows: Iterable[ScoreRow]) -> int:
    """Write a score table as Parquet, all of it or nothing; equal rows give equal bytes.

    Args:
        rows: taken as they come and written in batches.

    Returns:
        How many rows were written.

    Raises:
        ScoreError: an id or model is empty, a score NaN or outside [0, 1], a digest or sample is none, or a
            row comes twice; nothing is written and an older file stays as it was.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, schema = Path(path), score_schema()
    seen: set[tuple[Any, ...]] = set()
    remaining = iter(rows)
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        while batch := list(islice(remaining, 50_000)):
            for row in batch:
                with located(path, len(seen)):
                    _check_row(row, seen)
            writer.write_table(
                pa.Table.from_pylist(
                    [{name: getattr(row, name) for name in schema.names} for row in batch], schema=schema
                )
            )
    return len(seen)


def _check_row(row: ScoreRow, seen: set[tuple[Any, ...]]) -> None:
    if not row.id or not row.model or (row.frame is not None and row.frame < 0):
        raise ScoreError(
            "a score does not say whose it is",
            found=repr(row),
            expected="an id, a model, and a frame index or None",
        )
    bad_digest = row.sha256 is not None and not _SHA256.fullmatch(row.sha256)
    if bad_digest or (row.sample is not None and row.sample < 1):
        raise ScoreError(
            "a score does not say which video it is of",
            found=f"sha256 {row.sha256!r}, sample {row.sample!r}",
            expected="64 lower-case hex digits and a sample from 1, or None",
        )
    if row.identity in seen:
        raise ScoreError(f"model {row.model} has two scores for one id", found=row.id)
    for name in ("neg_caption_score", "caption_score"):
        check_probability(getattr(row, name), f"the {name} of model {row.model} for {row.id}")
    seen.add(row.identity)


def read_score_rows(path: Path) -> Iterator[tuple[ScoreRow, ScoreError | None]]:
    """Rows of a score table, in file order: `.parquet` (or `.pq`), or else CSV.

    Yields:
        The row, and what is wrong with its scores.

    Raises:
        SchemaError: not readable, a column missing or there twice, another schema version, a row without an id (or
            row number) or a model.
    """
    read = parquet_rows if path.suffix.lower() in (".parquet", ".pq") else csv_rows
    for line, cells in whole(read(path, _FIELDS)):
        try:
            yield _parse(cells, path, line)
        except SchemaError as error:
            raise error.at(path, line) from None


def _parse(cells: Mapping[str, Any], path: Path, line: int) -> tuple[ScoreRow, ScoreError | None]:
    get = cells.get
    model = given_text(get("model"), "a model")
    key: Key | None = given_id(get("id"), "an id")
    if key is None:
        key = _whole_number(get("row"), "a row number")
    if key is None or model is None:
        raise SchemaError(
            "a score does not say whose it is",
            found=f"id {get('id')!r}, row {get('row')!r}, model {get('model')!r}",
            expected="an id or a row number, and a model",
        )
    neg_caption_score, fault = _score(cells, "neg_caption_score", model, path, line)
    caption_score, other_fault = _score(cells, "caption_score", model, path, line)
    row = ScoreRow(
        key,
        model,
        neg_caption_score,
        caption_score,
        _text(get("revision")),
        _text(get("method")),
        _whole_number(get("frame"), "a frame number"),
        *_video(cells),
        _text(get("videopath")),
        _text(get("caption")),
        _text(get("neg_caption")),
        line,
    )
    return row, fault or other_fault


def _video(cells: Mapping[str, Any]) -> tuple[str | None, str | None, int | None]:
    """Digest, generator and sample of the video that a row says it scored."""
    if not cells.get("sha256") and not cells.get("generator") and cells.get("sample") in (None, ""):
        return None, None, None
    digest = given_text(cells.get("sha256"), "a sha256")
    generator = given_text(cells.get("generator"), "a generator")
    # Also a column with empty cells, which comes from pandas as floats.
    given = given_text(cells.get("sample"), "a sample number") is not None
    sample = read_whole_number(cells["sample"], "a sample number") if given else None
    if sample == 0 or (digest is not None and not _SHA256.fullmatch(digest.lower())):
        raise SchemaError(
            "a score does not say which video it is of",
            found=f"sha256 {digest!r}, sample {sample!r}",
            expected="64 hex digits, a sample from 1; or an empty cell",
        )
    return digest and digest.lower(), generator, sample


def _score(
    cells: Mapping[str, Any], column: str, model: str, path: Path, line: int
) -> tuple[float, ScoreError | None]:
    """A cell as a probability, NaN where it is none, and what is wrong with it, which waits for its row."""
    cell, what = cells[column], f"the {column} of model {model}"
    value = math.nan
    try:
        if isinstance(cell, float):
            value = cell
        elif isinstance(cell, str) and is_number(cell):
            value = float(cell)
        elif (text := given_text(cell, what)) is not None:
            infinite = text.lower().lstrip("+-") in ("inf", "infinity")
            value = float(text) if infinite else read_number(text, what)
        if not 0.0 <= value <= 1.0:
            check_probability(value, what)
    except SchemaError as error:
        return value, error.recast(ScoreError, expected="a probability").at(path, line)
    except ScoreError as error:
        return value, error.at(path, line)
    return value, None


def _whole_number(cell: Any, what: str) -> int | None:
    return None if cell is None or cell == "" else read_whole_number(cell, what)


def _text(cell: Any) -> str | None:
    """A cell as text without white space around it; None if empty."""
    return None if cell is None or cell == "" else str(cell).strip() or None
