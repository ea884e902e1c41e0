"""`--help` of every command: flags show no type, completion is offered, nothing heavy is needed."""

import pytest
from in_process import run_program
from typer.main import get_command
from typer.testing import CliRunner

from synvita_data.cli import app

COMMANDS = [[], *([name] for name in get_command(app).commands), ["videos", "check"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_flags_show_no_type(command):
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "120"})
    assert shown.exit_code == 0
    assert "<bool>" not in shown.output
    assert "BOOLEAN" not in shown.output


def test_completion_is_offered():
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"})
    assert "--install-completion" in shown.output


@pytest.mark.parametrize("given", [["--out", ""], ["--out="], ["--out", "x", "--real-root", ""]])
@pytest.mark.parametrize("command", ["build", "evaluate"])
def test_an_empty_path_is_not_the_current_folder(command, given, tmp_path, monkeypatch, capsys):
    """As where a shell's variable is not set."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        app([command, *given])
    assert caught.value.code == 2
    assert "The path is empty" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_alone_is_no_bug(command, monkeypatch, tmp_path, capsys):
    """`synvita train`, and so on: an argument is missing, or the folder holds nothing."""
    monkeypatch.chdir(tmp_path)
    if command == ["demo"]:
        pytest.skip("needs no argument, and takes minutes")
    assert run_program(*command) in (0, 2)
    assert "bug" not in capsys.readouterr().err
