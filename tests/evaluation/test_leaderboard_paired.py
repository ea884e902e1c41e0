"""Results on the leaderboard that are compared with the highest pair by pair."""

import json
import random

import numpy as np
import pytest
from small_annotations import write_questions, write_statements
from small_scored import alike, entailment, write_official
from typer.testing import CliRunner

from synvita_data.annotations import read_annotations
from synvita_data.cli import app
from synvita_data.leaderboard import paired
from synvita_data.leaderboard.exports import to_markdown
from synvita_data.leaderboard.table import Cell, make_leaderboard, read_results, standings


@pytest.fixture
def results(tmp_path):
    """Three models that share their mistakes, and one that makes its own; all intervals meet."""
    annotations = entailment(tmp_path)
    for name, scores in (
        ("first", alike(annotations, 0)),
        ("second", alike(annotations, 12)),
        ("twin", alike(annotations, 0) + 0.001 * np.random.default_rng(9).normal(size=len(annotations))),
        ("other", alike(annotations, 10, seed=6)),
    ):
        write_official(tmp_path / "r", annotations, name, scores)
    return tmp_path / "r"


def cells(results, **how):
    board = make_leaderboard(read_results(results), published=False, **how)
    return {row.label: row.cells["videocon-llm"] for row in board.rows}, board


def test_overlapping_intervals_are_told_apart_pair_by_pair(results):
    by_interval, _ = cells(results, paired=False)
    assert {cell.standing for cell in by_interval.values()} == {"shared"}
    assert all(cell.paired is None for cell in by_interval.values())
    found, board = cells(results)
    (top,) = (name for name, cell in found.items() if cell.paired is None)
    assert found[top].value == max(cell.value for cell in found.values())
    assert top in ("first", "twin")
    assert found[top].standing == "shared"
    assert found["twin" if top == "first" else "first"].standing == "shared"
    assert found["second"].standing is None
    assert found["second"].paired.top == top
    assert found["second"].paired.p < 0.05
    assert found["second"].paired.high < 0
    assert found["second"].paired.difference == pytest.approx(found["second"].value - found[top].value)
    markdown = to_markdown(board)
    assert f"p {found['second'].paired.p:.2g} |" in markdown
    assert "p two-sided p value of its difference to the highest number" in markdown
    record = board.to_record()
    json.dumps(record, allow_nan=False)
    own = {row["label"]: row["cells"]["videocon-llm"] for row in record["rows"]}
    assert set(own["second"]["paired"]) == {"top", "difference", "low", "high", "p"}
    assert "paired" not in own[top]
    assert str(results) not in json.dumps(record)


def test_a_best_result_by_pairs(results):
    for name in ("twin", "other"):
        (results / name / "videocon-llm.json").unlink()
    found, board = cells(results)
    assert [found["first"].standing, found["second"].standing] == ["best", None]
    assert "▲ best: its interval is above all others, or p tells it apart" in to_markdown(board)


def test_without_a_table_intervals_decide(results):
    whole, _ = cells(results)
    (results / "second" / "videocon-llm.parquet").unlink()
    found, board = cells(results)
    assert (found["second"].standing, found["second"].paired) == ("shared", None)
    assert found["other"].paired == whole["other"].paired
    top = next(name for name in ("first", "twin") if found[name].paired is None)
    (results / top / "videocon-llm.parquet").unlink()
    found, board = cells(results)
    assert all(cell.paired is None and cell.standing == "shared" for cell in found.values())
    assert board.notes == ()


def test_a_broken_table_is_named_and_intervals_decide(results):
    (results / "second" / "videocon-llm.parquet").write_bytes(
        (results / "first" / "videocon-llm.parquet").read_bytes()
    )
    found, board = cells(results)
    assert (found["second"].standing, found["second"].paired) == ("shared", None)
    assert board.notes == (
        "VideoCon (LLM): 1 result is compared by intervals: the score table does not belong to its result",
    )


def test_the_number_of_comparisons_is_bounded(results, monkeypatch):
    compared = []
    whole = paired.compare_results
    monkeypatch.setattr(
        paired, "compare_results", lambda a, *rest, **how: compared.append(a) or whole(a, *rest, **how)
    )
    cells(results)
    assert len(compared) == 3
    monkeypatch.setattr(paired, "MOST", 1)
    found, board = cells(results)
    assert len(compared) == 4
    assert compared[3].result.model in ("first", "twin")
    assert found["second"].standing == "shared"
    assert board.notes == ("VideoCon (LLM): 2 results behind the 1 highest are compared by their intervals",)


def test_what_is_far_below_is_not_compared(results, tmp_path):
    annotations = entailment(tmp_path)
    write_official(results, annotations, "far", alike(annotations, 149, seed=5))
    found, _ = cells(results)
    assert (found["far"].standing, found["far"].paired) == (None, None)
    assert found["second"].paired is not None


def test_the_order_of_results_does_not_matter(results):
    read = read_results(results)
    boards = [make_leaderboard(read)]
    random.Random(1).shuffle(read)
    boards.append(make_leaderboard(read))
    assert boards[0] == boards[1]


def test_questions_need_annotations(tmp_path):
    write_questions(tmp_path / "nextqa-atphard.csv")
    path = write_statements(tmp_path / "nextqa-atphard-statements.csv")
    annotations = read_annotations("atp-hard", path)
    for seed, name in enumerate(("one", "two")):
        generator = np.random.default_rng(seed)
        scores = generator.normal(size=int(annotations.pair.max()) + 1)[annotations.pair]
        write_official(tmp_path / "r", annotations, name, scores)
    board = make_leaderboard(read_results(tmp_path / "r"), published=False)
    assert [row.cells["atp-hard"].paired for row in board.rows] == [None, None]
    (note,) = board.notes
    assert note.startswith(
        "ATP-Hard: 1 result is compared by intervals: accuracy of atp-hard cannot be compared"
    )
    board = make_leaderboard(read_results(tmp_path / "r"), published=False, annotations=tmp_path)
    assert sum(row.cells["atp-hard"].paired is not None for row in board.rows) == 1
    assert board.notes == ()


def against(p):
    return paired.AgainstTop("top", -1.0, -2.0, 0.5, p)


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ((0.01, 0.049), ["best", None, None]),
        ((0.01, 0.05), ["shared", None, "shared"]),
        ((0.3, None), ["shared", "shared", "shared"]),
        ((0.01, None), ["shared", None, "shared"]),
    ],
)
def test_the_rule(p_values, expected):
    """p below 0.05 tells apart; where there is no p, intervals do, which meet here."""
    rivals = [
        Cell(value=79, low=77, high=81, official=True, paired=None if p is None else against(p))
        for p in p_values
    ]
    assert standings([Cell(value=80, low=78, high=82, official=True), *rivals]) == expected


def test_the_command(results):
    def run(*more):
        return CliRunner().invoke(
            app, ["leaderboard", str(results), "--no-published", *more], env={"COLUMNS": "160"}
        )

    assert "p two-sided" in " ".join(run().stdout.split())
    assert "two-sided" not in run("--no-paired").stdout
