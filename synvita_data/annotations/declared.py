"""The rows of a task whose columns a declaration names: CSV, JSON Lines, nested JSON or Parquet, as fields by name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Formatter
from typing import Any, TypeVar

from ..captions.prompts import read_caption
from ..errors import SchemaError, SynvitaError
from ..files import parse_json
from ..real_videos.names import normal_source
from ..tables.cells import (
    check_data,
    given_id,
    given_text,
    read_choice,
    read_part,
    strip_cell,
    unique_names,
)
from ..tables.csv import check_text
from ..tables.rows import Fields, normal_name, read_rows
from ..tasks import FORMS, Task
from ..tasks.forms import COMMON
from .table import AnnotationReport
from .videos import VideoRef, video_at, video_at_url

ROW = "row"  # in braces: the number of the row, from 0, where the file has no column of this name
_FIX = "Name the columns in the task's declaration (docs/tasks.md)"
T = TypeVar("T")
_LABELS = {"1": 1, "1.0": 1, "true": 1, "0": 0, "0.0": 0, "false": 0}


@dataclass(frozen=True, slots=True)
class DeclaredRow:
    """One row.

    Attributes:
        file: it is of.
        row: its number in the file, from 0.
        place: the same, or the keys it stands under in nested JSON, for messages.
        order: its number among the rows of all files.
        cells: field -> what stands there, as the file has it; a tuple for a field of several columns.
        breakdown: name -> value, None where there is none.
    """

    file: Path
    row: int
    place: int | str
    order: int
    cells: Mapping[str, Any]
    breakdown: Mapping[str, str | None]

    def has(self, name: str) -> bool:
        """Whether the table has a column for this field."""
        return name in self.cells

    def text(self, name: str) -> str:
        """The text of a field, as it stands: `none` may be an answer.

        Raises:
            SchemaError: it is empty, or no text.
        """
        return words(self.cells[name], name)

    def label(self) -> int:
        """0 or 1; Parquet and JSON may also say false and true.

        Raises:
            SchemaError: anything else.
        """
        value = self.cells["label"]
        return int(value) if isinstance(value, bool) else read_label(self.text("label"), "label")

    def id(self, name: str) -> str:
        """The id of a field.

        Raises:
            SchemaError: it is empty.
        """
        found = given_id(self.cells[name], name)
        if found is None:
            raise SchemaError(f"{name} is empty", expected="an id")
        return found


@dataclass
class DeclaredRows:
    """The rows that belong to a task.

    Attributes:
        task: the task.
        rows: in the order of the files.
        report: takes what is counted.
        skip_bad: rows that cannot be used are left out and reported, not raised.
        seen: id -> the first row that has it.
    """

    task: Task
    rows: list[DeclaredRow]
    report: AnnotationReport
    skip_bad: bool = False
    seen: dict[str, DeclaredRow] = field(default_factory=dict)

    def each(self, read: Callable[[DeclaredRow], T]) -> list[tuple[DeclaredRow, T]]:
        """Every row with what `read` makes of it.

        Raises:
            SynvitaError: of the first row that cannot be used, with file and row, unless these are left out.
        """
        found = []
        for row in self.rows:
            try:
                found.append((row, read(row)))
            except SynvitaError as error:
                self.refuse(row, error)
        return found

    def refuse(self, row: DeclaredRow, error: SynvitaError) -> None:
        """Raise an error of a row, or note that the row is left out."""
        self.refuse_at(row.file, row.place, error)

    def refuse_all(self, rows: Sequence[DeclaredRow], error: SynvitaError) -> None:
        """Raise an error of rows that belong together, at the last of them; or note that each is left out."""
        for row in reversed(rows):
            self.refuse(row, copy(error))

    def refuse_at(self, file: Path, place: int | str, error: SynvitaError) -> None:
        """Raise an error of what stands at a place of a file, or note that it is left out."""
        error.at(file, place)
        if not self.skip_bad:
            raise error
        self.report.left_out.append(error)

    def check_id(self, row: DeclaredRow, name: str) -> None:
        """Refuse an id that an earlier row has.

        Raises:
            SchemaError: both rows are named.
        """
        earlier = self.seen.setdefault(name, row)
        if earlier is not row:
            raise SchemaError(
                "two rows have one id",
                found=f"{name}, as row {earlier.place} of {earlier.file.name}",
                expected="an id for each row",
            )

    def video(self, row: DeclaredRow, cell: Any) -> VideoRef:
        """The video that a cell names, with the row's source and times.

        Raises:
            SchemaError: it names none.
        """
        own = given_text(row.cells.get("source"), "source")
        source = normal_source(own or self.task.source or self.task.name)
        name = given_id(cell, "the video")
        if name is None:
            raise SchemaError("the row names no video", expected="a path, a name or a web address")
        video = video_at_url(source, name) if "://" in name else video_at(source, name)
        start, end = read_part(row.cells.get("start"), row.cells.get("end"))
        # Times that the name tells too are those of the whole clip.
        if (start, end) not in ((None, None), (video.start, video.end)):
            video = replace(video, start=start, end=end, part=True)
        return video

    def breakdown(self, rows: Sequence[DeclaredRow]) -> dict[str, list[str | None]]:
        """Name -> value of each row, for `make_annotations`."""
        return {name: [row.breakdown[name] for row in rows] for name in self.task.breakdown_columns}


def read_label(cell: str, name: str) -> int:
    """0 or 1, also as `false` and `true`.

    Raises:
        SchemaError: anything else.
    """
    if cell.strip().lower() not in _LABELS:
        raise SchemaError(f"{name} is not 0 or 1", found=repr(cell))
    return _LABELS[cell.strip().lower()]


def words(value: Any, what: str) -> str:
    """Text that may be a word such as `none`; line breaks and what is in them stay.

    Raises:
        SchemaError: it is empty, no text, or the error value of a spreadsheet.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        problem = f"{what} is empty" if value is None else f"{what} is not text"
        raise SchemaError(problem, found=None if value is None else repr(value), expected="text")
    text = strip_cell(str(value))
    if not text:
        raise SchemaError(f"{what} is empty", expected="text")
    check_data(text, what)
    return text


