"""The small table, made once, and the program."""

import pytest
from in_process import run_program
from small_table import expected_content, write_annotations, write_expected, write_released, write_videos


@pytest.fixture(scope="session")
def released(tmp_path_factory):
    """Folders of all checkpoints as released, by name; tests that change one copy it first."""
    return write_released(tmp_path_factory.mktemp("released"))


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """A folder with `annotations` and `videos`."""
    folder = tmp_path_factory.mktemp("inputs")
    write_annotations(folder / "annotations")
    write_videos(folder / "videos")
    return folder


@pytest.fixture(scope="session")
def expected_file(released, tmp_path_factory):
    """expected.yaml of these folders."""
    content = expected_content({name: str(folder) for name, folder in released.items()})
    return write_expected(tmp_path_factory.mktemp("expected") / "expected.yaml", content)


@pytest.fixture
def reproduce(inputs, expected_file, capsys):
    """Run `synvita reproduce table3` on the small table: exit status, standard output and error."""

    def run(*arguments, expected=expected_file, annotations=inputs / "annotations", videos=inputs / "videos"):
        status = run_program(
            "reproduce", "table3", "--expected", expected, "--annotations", annotations,
            "--real-root", videos, "--device", "cpu", *arguments,
        )  # fmt: skip
        out, err = capsys.readouterr()
        return status, out, err

    return run
