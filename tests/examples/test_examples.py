"""The scripts of examples/ run as a user runs them, on small data and tiny models."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_annotations import ssv2_pairs, write_ssv2

# The examples are run once, not once a process.
pytestmark = pytest.mark.xdist_group("examples")


@pytest.fixture
def run(repo_root, tmp_path):
    def run(script: str, *arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, repo_root / "examples" / script, *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def built(repo_root, tmp_path_factory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("example")
    command = [sys.executable, repo_root / "examples" / "build_and_load.py", out]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_every_example_is_run_here(repo_root):
    names = {path.name for path in (repo_root / "examples").glob("*.py")}
    assert names == {"build_and_load.py", "weighted_loss.py", "score_and_rank.py", "leaderboard_page.py"}


def test_build_and_load(built):
    from synvita_data import load_triplets

    out, printed = built
    rows = load_triplets(out / "dataset", "shapes", split="train")
    assert printed.startswith(f"{len(rows)} rows for training")
    assert rows[0]["caption"] in printed
    assert f"{rows[0]['weight']:.3f}" in printed


@pytest.mark.slow
def test_weighted_loss(built, run, tmp_path):
    from synvita_data.testing import make_tiny

    out, _ = built
    make_tiny("video_llava", tmp_path / "tiny")
    printed = run(
        "weighted_loss.py", tmp_path / "tiny", out / "dataset", out / "world" / "real", tmp_path / "stock"
    )
    assert "'loss':" in printed
    assert (tmp_path / "stock" / "adapter_model.safetensors").is_file()


def test_score_and_rank(run, tmp_path):
    annotations, root = tmp_path / "eval_ssv2_temporal.csv", tmp_path / "ssv2"
    write_ssv2(annotations, ssv2_pairs())
    for path, _, _ in ssv2_pairs():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"chance opens no video")
    printed = run("score_and_rank.py", "chance", "ssv2-temporal", annotations, root, tmp_path / "results")
    assert printed.startswith("map: ")
    assert "| chance" in printed
    assert (tmp_path / "results" / "chance" / "ssv2-temporal.json").is_file()


@pytest.mark.slow
def test_leaderboard_page(run, tmp_path):
    printed = run("leaderboard_page.py", tmp_path / "board", tmp_path / "no scores here")
    assert "left out: the released SSv2-Temporal scores" in printed
    page = (tmp_path / "board" / "leaderboard.html").read_text(encoding="utf-8")
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    rows = {row["label"]: row["cells"] for row in data["record"]["rows"] if row["kind"] == "ours"}
    assert set(rows) == {"shapes-video-llava", "shapes-video-llava-early", "chance", "words (no video)"}
    for cells in rows.values():
        assert set(cells) == {"shapes-llm", "shapes-temporal", "shapes-choice"}
        assert {cell["provenance"]["kind"] for cell in cells.values()} == {"verified"}
    assert set(rows["shapes-video-llava"]["shapes-llm"]["controls"]) == {"frame", "shuffle"}
    assert rows["shapes-video-llava"]["shapes-llm"]["value"] > rows["chance"]["shapes-llm"]["high"]
