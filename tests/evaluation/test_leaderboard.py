import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_annotations import ssv2_pairs, write_ssv2
from small_results import record, result, result_of, write

from synvita_data.annotations import read_annotations
from synvita_data.errors import SchemaError, SourceError
from synvita_data.evaluation.results import make_result, measure, write_result
from synvita_data.leaderboard.table import Cell, estimate_text, make_leaderboard, read_results, standings
from synvita_data.tasks import COLUMNS, TASKS


def cell(value, low=None, high=None, official=True):
    return Cell(value=value, low=low, high=high, official=official)


def ours(board):
    return {row.label: row for row in board.rows if row.kind == "ours"}


def standing(board, label, task):
    return next(row for row in board.rows if row.label == label).cells[task].standing


# Estimates as text


@pytest.mark.parametrize(
    ("score", "text"),
    [
        ((15.5654, 11.64, 19.96, 9, 9), "15.57 [11.6, 20.0]"),
        ((15.5654, 11.64, 19.96, 960, 1140), "15.57 [11.6, 20.0] 960/1,140"),
        ((50.0, None, None, 9, 9), "50.00"),
        ((None, None, None, 0, 1234), "– 0/1,234"),
    ],
)
def test_estimate_text(score, text):
    names = ("value", "low", "high", "k", "n")
    assert estimate_text({**dict(zip(names, score, strict=True)), "worst_ties": None}) == text


# The rule


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        # An interval above every other interval and every published number.
        ([cell(20.1), cell(25, 21, 29), cell(18, 16, 20)], [None, "best", None]),
        # It meets the published 20.1, and nobody else.
        ([cell(20.1), cell(19.77), cell(24, 20, 28)], ["shared", None, "shared"]),
        # The published number is higher, but within the interval of ours.
        ([cell(20.1), cell(17), cell(18, 15, 21)], ["shared", None, "shared"]),
        # Published and above all intervals: highest, and nothing says by how much.
        ([cell(20.1), cell(19.9), cell(18, 15, 20)], ["highest", None, None]),
        # Intervals that touch are not told apart.
        ([cell(80, 78, 82), cell(76, 74, 78), cell(75, 73, 77.9)], ["shared", "shared", None]),
        # A low value with a wide interval reaches the top as well.
        ([cell(80, 78, 82), cell(60, 30, 90)], ["shared", "shared"]),
        # Of two equal values the wider interval decides, whichever comes first.
        ([cell(80, 79, 81), cell(80, 70, 90), cell(75, 73, 77)], ["shared"] * 3),
        ([cell(80, 70, 90), cell(80, 79, 81), cell(75, 73, 77)], ["shared"] * 3),
        # No value, or not official: not compared.
        (
            [cell(20.1), cell(99, 98, 100, official=False), cell(None), cell(19)],
            ["highest", None, None, None],
        ),
        # Equal points share.
        ([cell(20.1), cell(20.1)], ["shared", "shared"]),
        # Ours without an interval is a point too.
        ([cell(20.1), cell(21)], [None, "highest"]),
        # Nothing to compare with.
        ([cell(20.1)], [None]),
        ([None, cell(50, 40, 60), None], [None, None, None]),
        ([], []),
    ],
)
def test_standings(cells, expected):
    assert standings(cells) == expected


def value_and_reach(draw_down, draw_up, value):
    return cell(value, value - draw_down, value + draw_up)


some_cells = st.lists(
    st.one_of(
        st.none(),
        st.builds(cell, st.integers(0, 20)),
        st.builds(value_and_reach, st.integers(0, 5), st.integers(0, 5), st.integers(5, 15)),
        st.builds(cell, st.integers(0, 20), official=st.just(False)),
    ),
    max_size=7,
)


@given(some_cells, st.randoms(use_true_random=False))
def test_standings_do_not_depend_on_order(cells, random):
    order = list(range(len(cells)))
    random.shuffle(order)
    there = standings(cells)
    assert standings([cells[place] for place in order]) == [there[place] for place in order]


