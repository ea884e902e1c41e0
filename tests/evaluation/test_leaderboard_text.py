import re

from small_results import record, result, result_of

from synvita_data.leaderboard.exports import to_markdown
from synvita_data.leaderboard.table import Cell, make_leaderboard
from synvita_data.leaderboard.text import cell_parts, legend


def lines_of(results, **how):
    return to_markdown(make_leaderboard(results, **how)).splitlines()


def test_parts_of_a_cell():
    assert cell_parts(Cell(value=53.2, digits=1, official=True)) == ["53.2"]
    assert cell_parts(Cell(value=13.0, official=True, standing="highest")) == ["13.00 △"]
    whole = Cell(
        value=15.5655,
        low=11.64,
        high=19.96,
        worst_ties=11.646,
        best_ties=21.867,
        k=3888,
        n=3888,
        official=True,
        standing="shared",
    )
    assert cell_parts(whole) == ["15.57 ≈", "[11.6, 20.0]", "n 3,888", "{11.6, 21.9}"]
    partial = Cell(value=50.0, worst_ties=50.0, best_ties=50.001, k=96, n=1140, official=False, partial=True)
    assert cell_parts(partial) == ["50.00 ‡", "96/1,140"]
    assert cell_parts(Cell(value=None, k=0, n=5, official=False)) == ["– ‡", "0/5"]


def test_markdown_to_the_letter():
    found = lines_of(
        [
            result("m", "videocon-human", 84.0, 81.5, 86.5, ties=(83.0, 85.0)),
            result("part", "videocon-human", 90.0, 88.0, 92.0, k=3),
            result("far", "videocon-human", 70.0, 68.0, 72.0),
        ],
        published=False,
    )
    assert found == [
        "| model | VideoCon (LLM), AUC | VideoCon (Human), AUC | VideoCon (Human-Hard), AUC "
        "| SSv2-Temporal, mAP | SSv2-Events, mAP | ATP-Hard, accuracy |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| far |  | 70.00 \\[68.0, 72.0\\] n 1,000 |  |  |  |  |",
        "| m |  | **84.00** ▲ \\[81.5, 86.5\\] n 1,000 \\{83.0, 85.0\\} |  |  |  |  |",
        "| part |  | 90.00 ‡ \\[88.0, 92.0\\] 3/1,000 |  |  |  |  |",
        "",
        "All numbers in percent. \\[ \\] 95% bootstrap interval; n texts, pairs or questions that were scored; k/n: "
        "only k of them; \\{ \\} worst and best order of tied scores; ‡ not official (partial, or on other "
        "annotations: see notes), not compared; ▲ best: its interval is above all others.",
        "",
        "- part, VideoCon (Human): not official: 3 of 1000 texts were scored",
    ]


def test_published_rows_are_marked():
    found = lines_of([])
    assert "| VideoCon (mPLUG-Owl 7B)\\*† | 88.39 △ | 77.16 | 74.76 | 13.00 | 10.37 | 35.46 |" in found
    assert "**" not in "".join(found)
    assert "| TACT† |  |  |  |  | 7.8 | 27.6 |" in found
    assert sum(line.count("†") for line in found) == 11 + 1  # each row, and the legend
    assert {mark for mark, _ in legend(make_leaderboard([]))} == {"†", "*", "△"}


def test_names_from_files_cannot_break_the_table():
    nasty = "a|b\n<script>alert(1)</script> [x](http://y) **z** `q` \x1b[31m&amp;"
    made = record("m", "atp-hard", 40.0, why=("see\n| this |",))
    made["model"]["name"] = nasty
    found = lines_of([result_of(made)])
    table = [line for line in found if line.startswith("|")]
    assert len(table) == 2 + 11 + 1
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 8 for line in table)
    assert "\x1b" not in "".join(found)
    row = table[-1]
    assert "<" not in row
    for shown in ("&lt;script&gt;", r"\[x\](http", r"\*\*z\*\* \`q\`"):
        assert shown in row
    assert found[-1].endswith(r"not official: see \| this \|")
