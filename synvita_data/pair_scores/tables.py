"""Tables of videos and texts to score (`docs/scoring.md`): CSV, JSON Lines, Parquet, or a folder of videos with texts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..display import counted
from ..errors import SchemaError, SynvitaError, UnsafePathError, first_line, located
from ..files import resolve_under
from ..real_videos.files import walk_videos
from ..tables.cells import given_text, read_part
from ..tables.columns import parquet_errors
from ..tables.rows import Cells, Fields, normal_name, plain_cell, read_rows, whole
from .pairs import Pair, refuse_url

VIDEO_COLUMNS = ("video", "videopath", "video_path", "path")
TEXT_COLUMNS = ("text", "caption", "prompt")
# What is written behind the columns of the input.
OWN_COLUMNS = ("score", "kind", "model", "error")


@dataclass(slots=True)
class PairTable:
    """Pairs to score, with the rows that they are of.

    Attributes:
        source: the table, or the folder of videos.
        root: that videos are below.
        columns: of the input, in its order.
        rows: one a pair: its cells as they stand.
        pairs: one a row.
        used: what was read from which column: "videos from videopath".
        texts: those that were given in place of a column.
        refused: files of a folder that are not looked at.
        arrow: of a Parquet file: all of it, so that its types are kept.
    """

    source: Path
    root: Path
    columns: list[str]
    rows: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    used: str = ""
    texts: tuple[str, ...] = ()
    refused: list[SynvitaError] = field(default_factory=list)
    arrow: Any = None


class _AllColumns(Fields):
    """All columns of a table by their own names; `roles` says which hold what is scored."""

    def choose(self, found: Sequence[str]) -> dict[str, int]:
        self.roles(found)
        names = [column.strip("\ufeff") for column in found]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise SchemaError(
                "two columns have one name", found=", ".join(map(repr, twice)), fix="Rename or remove one"
            )
        return {name: at for at, name in enumerate(names)}

    def are_header(self, cells: Mapping[str, str]) -> bool:
        return all(cell == name for name, cell in cells.items())

    def roles(self, found: Sequence[str]) -> dict[str, str]:
        """Field -> the column that holds it.

        Raises:
            SchemaError: a column is missing, or stands twice, or has a name of those that are written.
        """
        if taken := [column for column in found if normal_name(column) in OWN_COLUMNS]:
            raise SchemaError(
                "the table has columns already that scores are written to",
                found=", ".join(taken),
                fix="Rename or remove them",
            )
        return {name: found[at].strip("\ufeff") for name, at in Fields.choose(self, found).items()}


def read_pairs(
    source: Path,
    *,
    texts: Sequence[str] | None = None,
    root: Path | None = None,
    video_column: str | None = None,
    text_column: str | None = None,
) -> PairTable:
    """The pairs of a table, or of a folder of videos.

    Args:
        source: .csv, .tsv, .jsonl or .parquet; or a folder, all of whose videos are scored.
        texts: scored with every video, in place of a column of the table.
        root: folder that the table's paths are relative to; None for the table's own.
        video_column: its name; None for one of VIDEO_COLUMNS.
        text_column: its name; None for one of TEXT_COLUMNS.

    Raises:
        SchemaError: a column is missing, a row has no text, a path that cannot be read, a time that is none; the row is
            named. A table or folder without videos.
        UnsafePathError: a path that leaves `root`.
    """
    if not source.is_dir():
        return _read_table(source, texts, root, video_column, text_column)
    if named := [each for each in (root, video_column, text_column) if each is not None]:
        raise SchemaError(
            "a folder of videos has no columns and is its own root", file=source, found=str(named[0])
        )
    if not texts:
        raise SchemaError(
            "a folder of videos has no texts",
            file=source,
            expected="--text TEXT or --texts FILE",
            fix="For a text of its own for each video, name a table with the columns video and text",
        )
    table = PairTable(source, source, ["video", "text"], used="the videos of the folder", texts=tuple(texts))
    for relative in walk_videos(source, table.refused.append):
        for text in texts:
            row = {"video": relative, "text": text}
            video = resolve_under(source, relative, file=source)
            table.pairs.append(Pair(video, text, name=relative, row=len(table.rows)))
            table.rows.append(row)
    if not table.rows:
        raise SchemaError("there is no video in the folder", file=source)
    return table


def _read_table(
    source: Path,
    texts: Sequence[str] | None,
    root: Path | None,
    video_column: str | None,
    text_column: str | None,
) -> PairTable:
    fields = _fields(source, texts, video_column, text_column)
    table = PairTable(source, source.parent if root is None else root, [], texts=tuple(texts or ()))
    if not table.root.is_dir():
        raise SchemaError("the folder of videos does not exist", file=table.root, fix="Name it with --root")
    read, faults = _cells(table, fields)
    # Every row becomes one pair, or one for each text that is given.
    real_root = table.root.resolve()
    for row, roles, cells in read:
        named = {
            name: cells.get(column) if name == "video" else plain_cell(cells.get(column), name)
            for name, column in roles.items()
        }
        try:
            with located(source, row):
                for text in [None] if texts is None else texts:
                    table.pairs.append(_pair(named, text, table.root, real_root, row))
        except SynvitaError as error:
            faults.append(error)
    if faults:
        raise _first_of(faults)
    if not read:
        raise SchemaError("the table has no rows", file=source, expected="a video and a text a row")
    used, kinds = read[0][1], {"video": "videos", "text": "texts", "start": "starts", "end": "ends"}
    table.used = ", ".join(f"{kinds[name]} from {used[name]}" for name in kinds if name in used)
    # The rows as they stand.
    own = _json_originals(source) if _is_json(source) else [cells for _, _, cells in read]
    table.columns = list(dict.fromkeys(name for cells in own for name in cells))
    if texts is None:
        table.rows = own
        return table
    if "text" in table.columns:
        raise SchemaError(
            "the table has texts, and others are given",
            file=source,
            found="a column text",
            fix="Leave --text and --texts out, or remove the column",
        )
    table.columns.append("text")
    table.rows = [{**cells, "text": text} for cells in own for text in texts]
    if table.arrow is not None:
        import pyarrow as pa

        repeated = [row for row in range(len(own)) for _ in texts]
        table.arrow = table.arrow.take(pa.array(repeated)).append_column(
            "text", pa.array(list(texts) * len(own))
        )
    return table


def _fields(
    source: Path, texts: Sequence[str] | None, video_column: str | None, text_column: str | None
) -> "_AllColumns":
    aliases = {
        "video": VIDEO_COLUMNS if video_column is None else (normal_name(video_column),),
        "text": TEXT_COLUMNS if text_column is None else (normal_name(text_column),),
        "start": ("start",),
        "end": ("end",),
    }
    if texts is not None:
        if text_column is not None:
            raise SchemaError(
                "texts are given twice",
                file=source,
                found="--text-column, and --text or --texts",
                fix="Leave one of them out",
            )
        del aliases["text"]
    required = [name for name in ("video", "text") if name in aliases]
    return _AllColumns(aliases, required, "Name the columns with --video-column and --text-column")


def _cells(
    table: PairTable, fields: _AllColumns
) -> tuple[list[tuple[int, dict[str, str], Cells]], list[SynvitaError]]:
    """Row, columns of its fields and all its cells, of every row; and the rows that are broken in themselves."""
    source = table.source
    if source.suffix.lower() in (".parquet", ".pq"):
        import pyarrow.parquet as pq

        if not source.is_file():
            raise SchemaError("the file does not exist", file=source)
        with parquet_errors(source):
            table.arrow = pq.read_table(source)
            rows = table.arrow.to_pylist()
        with located(source):
            fields.choose(table.arrow.column_names)
            roles = fields.roles(table.arrow.column_names)
        return [(row, roles, cells) for row, cells in enumerate(rows)], []
    read, faults = list[tuple[int, dict[str, str], Cells]](), list[SynvitaError]()
    known: dict[tuple[str, ...], dict[str, str]] = {}
    for row, cells in read_rows(source, fields, "videos and texts"):
        if isinstance(cells, SchemaError):
            faults.append(cells)
            continue
        names = tuple(cells)
        if names not in known:
            known[names] = fields.roles(names)
        read.append((row, known[names], cells))
    return read, faults


def _pair(named: Mapping[str, Any], text: str | None, root: Path, real_root: Path, row: int) -> Pair:
    """The pair of one row.

    Args:
        named: cells by field.
        text: in the place of the row's own.
        root: that the video is below.
        real_root: the same, resolved.
        row: of the table.
    """
    cell = named.get("video")
    if cell is not None and not isinstance(cell, str):
        raise SchemaError(
            "a video is not named by a path",
            found=type(cell).__name__,
            expected="a path relative to --root",
            fix="For videos inside a Parquet file, give load_triplets' cells to synvita_data.score",
        )
    path = given_text(cell, "a video")
    if path is None:
        raise SchemaError("a row names no video", expected="a path relative to --root")
    refuse_url(path)
    own = given_text(named.get("text"), "a text") if text is None else text
    if own is None:
        raise SchemaError(
            "a text is empty", found=repr(named.get("text")), expected="what the video may show"
        )
    start, end = read_part(named.get("start"), named.get("end"))
    try:
        # A folder of Windows is one here too, as in the paths of datasets.
        video = resolve_under(root, path.replace("\\", "/"))
    except UnsafePathError as error:
        error.fix = "Name the folder that holds all videos with --root, and write paths relative to it"
        raise
    inside = video.relative_to(real_root) if video.is_relative_to(real_root) else Path(path)
    return Pair(video, own, start, end, inside.as_posix(), row)


def _first_of(faults: Sequence[SynvitaError]) -> SynvitaError:
    """The error of the first row that cannot be used, which says how many more there are."""
    first = min(faults, key=lambda error: error.row if isinstance(error.row, int) else -1)
    if len(faults) > 1:
        first.fix = " ".join(
            [
                *([f"{first.fix.rstrip('.')}."] if first.fix else []),
                f"{counted(len(faults) - 1, 'more rows are')} bad too",
            ]
        )
        first.args = (str(first),)
    return first


def _is_json(source: Path) -> bool:
    return source.suffix.lower() in (".jsonl", ".ndjson", ".json")


def _json_originals(source: Path) -> list[dict[str, Any]]:
    """The objects of JSON Lines that were read before, with their numbers as numbers."""
    with source.open(encoding="utf-8-sig", newline="\n") as handle:
        return [json.loads(line, parse_constant=lambda name: None) for line in handle if line.strip()]


def read_texts(file: Path) -> list[str]:
    """Texts to score with every video: the lines of a .txt file, or a column `text` (or `caption`, `prompt`) of a table.

    Raises:
        SchemaError: no such file or column, not UTF-8, an empty cell, no text at all.
    """
    if file.suffix.lower() != ".txt":
        texts = []
        for row, cells in whole(read_rows(file, Fields({"text": TEXT_COLUMNS}, ("text",)), "texts")):
            with located(file, row):
                text = given_text(cells["text"], "a text")
                if text is None:
                    raise SchemaError("a text is empty", found=repr(cells["text"]))
            texts.append(text)
    else:
        try:
            # A text may hold what Python's `splitlines` takes for an end of a line, such as U+2028.
            lines = file.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, ValueError) as error:
            raise SchemaError("the texts cannot be read", file=file, found=first_line(error)) from error
        texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise SchemaError("the file holds no text", file=file, expected="one text a line")
    return texts
