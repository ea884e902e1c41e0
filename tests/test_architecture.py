"""Imports point one way, and light commands stay light."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "diffusers", "datasets", "evaluate", "av", "decord", "matplotlib", "pandas")


def imports_of(path: Path, package: str, root: Path, folder: str) -> set[str]:
    """Absolute names of our own modules that a file imports, at any depth."""
    inner = path.parent.relative_to(root / folder).parts
    here = [*package.split("."), *inner]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.add(module)
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return {name for name in found if name.split(".")[0] == "synvita_data"}


def files(root: Path, folder: str) -> list[Path]:
    return sorted((root / folder).rglob("*.py"))


@pytest.mark.parametrize(
    ("folder", "package", "forbidden"),
    [
        ("builders", "synvita_data.builders", ("synvita_data.training", "synvita_data.evaluate_metrics")),
        ("training", "synvita_data.training", ("synvita_data.builders",)),
        ("synvita_data", "synvita_data", ("synvita_data.builders", "synvita_data.training")),
    ],
)
def test_imports_point_one_way(repo_root, folder, package, forbidden):
    for path in files(repo_root, folder):
        if folder == "synvita_data" and path.parent.name == "commands":
            continue
        for name in imports_of(path, package, repo_root, folder):
            assert not any(name == f or name.startswith(f + ".") for f in forbidden), f"{path}: {name}"


def test_metrics_stand_alone(repo_root):
    for path in files(repo_root, "evaluate_metrics"):
        own = "synvita_data.evaluate_metrics"
        if path.parent.name != "evaluate_metrics":  # a metric's folder: itself and what all metrics share
            own = (f"{own}.{path.parent.name}", f"{own}._shared")
        for name in imports_of(path, "synvita_data.evaluate_metrics", repo_root, "evaluate_metrics"):
            assert name.startswith(own), f"{path}: {name}"


def test_no_file_loads_code_from_data(repo_root):
    for folder in ("synvita_data", "builders", "training", "evaluate_metrics"):
        for path in files(repo_root, folder):
            text = path.read_text()
            for unsafe in ("import pickle", "shell=True", "trust_remote_code=True", "weights_only=False"):
                assert unsafe not in text, f"{path}: {unsafe}"


def loaded_by(code: str) -> list[str]:
    script = (
        f"import sys, json\ntry:\n    {code}\nexcept SystemExit:\n    pass\n"
        f"print(json.dumps([n for n in {HEAVY!r} if n in sys.modules]), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return json.loads(done.stderr.splitlines()[-1])


def test_import_and_help_load_nothing_heavy():
    assert loaded_by("import synvita_data") == []
    assert loaded_by("sys.argv = ['synvita', '--help']; import synvita_data.cli as c; c.main()") == []
