"""Parquet files with damaged bytes, or texts that are not UTF-8: every reader names the file, and none shows a traceback."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synvita_data.builders.triplets import TripletReader
from synvita_data.errors import SchemaError, SynvitaError
from synvita_data.hub.leaks import scan
from synvita_data.tables.columns import parquet_errors, read_parquet
from synvita_data.tables.score_files import read_score_rows

NOT_UTF8 = pa.StringArray.from_buffers(
    2, pa.array([0, 2, 4], pa.int32()).buffers()[1], pa.py_buffer(b"\xff\xfe\xff\xfe")
)


def table(path, **columns):
    meta = {"schema_version": "1.0"}
    pq.write_table(pa.table(columns).replace_schema_metadata(meta), path)
    return path


def triplets(path, caption):
    columns = {"caption": caption, "neg_caption": ["a", "b"], "videopath": ["v", "w"], "source": ["x", "x"]}
    return table(path, **columns)


def scores(path, model):
    return table(path, id=["x", "y"], model=model, neg_caption_score=[0.5, 0.5], caption_score=[0.5, 0.5])


READERS = {
    "triplets": lambda path: list(TripletReader(triplets(path, NOT_UTF8))),
    "scores": lambda path: list(read_score_rows(scores(path, NOT_UTF8))),
    "our tables": lambda path: read_parquet(table(path, a=NOT_UTF8), ["a"]),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_text_that_is_not_utf8_names_the_file(tmp_path, read):
    path = tmp_path / "t.parquet"
    with pytest.raises(SchemaError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "not a readable Parquet file" in str(caught.value)


def test_damaged_pages_are_named_by_who_looks_for_leaks(tmp_path):
    path = table(tmp_path / "t.parquet", a=[f"text {i}" for i in range(200)])
    data = bytearray(path.read_bytes())
    data[4:60] = b"\xff" * 56
    path.write_bytes(data)
    with pytest.raises(SynvitaError, match="not a readable Parquet file"):
        list(scan("t.parquet", path))


def test_cells_that_python_cannot_hold(tmp_path):
    far = pa.array([3_000_000], pa.date32())  # the year 10183
    with pytest.raises(SchemaError, match="not a readable Parquet file"), parquet_errors("t.parquet"):
        far.to_pylist()
