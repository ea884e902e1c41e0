import io
import json

import pytest
from rich.console import Console
from small_results import record, result, write
from typer.testing import CliRunner

from synvita_data.cli import app
from synvita_data.commands.leaderboard import render
from synvita_data.errors import SourceError, SynvitaError
from synvita_data.leaderboard.table import make_leaderboard


def run(*arguments, width=100):
    return CliRunner().invoke(app, ["leaderboard", *map(str, arguments)], env={"COLUMNS": str(width)})


def printed(results, width, **how):
    console = Console(file=io.StringIO(), width=width)
    for part in render(make_leaderboard(results, **how), console.width):
        console.print(part)
    return console.file.getvalue()


ALL_SIX = [
    result("openai/clip-vit-base-patch32", "videocon-llm", 60.0, 59.2, 60.9, k=53888, n=53888),
    result("openai/clip-vit-base-patch32", "videocon-human", 61.0, 57.0, 65.0, k=1140, n=1140),
    result("openai/clip-vit-base-patch32", "videocon-human-hard", 62.0, 56.0, 68.0, k=580, n=580),
    result(
        "openai/clip-vit-base-patch32", "ssv2-temporal", 15.0, 11.0, 19.0, ties=(11.6, 21.9), k=3888, n=3888
    ),
    result("openai/clip-vit-base-patch32", "ssv2-events", 6.0, 4.0, 8.0, k=28812, n=28812),
    result("openai/clip-vit-base-patch32", "atp-hard", 30.0, 28.0, 32.0, k=1846, n=1846),
]


def test_six_benchmarks_side_by_side_in_100_columns():
    lines = printed(ALL_SIX, 100).splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("model") for line in lines) == 1
    (row,) = [line for line in lines if line.rstrip().endswith("30.00")]
    assert row.split()[-6:] == ["60.00", "61.00", "62.00", "15.00", "6.00", "30.00"]
    assert any(line.startswith("TACT†") and line.split() == ["TACT†", "7.8", "27.6"] for line in lines)


@pytest.mark.parametrize(("width", "parts"), [(240, 1), (60, 2), (32, 6)])
def test_narrow_terminals_get_parts(width, parts):
    lines = printed(ALL_SIX, width).splitlines()
    assert max(map(len, lines)) <= width
    assert sum(line.startswith("model") for line in lines) == parts
    text = "".join(lines)
    for value in (
        "60.00",
        "[59.2, 60.9]",
        "n 53,888",
        "[56.0, 68.0]",
        "{11.6, 21.9}",
        "30.00",
        "39.88 △",
    ):
        assert value in text, value


def test_names_are_no_markup():
    text = printed([result("[red]m[/red]", "atp-hard", 30.0)], 100, published=False)
    assert "[red]m[/red]" in text


def test_terminal_and_files(tmp_path):
    results = tmp_path / "results"
    write(results, "m/videocon-human.json", record("m", "videocon-human", 84.0, 81.5, 86.5))
    write(results, "m/atp-hard.json", record("m", "atp-hard", 90.0, 89.0, 91.0, k=10))
    done = run(results, "--markdown", tmp_path / "new" / "board.md", "--json", tmp_path / "board.json")
    assert done.exit_code == 0, done.output
    assert "84.00 ▲" in done.stdout
    assert "10/1,000" in done.stdout
    assert "10 of 1000 texts were scored" in done.stdout
    markdown = (tmp_path / "new" / "board.md").read_text(encoding="utf-8")
    assert (
        "| m |  | **84.00** ▲ \\[81.5, 86.5\\] n 1,000 |  |  |  | 90.00 ‡ \\[89.0, 91.0\\] 10/1,000 |"
        in markdown
    )
    board = json.loads((tmp_path / "board.json").read_text(encoding="utf-8"))
    assert [row["model"] for row in board["rows"] if row["kind"] == "ours"] == ["m"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["board.json", "new", "results"]


def test_printing_one_form_only(tmp_path):
    write(tmp_path, "m/atp-hard.json", record("m", "atp-hard", 40.0, 38.0, 42.0))
    write(tmp_path, "m/ssv2-events.json", "{")
    done = run(tmp_path, "--json", "-", "--no-published")
    assert [row["label"] for row in json.loads(done.stdout)["rows"]] == ["m"]
    assert "left out: " in done.stderr
    assert "ssv2-events.json" in done.stderr
    markdown = run(tmp_path, "--markdown", "-").stdout
    assert markdown.startswith("| model |")
    assert "- left out: " in markdown
    both = run(tmp_path, "--markdown", "-", "--json", "-")
    assert isinstance(both.exception, SynvitaError)


def test_a_folder_without_results_is_an_error(tmp_path):
    done = run(tmp_path)
    assert isinstance(done.exception, SourceError)
    assert str(tmp_path) in str(done.exception)
