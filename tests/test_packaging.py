"""The four folders are one package: listed in pyproject, importable, and whole in the wheel."""

import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from pathlib import Path

import pytest

FOLDERS = {
    "synvita_data": "synvita_data",
    "builders": "synvita_data.builders",
    "evaluate_metrics": "synvita_data.evaluate_metrics",
    "training": "synvita_data.training",
}


def folders_with_code(root: Path) -> set[str]:
    found = set()
    for folder, package in FOLDERS.items():
        for path in (root / folder).rglob("*.py"):
            inner = path.parent.relative_to(root / folder).parts
            found.add(".".join((package, *inner)))
    return found


def test_every_folder_with_code_is_listed(repo_root):
    project = tomllib.loads((repo_root / "pyproject.toml").read_text())
    assert set(project["tool"]["setuptools"]["packages"]) == folders_with_code(repo_root)


def test_no_two_test_files_have_one_name(repo_root):
    """pytest takes the second for the first, and refuses to run wherever both are asked for."""
    names = Counter(path.name for path in (repo_root / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


@pytest.fixture(scope="session")
def wheel(repo_root, tmp_path_factory) -> Path:
    """The wheel, built from a copy so that the checkout stays clean."""
    import shutil

    copy = tmp_path_factory.mktemp("source")
    for name in (*FOLDERS, "pyproject.toml", "README.md", "LICENSE"):
        source = repo_root / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(copy)],
        check=True,
        capture_output=True,
        text=True,
    )
    return next(out.glob("*.whl"))


def test_the_wheel_holds_every_file_of_the_package(repo_root, wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    for folder, package in FOLDERS.items():
        for path in (repo_root / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                expected = package.replace(".", "/") + "/" + path.relative_to(repo_root / folder).as_posix()
                assert expected in inside


def test_the_wheel_builds_a_dataset_outside_the_checkout(wheel, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    (tmp_path / "triplets.csv").write_text(
        "videopath,source,caption,neg_caption,split,misalignment\n"
        "video1,msr-vtt,a dog runs,a cat runs,train,object\n"
    )
    # Only the wheel's copy: -P keeps the working directory off the path, and the editable install of
    # the checkout is shadowed by PYTHONPATH, which comes first.
    done = subprocess.run(
        [sys.executable, "-P", "-m", "synvita_data.cli", "build"]
        + ["--triplets", "triplets.csv", "--config", "tiny", "--out", "out"],
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(site), "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/tiny/train-00000-of-00001.parquet").is_file()
    where = subprocess.run(
        [sys.executable, "-P", "-c", "import synvita_data.builders.dataset as b; print(b.__file__)"],
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(site))


def test_public_names_are_there_and_listed(repo_root):
    """`docs/interface.md` lists exactly `synvita_data.__all__`, and each name leads somewhere."""
    import re

    import synvita_data

    for name in synvita_data.__all__:
        assert getattr(synvita_data, name) is not None, name
    page = (repo_root / "docs" / "interface.md").read_text(encoding="utf-8")
    python = page.partition("## Python")[2].partition("## Files")[0]
    listed = {
        name for row in re.findall(r"^\| (`.*?) \|", python, re.M) for name in re.findall(r"`(\w+)`", row)
    }
    assert listed | {"__version__"} == set(synvita_data.__all__)
    commands = page.partition("## Commands")[2].partition("## Python")[0]
    from synvita_data.cli import app

    assert {command.callback.__name__ for command in app.registered_commands} <= set(
        re.findall(r"`(\w+)`", commands)
    )
