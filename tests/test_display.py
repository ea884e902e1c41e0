"""Text of others on terminals and in logs: nothing invisible gets through, and nothing prints beside `display`."""

import ast
import io
import json
import logging
import subprocess
import sys
import unicodedata
import warnings
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synvita_data.display import (
    Terminal,
    cell,
    counted,
    get_logger,
    json_text,
    number,
    plain,
    plain_lines,
    prepare_terminal,
    print_traceback,
    say,
    warn,
    write,
)
from synvita_data.progress import Progress

ROOT = Path(__file__).parent.parent
HOSTILE = "\x1b[31mred\x1b]0;title\x07 \x9b2J a\u202eb\u200bc\ufeff\nerror: faked [bold]x[/] [/b] :smile:"
# Visible although Unicode files them under format: marks that stand before numbers.
VISIBLE_FORMAT = {
    chr(code)
    for span in ((0x600, 0x605), (0x6DD, 0x6DD), (0x70F, 0x70F), (0x890, 0x891), (0x8E2, 0x8E2))
    for code in range(span[0], span[1] + 1)
} | {"\U000110bd", "\U000110cd"}


def invisible(text):
    """Characters that a terminal obeys or does not show, by Unicode's own categories."""
    odd = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return [char for char in text if unicodedata.category(char) in odd and char not in VISIBLE_FORMAT]


def test_every_control_and_format_character_becomes_visible():
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char not in VISIBLE_FORMAT:
            shown = plain(f"a{char}b")
            assert not invisible(shown), hex(code)
            assert shown != f"a{char}b"


@given(st.text(st.characters(categories=["Lu", "Ll", "Lt", "Nd", "Po", "Sm", "So", "Sc", "Pd", "Zs"])))
@example("naïve façade · “quotes” — 你好, привет, שלום, नमस्ते 🐕 ❤️ \\x1b[31m")
def test_what_can_be_seen_stays(text):
    assert plain(text) == text


@given(st.text())
def test_lines_keep_their_number_and_one_line_is_one(text):
    assert "\n" not in plain(text)
    assert not invisible(plain(text))
    assert plain_lines(text).count("\n") == text.count("\n")
    assert not [char for char in invisible(plain_lines(text)) if char not in "\n\t"]
    assert not [char for char in invisible(json_text([text], indent=1)) if char != "\n"]


@given(
    st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_json_keeps_its_content(value):
    assert json.loads(json_text(value)) == value


def test_a_terminal_takes_no_text_for_style(capsys):
    Terminal().line(("bold", "[red]name[/]"), HOSTILE)
    Terminal(err=True).line(HOSTILE, style="red")
    say(HOSTILE)
    write(f"{HOSTILE}\n")
    out, err = capsys.readouterr()
    assert not [char for char in invisible(out + err) if char != "\n"]
    assert "[red]name[/]" in out
    assert "[bold]x[/] [/b] :smile:" in err
    assert len(err.splitlines()) == 1  # no line of its own for the faked error


def test_a_terminal_that_has_colours_uses_only_ours():
    class Colours(io.StringIO):
        def isatty(self):
            return True

    stream = Colours()
    terminal = Terminal(stream=stream)
    terminal.console._force_terminal = True
    terminal.line(("bold", "name"), "\x1b[35mevil")
    assert "\x1b[35m" not in stream.getvalue()
    assert "\\x1b[35mevil" in stream.getvalue()


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({"PYTHONIOENCODING": "ascii"}, "Model \\xb7 m"),
        ({"PYTHONIOENCODING": "latin-1"}, "Model \\u4e2d"),
        ({"COLUMNS": "0"}, "Model"),
    ],
)
def test_a_terminal_of_any_encoding_and_width_shows_what_is_printed(
    environment, shown, monkeypatch, tmp_path
):
    out = tmp_path / "out.txt"
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    monkeypatch.setattr("sys.stdout", out.open("w", encoding=encoding))
    monkeypatch.setenv("COLUMNS", environment.get("COLUMNS", "100"))
    prepare_terminal()
    terminal = Terminal()
    terminal.show(cell("Model · m" if encoding == "ascii" else "Model 中"))
    sys.stdout.flush()
    assert shown in out.read_text(encoding=encoding)


