"""Whatever a command raises ends as one line: what the user can mend, or a bug with the place of its traceback."""

import errno
import re
import sys
from pathlib import Path

import pytest
from in_process import run_program

import synvita_data.leaderboard.table as table
from synvita_data.__main__ import main as program
from synvita_data.crash import ending, interrupted
from synvita_data.errors import SynvitaError
from synvita_data.hub.problems import HubRequest, HubUnreachableError, hub_problem


@pytest.fixture
def raising(monkeypatch, tmp_path):
    """`synvita leaderboard`, which raises what it is given; reports go below `tmp_path`."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def run(error):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr(table, "read_results", fail)
        return run_program("leaderboard", "/nowhere")

    return run


def test_a_bug_is_one_line_and_a_report_without_the_options(raising, tmp_path, capsys):
    assert raising(KeyError("model")) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: this is a bug of synvita-data")
    assert "KeyError: 'model' (test_crash.py, line " in line
    (report,) = tmp_path.glob("synvita-bug-*.txt")
    assert line.endswith(f"The traceback is in {report}.")
    text = report.read_text()
    assert "synvita leaderboard …" in text
    assert text.rstrip().endswith("KeyError: 'model'")
    assert "/nowhere" not in text
    assert report.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SynvitaError("a row is bad", file="t.csv", row=3), "error: t.csv, row 3: a row is bad."),
        (OSError(errno.ENOSPC, "No space left on device", "a.mp4"), "error: a.mp4: No space left on device."),
        (OSError(errno.EMFILE, "Too many open files"), "error: Too many open files."),
        # Also where the Hub's library is loaded: nothing of it was running.
        (OSError(errno.ENOSPC, "No space left on device"), "error: No space left on device."),
        (MemoryError(), "error: there is not enough memory. Found: MemoryError. Take less at once"),
        (ImportError("cannot import name 'x' from 'torch'", name="torch"), "a package cannot be imported"),
    ],
)
def test_what_is_no_bug_is_one_line_and_no_report(raising, error, said, tmp_path, capsys):
    assert raising(error) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line
    assert not list(tmp_path.glob("synvita-bug-*"))


def test_a_full_disk_under_what_the_hubs_library_writes_is_the_caches():
    from huggingface_hub.utils import filter_repo_objects

    def full():
        raise OSError(errno.ENOSPC, "No space left on device")
        yield

    with pytest.raises(OSError, match="No space left") as caught:
        list(filter_repo_objects(full(), allow_patterns=["*"]))
    assert "HF_HOME" in ending(caught.value)[0]


def test_our_own_imports_and_errors_of_libraries_without_a_number_are_bugs(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for error in (
        ImportError("cannot import name 'x'", name="synvita_data.files"),
        OSError("Couldn't deserialize thrift"),
    ):
        line, status = ending(error)
        assert status == 1, line
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    assert ending(KeyError("x"))[0].endswith("The traceback could not be written down.")


def test_ctrl_c_says_what_to_do(raising, capsys):
    assert raising(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err.strip() == "interrupted: nothing is half-written"
    assert "the same command continues" in interrupted("build")


class _Interrupted:
    def __getattr__(self, name):
        raise KeyboardInterrupt


def test_ctrl_c_while_the_commands_are_imported_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "synvita_data.cli", _Interrupted())
    with pytest.raises(SystemExit) as caught:
        program()
    assert caught.value.code == 130
    assert capsys.readouterr().err == "interrupted: nothing is half-written\n"


def test_commands_that_continue_are_there():
    from synvita_data import cli, crash

    names = {command.callback.__name__ for command in cli.app.registered_commands}
    assert names >= crash._RESUMES


def test_what_datasets_says_without_a_network_is_one_line():
    """It hides what its request raised, and raises a plain ConnectionError."""
    error = ConnectionError("Couldn't reach 'me/ds' on the Hub (LocalEntryNotFoundError)")
    problem = hub_problem(error, HubRequest("me/ds", "the dataset cannot be read", kind="dataset"))
    assert isinstance(problem, HubUnreachableError)
    assert re.search("offline mode|cannot reach the Hub", problem.problem)
    assert hub_problem(ConnectionResetError(104, "Connection reset"), HubRequest("me/ds")) is None


def test_a_dataset_folder_with_a_typing_error_is_not_asked_of_the_hub(capsys):
    assert run_program("inspect", "nowhere") == 2
    assert capsys.readouterr().err.startswith("error: nowhere: the dataset folder does not exist.")


def test_a_card_that_is_not_text(tmp_path, capsys):
    (tmp_path / "README.md").write_bytes(b"---\n\xff")
    assert run_program("inspect", tmp_path) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"error: {Path(tmp_path) / 'README.md'}: the dataset's card cannot be read.")
