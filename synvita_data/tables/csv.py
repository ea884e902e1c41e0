"""The CSV reader: rows and columns of delimited text, by the rules of its own dialect and strictly.

Three dialects: comma, semicolon (Excel's where the comma is the decimal mark) and tab. A cell with a delimiter, a
quote or a line break stands in double quotes, its own quotes doubled; any other quote is a fault of its row.
Tab-separated files come without quoting too (IANA's rule): a file in which no cell is properly quoted, while
some cells hold quotes, is read so. A quote that is still open where rows end is a fault of the whole file: Python's
own reader would take the following rows for text of one cell.

`CsvFile.records` streams rows. `CsvFile.columns` reads a million rows in about a second: pairs of videos and captions
repeat both many times, and a caption may stand in a prompt of 250 characters, so a column is `Column(codes, values)`
and what costs time (taking a prompt off, finding a video) is done once for each distinct cell. `pyarrow` reads these
cells and forgives much; where it finds a fault, or a quote stands where the dialect has none, the strict reader goes
over the file and names the row.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ..errors import SchemaError
from ..files import kind_of
from .columns import Column, Ints, Numbers, as_numpy

Bytes = npt.NDArray[np.uint8]

DELIMITERS = (",", "\t", ";")
# A quoted cell that is longer is a quote that was never closed.
_LONGEST_CELL = 1 << 24
_BYTE_ORDER_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_QUOTED = re.compile(r'"(?:[^"]++|"")*+"')
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How cells are told apart. `quotes`: whether double quotes have a meaning."""

    delimiter: str
    quotes: bool = True


Cells = list[str] | SchemaError


