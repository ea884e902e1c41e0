"""`benchmarks/gpu.py`: what it does without a GPU, when a section is cut, and that every section runs small."""

import json
import sys

import pytest

pytest.importorskip("transformers")
import torch


@pytest.fixture
def gpu(repo_root, monkeypatch):
    monkeypatch.syspath_prepend(str(repo_root / "benchmarks"))
    import gpu

    return gpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_cuda_it_is_skipped(gpu, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    assert gpu.main() == 0
    assert capsys.readouterr().out.startswith("skipped: no CUDA device")


@pytest.mark.slow  # half a minute of waiting, so that a busy machine has started the process by then
def test_a_section_that_is_cut_keeps_what_it_measured(gpu, tmp_path, monkeypatch):
    """The section's process is real and never comes to its end; the figure was written by then."""
    figure = {"name": "first", "value": 1.0, "unit": "s", "goal": 2.0, "at_most": True, "ok": True}
    program = tmp_path / "section.py"
    program.write_text(
        "import sys, pathlib, time\n"
        "out = pathlib.Path(sys.argv[sys.argv.index('--out') + 1])\n"
        f"(out / 'numbers.jsonl').write_text({json.dumps(figure)!r} + '\\n' + '{{\"name\": \"half')\n"
        "time.sleep(3600)\n"
    )
    monkeypatch.setattr(gpu, "__file__", str(program))
    result = gpu.run_section("numbers", small=True, limit=30, out=tmp_path)
    assert result["ended"] == "cut off after 30 s"
    assert result["figures"] == [figure]
    assert "first" in gpu.table([result])
    assert "<= 2" in gpu.table([result])


def test_a_section_that_fails_does_not_end_the_rest(gpu, tmp_path, monkeypatch, capsys):
    program = tmp_path / "section.py"
    program.write_text("import sys\nsys.exit(3 if 'scoring' in sys.argv else 0)\n")
    monkeypatch.setattr(gpu, "__file__", str(program))
    monkeypatch.setattr(
        sys, "argv", ["gpu.py", "--small", "--sections", "scoring,memory", "--out", str(tmp_path / "out")]
    )
    assert gpu.main() == 1
    whole = json.loads((tmp_path / "out" / "gpu.json").read_text())
    ends = {each["section"]: each["ended"] for each in whole["sections"]}
    assert ends == {"scoring": "failed with exit status 3", "memory": "done"}
    assert whole["machine"]["torch"] == torch.__version__


def test_scoring_under_a_cap_runs_small(gpu, tmp_path):
    from gpu_parts import memory
    from gpu_parts.figures import Figures

    figures = Figures("memory", tmp_path, small=True)
    memory.scoring(figures)
    found = [json.loads(line) for line in (tmp_path / "memory.jsonl").read_text().splitlines()]
    assert [each["ok"] for each in found] == [True, True]


def test_a_part_that_fails_is_told_by_the_exit_status(gpu, tmp_path, monkeypatch, capsys):
    figure = {"name": "a part", "value": "failed: x", "unit": "", "goal": 0.0, "at_most": False, "ok": False}
    program = tmp_path / "section.py"
    program.write_text(
        "import sys, pathlib\n"
        "out = pathlib.Path(sys.argv[sys.argv.index('--out') + 1])\n"
        f"(out / 'memory.jsonl').write_text({json.dumps(figure)!r} + '\\n')\n"
    )
    monkeypatch.setattr(gpu, "__file__", str(program))
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--small", "--sections", "memory", "--out", str(tmp_path)])
    assert gpu.main() == 1


@pytest.mark.slow
@pytest.mark.parametrize("section", ["numbers", "scoring", "memory", "training", "vqascore", "generation"])
def test_every_section_runs_small(gpu, tmp_path, section):
    result = gpu.run_section(section, small=True, limit=3000, out=tmp_path)
    assert result["ended"] == "done"
    assert result["figures"]
    assert [each for each in result["figures"] if each["ok"] is False] == []
