"""Two processes (gloo, DDP) make the steps of one, also where triplets do not divide among them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from forked import run_as_ranks
from rank_cases import CASES, answer, answers
from stock_pairs import difference

HERE = Path(__file__).parent


def check(folder, cases):
    for case in cases:
        wanted, logs, measures = answers(folder, case, 1)
        for rank in range(2):
            found, its_logs, its_measures = answers(folder, case, 2, rank)
            assert difference(found, wanted) < 1e-5, (case, rank)
            assert len(its_logs) == len(logs)
            for mine, theirs in zip(logs, its_logs, strict=True):
                assert theirs == pytest.approx(mine, rel=1e-4, abs=1e-6)
            assert its_measures == pytest.approx(measures, rel=1e-4, abs=1e-6)
            assert 0 <= its_measures["eval_auc"] <= 100


def test_two_processes_make_the_steps_of_one(tmp_path):
    from synvita_data.testing import make_tiny

    checkpoint = make_tiny("video_llava", tmp_path / "model")
    cases = ["windows", "alone"]
    run_as_ranks(lambda rank: answer(checkpoint, tmp_path, 2, rank, cases))
    answer(checkpoint, tmp_path, 1, cases=cases)
    check(tmp_path, cases)


@pytest.mark.slow
def test_torchrun(tmp_path):
    """All cases and kinds of models, under the launcher that people use."""
    from synvita_data.testing import make_tiny

    families = ["video_llava", "llava_onevision", "qwen2_5_vl"]
    folders = {
        family: (make_tiny(family, tmp_path / f"{family}-model"), tmp_path / family) for family in families
    }
    for _, folder in folders.values():
        folder.mkdir()
    script = tmp_path / "ranks.py"
    script.write_text(
        "import os, sys\n"
        f"sys.path.insert(0, {str(HERE)!r})\n"
        "from pathlib import Path\n"
        "from rank_cases import answer\n"
        f"for model, folder in {[(str(m), str(f)) for m, f in folders.values()]!r}:\n"
        "    answer(Path(model), Path(folder), 2, int(os.environ['RANK']))\n"
    )
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(script),
    ]
    environment = {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=1200, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for model, folder in folders.values():
        answer(model, folder, 1)
        check(folder, CASES)
