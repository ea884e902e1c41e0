"""The leaderboard's page as a file, the pairs on it, and what serves it."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_results import record, result, write
from small_scored import alike, entailment, write_official
from typer.testing import CliRunner

from synvita_data.cli import app
from synvita_data.comparison.compare import compare_results
from synvita_data.comparison.every_pair import compare_every_pair
from synvita_data.errors import SourceError, SynvitaError
from synvita_data.evaluation.scored import read_scored
from synvita_data.leaderboard.page.html import make_page
from synvita_data.leaderboard.page.pairs import compare_rows
from synvita_data.leaderboard.page.serve import ServedBoard
from synvita_data.leaderboard.page.space import write_space
from synvita_data.leaderboard.table import make_leaderboard, read_results
from synvita_data.tasks import TASKS

TASK = TASKS["videocon-llm"]


@pytest.fixture
def scored(tmp_path):
    """Three comparable results, one that scored half of the texts, and one without its table."""
    annotations = entailment(tmp_path, videos=30)
    for name, spoilt in (("first", 0), ("second", 8), ("third", 3)):
        write_official(tmp_path / "r", annotations, name, alike(annotations, spoilt))
    write_official(tmp_path / "r", annotations, "bare", alike(annotations, 1)).with_suffix(
        ".parquet"
    ).unlink()
    return tmp_path / "r"


def elements(text):
    """Tags of a page with their attributes, and the content of its scripts."""
    found, scripts = [], []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.append((tag, dict(attributes)))
            if tag == "script":
                scripts.append("")

        def handle_data(self, data):
            if self.cdata_elem == "script":
                scripts[-1] += data

    Parser().feed(text)
    return found, scripts


def test_every_pair_is_what_two_results_compared_alone_give(scored):
    sides = [read_scored(scored / name / "videocon-llm.json") for name in ("first", "second", "third")]
    pairs, failures = compare_every_pair(sides, TASK, resamples=300)
    assert failures == {}
    assert [(pair.a, pair.b) for pair in pairs] == [(0, 1), (0, 2), (1, 2)]
    for pair in pairs:
        alone = compare_results(sides[pair.a], sides[pair.b], TASK, resamples=300)
        assert pair.main == alone.main
        assert pair.won == alone.won


def test_rows_in_no_pair_say_why(scored):
    found = read_results(scored)
    board = make_leaderboard(found, paired=False)
    labels = [row.label for row in board.rows]
    (only,) = compare_rows(board, found, resamples=100)
    assert {frozenset((labels[pair.a], labels[pair.b])) for pair in only.pairs} == {
        frozenset(each) for each in (("first", "second"), ("first", "third"), ("second", "third"))
    }
    assert only.without == {labels.index("bare"): "its score table is not there"}
    assert only.p_holm == tuple(pair.main.p for pair in only.pairs)  # one benchmark: nothing to correct
    (fewer,) = compare_rows(board, found, resamples=100, most=2)
    assert len(fewer.pairs) == 1
    assert [why for why in fewer.without.values() if "only the 2 highest" in why]


@settings(max_examples=30)
@given(st.text(max_size=40), st.text(max_size=40))
def test_a_page_is_closed_whatever_names_say(name, problem):
    evil = f"{name}</script><!--<script>"
    board = make_leaderboard(
        [result(evil, "atp-hard", 50.0, 48.0, 52.0)], problems=[SynvitaError(problem + "</script>")]
    )
    text = make_page(board, title=f"{name}<b>{{{{data}}}}").text
    found, scripts = elements(text)
    assert len(scripts) == 2
    data = json.loads(scripts[0])
    assert data["record"] == json.loads(json.dumps(board.to_record()))
    assert not [attributes for _, attributes in found if any(each.startswith("on") for each in attributes)]
    assert not [attributes for _, attributes in found if "src" in attributes or "style" in attributes]
    assert {attributes.get("href") for _, attributes in found} == {None, "#main"}
    assert not {tag for tag, _ in found} & {"b", "img", "iframe", "link", "base", "form"}


def test_the_policy_lets_only_this_script_and_style_run():
    text = make_page(make_leaderboard([])).text
    found, scripts = elements(text)
    (policy,) = (each["content"] for tag, each in found if tag == "meta" and "http-equiv" in each)
    style = text.partition("<style>")[2].partition("</style>")[0]

    def digest(content):
        return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()

    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest(scripts[1])}'" in policy
    assert f"style-src 'sha256-{digest(style)}'" in policy
    assert "unsafe" not in policy
    assert "url(" not in style
    assert "@import" not in style
    # The only address is the name of a drawing's elements, which nobody asks for.
    assert set(re.findall(r"https?://[^'\" ]+", scripts[1] + style)) == {"http://www.w3.org/2000/svg"}
    for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert unsafe not in scripts[1]


def test_equal_results_give_equal_pages(scored):
    found = read_results(scored)
    made = datetime(2026, 1, 1, tzinfo=UTC)
    one, other = (make_page(make_leaderboard(each), each, made=made).text for each in (found, found[::-1]))
    assert one == other


def test_the_command_writes_the_page_and_the_other_files(scored, tmp_path):
    write(scored, "broken/atp-hard.json", "{")
    files = {kind: tmp_path / f"out/board.{kind}" for kind in ("html", "csv", "latex", "json")}
    arguments = [part for kind, path in files.items() for part in (f"--{kind}", str(path))]
    done = CliRunner().invoke(app, ["leaderboard", str(scored), *arguments, "--title", "Ours & <theirs>"])
    assert done.exit_code == 0, done.output
    assert "<title>Ours &amp; &lt;theirs&gt;</title>" in files["html"].read_text(encoding="utf-8")
    data = json.loads(elements(files["html"].read_text(encoding="utf-8"))[1][0])
    assert data["record"] == json.loads(files["json"].read_text())
    assert len(data["record"]["problems"]) == 1
    assert len(data["pairs"]["videocon-llm"]["found"]) == 3
    assert files["csv"].read_text().startswith("model,label,kind")
    both = CliRunner().invoke(app, ["leaderboard", str(scored), "--csv", "-", "--latex", "-"])
    assert isinstance(both.exception, SynvitaError)


def test_an_empty_folder_makes_no_page(tmp_path):
    done = CliRunner().invoke(app, ["leaderboard", str(tmp_path), "--html", str(tmp_path / "x.html")])
    assert isinstance(done.exception, SourceError)
    assert not (tmp_path / "x.html").exists()


def test_a_served_board_shows_intervals_first_and_pairs_then(scored):
    board = ServedBoard(scored)
    board.read()
    first = json.loads(elements(board.text)[1][0]) if not board.complete.is_set() else None
    assert board.complete.wait(120)
    whole = json.loads(elements(board.text)[1][0])
    assert len(whole["pairs"]["videocon-llm"]["found"]) == 3
    assert first is None or first["pairs"] in ({}, whole["pairs"])
    assert board.said == "4 results, 0 unusable; 3 pairs compared"
    # Read again: what is new is there.
    write(scored, "new/atp-hard.json", record("new", "atp-hard", 40.0, 38.0, 42.0))
    write(scored, "bad/atp-hard.json", "{")
    board.read()
    assert board.complete.wait(120)
    assert '"new"' in board.text
    assert board.said.startswith("5 results, 1 unusable")


def test_a_served_board_of_nothing_says_so(tmp_path):
    board = ServedBoard(tmp_path)
    board.read()
    assert board.complete.wait(120)
    assert "holds no usable result" in board.text
    with pytest.raises(SourceError):
        ServedBoard(tmp_path / "nowhere").read()


def test_serving_without_gradio_names_the_extra(scored):
    code = (
        "import sys; sys.modules['gradio'] = None\n"
        "import importlib.util as u; real = u.find_spec\n"
        "import synvita_data.extras as e; e.find_spec = lambda n: None if n == 'gradio' else real(n)\n"
        "from synvita_data.cli import main\n"
        f"sys.argv = ['synvita', 'leaderboard', {str(scored)!r}, '--serve']\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert re.search(r'pip install ".*\[leaderboard\]"', done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.slow  # importing gradio takes seconds
def test_the_app_serves_the_page(scored):
    from fastapi.testclient import TestClient

    from synvita_data.leaderboard.page.serve import make_app

    board = ServedBoard(scored, title="A <b>board</b>")
    board.read()
    assert board.complete.wait(120)
    with TestClient(make_app(board)) as client:
        assert client.get("/page").text == board.text
        page = client.get("/").text
        assert "gradio" in page
        assert "iframe" in page
        assert "<b>board</b>" not in page.replace("\\u003c", "<").partition("window.gradio_config")[0]


def test_a_space_of_a_results_repository(tmp_path):
    files = write_space(tmp_path / "space", "owner/results", title="Our board")
    assert sorted(path.name for path in files) == ["README.md", "app.py", "requirements.txt"]
    compile((tmp_path / "space/app.py").read_text(), "app.py", "exec")
    card = (tmp_path / "space/README.md").read_text()
    assert "sdk: gradio" in card
    assert "- owner/results" in card
    done = CliRunner().invoke(app, ["leaderboard", "owner/results", "--space", str(tmp_path / "other")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "other/app.py").is_file()
    for bad in ("results", "a/b/c", "../x", "owner/'+x+'"):
        with pytest.raises(SynvitaError, match="not the id of a results repository"):
            write_space(tmp_path / "bad", bad)
    assert not (tmp_path / "bad").exists()


def test_pairs_do_not_depend_on_the_order_of_results(scored):
    sides = [read_scored(scored / name / "videocon-llm.json") for name in ("first", "second", "third")]
    forward, _ = compare_every_pair(sides, TASK, resamples=200)
    backward, _ = compare_every_pair(sides[::-1], TASK, resamples=200)
    for pair in forward:
        (other,) = (each for each in backward if (2 - each.b, 2 - each.a) == (pair.a, pair.b))
        turned = other.main.reversed()
        assert turned.difference == pytest.approx(pair.main.difference)
        assert turned.p == pair.main.p
        assert np.allclose([turned.low, turned.high], [pair.main.low, pair.main.high])
