"""A tiny model, a world of shapes and a dataset of it, each made once."""

import json
from pathlib import Path

import pytest
from small_annotations import ssv2_pairs, write_ssv2
from typer.testing import CliRunner


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A tiny Video-LLaVA with random weights, as `save_pretrained` leaves it."""
    from synvita_data.testing import make_tiny

    return make_tiny("video_llava", tmp_path_factory.mktemp("tiny") / "video-llava")


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """Triplets, scores, real and synthetic clips."""
    from synvita_data.builders.shapes import make_shapes

    return make_shapes(tmp_path_factory.mktemp("shapes") / "world", pairs=35, seed=0)


@pytest.fixture(scope="session")
def dataset(world, tmp_path_factory) -> Path:
    """A dataset that `synvita build` made of the world."""
    from synvita_data.builders.dataset import BuildOptions, build_dataset

    out = tmp_path_factory.mktemp("dataset") / "shapes"
    options = BuildOptions(
        triplets=world.triplets,
        vqascores=world.vqascores,
        synthetic=f"folder:{world.synthetic}",
        config="shapes",
        out=out,
    )
    build_dataset(options)
    return out


@pytest.fixture
def benchmark(tmp_path) -> Path:
    """A folder with annotations of `ssv2-temporal`, six videos."""
    folder = tmp_path / "annotations"
    folder.mkdir()
    write_ssv2(folder / "eval_ssv2_temporal.csv", ssv2_pairs())
    return folder


@pytest.fixture
def doctor():
    """Run `synvita doctor` in this process; gives exit status, printed text and the report."""
    from synvita_data.cli import app

    def run(*arguments: object) -> tuple[int, str, dict]:
        words = [str(each) for each in arguments]
        runner = CliRunner()
        shown = runner.invoke(app, ["doctor", *words], env={"COLUMNS": "200"})
        told = runner.invoke(app, ["doctor", "--json", "-", *words])
        assert shown.exit_code == told.exit_code, (shown.output, told.output)
        return shown.exit_code, shown.output, json.loads(told.stdout)

    return run
