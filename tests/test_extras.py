"""Without the packages of an extra a command or a name says which extra to install, before it does anything."""

import json
import re
import subprocess
import sys

import pytest

from synvita_data.errors import EngineError
from synvita_data.extras import MissingPackageError, explained, explaining, install_line, require

# A core install: the packages of all extras cannot be found.
HIDE = """
import importlib.abc, sys
HIDDEN = {"torch", "transformers", "accelerate", "peft", "diffusers", "tokenizers", "evaluate", "gradio", "ray"}
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.partition(".")[0] in HIDDEN else found(name, package)
"""


RUN = """
import contextlib, io, json
from synvita_data.cli import main
said = {}
for command in json.loads(sys.argv[1]):
    sys.argv, errors = ["synvita", *command.split()], io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.suppress(SystemExit):
        try:
            main()
        except Exception as error:
            errors.write(f"Traceback: {error!r}")
    said[command] = errors.getvalue()
for code in CODES:
    try:
        exec(code)
        said[code] = "no error"
    except Exception as error:
        said[code] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""
COMMANDS = {
    "train shapes/tiny": "train",
    "train --keys": "score",
    "evaluate some/model --form entailment --annotations t.csv --real-root .": "score",
    "score videos.csv --model some/model --out scores.csv": "score",
    "vqascore --triplets t.csv --synthetic folder:v --model m --out s.parquet": "score",
    "generate --triplets t.csv --generator diffusers:some/model --out v": "generate",
    "build --triplets t.csv --synthetic diffusers:some/model --out o": "generate",
    "build --triplets t.csv --granularity token --tokenizer some/model --out o": "score",
    "convert mplug-owl a b": "score",
}
CODES = [
    "from synvita_data.training import SynViTATrainer",
    "import synvita_data; synvita_data.SynViTALoss",
    "from synvita_data import AlignmentScorer",
]


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Command or code -> what it says in a core install."""
    folder = tmp_path_factory.mktemp("core")
    (folder / "v").mkdir()
    (folder / "t.csv").write_text("videopath,caption,neg_caption\na.mp4,a dog,a cat\n")
    (folder / "videos.csv").write_text("video,text\na.mp4,a dog\n")
    (folder / "a.mp4").write_bytes(b"video")
    done = subprocess.run(
        [sys.executable, "-c", f"{HIDE}CODES = {CODES!r}\n{RUN}", json.dumps(list(COMMANDS))],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("command", "extra"), COMMANDS.items())
def test_a_command_says_which_extra_it_needs(said, command, extra):
    (line,) = said[command].strip().splitlines()
    assert line.startswith("error: ")
    assert install_line(extra) in line


@pytest.mark.parametrize("code", CODES)
def test_a_public_name_says_so_too(said, code):
    assert said[code].startswith("MissingPackageError: ")
    assert install_line("score") in said[code]


def test_what_is_missing_is_looked_for_not_imported():
    with pytest.raises(
        MissingPackageError, match=rf"no not_there\. {re.escape(install_line('train'))}"
    ) as caught:
        require("train", "json", "not_there")
    assert isinstance(caught.value, ImportError)


def test_other_missing_modules_stay_what_they_are():
    with pytest.raises(ModuleNotFoundError) as caught, explaining():
        raise ModuleNotFoundError("No module named 'mine'", name="mine")
    assert not isinstance(caught.value, MissingPackageError)
    assert explained(EngineError("no torch")) is None
    # Of a package that is there something is missing: no extra brings it.
    assert explained(ModuleNotFoundError("No module named 'torch.gone'", name="torch.gone")) is None
