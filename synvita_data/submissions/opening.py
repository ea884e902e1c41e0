"""A submitted result and its score table, opened with suspicion: sizes first, then form, then content.

Whoever submits chooses every byte of both files. Nothing is read whole before its size is known, a table's rows and
unpacked bytes are taken from its footer, and links are not followed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SchemaError, parsing
from ..evaluation.scored import ScoredResult, read_scored
from ..files import sha256_file
from ..tables.columns import parquet_errors

LARGEST_RESULT = 8 << 20  # bytes of a result file; ours have 30 KB
LARGEST_TABLE = 64 << 20  # bytes of a score table; that of VideoCon (LLM) has 1 MB
LARGEST_UNPACKED = 512 << 20
LARGEST_ROWS = 500_000
MOST_RESAMPLES = 10_000  # what recomputing an interval may cost

# Columns of a score table and what their types are called; `caption` is left out of what is submitted.
COLUMNS = {
    "task": "string",
    "item_id": "string",
    "video_id": "string",
    "text_id": "string",
    "caption": "string",
    "label": "int8",
    "score": "double",
    "frame_indices": "list<element: int64>",
}
OPTIONAL = ("caption", "frame_indices")


@dataclass(frozen=True, eq=False)
class Submitted:
    """A result whose two files can be read.

    Attributes:
        side: the result and its table.
        result_sha256, table_sha256: of their bytes.
        columns: of the table.
    """

    side: ScoredResult
    result_sha256: str
    table_sha256: str
    columns: tuple[str, ...]

    @property
    def record(self) -> dict[str, Any]:
        return self.side.result.record

    @property
    def bootstrap(self) -> tuple[int, int]:
        """Seed and resamples of the intervals."""
        bootstrap = self.record["bootstrap"]
        return bootstrap["seed"], bootstrap["resamples"]

    @property
    def joined(self) -> bool:
        """Texts may have two scores, which are joined as the official scripts do."""
        score_file = self.record.get("score_file") or {}
        return "flips" in self.record or score_file.get("join") == "official"


def open_submitted(path: Path) -> Submitted:
    """A result file with the score table beside it.

    Raises:
        SchemaError: one of the two is missing, a link, too large, of another schema, or not what it should be.
    """
    table = path.with_suffix(".parquet")
    for file, largest in ((path, LARGEST_RESULT), (table, LARGEST_TABLE)):
        if file.is_symlink():
            raise SchemaError("a submitted file is a link", file=file, expected="the file itself")
        if file.is_file() and (size := file.stat().st_size) > largest:
            raise SchemaError(
                "a submitted file is too large",
                file=file,
                found=f"{size:,} bytes",
                expected=f"at most {largest:,}",
            )
    columns = _check_table(table) if table.is_file() else ()
    side = read_scored(path)
    with parsing("this is not a whole result file", file=path, expected="what synvita evaluate writes"):
        _check_record(side.result.record)
    return Submitted(side, sha256_file(path), sha256_file(table), columns)


def _check_table(path: Path) -> tuple[str, ...]:
    """The columns of a score table, from its footer alone."""
    import pyarrow.parquet as pq

    with parquet_errors(path):
        footer = pq.read_metadata(path)
        schema = footer.schema.to_arrow_schema()
    unpacked = sum(footer.row_group(at).total_byte_size for at in range(footer.num_row_groups))
    for what, found, largest in (
        ("rows", footer.num_rows, LARGEST_ROWS),
        ("bytes when unpacked", unpacked, LARGEST_UNPACKED),
    ):
        if found > largest:
            raise SchemaError(
                "a score table is too large",
                file=path,
                found=f"{found:,} {what}",
                expected=f"at most {largest:,}",
            )
    found = {field.name: _type_name(str(field.type)) for field in schema}
    if len(found) < len(schema.names):
        raise SchemaError(
            "a score table has two columns of one name", file=path, found=", ".join(schema.names)
        )
    wrong = {name: kind for name, kind in found.items() if COLUMNS.get(name) != kind}
    lacking = [name for name in COLUMNS if name not in found and name not in OPTIONAL]
    if wrong or lacking:
        raise SchemaError(
            "a score table has other columns than those of synvita evaluate",
            file=path,
            found=", ".join(f"{name} ({kind})" for name, kind in wrong.items()) or f"no {', '.join(lacking)}",
            expected=", ".join(f"{name} ({kind})" for name, kind in COLUMNS.items()),
        )
    return tuple(found)


def _type_name(name: str) -> str:
    """Large and dictionary strings are strings; the item of a list has several names."""
    if name in ("large_string", "dictionary<values=string, indices=int32, ordered=0>"):
        return "string"
    return COLUMNS["frame_indices"] if name in ("list<item: int64>", "large_list<item: int64>") else name


def _check_record(record: dict[str, Any]) -> None:
    """Raise for a result file that lacks what is recomputed from it, or asks for too much."""
    for name in ("task", "model", "main_score", "metrics", "coverage", "bootstrap", "versions"):
        if not isinstance(record[name], dict):
            raise TypeError(f"{name} is not an object")
    for name in ("official", "partial"):
        if not isinstance(record[name], bool):
            raise TypeError(f"{name} is not true or false")
    for name in ("frames", "flips", "score_file"):
        if not isinstance(record.get(name), dict | None):
            raise TypeError(f"{name} is not an object")
    if not isinstance(record["task"]["counts"], dict) or not isinstance(record["task"]["reading"], dict):
        raise TypeError("the task's counts are not an object")
    reasons = record["why_not_official"]
    if not isinstance(reasons, list) or not all(isinstance(each, str) for each in reasons):
        raise TypeError("why_not_official is not a list of sentences")
    for name, most in (("seed", 2**63), ("resamples", MOST_RESAMPLES)):
        value = record["bootstrap"][name]
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise ValueError(f"bootstrap: {name} {value!r} is not a whole number from 0 to {most:,}")
    if not isinstance(record["model"].get("revision"), str | None):
        raise TypeError("the model's revision is not a string")
