"""Where a submitted result differs from the one made again: JSON field by field, and the score table cell by cell."""

from collections.abc import Iterator, Mapping, Sequence
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..tables.columns import parquet_errors
from .report import Difference

if TYPE_CHECKING:
    import pyarrow as pa

# Two numbers that were computed alike on two machines differ by less.
ABSOLUTE, RELATIVE = 1e-9, 1e-12
_LONGEST = 200
_COMPARED = ("task", "item_id", "video_id", "text_id", "label", "score")
_MISSING = object()


def differences(found: Any, recomputed: Any, field: str) -> Iterator[Difference]:
    """Every leaf of two values that is not the same, in the order of the fields.

    Numbers are the same to 1e-9 and relatively to 1e-12; true is no number, and null no missing field.

    Args:
        found: JSON as it was submitted.
        recomputed: what it should be.
        field: name of the whole.
    """
    if isinstance(found, Mapping) and isinstance(recomputed, Mapping):
        for key in dict.fromkeys((*recomputed, *found)):
            yield from differences(
                found.get(key, _MISSING),
                recomputed.get(key, _MISSING),
                f"{field}.{key}" if field else str(key),
            )
    elif _is_list(found) and _is_list(recomputed) and len(found) == len(recomputed):
        for place, pair in enumerate(zip(found, recomputed, strict=True)):
            yield from differences(*pair, f"{field}[{place}]")
    elif not same(found, recomputed):
        yield Difference(field, shown(found), shown(recomputed))


def same(one: Any, other: Any) -> bool:
    """Whether two leaves are the same."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return type(one) is type(other) and bool(one == other)


def shown(value: Any) -> str | float | bool | None:
    """A leaf as a report has it; of anything longer its beginning."""
    if value is _MISSING or value is None:
        return None if value is _MISSING else "null"
    if isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return float(value) if abs(value) < 2**53 else str(value)[:_LONGEST]
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


# The score table


def read_table(path: Path) -> "pa.Table":
    """The columns that are compared, of a table whose size is known."""
    import pyarrow.parquet as pq

    with parquet_errors(path):
        return pq.read_table(path, columns=list(_COMPARED))


def table_differences(found: "pa.Table", again: "pa.Table") -> Iterator[Difference]:
    """Rows that are too many or too few, and of each column the first cell that is another, with how many there are.

    Args:
        found: as submitted.
        again: of `item_scores_table`.
    """
    import pyarrow.compute as pc

    if found.num_rows != again.num_rows:
        yield Difference("table.rows", float(found.num_rows), float(again.num_rows))
        return
    for name in _COMPARED:
        one, other = found.column(name), again.column(name)
        equal = pc.equal(one.cast(other.type), other)
        wrong = pc.indices_nonzero(pc.invert(pc.fill_null(equal, False))).to_pylist()
        wrong = [row for row in wrong if not same(one[row].as_py(), other[row].as_py())]
        if wrong:
            row = wrong[0]
            more = f" (and {len(wrong) - 1:,} more)" if len(wrong) > 1 else ""
            yield Difference(
                f"table.{name}, row {row}{more}", shown(one[row].as_py()), shown(other[row].as_py())
            )


def frames_differences(path: Path, record: dict[str, Any]) -> Iterator[Difference]:
    """Frames that the result and its table do not tell alike.

    Every row of a video names the same frames, no more than the policy takes; the first video's are among them; and a
    model that looked at none has no such column.
    """
    import pyarrow.parquet as pq

    with parquet_errors(path):
        names = pq.read_schema(path).names
        has = "frame_indices" in names
        table = pq.read_table(path, columns=["video_id", *(["frame_indices"] if has else [])])
    frames = record["frames"]
    if has != (frames is not None):
        yield Difference("table.frame_indices", has, frames is not None)
    if not has or frames is None:
        return
    of_video: dict[str, tuple[int, ...]] = {}
    videos, indices = table.column("video_id").to_pylist(), table.column("frame_indices").to_pylist()
    for row, (video, own) in enumerate(zip(videos, indices, strict=True)):
        looked_at = tuple(own or ())
        if of_video.setdefault(video, looked_at) != looked_at:
            yield Difference(
                f"table.frame_indices, row {row}", shown(list(looked_at)), shown(list(of_video[video]))
            )
            return
    policy = frames.get("policy")
    count = policy.get("count") if isinstance(policy, dict) else None
    longest = max(map(len, of_video.values()), default=0)
    if isinstance(count, int) and longest > count:
        yield Difference("frames.policy.count", float(count), f"at least {longest}, as the table has them")
    first = frames.get("first_video")
    own = first.get("indices") if isinstance(first, dict) else None
    if isinstance(own, list) and own and tuple(own) not in of_video.values():
        yield Difference("frames.first_video.indices", shown(own), "those of a video of the table")
