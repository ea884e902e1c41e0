"""What the campaigns found and was mended, each as small as it became."""

import pyarrow as pa
import pytest

from synvita_data.errors import SchemaError
from synvita_data.schema import check_schema_version
from synvita_data.tables.columns import coded, number_column
from synvita_data.tasks import read_declaration


def test_a_schema_version_that_is_no_text():
    with pytest.raises(SchemaError, match="another schema version"):
        check_schema_version({b"schema_version": b"\xb6"}, file="x.parquet")


@pytest.mark.parametrize("cells", [[["a"]], [{"bytes": "x"}], [b"\xff\xfe"]])
def test_columns_that_are_not_text(cells, tmp_path):
    with pytest.raises(SchemaError, match="the cells of name are not text"):
        coded(pa.table({"name": cells}), "name", tmp_path / "x.parquet")


def test_whole_numbers_that_no_float_holds(tmp_path):
    assert number_column(pa.table({"n": [2**53 + 1]}), "n", tmp_path / "x.parquet").tolist() == [float(2**53)]


@pytest.mark.parametrize("depth", [40, 1_200, 20_000])
@pytest.mark.parametrize("text", ["name: {0}1{1}", "{0}1{1}"])
def test_a_declaration_nested_deeply(depth, text, tmp_path):
    path = tmp_path / "task.yaml"
    path.write_text(text.format("[" * depth, "]" * depth))
    with pytest.raises(SchemaError, match="nested too deeply"):
        read_declaration(path)
