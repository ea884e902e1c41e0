"""Columns of CSV files, as codes into their distinct cells: a million rows in about a second.

Pairs of videos and captions repeat both many times (18 captions with 216 videos), and a caption may come
wrapped in a prompt of 250 characters. So a column is read as `Column(codes, values)`, and what costs time
(taking a prompt off, finding a video, parsing a number) is done once a distinct cell.

`pyarrow` reads the cells and forgives much; where it finds a fault, or a quote stands where its dialect has
none, `csv_text` goes over the file and names the row.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import SchemaError, SynvitaError
from .cells import read_number
from .csv_text import Dialect, choose_delimiter, choose_dialect, first_record, quotes_are_odd, read_records

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: row i holds `values[codes[i]]`. Cells are text as it stands, quotes taken off.

    Every value is held by a row. Values may repeat only where line ends made them differ in the file.
    """

    codes: Codes
    values: list[str]

    def __len__(self) -> int:
        return len(self.codes)

    def cell(self, row: int) -> str:
        return self.values[self.codes[row]]

    def cells(self) -> list[str]:
        return [self.values[code] for code in self.codes]

    def first_rows(self) -> Codes:
        """int64 [len(values)]: the first row of each value."""
        first = np.empty(len(self.values), np.int64)
        first[self.codes[::-1]] = np.arange(len(self.codes))[::-1]
        return first

    def try_convert(self, convert: Callable[[str], T]) -> tuple[list[T | None], dict[int, SynvitaError]]:
        """`convert` of every distinct cell, None where it raised, and what it raised by code."""
        values: list[T | None] = []
        faults: dict[int, SynvitaError] = {}
        for code, cell in enumerate(self.values):
            try:
                values.append(convert(cell))
            except SynvitaError as error:
                values.append(None)
                faults[code] = error
        return values, faults

    def convert(self, convert: Callable[[str], T], file: Path) -> list[T]:
        """`convert` of every distinct cell, in the order of `values`.

        Raises:
            SynvitaError: what `convert` raised for the first row that it refuses, with that row.
        """
        values, faults = self.try_convert(convert)
        if faults:
            rows = self.first_rows()
            code = min(faults, key=lambda code: int(rows[code]))
            raise placed(faults[code], file, int(rows[code]))
        return values  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of numbers, still as text: `cells` is an Arrow array of strings."""

    cells: Any

    def __len__(self) -> int:
        return len(self.cells)

    def parse(self, rows: Codes, *, file: Path, what: str) -> Floats:
        """float64 of the given rows; `nan` and `inf` pass.

        Raises:
            SchemaError: a cell is not a number; the first such row is named.
        """
        import pyarrow as pa

        cells = self.cells if len(rows) == len(self.cells) else self.cells.take(from_numpy(rows))
        try:
            return as_numpy(cells.cast(pa.float64()))
        except pa.ArrowInvalid:  # Python reads a little more: white space around a number
            numbers = np.empty(len(rows))
            for position, cell in enumerate(cells.to_pylist()):
                try:
                    special = cell.strip().lower() in ("nan", "inf", "-inf")
                    numbers[position] = float(cell) if special else read_number(cell, what)
                except SynvitaError as error:
                    raise placed(error, file, int(rows[position])) from error
            return numbers


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A CSV file whose first record has been looked at.

    Attributes:
        first: cells of the first record; it is a header or a row, as the caller decides.
        dialect: how its cells are told apart.
    """

    path: Path
    first: tuple[str, ...]
    dialect: Dialect

    def header(self) -> tuple[str, ...]:
        """`first` as column names: no white space around them, lower case."""
        return tuple(cell.strip().lower() for cell in self.first)

    def positions(self, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, int]:
        """Where the named columns stand, `first` being the header.

        Raises:
            SchemaError: a required column is missing, or a named column is there twice.
        """
        header = self.header()
        missing = [name for name in required if name not in header]
        twice = [name for name in (*required, *optional) if header.count(name) > 1]
        if missing or twice:
            raise SchemaError(
                f"no column {', '.join(missing)}" if missing else f"two columns are named {twice[0]}",
                file=self.path,
                found=", ".join(self.first),
                expected="columns " + ", ".join(required),
            )
        return {name: header.index(name) for name in (*required, *optional) if name in header}

    def read(self, positions: Mapping[str, int], *, has_header: bool) -> dict[str, Column]:
        """The columns at these positions, by name.

        Line ends inside quoted cells become `\\n`. Blank lines are not rows.

        Raises:
            SchemaError: not UTF-8, a row with another number of cells, a quote that is never closed.
        """
        table = self._table(positions, (), has_header=has_header)
        return {name: _column(table.column(str(at)), has_header) for name, at in positions.items()}

    def read_scores(
        self, positions: Mapping[str, int], score: int, *, has_header: bool
    ) -> tuple[dict[str, Column], Numbers]:
        """The same, and a column in which nearly every cell differs, as `Numbers`."""
        table = self._table(positions, (score,), has_header=has_header)
        columns = {name: _column(table.column(str(at)), has_header) for name, at in positions.items()}
        return columns, Numbers(table.column(str(score)).combine_chunks()[int(has_header) :])

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

    def check(self, *, has_header: bool) -> None:
        """Go over the whole file with the strict reader: slow, and it says where a fault is.

        Raises:
            SchemaError: the first fault, with its row.
        """
        for row, cells in read_records(self.path, self.dialect, has_header=has_header):
            if isinstance(cells, SchemaError):
                raise cells
            if len(cells) != len(self.first):
                raise SchemaError(
                    f"a row has {len(cells)} cells where the first has {len(self.first)}",
                    file=self.path,
                    row=row,
                    found=", ".join(cells),
                    fix="If it is the last row, the file was cut off: fetch or write it again",
                )


def open_csv(path: Path) -> CsvFile:
    """Look at the first record of a CSV file (a byte-order mark and blank lines before it are skipped).

    Raises:
        SchemaError: no such file, empty, or not UTF-8.
    """
    delimiter = choose_delimiter(path)
    return CsvFile(path, tuple(first_record(path, delimiter)), choose_dialect(path, delimiter))


def placed(error: SynvitaError, file: Path, row: int) -> SynvitaError:
    """The same error, saying where."""
    return type(error)(
        error.problem, file=file, row=row, found=error.found, expected=error.expected, fix=error.fix
    )


def as_numpy(array: Any) -> Any:
    """An Arrow array of numbers without nulls, as NumPy. (Arrow's own `to_numpy` imports pandas: a second.)"""
    return np.from_dlpack(array)


def from_numpy(array: npt.NDArray[Any]) -> Any:
    """A NumPy array of integers or floats as an Arrow array (`pyarrow.array` would import pandas)."""
    import pyarrow as pa

    kind = pa.from_numpy_dtype(array.dtype)
    return pa.Array.from_buffers(kind, len(array), [None, pa.py_buffer(np.ascontiguousarray(array))])


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