@given(some_cells)
def test_a_win_is_above_every_rival(cells):
    found = standings(cells)
    rivals = [c for c in cells if c is not None and c.official]
    for place, what in enumerate(found):
        if what in ("best", "highest"):
            floor = cells[place].value if what == "highest" else cells[place].low
            others = [c for c in rivals if c is not cells[place]]
            assert others
            assert all(floor > (c.value if c.high is None else c.high) for c in others)
            assert found.count(None) == len(cells) - 1
        if what == "best":
            assert cells[place].low is not None
    if len(rivals) > 1:  # somebody stands on top, and it is a highest value
        top = max(c.value for c in rivals)
        assert any(what and cells[place].value == top for place, what in enumerate(found))
    assert found.count("shared") != 1


# The paper's rows


def test_published_rows_are_the_papers():
    board = make_leaderboard([])
    assert [column.title for column in board.columns] == [
        "VideoCon (LLM)",
        "VideoCon (Human)",
        "VideoCon (Human-Hard)",
        "SSv2-Temporal",
        "SSv2-Events",
        "ATP-Hard",
    ]
    assert [row.model for row in board.rows][::10] == ["VideoCLIP", "SynViTA (Video-LLaVA)"]
    assert [row.model for row in board.rows if row.reproduced] == ["VideoCon (mPLUG-Owl 7B)"]
    assert {row.kind for row in board.rows} == {"published"}
    rows = {row.model: row.cells for row in board.rows}
    assert sum(map(len, rows.values())) == 9 * 6 + 2 + 1
    assert {task: found.value for task, found in rows["TACT"].items()} == {
        "ssv2-events": 7.8,
        "atp-hard": 27.6,
    }
    assert rows["SynViTA (Video-LLaVA)"]["videocon-human"].value == 80.86
    assert (rows["VideoCLIP"]["ssv2-temporal"].digits, rows["VFC"]["atp-hard"].digits) == (1, 1)
    # As the paper prints them in bold: nobody's interval is known.
    highest = {(row.model, task) for row in board.rows for task, found in row.cells.items() if found.standing}
    assert highest == {
        ("VideoCon (mPLUG-Owl 7B)", "videocon-llm"),
        ("SynViTA (Video-LLaVA)", "videocon-human"),
        ("SynViTA (Video-LLaVA)", "videocon-human-hard"),
        ("SynViTA (Video-LLaVA)", "ssv2-temporal"),
        ("SynViTA (mPLUG-Owl 7B)", "ssv2-events"),
        ("SynViTA (Video-LLaVA)", "atp-hard"),
    }
    assert make_leaderboard([], published=False).rows == ()


def test_ours_beside_the_papers():
    board = make_leaderboard(
        [
            result("m", "videocon-human", 84.0, 81.5, 86.5),  # 80.86 is published
            result("m", "ssv2-temporal", 18.0, 14.0, 22.0),  # 20.10, 19.77 and 17.32 are published
            result("m", "atp-hard", 36.0, 34.0, 38.0),  # 39.88 is published
        ]
    )
    assert standing(board, "m", "videocon-human") == "best"
    assert standing(board, "SynViTA (Video-LLaVA)", "videocon-human") is None
    assert standing(board, "m", "ssv2-temporal") == "shared"
    assert standing(board, "SynViTA (Video-LLaVA)", "ssv2-temporal") == "shared"
    assert standing(board, "VideoCon (Video-LLaVA)", "ssv2-temporal") is None  # behind a higher published one
    assert standing(board, "m", "atp-hard") is None
    assert standing(board, "SynViTA (Video-LLaVA)", "atp-hard") == "highest"
    assert set(ours(board)["m"].cells) == {"videocon-human", "ssv2-temporal", "atp-hard"}  # the rest is blank


def test_partial_and_unofficial_results_are_shown_and_never_best():
    board = make_leaderboard(
        [
            result("part", "videocon-human", 99.0, 98.0, 100.0, k=900),
            result("other", "videocon-human", 98.0, 97.0, 99.0, why=("pairs: found 3, expected 4",)),
            result("whole", "videocon-human", 60.0, 58.0, 62.0),
        ],
        published=False,
    )
    cells = {label: row.cells["videocon-human"] for label, row in ours(board).items()}
    assert {label: found.standing for label, found in cells.items()} == {
        "part": None,
        "other": None,
        "whole": None,
    }
    assert (cells["part"].partial, cells["part"].official, cells["part"].k, cells["part"].n) == (
        True,
        False,
        900,
        1000,
    )
    assert (cells["other"].partial, cells["other"].official) == (False, False)
    assert board.notes == (
        "other, VideoCon (Human): not official: pairs: found 3, expected 4",
        "part, VideoCon (Human): not official: 900 of 1000 texts were scored",
    )