def clean_caption(value: Any) -> str:
    """A clean caption; see `read_caption`."""
    return read_caption(words(value, "a caption"))


def read_declared(task: Task, files: Sequence[Path], *, skip_bad: bool = False) -> DeclaredRows:
    """The rows of a task's files, of its split.

    Args:
        task: with `columns`.
        files: that are read one after the other.
        skip_bad: as of `DeclaredRows`.

    Raises:
        SchemaError: a file is not there or broken, a column is missing, a video stands in two splits.
    """
    report = AnnotationReport(files=tuple(map(str, files)))
    found = DeclaredRows(task, [], report, skip_bad)
    specs = _Specs(task)
    for file in files:
        for row, place, cells in _raw_rows(task, file, specs.fields):
            report.rows += 1
            if isinstance(cells, SchemaError):
                found.refuse_at(file, place, cells)
                continue
            try:
                found.rows.append(specs.row(file, row, place, report.rows - 1, cells))
            except SynvitaError as error:
                found.refuse_at(file, place, error)
    _take_split(found)
    if not found.rows:
        raise report.no_rows(task.name, files[0])
    return found


def _take_split(found: DeclaredRows) -> None:
    """Only the rows of the task's split; no video may stand in two."""
    task = found.task
    if not any(row.has("split") for row in found.rows):
        if task.split is None:
            return
        raise SchemaError(
            "the table has no column for the split", file=found.report.files[0], expected="split", fix=_FIX
        )
    wanted = None if task.split is None else read_choice(task.split, "split")
    first: dict[str, tuple[str, DeclaredRow]] = {}
    kept = []

    def read(row: DeclaredRow) -> tuple[str, list[str]]:
        split = read_choice(row.text("split"), "split")
        cells = row.cells["video"]
        each = cells if isinstance(cells, tuple) else (cells,)
        # Parts of one video are as alike as the whole.
        videos = [f"{video.source}_{video.name}" for video in (found.video(row, cell) for cell in each)]
        for video in videos:
            other, earlier = first.setdefault(video, (split, row))
            if other != split:
                raise SchemaError(
                    "a video stands in two splits",
                    found=f"{video}: {split}, and {other} in row {earlier.place} of {earlier.file.name}",
                    expected="one split for each video",
                )
        return split, videos

    for row, (split, _) in found.each(read):
        if wanted is None or split == wanted:
            kept.append(row)
        else:
            found.report.other_rows += 1
    found.rows = kept


