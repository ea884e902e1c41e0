"""CSV columns: what Python's own reader gives, and faults with their row."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.errors import SchemaError
from synvita_data.tables.columns import as_numpy, from_numpy
from synvita_data.tables.csv import open_csv
from synvita_data.tables.rows import Fields, open_table

CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=12)


def written(path, rows, line_end="\n", bom=False):
    with path.open("w", encoding="utf-8-sig" if bom else "utf-8", newline="") as handle:
        csv.writer(handle, lineterminator=line_end).writerows(rows)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("csv")


@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=8),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.booleans(),
)
def test_the_cells_are_those_that_were_written(folder, rows, line_end, bom, has_header):
    path = written(folder / "any.csv", rows, line_end, bom)
    columns = open_csv(path).columns({"a": 0, "b": 1, "c": 2}, has_header=has_header)
    expected = rows[1:] if has_header else rows
    assert [columns[name].cells() for name in "abc"] == [[row[at] for row in expected] for at in range(3)]
    for column in columns.values():
        assert sorted(set(column.codes.tolist())) == list(range(len(column.values)))


def test_line_breaks_inside_cells_become_newlines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfvideopath,caption\r\nv1,"one\r\ntwo"\r\n\r\nv2,"three\nfour"\r\n')
    columns = open_csv(path).columns({"caption": 1}, has_header=True)
    assert columns["caption"].cells() == ["one\ntwo", "three\nfour"]


def test_numbers_and_the_first_row_that_is_none(tmp_path):
    path = written(tmp_path / "a.csv", [["v", "s"], ["a", "0.25"], ["b", " 1e-3"], ["c", "nan"], ["d", "x1"]])
    _, numbers = open_csv(path).columns_and_numbers({"v": 0}, 1, has_header=True)
    assert numbers.parse(np.array([0, 1]), "a score").tolist() == [0.25, 0.001]
    with pytest.raises(SchemaError, match=r"row 3: a score is not a number.*'x1'"):
        numbers.parse(np.arange(4), "a score")


@pytest.mark.parametrize("has_header", [False, True])
@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (b"v3\n", "1 cells"),
        (b"v3,c,0.5,9\n", "4 cells"),
        (b'v3,"cut of', "never closed"),
        (b'v3,"cut "', "2 cells"),
    ],
)
def test_faults_name_their_row(tmp_path, has_header, bad, words):
    path = tmp_path / "a.csv"
    path.write_bytes(
        (b"video,caption,score\n" if has_header else b"") + b'v1,"a ""b""",0.5\n\nv2,"x\ny",0.1\n' + bad
    )
    with pytest.raises(SchemaError, match=f"row 2: .*{words}"):
        open_csv(path).columns({"video": 0}, has_header=has_header)


def test_a_quote_inside_a_bare_cell_is_a_fault_of_its_row(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'v1,plain\nv2,a 5" pipe\n')
    with pytest.raises(SchemaError, match="row 1: a quote stands inside a cell that is not quoted"):
        open_csv(path).columns({"c": 1}, has_header=False)


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "empty"), (b"\n\n", "empty"), (b"a,\xff\xfe\n", "not UTF-8")]
)
def test_files_that_cannot_be_read(tmp_path, content, words):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(SchemaError, match=words):
        open_csv(path).columns({"a": 0}, has_header=False)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_missing_column_is_named_alone_in_every_dialect(tmp_path, delimiter):
    (tmp_path / "table.csv").write_text(delimiter.join(["videopath", "caption", "label"]) + "\n")
    with pytest.raises(SchemaError, match=r"no column for match\. Found: columns .*'caption', 'label'"):
        open_table(tmp_path / "table.csv", Fields.named("videopath", "caption", "match"))


def test_columns_by_name(tmp_path):
    csv_file = open_csv(written(tmp_path / "a.csv", [[" Match ", "CAPTION", "videopath"], ["1", "c", "v"]]))
    fields = Fields.named("videopath", "match", optional=("split",))
    assert fields.choose(csv_file.first) == {"videopath": 2, "match": 0}
    with pytest.raises(SchemaError, match="no column for label"):
        Fields.named("label").choose(csv_file.first)
    twice = open_csv(written(tmp_path / "b.csv", [["a", "A"], ["1", "2"]]))
    with pytest.raises(SchemaError, match="two columns could be 'a'"):
        Fields.named("a").choose(twice.first)


@pytest.mark.parametrize("array", [np.arange(5), np.array([0.5, -1.0]), np.zeros(0, np.int8)])
def test_arrays_to_arrow_and_back(array):
    assert as_numpy(from_numpy(array)).tolist() == array.tolist()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_dialect_gives_the_same_columns(tmp_path, delimiter, end):
    path = tmp_path / "a.csv"
    rows = [["video", "caption"], ["v1", "a, b; c\td"], ["v2", 'say "x"'], ["v3", "two\nlines"]]
    handle = io.StringIO()
    csv.writer(handle, delimiter=delimiter, lineterminator="\n").writerows(rows)
    path.write_bytes(
        handle.getvalue().replace("\n", end).encode()
    )  # as a converter does it, inside cells too
    found = open_csv(path)
    columns = found.columns(Fields.named(*("video", "caption")).choose(found.first), has_header=True)
    assert [columns[name].cells() for name in ("video", "caption")] == [
        ["v1", "v2", "v3"],
        ["a, b; c\td", 'say "x"', "two\nlines"],
    ]


def test_tabs_without_quoting_keep_their_quotes(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text('video\tcaption\nv1\t5" nail\nv2\t"Stop" sign\n')
    found = open_csv(path)
    assert found.columns(Fields.named(*("caption",)).choose(found.first), has_header=True)[
        "caption"
    ].cells() == [
        '5" nail',
        '"Stop" sign',
    ]


def test_swallowed_rows_are_refused_with_their_row(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('video,caption,score\nv1,a,1\nv2,"b,1\nv3,c",1\nv4,d,1\n')
    with pytest.raises(SchemaError, match="row 1: a quoted cell seems to have swallowed"):
        open_csv(path).columns({"c": 1}, has_header=True)