# --- a file and its rows -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A CSV file whose first record has been looked at; made by `open_csv`.

    Attributes:
        path: of the file.
        first: cells of the first record; it is a header or a row, as the caller decides.
        dialect: how its cells are told apart.
    """

    path: Path
    first: tuple[str, ...]
    dialect: Dialect

    def header(self) -> tuple[str, ...]:
        """`first` as column names: no white space around them, lower case."""
        return tuple(cell.strip().lower() for cell in self.first)

    def records(self, *, has_header: bool = True) -> Iterator[tuple[int, Cells]]:
        """`(row, cells)` from row 0, or `(row, error)` for a row with a stray quote or too many or few cells.

        Raises:
            SchemaError: as `read_records`.
        """
        for row, cells in read_records(self.path, self.dialect, has_header=has_header):
            if isinstance(cells, list) and len(cells) != len(self.first):
                cells = SchemaError(
                    f"a row has another number of cells than the {'header' if has_header else 'first row'}",
                    file=self.path,
                    row=row,
                    found=f"{len(cells)} cells, beginning {cells[:2]}",
                    expected=f"{len(self.first)} cells",
                    fix="Put cells with commas or line breaks in double quotes. If it is the last row, the file may "
                    "have been cut off: fetch or write it again",
                )
            if row >= 0:
                yield row, cells

    def check(self, *, has_header: bool) -> None:
        """Go over the whole file with the strict reader, which is slow and says where a fault is.

        Raises:
            SchemaError: the first fault, with its row.
        """
        for _, cells in self.records(has_header=has_header):
            if isinstance(cells, SchemaError):
                raise cells

    def columns(self, positions: Mapping[str, int], *, has_header: bool) -> dict[str, Column]:
        """The columns at these positions, by name.

        Line ends inside quoted cells become `\\n`. Blank lines are not rows.

        Raises:
            SchemaError: not UTF-8, a row with another number of cells, a quote that is never closed.
        """
        table = self._table(positions, (), has_header=has_header)
        return {name: _column(table.column(str(at)), has_header) for name, at in positions.items()}

    def columns_and_numbers(
        self, positions: Mapping[str, int], numbers: int, *, has_header: bool
    ) -> tuple[dict[str, Column], Numbers]:
        """The same, and a column in which nearly every cell differs, as `Numbers`."""
        table = self._table(positions, (numbers,), has_header=has_header)
        columns = {name: _column(table.column(str(at)), has_header) for name, at in positions.items()}
        return columns, Numbers(self.path, table.column(str(numbers)).combine_chunks()[int(has_header) :])

    def _table(self, positions: Mapping[str, int], plain: Sequence[int], *, has_header: bool) -> Any:
        import pyarrow as pa
        import pyarrow.csv as pa_csv

        if self.dialect.quotes and quotes_are_odd(self.path, self.dialect.delimiter, len(self.first)):
            self.check(has_header=has_header)
        types = {str(at): pa.dictionary(pa.int32(), pa.string()) for at in positions.values()}
        types |= {str(at): pa.string() for at in plain}
        try:
            table = pa_csv.read_csv(
                self.path,
                # The header is read as a row and taken off later: a line break in it is then no trap.
                read_options=pa_csv.ReadOptions(
                    column_names=[str(at) for at in range(len(self.first))], block_size=8 << 20
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=self.dialect.delimiter,
                    quote_char='"' if self.dialect.quotes else False,
                    newlines_in_values=self.dialect.quotes,
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=types, include_columns=list(types), strings_can_be_null=False
                ),
            )
        except pa.ArrowException as error:
            self.check(has_header=has_header)
            raise SchemaError("the CSV cannot be read", file=self.path, found=str(error)) from error
        return table.unify_dictionaries()


def open_csv(path: Path, delimiter: str | None = None) -> CsvFile:
    """Look at the first record of a CSV file (a byte-order mark and blank lines before it are skipped).

    Args:
        path: of the file.
        delimiter: None takes what splits the first record; see `choose_delimiter`.

    Raises:
        SchemaError: no such file, empty, or not UTF-8.
    """
    delimiter = delimiter or choose_delimiter(path)
    return CsvFile(path, tuple(first_record(path, delimiter)), choose_dialect(path, delimiter))


def first_record(path: Path, delimiter: str) -> list[str]:
    """The cells of the first row that is not blank, whether it is a header or not.

    Raises:
        SchemaError: no such file, empty, not UTF-8, or a quote in it that does not belong there.
    """
    for _, cells in read_records(path, Dialect(delimiter), has_header=True):
        if isinstance(cells, SchemaError):
            raise cells
        if re.fullmatch("sep=.?", delimiter.join(cells), re.IGNORECASE):
            raise SchemaError(
                "the first line is for Excel, not the header",
                file=path,
                found=delimiter.join(cells),
                expected="the names of the columns",
                fix="Remove this line",
            )
        if any("\0" in cell for cell in cells):
            raise SchemaError(
                "the first row holds NUL characters",
                file=path,
                found=", ".join(cells)[:80],
                fix="It may be UTF-16 without a mark: save it as UTF-8",
            )
        return cells
    raise SchemaError("the file is empty", file=path, expected="a header and rows")


def choose_delimiter(path: Path) -> str:
    """The comma; or what else splits the first row, where the comma does not.

    Raises:
        SchemaError: as `first_record`; tab and semicolon split it equally well.
    """
    widths = {}
    for delimiter in DELIMITERS:
        try:
            widths[delimiter] = len(first_record(path, delimiter))
        except SchemaError as error:
            if error.row != "header":
                raise
        if widths.get(",", 0) > 1:
            return ","
    widest = max(widths.values(), default=1)
    best = [delimiter for delimiter, width in widths.items() if width == widest]
    if len(best) > 1 and widest > 1:
        raise SchemaError(
            "tab and semicolon both split the first row",
            file=path,
            row="header",
            found=f"{widest} cells either way",
            fix="Write the table with commas",
        )
    return best[0] if widest > 1 else ","


def choose_dialect(path: Path, delimiter: str) -> Dialect:
    """The dialect of a file with this delimiter; only for tabs it is a question, which costs a look at all rows.

    Raises:
        SchemaError: not UTF-8.
    """
    quoted = Dialect(delimiter)
    if delimiter != "\t" or not quotes_are_odd(path, delimiter):
        return quoted
    proper, widths = False, set()
    for _, cells in read_records(path, Dialect(delimiter, quotes=False)):
        assert not isinstance(cells, SchemaError)
        widths.add(len(cells))
        proper = proper or any(len(cell) > 1 and _QUOTED.fullmatch(cell) for cell in cells)
    return quoted if proper or len(widths) > 1 else Dialect(delimiter, quotes=False)


def read_records(path: Path, dialect: Dialect, *, has_header: bool = False) -> Iterator[tuple[int, Cells]]:
    """`(row, cells)`, or `(row, error)` for a row with a stray quote. Blank lines are not rows.

    Args:
        has_header: the first record is a header; its row is -1, and the next is 0.

    Raises:
        SchemaError: not UTF-8; a quote that is never closed; a quote after which it is not clear where rows end.
    """
    if not path.is_file():
        raise SchemaError(
            "the path is a folder, not a file" if path.is_dir() else "the file does not exist", file=path
        )
    check_text(path)
    row = -2 if has_header else -1
    width: int | None = None
    number = 0
    delimiter = dialect.delimiter
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            for line in handle:
                number += 1
                if '"' not in line or not dialect.quotes:
                    body = line.rstrip("\r\n")
                    if body:
                        row += 1
                        cells = body.split(delimiter)
                        width = len(cells) if width is None else width
                        yield row, cells
                    continue
                row += 1
                record = _Record(path, row, number, line, handle, delimiter, width)
                number += record.more_lines
                width = len(record.cells) if width is None else width
                yield row, record.fault or record.cells
    except UnicodeDecodeError as error:
        refuse_encoding(path, error)


class _Record:
    """One row with quotes in it. `cells` as Python's lenient reader would have them, and the first `fault`."""

    def __init__(
        self,
        path: Path,
        row: int,
        number: int,
        line: str,
        lines: Iterator[str],
        delimiter: str,
        width: int | None,
    ) -> None:
        self.cells: list[str] = []
        self.fault: SchemaError | None = None
        self.more_lines = 0
        self._path, self._row, self._number, self._lines = path, row, number, lines
        text, at = line, 0
        closed_early = False
        while True:
            if text.startswith('"', at):
                if (quoted := _QUOTED.match(text, at)) is None:
                    text = self._through_closing_quote(text)
                    quoted = _QUOTED.match(text, at)
                    assert quoted is not None
                cell = quoted[0][1:-1].replace('""', '"')
                end = _end_of_cell(text, quoted.end(), delimiter)
                if rest := text[quoted.end() : end]:
                    closed_early = True
                    self._stray(f"{text[at : at + 40]!r}", "a quote inside a quoted cell is not doubled")
                    cell += rest
            else:
                end = _end_of_cell(text, at, delimiter)
                cell = text[at:end]
                if '"' in cell:
                    self._stray(f"{cell[:40]!r}", "a quote stands inside a cell that is not quoted")
            self.cells.append(cell)
            if not text.startswith(delimiter, end):
                break
            at = end + 1
        self._check_rows(text, delimiter, closed_early, len(self.cells) if width is None else width)

    def _error(self, problem: str, found: str, fix: str) -> SchemaError:
        return SchemaError(
            problem,
            file=self._path,
            row="header" if self._row < 0 else self._row,
            found=f"{found} in line {self._number}",
            expected="cells with quotes, delimiters or line breaks in double quotes, their quotes doubled",
            fix=fix,
        )

    def _through_closing_quote(self, text: str) -> str:
        """`text` with the lines that follow, up to the one in which the open quote is closed."""
        pieces, length = [text], len(text)
        for line in self._lines:
            self.more_lines += 1
            pieces.append(line)
            length += len(line)
            if line.count('"') % 2:
                return "".join(pieces)
            if length > _LONGEST_CELL:
                break
        raise self._error(
            "the CSV cannot be split into rows (a quoted cell is never closed)",
            f"an open quote: {text.strip()[:60]!r}",
            "Close or remove the quote; if the file was cut off, fetch or write it again",
        )

    def _stray(self, found: str, problem: str) -> None:
        if self.fault is None:
            self.fault = self._error(
                problem, found, 'Double the quotes of the text (""), and leave no space before a quoted cell'
            )

    def _check_rows(self, text: str, delimiter: str, closed_early: bool, width: int) -> None:
        """Raise where it is not clear that this record is one row."""
        if not self.more_lines:
            if closed_early and text.count('"') % 2 and len(self.cells) != width:
                assert self.fault is not None
                raise self.fault
            return
        if closed_early:
            assert self.fault is not None
            raise self._error(
                "a quote opens a cell that runs over the following rows and ends inside another cell",
                f"{self.more_lines + 1} lines in one row, {text.strip()[:60]!r}…,",
                "Close, double or remove the quote where the row begins",
            )
        # A line break of a text leaves other pieces than whole rows. (A comma of a text has a space behind it.)
        mark = re.compile(re.escape(delimiter) + r"(?! )")
        if width > 1:
            pieces = _LINE_END.split(text.rstrip("\r\n"))
            if all(len(mark.findall(piece)) == width - 1 for piece in pieces):
                raise self._error(
                    "a quoted cell seems to have swallowed the rows that follow",
                    f"{len(pieces)} lines of {width} cells each in one row, {text.strip()[:60]!r}…,",
                    "Remove the quote that opens it; if the text is meant, write its line breaks as spaces",
                )