class _Specs:
    """Where the fields of a task stand in a table."""

    def __init__(self, task: Task) -> None:
        form = FORMS[task.form]
        self.specs: dict[str, Any] = dict(task.columns or {})
        aliases: dict[str, Sequence[str]] = {}
        needed: list[str | tuple[str, ...]] = []
        self.common = not self.specs  # no column is named: their names are the common ones
        if self.common:
            aliases |= {**form.columns, **COMMON}
            needed += form.needed
            if task.split is None:
                del aliases["split"]
        for spec in self.specs.values():
            for column in _columns_of(spec):
                aliases[column] = (normal_name(column),)
                if column != ROW:
                    needed.append(column)
        self.breakdown = dict(task.breakdown_columns)
        for column in self.breakdown.values():
            aliases.setdefault(f"{column} " if self.common else column, (normal_name(column),))
            needed.append(f"{column} " if self.common else column)
        self.fields = Fields(aliases, tuple(dict.fromkeys(needed)), _FIX)

    def row(
        self, file: Path, row: int, place: int | str, order: int, cells: Mapping[str, Any]
    ) -> DeclaredRow:
        if self.common:
            fields = {name: value for name, value in cells.items() if not name.endswith(" ")}
        else:
            fields = {name: self._value(spec, cells, row) for name, spec in self.specs.items()}
        own = {
            name: given_text(cells.get(f"{column} " if self.common else column), name)
            for name, column in self.breakdown.items()
        }
        return DeclaredRow(file, row, place, order, fields, own)

    def _value(self, spec: Any, cells: Mapping[str, Any], row: int) -> Any:
        if isinstance(spec, tuple):
            return tuple(self._value(each, cells, row) for each in spec)
        if "{" not in spec and "}" not in spec:
            return cells.get(spec)
        parts = []
        for text, column, _, _ in Formatter().parse(spec):
            parts.append(text)
            if column is not None:
                value = row if column == ROW and column not in cells else given_id(cells.get(column), column)
                if value is None:
                    raise SchemaError(f"{column} is empty", expected=f"a value for {spec!r}")
                parts.append(str(value))
        return "".join(parts)


def _columns_of(spec: Any) -> list[str]:
    """The columns that a declared place names."""
    if isinstance(spec, tuple):
        return [column for each in spec for column in _columns_of(each)]
    if "{" not in spec and "}" not in spec:
        return [spec]
    return [column for _, column, _, _ in Formatter().parse(spec) if column is not None]


_Raw = Iterator[tuple[int, int | str, dict[str, Any] | SchemaError]]


def _raw_rows(task: Task, file: Path, fields: Fields) -> _Raw:
    """Number, place and cells (or what is wrong) of every row of a file."""
    if file.suffix.lower() == ".json":
        yield from _json_rows(task, file, fields)
        return
    if task.levels:
        raise SchemaError("levels are of nested JSON", file=file, expected="a .json file")
    for row, cells in read_rows(file, fields, "annotations"):
        yield row, row, cells


def _json_rows(task: Task, file: Path, fields: Fields) -> _Raw:
    """Rows of a JSON array of objects, or of objects in objects, whose keys `Task.levels` names."""
    try:
        check_text(file)
        content = parse_json(
            file.read_text(encoding="utf-8-sig"), foreign=True, object_pairs_hook=unique_names
        )
    except (OSError, ValueError) as error:
        raise SchemaError(
            "the annotations cannot be read", file=file, found=str(error), expected="JSON"
        ) from error
    if not task.levels and not isinstance(content, list):
        raise SchemaError(
            "the file is not a list of rows",
            file=file,
            found=type(content).__name__,
            expected="a JSON array of objects",
            fix="Say with levels what the keys of nested objects are (docs/tasks.md)",
        )
    chosen: dict[tuple[str, ...], dict[str, int]] = {}
    for row, (place, record) in enumerate(_leaves(content, task.levels, file, ())):
        names = tuple(record)
        try:
            if names not in chosen:
                chosen[names] = fields.choose(names)
        except SchemaError as error:
            if row == 0:
                raise error.at(file) from None
            yield row, place if task.levels else row, error
            continue
        cells = {name: record[names[at]] for name, at in chosen[names].items()}
        yield row, place if task.levels else row, cells


def _leaves(
    content: Any, levels: Sequence[str], file: Path, keys: tuple[str, ...]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects at the bottom, with the keys above them as columns, and where they stand."""
    above = dict(zip(levels, keys, strict=False))
    if len(keys) < len(levels):
        if not isinstance(content, dict):
            raise SchemaError(
                "a part of the file is not an object",
                file=file,
                row="/".join(keys) or None,
                found=type(content).__name__,
                expected=f"an object whose keys are {levels[len(keys)]}",
            )
        for key, inner in content.items():
            yield from _leaves(inner, levels, file, (*keys, key))
        return
    for at, record in enumerate(content if isinstance(content, list) else [content]):
        place = "/".join((*keys, str(at)))
        if not isinstance(record, dict):
            raise SchemaError(
                "a row is not an object", file=file, row=place, found=type(record).__name__, expected="{…}"
            )
        yield place, {**above, **record}