# Which results share a row


def test_revisions_are_rows_with_enough_digits():
    one, two = "0123456789ab" + "0" * 28, "0123456789ac" + "0" * 28
    board = make_leaderboard(
        [
            result("m", "ssv2-temporal", 9.0, revision=one),
            result("m", "ssv2-events", 5.0, revision=one),
            result("m", "ssv2-temporal", 10.0, revision=two),
            result("m", "ssv2-temporal", 11.0, revision="main"),
            result("m", "ssv2-temporal", 12.0, revision=None),
            result("alone", "ssv2-temporal", 8.0, revision=one),
        ]
    )
    rows = ours(board)
    assert list(rows) == ["alone", "m (0123456789ab)", "m (0123456789ac)", "m (main)", "m (no revision)"]
    assert {task: found.value for task, found in rows["m (0123456789ab)"].cells.items()} == {
        "ssv2-temporal": 9.0,
        "ssv2-events": 5.0,
    }
    assert rows["m (0123456789ac)"].revision == two


def test_score_files_of_one_name_share_a_row():
    board = make_leaderboard(
        [
            result("m", "ssv2-temporal", 9.0, revision="digest-1", score_file={"rows": 1}),
            result("m", "ssv2-events", 5.0, revision="digest-2", score_file={"rows": 1}),
        ]
    )
    row = ours(board)["m"]
    assert (row.score_files, row.revision) == (True, None)
    assert [row.cells[task].revision for task in ("ssv2-temporal", "ssv2-events")] == ["digest-1", "digest-2"]
    beside = make_leaderboard(
        [
            result("m", "ssv2-temporal", 9.0, revision="digest-1", score_file={"rows": 1}),
            result("m", "ssv2-temporal", 9.5, revision="c"),
        ]
    )
    assert list(ours(beside)) == ["m (c)", "m (score files)"]


def test_a_second_result_gets_its_own_row_and_an_equal_one_does_not():
    same = record("m", "ssv2-temporal", 9.0)
    again = {**same, "run": {"wall_seconds": 99}}
    other = record("m", "ssv2-temporal", 9.5, frames=None)
    board = make_leaderboard([result_of(each) for each in (same, again, other)])
    assert {label: row.cells["ssv2-temporal"].value for label, row in ours(board).items()} in (
        {"m": 9.0, "m #2": 9.5},
        {"m": 9.5, "m #2": 9.0},
    )
    assert board.notes == ("m: 2 different results of one task and revision, in rows of their own",)


def test_different_annotations_are_flagged_and_not_compared():
    results = [
        result("m", "atp-hard", 60.0, 59.0, 61.0, annotations="a" * 16),
        result("p", "atp-hard", 70.0, 69.0, 71.0, annotations="b" * 16),
        result("m", "ssv2-events", 30.0, 29.0, 31.0, annotations="a" * 16),
        result("p", "ssv2-events", 20.0, 19.0, 21.0, annotations="b" * 16, k=5),
    ]
    board = make_leaderboard(results)
    columns = {column.task: column for column in board.columns}
    assert columns["atp-hard"].annotations == ("a" * 16, "b" * 16)
    assert not columns["atp-hard"].compared
    assert all(row.cells["atp-hard"].standing is None for row in board.rows if "atp-hard" in row.cells)
    # Only one of the two is official: it is compared, and the other is still named.
    assert columns["ssv2-events"].compared
    assert standing(board, "m", "ssv2-events") == "best"
    assert board.notes[:2] == (
        "SSv2-Events: results on different annotations (aaaaaaaa: m; bbbbbbbb: p)",
        "ATP-Hard: results on different annotations, so none is compared (aaaaaaaa: m; bbbbbbbb: p)",
    )


