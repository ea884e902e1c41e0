"""Imports point one way and in no circle, rooms stay small, and light commands stay light."""

import ast
import json
import subprocess
import sys
from collections import Counter, defaultdict
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "diffusers", "datasets", "evaluate", "av", "decord", "matplotlib", "pandas")
TOPS = ("synvita_data", "builders", "training", "evaluate_metrics")
# Folders of like things, which may be longer than a room of unlike ones.
CATALOGUES = frozenset({"synvita_data/commands", "synvita_data/annotations"})  # a file a command, a form
# Rooms on top, which know builders, training and evaluation alike.
ON_TOP = ("commands", "demo", "study")


def product_files(root: Path) -> dict[str, Path]:
    """Module name -> path, relative to the root, of every file that is installed."""
    found = {}
    for top in TOPS:
        for path in sorted((root / top).rglob("*.py")):
            parts = list(path.relative_to(root).with_suffix("").parts)
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join(parts if top == "synvita_data" else ["synvita_data", *parts])] = path.relative_to(
                root
            )
    return found


def imports_of(module: str, path: Path, modules: dict[str, Path]) -> set[str]:
    """Our modules that a file imports at any depth, but for what only type checkers read."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*up, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                found.add(whole if whole in modules else source)
    return {name for name in found if name in modules and name != module}


@cache
def graph_of(root: Path) -> dict[str, set[str]]:
    """Module -> what it imports; nobody may change it."""
    modules = product_files(root)
    return {module: imports_of(module, root / path, modules) for module, path in modules.items()}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """One circle of the graph; empty if it has none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def room(path: Path) -> str:
    """A folder; but each loose file of the core is a room of its own."""
    return str(path if len(path.parts) == 2 else path.parent)


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}


def test_files_import_in_no_circle(repo_root):
    assert circle(graph_of(repo_root)) == []


def test_folders_import_in_no_circle(repo_root):
    modules, folders = product_files(repo_root), defaultdict(set)
    for module, others in graph_of(repo_root).items():
        here = room(modules[module])
        folders[here] |= {room(modules[other]) for other in others} - {here}
    assert circle(folders) == []


def test_rooms_are_small(repo_root):
    paths = product_files(repo_root).values()
    # 220 when the house had been moved (226fe87); each new feature has a room of its own.
    assert len(paths) <= 460
    sizes = Counter(str(path.parent) for path in paths if path.name != "__init__.py")
    assert {name: size for name, size in sizes.items() if size > 14 and name not in CATALOGUES} == {}


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("builders", ("training", "evaluate_metrics", *ON_TOP)),
        ("training", ("builders", *ON_TOP)),
        ("synvita_data", ("builders", "training", "study", "demo")),
    ],
)
def test_imports_point_one_way(repo_root, folder, forbidden):
    modules = product_files(repo_root)
    for module, others in graph_of(repo_root).items():
        if modules[module].parts[0] != folder or modules[module].parts[1] in ON_TOP:
            continue
        for other in others:
            assert other.split(".")[1:2] not in [[name] for name in forbidden], f"{modules[module]}: {other}"


def test_only_commands_import_the_study(repo_root):
    modules = product_files(repo_root)
    for module, others in graph_of(repo_root).items():
        if modules[module].parts[1] not in ON_TOP:
            assert not [o for o in others if o.startswith(("synvita_data.study", "synvita_data.demo"))]


def test_metrics_stand_alone(repo_root):
    modules = product_files(repo_root)
    for module, others in graph_of(repo_root).items():
        if modules[module].parts[0] == "evaluate_metrics":
            assert all(modules[other].parts[0] == "evaluate_metrics" for other in others), modules[module]


def test_no_file_loads_code_from_data(repo_root):
    for path in product_files(repo_root).values():
        text = (repo_root / path).read_text(encoding="utf-8")
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


@pytest.mark.slow
def test_an_error_of_a_recipe_waits_for_no_trainer():
    """`synvita train` reads the recipe with this module; a Trainer would import `datasets` and pandas before it."""
    assert {*loaded_by("import synvita_data.training.run")} <= {"torch", "transformers"}