def _end_of_cell(text: str, at: int, delimiter: str) -> int:
    found = text.find(delimiter, at)
    line_end = _LINE_END.search(text, at)
    ends = [place for place in (found, line_end.start() if line_end else -1) if place >= 0]
    return min(ends, default=len(text))


def _column(chunked: Any, has_header: bool) -> Column:
    chunks = chunked.chunks
    values = chunks[0].dictionary.to_pylist() if chunks else []
    codes = [as_numpy(chunk.indices) for chunk in chunks]
    joined = np.concatenate(codes).astype(np.int64) if codes else np.zeros(0, np.int64)
    if values and "\r" in "".join(values):
        values = [value.replace("\r\n", "\n").replace("\r", "\n") for value in values]
    if not has_header or not len(joined):
        return Column(joined, values)
    header, joined = int(joined[0]), joined[1:]
    if not (joined == header).any():  # no row holds the name of the column: take it off the values
        joined = joined - (joined > header)
        del values[header]
    return Column(joined, values)


# --- the fast look at quotes, and encodings ---------------------------------------------------------


def quotes_are_odd(path: Path, delimiter: str, width: int | None = None) -> bool:
    """Whether some quote stands where the dialect has none; fast, and without saying where.

    Every other quote opens a cell (or is the second of two doubled ones), and the rest close one (or are the first).

    Args:
        width: also say whether all lines of some row with line breaks look like rows of so many cells.
    """
    data = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
    start = 3 if bytes(data[:3]) == b"\xef\xbb\xbf" else 0
    quotes = _places(data, b'"')
    if not len(quotes):
        return False
    if len(quotes) % 2:
        return True
    opening, closing = quotes[::2], quotes[1::2]
    edges = np.array([ord(delimiter), ord("\n"), ord("\r")], np.uint8)
    doubled = np.concatenate([[False], opening[1:] == closing[:-1] + 1])
    begins = (opening == start) | np.isin(data[np.maximum(opening - 1, 0)], edges)
    ends = (closing == len(data) - 1) | np.isin(data[np.minimum(closing + 1, len(data) - 1)], edges)
    if not ((begins | doubled).all() and (ends | np.concatenate([doubled[1:], [False]])).all()):
        return True
    return width is not None and width > 1 and _rows_inside(data, opening, closing, delimiter, width)


