"""Memory, machine, packages: against what was measured, and against what is really installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.doctor import Needs
from synvita_data.doctor.machine import Gpu, Machine, find_gpus, free_bytes
from synvita_data.doctor.memory import GIB, memory_check, scoring_memory, training_memory
from synvita_data.extras import install_line, missing_packages

VIDEO_LLAVA = 7_371_000_000  # 14.742 GB in bf16
H100 = Machine((Gpu(0, "NVIDIA H100 80GB HBM3", 80 * GIB, 79 * GIB),), None, 128 * GIB, {})
NO_GPU = Machine((), "no nvidia-smi", 24 * GIB, {})


@pytest.mark.parametrize(
    ("triplets", "checkpointing", "measured"),
    [(1, True, 16.5), (4, True, 23.4), (16, True, 51.1), (1, False, 45.4)],
)
def test_training_is_what_was_measured(triplets, checkpointing, measured):
    """docs/benchmarks.md, training at 7B: GiB on an H100."""
    memory = training_memory(VIDEO_LLAVA, "bfloat16", triplets=triplets, checkpointing=checkpointing)
    assert memory.total / GIB == pytest.approx(measured, rel=0.06)


def test_scoring_is_what_was_measured():
    assert scoring_memory(VIDEO_LLAVA, "bfloat16").total / GIB == pytest.approx(14.1, rel=0.06)


@given(st.integers(1, 10**12), st.integers(1, 64))
def test_more_needs_more(parameters, triplets):
    def need(count: int, **changed) -> int:
        options = {"triplets": triplets, "checkpointing": True} | changed
        return training_memory(count, "bfloat16", **options).total

    assert need(parameters) <= need(2 * parameters)
    assert need(parameters) <= need(parameters, triplets=triplets + 1)
    assert need(parameters) <= need(parameters, checkpointing=False)
    wide, narrow = (scoring_memory(parameters, dtype).total for dtype in ("float32", "float16"))
    assert narrow <= wide
    assert scoring_memory(parameters, "float32").total >= 4 * parameters


def test_the_need_is_compared_with_what_is_there():
    small, large = (
        scoring_memory(10**6, "float32"),
        training_memory(VIDEO_LLAVA, "bfloat16", triplets=4, checkpointing=False),
    )
    assert memory_check(small, H100).state == "ok"
    assert memory_check(large, H100).state == "bad"  # "does not fit in 80 GB"
    assert "gradient_checkpointing=true" in (memory_check(large, H100).fix or "")
    assert memory_check(small, NO_GPU).state == "ok"
    assert memory_check(scoring_memory(VIDEO_LLAVA, "bfloat16"), NO_GPU).state == "warn"
    assert memory_check(large, NO_GPU).state == "bad"
    assert memory_check(None, H100).state == "warn"
    assert memory_check(small, H100, device="cuda:3").state == "bad"
    assert [memory_check(small, NO_GPU, device=each).state for each in ("cuda", "cuda:0", "cpu")] == [
        "bad",
        "bad",
        "ok",
    ]
    busy = Machine((Gpu(0, "a card", 24 * GIB, GIB),), None, None, {})
    assert memory_check(scoring_memory(VIDEO_LLAVA, "bfloat16"), busy).state == "warn"
    two = Machine(tuple(Gpu(n, "a card", 10 * GIB, 10 * GIB) for n in range(2)), None, None, {})
    assert memory_check(scoring_memory(VIDEO_LLAVA, "bfloat16"), two).state == "bad"
    assert memory_check(scoring_memory(VIDEO_LLAVA, "bfloat16"), two, spread=True).state == "ok"


def nvidia_smi(folder: Path, text: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
    program.chmod(0o755)


def test_gpus_are_those_that_the_driver_lists(tmp_path, monkeypatch):
    listed = "0, GPU-aa, NVIDIA A100-SXM4-40GB, 40960, 40000\n1, GPU-bb, NVIDIA H100, 81559, 100\n2, GPU-cc, X, [N/A], [N/A]"
    nvidia_smi(tmp_path, listed)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpus, why = find_gpus()
    assert why is None
    assert gpus == (
        Gpu(0, "NVIDIA A100-SXM4-40GB", 40960 << 20, 40000 << 20),
        Gpu(1, "NVIDIA H100", 81559 << 20, 100 << 20),
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [gpu.index for gpu in find_gpus()[0]] == [1]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aa")
    assert [gpu.index for gpu in find_gpus()[0]] == [0]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert find_gpus() == ((), "CUDA_VISIBLE_DEVICES=")


def test_no_gpu_is_an_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_gpus() == ((), "no nvidia-smi")
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert find_gpus() == ((), "nvidia-smi fails")


def test_what_goes_onto_one_disk_is_added_up(tmp_path):
    free = free_bytes(tmp_path / "not" / "yet")
    assert free == pytest.approx(os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize, rel=0.05)
    share = free * 3 // 4
    (alone,) = written(("to fetch", tmp_path / "a", share), ("nothing", tmp_path, 0))
    assert alone.state == "ok"
    (both,) = written(("to fetch", tmp_path / "a", share), ("to write", tmp_path / "b", share))
    assert both.state == "bad"
    assert "to fetch" in both.text
    assert "to write" in both.text
    assert written(("nothing", tmp_path, 0)) == []


def written(*parts):
    needs = Needs("", machine=NO_GPU)
    needs.disk(*parts)
    return needs.checks


def test_extras_are_all_installed_here():
    assert missing_packages("train") == []
    needs = Needs("", machine=NO_GPU)
    needs.packages("score")
    for backend in (None, "pyav", "nothing"):
        needs.decoder(backend)
    assert [(check.subject, check.state) for check in needs.checks] == [
        ("packages", "ok"),
        ("decoder", "bad"),
    ]


def test_a_package_that_is_not_installed_is_named(tmp_path):
    """In an interpreter that sees every installed package but two."""
    hidden = ("peft", "accelerate")
    for place in map(Path, sys.path):
        if place.name == "site-packages" and place.is_dir():
            for entry in place.iterdir():
                if not entry.name.lower().startswith(hidden) and not (tmp_path / entry.name).exists():
                    (tmp_path / entry.name).symlink_to(entry)
    root = Path(__file__).resolve().parents[2]
    code = f"""
import sys
sys.path = [p for p in sys.path if not p.endswith("site-packages")] + [{str(root)!r}, {str(tmp_path)!r}]
import json
from synvita_data.doctor import Needs
from synvita_data.extras import install_line, missing_packages
needs = Needs("train")
needs.packages("train")
(check,) = needs.checks
print(json.dumps([missing_packages("train"), check.state, check.fix, "torch" in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    missing, state, fix, torch = json.loads(done.stdout)
    assert [name.partition(">")[0] for name in missing] == ["accelerate", "peft"]
    assert (state, torch) == ("bad", False)
    assert fix == install_line("train")
