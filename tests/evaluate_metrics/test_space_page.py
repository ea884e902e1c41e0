"""The table of a Space's page: what a CSV file or an edited cell may hold, and how it is refused."""

import importlib.util

import pytest

pytestmark = pytest.mark.slow  # importing gradio takes some 5 s


@pytest.fixture(scope="module")
def page(repo_root):
    file = repo_root / "evaluate_metrics" / "_shared" / "page.py"
    spec = importlib.util.spec_from_file_location("space_page", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def columns(page):
    return {"predictions": page.number, "references": page.label, "videos": page.name}


def test_a_csv_file_is_read_by_its_header(page, columns, tmp_path):
    file = tmp_path / "scores.csv"
    file.write_text(
        '\ufeffvideos,extra,predictions,references\n"a, b",x,0.5,True\n\nc,,nan,0\n', encoding="utf-8"
    )
    rows = page.read_csv(file, columns)
    assert rows == [["0.5", "True", "a, b"], ["nan", "0", "c"]]
    typed = page.to_columns([*rows, ["", None, " "]], columns)
    assert typed["references"] == [1, 0]
    assert typed["videos"] == ["a, b", "c"]
    assert typed["predictions"][0] == 0.5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "header lacks predictions, references, videos"),
        (b"predictions,videos\n1,a\n", "header lacks references"),
        (b"predictions,references,videos\n1,1\n", "row 0 has 2 cells"),
        (b"predictions,references,videos\n\xff,1,a\n", "not UTF-8"),
        (b"predictions,references,videos,videos\n1,1,a,b\n", "names videos twice"),
        (b'predictions,references,videos\n1,1,"a\n0,1,b\n', "stray quote"),
        (b'predictions,references,videos\n1,1,"a\n0,1,"b"\n', "stray quote"),
    ],
)
def test_a_bad_csv_file_is_refused(page, columns, tmp_path, content, message):
    (tmp_path / "scores.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        page.read_csv(tmp_path / "scores.csv", columns)


def test_a_csv_file_that_is_too_long_is_refused(page, columns, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "MAX_ROWS", 2)
    (tmp_path / "scores.csv").write_text("predictions,references,videos\n" + "0.5,1,a\n" * 3)
    with pytest.raises(ValueError, match="more than 2 rows"):
        page.read_csv(tmp_path / "scores.csv", columns)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["x", "1", "a"], "row 1, predictions: 'x' is not a number"),
        (["0.5", "2", "a"], "row 1, references: '2' is not 0 or 1"),
        (["0.5", "1", ""], "row 1, videos: the cell is empty"),
        (["0.5", "1"], "row 1 has 2 cells"),
    ],
)
def test_a_bad_cell_is_named(page, columns, row, message):
    with pytest.raises(ValueError, match=message):
        page.to_columns([["0.5", "1", "a"], row], columns)
    with pytest.raises(ValueError, match="empty"):
        page.to_columns([["", "", ""]], columns)


def test_every_estimate_and_chance_level_is_listed(page):
    estimate = {
        "value": 1.23456,
        "low": None,
        "high": 2.0,
        "worst_ties": 1.0,
        "best_ties": 2.0,
        "k": 1,
        "n": 2,
    }
    result = {
        "auc": estimate,
        "groups": {"hard": {"True": {"auc": estimate}}},
        "chance": {"map": 7.7321},
        "videos": 3,
    }
    numbers = [1.23, None, 2.0, 1.0, 2.0, 1, 2]
    assert page.estimate_rows(result) == [
        ["auc", *numbers],
        ["groups · hard · True · auc", *numbers],
        ["chance · map", 7.73, None, None, None, None, None, None],
    ]


def test_a_message_quotes_cells_as_text(page):
    error = page._shown(ValueError("row 1, score: '<img src=x onerror=alert(1)>' is not a number"), "title")
    assert "<" not in error.message
    assert "&lt;img src=x" in error.message