def _rows_inside(data: Bytes, opening: Ints, closing: Ints, delimiter: str, width: int) -> bool:
    """Whether some record of several lines has in each as many delimiters (without a space behind) as a row."""
    last = len(data) - 1
    breaks = _places(data, b"\n\r")
    breaks = breaks[(data[breaks] != ord("\r")) | (data[np.minimum(breaks + 1, last)] != ord("\n"))]
    inside = np.searchsorted(opening, breaks) > np.searchsorted(closing, breaks)
    if not inside.any():
        return False
    marks = _places(data, delimiter.encode())
    marks = marks[data[np.minimum(marks + 1, last)] != ord(" ")]
    before = np.concatenate([[0], np.searchsorted(marks, breaks), [len(marks)]])
    full = np.diff(before) == width - 1  # of every line
    starts = np.flatnonzero(np.concatenate([[True], ~inside]))
    several = np.diff(np.append(starts, len(full))) > 1
    return bool((np.logical_and.reduceat(full, starts) & several).any())


def _places(data: Bytes, wanted: bytes) -> Ints:
    """int64: where one of the wanted bytes stands; block by block, since the masks are as large as the data."""
    kinds, block = np.frombuffer(wanted, np.uint8), 8 << 20
    found = [np.flatnonzero(np.isin(data[at : at + block], kinds)) + at for at in range(0, len(data), block)]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def refuse_encoding(path: Path, error: UnicodeDecodeError | None = None) -> NoReturn:
    """Raise the error of a file that is not UTF-8, with the line and what it may be instead."""
    check_text(path)
    number, found = 1, b""
    with path.open("rb") as handle:
        for number, line in enumerate(handle, 1):  # noqa: B007
            try:
                line.decode()
            except UnicodeDecodeError as place:
                found = line[place.start : place.start + 8]
                break
    raise SchemaError(
        "the file is not UTF-8 text",
        file=path,
        row=f"line {number}",
        found=f"bytes {found!r}, as Latin-1 (Windows-1252): {found.decode('cp1252', 'replace')!r}",
        fix="Save it as UTF-8 (in a spreadsheet: “CSV UTF-8”)",
    ) from error


def check_text(path: Path) -> None:
    """Refuse a file whose first bytes are those of another kind of file than a table of UTF-8 text.

    Raises:
        SchemaError: UTF-16, compressed, an Excel workbook, a Git LFS pointer, ….
    """
    with path.open("rb") as handle:
        start = handle.read(32)
    for mark, name in _BYTE_ORDER_MARKS:
        if start.startswith(mark):
            raise SchemaError(
                f"the file is {name} text, not UTF-8",
                file=path,
                found=f"byte-order mark {mark!r}",
                fix="Save it as UTF-8 (in a spreadsheet: “CSV UTF-8”)",
            )
    # A text may begin with a brace or an angle bracket, but hardly with the first words of a page.
    begins = start.lstrip().lower()
    is_text = begins.startswith((b"{", b"<")) and not begins.startswith((b"<!doctype", b"<html", b"<?xml"))
    if not is_text and (kind := kind_of(start)):
        raise SchemaError(
            "the file is of another kind than its name says",
            file=path,
            found=kind,
            expected="a table as text",
        )
