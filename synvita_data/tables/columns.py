"""Columns as codes into their distinct cells, and what Arrow and Parquet need: whole tables read at once."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import SchemaError, SynvitaError, first_line
from ..files import kind_of
from ..schema import check_schema_version
from .cells import read_number

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: row i holds `values[codes[i]]`. Cells are text as it stands, quotes taken off.

    Every value is held by a row. Values may repeat only where line ends made them differ in the file.
    """

    codes: Ints
    values: list[str]

    def __len__(self) -> int:
        return len(self.codes)

    def cell(self, row: int) -> str:
        return self.values[self.codes[row]]

    def cells(self) -> list[str]:
        return [self.values[code] for code in self.codes]

    def first_rows(self) -> Ints:
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
            raise faults[code].at(file, int(rows[code]))
        return values  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of numbers of a file, still as text: `cells` is an Arrow array of strings."""

    file: Path
    cells: Any

    def __len__(self) -> int:
        return len(self.cells)

    def parse(self, rows: Ints, what: str) -> Floats:
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
                    raise error.at(self.file, int(rows[position])) from None
            return numbers


@contextlib.contextmanager
def parquet_errors(file: str | Path) -> Iterator[None]:
    """What is raised of a Parquet file that cannot be read, as a `SchemaError` that names the file.

    By Arrow where bytes are damaged; by Python for cells that it cannot hold: texts that are not UTF-8, dates of the year
    20,000.
    """
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        if hasattr(error, "response"):  # the Hub's: nothing is known of the file
            raise
        kind = None
        with contextlib.suppress(OSError), Path(file).open("rb") as handle:
            kind = kind_of(handle.read(32))
        other = kind is not None and kind != kind_of(b"PAR1")
        raise SchemaError(
            "this is not a readable Parquet file",
            file=file,
            found=kind if other else first_line(error),
            fix=None if other else "It may have been cut off: fetch or write it again",
        ) from error


def read_parquet(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Any:
    """These columns of a Parquet file of ours as a `pyarrow.Table`, with the file's metadata.

    Args:
        path: of the file.
        columns: that it must have.
        optional: further ones, if it has them.

    Raises:
        SchemaError: no such file, not readable, another schema version, or a column is missing.
    """
    import pyarrow.parquet as pq

    if not path.is_file():
        raise SchemaError("the file does not exist", file=path)
    with parquet_errors(path):
        table = pq.read_table(path)
        table.validate(full=True)  # also that its texts are UTF-8
    check_schema_version(table.schema.metadata, file=str(path))
    if missing := [name for name in columns if name not in table.column_names]:
        raise SchemaError(
            f"the table has no column {', '.join(missing)}",
            file=path,
            found=", ".join(table.column_names),
            expected=f"columns {', '.join(columns)}",
        )
    return table.select([*columns, *(name for name in optional if name in table.column_names)])


def coded(table: Any, name: str, file: Path) -> Column:
    """A text column of an Arrow table.

    Raises:
        SchemaError: a cell is null, with its row; the column holds what is no text, such as lists.
    """
    import pyarrow as pa

    column = table.column(name)
    if column.null_count:
        raise SchemaError(f"{name} is empty", file=file, row=column.is_null().to_pylist().index(True))
    try:
        encoded = column.cast("string").combine_chunks().dictionary_encode()
    except (pa.ArrowException, ValueError) as error:
        raise SchemaError(
            f"the cells of {name} are not text", file=file, found=str(column.type), expected="text"
        ) from error
    return Column(as_numpy(encoded.indices).astype(np.int64), encoded.dictionary.to_pylist())


def number_column(table: Any, name: str, file: Path) -> Floats:
    """A column of numbers of an Arrow table as float64; a null becomes NaN.

    Raises:
        SchemaError: the column has another type.
    """
    import pyarrow as pa

    column = table.column(name)
    kinds = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal)
    if not any(is_kind(column.type) for is_kind in kinds):
        raise SchemaError(f"the cells of {name} are not numbers", file=file, found=str(column.type))
    return np.asarray(
        as_numpy(column.cast(pa.float64(), safe=False).combine_chunks().fill_null(float("nan")))
    )


def as_numpy(array: Any) -> Any:
    """An Arrow array of numbers without nulls, as NumPy. (Arrow's own `to_numpy` imports pandas: a second.)"""
    return np.from_dlpack(array)


def from_numpy(array: npt.NDArray[Any]) -> Any:
    """A NumPy array of integers or floats as an Arrow array (`pyarrow.array` would import pandas)."""
    import pyarrow as pa

    kind = pa.from_numpy_dtype(array.dtype)
    return pa.Array.from_buffers(kind, len(array), [None, pa.py_buffer(np.ascontiguousarray(array))])
