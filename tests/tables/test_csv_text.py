"""Delimited text is split by the rules of its dialect; a quote never swallows rows."""

import csv
import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.errors import SchemaError
from synvita_data.tables.csv import (
    Dialect,
    choose_delimiter,
    choose_dialect,
    open_csv,
    quotes_are_odd,
    read_records,
)
from synvita_data.tables.rows import Fields, open_table, read_rows

COMMA = Dialect(",")


def write(folder, content, name="t.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def cells(path, dialect=COMMA):
    return [row for _, row in read_records(path, dialect)]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ('a,"b, c",d', ["a", "b, c", "d"]),
        ('"a ""b""",c', ['a "b"', "c"]),
        ('"","",""', ["", "", ""]),
        ('a,"""b"""', ["a", '"b"']),
        ("a,,", ["a", "", ""]),
        ('"a\nb",c', ["a\nb", "c"]),
        ('a,"b\r\nc\n""d"""', ["a", 'b\r\nc\n"d"']),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
def test_well_formed_rows(tmp_path, line, row, end):
    path = write(tmp_path, "\ufeff" + line + end)
    assert cells(path) == [row]
    assert not quotes_are_odd(path, ",", len(row))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('a,b "c" d,e', "inside a cell that is not quoted"),
        ('a,5" nail,e', "inside a cell that is not quoted"),
        ('a, "b",e', "inside a cell that is not quoted"),
        ('a,"b" c,e', "is not doubled"),
        ('a,"he said "hi" twice",e', "is not doubled"),
        (r'a,"he said \"hi\"",e', "is not doubled"),
    ],
)
def test_a_stray_quote_costs_its_row_only(tmp_path, line, words):
    path = write(tmp_path, f'x,y,z\n1,"2",3\n{line}\n4,"5",6\n')
    assert quotes_are_odd(path, ",", 3)
    first, before, bad, after = read_records(path, COMMA, has_header=True)
    assert [first[0], before, after] == [-1, (0, ["1", "2", "3"]), (2, ["4", "5", "6"])]
    assert bad[0] == 1
    assert isinstance(bad[1], SchemaError)
    assert words in str(bad[1])
    assert all(word in str(bad[1]) for word in (str(path), "row 1", "in line 3"))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ('4,"5,6\n7,8,9\n', "never closed"),
        ('4,5,"6\n7,8,9\n1,2,"3"\n4,5,6\n', "never closed"),
        ('4,5,"6\n7,8,9\n1,2,"3"\n4,5",6\n', "ends inside another cell"),
        ('4,5,"6\n7,8,9\n1,2,3"\n', "swallowed"),
        ('4,"5,6\n7,8",9\n', "swallowed"),
        ('4,"he said "hi"\nand left",6\n', "is not doubled"),
    ],
)
def test_a_quote_that_hides_where_rows_end_is_a_fault_of_the_file(tmp_path, rows, words):
    path = write(tmp_path, "x,y,z\n1,2,3\n" + rows)
    assert quotes_are_odd(path, ",", 3)
    with pytest.raises(SchemaError, match=r"row 1: .*line 3") as caught:
        list(read_records(path, COMMA, has_header=True))
    assert words in str(caught.value)


def test_a_text_with_line_breaks_and_commas_is_no_swallowed_row(tmp_path):
    path = write(tmp_path, 'x,y,z\n1,"a man, who\neats, then sits",3\n')
    assert not quotes_are_odd(path, ",", 3)
    assert cells(path)[1] == ["1", "a man, who\neats, then sits", "3"]


def test_tabs_with_and_without_quoting(tmp_path):
    bare = write(tmp_path, 'x\ty\n5" nail\t"Stop" sign\n"open\tb\n', "bare.tsv")
    assert not choose_dialect(bare, "\t").quotes
    assert cells(bare, choose_dialect(bare, "\t"))[1:] == [['5" nail', '"Stop" sign'], ['"open', "b"]]
    quoted = write(tmp_path, 'x\ty\n"a\tb"\t"say ""hi"""\n', "quoted.tsv")
    assert cells(quoted, choose_dialect(quoted, "\t"))[1:] == [["a\tb", 'say "hi"']]
    mixed = write(tmp_path, 'x\ty\n"a ""b"""\tc\n5" nail\td\n', "mixed.tsv")
    rows = cells(mixed, choose_dialect(mixed, "\t"))
    assert rows[1] == ['a "b"', "c"]
    assert isinstance(rows[2], SchemaError)