def test_results_of_another_main_score_share_no_column():
    def own(model, value, main_score):
        made = record(model, "my-task", value, value - 1, value + 1)
        made["task"] |= {"form": "entailment", "column": "Mine", "main_score": main_score}
        made["main_score"]["name"] = main_score
        return result_of(made)

    results = [own("m", 60.0, "auc"), own("n", 70.0, "auc"), own("o", 90.0, "paired_accuracy")]
    board = make_leaderboard(results, published=False)
    assert board == make_leaderboard(results[::-1], published=False)
    assert [row.label for row in board.rows] == ["m", "n"]
    assert (board.columns[-1].title, board.columns[-1].metric) == ("Mine", "auc")
    assert [row.cells["my-task"].standing for row in board.rows] == [None, "best"]
    assert board.notes == (
        "o: my-task is not shown: its main score is paired_accuracy, and that of most results auc",
    )


def test_a_task_without_a_column_is_named():
    board = make_leaderboard([result("m", "shapes-val", 50.0), result("m", "atp-hard", 40.0)])
    assert set(ours(board)["m"].cells) == {"atp-hard"}
    assert "m: shapes-val has no column here" in board.notes


MANY = [
    result("m", "ssv2-temporal", 9.0, 8.0, 10.0, revision="1"),
    result("m", "ssv2-temporal", 9.5, 8.0, 10.0, revision="2"),
    result("m", "ssv2-temporal", 9.7, 8.0, 10.0, revision="2"),
    result("M", "ssv2-temporal", 40.0, 30.0, 50.0, k=7, annotations="b" * 16),
    result("q", "atp-hard", 33.0, score_file={}),
    result("b", "atp-hard", 31.0, revision="1"),
    result("b", "atp-hard", 32.0, revision="1"),
    result("q", "nowhere", 33.0),
    result("q", "elsewhere", 33.0),
]


@given(st.permutations(MANY))
def test_the_order_of_results_does_not_matter(results):
    assert make_leaderboard(results) == make_leaderboard(MANY)


# Files


def test_reads_what_the_runner_writes(tmp_path):
    task = TASKS["ssv2-temporal"]
    annotations = read_annotations(task, write_ssv2(tmp_path / "pairs.csv", ssv2_pairs()))
    scores = annotations.label.astype(np.float64)  # perfect: mAP 100
    scores[np.flatnonzero(annotations.label == 0)[0]] = np.nan
    made = make_result(
        task=task,
        annotations=annotations,
        metrics=measure(task, annotations, scores, "probability", partial=True, resamples=50),
        model={"name": "owner/model", "revision": "r", "kind": "probability", "prompt": None, "settings": {}},
        scores=scores,
        frames=None,
        run={},
        notes={},
    )
    write_result(tmp_path / "results", made, annotations, scores, "probability")
    (found,) = read_results(tmp_path / "results")
    cell = ours(make_leaderboard([found]))["owner/model"].cells["ssv2-temporal"]
    assert (cell.value, cell.low, cell.high) == (100.0, 100.0, 100.0)
    assert (cell.k, cell.n, cell.partial, cell.official) == (17, 18, True, False)
    assert cell.annotations == annotations.revision
    assert cell.standing is None
    assert cell.details["metrics"]["map"]["value"] == 100.0


def test_folders_of_revisions_are_read_beside_those_of_models(tmp_path):
    write(tmp_path, "a/atp-hard.json", record("a", "atp-hard", 41.0))
    write(tmp_path, "a/1/atp-hard.json", record("a", "atp-hard", 41.0))
    write(tmp_path, "b/r2/atp-hard.json", record("b", "atp-hard", 40.0, revision="r2"))
    write(tmp_path, "b/.r3/atp-hard.json", "{")
    found = read_results(tmp_path)
    assert [(each.model, each.path.parent.name) for each in found] == [("a", "1"), ("a", "a"), ("b", "r2")]
    assert ours(make_leaderboard(found)).keys() == {"a", "b"}  # equal results count once


