"""Score tables that went through spreadsheets and pandas, and CSVs that are not quite CSV."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synvita_data.errors import SchemaError, ScoreError
from synvita_data.tables.scores import read_scores

HEADER = "row,model,neg_caption_score,caption_score\n"


def write(folder, text, name="s.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def scores(table, row):
    return [(score.neg_caption_score, score.caption_score) for score in table.for_row("x", None, row)]


def test_row_numbers_that_pandas_made_floats(tmp_path):
    """A table by row with one row by id: the gap makes the other numbers floats."""
    frame = pd.DataFrame(
        {
            "row": [0, 3, None],
            "id": [None, None, "p"],
            "model": "m",
            "neg_caption_score": 0.5,
            "caption_score": [0, 0.25, 1],
        }
    )
    frame.to_csv(tmp_path / "s.csv", index=False)
    frame.to_parquet(tmp_path / "s.parquet")
    assert "3.0" in (tmp_path / "s.csv").read_text()
    for name in ("s.csv", "s.parquet"):
        table = read_scores(tmp_path / name)
        assert [scores(table, row) for row in (0, 3)] == [[(0.5, 0.0)], [(0.5, 0.25)]]
        assert len(table.for_row("p")) == 1


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters(tmp_path, delimiter):
    table = read_scores(write(tmp_path, (HEADER + "0,m,0.5,0.25\n").replace(",", delimiter)))
    assert scores(table, 0) == [(0.5, 0.25)]


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("#N/A", "is missing|NaN|nan"),
        ("#DIV/0!", "error value of a spreadsheet"),
        ('"0,5"', "decimal comma"),
        ("1_0", "is not a number"),
        ("NULL", "NaN|nan|missing"),
    ],
)
def test_a_score_that_is_none_costs_its_row(tmp_path, cell, words):
    table = read_scores(write(tmp_path, f"{HEADER}0,m,{cell},0.5\n1,m,0.5,0.5\n"))
    assert len(scores(table, 1)) == 1
    with pytest.raises(ScoreError, match=words) as caught:
        table.for_row("x", None, 0)
    assert "row 0" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEADER + "#REF!,m,0.5,0.5\n", "row 0: a row number is not one"),
        (HEADER + "True,m,0.5,0.5\n", "row 0: a row number is not one"),
        (HEADER + "0,#NAME?,0.5,0.5\n", "row 0: a model is the error value"),
        (HEADER + "0,nan,0.5,0.5\n", "row 0: a score does not say whose"),
        (HEADER.replace("row", "id") + "#NAME?,m,0.5,0.5\n", "row 0: an id is the error value"),
        (HEADER.replace("row", "id") + "1.5E+11,m,0.5,0.5\n", "row 0: an id is a number that was rounded"),
        (
            HEADER + '0,m,0.5,0.5\n1,"m,0.5,0.5\n2,m",0.5,0.5\n',
            "row 1: a quoted cell seems to have swallowed",
        ),
        (HEADER + '0,m "x",0.5,0.5\n', "row 0: a quote stands inside"),
        ((HEADER + "0,m,0.5,0.5\n").encode("utf-16"), "UTF-16"),
        ((HEADER + "0,caf\u00e9,0.5,0.5\n").encode("latin-1"), "not UTF-8"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(SchemaError, match=words) as caught:
        read_scores(path)
    assert caught.value.file == str(path)


@pytest.mark.parametrize("value", [float("inf"), 0.5, -1.0])
def test_row_numbers_of_parquet_that_are_none(tmp_path, value):
    columns = {"row": [value], "model": ["m"], "neg_caption_score": [0.5], "caption_score": [0.5]}
    pq.write_table(pa.table(columns), tmp_path / "s.parquet")
    with pytest.raises(SchemaError, match="row 0: a row number is not one"):
        read_scores(tmp_path / "s.parquet")