def test_delimiters(tmp_path):
    assert choose_delimiter(write(tmp_path, "a;b,c\n", "1.csv")) == ","
    assert choose_delimiter(write(tmp_path, "a;b\n", "2.csv")) == ";"
    assert choose_delimiter(write(tmp_path, "a\tb\n", "3.csv")) == "\t"
    assert choose_delimiter(write(tmp_path, "a\n", "4.csv")) == ","
    with pytest.raises(SchemaError, match="tab and semicolon both"):
        choose_delimiter(write(tmp_path, "a\tb;c\n", "5.csv"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b\n".encode("utf-16"), ["UTF-16", "not UTF-8"]),
        ("a,b\n".encode("utf-32"), ["UTF-32"]),
        ("a,b\n".encode("utf-16-le"), ["NUL"]),
        ("a,b\nc,caf\u00e9\n".encode("latin-1"), ["not UTF-8", "line 2", "Latin-1", "é"]),
        (b"", ["empty"]),
    ],
)
def test_encodings_are_named(tmp_path, content, words):
    path = write(tmp_path, content)
    with pytest.raises(SchemaError) as caught:
        list(read_records(path, Dialect(choose_delimiter(path))))
    assert all(word in str(caught.value) for word in [str(path), *words])


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@given(
    rows=st.lists(
        st.lists(st.text('ab ",;\t\n\u00e9', max_size=6), min_size=3, max_size=3), min_size=1, max_size=5
    ),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_the_csv_module_writes_comes_back_or_is_refused(tmp_path_factory, delimiter, rows, quoting, end):
    """Against Python's own writer: nothing changes; the one refusal allowed is that of rows inside a cell."""
    handle = io.StringIO()
    csv.writer(handle, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(rows)
    path = write(tmp_path_factory.mktemp("csv"), handle.getvalue())
    if quotes_are_odd(path, delimiter, 3):
        with pytest.raises(SchemaError, match="swallowed"):
            cells(path, Dialect(delimiter))
    else:
        assert cells(path, Dialect(delimiter)) == rows


@given(st.text('ab,"\n', max_size=40))
def test_the_fast_look_at_quotes_agrees_with_the_reader(tmp_path_factory, content):
    """`quotes_are_odd` never misses what the reader refuses, and never suspects what has no fault but rows inside."""
    path = write(tmp_path_factory.mktemp("odd"), content)
    try:
        fault = any(isinstance(row, SchemaError) for row in cells(path))
    except SchemaError:
        fault = True
    width = next((len(row) for row in csv.reader(io.StringIO(content)) if row), 0)
    assert quotes_are_odd(path, ",", width) >= fault
    strictly = _is_rfc_4180(content)
    assert quotes_are_odd(path, ",") == (not strictly)


def _is_rfc_4180(content):
    """A machine of three states, letter by letter."""
    state = "start"
    for char in content:
        if state == "start":
            state = {'"': "quoted", ",": "start", "\n": "start"}.get(char, "bare")
        elif state == "bare":
            if char == '"':
                return False
            state = "start" if char in ",\n" else "bare"
        elif state == "quoted":
            state = "closed" if char == '"' else "quoted"
        else:
            if char not in '",\n':
                return False
            state = "quoted" if char == '"' else "start"
    return state != "quoted"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (gzip.compress(b"row,model\n", mtime=0), "a gzip file"),
        (b"PK\x03\x04\x14\x00\x06\x00", "an Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook"),
        (b"PAR1\x15\x04", "a Parquet file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html><body>404</body></html>\n", "HTML"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_file_of_another_kind_is_named(tmp_path, content, found, suffix):
    path = tmp_path / f"t{suffix}"
    path.write_bytes(content)
    if suffix == ".parquet" and content.startswith(b"PAR1"):
        found = "cut off"
    with pytest.raises(SchemaError, match=found) as caught:
        list(read_rows(path, Fields.named("row", "model"), "scores"))
    assert caught.value.file == str(path)


@pytest.mark.parametrize("line", ["sep=;", "sep=,", "SEP=\t"])
def test_excels_own_first_line_is_named(tmp_path, line):
    path = tmp_path / "t.csv"
    path.write_text(f"{line}\r\nrow;model\r\n0;m\r\n")
    with pytest.raises(SchemaError, match="Remove this line"):
        open_csv(path)
    with pytest.raises(SchemaError, match="Remove this line"):
        open_table(path, Fields.named("row", "model"))
