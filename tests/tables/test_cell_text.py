"""Cells that went through spreadsheets and pandas: read for what they were, or refused by name."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.errors import SchemaError
from synvita_data.tables.cells import (
    check_data,
    given_text,
    id_text,
    read_json_object,
    read_number,
    read_seconds,
    read_whole_number,
)

ERRORS = [
    "#NAME?",
    "#VALUE!",
    "#REF!",
    "#DIV/0!",
    "#NUM!",
    "#NULL!",
    "#SPILL!",
    "#CALC!",
    "#ERROR!",
    "#WERT!",
]
ERRORS += [
    "#BEZUG!",
    "#¿NOMBRE?",
    "#¡REF!",
    "#NOM?",
    "Err:502",
    "########",
    "#GETTING_DATA",
    "#NV",
    "1.#QNAN",
    # Excel in Russian, Polish, Greek, Norwegian, Turkish and Finnish; Google Sheets while it computes.
    *("#ИМЯ?", "#ЗНАЧ!", "#ДЕЛ/0!", "#Н/Д", "#ODWOŁANIE!", "#ΤΙΜΗ!", "#I/T", "#N/B", "#REF", "Loading..."),
]


@pytest.mark.parametrize("cell", ERRORS)
def test_error_values_are_no_data(cell):
    for text in (cell, f" {cell} ", f"\ufeff{cell}"):
        with pytest.raises(SchemaError, match="caption is the error value of a spreadsheet"):
            given_text(text, "caption")


@pytest.mark.parametrize(
    "cell", ["=A2", '=A2&" "&$B$3', '=HYPERLINK("https://x.org";"a cat")', "=_xlfn.CONCAT(A1)"]
)
def test_formulas_are_no_data(cell):
    with pytest.raises(SchemaError, match="caption is a formula of a spreadsheet"):
        given_text(f" {cell} ", "caption")


@pytest.mark.parametrize(
    "cell", ["", " ", "nan", "NaN", "NULL", "None", "N/A", "#N/A", "<NA>", "\\N", "\ufeff", "\u200b", "\0"]
)
def test_what_stands_for_nothing(cell):
    assert given_text(cell, "caption") is None
    assert given_text(math.nan, "caption") is None


@pytest.mark.parametrize(
    "text",
    [
        "#1 fan waves!",
        "#winning",
        "Error: the man falls",
        "# # #",
        "#NAME? is shown",
        "-abcdefghij",
        "=x",
        "=> a cat (small)",
        "Loading... the truck",
        "nil desperandum",
        "no",
    ],
)
def test_text_that_only_looks_like_it(text):
    assert given_text(text, "caption") == text
    check_data(text, "caption")


@given(st.one_of(st.none(), st.integers(0, 2**53 - 1)).map(lambda n: n))
def test_whole_numbers_survive_pandas(number):
    """A column with a gap becomes float64; its text in CSV, and its value in Parquet, is the number again."""
    column = pd.Series([number, None], dtype="float64" if number is None else None)
    for value in (column[0], column.to_csv(index=False, header=False).split("\n")[0].strip('"')):
        text = given_text(value, "video_id")
        if number is None:
            assert text is None
        else:
            assert id_text(text if isinstance(value, str) else float(value), "video_id") == str(number)


@pytest.mark.parametrize(
    "value", ["007", "1.5", "1.50", "v1.0", "1e5", "0x10", "1524", "-1", "a.0", "1_000", "12:30"]
)
def test_ids_keep_their_text(value):
    assert id_text(value, "id") == value


@pytest.mark.parametrize(
    "value", ["1.5E+11", "1e+16", "4.01E+09", "1,5E+11", 1.5, 2.0**53, math.inf, True, None, b"1"]
)
def test_numbers_that_lost_digits_are_no_ids(value):
    with pytest.raises(SchemaError, match="video_id"):
        id_text(value, "video_id")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), ("1.5", 1.5), ("00:00:05", 5), ("01:02:03.25", 3723.25), ("1e1", 10), (" 7 ", 7)],
)
def test_times(text, seconds):
    assert read_seconds(text, "start") == seconds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,5", "as a point: 1.5"),
        ("01:30", "00:01:30"),
        ("00:00:75", "hh:mm:ss"),
        ("-1", "0 or more"),
        ("soon", "seconds"),
        ("inf", "seconds"),
        ("1_000", "seconds"),
        ("１", "seconds"),
        ("1e999", "seconds"),
    ],
)
def test_what_is_no_time_is_said(text, words):
    with pytest.raises(SchemaError, match="start is not a time") as caught:
        read_seconds(text, "start")
    assert words in str(caught.value)
    assert repr(text) in str(caught.value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_as_python_writes_them(number):
    assert read_number(repr(number), "score") == number


@pytest.mark.parametrize("text", ["0,5", "1_0", "nan", "inf", "", "0.5.5", "٣"])
def test_what_is_no_number(text):
    with pytest.raises(SchemaError, match="decimal comma" if text == "0,5" else "not a number"):
        read_number(text, "score")


def test_whole_numbers():
    assert [read_whole_number(value, "row") for value in ("3", "3.0", 3, 3.0, 2**60)] == [3, 3, 3, 3, 2**60]
    for value in ("-1", "1.5", "x", "1_0", True, math.nan, math.inf, None, -1):
        with pytest.raises(SchemaError, match="row is not one of 0, 1, 2"):
            read_whole_number(value, "row")


def test_json_objects_keep_the_text_of_numbers():
    assert read_json_object('{"a": 1524.0, "b": 7, "c": NaN, "d": 1e3}') == {
        "a": "1524.0",
        "b": 7,
        "c": None,
        "d": 1e3,
    }
    for text in ('{"a": 1, "a": 2}', '{"a": Infinity}', "[1]", "{", '{"a": {"b": 1, "b": 1}}'):
        with pytest.raises(ValueError, match=r"twice|JSON|Expecting|line"):
            read_json_object(text)


@pytest.mark.parametrize("value", [["a dog"], {"text": "a dog"}, b"a dog", ("a",), {}])
def test_what_is_not_plain_is_no_text(value):
    with pytest.raises(SchemaError, match="caption is not a plain value"):
        given_text(value, "caption")