def test_progress_logs_and_warnings_are_plain(caplog):
    stream = io.StringIO()
    with Progress(f"of {HOSTILE}", stream=stream, clock=iter(range(0, 10_000, 20)).__next__) as progress:
        progress.at(1, 3)
        progress.at(2, 3)
        progress.at(2, 3, f"then {HOSTILE}")
        progress.at(3, 3, f"then {HOSTILE}")
        progress.say(HOSTILE)
    assert "of \\x1b[31mred" in stream.getvalue()
    assert "then \\x1b[31mred" in stream.getvalue()
    assert not [char for char in invisible(stream.getvalue()) if char != "\n"]

    with caplog.at_level(logging.WARNING):
        get_logger("synvita_data.test_display").warning("file %s", HOSTILE)
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            get_logger("synvita_data.test_display").exception("broke")
    assert not [char for char in invisible(caplog.text) if char != "\n"]
    assert "\\x1b[31mred" in caplog.text

    with pytest.warns(UserWarning, match="red") as caught:
        warn(HOSTILE)
    assert not invisible(str(caught[0].message))
    assert caught[0].filename == __file__
    stream = io.StringIO()
    print_traceback(ValueError, ValueError(HOSTILE), None, stream)
    assert not [char for char in invisible(stream.getvalue()) if char != "\n"]


def test_warnings_module_is_left_as_it_was():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            warn("x")