def test_broken_files_are_reported_and_the_rest_is_read(tmp_path):
    write(tmp_path, "b/atp-hard.json", record("b", "atp-hard", 40.0))
    write(tmp_path, "a/atp-hard.json", record("a", "atp-hard", 41.0))
    write(tmp_path, "a/ssv2-events.json", '{"schema_version": ')
    write(tmp_path, "a/ssv2-temporal.json", {**record("a", "ssv2-temporal", 9.0), "schema_version": "9.0"})
    write(tmp_path, "b/videocon-llm.json", record("b", "videocon-llm", float("nan")))
    write(tmp_path, ".work/x/y.json", "{")
    write(tmp_path, ".work/z.json", "{")
    write(tmp_path, "a/.part-1-x.json", "{")
    write(tmp_path, "a/deep/er/atp-hard.json", "{")
    write(tmp_path, "a/atp-hard.verified.json", "{")
    write(tmp_path, "a/training_run.json", "{")
    (tmp_path / "a" / "atp-hard.parquet").write_bytes(b"PAR1")
    problems = []
    found = read_results(tmp_path, on_broken=problems.append)
    assert [(each.model, each.task) for each in found] == [("a", "atp-hard"), ("b", "atp-hard")]
    assert [problem.file for problem in problems] == [
        str(tmp_path / "a/ssv2-events.json"),
        str(tmp_path / "a/ssv2-temporal.json"),
        str(tmp_path / "b/videocon-llm.json"),
    ]
    board = make_leaderboard(found, problems=problems)
    assert len(board.problems) == 3
    assert "9.0" in board.problems[1]
    with pytest.raises(SchemaError, match=r"ssv2-events\.json"):
        read_results(tmp_path)


def test_a_folder_without_results(tmp_path):
    with pytest.raises(SourceError, match="folder of results does not exist"):
        read_results(tmp_path / "nowhere")
    with pytest.raises(SourceError, match=r"no usable result.*RESULTS/<model>/<task>\.json"):
        read_results(tmp_path)
    write(tmp_path, "m/atp-hard.json", record("m", "atp-hard", 40.0))
    with pytest.raises(SourceError, match="Give the folder above"):
        read_results(tmp_path / "m")
    write(tmp_path, "m/atp-hard.json", "[]")
    with pytest.raises(SourceError, match=r"1 unusable: .*atp-hard\.json"):
        read_results(tmp_path, on_broken=lambda error: None)


def changed(*path, to):
    made = record("m", "atp-hard", 40.0, 38.0, 42.0)
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    if to is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return made


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (changed("main_score", "value", to=140.0), "outside"),
        (changed("main_score", "low", to=-0.5), "outside"),
        (changed("main_score", "value", to=float("inf")), "not JSON compliant"),
        (changed("main_score", "value", to="40"), "not a number"),
        (changed("main_score", "value", to=True), "not a number"),
        (changed("main_score", "low", to=43.0), "interval"),
        (changed("main_score", "high", to=None), "interval"),
        (changed("main_score", "k", to=1001), "more texts"),
        (changed("main_score", "k", to=999), "called official"),
        (changed("main_score", "k", to=99.5), "whole number"),
        (changed("partial", to=True), "called official"),
        (changed("why_not_official", to=["because"]), "called official"),
        (changed("main_score", "name", to="map"), "another main score than accuracy"),
        (changed("main_score", "best_ties", to=...), "best_ties"),
        (changed("task", "annotations", to=...), "annotations"),
        (changed("model", to="m"), "not a result file"),
    ],
)
def test_results_that_contradict_themselves_are_refused(made, words, tmp_path):
    path = write(tmp_path, "m/atp-hard.json", made)
    with pytest.raises(SchemaError, match=words) as caught:
        read_results(tmp_path) if made["model"] == "m" else make_leaderboard([result_of(made)])
    with pytest.raises(SchemaError) as caught:
        read_results(tmp_path)
    assert caught.value.file == str(path)


def test_json_form_is_complete_and_strict():
    board = make_leaderboard(
        [result("m", "videocon-human", 84.0, 81.5, 86.5, ties=(83.0, 85.0)), result("m", "atp-hard", None)]
    )
    found = json.loads(json.dumps(board.to_record(), allow_nan=False))
    assert found["schema_version"] == "1.0"
    assert found["unit"] == "percent"
    assert [column["task"] for column in found["columns"]] == list(COLUMNS)
    assert len(found["rows"]) == 12
    row = found["rows"][-1]
    assert (row["model"], row["kind"], row["revision"]) == ("m", "ours", "1")
    human = row["cells"]["videocon-human"]
    details = human.pop("details")
    assert human == {
        "value": 84.0,
        "low": 81.5,
        "high": 86.5,
        "worst_ties": 83.0,
        "best_ties": 85.0,
        "k": 1000,
        "n": 1000,
        "digits": 2,
        "official": True,
        "partial": False,
        "why_not_official": [],
        "annotations": "a" * 16,
        "revision": "1",
        "standing": "best",
        "provenance": {"kind": "self-reported"},
    }
    assert details["metrics"] == {"groups": {"flip": 84.0}}
    assert details["frames"] == {"count": 8}
    assert details["model"]["kind"] == "probability"
    assert row["cells"]["atp-hard"]["value"] is None


