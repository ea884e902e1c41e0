"""The table as CSV, LaTeX and Markdown, and in pieces."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_results import result

from synvita_data.leaderboard.exports import (
    CSV_COLUMNS,
    csv_sheet,
    latex,
    latex_sheet,
    markdown_sheet,
    to_csv,
    to_latex,
    to_markdown,
)
from synvita_data.leaderboard.table import make_leaderboard
from synvita_data.submissions.provenance import Provenance

BOARD = make_leaderboard(
    [
        result("m_1 & co", "atp-hard", 84.0, 81.5, 86.5, ties=(83.0, 85.0)),
        result("far", "atp-hard", 70.0, 68.0, 72.0),
        result("far", "ssv2-events", 6.5, 5.0, 8.0, k=12),
        result('=HYPERLINK("x")', "atp-hard", 30.0, 28.0, 32.0),
    ],
    published=False,
)


def test_csv_has_a_line_a_number():
    lines = list(csv.DictReader(io.StringIO(to_csv(BOARD))))
    assert tuple(lines[0]) == CSV_COLUMNS
    assert len(lines) == 4
    far = next(line for line in lines if (line["model"], line["task"]) == ("far", "ssv2-events"))
    assert (far["value"], far["low"], far["high"], far["k"], far["n"]) == ("6.5", "5.0", "8.0", "12", "1000")
    assert (far["official"], far["partial"], far["standing"], far["provenance"]) == (
        "false",
        "true",
        "",
        "self-reported",
    )
    best = next(line for line in lines if line["model"] == "m_1 & co")
    assert (best["standing"], best["worst_ties"], best["metric"]) == ("best", "83.0", "accuracy")


def test_no_name_is_a_formula():
    assert "'=HYPERLINK" in to_csv(BOARD)
    for start in "=+-@":
        board = make_leaderboard([result(f"{start}1", "atp-hard", 30.0)], published=False)
        (line,) = csv.DictReader(io.StringIO(to_csv(board)))
        assert line["model"] == f"'{start}1"


def test_latex_to_the_letter():
    lines = to_latex(BOARD).splitlines()
    assert lines[1:5] == [
        r"\begin{tabular}{lrrrrrr}",
        r"\toprule",
        r"model & VideoCon (LLM), AUC & VideoCon (Human), AUC & VideoCon (Human-Hard), AUC & SSv2-Temporal, mAP & "
        r"SSv2-Events, mAP & ATP-Hard, accuracy \\",
        r"\midrule",
    ]
    assert (
        r"m\_1 \& co &  &  &  &  &  & \textbf{84.00} $\blacktriangle$ {\scriptsize [81.5, 86.5]} \\" in lines
    )
    assert (
        r"far &  &  &  &  & 6.50 $^\ddagger$ {\scriptsize [5.0, 8.0]} {\scriptsize 12/1,000} & 70.00 "
        r"{\scriptsize [68.0, 72.0]} \\" in lines
    )
    end = lines.index(r"\end{tabular}")
    assert all(line.startswith("% ") for line in lines[end + 1 :])


@given(st.text(max_size=30))
def test_latex_leaves_no_command_of_others(text):
    shown = latex(text)
    # What is left when the escapes of the table are taken away holds nothing that LaTeX obeys.
    rest = re.sub(r"\\(text[a-z]+\{\}|[&%$#_{}])|\$\^?\\[a-zA-Z]+\$", "", shown)
    assert not re.search(r"[\\&%$#_{}~^\n]", rest)


@pytest.mark.parametrize(
    ("sheet", "whole"), [(markdown_sheet, to_markdown), (latex_sheet, to_latex), (csv_sheet, to_csv)]
)
def test_pieces_make_the_whole_and_any_part(sheet, whole):
    found, text = sheet(BOARD), whole(BOARD)
    assert found.text(range(len(BOARD.rows)), range(len(BOARD.columns))) == text
    # A part holds the numbers of its rows and columns alone.
    place = [row.label for row in BOARD.rows].index("m_1 & co")
    part = found.text([place], [5])
    assert part.count("84.0") == 1
    assert "70.0" not in part
    assert "84.0" not in found.text([place], [4])
    both = found.text([place, place - 1], [5])
    assert both.index("84.0") < both.index("70.0")


def test_verified_numbers_have_a_mark_of_their_own():
    board = make_leaderboard([result("m", "atp-hard", 84.0, 81.5, 86.5)], published=False)
    assert "✓" not in to_markdown(board)
    board.rows[0].cells["atp-hard"].provenance = Provenance("verified")
    assert "84.00 ✓" in to_markdown(board)
    assert "✓ verified: recomputed from its score table" in to_markdown(board)
    assert r"$\checkmark$" in to_latex(board)
    assert next(csv.DictReader(io.StringIO(to_csv(board))))["provenance"] == "verified"