COMMAND_LINES = [
    ["inspect", HOSTILE],
    ["build", "--triplets", HOSTILE, "--out", "o"],
    ["build", f"--{HOSTILE}"],
    [HOSTILE],
    ["leaderboard", HOSTILE],
    ["errors", HOSTILE],
    ["push", HOSTILE, "a/b", "--tag", HOSTILE],
    ["train", HOSTILE],
    ["train", "shapes/tiny", HOSTILE],
    ["evaluate", HOSTILE, "--task", HOSTILE, "--annotations", HOSTILE],
    ["annotations", "--task", HOSTILE, "--annotations", HOSTILE, "--out", "o"],
    ["generate", "--triplets", HOSTILE, "--generator", HOSTILE, "--out", "o"],
    ["vqascore", "--triplets", HOSTILE, "--synthetic", HOSTILE, "--model", HOSTILE, "--out", "o.parquet"],
    ["convert", HOSTILE, HOSTILE, HOSTILE],
]
# Every command line as a process of its own, made by a process that has imported the program: statuses and all they print.
RUN_ALL = """
import json, os, sys
from synvita_data import cli

found = []
for place, arguments in enumerate(json.load(sys.stdin)):
    child = os.fork()
    if child == 0:
        out = os.open(f"printed-{place}", os.O_CREAT | os.O_WRONLY)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.argv = ["synvita", *arguments]
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code or 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    found.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """Status of each command line, and what it printed."""
    folder = tmp_path_factory.mktemp("program")
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL],
        input=json.dumps(COMMAND_LINES),
        text=True,
        cwd=folder,
        capture_output=True,
        env={"PATH": "", "HF_HUB_OFFLINE": "1", "HOME": str(folder), "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    texts = [(folder / f"printed-{place}").read_bytes().decode() for place in range(len(COMMAND_LINES))]
    return list(zip(json.loads(done.stdout), texts, strict=True))


@pytest.mark.slow
@pytest.mark.xdist_group("printed")
@pytest.mark.parametrize(
    "place",
    range(len(COMMAND_LINES)),
    ids=[words[0][:9] if words[0] != HOSTILE else "no command" for words in COMMAND_LINES],
)
def test_errors_of_the_program_are_plain(printed, place):
    status, text = printed[place]
    assert text
    assert status in (1, 2), text
    assert not [char for char in invisible(text) if char != "\n"], text
    assert "\nerror: faked" not in text


# --- nothing prints beside it ------------------------------------------------------------------------

PRINTS = {"print"}
METHODS = {
    "typer": {"echo", "secho", "style", "confirm", "prompt"},
    "click": {"echo", "secho", "confirm", "prompt"},
    "logging": {
        "getLogger",
        "debug",
        "info",
        "warning",
        "error",
        "critical",
        "exception",
        "log",
        "basicConfig",
    },
    "warnings": {"warn", "warn_explicit", "showwarning"},
    "traceback": {"print_exc", "print_exception", "print_tb", "print_stack", "print_last"},
    "rich": {"print", "inspect"},
    "pprint": {"pprint", "pp"},
}
STREAMS = {("sys", "stdout"), ("sys", "stderr"), ("sys", "__stdout__"), ("sys", "__stderr__")}
# The stream of a progress bar, which writes through `plain`; the pipe of a process to the build that started it.
ALLOWED = {("synvita_data/progress.py", "sys.stderr")}


def raw_prints(source):
    """Names of what in this source would print without `display`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and node.id in PRINTS:
            found.append(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            place = (node.value.id, node.attr)
            if place in STREAMS or node.attr in METHODS.get(node.value.id, ()):
                found.append(".".join(place))
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            found += sorted(names & METHODS.get(node.module or "", set()))
            found += sorted(names & {"stdout", "stderr"} if node.module == "sys" else ())
            if node.module in ("rich.console", "rich.markup", "rich.pretty"):
                found += sorted(names & {"Console", "escape", "render", "pprint"})
    return found


def test_nothing_in_the_package_prints_beside_display():
    found = {
        (path.relative_to(ROOT).as_posix(), name)
        for folder in ("synvita_data", "builders", "training", "evaluate_metrics")
        for path in (ROOT / folder).rglob("*.py")
        if path != ROOT / "synvita_data/display.py"
        for name in raw_prints(path.read_text(encoding="utf-8"))
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    "source",
    [
        "print(x)",
        "def f(say=print): pass",
        "import typer\ntyper.echo(x)",
        "from typer import secho",
        "from rich.console import Console",
        "import sys\nsys.stdout.write(x)",
        "from sys import stderr",
        "import logging\nlog = logging.getLogger(__name__)",
        "import warnings\nwarnings.warn(x)",
    ],
)
def test_the_search_finds_them(source):
    assert raw_prints(source)


def test_tables_hold_cells_and_no_markup():
    """What a table is given is made by `cell`, a number, or words of ours: rich takes brackets in strings for styles."""
    for path in (ROOT / "synvita_data/commands").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr not in ("add_row", "add_column"):
                continue
            for value in node.args:
                ours = isinstance(value, (ast.Constant, ast.Call, ast.JoinedStr, ast.Starred, ast.Name))
                assert ours, (path.name, ast.unparse(value))
                if isinstance(value, ast.JoinedStr):  # numbers only
                    specs = [part for part in value.values if isinstance(part, ast.FormattedValue)]
                    assert all(part.format_spec is not None for part in specs), ast.unparse(value)


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (-0.00001, "+.4f", "+0.0000"),
        (-0.00006, "+.4f", "-0.0001"),
        (-0.0, ".1%", "0.0%"),
        (float("nan"), ".2f", "–"),
        (None, ".2f", "–"),
        (-1234.5, ",.1f", "-1,234.5"),
    ],
)
def test_what_rounds_to_nothing_has_no_minus(value, form, text):
    assert number(value, form) == text


@pytest.mark.parametrize(
    ("words", "one"),
    [
        ("rows", "1 row"),
        ("entries of the score table belong", "1 entry of the score table belongs"),
        ("exact duplicates", "1 exact duplicate"),
        ("video files belong", "1 video file belongs"),
        ("real videos are", "1 real video is"),
        ("triplets have", "1 triplet has"),
        ("synthetic videos", "1 synthetic video"),
        ("results were", "1 result was"),
    ],
)
def test_one_is_counted_as_one(words, one):
    assert counted(1, words) == one
    assert counted(2345, words) == f"2,345 {words}"
    assert counted(0, words) == f"0 {words}"