def test_light_imports(tmp_path):
    write(tmp_path, "m/atp-hard.json", record("m", "atp-hard", 40.0))
    script = (
        "import sys\nfrom synvita_data.cli import main\n"
        f"sys.argv = ['synvita', 'leaderboard', {str(tmp_path)!r}, '--markdown', '-']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'datasets', 'evaluate', 'transformers', 'pandas', 'matplotlib', 'av'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| m | " in done.stdout


# Results under controls


def under(control, value, **how):
    """A result of a control as `evaluate` writes it."""
    made = record("m", "atp-hard", value, value - 1, value + 1, why=(f"control: {control}",), **how)
    made["control"] = control
    settings = {"control": control} | ({"control_seed": 4} if control == "shuffle" else {})
    made["model"]["settings"] = {**made["model"]["settings"], **settings}
    if control == "text":
        made["frames"] = None
    return made


def test_controls_are_gaps_beside_the_score_and_nothing_else():
    own = result("m", "atp-hard", 60.0, 58.0, 62.0)
    found = [result_of(under(name, value)) for name, value in (("text", 55.0), ("shuffle", 61.5))]
    without, board = make_leaderboard([own]), make_leaderboard([*found, own])
    (row,) = ours(board).values()
    cell = row.cells["atp-hard"]
    assert (cell.controls["text"].value, cell.controls["text"].gap, cell.controls["text"].seed) == (
        55,
        5,
        None,
    )
    assert (cell.controls["shuffle"].gap, cell.controls["shuffle"].seed) == (-1.5, 4)
    assert (cell.controls["text"].low, cell.controls["text"].high) == (54, 56)
    # But for them the table is as without: no row, no note, no standing.
    record_with, record_without = board.to_record(), without.to_record()
    for each in record_with["rows"]:
        for own_cell in each["cells"].values():
            own_cell.pop("controls", None)
    assert record_with == record_without
    assert "controls" not in json.dumps(record_without)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"annotations": "b" * 16}, "another annotations"),
        ({"revision": "2"}, "another revision"),
        ({"k": 900}, "another number of scored texts"),
    ],
)
def test_no_gap_between_what_cannot_be_subtracted(change, words):
    board = make_leaderboard([result("m", "atp-hard", 60.0), result_of(under("frame", 50.0, **change))])
    assert ours(board)["m"].cells["atp-hard"].controls == {}
    assert f"m, ATP-Hard: no gap to the control frame: {words}" in board.notes


def test_another_setting_prompt_or_policy_is_no_gap():
    def with_prompt(made):
        made["model"]["prompt"] = "question"

    def with_dtype(made):
        made["model"]["settings"]["dtype"] = "bfloat16"

    def with_frames(made):
        made["frames"] = {"policy": {"count": 4}, "first_video": {}}

    for change, words in (
        (with_prompt, "prompt"),
        (with_dtype, "setting dtype"),
        (with_frames, "frame policy"),
    ):
        made = under("reverse", 50.0)
        change(made)
        board = make_leaderboard([result("m", "atp-hard", 60.0), result_of(made)])
        assert ours(board)["m"].cells["atp-hard"].controls == {}
        assert f"m, ATP-Hard: no gap to the control reverse: another {words}" in board.notes


def test_a_control_finds_the_revision_that_it_is_of():
    board = make_leaderboard(
        [
            result("m", "atp-hard", 60.0, revision="1"),
            result("m", "atp-hard", 70.0, revision="2"),
            result_of(under("frame", 50.0, revision="2")),
            result_of(under("frame", 51.0, revision="2")),
        ]
    )
    gaps = {row.revision: row.cells["atp-hard"].controls for row in ours(board).values()}
    assert gaps["1"] == {}
    assert gaps["2"]["frame"].gap in (20, 19)
    assert "m, ATP-Hard: several results under the control frame, one of which is shown" in board.notes
